// What the virtual file system has per kernel: its caches, and the objects behind RAM addresses.
import { dentry, file, file_system_type, files_struct, fs_struct, inode, vfsmount } from "../abi/structs/fs.ts";
import { list_head } from "../abi/structs/base.ts";
import { ptr } from "../abi/types.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { kmem_cache_create, type KmemCache } from "../mm/slab.ts";
import type { AddressSpace } from "../mm/page-cache.ts";
import type { Dentry } from "./dcache.ts";
import type { Namespace, VfsMount } from "./namespace.ts";

export class Vfs {
  readonly dentryCache: KmemCache;
  readonly inodeCache: KmemCache;
  readonly fileCache: KmemCache;
  readonly mountCache: KmemCache;
  readonly filesCache: KmemCache;
  readonly fsCache: KmemCache;
  readonly dentries = new Map<number, Dentry>();
  readonly mounts = new Map<number, VfsMount>();
  /** The page cache of a file, by its inode's address. */
  readonly mappings = new Map<number, AddressSpace>();
  /** The mounts that every process sees. */
  namespace!: Namespace;
  nextInode = 2;

  constructor(k: Kernel) {
    this.dentryCache = kmem_cache_create("dentry_cache", k.sizeOf(dentry), 64);
    this.inodeCache = kmem_cache_create("inode_cache", k.sizeOf(inode), 64);
    this.fileCache = kmem_cache_create("filp", k.sizeOf(file), 64);
    this.mountCache = kmem_cache_create("mnt_cache", k.sizeOf(vfsmount), 64);
    this.filesCache = kmem_cache_create("files_cache", k.sizeOf(files_struct), 64);
    this.fsCache = kmem_cache_create("fs_cache", k.sizeOf(fs_struct), 64);
    k.static(
      "file_systems",
      ptr(() => file_system_type),
    );
    INIT_LIST_HEAD(k.static("super_blocks", list_head));
  }
}

/** Makes the caches. Boot; the first file systems are mounted by process 1. */
export function vfs_caches_init(k: Kernel): void {
  k.vfs = new Vfs(k);
}

/** An inode's page cache, when it has one. */
export const mappingOf = (inodeAddress: number): AddressSpace | undefined => K.vfs.mappings.get(inodeAddress);
