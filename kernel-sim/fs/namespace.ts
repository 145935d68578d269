// Mounts (fs/namespace.c of 2.6.9): one namespace, which every process shares.
import { namespace as namespace_struct, vfsmount } from "../abi/structs/fs.ts";
import type { ViewOf } from "../abi/view.ts";
import { kernelString } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail, list_entries } from "../core/list.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kmem_cache_zalloc } from "../mm/slab.ts";
import type { Dentry } from "./dcache.ts";
import type { SuperBlock } from "./super.ts";

export class VfsMount {
  readonly addr: number;
  readonly s: ViewOf<typeof vfsmount>;
  readonly sb: SuperBlock;
  readonly root: Dentry;

  /** @param at where it is mounted; nowhere for the root */
  constructor(addr: number, sb: SuperBlock, device: string, at?: Place) {
    const s = (this.s = K.view(vfsmount, addr));
    this.addr = addr;
    this.sb = sb;
    this.root = sb.root;
    for (const head of [s.mnt_hash, s.mnt_mounts, s.mnt_child, s.mnt_list, s.mnt_fslink]) INIT_LIST_HEAD(head.addr);
    s.mnt_parent = at ? at.mount.addr : addr;
    s.mnt_mountpoint = at ? at.dentry.addr : sb.root.addr;
    s.mnt_root = sb.root.addr;
    s.mnt_sb = sb.addr;
    s.mnt_count.counter = 1;
    s.mnt_devname = kernelString(device);
    K.vfs.mounts.set(addr, this);
  }
}

/** A name, and the mount through which it was reached. */
export interface Place {
  readonly mount: VfsMount;
  readonly dentry: Dentry;
}

export class Namespace {
  readonly addr: number;
  readonly s: ViewOf<typeof namespace_struct>;
  readonly root: VfsMount;

  constructor(root: VfsMount) {
    this.addr = K.bootmem(K.sizeOf(namespace_struct));
    const s = (this.s = K.view(namespace_struct, this.addr));
    this.root = root;
    INIT_LIST_HEAD(s.list.addr);
    INIT_LIST_HEAD(s.sem.wait_list.addr);
    s.sem.wait_lock.lock = 1;
    s.count.counter = 1;
    s.root = root.addr;
    this.add(root);
  }

  add(mount: VfsMount): void {
    mount.s.mnt_namespace = this.addr;
    list_add_tail(mount.s.mnt_list.addr, this.s.list.addr);
  }

  /** What is mounted on a name, or undefined: walked in RAM. */
  mountedOn(place: Place): VfsMount | undefined {
    const offset = K.offsetOf(vfsmount, "mnt_list");
    for (const entry of list_entries(this.s.list.addr)) {
      const mount = K.vfs.mounts.get(entry - offset)!;
      const { mnt_parent, mnt_mountpoint } = mount.s;
      if (mount !== this.root && mnt_parent === place.mount.addr && mnt_mountpoint === place.dentry.addr) return mount;
    }
    return undefined;
  }
}

/** Mounts a file system on a directory. Returns: the mount, or undefined when memory is out. Context: process. */
export const do_mount = kfunc("do_mount", function* (sb: SuperBlock, device: string, at: Place) {
  const addr = yield* kmem_cache_zalloc(K.vfs.mountCache, GFP_KERNEL);
  if (addr === 0) return undefined;
  const mount = new VfsMount(addr, sb, device, at);
  at.dentry.s.d_mounted = at.dentry.s.d_mounted + 1;
  list_add_tail(mount.s.mnt_child.addr, at.mount.s.mnt_mounts.addr);
  K.vfs.namespace.add(mount);
  return mount;
});
