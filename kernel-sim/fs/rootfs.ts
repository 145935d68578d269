// The first file system (init/do_mounts.c, fs/ramfs of 2.6.9): a root directory in memory with the device files that process 1
// needs, and process 1's console.
import { S_IFBLK, S_IFCHR, S_IFDIR, S_IFREG } from "../abi/structs/fs.ts";
import { MKDEV } from "../block/majors.ts";
import { blkdev_get, type BlockDevice } from "../block/gendisk.ts";
import { K, current } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kmem_cache_zalloc } from "../mm/slab.ts";
import { CONSOLE_MINOR, MEM_MAJOR, NULL_MINOR, TTYAUX_MAJOR } from "./char-dev.ts";
import { directoriesOf, fget_light, set_fs } from "./files.ts";
import { Namespace, VfsMount, do_mount, type Place } from "./namespace.ts";
import { O_RDWR, path_lookup, sys_dup, sys_open, vfs_create } from "./open.ts";
import { get_sb, register_filesystem, type FileSystemType } from "./super.ts";

const RAMFS_MAGIC = 0x858458f6;

/** Mounts the root and fills it. Returns: 0 or -ENOMEM. Context: process 1, before anything opens a file. */
export const init_mount_tree = kfunc("init_mount_tree", function* () {
  const sb = yield* get_sb(register_filesystem("rootfs"), undefined, RAMFS_MAGIC);
  const addr = yield* kmem_cache_zalloc(K.vfs.mountCache, GFP_KERNEL);
  if (!sb || addr === 0) return -12;
  const mount = new VfsMount(addr, sb, "rootfs");
  K.vfs.namespace = new Namespace(mount);
  const root = { mount, dentry: sb.root };
  // init_fs, which every kernel thread shares.
  set_fs(directoriesOf(current()), root, root);
  for (const task of K.tasks.values()) task.s.namespace = K.vfs.namespace.addr;
  for (const path of ["/dev", "/bin", "/mnt"]) yield* vfs_create(path, { mode: S_IFDIR | 0o755 });
  yield* vfs_create("/dev/null", { mode: S_IFCHR | 0o666, rdev: MKDEV(MEM_MAJOR, NULL_MINOR) });
  yield* vfs_create("/dev/console", { mode: S_IFCHR | 0o600, rdev: MKDEV(TTYAUX_MAJOR, CONSOLE_MINOR) });
  return 0;
});

/** Standard input, output and error of process 1, which everybody inherits. Context: process 1. */
export const open_console = kfunc("init_open_console", function* () {
  const fd = yield* sys_open("/dev/console", O_RDWR);
  if (fd < 0) return;
  yield* sys_dup(fget_light(fd));
  yield* sys_dup(fget_light(fd));
});

/** The device file of a disk or partition, made when it is asked for first. Returns: its path. Context: process. */
export const device_file = kfunc("device_file", function* (bdev: BlockDevice) {
  const path = `/dev/${bdev.name}`;
  if (!(yield* path_lookup(path))) yield* vfs_create(path, { mode: S_IFBLK | 0o660, rdev: bdev.s.bd_dev });
  return path;
});

/** A program's file, of so many bytes. Returns: its path. Context: process. */
export const program_file = kfunc("program_file", function* (name: string, bytes: number) {
  const path = `/bin/${name}`;
  if (!(yield* path_lookup(path))) yield* vfs_create(path, { mode: S_IFREG | 0o755, sizeBytes: bytes });
  return path;
});

/** A file system on a device, mounted at /mnt/<device>: the one that is there already, else a new one. Context: process. */
export const mount_device = kfunc("mount_device", function* (type: FileSystemType, bdev: BlockDevice, magic: number) {
  const path = `/mnt/${bdev.name}`;
  const known = yield* path_lookup(path);
  if (known && known.mount.sb.bdev === bdev) return path;
  if (!known && (yield* vfs_create(path, { mode: S_IFDIR | 0o755 })) < 0) return undefined;
  const at: Place | undefined = yield* path_lookup(path);
  if ((yield* blkdev_get(bdev)) !== 0) return undefined;
  const sb = yield* get_sb(type, bdev, magic);
  if (!at || !sb) return undefined;
  const mount = yield* do_mount(sb, yield* device_file(bdev), at);
  return mount && path;
});
