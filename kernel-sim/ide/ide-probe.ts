// Finding drives on a channel, and making the channel work (drivers/ide/ide-probe.c of 2.6.9).
import { M } from "../abi/ram.ts";
import { hd_driveid } from "../abi/structs/ide.ts";
import { layoutOf } from "../abi/types.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { SA_SHIRQ, request_irq } from "../core/irq.ts";
import { printk } from "../core/printk.ts";
import { msleep } from "../core/timer.ts";
import {
  blk_init_queue,
  blk_queue_max_hw_segments,
  blk_queue_max_phys_segments,
  blk_queue_max_sectors,
  blk_queue_segment_boundary,
} from "../block/queue.ts";
import {
  BAD_R_STAT,
  BUSY_STAT,
  DRQ_STAT,
  IDE_ALTSTATUS,
  IDE_COMMAND,
  IDE_CONTROL,
  IDE_SELECT,
  IDE_STATUS,
  OK_STAT,
  PRD_ENTRIES,
  READY_STAT,
  WAIT_WORSTCASE_S,
  WIN_IDENTIFY,
  ide_disk,
  ide_hwgroup_t,
  ide_lock,
  ticks,
  type ide_drive_t,
  type ide_hwif_t,
} from "./ide.ts";
import { idedisk_attach } from "./ide-disk.ts";
import { ide_allocate_dma_engine } from "./ide-dma.ts";
import { do_ide_request, ide_intr, ide_timer_expiry } from "./ide-io.ts";
import { SELECT_DRIVE, ata_input_data } from "./ide-iops.ts";

/** PIO: the best mode that both sides have. */
const BEST_PIO = 255;
const PROBE_MS = 50;
const ID_WORDS = 256;
/** In the second word of config: an ATA device, not removable media of the packet kind. */
const ATAPI = 0x8000;

/** Numbers in the CPU's byte order, field by field, and strings with their characters in order. */
function ide_fix_driveid(at: number): void {
  for (const { offset, size, type } of layoutOf(hd_driveid, K.map.model).fields.values()) {
    const unit = type.kind === "array" ? K.sizeOf(type.of) : size;
    if (type.kind === "array" && unit === 1) {
      // The first character of each pair is in the upper byte of its word.
      for (let i = 0; i < size; i += 2) M.u8.subarray(at + offset + i, at + offset + i + 2).reverse();
    } else if (!M.little) {
      for (let i = 0; i < size; i += unit) M.u8.subarray(at + offset + i, at + offset + i + unit).reverse();
    }
  }
}

const text = (at: number, length: number): string => String.fromCharCode(...M.u8.subarray(at, at + length)).trim();

/** Takes the 256 words of identify data. The drive has DRQ. */
const do_identify = kfunc("do_identify", function* (drive: ide_drive_t) {
  const { id, s } = drive;
  yield* ata_input_data(drive, id.addr, ID_WORDS / 2);
  ide_fix_driveid(id.addr);
  s.id_read = 1;
  if ((id.config & ATAPI) !== 0) {
    yield* printk(`${drive.name}: packet device, ignored\n`, 6);
    return;
  }
  s.media = ide_disk;
  s.present = 1;
  yield* printk(`${drive.name}: ${text(id.model, 40)}, ATA DISK drive\n`, 6);
});

/** Sends IDENTIFY with interrupts off at the drive. Returns: true when it has answered with data. */
const try_to_identify = kfunc("try_to_identify", function* (drive: ide_drive_t) {
  const { io, ctl } = drive.hwif;
  const { s } = drive;
  ctl.outb(s.ctl | 2, IDE_CONTROL);
  yield* msleep(PROBE_MS);
  io.outb(WIN_IDENTIFY, IDE_COMMAND);
  const until = K.time.jiffies + ticks(WAIT_WORSTCASE_S / 2);
  do {
    if (K.time.jiffies > until) return false;
    yield* msleep(PROBE_MS);
  } while ((ctl.inb(IDE_ALTSTATUS) & BUSY_STAT) !== 0);
  const found = OK_STAT(io.inb(IDE_STATUS), DRQ_STAT, BAD_R_STAT);
  if (found) {
    yield* do_identify(drive);
    io.inb(IDE_STATUS);
  }
  ctl.outb(s.ctl, IDE_CONTROL);
  return found;
});

/** Is there a drive at this place of the cable? */
const probe_for_drive = kfunc("probe_for_drive", function* (drive: ide_drive_t) {
  const { hwif, s } = drive;
  SELECT_DRIVE(drive);
  yield* msleep(PROBE_MS);
  if (hwif.io.inb(IDE_SELECT) === s.select && OK_STAT(hwif.io.inb(IDE_STATUS), READY_STAT, BUSY_STAT)) {
    yield* try_to_identify(drive);
  }
  if (drive.unit !== 0 && s.present === 0) {
    // Whoever answered for it goes on being selected otherwise.
    SELECT_DRIVE(hwif.drives[0]!);
    yield* msleep(PROBE_MS);
  }
});

function ide_init_queue(drive: ide_drive_t): void {
  // ide_lock is the queue's lock, too: whoever queues a request can start it.
  const q = blk_init_queue(do_ide_request, ide_lock(), drive.name);
  q.queuedata = drive;
  q.s.queuedata = drive.addr;
  blk_queue_segment_boundary(q, 0xffff);
  blk_queue_max_sectors(q, 256);
  blk_queue_max_hw_segments(q, PRD_ENTRIES);
  blk_queue_max_phys_segments(q, PRD_ENTRIES);
  drive.queue = q;
  drive.s.queue = q.addr;
}

/** Looks for the drives of a channel and tunes them. Context: process; sleeps. */
export const probe_hwif = kfunc("probe_hwif", function* (hwif: ide_hwif_t) {
  for (const drive of hwif.drives) yield* probe_for_drive(drive);
  const present = hwif.drives.filter((drive) => drive.s.present !== 0);
  hwif.s.present = present.length > 0 ? 1 : 0;
  if (present.length === 0) return;
  ide_allocate_dma_engine(hwif);
  for (const drive of present) {
    yield* hwif.ops.tuneproc(drive, BEST_PIO);
    if ((yield* hwif.ops.ide_dma_check(drive)) === 0) drive.s.using_dma = 1;
  }
});

/** Interrupt, queues and disks of a channel with drives. Returns: 0, or -EBUSY when its line is taken. Context: process. */
export const hwif_init = kfunc("hwif_init", function* (hwif: ide_hwif_t) {
  if (hwif.s.present === 0) return 0;
  const hwgroup = new ide_hwgroup_t(hwif, ide_timer_expiry);
  for (const drive of hwif.drives) {
    if (drive.s.present === 0) continue;
    ide_init_queue(drive);
    hwgroup.drives.push(drive);
  }
  const taken = yield* request_irq(hwif.irq, () => ide_intr(hwgroup), SA_SHIRQ, hwif.name, hwgroup.addr);
  if (taken !== 0) return taken;
  const [first, control] = hwif.index === 0 ? ["1f0", "3f6"] : ["170", "376"];
  const last = hwif.index === 0 ? "1f7" : "177";
  yield* printk(`${hwif.name} at 0x${first}-0x${last},0x${control} on irq ${hwif.irq}\n`, 6);
  for (const drive of hwgroup.drives) yield* idedisk_attach(drive);
  return 0;
});
