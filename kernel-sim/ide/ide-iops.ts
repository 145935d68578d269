// Ports, waits, handlers and resets (drivers/ide/ide-iops.c of 2.6.9).
import { preempt } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { printk } from "../core/printk.ts";
import { local_irq_enable, local_irq_restore, local_irq_save } from "../core/spinlock.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { add_timer, delayNs, udelay } from "../core/timer.ts";
import {
  BUSY_STAT,
  DMA_STATUS,
  DRQ_STAT,
  ERR_STAT,
  HWGROUP,
  IDE_ALTSTATUS,
  IDE_COMMAND,
  IDE_CONTROL,
  IDE_DATA,
  IDE_ERROR,
  IDE_FEATURE,
  IDE_NSECTOR,
  IDE_SELECT,
  IDE_STATUS,
  OK_STAT,
  SETFEATURES_XFER,
  SPECIAL_SET_MULTMODE,
  WAIT_CMD_S,
  WAIT_WORSTCASE_S,
  WIN_SETFEATURES,
  ide_lock,
  ide_started,
  ide_stopped,
  ticks,
  type ide_drive_t,
  type ide_expiry_t,
  type ide_handler_t,
  type ide_hwif_t,
  type ide_startstop_t,
} from "./ide.ts";
import { ide_error } from "./ide-error.ts";

export const SELECT_DRIVE = (drive: ide_drive_t): void => drive.hwif.io.outb(drive.s.select, IDE_SELECT);

/** The data port's way to memory: 32 or 16 bits wide, a string instruction that other CPUs and interrupts get between. */
export const ata_input_data = kfunc("ata_input_data", function* (drive: ide_drive_t, buffer: number, wcount: number) {
  const { io } = drive.hwif;
  const unit = drive.s.io_32bit !== 0 ? 4 : 2;
  const units = (wcount * 4) / unit;
  for (let done = 0; done < units;) {
    done += io.ins(IDE_DATA, unit, M.memory, buffer + done * unit, units - done);
    yield* preempt();
  }
});

/** As ata_input_data, the other way. `wcount` counts 32-bit words. */
export const ata_output_data = kfunc("ata_output_data", function* (drive: ide_drive_t, buffer: number, wcount: number) {
  const { io } = drive.hwif;
  const unit = drive.s.io_32bit !== 0 ? 4 : 2;
  const units = (wcount * 4) / unit;
  for (let done = 0; done < units;) {
    done += io.outs(IDE_DATA, unit, M.memory, buffer + done * unit, units - done);
    yield* preempt();
  }
});

/**
 * Has the drive finished? By the bus master while DMA is awaited, else by BSY (read without taking the interrupt away).
 * Context: hardirq, timer. Locks: ide_lock may be held.
 */
export const drive_is_ready = kfunc("drive_is_ready", function* (drive: ide_drive_t) {
  const { hwif } = drive;
  if (drive.s.waiting_for_dma !== 0) return (hwif.bm.inb(hwif.dmaBase + DMA_STATUS) & 4) !== 0;
  return (hwif.ctl.inb(IDE_ALTSTATUS) & BUSY_STAT) === 0;
});

/** Nothing went wrong: the caller goes on. */
export const WAITED = -1;

/**
 * Waits until the drive shows all of `good` and none of `bad`, at most `timeout` jiffies while it is busy.
 * Returns: WAITED; or, when it did not come, what ide_error() says. Context: process, softirq or hardirq. Must not: hold ide_lock.
 */
export const ide_wait_stat = kfunc(
  "ide_wait_stat",
  function* (drive: ide_drive_t, good: number, bad: number, timeout: number) {
    const { io } = drive.hwif;
    yield* udelay(1);
    let stat = io.inb(IDE_STATUS);
    if ((stat & BUSY_STAT) !== 0) {
      const flags = local_irq_save();
      yield* local_irq_enable();
      const until = K.time.jiffies + timeout;
      while (((stat = io.inb(IDE_STATUS)) & BUSY_STAT) !== 0) {
        if (K.time.jiffies > until) {
          yield* local_irq_restore(flags);
          return yield* ide_error(drive, "status timeout", stat);
        }
        yield* preempt();
      }
      if (flags === 0) local_irq_save();
      else yield* local_irq_restore(flags);
    }
    for (let i = 0; i < 10; i++) {
      yield* udelay(1);
      stat = io.inb(IDE_STATUS);
      if (OK_STAT(stat, good, bad)) return WAITED;
    }
    return yield* ide_error(drive, "status error", stat);
  },
);

/** Sets who is called at the next interrupt, and by when it must have come. Locks: ide_lock held. */
export const __ide_set_handler = kfunc(
  "__ide_set_handler",
  function* (drive: ide_drive_t, handler: ide_handler_t, timeout: number, expiry: ide_expiry_t | undefined) {
    const hwgroup = HWGROUP(drive);
    if (hwgroup.handler !== undefined) K.reports.push(`${drive.name}: ide_set_handler: handler not null`);
    hwgroup.handler = handler;
    hwgroup.expiry = expiry;
    yield* add_timer(hwgroup.timer, K.time.jiffies + timeout);
  },
);

/** As __ide_set_handler, taking ide_lock. */
export const ide_set_handler = kfunc(
  "ide_set_handler",
  function* (drive: ide_drive_t, handler: ide_handler_t, timeout: number, expiry: ide_expiry_t | undefined) {
    const flags = yield* spin_lock_irqsave(ide_lock());
    yield* __ide_set_handler(drive, handler, timeout, expiry);
    yield* spin_unlock_irqrestore(ide_lock(), flags);
  },
);

/** Sends a command whose end `handler` will deal with: both under ide_lock, so that an early interrupt waits. */
export const ide_execute_command = kfunc(
  "ide_execute_command",
  function* (
    drive: ide_drive_t,
    command: number,
    handler: ide_handler_t,
    timeout: number,
    expiry: ide_expiry_t | undefined,
  ) {
    const flags = yield* spin_lock_irqsave(ide_lock());
    yield* __ide_set_handler(drive, handler, timeout, expiry);
    drive.hwif.io.outb(command, IDE_COMMAND);
    // The drive has 400 ns to show BSY.
    yield* delayNs(400);
    yield* spin_unlock_irqrestore(ide_lock(), flags);
  },
);

/** Waits for BSY to go. Returns: the status, read without taking the interrupt away. Context: process. */
const wait_not_busy = kfunc("ide_wait_not_busy", function* (hwif: ide_hwif_t, timeout: number) {
  const until = K.time.jiffies + timeout;
  for (;;) {
    yield* udelay(1);
    const stat = hwif.ctl.inb(IDE_ALTSTATUS);
    if ((stat & BUSY_STAT) === 0 || K.time.jiffies > until) return stat;
    yield* preempt();
  }
});

/** A command without data and without interrupt: SET FEATURES, SET MULTIPLE. Returns: 0, or 1 on failure. Context: process. */
export const ide_simple_command = kfunc(
  "ide_simple_command",
  function* (drive: ide_drive_t, command: number, nsect: number, feature: number) {
    const { hwif, s } = drive;
    SELECT_DRIVE(drive);
    yield* udelay(1);
    hwif.ctl.outb(s.ctl | 2, IDE_CONTROL);
    hwif.io.outb(nsect, IDE_NSECTOR);
    hwif.io.outb(feature, IDE_FEATURE);
    hwif.io.outb(command, IDE_COMMAND);
    const stat = yield* wait_not_busy(hwif, ticks(WAIT_CMD_S));
    hwif.io.inb(IDE_STATUS);
    hwif.ctl.outb(s.ctl, IDE_CONTROL);
    return (stat & (BUSY_STAT | DRQ_STAT | ERR_STAT)) === 0 ? 0 : 1;
  },
);

/** Tells the drive its transfer mode (SET FEATURES 03h) and notes it in its identify data. Returns: 0, or 1. Context: process. */
export const ide_config_drive_speed = kfunc("ide_config_drive_speed", function* (drive: ide_drive_t, speed: number) {
  const { id, s } = drive;
  if ((yield* ide_simple_command(drive, WIN_SETFEATURES, speed, SETFEATURES_XFER)) !== 0) {
    yield* ide_dump_set_speed(drive);
    return 1;
  }
  id.dma_ultra = id.dma_ultra & ~0xff00;
  id.dma_mword = id.dma_mword & ~0x0f00;
  if (speed >= 0x40) id.dma_ultra = id.dma_ultra | (0x100 << (speed - 0x40));
  else if (speed >= 0x20) id.dma_mword = id.dma_mword | (0x100 << (speed - 0x20));
  if (s.init_speed === 0) s.init_speed = speed;
  s.current_speed = speed;
  return 0;
});

const ide_dump_set_speed = kfunc("set_drive_speed_status", function* (drive: ide_drive_t) {
  yield* printk(`${drive.name}: set_drive_speed_status: error\n`, 6);
});

/** What a reset will make the drive forget. Locks: ide_lock held, or the dump. */
export function pre_reset(drive: ide_drive_t): void {
  const { s } = drive;
  if (s.present === 0) return;
  s.special = 0;
  s.mult_count = 0;
  if (s.keep_settings === 0 && s.using_dma === 0) s.mult_req = 0;
  if (s.mult_req !== s.mult_count) s.special = s.special | SPECIAL_SET_MULTMODE;
}

/** Looks every 50 ms whether a reset drive is ready. Returns: ide_started while it waits. */
const reset_pollfunc = kfunc("reset_pollfunc", function* (drive: ide_drive_t): Generator<void, ide_startstop_t, void> {
  const hwgroup = HWGROUP(drive);
  const { hwif } = drive;
  const stat = hwif.io.inb(IDE_STATUS);
  if ((stat & BUSY_STAT) !== 0) {
    if (K.time.jiffies < hwgroup.s.poll_timeout) {
      yield* ide_set_handler(drive, reset_pollfunc, ticks(0.05), undefined);
      return ide_started;
    }
    yield* printk(`${hwif.name}: reset timed-out, status=0x${stat.toString(16).padStart(2, "0")}\n`, 3);
    drive.s.failures = drive.s.failures + 1;
  } else {
    const error = hwif.io.inb(IDE_ERROR);
    if (error === 1) {
      yield* printk(`${hwif.name}: reset: success\n`, 6);
      drive.s.failures = 0;
    } else {
      yield* printk(`${hwif.name}: reset: master: error (0x${error.toString(16).padStart(2, "0")}?)\n`, 3);
      drive.s.failures = drive.s.failures + 1;
    }
  }
  hwgroup.s.poll_timeout = 0;
  return ide_stopped;
});

/**
 * Resets both drives of a channel (SRST) and polls for their end by timer.
 * Returns: ide_started. Locks: ide_lock, inside. Context: hardirq or timer. Must not: be called with a handler set.
 */
export const ide_do_reset = kfunc("ide_do_reset", function* (drive: ide_drive_t) {
  const { hwif, s } = drive;
  const hwgroup = HWGROUP(drive);
  const flags = yield* spin_lock_irqsave(ide_lock());
  if (hwgroup.handler !== undefined) K.reports.push(`${drive.name}: ide_do_reset with a handler set`);
  for (const one of hwif.drives) pre_reset(one);
  // SRST and nIEN, then nIEN alone.
  hwif.ctl.outb(s.ctl | 6, IDE_CONTROL);
  yield* udelay(10);
  hwif.ctl.outb(s.ctl | 2, IDE_CONTROL);
  yield* udelay(10);
  hwgroup.s.poll_timeout = K.time.jiffies + ticks(WAIT_WORSTCASE_S);
  yield* __ide_set_handler(drive, reset_pollfunc, ticks(0.05), undefined);
  yield* spin_unlock_irqrestore(ide_lock(), flags);
  return ide_started;
});
