// Data by port: one DRQ block per interrupt (drivers/ide/ide-taskfile.c of 2.6.9).
import { kfunc } from "../core/kfunc.ts";
import { WRITE, rq_data_dir, type Request } from "../block/request.ts";
import {
  BAD_R_STAT,
  BUSY_STAT,
  DRIVE_READY,
  DRQ_STAT,
  ERR_STAT,
  HWGROUP,
  IDE_STATUS,
  OK_STAT,
  WAIT_CMD_S,
  WAIT_DRQ_S,
  ide_started,
  ide_stopped,
  ticks,
  type ide_drive_t,
  type ide_startstop_t,
} from "./ide.ts";
import { ide_map_sg } from "./ide-dma.ts";
import { ide_end_request, ide_error } from "./ide-error.ts";
import { WAITED, ata_input_data, ata_output_data, ide_set_handler, ide_wait_stat } from "./ide-iops.ts";

const SECTOR = 512;

/** Puts the cursor at the start of a request's data. */
export function ide_init_sg_cmd(drive: ide_drive_t, rq: Request): void {
  const { s } = drive.hwif;
  ide_map_sg(drive, rq);
  s.nsect = rq.s.nr_sectors;
  s.nleft = rq.s.nr_sectors;
  s.cursg = 0;
  s.cursg_ofs = 0;
}

/** Moves one sector between the data port and memory. */
const ide_pio_sector = kfunc("ide_pio_sector", function* (drive: ide_drive_t, write: boolean) {
  const { hwif } = drive;
  const { s } = hwif;
  let left = SECTOR;
  while (left > 0) {
    const segment = hwif.segments[s.cursg]!;
    const bytes = Math.min(left, segment.length - s.cursg_ofs);
    const at = segment.address + s.cursg_ofs;
    if (write) yield* ata_output_data(drive, at, bytes / 4);
    else yield* ata_input_data(drive, at, bytes / 4);
    left -= bytes;
    if (s.cursg_ofs + bytes === segment.length) {
      s.cursg = s.cursg + 1;
      s.cursg_ofs = 0;
    } else s.cursg_ofs = s.cursg_ofs + bytes;
  }
  s.nleft = s.nleft - 1;
});

/** One DRQ block: as many sectors as SET MULTIPLE said, or what is left. */
const ide_pio_datablock = kfunc("ide_pio_datablock", function* (drive: ide_drive_t, write: boolean) {
  const { s } = drive.hwif;
  for (let n = Math.min(s.nleft, Math.max(1, drive.s.mult_count)); n > 0; n--) yield* ide_pio_sector(drive, write);
});

/** Ends what went well before an error. */
const task_error = kfunc("task_error", function* (drive: ide_drive_t, message: string, stat: number) {
  const { s } = drive.hwif;
  const block = Math.max(1, drive.s.mult_count);
  const write = rq_data_dir(HWGROUP(drive).rq!) === WRITE;
  // The last block that was written is what failed.
  const good = s.nsect - s.nleft - (write ? Math.min(block, s.nsect - s.nleft) : 0);
  if (good > 0) yield* ide_end_request(drive, 1, good);
  return yield* ide_error(drive, message, stat);
});

/** READ: the drive has a block, or has failed. */
export const task_in_intr = kfunc("task_in_intr", function* (drive: ide_drive_t): Generator<
  void,
  ide_startstop_t,
  void
> {
  const { hwif } = drive;
  const stat = hwif.io.inb(IDE_STATUS);
  if (!OK_STAT(stat, DRQ_STAT, BAD_R_STAT)) {
    if ((stat & (ERR_STAT | DRQ_STAT)) !== 0) return yield* task_error(drive, "task_in_intr", stat);
    // Not its interrupt: the block is still to come.
    yield* ide_set_handler(drive, task_in_intr, ticks(WAIT_CMD_S), undefined);
    return ide_started;
  }
  yield* ide_pio_datablock(drive, false);
  if (hwif.s.nleft > 0) {
    yield* ide_set_handler(drive, task_in_intr, ticks(WAIT_CMD_S), undefined);
    return ide_started;
  }
  // No interrupt follows the last block.
  const waited = yield* ide_wait_stat(drive, 0, BAD_R_STAT | DRQ_STAT, ticks(WAIT_DRQ_S));
  if (waited !== WAITED) return waited as ide_startstop_t;
  yield* ide_end_request(drive, 1, hwif.s.nsect);
  return ide_stopped;
});

/** WRITE: the drive has taken a block, or has failed. */
export const task_out_intr = kfunc("task_out_intr", function* (drive: ide_drive_t): Generator<
  void,
  ide_startstop_t,
  void
> {
  const { hwif } = drive;
  const stat = hwif.io.inb(IDE_STATUS);
  if (!OK_STAT(stat, DRIVE_READY, drive.s.bad_wstat)) return yield* task_error(drive, "task_out_intr", stat);
  // More to write and no DRQ, or the other way round: the two do not agree.
  if (((stat & DRQ_STAT) === 0) !== (hwif.s.nleft === 0)) return yield* task_error(drive, "task_out_intr", stat);
  if (hwif.s.nleft === 0) {
    yield* ide_end_request(drive, 1, hwif.s.nsect);
    return ide_stopped;
  }
  yield* ide_pio_datablock(drive, true);
  yield* ide_set_handler(drive, task_out_intr, ticks(WAIT_CMD_S), undefined);
  return ide_started;
});

/** WRITE: no interrupt precedes the first block, so the drive is waited for. */
export const pre_task_out_intr = kfunc("pre_task_out_intr", function* (drive: ide_drive_t) {
  const waited = yield* ide_wait_stat(drive, DRQ_STAT, drive.s.bad_wstat & ~BUSY_STAT, ticks(WAIT_DRQ_S));
  if (waited !== WAITED) return waited;
  yield* ide_set_handler(drive, task_out_intr, ticks(WAIT_CMD_S), undefined);
  yield* ide_pio_datablock(drive, true);
  return ide_started;
});
