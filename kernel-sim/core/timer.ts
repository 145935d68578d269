// Kernel timers, jiffies, the tick and delays (kernel/timer.c of 2.6.9).
import { busyFor, cpu, finished, isFinished, step, valueOf, type Running } from "../../emulator/cpu/cpu.ts";
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import { M, poke32, poke64, pokePtr } from "../abi/ram.ts";
import { timer_list, timespec } from "../abi/structs/base.ts";
import { tvec_t_base_s } from "../abi/structs/sched.ts";
import { u64, ulong } from "../abi/types.ts";
import type { ViewOf } from "../abi/view.ts";
import { apic_timer_interrupt } from "./entry.ts";
import { K, current, this_cpu } from "./kernel.ts";
import type { PerCpu } from "./percpu.ts";
import { DEFINE_PER_CPU } from "./percpu-data.ts";
import { pointed } from "./fault.ts";
import { calledAt, kfunc, kleaf, kquick, textAddressOf } from "./kfunc.ts";
import { list_empty, list_next, list_splice_init } from "./list.ts";
import { calc_load } from "./load-average.ts";
import { schedule, try_to_wake_up } from "./sched.ts";
import { TIMER_SOFTIRQ, open_softirq } from "./softirq.ts";
import {
  Spinlock,
  local_irq_restore,
  local_irq_save,
  spin_lock,
  spin_lock_irq,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irq,
  spin_unlock_irqrestore,
} from "./spinlock.ts";
import type { Task } from "./task.ts";
import { INITIAL_JIFFIES, TimerBase, detach_timer, put_timer, type Timer } from "./timer-wheel.ts";

export { INITIAL_JIFFIES, TimerBase, detach_timer, put_timer, type Timer } from "./timer-wheel.ts";

export const LOCAL_TIMER_VECTOR = 0xef;
export const MAX_SCHEDULE_TIMEOUT = Infinity;

/** A CPU's timer wheel. */
export const tvec_bases = DEFINE_PER_CPU("tvec_bases", tvec_t_base_s);

export class Timekeeping {
  readonly bases: TimerBase[];
  /** Local timers whose ticks merge with one that has not been taken, by CPU. */
  readonly sleepingTicks: (TimerEvent | undefined)[] = [];
  readonly jiffiesAt: number;
  readonly jiffies64At: number;
  readonly xtime: ViewOf<typeof timespec>;
  readonly xtimeLock: Spinlock;
  /** The tick's mirror, so that reading it is cheap; jiffies in RAM are stored whenever it moves. */
  jiffies = INITIAL_JIFFIES;
  readonly tickNs: number;
  /** Wall clock at boot, seconds since 1970: the scenario's, never the host's. */
  readonly bootSeconds: number;

  constructor(bootSeconds: number) {
    this.tickNs = 1e9 / K.hz;
    this.bootSeconds = bootSeconds;
    this.jiffiesAt = K.static("jiffies", ulong);
    this.jiffies64At = K.static("jiffies_64", u64);
    this.xtime = K.view(timespec, K.static("xtime", timespec));
    this.xtimeLock = new Spinlock(K.staticBytes("xtime_lock", 8, 8), "xtime_lock");
    this.bases = K.flavour.core.timerBases();
    this.setJiffies(INITIAL_JIFFIES);
    this.xtime.tv_sec = bootSeconds;
  }

  setJiffies(value: number): void {
    this.jiffies = value;
    poke64(this.jiffies64At, value);
    if (M.word8) poke64(this.jiffiesAt, value);
    else poke32(this.jiffiesAt, value >>> 0);
  }
}

/** 2.6: each CPU has a wheel, and a lock for it. */
export const per_cpu_timer_bases = (): TimerBase[] =>
  K.machine.cpus.map((c) => new TimerBase(K.perCpuAreas.addressOf(tvec_bases, c.id), c.id));

export function init_timers(bootSeconds: number): void {
  K.time = new Timekeeping(bootSeconds);
  open_softirq(TIMER_SOFTIRQ, run_timer_softirq);
  K.irq.setVector(LOCAL_TIMER_VECTOR, apic_timer_interrupt, smp_apic_timer_interrupt);
}

/** Starts the local APIC timers: one tick per jiffy and CPU, evenly spread within the tick as Linux does. */
export function start_ticks(): void {
  const kernel = K;
  const { cpus, machine, time } = kernel;
  const { events } = machine;
  const { tickNs } = time;
  for (const c of cpus) {
    const event = makeEvent(`apic-timer.cpu${c.id}`, (fired) => {
      // Its local APIC was disabled, or another system has it now: this timer is no more.
      if (!c.apic.isEnabled || c.domain !== kernel) return;
      // A tick that nobody took yet swallows the next ones: a CPU with interrupts off costs no event until it takes it.
      if (c.apic.isRequested(LOCAL_TIMER_VECTOR)) {
        time.sleepingTicks[c.id] = fired;
        return;
      }
      c.apic.request(LOCAL_TIMER_VECTOR, fired.at);
      machine.ioApic.onRequest(c, fired.at);
      events.arm(fired, fired.at + tickNs);
    });
    events.arm(event, events.now + tickNs + Math.floor((c.id * tickNs) / cpus.length));
  }
}

export const jiffies = (): number => K.time.jiffies;
export const msecs_to_jiffies = (ms: number): number => Math.ceil((ms * K.hz) / 1000);

/** The tick was taken: the timer, which never stopped, is heard again at its next period. */
function wake_tick(): void {
  const c = cpu;
  const event = K.time.sleepingTicks[c.id];
  if (!event) return;
  K.time.sleepingTicks[c.id] = undefined;
  const { tickNs } = K.time;
  // What came until now merged with the tick that was taken.
  const periods = Math.max(1, Math.floor((c.clock - event.at) / tickNs) + 1);
  K.machine.events.arm(event, event.at + periods * tickNs);
}

export const smp_apic_timer_interrupt = kquick("smp_apic_timer_interrupt", () => {
  wake_tick();
  cpu.apic.endOfInterrupt();
  const p = this_cpu();
  p.timerTicks++;
  p.pda.apic_timer_irqs = p.pda.apic_timer_irqs + 1;
  if (cpu.id === K.timekeeper) {
    const timing = do_timer();
    return isFinished(timing) ? pollAndTick(p) : tickAfter(timing, p);
  }
  return tickTask(p);
});

function* tickAfter(timing: Running, p: PerCpu): Generator<void, void, void> {
  yield* timing;
  yield* pollAndTick(p);
}

/** irqpoll: the interrupt that counts time (irq 0 on the PC) asks all other handlers, each time. */
const pollAndTick = (p: PerCpu): Running => (K.commandLine.includes("irqpoll") ? pollThenTick(p) : tickTask(p));

function* pollThenTick(p: PerCpu): Generator<void, void, void> {
  yield* K.irq.misrouted(0);
  yield* tickTask(p);
}

/** The tick's part that every CPU has for itself. */
function tickTask(p: PerCpu): Running {
  const task = p.current;
  if (task !== p.idle) task.s.stime = task.s.stime + 1;
  const { core } = K.flavour;
  const ticking = core.schedulerTick();
  return isFinished(ticking) ? core.askForTimers() : askAfter(ticking);
}

function* askAfter(ticking: Running): Generator<void, void, void> {
  yield* ticking;
  yield* K.flavour.core.askForTimers();
}

/** One jiffy later. Locks: xtime_lock. */
export const do_timer = kquick("do_timer", () => {
  const locking = spin_lock_irqsave(K.time.xtimeLock);
  return isFinished(locking) ? count_tick(valueOf(locking)) : count_tick_after(locking);
});

function count_tick(flags: number): Running {
  advance_jiffies();
  calc_load();
  return spin_unlock_irqrestore(K.time.xtimeLock, flags);
}

function* count_tick_after(locking: Running<number>): Generator<void, void, void> {
  yield* count_tick(yield* locking);
}

/** Counts one jiffy and moves xtime on. */
export const advance_jiffies = kleaf("update_wall_time", () => {
  const { time } = K;
  step(20);
  time.setJiffies(time.jiffies + 1);
  const nsec = time.xtime.tv_nsec + time.tickNs;
  if (nsec >= 1e9) {
    time.xtime.tv_sec = time.xtime.tv_sec + 1;
    time.xtime.tv_nsec = nsec - 1e9;
  } else time.xtime.tv_nsec = nsec;
});

/** Makes the timer whose struct is at `addr` (init_timer, and setting function and data). */
export function init_timer(addr: number, name: string, func: (data: number) => Running, data = 0): Timer {
  const s = K.view(timer_list, addr);
  pokePtr(addr, 0);
  pokePtr(addr + (M.word8 ? 8 : 4), 0);
  s.magic = 0x4b87ad6e;
  s.data = data;
  s.function = textAddressOf((func as unknown as { id?: number }).id ?? 0);
  s.base = 0;
  return { s, addr, name, func, data, base: undefined, expires: 0 };
}

/** Arms or moves a timer. Returns 1 when it was armed before. Context: any. Locks: the wheel's, irqs off inside. */
export function mod_timer(timer: Timer, expires: number): Running<number> {
  if (K.dumpMode) return K.dumpMode.modTimer(timer, expires);
  return __mod_timer(timer, expires);
}

export const __mod_timer = kfunc("__mod_timer", function* (timer: Timer, expires: number) {
  const flags = local_irq_save();
  const base = K.time.bases[cpu.id]!;
  for (;;) {
    const old = timer.base;
    const other = old === base ? undefined : old;
    // Two wheels are locked in one order everywhere.
    if (other && other.addr < base.addr) yield* spin_lock(other.lock);
    yield* spin_lock(base.lock);
    if (other && other.addr > base.addr) yield* spin_lock(other.lock);
    // Another CPU may have moved it while this one waited.
    const unchanged = timer.base === old;
    if (unchanged) {
      if (old) detach_timer(timer);
      put_timer(base, timer, expires);
    }
    if (other) spin_unlock(other.lock);
    spin_unlock(base.lock);
    if (unchanged) {
      yield* local_irq_restore(flags);
      return old ? 1 : 0;
    }
  }
});

export const add_timer = (timer: Timer, expires: number): Running<number> => mod_timer(timer, expires);

/** Disarms a timer. Returns 1 when it was armed. Context: any. */
export const del_timer = kfunc("del_timer", function* (timer: Timer) {
  for (;;) {
    const { base } = timer;
    if (!base) return 0;
    const flags = yield* spin_lock_irqsave(base.lock);
    // It may have moved to another CPU's wheel meanwhile.
    const stillThere = timer.base === base;
    if (stillThere) detach_timer(timer);
    yield* spin_unlock_irqrestore(base.lock, flags);
    if (stillThere) return 1;
  }
});

/**
 * As del_timer; also waits until its function runs nowhere, and until it has not armed itself again. Must not: be called by
 * the function itself, or with a lock held that the function takes (it waits for ever, busily).
 */
export const del_timer_sync = kfunc("del_timer_sync", function* (timer: Timer) {
  let was = 0;
  do {
    if ((yield* del_timer(timer)) !== 0) was = 1;
    while (K.time.bases.some((base) => base.s.running_timer === timer.addr)) yield* delayNs(CPU_RELAX_NS);
  } while (timer.base !== undefined);
  return was;
});
/** A busy wait looks again this often. */
const CPU_RELAX_NS = 200;

/** Runs the timers that are due on this CPU's wheel. Softirq. */
export const run_timer_softirq = kquick("run_timer_softirq", () => runTimers(K.time.bases[cpu.id]!));

/** Runs what is due on a wheel, without its lock. Softirq, irqs on. */
export function runTimers(base: TimerBase): Running {
  if (K.time.jiffies < base.timerJiffies) return finished();
  const locking = spin_lock_irq(base.lock);
  return isFinished(locking) ? runDueTimers(base) : runTimersAfter(locking, base);
}

function* runTimersAfter(running: Running, base: TimerBase): Generator<void, void, void> {
  yield* running;
  yield* runDueTimers(base);
}

/** With the wheel's lock held. Most ticks find nothing. */
function runDueTimers(base: TimerBase): Running {
  const slot = base.nextDue();
  if (slot !== undefined) return runTimersAfter(runSlot(base, slot), base);
  base.s.running_timer = 0;
  return spin_unlock_irq(base.lock);
}

function* runSlot(base: TimerBase, slot: number): Generator<void, void, void> {
  list_splice_init(slot, base.dueList);
  while (!list_empty(base.dueList)) {
    const entry = list_next(base.dueList);
    const timer = pointed(base.byEntry.get(entry), entry);
    base.s.running_timer = timer.addr;
    detach_timer(timer);
    yield* spin_unlock_irq(base.lock);
    yield* timer.func(timer.data);
    yield* spin_lock_irq(base.lock);
  }
}

const wakeTask = kfunc("process_timeout", function* (addr: number) {
  const task = K.tasks.get(addr);
  if (task) yield* try_to_wake_up(task);
});

/** Sleeps up to `ticks` jiffies in the state the caller has set. Returns the jiffies that were left. */
export function schedule_timeout(ticks: number): Running<number> {
  if (K.dumpMode) return K.dumpMode.scheduleTimeout(ticks);
  return sleepFor(ticks);
}

const sleepFor = kfunc("schedule_timeout", function* (ticks: number) {
  calledAt("schedule_timeout");
  if (ticks === Infinity) {
    yield* schedule();
    return Infinity;
  }
  const task: Task = current();
  const expires = K.time.jiffies + ticks;
  const timer = init_timer(onStack(K.sizeOf(timer_list)), "schedule_timeout", wakeTask, task.addr);
  timer.data = task.addr;
  yield* __mod_timer(timer, expires);
  yield* schedule();
  yield* del_timer(timer);
  offStack(K.sizeOf(timer_list));
  return Math.max(0, expires - K.time.jiffies);
});

/** Room for a local variable of the running function on its RAM stack. */
export function onStack(bytes: number): number {
  const c = cpu;
  c.sp -= Math.ceil(bytes / 16) * 16;
  return c.sp;
}
export function offStack(bytes: number): void {
  cpu.sp += Math.ceil(bytes / 16) * 16;
}

/** Sleeps at least `ms` milliseconds. */
export function msleep(ms: number): Running {
  if (K.dumpMode) return K.dumpMode.msleep(ms);
  return sleepMs(ms);
}
const sleepMs = kfunc("msleep", function* (ms: number) {
  let left = msecs_to_jiffies(ms) + 1;
  while (left > 0) {
    current().s.state = 2;
    left = yield* sleepFor(left);
  }
});

/** Busy wait. A preemption point: interrupts are taken if they are enabled. */
export function udelay(us: number): Running {
  return delayNs(us * 1000);
}

export function delayNs(ns: number): Running {
  const c = cpu;
  const end = c.clock + ns;
  // With interrupts off and nobody behind, time just passes.
  if (!c.interruptsEnabled && end <= c.horizon && end < c.landAt) {
    c.idleUntil = end;
    while (c.clock < end) {
      // From event to event: one may bring an NMI, or another CPU back to life.
      if (c.limit <= c.clock) c.owner.cross(c);
      else c.advanceTo(Math.min(end, c.limit));
      if (c.landAt <= end || c.horizon < end) {
        c.idleUntil = 0;
        return busyFor(Math.max(0, end - c.clock));
      }
    }
    return finished();
  }
  return busyFor(ns);
}

/** Busy wait in milliseconds. Forbidden in dump mode: use diskdump_mdelay (white paper 4.3). */
export function mdelay(ms: number): Running {
  K.dumpMode?.forbid("mdelay");
  return delayNs(ms * 1e6);
}
