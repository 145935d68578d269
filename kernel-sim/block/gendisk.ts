// Disks, partitions and block devices (drivers/block/genhd.c, fs/partitions/check.c of 2.6.9).
import { poke32 } from "../abi/ram.ts";
import {
  block_device as block_device_struct,
  disk_stats,
  gendisk as gendisk_struct,
  hd_struct,
} from "../abi/structs/block.ts";
import { M } from "../abi/ram.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { invalidate_inode_pages2_range } from "../mm/direct-io.ts";
import { AddressSpace } from "../mm/page-cache.ts";
import { blk_dev_init } from "./block-layer.ts";
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

/** Makes a disk known and reads its partition table through the block layer. Context: process; sleeps. */
export const add_disk = kfunc("add_disk", function* (disk: Gendisk) {
  blk_dev_init();
  K.block.disks.push(disk);
  addPartition(disk, 0, 0, disk.capacity);
  yield* rescan_partitions(disk);
});

/** Reads the partition table again and makes its partitions known. Context: process; sleeps. */
export const rescan_partitions = kfunc("rescan_partitions", function* (disk: Gendisk) {
  for (const partno of disk.parts.keys()) K.block.devices.delete(`${disk.name}${partno}`);
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
