// IDE disks as block devices: hda, hdb, … (drivers/ide/ide-disk.c of 2.6.9).
import { M } from "../abi/ram.ts";
import { block_device_operations } from "../abi/structs/devices.ts";
import { add_disk, alloc_disk, type Gendisk } from "../block/gendisk.ts";
import { register_blkdev } from "../block/majors.ts";
import {
  blk_execute_rq,
  blk_get_request,
  blk_put_request,
  blk_queue_issue_flush_fn,
  blk_queue_max_sectors,
  type RequestQueue,
} from "../block/queue.ts";
import { REQ_DRIVE_TASK, REQ_SOFTBARRIER, WRITE } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { kfunc, textAddressOf } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import {
  SETFEATURES_EN_WCACHE,
  SPECIAL_SET_MULTMODE,
  WAIT_WORSTCASE_S,
  WIN_FLUSH_CACHE,
  WIN_FLUSH_CACHE_EXT,
  WIN_SETFEATURES,
  ticks,
  type ide_drive_t,
} from "./ide.ts";
import { ide_simple_command } from "./ide-iops.ts";

/** id.command_set_2, cfs_enable_2: 48-bit addresses; FLUSH CACHE, FLUSH CACHE EXT. */
const LBA48 = 0x0400;
const FLUSH = 0x1000;
const FLUSH_EXT = 0x2000;
/** Minors of a drive: 63 partitions. */
export const PARTN_BITS = 6;
const MIB = 2 ** 20;

/** The flush command that the drive has: with 48-bit addresses, or without. */
export const flushCommand = (drive: ide_drive_t): number =>
  drive.s.addressing === 1 && (drive.id.cfs_enable_2 & FLUSH_EXT) !== 0 ? WIN_FLUSH_CACHE_EXT : WIN_FLUSH_CACHE;

/** fsync's way to the platters. Returns: 0 or -EIO. Context: process; sleeps. */
const idedisk_issue_flush = kfunc(
  "idedisk_issue_flush",
  function* (q: RequestQueue, disk: Gendisk, drive: ide_drive_t) {
    if (drive.s.wcache === 0) return 0;
    const rq = (yield* blk_get_request(q, WRITE, GFP_KERNEL))!;
    rq.s.flags = rq.s.flags | REQ_DRIVE_TASK | REQ_SOFTBARRIER;
    M.u8.fill(0, rq.cmd, rq.cmd + 16);
    M.u8[rq.cmd] = flushCommand(drive);
    rq.s.timeout = ticks(WAIT_WORSTCASE_S);
    const errors = yield* blk_execute_rq(q, disk, rq);
    yield* blk_put_request(rq);
    return errors === 0 ? 0 : -5;
  },
);

/** Capacity, addressing, multiple mode, write cache: what identify data mean for this drive. Context: process. */
const idedisk_setup = kfunc("idedisk_setup", function* (drive: ide_drive_t) {
  const { id, s } = drive;
  s.cyl = id.cyls;
  s.head = id.heads;
  s.sect = id.sectors;
  s.capacity64 = id.cyls * id.heads * id.sectors;
  if ((id.capability & 2) !== 0) {
    s.select = s.select | 0x40;
    s.capacity64 = id.lba_capacity;
    if ((id.command_set_2 & LBA48) !== 0 && id.lba_capacity_2 > 0) {
      s.addressing = 1;
      s.capacity64 = id.lba_capacity_2;
      blk_queue_max_sectors(drive.queue!, MIB / 512);
    }
  }
  yield* printk(`${drive.name}: max request size: ${drive.queue!.s.max_sectors / 2}KiB\n`, 6);
  const megabytes = Math.floor((s.capacity64 * 512) / 1e6);
  const cache = id.buf_size > 0 ? ` w/${Math.floor(id.buf_size / 2)}KiB Cache` : "";
  const line = `${drive.name}: ${s.capacity64} sectors (${megabytes} MB)${cache}, CHS=${s.cyl}/${s.head}/${s.sect}`;
  yield* printk(`${line}${dmaText(drive)}\n`, 6);
  if (id.max_multsect > 1) {
    s.mult_req = id.max_multsect;
    s.special = s.special | SPECIAL_SET_MULTMODE;
  }
  if ((id.cfs_enable_2 & (FLUSH | FLUSH_EXT)) === 0) return;
  if ((yield* ide_simple_command(drive, WIN_SETFEATURES, 0, SETFEATURES_EN_WCACHE)) === 0) s.wcache = 1;
});

const UDMA_NAMES = ["16", "25", "33", "44", "66", "100", "133"];

function dmaText(drive: ide_drive_t): string {
  const { using_dma, current_speed } = drive.s;
  if (using_dma === 0) return "";
  return current_speed >= 0x40 ? `, UDMA(${UDMA_NAMES[current_speed - 0x40] ?? "?"})` : ", (U)DMA";
}

/** Returns: 0. Context: process. The drive is there for good: nobody pulls an IDE disk out. */
const idedisk_open = kfunc("idedisk_open", function* () {
  return 0;
});

/** The disks' operations, made with the first one. */
function idedisk_ops(): number {
  const known = K.symbols.get("idedisk_ops");
  if (known) return known.addr;
  const ops = K.view(block_device_operations, K.static("idedisk_ops", block_device_operations));
  ops.open = textAddressOf(idedisk_open.id);
  return ops.addr;
}

/** Makes a drive that was found the disk hdX, with its partitions. Context: process; sleeps. */
export const idedisk_attach = kfunc("idedisk_attach", function* (drive: ide_drive_t) {
  const queue = drive.queue!;
  yield* idedisk_setup(drive);
  const disk = alloc_disk(drive.name, queue, drive, drive.hwif.s.major, drive.unit << PARTN_BITS);
  disk.s.minors = 1 << PARTN_BITS;
  disk.capacity = drive.s.capacity64;
  disk.s.fops = idedisk_ops();
  disk.open = () => idedisk_open();
  // Both drives of an interface have its major; the first one takes it.
  register_blkdev(drive.hwif.s.major, drive.hwif.name);
  drive.disk = disk;
  drive.s.disk = disk.addr;
  blk_queue_issue_flush_fn(queue, (q, which) => idedisk_issue_flush(q, which, drive));
  yield* add_disk(disk);
});
