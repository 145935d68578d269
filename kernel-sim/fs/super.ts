// File systems and their superblocks (fs/filesystems.c, super.c of 2.6.9).
import { peekPtr, pokePtr } from "../abi/ram.ts";
import { S_IFDIR, file_system_type, super_block } from "../abi/structs/fs.ts";
import type { ViewOf } from "../abi/view.ts";
import type { BlockDevice } from "../block/gendisk.ts";
import { peekString, pokeString } from "../core/c-string.ts";
import { kernelString } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail } from "../core/list.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kmem_cache_zalloc } from "../mm/slab.ts";
import { Dentry, d_instantiate, initInode } from "./dcache.ts";

export interface FileSystemType {
  readonly name: string;
  readonly s: ViewOf<typeof file_system_type>;
}

/** Adds a kind of file system to `file_systems`; the one of that name that is there already, else. */
export function register_filesystem(name: string): FileSystemType {
  let link = K.symbol("file_systems");
  for (let at = peekPtr(link); at !== 0; at = peekPtr(link)) {
    const known = K.view(file_system_type, at);
    if (peekString(known.name) === name) return { name, s: known };
    link = at + K.offsetOf(file_system_type, "next");
  }
  const s = K.view(file_system_type, K.bootmem(K.sizeOf(file_system_type)));
  s.name = kernelString(name);
  INIT_LIST_HEAD(s.fs_supers.addr);
  pokePtr(link, s.addr);
  return { name, s };
}

export class SuperBlock {
  readonly addr: number;
  readonly s: ViewOf<typeof super_block>;
  readonly type: FileSystemType;
  /** What it lies on; undefined for one that lies in memory. */
  readonly bdev: BlockDevice | undefined;
  root!: Dentry;

  constructor(type: FileSystemType, bdev: BlockDevice | undefined, magic: number) {
    this.addr = K.bootmem(K.sizeOf(super_block));
    this.type = type;
    this.bdev = bdev;
    const s = (this.s = K.view(super_block, this.addr));
    for (const head of [s.s_inodes, s.s_dirty, s.s_io, s.s_files]) INIT_LIST_HEAD(head.addr);
    s.s_dev = bdev ? bdev.s.bd_dev : 0;
    s.s_blocksize = 4096;
    s.s_blocksize_bits = 12;
    s.s_type = type.s.addr;
    s.s_magic = magic;
    s.s_count = 1;
    s.s_active.counter = 1;
    s.s_bdev = bdev?.addr ?? 0;
    pokeString(s.s_id, bdev?.name ?? type.name, 32);
    list_add_tail(s.s_list.addr, K.symbol("super_blocks"));
    list_add_tail(s.s_instances.addr, type.s.fs_supers.addr);
  }
}

/** A file system with an empty root directory. Returns: it, or undefined when memory is out. Context: process. */
export const get_sb = kfunc(
  "get_sb_single",
  function* (type: FileSystemType, bdev: BlockDevice | undefined, magic: number) {
    const name = yield* kmem_cache_zalloc(K.vfs.dentryCache, GFP_KERNEL);
    const file = yield* kmem_cache_zalloc(K.vfs.inodeCache, GFP_KERNEL);
    if (name === 0 || file === 0) return undefined;
    const sb = new SuperBlock(type, bdev, magic);
    sb.root = new Dentry(name, sb, "/");
    d_instantiate(sb.root, initInode(file, sb, { mode: S_IFDIR | 0o755 }));
    sb.s.s_root = sb.root.addr;
    return sb;
  },
);
