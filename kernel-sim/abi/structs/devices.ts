// Registered device numbers (fs/char_dev.c, drivers/block/genhd.c, drivers/base/map.c, include/linux/kobject.h of 2.6.9).
import { array, char, charPtr, funcPtr, int, ptr, struct, uint, ulong, voidPtr } from "../types.ts";
import type { CType } from "../types.ts";
import { atomic_t, listHead } from "./base.ts";
import { dev_t, file_operations } from "./fs.ts";

export const kref = struct("kref", { refcount: atomic_t });
export const kobject = struct(
  "kobject",
  {
    k_name: charPtr,
    name: array(char, 20),
    kref: kref,
    entry: listHead,
    parent: ptr((): CType => kobject),
    kset: voidPtr,
    ktype: voidPtr,
    dentry: voidPtr,
  },
  { doc: "what sysfs shows as a directory (include/linux/kobject.h)" },
);

export const cdev = struct(
  "cdev",
  {
    kobj: kobject,
    owner: voidPtr,
    ops: ptr(() => file_operations),
    list: listHead,
    dev: dev_t,
    count: uint,
  },
  { doc: "a character device (include/linux/cdev.h)" },
);

/** chrdevs[] and major_names[] hash majors into as many chains. */
export const MAX_PROBE_HASH = 255;

export const char_device_struct = struct(
  "char_device_struct",
  {
    next: ptr((): CType => char_device_struct),
    major: uint,
    baseminor: uint,
    minorct: int,
    name: charPtr,
    fops: ptr(() => file_operations),
    cdev: ptr(() => cdev),
  },
  { doc: "a range of character device numbers (fs/char_dev.c)" },
);

export const blk_major_name = struct(
  "blk_major_name",
  { next: ptr((): CType => blk_major_name), major: int, name: array(char, 16) },
  { doc: "who has a block major (drivers/block/genhd.c)" },
);

export const probe = struct(
  "probe",
  {
    next: ptr((): CType => probe),
    dev: dev_t,
    range: ulong,
    owner: voidPtr,
    get: funcPtr,
    lock: funcPtr,
    data: voidPtr,
  },
  { doc: "who answers for a range of device numbers (drivers/base/map.c)" },
);
export const kobj_map = struct("kobj_map", {
  probes: array(
    ptr(() => probe),
    MAX_PROBE_HASH,
  ),
  sem: voidPtr,
});

export const block_device_operations = struct(
  "block_device_operations",
  {
    open: funcPtr,
    release: funcPtr,
    ioctl: funcPtr,
    media_changed: funcPtr,
    revalidate_disk: funcPtr,
    owner: voidPtr,
  },
  { doc: "include/linux/fs.h" },
);

export const class_struct = struct(
  "class",
  { name: charPtr, children: listHead, interfaces: listHead },
  { doc: "a kind of device (include/linux/device.h); its devices hang on `children` by class_device.node" },
);
export const class_device = struct("class_device", {
  node: listHead,
  class: ptr(() => class_struct),
  dev: voidPtr,
  class_data: voidPtr,
  class_id: array(char, 20),
});
