// The helper library: time, timers, tasklets and work by polling, on the dumping CPU, with the kernel's own structures.
//
// As diskdump 1.0 does it (kernel/timer.c, softirq.c, workqueue.c of its patch): what was pending at the crash on this CPU is
// put aside as a copy, the wheel, the tasklet list and keventd's queue start empty, and drivers go on using the normal calls.
// diskdump_update() then does what the tick, the softirq and keventd would have done.
import type { TouchedRange } from "./disk-dump.ts";
import { STOPPED, cpu, finished, isFinished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, storePtr } from "../../kernel-sim/abi/ram.ts";
import { tvec_t_base_s } from "../../kernel-sim/abi/structs/sched.ts";
import type { DumpMode } from "../../kernel-sim/core/dump-mode.ts";
import { K, current } from "../../kernel-sim/core/kernel.ts";
import { passIdlePoll, passIdleRounds } from "../../kernel-sim/core/idle-poll.ts";
import { kleaf, kquick, moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { INIT_LIST_HEAD, list_del_init, list_empty, list_next, list_splice_init } from "../../kernel-sim/core/list.ts";
import { touch_nmi_watchdog } from "../../kernel-sim/core/nmi.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import {
  TASKLET_SOFTIRQ,
  TASKLET_STATE_SCHED,
  raise_softirq_irqoff,
  type Tasklet,
} from "../../kernel-sim/core/softirq.ts";
import { force_unlock, type Spinlock } from "../../kernel-sim/core/spinlock.ts";
import { TASK_RUNNING } from "../../kernel-sim/core/task.ts";
import {
  __mod_timer,
  delayNs,
  del_timer,
  detach_timer,
  type Timer,
  type TimerBase,
} from "../../kernel-sim/core/timer.ts";
import { queue_work, type CpuWorkqueue, type Work } from "../../kernel-sim/core/workqueue.ts";
import type { DumpModeChecker } from "./checker.ts";

const kfunc = moduleFunctions("diskdump");

/** Copying a wheel (about 8 KiB) aside and making it empty. */
const CLEAR_WHEEL_NS = 1500;
const MILLISECOND_NS = 1e6;

/** spin_lock_init() on a live lock: free from now on, whoever held it. A CPU that will never run again does not queue for it. */
function reinit_lock(lock: Spinlock): void {
  const alive = lock.waiters.filter((c) => c.state !== STOPPED);
  lock.waiters.splice(0, lock.waiters.length, ...alive);
  force_unlock(lock);
}

export class DumpLibrary implements DumpMode {
  readonly checker: DumpModeChecker;
  /** For the test that shows that passing over idle polls changes nothing. */
  stepIdlePolls = false;
  /** RAM for the copy of this CPU's wheel as it was at the crash. */
  private readonly savedWheel: number;
  /** Address of the copy of the tasklet list's head pointer. */
  private readonly savedTasklet: number;
  private base: TimerBase | undefined;
  private tasklets: Tasklet[] = [];
  private workqueue: CpuWorkqueue | undefined;
  /** When the next jiffy begins, on this CPU's clock; Infinity until setup_timestamp. */
  private nextTickAt = Infinity;

  /** @param savedAt RAM for what the crash left pending: DumpLibrary.savedBytes() */
  constructor(checker: DumpModeChecker, savedAt: number) {
    this.checker = checker;
    this.savedTasklet = savedAt;
    this.savedWheel = savedAt + 64;
  }

  static savedBytes(): number {
    return 64 + K.sizeOf(tvec_t_base_s);
  }

  /** dump_clear_timers: this CPU's wheel becomes empty, its lock free. Timers that were on it are forgotten, not run. */
  clearTimers(): void {
    const base = K.time.bases[cpu.id]!;
    this.base = base;
    step(CLEAR_WHEEL_NS);
    M.u8.copyWithin(this.savedWheel, base.addr, base.addr + K.sizeOf(tvec_t_base_s));
    // In C they keep pointing at the wheel, and a later del_timer() unlinks them from neighbours that are gone. Here they
    // count as not armed; their structs stay as the crash left them.
    for (const timer of base.byEntry.values()) timer.base = undefined;
    base.clear();
    base.timerJiffies = K.time.jiffies;
    base.s.timer_jiffies = K.time.jiffies;
    base.s.running_timer = 0;
    reinit_lock(base.lock);
  }

  /** dump_clear_tasklet: tasklets scheduled on this CPU are put aside; their SCHED bit stays, so they never run again. */
  clearTasklets(): void {
    step(10);
    this.tasklets = K.softirqs.tasklets[cpu.id]!;
    const [first] = this.tasklets;
    storePtr(this.savedTasklet, first ? first.addr : 0);
    this.tasklets.length = 0;
  }

  /** dump_clear_workqueue: keventd's queue of this CPU becomes empty, its locks free. */
  clearWorkqueue(): void {
    step(30);
    const wq = K.workqueues?.[cpu.id];
    this.workqueue = wq;
    if (!wq) return;
    reinit_lock(wq.lock);
    INIT_LIST_HEAD(wq.worklist);
    wq.byEntry.clear();
    reinit_lock(wq.moreWork.lock);
    INIT_LIST_HEAD(wq.moreWork.list);
    wq.moreWork.sleepers.clear();
  }

  /** diskdump_setup_timestamp: jiffies go on from here. */
  setupTimestamp(): void {
    this.nextTickAt = cpu.clock + K.time.tickNs;
  }

  /** True when diskdump_update() would do nothing: the test that keeps an idle poll cheap. */
  nothingDue(): boolean {
    return cpu.clock < this.nextTickAt && this.nothingDeferred();
  }

  /** True when no tasklet and no work waits, and no finding is to be printed. */
  nothingDeferred(): boolean {
    return (
      this.tasklets.length === 0 &&
      (this.workqueue === undefined || this.workqueue.byEntry.size === 0) &&
      this.checker.unprinted.length === 0
    );
  }

  /**
   * A round of poll, delay and update that began at `start` has found nothing. Until something is due the next rounds find
   * nothing either, each in the same time: lets the time of those that end before it pass at once. Same clock, same trace as
   * one by one (dump-mode.spec.ts). `dueNs`: when the caller's time is over. Returns: how many rounds were passed over.
   */
  skipIdleRounds(start: number, dueNs = Infinity): number {
    return this.stepIdlePolls ? 0 : passIdleRounds(start, Math.min(this.nextTickAt, dueNs));
  }

  /** The same with a poll that took `pollNs`, when no whole round fits any more. Returns: whether the next one was passed over. */
  skipIdlePoll(start: number, pollNs: number): boolean {
    return !this.stepIdlePolls && passIdlePoll(start, pollNs);
  }

  /** Moves jiffies up to the time that has passed. */
  updateJiffies(): void {
    const { time } = K;
    if (cpu.clock < this.nextTickAt) return;
    const ticks = Math.floor((cpu.clock - this.nextTickAt) / time.tickNs) + 1;
    this.nextTickAt += ticks * time.tickNs;
    time.setJiffies(time.jiffies + ticks);
  }

  get wheel(): TimerBase | undefined {
    return this.base;
  }

  get pendingTasklets(): Tasklet[] {
    return this.tasklets;
  }

  get queue(): CpuWorkqueue | undefined {
    return this.workqueue;
  }

  modTimer(timer: Timer, expires: number): Running<number> {
    return __mod_timer(timer, expires);
  }

  delTimer(timer: Timer): Running<number> {
    return del_timer(timer);
  }

  taskletSchedule(t: Tasklet): Running {
    step(4);
    if ((t.s.state & TASKLET_STATE_SCHED) !== 0) return finished();
    t.s.state = t.s.state | TASKLET_STATE_SCHED;
    const queue = K.softirqs.tasklets[cpu.id]!;
    const [head] = queue;
    storePtr(t.addr, head ? head.addr : 0);
    queue.unshift(t);
    raise_softirq_irqoff(TASKLET_SOFTIRQ);
    return finished();
  }

  scheduleWork(work: Work): Running<number> {
    return queue_work(work);
  }

  scheduleTimeout(ticks: number): Running<number> {
    return diskdump_schedule_timeout(ticks);
  }

  msleep(ms: number): Running {
    return diskdump_mdelay(ms);
  }

  mdelay(ms: number): Running {
    return diskdump_mdelay(ms);
  }

  update(): Running {
    return this.nothingDue() ? finished() : diskdump_update(this);
  }

  forbid(what: string): void {
    this.checker.forbid(what);
  }

  /** RAM that the library writes while the machine dumps. */
  touchedRanges(): TouchedRange[] {
    const wheel = K.sizeOf(tvec_t_base_s);
    const ranges = [{ start: this.savedTasklet, end: this.savedWheel + wheel, what: "saved wheel" }];
    if (this.base) ranges.push({ start: this.base.addr, end: this.base.addr + wheel, what: "timer wheel" });
    for (const at of [K.time.jiffiesAt, K.time.jiffies64At]) ranges.push({ start: at, end: at + 8, what: "jiffies" });
    return ranges;
  }
}

/**
 * Busy wait in milliseconds, in steps of one, that keeps the NMI watchdog quiet. Jiffies do not move in it.
 * Context: dump, interrupts off. (include/linux/diskdump.h)
 */
export const diskdump_mdelay = kfunc("diskdump_mdelay", function* (ms: number) {
  for (let i = 0; i < ms; i++) {
    yield* delayNs(MILLISECOND_NS);
    touch_nmi_watchdog();
  }
});

/**
 * schedule_timeout() while dumping: a busy wait. Returns 0: the time is over. (The shipped code returns `ticks`, and takes a
 * tick for a millisecond; a caller that loops until nothing is left would never end.)
 */
const diskdump_schedule_timeout = kfunc("diskdump_schedule_timeout", function* (ticks: number) {
  if (ticks === Infinity) K.dumpMode?.forbid("schedule");
  else yield* diskdump_mdelay(Math.ceil((ticks * 1000) / K.hz));
  current().s.state = TASK_RUNNING;
  return 0;
});

/** Does what the tick, the timer softirq, the tasklet softirq and keventd would have done by now. Context: dump, irqs off. */
export const diskdump_update = kquick(
  "diskdump_update",
  (library: DumpLibrary) => {
    library.updateJiffies();
    const { wheel } = library;
    if (wheel && wheel.timerJiffies <= K.time.jiffies) {
      const running = dump_run_timers(wheel);
      if (!isFinished(running)) return runDeferredAfter(running, library);
    }
    return library.nothingDeferred() ? finished() : runDeferred(library);
  },
  "diskdump",
);

function* runDeferredAfter(running: Running, library: DumpLibrary): Generator<void, void, void> {
  yield* running;
  yield* runDeferred(library);
}

function* runDeferred(library: DumpLibrary): Generator<void, void, void> {
  const { queue } = library;
  if (library.pendingTasklets.length > 0) yield* dump_run_tasklet(library.pendingTasklets);
  if (queue && !list_empty(queue.worklist)) yield* dump_run_workqueue(queue);
  if (library.checker.unprinted.length > 0) yield* print_findings(library.checker);
}

/** Runs the timers that are due on this CPU's wheel, without its lock and without enabling interrupts. */
const dump_run_timers = kquick("dump_run_timers", (base: TimerBase) => runDueTimers(base), "diskdump");

function runDueTimers(base: TimerBase): Running {
  const slot = base.nextDue();
  return slot === undefined ? finished() : runSlotAndFurther(base, slot);
}

function* runSlotAndFurther(base: TimerBase, slot: number): Generator<void, void, void> {
  // Spliced first: a function that arms itself for one turn of the wheel later comes back to this very slot.
  list_splice_init(slot, base.dueList);
  while (!list_empty(base.dueList)) {
    const timer = base.byEntry.get(list_next(base.dueList))!;
    base.s.running_timer = timer.addr;
    detach_timer(timer);
    yield* timer.func(timer.data);
    base.s.running_timer = 0;
  }
  yield* runDueTimers(base);
}

/** Runs each scheduled tasklet once; what they schedule runs at the next update. */
const dump_run_tasklet = kfunc("dump_run_tasklet", function* (queue: Tasklet[]) {
  const list = queue.splice(0);
  for (let i = 0; i < list.length; i++) {
    const t = list[i]!;
    if ((t.s.state & TASKLET_STATE_SCHED) === 0) continue;
    t.s.state = t.s.state & ~TASKLET_STATE_SCHED;
    yield* t.func(t.s.data);
  }
});

const dump_run_workqueue = kfunc("dump_run_workqueue", function* (wq: CpuWorkqueue) {
  while (!list_empty(wq.worklist)) {
    const entry = list_next(wq.worklist);
    const work = wq.byEntry.get(entry)!;
    list_del_init(entry);
    wq.byEntry.delete(entry);
    work.s.pending = 0;
    yield* work.func(work.data);
  }
});

/** Warns of forbidden calls; a call is plain code and could not print itself. */
const print_findings = kfunc("dump_mode_warn", function* (checker: DumpModeChecker) {
  for (const finding of checker.unprinted.splice(0)) {
    yield* printk(`disk_dump: ${finding.functionName} called ${finding.called}() while dumping: ${finding.rule}\n`, 4);
    yield* printk(`Call Trace:${finding.stack.map((name) => ` {${name}}`).join("")}\n`, 4);
  }
});

/** The kernel's entry points: what drivers' names for them lead to. */
export const dump_clear_timers = kleaf(
  "dump_clear_timers",
  (library: DumpLibrary) => library.clearTimers(),
  "diskdump",
);
export const dump_clear_tasklet = kleaf(
  "dump_clear_tasklet",
  (library: DumpLibrary) => library.clearTasklets(),
  "diskdump",
);
export const dump_clear_workqueue = kleaf(
  "dump_clear_workqueue",
  (library: DumpLibrary) => library.clearWorkqueue(),
  "diskdump",
);
