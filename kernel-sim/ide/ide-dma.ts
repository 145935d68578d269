// Bus-master DMA: descriptor tables, starting and ending transfers, and what is done when one does not end
// (drivers/ide/ide-dma.c of 2.6.9).
import { step } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { kfunc, kleaf } from "../core/kfunc.ts";
import {
  PCI_DMA_FROMDEVICE,
  PCI_DMA_TODEVICE,
  pci_alloc_consistent,
  pci_map_single,
  pci_unmap_single,
} from "../core/pci-dma.ts";
import { printk } from "../core/printk.ts";
import { WRITE, blk_rq_map_sg, rq_data_dir, type Request } from "../block/request.ts";
import {
  DMA_COMMAND,
  DMA_PIO_RETRY,
  DMA_PRDTABLE,
  DMA_STATUS,
  DRIVE_READY,
  DRQ_STAT,
  HWGROUP,
  IDE_STATUS,
  OK_STAT,
  PRD_ENTRIES,
  WAIT_CMD_S,
  ide_stopped,
  ticks,
  type ide_drive_t,
  type ide_hwif_t,
  type ide_startstop_t,
} from "./ide.ts";
import { ide_end_request, ide_error } from "./ide-error.ts";
import { drive_is_ready, ide_execute_command } from "./ide-iops.ts";

const TWO_32 = 4294967296;
const PRD_BYTES = 8;
const PRD_EOT = 0x80000000;
const ENTRY_NS = 8;

/** Memory for a channel's descriptor table: one page, so it crosses no 64 KiB boundary. Context: process, at probe. */
export function ide_allocate_dma_engine(hwif: ide_hwif_t): void {
  hwif.dmatable = pci_alloc_consistent(hwif.pdev, PRD_ENTRIES * PRD_BYTES, 4096);
  hwif.s.dmatable_cpu = hwif.dmatable;
  hwif.s.dmatable_dma = hwif.dmatable;
  hwif.s.sg_max_nents = PRD_ENTRIES;
}

/** Maps the request's data into `hwif.segments`. Returns how many pieces. Locks: none; the group is ours. */
export function ide_map_sg(drive: ide_drive_t, rq: Request): number {
  const { hwif } = drive;
  hwif.sg_nents = blk_rq_map_sg(drive.queue!, rq, hwif.segments);
  hwif.s.sg_nents = hwif.sg_nents;
  hwif.s.sg_dma_direction = rq_data_dir(rq) === WRITE ? PCI_DMA_TODEVICE : PCI_DMA_FROMDEVICE;
  return hwif.sg_nents;
}

/** Descriptors are little endian on every platform; the queue's limits keep regions inside 64 KiB. */
const ide_build_dmatable = kleaf("ide_build_dmatable", (drive: ide_drive_t, rq: Request): number => {
  const { hwif } = drive;
  const count = ide_map_sg(drive, rq);
  if (count > PRD_ENTRIES) return 0;
  const { u32 } = M;
  for (let i = 0; i < count; i++) {
    const { address, length } = hwif.segments[i]!;
    // The bus master has 32 address bits. (The C kernel has an IOMMU or bounce buffers for this; here the port does it.)
    if (address + length > TWO_32) return 0;
    const at = (hwif.dmatable + i * PRD_BYTES) >>> 2;
    step(ENTRY_NS);
    u32[at] = address;
    u32[at + 1] = ((length & 0xffff) | (i === count - 1 ? PRD_EOT : 0)) >>> 0;
  }
  return count;
});

/** Hands the request's memory to the bus master (pci_map_sg). */
function map_sg(hwif: ide_hwif_t): void {
  for (let i = 0; i < hwif.sg_nents; i++) {
    const { address, length } = hwif.segments[i]!;
    pci_map_single(hwif.pdev, address, length);
  }
}

/** Takes it back (pci_unmap_sg). */
function ide_destroy_dmatable(hwif: ide_hwif_t): void {
  for (let i = 0; i < hwif.sg_nents; i++) {
    const { address, length } = hwif.segments[i]!;
    pci_unmap_single(hwif.pdev, address, length, hwif.s.sg_dma_direction);
  }
}

/** Makes the bus master ready for a request. Returns: 0, or 1: by port, please. Locks: none; the group is ours. */
export const ide_dma_setup = kfunc("ide_dma_setup", function* (drive: ide_drive_t) {
  const { hwif } = drive;
  const { bm, dmaBase } = hwif;
  const rq = HWGROUP(drive).rq!;
  if (ide_build_dmatable(drive, rq) === 0) return 1;
  map_sg(hwif);
  bm.outl(hwif.dmatable, dmaBase + DMA_PRDTABLE);
  bm.outb(rq_data_dir(rq) === WRITE ? 0 : 8, dmaBase + DMA_COMMAND);
  // What an earlier transfer left behind.
  const stat = bm.inb(dmaBase + DMA_STATUS);
  bm.outb(stat | 6, dmaBase + DMA_STATUS);
  drive.s.waiting_for_dma = 1;
  return 0;
});

/** Sends the command; the bus master starts afterwards. */
export const ide_dma_exec_cmd = kfunc("ide_dma_exec_cmd", function* (drive: ide_drive_t, command: number) {
  yield* ide_execute_command(drive, command, ide_dma_intr, ticks(2 * WAIT_CMD_S), dma_timer_expiry);
});

/** The start bit: from here on the drive moves its data by itself. */
export const ide_dma_start = kleaf("ide_dma_start", (drive: ide_drive_t): void => {
  const { bm, dmaBase } = drive.hwif;
  const command = bm.inb(dmaBase + DMA_COMMAND);
  bm.outb(command | 1, dmaBase + DMA_COMMAND);
});

/** Stops the bus master. Returns: 0 when the transfer went well, else its status and 10h. */
const __ide_dma_end = kfunc("__ide_dma_end", function* (drive: ide_drive_t) {
  const { hwif } = drive;
  const { bm, dmaBase } = hwif;
  drive.s.waiting_for_dma = 0;
  const command = bm.inb(dmaBase + DMA_COMMAND);
  bm.outb(command & ~1, dmaBase + DMA_COMMAND);
  const stat = bm.inb(dmaBase + DMA_STATUS);
  bm.outb(stat | 6, dmaBase + DMA_STATUS);
  ide_destroy_dmatable(hwif);
  return (stat & 7) === 4 ? 0 : 0x10 | stat;
});

/** The end of a DMA command. Context: hardirq or timer. */
export const ide_dma_intr = kfunc("ide_dma_intr", function* (drive: ide_drive_t): Generator<
  void,
  ide_startstop_t,
  void
> {
  const dma = yield* __ide_dma_end(drive);
  const stat = drive.hwif.io.inb(IDE_STATUS);
  if (OK_STAT(stat, DRIVE_READY, drive.s.bad_wstat | DRQ_STAT)) {
    if (dma === 0) {
      yield* ide_end_request(drive, 1, HWGROUP(drive).rq!.s.nr_sectors);
      return ide_stopped;
    }
    yield* printk(`${drive.name}: dma_intr: bad DMA status (dma_stat=${dma.toString(16)})\n`, 3);
  }
  return yield* ide_error(drive, "dma_intr", stat);
});

/** The timer has run out: is the transfer still going on? Locks: ide_lock held. */
const dma_timer_expiry = kfunc("dma_timer_expiry", function* (drive: ide_drive_t) {
  const { bm, dmaBase } = drive.hwif;
  const stat = bm.inb(dmaBase + DMA_STATUS);
  yield* printk(`${drive.name}: dma_timer_expiry: dma status == 0x${stat.toString(16).padStart(2, "0")}\n`, 4);
  HWGROUP(drive).expiry = undefined;
  if ((stat & 2) !== 0) return -1;
  return (stat & 5) !== 0 ? ticks(WAIT_CMD_S) : 0;
});

/** The drive is done, its interrupt has not come. */
export const ide_dma_lostirq = kfunc("__ide_dma_lostirq", function* (drive: ide_drive_t) {
  yield* printk(`${drive.name}: DMA interrupt recovery\n`, 4);
});

const __ide_dma_timeout = kfunc("__ide_dma_timeout", function* (drive: ide_drive_t) {
  yield* printk(`${drive.name}: timeout waiting for DMA\n`, 3);
  if (yield* drive_is_ready(drive)) return;
  yield* __ide_dma_end(drive);
});

/** Gives DMA up for this request, which starts again by port. Returns: ide_started when the drive is being reset. */
export const ide_dma_timeout_retry = kfunc("ide_dma_timeout_retry", function* (drive: ide_drive_t, error: number) {
  const { s, hwif } = drive;
  const hwgroup = HWGROUP(drive);
  const { rq } = hwgroup;
  let ret: ide_startstop_t = ide_stopped;
  if (error < 0) {
    yield* printk(`${drive.name}: DMA timeout error\n`, 4);
    yield* __ide_dma_end(drive);
    ret = yield* ide_error(drive, "dma timeout error", hwif.io.inb(IDE_STATUS));
  } else {
    yield* printk(`${drive.name}: DMA timeout retry\n`, 4);
    yield* __ide_dma_timeout(drive);
  }
  s.retry_pio = s.retry_pio + 1;
  s.state = DMA_PIO_RETRY;
  s.using_dma = 0;
  s.waiting_for_dma = 0;
  if (rq && hwgroup.rq === rq) {
    rq.s.errors = 0;
    hwgroup.rq = undefined;
  }
  return ret;
});

/** Checks what kind of DMA drive and chipset have in common. Returns: the SET FEATURES mode, 0 for none. */
export function ide_dma_speed(drive: ide_drive_t, ultraMask: number): number {
  const { id } = drive;
  if ((id.capability & 1) === 0) return 0;
  const ultra = (id.field_valid & 4) !== 0 ? id.dma_ultra & 0xff & ultraMask : 0;
  // Faster than UDMA 2 takes an 80-wire cable.
  const wired = (id.hw_config & 0x6000) === 0x6000 ? ultra : ultra & 0x07;
  if (wired !== 0) return 0x40 + (31 - Math.clz32(wired));
  const words = id.dma_mword & 0x07;
  return words !== 0 ? 0x20 + (31 - Math.clz32(words)) : 0;
}
