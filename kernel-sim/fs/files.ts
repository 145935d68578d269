// The open files and directories of a process (fs/file_table.c, kernel/fork.c of 2.6.9): files_struct and fs_struct in RAM.
import { peek32, peekPtr, poke32, storePtr } from "../abi/ram.ts";
import { NR_OPEN_DEFAULT, files_struct, file as file_struct, fs_struct } from "../abi/structs/fs.ts";
import type { ViewOf } from "../abi/view.ts";
import { K, current, type Kernel } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { list_del } from "../core/list.ts";
import type { Task } from "../core/task.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kmem_cache_free, kmem_cache_zalloc } from "../mm/slab.ts";
import type { Place } from "./namespace.ts";

const FD_SET_BITS = 1024;
const EMFILE = 24;
const ENOMEM = 12;

export type Files = ViewOf<typeof files_struct>;
export type OpenFile = ViewOf<typeof file_struct>;
type Directories = ViewOf<typeof fs_struct>;

export const filesOf = (task: Task): Files => K.view(files_struct, task.s.files);
export const directoriesOf = (task: Task): Directories => K.view(fs_struct, task.s.fs);

/** Lays an empty table out in a zeroed struct files_struct. */
export function initFiles(addr: number): Files {
  const files = K.view(files_struct, addr);
  files.count.counter = 1;
  files.file_lock.lock = 1;
  files.max_fds = NR_OPEN_DEFAULT;
  files.max_fdset = FD_SET_BITS;
  files.fd = addr + K.offsetOf(files_struct, "fd_array");
  files.open_fds = addr + K.offsetOf(files_struct, "open_fds_init");
  files.close_on_exec = addr + K.offsetOf(files_struct, "close_on_exec_init");
  return files;
}

/** init_files and init_fs: what the idle tasks and kernel threads have. Boot. */
export function init_files_and_fs(k: Kernel): void {
  initFiles(k.static("init_files", files_struct));
  const fs = k.view(fs_struct, k.static("init_fs", fs_struct));
  fs.count.counter = 1;
  fs.umask = 0o22;
}

export function set_fs(fs: Directories, root: Place, pwd: Place): void {
  fs.root = root.dentry.addr;
  fs.rootmnt = root.mount.addr;
  fs.pwd = pwd.dentry.addr;
  fs.pwdmnt = pwd.mount.addr;
}

const slotOf = (files: Files, fd: number): number => files.fd + fd * K.map.model.wordBytes;

/** The lowest free descriptor of the running process, marked as taken; -EMFILE when all are. Context: process. */
export function get_unused_fd(): number {
  const files = filesOf(current());
  for (let fd = files.next_fd; fd < NR_OPEN_DEFAULT; fd++) {
    const word = files.open_fds + (fd >> 5) * 4;
    if (peek32(word) & (1 << (fd & 31))) continue;
    poke32(word, peek32(word) | (1 << (fd & 31)));
    files.next_fd = fd + 1;
    return fd;
  }
  return -EMFILE;
}

/** Makes a file reachable by a descriptor of the running process. */
export const fd_install = (fd: number, file: OpenFile): void => storePtr(slotOf(filesOf(current()), fd), file.addr);

/** The file behind a descriptor of the running process, 0 when it is not open. */
export const fget_light = (fd: number): number => peekPtr(slotOf(filesOf(current()), fd));

/** Drops one use of an open file; the last one frees it. Context: process. */
export const fput = kfunc("fput", function* (addr: number) {
  const file = K.view(file_struct, addr);
  file.f_count.counter = file.f_count.counter - 1;
  if (file.f_count.counter > 0) return;
  list_del(file.f_list.addr);
  const dentry = K.vfs.dentries.get(file.f_dentry)!;
  dentry.s.d_count.counter = dentry.s.d_count.counter - 1;
  yield* kmem_cache_free(K.vfs.fileCache, addr);
});

/** A descriptor of the running process is free again. Returns: 0, or -EBADF. Context: process. */
export const sys_close = kfunc("sys_close", function* (fd: number) {
  const files = filesOf(current());
  const file = fd >= 0 && fd < NR_OPEN_DEFAULT ? fget_light(fd) : 0;
  if (file === 0) return -9;
  const word = files.open_fds + (fd >> 5) * 4;
  poke32(word, peek32(word) & ~(1 << (fd & 31)));
  storePtr(slotOf(files, fd), 0);
  files.next_fd = Math.min(files.next_fd, fd);
  yield* fput(file);
  return 0;
});

/** Gives a new process a copy of its parent's open files and directories. Returns: 0 or -ENOMEM. Context: process. */
export const copy_files = kfunc("copy_files", function* (task: Task, parent: Task) {
  const filesAt = yield* kmem_cache_zalloc(K.vfs.filesCache, GFP_KERNEL);
  const fsAt = yield* kmem_cache_zalloc(K.vfs.fsCache, GFP_KERNEL);
  if (filesAt === 0 || fsAt === 0) return -ENOMEM;
  const from = filesOf(parent);
  const files = initFiles(filesAt);
  files.next_fd = from.next_fd;
  for (let i = 0; i < FD_SET_BITS / 32; i++) poke32(files.open_fds + i * 4, peek32(from.open_fds + i * 4));
  for (let fd = 0; fd < NR_OPEN_DEFAULT; fd++) {
    const file = peekPtr(slotOf(from, fd));
    if (file === 0) continue;
    const { f_count } = K.view(file_struct, file);
    f_count.counter = f_count.counter + 1;
    storePtr(slotOf(files, fd), file);
  }
  const old = directoriesOf(parent);
  const fs = K.view(fs_struct, fsAt);
  fs.count.counter = 1;
  fs.umask = old.umask;
  for (const field of ["root", "pwd", "rootmnt", "pwdmnt"] as const) fs[field] = old[field];
  task.s.files = filesAt;
  task.s.fs = fsAt;
  return 0;
});

/** A process that ends closes what it has open. Context: process. */
export const exit_files = kfunc("__exit_files", function* (task: Task) {
  const files = filesOf(task);
  const fs = directoriesOf(task);
  task.s.files = 0;
  task.s.fs = 0;
  if (--files.count.counter === 0) {
    for (let fd = 0; fd < NR_OPEN_DEFAULT; fd++) {
      const file = peekPtr(slotOf(files, fd));
      if (file !== 0) yield* fput(file);
    }
    yield* kmem_cache_free(K.vfs.filesCache, files.addr);
  }
  if (--fs.count.counter === 0) yield* kmem_cache_free(K.vfs.fsCache, fs.addr);
});

/** Kernel threads share what init_task has (CLONE_FS | CLONE_FILES). */
export function share_files(task: Task, filesAt: number, fsAt: number): void {
  const files = K.view(files_struct, filesAt);
  const fs = K.view(fs_struct, fsAt);
  files.count.counter = files.count.counter + 1;
  fs.count.counter = fs.count.counter + 1;
  task.s.files = filesAt;
  task.s.fs = fsAt;
}
