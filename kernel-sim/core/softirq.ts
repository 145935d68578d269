// Softirqs and tasklets (kernel/softirq.c of 2.6.9). Pending bits live in the pda, tasklets in RAM.
import {
  cpu,
  finished,
  giveWay,
  isFinished,
  mustGiveWay,
  preempt,
  step,
  type Running,
} from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke32, storePtr } from "../abi/ram.ts";
import { tasklet_struct } from "../abi/structs/base.ts";
import { softirq_action } from "../abi/structs/sched.ts";
import type { ViewOf } from "../abi/view.ts";
import { K, this_cpu } from "./kernel.ts";
import { kfunc, kquick, textAddressOf } from "./kfunc.ts";
import type { PerCpu } from "./percpu.ts";
import { local_irq_disable, local_irq_restore, local_irq_save } from "./spinlock.ts";
import { msleep } from "./timer.ts";

export const HI_SOFTIRQ = 0;
export const TIMER_SOFTIRQ = 1;
export const NET_TX_SOFTIRQ = 2;
export const NET_RX_SOFTIRQ = 3;
export const SCSI_SOFTIRQ = 4;
export const TASKLET_SOFTIRQ = 5;

const MAX_SOFTIRQ_RESTART = 10;
export const TASKLET_STATE_SCHED = 1;
export const TASKLET_STATE_RUN = 2;

export interface Tasklet {
  readonly s: ViewOf<typeof tasklet_struct>;
  readonly addr: number;
  readonly name: string;
  readonly func: (data: number) => Running;
}

/** Softirq state that the RAM shows as bits and pointers. */
export class Softirqs {
  readonly actions: ((() => Running) | undefined)[] = [];
  /** Tasklets scheduled per CPU, in order; linked through `next` in RAM too. */
  readonly tasklets: Tasklet[][] = K.machine.cpus.map(() => []);
  readonly hiTasklets: Tasklet[][] = K.machine.cpus.map(() => []);
  /** ksoftirqd is not modelled as a task: what is left over runs at the next interrupt. */
}

export function init_softirq(): void {
  K.softirqs = new Softirqs();
  open_softirq(TASKLET_SOFTIRQ, tasklet_action);
  open_softirq(HI_SOFTIRQ, tasklet_hi_action);
}

/** Registers what runs for a softirq: a kernel function. */
export function open_softirq(nr: number, action: () => Running): void {
  K.softirqs.actions[nr] = action;
  const vec = K.view(softirq_action, K.symbol("softirq_vec") + nr * K.sizeOf(softirq_action));
  vec.action = textAddressOf((action as unknown as { id?: number }).id ?? 0);
}

export const softirq_pending = (): boolean => M.u32[this_cpu().softirqPendingAt >>> 2] !== 0;

/** Marks a softirq pending on this CPU. Must be called with interrupts off. */
export function raise_softirq_irqoff(nr: number): void {
  step(2);
  const at = this_cpu().softirqPendingAt;
  poke32(at, peek32(at) | (1 << nr));
}

export function raise_softirq(nr: number): Running {
  const flags = local_irq_save();
  raise_softirq_irqoff(nr);
  return local_irq_restore(flags);
}

/** Runs what is pending, with interrupts on; at most 10 rounds. Called with interrupts off, returns so. */
export const do_softirq = kquick("do_softirq", () => {
  const p = this_cpu();
  p.softirqDepth++;
  return runRounds(p, 0);
});

function runRounds(p: PerCpu, from: number): Running {
  for (let round = from; round < MAX_SOFTIRQ_RESTART; round++) {
    const pending = peek32(p.softirqPendingAt);
    if (pending === 0) break;
    poke32(p.softirqPendingAt, 0);
    cpu.interruptsEnabled = true;
    const running = mustGiveWay() ? runActionsLater(pending) : runActions(pending, 0);
    if (!isFinished(running)) return runFurtherRounds(running, p, round + 1);
    local_irq_disable();
  }
  p.softirqDepth--;
  return finished();
}

function* runFurtherRounds(running: Running, p: PerCpu, from: number): Generator<void, void, void> {
  yield* running;
  local_irq_disable();
  yield* runRounds(p, from);
}

function* runActionsLater(pending: number): Generator<void, void, void> {
  yield* giveWay(cpu);
  yield* runActions(pending, 0);
}

function runActions(pending: number, from: number): Running {
  for (let nr = from; nr < 6; nr++) {
    if ((pending & (1 << nr)) === 0) continue;
    const action = K.softirqs.actions[nr];
    if (!action) continue;
    const running = action();
    if (!isFinished(running)) return runFurtherActions(running, pending, nr + 1);
  }
  return finished();
}

function* runFurtherActions(running: Running, pending: number, from: number): Generator<void, void, void> {
  yield* running;
  yield* runActions(pending, from);
}

export const local_bh_disable = (): void => {
  this_cpu().softirqDepth++;
};

/** Preemption point: what became pending meanwhile runs now. */
export function local_bh_enable(): Running {
  const p = this_cpu();
  p.softirqDepth--;
  if (p.softirqDepth === 0 && p.hardirqDepth === 0 && softirq_pending()) return runPending();
  return preempt();
}

const runPending = kfunc("__local_bh_enable", function* () {
  const flags = local_irq_save();
  yield* K.flavour.core.doSoftirq();
  yield* local_irq_restore(flags);
});

/** A tasklet whose struct lies at `addr` (tasklet_init). */
export function tasklet_init(addr: number, name: string, func: (data: number) => Running, data: number): Tasklet {
  const s = K.view(tasklet_struct, addr);
  s.next = 0;
  s.state = 0;
  s.data = data;
  return { s, addr, name, func };
}

/** Schedules a tasklet on this CPU unless it is scheduled already. Context: any. */
export function tasklet_schedule(t: Tasklet): Running {
  if (K.dumpMode?.taskletSchedule) return K.dumpMode.taskletSchedule(t);
  return scheduleOn(t, K.softirqs.tasklets[cpu.id]!, TASKLET_SOFTIRQ);
}

/** As tasklet_schedule, at high priority. Forbidden in dump mode (white paper 4.3). */
export function tasklet_hi_schedule(t: Tasklet): Running {
  K.dumpMode?.forbid("tasklet_hi_schedule");
  return scheduleOn(t, K.softirqs.hiTasklets[cpu.id]!, HI_SOFTIRQ);
}

function scheduleOn(t: Tasklet, queue: Tasklet[], softirq: number): Running {
  step(4);
  if ((t.s.state & TASKLET_STATE_SCHED) !== 0) return finished();
  t.s.state = t.s.state | TASKLET_STATE_SCHED;
  const flags = local_irq_save();
  const head = queue[0];
  storePtr(t.addr, head ? head.addr : 0);
  queue.unshift(t);
  raise_softirq_irqoff(softirq);
  return local_irq_restore(flags);
}

function* runTasklets(queues: Tasklet[][], softirq: number): Generator<void, void, void> {
  const flags = local_irq_save();
  const list = queues[cpu.id]!.splice(0);
  yield* local_irq_restore(flags);
  for (let i = 0; i < list.length; i++) {
    const t = list[i]!;
    if ((t.s.state & TASKLET_STATE_RUN) !== 0) {
      // Another CPU runs it: try again later.
      const saved = local_irq_save();
      const queue = queues[cpu.id]!;
      storePtr(t.addr, queue[0]?.addr ?? 0);
      queue.unshift(t);
      raise_softirq_irqoff(softirq);
      yield* local_irq_restore(saved);
      continue;
    }
    t.s.state = (t.s.state | TASKLET_STATE_RUN) & ~TASKLET_STATE_SCHED;
    yield* t.func(t.s.data);
    t.s.state = t.s.state & ~TASKLET_STATE_RUN;
  }
}

export const tasklet_action = kfunc("tasklet_action", () => runTasklets(K.softirqs.tasklets, TASKLET_SOFTIRQ));
export const tasklet_hi_action = kfunc("tasklet_hi_action", () => runTasklets(K.softirqs.hiTasklets, HI_SOFTIRQ));

/** Waits until the tasklet neither is scheduled nor runs. Context: process. */
export const tasklet_kill = kfunc("tasklet_kill", function* (t: Tasklet) {
  while (t.s.state !== 0) yield* msleep(1);
});
