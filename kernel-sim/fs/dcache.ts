// Names: dentries hang on their directory in RAM, and a path is walked along them (fs/dcache.c, namei.c of 2.6.9).
import { step } from "../../emulator/cpu/cpu.ts";
import { DNAME_INLINE_LEN_MIN, S_IFDIR, dentry as dentry_struct, inode as inode_struct } from "../abi/structs/fs.ts";
import type { ViewOf } from "../abi/view.ts";
import { peekString, pokeString } from "../core/c-string.ts";
import { kernelString } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_add, list_entries } from "../core/list.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import type { AddressSpace } from "../mm/page-cache.ts";
import { kmem_cache_zalloc } from "../mm/slab.ts";
import type { SuperBlock } from "./super.ts";

export type Inode = ViewOf<typeof inode_struct>;

/** Comparing one name. */
const COMPARE_NS = 15;

export class Dentry {
  readonly addr: number;
  readonly s: ViewOf<typeof dentry_struct>;
  readonly sb: SuperBlock;
  readonly parent: Dentry;
  inode: Inode | undefined;

  /** @param addr zeroed memory for a struct dentry; without a parent it is a root */
  constructor(addr: number, sb: SuperBlock, name: string, parent?: Dentry) {
    const s = (this.s = K.view(dentry_struct, addr));
    this.addr = addr;
    this.sb = sb;
    this.parent = parent ?? this;
    for (const head of [s.d_lru, s.d_child, s.d_subdirs, s.d_alias]) INIT_LIST_HEAD(head.addr);
    s.d_count.counter = 1;
    s.d_lock.lock = 1;
    s.d_sb = sb.addr;
    s.d_parent = this.parent.addr;
    const inline = addr + K.offsetOf(dentry_struct, "d_iname");
    if (name.length < DNAME_INLINE_LEN_MIN) pokeString(inline, name, DNAME_INLINE_LEN_MIN);
    s.d_name.name = name.length < DNAME_INLINE_LEN_MIN ? inline : kernelString(name);
    s.d_name.len = name.length;
    s.d_name.hash = hashOf(name);
    if (parent) list_add(s.d_child.addr, parent.s.d_subdirs.addr);
    K.vfs.dentries.set(addr, this);
  }

  get name(): string {
    return peekString(this.s.d_name.name, this.s.d_name.len);
  }
  get isDirectory(): boolean {
    return this.inode !== undefined && (this.inode.i_mode & 0o170000) === S_IFDIR;
  }
}

/** full_name_hash() of dcache.h, in 32 bits. */
function hashOf(name: string): number {
  let hash = 0;
  for (let i = 0; i < name.length; i++) {
    const c = name.charCodeAt(i);
    hash = Math.imul(hash + (c << 4) + (c >> 4), 11) >>> 0;
  }
  return hash;
}

/** A name without a file, in a directory. Returns: it, or undefined when memory is out. Context: process. */
export const d_alloc = kfunc("d_alloc", function* (parent: Dentry, name: string) {
  const addr = yield* kmem_cache_zalloc(K.vfs.dentryCache, GFP_KERNEL);
  return addr === 0 ? undefined : new Dentry(addr, parent.sb, name, parent);
});

/** The name in a directory, or undefined. Context: process. */
export const d_lookup = kfunc("d_lookup", function* (parent: Dentry, name: string) {
  const offset = K.offsetOf(dentry_struct, "d_child");
  const hash = hashOf(name);
  for (const entry of list_entries(parent.s.d_subdirs.addr)) {
    step(COMPARE_NS);
    const found = K.vfs.dentries.get(entry - offset)!;
    if (found.s.d_name.hash === hash && found.name === name) return found;
  }
  return undefined;
});

/** What a new inode is. */
export interface InodeOptions {
  /** Type and permissions. */
  readonly mode: number;
  readonly rdev?: number;
  readonly sizeBytes?: number;
  /** Address of its file_operations. */
  readonly fops?: number;
  /** Its cached pages. */
  readonly mapping?: AddressSpace;
}

/** Fills a zeroed struct inode. */
export function initInode(addr: number, sb: SuperBlock, options: InodeOptions): Inode {
  const s = K.view(inode_struct, addr);
  for (const head of [s.i_list, s.i_dentry, s.i_devices]) INIT_LIST_HEAD(head.addr);
  s.i_ino = K.vfs.nextInode++;
  s.i_count.counter = 1;
  s.i_mode = options.mode;
  s.i_nlink = (options.mode & 0o170000) === S_IFDIR ? 2 : 1;
  s.i_rdev = options.rdev ?? 0;
  s.i_size = options.sizeBytes ?? 0;
  s.i_blkbits = 12;
  s.i_blksize = 4096;
  s.i_blocks = Math.ceil((options.sizeBytes ?? 0) / 512);
  s.i_lock.lock = 1;
  s.i_data.tree_lock.lock = 1;
  s.i_fop = options.fops ?? 0;
  s.i_sb = sb.addr;
  s.i_mapping = options.mapping?.addr ?? s.i_data.addr;
  if (options.mapping) {
    options.mapping.s.host = addr;
    K.vfs.mappings.set(addr, options.mapping);
  }
  list_add(s.i_list.addr, sb.s.s_inodes.addr);
  return s;
}

/** A file behind a name. Returns: its inode, or undefined when memory is out. Context: process. */
export const new_inode = kfunc("new_inode", function* (dentry: Dentry, options: InodeOptions) {
  const addr = yield* kmem_cache_zalloc(K.vfs.inodeCache, GFP_KERNEL);
  if (addr === 0) return undefined;
  const inode = initInode(addr, dentry.sb, options);
  d_instantiate(dentry, inode);
  return inode;
});

/** Ties a name to its file. */
export function d_instantiate(dentry: Dentry, inode: Inode): void {
  dentry.inode = inode;
  dentry.s.d_inode = inode.addr;
  list_add(dentry.s.d_alias.addr, inode.i_dentry.addr);
}
