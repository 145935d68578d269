// Opening files by name (fs/namei.c, open.c of 2.6.9).
import { FMODE_READ, FMODE_WRITE, S_IFCHR, file as file_struct } from "../abi/structs/fs.ts";
import { cdev } from "../abi/structs/devices.ts";
import { K, current } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { list_add } from "../core/list.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kmem_cache_zalloc } from "../mm/slab.ts";
import { cdev_of } from "./char-dev.ts";
import { d_alloc, d_lookup, new_inode, type InodeOptions } from "./dcache.ts";
import { directoriesOf, fd_install, get_unused_fd } from "./files.ts";
import type { Place } from "./namespace.ts";

export const O_RDONLY = 0;
export const O_WRONLY = 1;
export const O_RDWR = 2;
export const O_CREAT = 0o100;
export const O_DIRECT = 0o40000;

const ENOENT = 2;
const ENXIO = 6;
const ENOMEM = 12;
const EEXIST = 17;
const S_IFMT = 0o170000;

/** Follows mounts down from a name. */
function follow_mount(place: Place): Place {
  let at = place;
  while (at.dentry.s.d_mounted > 0) {
    const mount = K.vfs.namespace.mountedOn(at);
    if (!mount) break;
    at = { mount, dentry: mount.root };
  }
  return at;
}

/** Where an absolute path leads from the running process's root, or undefined. Context: process. */
export const path_lookup = kfunc("path_lookup", function* (path: string) {
  const fs = directoriesOf(current());
  let at = follow_mount({ mount: K.vfs.mounts.get(fs.rootmnt)!, dentry: K.vfs.dentries.get(fs.root)! });
  for (const name of path.split("/")) {
    if (name === "") continue;
    const dentry = yield* d_lookup(at.dentry, name);
    if (!dentry) return undefined;
    at = follow_mount({ mount: at.mount, dentry });
  }
  return at;
});

/** Makes a file with a name that is free. Returns: 0 or a negative errno. Context: process. */
export const vfs_create = kfunc("vfs_create", function* (path: string, options: InodeOptions) {
  const slash = path.lastIndexOf("/");
  const directory = yield* path_lookup(path.slice(0, slash));
  if (!directory) return -ENOENT;
  const name = path.slice(slash + 1);
  if (yield* d_lookup(directory.dentry, name)) return -EEXIST;
  const dentry = yield* d_alloc(directory.dentry, name);
  const inode = dentry && (yield* new_inode(dentry, options));
  return inode ? 0 : -ENOMEM;
});

/** An open file for a name. Returns: the address of its struct file, or a negative errno. Context: process. */
const dentry_open = kfunc("dentry_open", function* (place: Place, flags: number) {
  const { inode } = place.dentry;
  if (!inode) return -ENOENT;
  const addr = yield* kmem_cache_zalloc(K.vfs.fileCache, GFP_KERNEL);
  if (addr === 0) return -ENOMEM;
  const f = K.view(file_struct, addr);
  f.f_count.counter = 1;
  f.f_flags = flags;
  f.f_mode = (flags + 1) & (FMODE_READ | FMODE_WRITE);
  f.f_dentry = place.dentry.addr;
  f.f_vfsmnt = place.mount.addr;
  f.f_mapping = inode.i_mapping;
  f.f_op = inode.i_fop;
  place.dentry.s.d_count.counter = place.dentry.s.d_count.counter + 1;
  list_add(f.f_list.addr, place.dentry.sb.s.s_files.addr);
  if ((inode.i_mode & S_IFMT) === S_IFCHR) {
    // chrdev_open(): the device's own operations from here on.
    const device = cdev_of(inode.i_rdev);
    if (device === 0) return -ENXIO;
    inode.i_cdev = device;
    f.f_op = K.view(cdev, device).ops;
  }
  return addr;
});

/** Opens a file for the running process. Returns: its descriptor, or a negative errno. Context: process. */
export const sys_open = kfunc("sys_open", function* (path: string, flags: number) {
  const place = yield* path_lookup(path);
  if (!place) return -ENOENT;
  const fd = get_unused_fd();
  if (fd < 0) return fd;
  const file = yield* dentry_open(place, flags);
  if (file < 0) return file;
  fd_install(fd, K.view(file_struct, file));
  return fd;
});

/** Opens a program's file for the kernel itself. Returns: the address of its struct file, or a negative errno. Context: process. */
export const open_exec = kfunc("open_exec", function* (path: string) {
  const place = yield* path_lookup(path);
  return place ? yield* dentry_open(place, O_RDONLY) : -ENOENT;
});

/** A second descriptor for an open file. Context: process. */
export const sys_dup = kfunc("sys_dup", function* (file: number) {
  const fd = get_unused_fd();
  if (fd < 0) return fd;
  const f = K.view(file_struct, file);
  f.f_count.counter = f.f_count.counter + 1;
  fd_install(fd, f);
  return fd;
});
