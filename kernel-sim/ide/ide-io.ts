// One request at a time: the queue's end, the interrupt, the timer (drivers/ide/ide-io.c of 2.6.9).
//
// hwgroup.busy is the right to touch the ports. It is taken under ide_lock, the request is then started without the lock and
// with interrupts on, and it is given back by whoever finds the request stopped: the starter, the interrupt or the timer.
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { disable_irq_nosync, enable_irq } from "../core/irq.ts";
import { printk } from "../core/printk.ts";
import {
  local_irq_disable,
  local_irq_enable,
  spin_lock_irq,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { add_timer, del_timer } from "../core/timer.ts";
import { blk_queue_plugged, elv_next_request, elv_queue_empty, type RequestQueue } from "../block/queue.ts";
import { REQ_DRIVE_TASK, type Request } from "../block/request.ts";
import { M } from "../abi/ram.ts";
import {
  BAD_STAT,
  BUSY_STAT,
  DRQ_STAT,
  HWGROUP,
  IDE_CONTROL,
  IDE_NSECTOR,
  IDE_STATUS,
  OK_STAT,
  READY_STAT,
  SPECIAL_RECALIBRATE,
  SPECIAL_SET_MULTMODE,
  WAIT_CMD_S,
  WAIT_READY_S,
  WIN_RESTORE,
  WIN_SETMULT,
  ide_lock,
  ide_started,
  ide_stopped,
  ticks,
  type ide_drive_t,
  type ide_handler_t,
  type ide_hwgroup_t,
  type ide_startstop_t,
} from "./ide.ts";
import { ide_do_rw_disk } from "./ide-disk-rw.ts";
import { ide_dma_lostirq, ide_dma_timeout_retry } from "./ide-dma.ts";
import { ide_end_drive_cmd, ide_error } from "./ide-error.ts";
import { SELECT_DRIVE, WAITED, drive_is_ready, ide_execute_command, ide_wait_stat } from "./ide-iops.ts";

/** The drive whose turn it is: of those with something to do, the one that has been waiting the longest for its share. */
function choose_drive(hwgroup: ide_hwgroup_t): ide_drive_t | undefined {
  let best: ide_drive_t | undefined;
  const wakeup = (drive: ide_drive_t): number => drive.s.service_start + 2 * drive.s.service_time;
  for (const drive of hwgroup.drives) {
    if (!drive.queue || elv_queue_empty(drive.queue) || blk_queue_plugged(drive.queue)) continue;
    if (best === undefined || wakeup(drive) < wakeup(best)) best = drive;
  }
  return best;
}

/**
 * Starts requests until the group is busy or has nothing to do.
 * Locks: ide_lock held, irqs off, on entry and on return; let go while a request is started. Context: any. Must not: sleep.
 */
export const ide_do_request = kfunc("ide_do_request", function* (hwgroup: ide_hwgroup_t) {
  while (hwgroup.s.busy === 0) {
    hwgroup.s.busy = 1;
    const drive = choose_drive(hwgroup);
    if (!drive) {
      hwgroup.s.busy = 0;
      return;
    }
    hwgroup.select(drive);
    drive.s.service_start = K.time.jiffies;
    const rq = yield* elv_next_request(drive.queue!);
    if (!rq) {
      hwgroup.s.busy = 0;
      return;
    }
    hwgroup.rq = rq;
    spin_unlock(ide_lock());
    yield* local_irq_enable();
    const startstop = yield* start_request(drive, rq);
    yield* spin_lock_irq(ide_lock());
    if (startstop === ide_stopped) hwgroup.s.busy = 0;
  }
});

/** Every IDE queue's request_fn. Locks: queue_lock, which is ide_lock, held. */
export const do_ide_request = kfunc("do_ide_request", function* (q: RequestQueue) {
  yield* ide_do_request(HWGROUP(q.queuedata as ide_drive_t));
});

const start_request = kfunc("start_request", function* (drive: ide_drive_t, rq: Request): Generator<
  void,
  ide_startstop_t,
  void
> {
  SELECT_DRIVE(drive);
  const waited = yield* ide_wait_stat(drive, drive.s.ready_stat, BUSY_STAT | DRQ_STAT, ticks(WAIT_READY_S));
  if (waited !== WAITED) {
    yield* printk(`${drive.name}: drive not ready for command\n`, 3);
    return waited as ide_startstop_t;
  }
  if (drive.s.special !== 0) return (yield* do_special(drive)) as ide_startstop_t;
  if ((rq.s.flags & REQ_DRIVE_TASK) !== 0) return (yield* execute_drive_cmd(drive, rq)) as ide_startstop_t;
  return (yield* ide_do_rw_disk(drive, rq, rq.s.sector + drive.s.sect0)) as ide_startstop_t;
});

/** Brings the drive into the state that the last reset took it out of, before its next request. */
const do_special = kfunc("do_special", function* (drive: ide_drive_t) {
  const { s, hwif } = drive;
  hwif.ctl.outb(s.ctl, IDE_CONTROL);
  if ((s.special & SPECIAL_RECALIBRATE) !== 0) {
    s.special = s.special & ~SPECIAL_RECALIBRATE;
    yield* ide_execute_command(drive, WIN_RESTORE, recal_intr, ticks(WAIT_CMD_S), undefined);
  } else {
    s.special = s.special & ~SPECIAL_SET_MULTMODE;
    hwif.io.outb(s.mult_req, IDE_NSECTOR);
    yield* ide_execute_command(drive, WIN_SETMULT, set_multmode_intr, ticks(WAIT_CMD_S), undefined);
  }
  return ide_started;
});

const recal_intr = kfunc("recal_intr", function* (drive: ide_drive_t): Generator<void, ide_startstop_t, void> {
  const stat = drive.hwif.io.inb(IDE_STATUS);
  if (OK_STAT(stat, READY_STAT, BAD_STAT)) return ide_stopped;
  return yield* ide_error(drive, "recal_intr", stat);
});

const set_multmode_intr = kfunc("set_multmode_intr", function* (drive: ide_drive_t): Generator<
  void,
  ide_startstop_t,
  void
> {
  const stat = drive.hwif.io.inb(IDE_STATUS);
  if (OK_STAT(stat, READY_STAT, BAD_STAT)) {
    drive.s.mult_count = drive.s.mult_req;
    return ide_stopped;
  }
  drive.s.mult_req = 0;
  drive.s.mult_count = 0;
  return yield* ide_error(drive, "set_multmode", stat);
});

/** A command of the kernel's own, from rq.cmd: command, features, count. Only those without data. */
const execute_drive_cmd = kfunc("execute_drive_cmd", function* (drive: ide_drive_t, rq: Request) {
  const { hwif, s } = drive;
  hwif.ctl.outb(s.ctl, IDE_CONTROL);
  hwif.io.outb(M.u8[rq.cmd + 1]!, 1);
  hwif.io.outb(M.u8[rq.cmd + 2]!, IDE_NSECTOR);
  const timeout = rq.s.timeout > 0 ? rq.s.timeout : ticks(WAIT_CMD_S);
  yield* ide_execute_command(drive, M.u8[rq.cmd]!, drive_cmd_intr, timeout, undefined);
  return ide_started;
});

const drive_cmd_intr = kfunc("drive_cmd_intr", function* (drive: ide_drive_t): Generator<void, ide_startstop_t, void> {
  const stat = drive.hwif.io.inb(IDE_STATUS);
  yield* local_irq_enable();
  if (!OK_STAT(stat, READY_STAT, BAD_STAT)) return yield* ide_error(drive, "drive_cmd", stat);
  yield* ide_end_drive_cmd(drive, 0);
  return ide_stopped;
});

/** Gives the group back when the request has stopped, and lets it go on. Locks: ide_lock held. */
const stopped = kfunc("ide_request_stopped", function* (hwgroup: ide_hwgroup_t, startstop: number) {
  const { drive } = hwgroup;
  if (drive) drive.s.service_time = K.time.jiffies - drive.s.service_start;
  if (startstop !== ide_stopped) return;
  if (hwgroup.handler === undefined) {
    hwgroup.s.busy = 0;
    yield* ide_do_request(hwgroup);
  } else K.reports.push(`${drive?.name}: ide_intr: huh? expected NULL handler on exit`);
});

/** An interrupt that nobody waits for: reading the status takes it away. */
const unexpected_intr = kfunc("unexpected_intr", function* (hwgroup: ide_hwgroup_t) {
  const { drive } = hwgroup;
  const hwif = drive?.hwif ?? hwgroup.drives[0]?.hwif;
  if (hwif) hwif.io.inb(IDE_STATUS);
});

/**
 * The interrupt handler of a channel.
 * Returns: true when the interrupt was ours. Locks: ide_lock, inside; let go while the command's own handler runs. Context: hardirq.
 */
export const ide_intr = kfunc("ide_intr", function* (hwgroup: ide_hwgroup_t) {
  const flags = yield* spin_lock_irqsave(ide_lock());
  const { handler, drive } = hwgroup;
  if (handler === undefined || hwgroup.s.poll_timeout !== 0 || !drive) {
    yield* unexpected_intr(hwgroup);
    yield* spin_unlock_irqrestore(ide_lock(), flags);
    return true;
  }
  if (!(yield* drive_is_ready(drive))) {
    yield* spin_unlock_irqrestore(ide_lock(), flags);
    return false;
  }
  if (hwgroup.s.busy === 0) {
    hwgroup.s.busy = 1;
    K.reports.push(`${drive.name}: ide_intr: hwgroup->busy was 0 ??`);
  }
  hwgroup.handler = undefined;
  yield* del_timer(hwgroup.timer);
  spin_unlock(ide_lock());
  if (drive.s.unmask !== 0) yield* local_irq_enable();
  const startstop = yield* handler(drive);
  yield* spin_lock_irq(ide_lock());
  yield* stopped(hwgroup, startstop);
  yield* spin_unlock_irqrestore(ide_lock(), flags);
  return true;
});

/** What the drive did that has not interrupted in time. Locks: none. */
const timed_out = kfunc("ide_timed_out", function* (hwgroup: ide_hwgroup_t, handler: ide_handler_t, wait: number) {
  const drive = hwgroup.drive!;
  // A reset's poll, not an interrupt that failed to come.
  if (hwgroup.s.poll_timeout !== 0) return yield* handler(drive);
  if (yield* drive_is_ready(drive)) {
    if (drive.s.waiting_for_dma !== 0) yield* ide_dma_lostirq(drive);
    yield* printk(`${drive.name}: lost interrupt\n`, 3);
    return yield* handler(drive);
  }
  if (drive.s.waiting_for_dma !== 0) return yield* ide_dma_timeout_retry(drive, wait);
  return yield* ide_error(drive, "irq timeout", drive.hwif.io.inb(IDE_STATUS));
});

/** The group's timer. Softirq. Locks: ide_lock, inside. */
export const ide_timer_expiry = kfunc("ide_timer_expiry", function* (hwgroup: ide_hwgroup_t) {
  const flags = yield* spin_lock_irqsave(ide_lock());
  const { handler, drive, expiry } = hwgroup;
  let wait = -1;
  if (handler !== undefined && drive) {
    if (hwgroup.s.busy === 0) {
      hwgroup.s.busy = 1;
      K.reports.push(`${drive.name}: ide_timer_expiry: hwgroup->busy was 0 ??`);
    }
    if (expiry) {
      wait = yield* expiry(drive);
      if (wait > 0) {
        yield* add_timer(hwgroup.timer, K.time.jiffies + wait);
        yield* spin_unlock_irqrestore(ide_lock(), flags);
        return;
      }
    }
    hwgroup.handler = undefined;
    spin_unlock(ide_lock());
    yield* disable_irq_nosync(drive.hwif.irq);
    local_irq_disable();
    const startstop = yield* timed_out(hwgroup, handler, wait);
    drive.s.service_time = K.time.jiffies - drive.s.service_start;
    yield* enable_irq(drive.hwif.irq);
    yield* spin_lock_irq(ide_lock());
    if (startstop === ide_stopped) hwgroup.s.busy = 0;
  }
  yield* ide_do_request(hwgroup);
  yield* spin_unlock_irqrestore(ide_lock(), flags);
});
