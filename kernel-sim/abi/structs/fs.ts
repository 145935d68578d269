// Files, directories and mounts (include/linux/fs.h, dcache.h, file.h, fs_struct.h, mount.h, namespace.h of 2.6.9).
import {
  array,
  char,
  charPtr,
  funcPtr,
  int,
  ptr,
  struct,
  typedef,
  u16,
  u64,
  u8,
  uint,
  ulong,
  voidPtr,
} from "../types.ts";
import type { CType } from "../types.ts";
import { atomic_t, hlist_node, listHead, semaphore, spinlock_t } from "./base.ts";
import { address_space } from "./mm.ts";

export const umode_t = typedef("umode_t", u16);
export const dev_t = typedef("dev_t", uint);
export const loff_t = typedef("loff_t", u64);

/** x86_64: 0x01000000 is free; readers take one each, a writer all of it. */
export const rwlock_t = typedef("rwlock_t", struct("rwlock_t", { lock: uint }));
export const rw_semaphore = struct("rw_semaphore", { count: int, wait_lock: spinlock_t, wait_list: listHead });
export const rcu_head = struct("rcu_head", { next: voidPtr, func: funcPtr });

export const qstr = struct("qstr", { name: charPtr, len: uint, hash: uint }, { doc: "a name and its hash (dcache.h)" });

/** Names up to this length lie in the dentry itself (x86_64). */
export const DNAME_INLINE_LEN_MIN = 36;

export const dentry = struct(
  "dentry",
  {
    d_count: atomic_t,
    d_flags: uint,
    d_lock: spinlock_t,
    d_inode: ptr((): CType => inode),
    d_parent: ptr((): CType => dentry),
    d_name: qstr,
    d_lru: listHead,
    d_child: listHead,
    d_subdirs: listHead,
    d_alias: listHead,
    d_time: ulong,
    d_op: voidPtr,
    d_sb: ptr((): CType => super_block),
    d_fsdata: voidPtr,
    d_rcu: rcu_head,
    d_hash: hlist_node,
    d_mounted: int,
    d_iname: array(u8, DNAME_INLINE_LEN_MIN),
  },
  { doc: "a name in a directory (include/linux/dcache.h)" },
);

/** i_mode: what kind of file (include/linux/stat.h). */
export const S_IFCHR = 0o020000;
export const S_IFDIR = 0o040000;
export const S_IFBLK = 0o060000;
export const S_IFREG = 0o100000;

export const inode = struct(
  "inode",
  {
    i_hash: hlist_node,
    i_list: listHead,
    i_dentry: listHead,
    i_ino: ulong,
    i_count: atomic_t,
    i_mode: umode_t,
    i_nlink: uint,
    i_uid: uint,
    i_gid: uint,
    i_rdev: dev_t,
    i_size: loff_t,
    i_blkbits: uint,
    i_blksize: ulong,
    i_version: ulong,
    i_blocks: ulong,
    i_lock: spinlock_t,
    i_sem: semaphore,
    i_op: voidPtr,
    i_fop: ptr((): CType => file_operations),
    i_sb: ptr((): CType => super_block),
    i_mapping: ptr(() => address_space),
    i_data: address_space,
    i_devices: listHead,
    i_bdev: voidPtr,
    i_cdev: voidPtr,
    i_state: ulong,
    dirtied_when: ulong,
    i_flags: uint,
    i_writecount: atomic_t,
  },
  { doc: "a file on a file system, whatever its names (include/linux/fs.h)" },
);

export const file_operations = struct(
  "file_operations",
  {
    owner: voidPtr,
    llseek: funcPtr,
    read: funcPtr,
    write: funcPtr,
    ioctl: funcPtr,
    mmap: funcPtr,
    open: funcPtr,
    release: funcPtr,
    fsync: funcPtr,
  },
  { doc: "what can be done with an open file (include/linux/fs.h), the entries that are used here" },
);

/** f_mode: what it was opened for. */
export const FMODE_READ = 1;
export const FMODE_WRITE = 2;

export const file = struct(
  "file",
  {
    f_list: listHead,
    f_dentry: ptr((): CType => dentry),
    f_vfsmnt: ptr((): CType => vfsmount),
    f_op: ptr((): CType => file_operations),
    f_count: atomic_t,
    f_flags: uint,
    f_mode: u16,
    f_error: int,
    f_pos: loff_t,
    f_uid: uint,
    f_gid: uint,
    f_version: ulong,
    private_data: voidPtr,
    f_mapping: ptr(() => address_space),
  },
  { doc: "an open file (include/linux/fs.h)" },
);

export const NR_OPEN_DEFAULT = 64;
/** 1024 bits. Words of 32 bits are the same bytes on little-endian machines. */
export const fd_set = typedef("fd_set", struct("fd_set", { fds_bits: array(uint, 32) }));
export const files_struct = struct(
  "files_struct",
  {
    count: atomic_t,
    file_lock: spinlock_t,
    max_fds: int,
    max_fdset: int,
    next_fd: int,
    fd: ptr((): CType => ptr((): CType => file)),
    close_on_exec: ptr((): CType => fd_set),
    open_fds: ptr((): CType => fd_set),
    close_on_exec_init: fd_set,
    open_fds_init: fd_set,
    fd_array: array(
      ptr((): CType => file),
      NR_OPEN_DEFAULT,
    ),
  },
  { doc: "the open files of a process (include/linux/file.h)" },
);

export const fs_struct = struct(
  "fs_struct",
  {
    count: atomic_t,
    lock: rwlock_t,
    umask: int,
    root: ptr(() => dentry),
    pwd: ptr(() => dentry),
    altroot: ptr(() => dentry),
    rootmnt: ptr((): CType => vfsmount),
    pwdmnt: ptr((): CType => vfsmount),
    altrootmnt: ptr((): CType => vfsmount),
  },
  { doc: "the root and the working directory of a process (include/linux/fs_struct.h)" },
);

export const file_system_type = struct(
  "file_system_type",
  {
    name: charPtr,
    fs_flags: int,
    get_sb: voidPtr,
    kill_sb: voidPtr,
    owner: voidPtr,
    next: ptr((): CType => file_system_type),
    fs_supers: listHead,
  },
  { doc: "include/linux/fs.h; all of them from `file_systems`" },
);

export const super_block = struct(
  "super_block",
  {
    s_list: listHead,
    s_dev: dev_t,
    s_blocksize: ulong,
    s_old_blocksize: ulong,
    s_blocksize_bits: u8,
    s_dirt: u8,
    s_maxbytes: u64,
    s_type: ptr((): CType => file_system_type),
    s_op: voidPtr,
    s_flags: ulong,
    s_magic: ulong,
    s_root: ptr((): CType => dentry),
    s_umount: rw_semaphore,
    s_lock: semaphore,
    s_count: int,
    s_active: atomic_t,
    s_inodes: listHead,
    s_dirty: listHead,
    s_io: listHead,
    s_files: listHead,
    s_bdev: voidPtr,
    s_instances: listHead,
    s_id: array(char, 32),
    s_fs_info: voidPtr,
  },
  { doc: "a mounted file system (include/linux/fs.h); all of them on `super_blocks`" },
);

export const vfsmount = struct(
  "vfsmount",
  {
    mnt_hash: listHead,
    mnt_parent: ptr((): CType => vfsmount),
    mnt_mountpoint: ptr((): CType => dentry),
    mnt_root: ptr((): CType => dentry),
    mnt_sb: ptr((): CType => super_block),
    mnt_mounts: listHead,
    mnt_child: listHead,
    mnt_count: atomic_t,
    mnt_flags: int,
    mnt_expiry_mark: int,
    mnt_devname: charPtr,
    mnt_list: listHead,
    mnt_fslink: listHead,
    mnt_namespace: ptr((): CType => namespace),
  },
  { doc: "where a file system is mounted (include/linux/mount.h)" },
);

export const namespace = struct(
  "namespace",
  { count: atomic_t, root: ptr((): CType => vfsmount), list: listHead, sem: rw_semaphore },
  { doc: "the mounts that a process sees (include/linux/namespace.h)" },
);
