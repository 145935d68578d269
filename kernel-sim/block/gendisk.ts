// Disks, partitions and block devices (drivers/block/genhd.c, fs/partitions/check.c of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { poke32 } from "../abi/ram.ts";
import {
  block_device as block_device_struct,
  disk_stats,
  gendisk as gendisk_struct,
  hd_struct,
} from "../abi/structs/block.ts";
import { S_IFBLK, inode } from "../abi/structs/fs.ts";
import { M } from "../abi/ram.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { list_add_tail, list_del } from "../core/list.ts";
import { printk } from "../core/printk.ts";
import { invalidate_inode_pages2_range } from "../mm/direct-io.ts";
import { AddressSpace } from "../mm/page-cache.ts";
import { blk_dev_init } from "./block-layer.ts";
import { MKDEV, blk_register_region } from "./majors.ts";
import { read_partitions } from "./partitions.ts";
import type { RequestQueue } from "./queue.ts";

/** A disk: struct gendisk. Partition 0 is the whole of it. */
export class Gendisk {
  readonly addr: number;
  readonly s: ViewOf<typeof gendisk_struct>;
  readonly stats: ViewOf<typeof disk_stats>;
  readonly name: string;
  readonly queue: RequestQueue;
  /** The driver's object (its scsi_disk). */
  readonly privateData: object | undefined;
  /** The driver's open (fops.open). Returns: 0 or a negative errno. Context: process. */
  open: (() => Running<number>) | undefined;
  /** Struct hd_struct by partition number. */
  readonly parts = new Map<number, ViewOf<typeof hd_struct>>();

  constructor(name: string, queue: RequestQueue, privateData: object | undefined, major: number, firstMinor: number) {
    this.addr = K.bootmem(K.sizeOf(gendisk_struct));
    const s = (this.s = K.view(gendisk_struct, this.addr));
    this.stats = K.view(disk_stats, s.dkstats.addr);
    this.name = name;
    this.queue = queue;
    this.privateData = privateData;
    for (let i = 0; i < 31 && i < name.length; i++) M.u8[s.disk_name + i] = name.charCodeAt(i);
    s.major = major;
    s.first_minor = firstMinor;
    s.minors = 16;
    s.queue = queue.addr;
  }

  get capacity(): number {
    return this.s.capacity;
  }
  set capacity(sectors: number) {
    this.s.capacity = sectors;
  }
}

/** A disk or a partition that can be opened, with its page cache. */
export class BlockDevice {
  readonly addr: number;
  readonly s: ViewOf<typeof block_device_struct>;
  readonly name: string;
  readonly disk: Gendisk;
  /** 0: the whole disk. */
  readonly partno: number;
  /** In sectors of 512 bytes, on the disk. */
  readonly startSector: number;
  readonly sectors: number;
  readonly mapping: AddressSpace;

  constructor(disk: Gendisk, partno: number, startSector: number, sectors: number) {
    this.name = partno === 0 ? disk.name : `${disk.name}${partno}`;
    this.addr = K.bootmem(K.sizeOf(block_device_struct));
    const s = (this.s = K.view(block_device_struct, this.addr));
    this.disk = disk;
    this.partno = partno;
    this.startSector = startSector;
    this.sectors = sectors;
    s.bd_dev = disk.s.major * 2 ** 20 + disk.s.first_minor + partno;
    s.bd_disk = disk.addr;
    s.bd_block_size = 4096;
    s.bd_part = disk.parts.get(partno)?.addr ?? 0;
    this.mapping = new AddressSpace(this);
    // Its inode in the file system of block devices, whose pages are the device's.
    const node = K.view(inode, K.bootmem(K.sizeOf(inode)));
    node.i_mode = S_IFBLK | 0o600;
    node.i_rdev = s.bd_dev;
    node.i_size = sectors * 512;
    node.i_bdev = this.addr;
    node.i_mapping = this.mapping.addr;
    this.mapping.s.host = node.addr;
    s.bd_inode = node.addr;
    list_add_tail(s.bd_list.addr, K.symbol("all_bdevs"));
  }
}

/** Makes a disk; `add_disk` makes it known. `capacity` in sectors is set by the driver before that. */
export function alloc_disk(
  name: string,
  queue: RequestQueue,
  privateData: object | undefined,
  major = 8,
  firstMinor = 0,
): Gendisk {
  const disk = new Gendisk(name, queue, privateData, major, firstMinor);
  queue.disk = disk;
  return disk;
}

function addPartition(disk: Gendisk, partno: number, startSector: number, sectors: number): BlockDevice {
  if (partno > 0) {
    const part = K.view(hd_struct, K.bootmem(K.sizeOf(hd_struct)));
    part.start_sect = startSector;
    part.nr_sects = sectors;
    part.partno = partno;
    disk.parts.set(partno, part);
  }
  const device = new BlockDevice(disk, partno, startSector, sectors);
  K.block.devices.set(device.name, device);
  return device;
}

/** A partition is no more. */
function forgetDevice(name: string): void {
  const device = K.block.devices.get(name);
  if (!device) return;
  list_del(device.s.bd_list.addr);
  K.block.devices.delete(name);
}

/** Makes a disk known and reads its partition table through the block layer. Context: process; sleeps. */
export const add_disk = kfunc("add_disk", function* (disk: Gendisk) {
  blk_dev_init();
  K.block.disks.push(disk);
  blk_register_region(MKDEV(disk.s.major, disk.s.first_minor), disk.s.minors, disk.addr);
  addPartition(disk, 0, 0, disk.capacity);
  yield* rescan_partitions(disk);
});

/** Reads the partition table again and makes its partitions known. Context: process; sleeps. */
export const rescan_partitions = kfunc("rescan_partitions", function* (disk: Gendisk) {
  for (const partno of disk.parts.keys()) forgetDevice(`${disk.name}${partno}`);
  disk.parts.clear();
  const whole = K.block.devices.get(disk.name)!;
  yield* invalidate_inode_pages2_range(whole.mapping, 0, whole.sectors * 512);
  const found = yield* read_partitions(whole);
  let line = ` ${disk.name}:`;
  for (const part of found) {
    addPartition(disk, part.number, part.startSector, part.sectors);
    line += part.extended ? ` ${disk.name}${part.number} <` : ` ${disk.name}${part.number}`;
  }
  if (found.some((p) => p.extended)) line += " >";
  yield* printk(`${line}\n`, 6);
});

/** Opens a block device. Returns: 0 or a negative errno. Context: process. */
export const blkdev_get = kfunc("blkdev_get", function* (bdev: BlockDevice) {
  const error = bdev.disk.open ? yield* bdev.disk.open() : 0;
  if (error === 0) bdev.s.bd_openers = bdev.s.bd_openers + 1;
  return error;
});

/** The disk or partition with this name ("sde1"), or undefined. */
export const lookup_bdev = (name: string): BlockDevice | undefined => K.block?.devices.get(name);

/** Accounts the time during which the disk had something to do. Locks: its queue's. */
export function disk_round_stats(disk: Gendisk): void {
  const now = K.time.jiffies;
  const { s, stats } = disk;
  const passed = Math.max(0, now - s.stamp);
  const inFlight = s.in_flight;
  if (passed > 0) {
    poke32(stats.addr + K.offsetOf(disk_stats, "time_in_queue"), stats.time_in_queue + passed * inFlight);
    if (inFlight > 0) stats.io_ticks = stats.io_ticks + passed;
  }
  s.stamp = now;
}
