// What a drive's error becomes: messages, retries, a reset, a failed request (drivers/ide/ide-io.c, ide-lib.c of 2.6.9).
import { kfunc } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { REQ_CMD, end_that_request_first, end_that_request_last, type Request } from "../block/request.ts";
import { blkdev_dequeue_request } from "../block/queue.ts";
import {
  ABRT_ERR,
  BUSY_STAT,
  DMA_PIO_RETRY,
  DRQ_STAT,
  ECC_ERR,
  ERROR_MAX,
  ERROR_RECAL,
  ERROR_RESET,
  ERR_STAT,
  HWGROUP,
  ICRC_ERR,
  IDE_DATA,
  IDE_ERROR,
  IDE_HCYL,
  IDE_LCYL,
  IDE_SECTOR,
  IDE_SELECT,
  SPECIAL_RECALIBRATE,
  WRERR_STAT,
  ide_lock,
  ide_stopped,
  type ide_drive_t,
  type ide_startstop_t,
} from "./ide.ts";
import { ide_do_reset } from "./ide-iops.ts";

/** An interface CRC error aborts the command, too. */
const BAD_CRC = ABRT_ERR | ICRC_ERR;
const TRK0_ERR = 0x02;

const STATUS_NAMES: readonly (readonly [number, string])[] = [
  [0x40, "DriveReady"],
  [0x20, "DeviceFault"],
  [0x10, "SeekComplete"],
  [0x08, "DataRequest"],
  [0x04, "CorrectedError"],
  [0x02, "Index"],
  [0x01, "Error"],
];
const ERROR_NAMES: readonly (readonly [number, string])[] = [
  [0x40, "UncorrectableError"],
  [0x10, "SectorIdNotFound"],
  [0x04, "DriveStatusError"],
  [0x02, "TrackZeroNotFound"],
  [0x01, "AddrMarkNotFound"],
];
const hex = (value: number): string => value.toString(16).padStart(2, "0");
const named = (value: number, names: readonly (readonly [number, string])[]): string =>
  names.flatMap(([bit, name]) => ((value & bit) !== 0 ? [`${name} `] : [])).join("");

/** Says what status and error registers mean. Returns: the error register, 0 without ERR. Context: any. */
export const ide_dump_status = kfunc("ide_dump_status", function* (drive: ide_drive_t, message: string, stat: number) {
  const { io } = drive.hwif;
  const meaning = (stat & BUSY_STAT) !== 0 ? "Busy " : named(stat, STATUS_NAMES);
  yield* printk(`${drive.name}: ${message}: status=0x${hex(stat)} { ${meaning}}\n`, 6);
  if ((stat & (BUSY_STAT | ERR_STAT)) !== ERR_STAT) return 0;
  const error = io.inb(IDE_ERROR);
  let line = `${drive.name}: ${message}: error=0x${hex(error)} { ${named(error, ERROR_NAMES)}}`;
  if ((error & 0xd1) !== 0 && (error & ABRT_ERR) === 0) {
    const low = io.inb(IDE_SECTOR) | (io.inb(IDE_LCYL) << 8) | (io.inb(IDE_HCYL) << 16);
    line += `, LBAsect=${((io.inb(IDE_SELECT) & 0x0f) * 2 ** 24 + low).toString()}`;
    if (HWGROUP(drive).rq) line += `, sector=${HWGROUP(drive).rq!.s.sector}`;
  }
  yield* printk(`${line}\n`, 6);
  return error;
});

/**
 * Ends the first `nr_sectors` sectors of the request under way (0: what it calls its current ones); the last ones free it.
 * Returns: 0 when it has ended, else 1. Locks: ide_lock, inside. Context: any.
 */
export const ide_end_request = kfunc(
  "ide_end_request",
  function* (drive: ide_drive_t, uptodate: number, nr_sectors: number) {
    const hwgroup = HWGROUP(drive);
    const flags = yield* spin_lock_irqsave(ide_lock());
    const rq = hwgroup.rq!;
    const count = nr_sectors === 0 ? Math.max(1, rq.s.hard_cur_sectors) : nr_sectors;
    // DMA was given up for this request's sake only.
    if (drive.s.state === DMA_PIO_RETRY && drive.s.retry_pio <= 3) {
      drive.s.state = 0;
      drive.s.using_dma = 1;
    }
    let left = 1;
    if ((yield* end_that_request_first(rq, uptodate, count)) === 0) {
      blkdev_dequeue_request(rq);
      hwgroup.rq = undefined;
      yield* end_that_request_last(rq);
      left = 0;
    }
    yield* spin_unlock_irqrestore(ide_lock(), flags);
    return left;
  },
);

/** Ends a request of the driver's own. Locks: ide_lock, inside. */
export const ide_end_drive_cmd = kfunc("ide_end_drive_cmd", function* (drive: ide_drive_t, errors: number) {
  const hwgroup = HWGROUP(drive);
  const flags = yield* spin_lock_irqsave(ide_lock());
  const rq = hwgroup.rq!;
  rq.s.errors = errors;
  blkdev_dequeue_request(rq);
  hwgroup.rq = undefined;
  yield* end_that_request_last(rq);
  yield* spin_unlock_irqrestore(ide_lock(), flags);
});

/** Takes what the drive still wants to give, so that DRQ goes down. */
function try_to_flush_leftover_data(drive: ide_drive_t): void {
  for (let i = Math.max(1, drive.s.mult_count) * 128; i > 0; i--) drive.hwif.io.inl(IDE_DATA);
}

/** A file system's request has failed in some of its sectors. */
const fail_request = kfunc("ide_kill_rq", function* (drive: ide_drive_t, rq: Request) {
  yield* printk(`end_request: I/O error, dev ${drive.name}, sector ${rq.s.sector}\n`, 3);
  yield* ide_end_request(drive, 0, 0);
});

/**
 * Decides what becomes of a request after an error: again, again after a recalibration or reset, or failed.
 * Returns: ide_started when a reset is under way, else ide_stopped. Locks: none held. Context: any.
 */
export const ide_error = kfunc("ide_error", function* (drive: ide_drive_t, message: string, stat: number): Generator<
  void,
  ide_startstop_t,
  void
> {
  const error = yield* ide_dump_status(drive, message, stat);
  const hwgroup = HWGROUP(drive);
  const { rq } = hwgroup;
  if (!rq) return ide_stopped;
  if ((rq.s.flags & REQ_CMD) === 0) {
    yield* ide_end_drive_cmd(drive, 1);
    return ide_stopped;
  }
  if ((stat & (BUSY_STAT | WRERR_STAT)) !== 0) {
    // Nothing else means anything then.
    rq.s.errors = rq.s.errors | ERROR_RESET;
  } else if ((stat & ERR_STAT) !== 0) {
    const crc = (error & BAD_CRC) === BAD_CRC;
    if (crc) drive.s.crc_count = drive.s.crc_count + 1;
    // A bad sector does not get better.
    else if ((error & (ICRC_ERR | ECC_ERR)) !== 0) rq.s.errors = ERROR_MAX;
    else if ((error & TRK0_ERR) !== 0) rq.s.errors = rq.s.errors | ERROR_RECAL;
  }
  if ((stat & DRQ_STAT) !== 0 && (rq.s.flags & 1) === 0) try_to_flush_leftover_data(drive);
  if (rq.s.errors >= ERROR_MAX || drive.s.failures > drive.s.max_failures) {
    yield* fail_request(drive, rq);
    return ide_stopped;
  }
  const { errors } = rq.s;
  rq.s.errors = errors + 1;
  if ((errors & ERROR_RESET) === ERROR_RESET) return (yield* ide_do_reset(drive)) as ide_startstop_t;
  if ((errors & ERROR_RECAL) !== 0) drive.s.special = drive.s.special | SPECIAL_RECALIBRATE;
  return ide_stopped;
});
