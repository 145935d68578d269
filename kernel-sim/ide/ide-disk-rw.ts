// A file system's request becomes a command (__ide_do_rw_disk of drivers/ide/ide-disk.c, 2.6.9).
import { kfunc, kleaf } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { WRITE, rq_data_dir, type Request } from "../block/request.ts";
import {
  IDE_COMMAND,
  IDE_CONTROL,
  IDE_FEATURE,
  IDE_HCYL,
  IDE_LCYL,
  IDE_NSECTOR,
  IDE_SECTOR,
  IDE_SELECT,
  WAIT_CMD_S,
  WIN_MULTREAD,
  WIN_MULTREAD_EXT,
  WIN_MULTWRITE,
  WIN_MULTWRITE_EXT,
  WIN_READ,
  WIN_READDMA,
  WIN_READDMA_EXT,
  WIN_READ_EXT,
  WIN_WRITE,
  WIN_WRITEDMA,
  WIN_WRITEDMA_EXT,
  WIN_WRITE_EXT,
  ide_started,
  ide_stopped,
  ticks,
  type ide_drive_t,
} from "./ide.ts";
import { ide_dma_exec_cmd, ide_dma_setup, ide_dma_start } from "./ide-dma.ts";
import { ide_end_request } from "./ide-error.ts";
import { ide_execute_command } from "./ide-iops.ts";
import { ide_init_sg_cmd, pre_task_out_intr, task_in_intr } from "./ide-taskfile.ts";

/** Loads address and count into the task file: LBA in 28 or 48 bits, or cylinder, head and sector. Also the dump's. */
export const ide_load_taskfile = kleaf(
  "ide_load_taskfile",
  (drive: ide_drive_t, block: number, sectors: number): void => {
    const { s, hwif } = drive;
    const { io } = hwif;
    if (s.addressing === 1) {
      io.outb(0, IDE_FEATURE);
      io.outb((sectors >> 8) & 0xff, IDE_NSECTOR);
      io.outb(Math.floor(block / 2 ** 24) & 0xff, IDE_SECTOR);
      io.outb(Math.floor(block / 2 ** 32) & 0xff, IDE_LCYL);
      io.outb(Math.floor(block / 2 ** 40) & 0xff, IDE_HCYL);
    }
    io.outb(0, IDE_FEATURE);
    io.outb(sectors & 0xff, IDE_NSECTOR);
    if (s.addressing === 1 || (s.select & 0x40) !== 0) {
      io.outb(block & 0xff, IDE_SECTOR);
      io.outb((block >>> 8) & 0xff, IDE_LCYL);
      io.outb((block >>> 16) & 0xff, IDE_HCYL);
      io.outb(s.select | (s.addressing === 1 ? 0 : Math.floor(block / 2 ** 24) & 0x0f), IDE_SELECT);
      return;
    }
    const track = Math.floor(block / s.sect);
    const cylinder = Math.floor(track / s.head);
    io.outb((block % s.sect) + 1, IDE_SECTOR);
    io.outb(cylinder & 0xff, IDE_LCYL);
    io.outb((cylinder >> 8) & 0xff, IDE_HCYL);
    io.outb(s.select | (track % s.head), IDE_SELECT);
  },
);

/** The port command for a direction. `s.mult_count` decides whether it moves several sectors per block. */
export function pioCommand(drive: ide_drive_t, write: boolean): number {
  const { addressing, mult_count } = drive.s;
  if (addressing === 1) {
    if (write) return mult_count > 0 ? WIN_MULTWRITE_EXT : WIN_WRITE_EXT;
    return mult_count > 0 ? WIN_MULTREAD_EXT : WIN_READ_EXT;
  }
  if (write) return mult_count > 0 ? WIN_MULTWRITE : WIN_WRITE;
  return mult_count > 0 ? WIN_MULTREAD : WIN_READ;
}

/** Starts a read or write. Returns: ide_started, or ide_stopped when it could not be. Locks: none; the group is ours. */
export const ide_do_rw_disk = kfunc("ide_do_rw_disk", function* (drive: ide_drive_t, rq: Request, block: number) {
  const { s, hwif } = drive;
  const write = rq_data_dir(rq) === WRITE;
  if (block + rq.s.nr_sectors > s.capacity64) {
    yield* printk(`${drive.name}: bad access: block=${block}, count=${rq.s.nr_sectors}\n`, 3);
    yield* ide_end_request(drive, 0, 0);
    return ide_stopped;
  }
  const byDma = s.using_dma !== 0 && (yield* ide_dma_setup(drive)) === 0;
  if (!byDma) ide_init_sg_cmd(drive, rq);
  // nIEN off: a reset leaves it on.
  hwif.ctl.outb(s.ctl, IDE_CONTROL);
  ide_load_taskfile(drive, block, rq.s.nr_sectors);
  if (byDma) {
    const extended = s.addressing === 1;
    const command = write ? (extended ? WIN_WRITEDMA_EXT : WIN_WRITEDMA) : extended ? WIN_READDMA_EXT : WIN_READDMA;
    yield* ide_dma_exec_cmd(drive, command);
    ide_dma_start(drive);
    return ide_started;
  }
  const command = pioCommand(drive, write);
  if (!write) {
    yield* ide_execute_command(drive, command, task_in_intr, ticks(WAIT_CMD_S), undefined);
    return ide_started;
  }
  hwif.io.outb(command, IDE_COMMAND);
  return yield* pre_task_out_intr(drive);
});
