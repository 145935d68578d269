// The O(1) scheduler (kernel/sched.c of 2.6.9): two priority arrays per CPU in RAM, 100 ms slices, wake-ups to idle CPUs.
import { RUN, cpu, finished, halt, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke32 } from "../abi/ram.ts";
import { MAX_PRIO, prio_array, thread_info } from "../abi/structs/sched.ts";
import { K, current, this_cpu } from "./kernel.ts";
import { pointed } from "./fault.ts";
import { calledAt, kfunc, kleaf, kquick } from "./kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail, list_del, list_empty, list_next } from "./list.ts";
import type { PerCpu } from "./percpu.ts";
import {
  spin_lock,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irqrestore,
  local_irq_disable,
  local_irq_enable,
} from "./spinlock.ts";
import { TASK_RUNNING, type Task } from "./task.ts";

/** Register save, stack switch, address space. */
const SWITCH_NS = 900;
export const DEFAULT_SLICE_TICKS = 100;
/** The idle task's priority: below every queue. */
const IDLE_PRIO = MAX_PRIO;
/** Priority array fields, from its start. */
let bitmapOffset = 0;
let threadCpuOffset = 0;

let queueOffset = 0;
let arraySize = 0;
let runListOffset = 0;

export function init_sched(): void {
  arraySize = K.sizeOf(prio_array);
  queueOffset = K.offsetOf(prio_array, "queue");
  bitmapOffset = K.offsetOf(prio_array, "bitmap");
  threadCpuOffset = K.offsetOf(thread_info, "cpu");
  for (const { id } of K.cpus) {
    const p = K.percpu[id]!;
    for (let a = 0; a < 2; a++) {
      const base = p.rq.arrays + a * arraySize;
      const headBytes = M.word8 ? 16 : 8;
      for (let prio = 0; prio < MAX_PRIO; prio++) INIT_LIST_HEAD(base + queueOffset + prio * headBytes);
    }
    p.rq.active = p.rq.arrays;
    p.rq.expired = p.rq.arrays + arraySize;
  }
}

/** Tells the scheduler where run_list lies; called once a task exists. */
export const setRunListOffset = (offset: number): void => {
  runListOffset = offset;
};

const headOf = (array: number, prio: number): number => array + queueOffset + prio * (M.word8 ? 16 : 8);
const bitmapWord = (array: number, prio: number): number => array + bitmapOffset + (prio >> 5) * 4;

/** The CPU that a task runs on, ran on last, or is about to run on: its thread_info says so. */
function set_task_cpu(task: Task, cpuId: number): void {
  task.cpuId = cpuId;
  poke32(task.stack + threadCpuOffset, cpuId);
}

export function enqueue(p: PerCpu, task: Task, array: number): void {
  const prio = task.s.prio;
  list_add_tail(task.runList, headOf(array, prio));
  const at = bitmapWord(array, prio);
  poke32(at, peek32(at) | (1 << (prio & 31)));
  poke32(array, peek32(array) + 1);
  task.s.array = array;
  p.rq.nr_running = p.rq.nr_running + 1;
  task.onRunqueue = true;
}

export function dequeue(p: PerCpu, task: Task): void {
  const prio = task.s.prio;
  const array = task.s.array;
  list_del(task.runList);
  if (list_empty(headOf(array, prio))) {
    const at = bitmapWord(array, prio);
    poke32(at, peek32(at) & ~(1 << (prio & 31)));
  }
  poke32(array, peek32(array) - 1);
  task.s.array = 0;
  p.rq.nr_running = p.rq.nr_running - 1;
  task.onRunqueue = false;
}

function firstPrio(array: number): number {
  for (let word = 0; word < 5; word++) {
    const bits = peek32(array + bitmapOffset + word * 4);
    if (bits !== 0) return word * 32 + (31 - Math.clz32(bits & -bits));
  }
  return IDLE_PRIO;
}

function pickNext(p: PerCpu): Task {
  if (p.rq.nr_running === 0) return p.idle;
  let array = p.rq.active;
  let prio = firstPrio(array);
  if (prio === IDLE_PRIO) {
    const expired = p.rq.expired;
    p.rq.expired = array;
    p.rq.active = expired;
    array = expired;
    prio = firstPrio(array);
    if (prio === IDLE_PRIO) return p.idle;
  }
  const next = list_next(headOf(array, prio)) - runListOffset;
  return pointed(K.tasks.get(next), next);
}

/**
 * Gives the CPU to the next runnable task. The caller has set its state if it wants to sleep.
 * Locks: the runqueue's, inside. Context: process; never in an interrupt (checked) and never with a spinlock held.
 */
export const schedule = kfunc("schedule", function* () {
  calledAt("schedule");
  if (K.scheduleWhileDumping !== undefined && (yield* K.scheduleWhileDumping())) return;
  const p = this_cpu();
  if (p.hardirqDepth > 0 || p.softirqDepth > 0) {
    K.reports.push(`bad: scheduling while atomic: ${p.current.name} on cpu ${cpu.id}`);
  }
  K.onSchedule?.();
  local_irq_disable();
  yield* spin_lock(p.rqLock);
  const prev = p.current;
  p.needResched = false;
  // A task that was woken between setting its state and coming here is TASK_RUNNING again, and stays.
  if (prev !== p.idle && prev.s.state !== TASK_RUNNING && prev.onRunqueue) dequeue(p, prev);
  K.flavour.core.beforePick(p, prev);
  const next = pickNext(p);
  if (next !== prev) {
    step(SWITCH_NS);
    p.rq.curr = next.addr;
    p.rq.nr_switches = p.rq.nr_switches + 1;
    p.current = next;
    p.pda.pcurrent = next.addr;
    const c = cpu;
    prev.sp = c.sp;
    prev.fp = c.fp;
    prev.functionId = c.functionId;
    prev.s.thread.rsp = c.sp;
    prev.running = false;
    prev.leftAt = c.clock;
    next.running = true;
    set_task_cpu(next, c.id);
    spin_unlock(p.rqLock);
    c.advanceTo(next.leftAt);
    c.sp = next.sp;
    c.fp = next.fp;
    c.functionId = next.functionId;
    c.program = next.program;
    c.state = RUN;
    yield;
  } else spin_unlock(p.rqLock);
  // Here again, perhaps on another CPU: finish_task_switch.
  yield* local_irq_enable();
});

/** The least loaded CPU that may take a woken task: the one it ran on if that is idle, else any idle one, else its own. */
function chooseCpu(task: Task): PerCpu {
  const home = K.percpu[task.cpuId]!;
  if (task.bound) return home;
  if (home.current === home.idle && home.rq.nr_running === 0 && home.cpu.program) return home;
  for (const { id } of K.cpus) {
    const p = K.percpu[id]!;
    if (p.current === p.idle && p.rq.nr_running === 0 && p.cpu.program && !p.idle.s.exit_state) return p;
  }
  return home;
}

export const RESCHEDULE_VECTOR = 0xfc;

/** The states that a wake-up ends: TASK_INTERRUPTIBLE and TASK_UNINTERRUPTIBLE. A task that has ended stays so. */
const ASLEEP = 3;

/** Makes a task runnable. Returns: 1 when it was asleep. Context: any. Locks: the target runqueue's, irqs off inside. */
export const try_to_wake_up = kfunc("try_to_wake_up", function* (task: Task) {
  const p = chooseCpu(task);
  const flags = yield* spin_lock_irqsave(p.rqLock);
  let woken = 0;
  if ((task.s.state & ASLEEP) !== 0) {
    task.s.state = TASK_RUNNING;
    if (!task.onRunqueue) {
      enqueue(p, task, p.rq.active);
      set_task_cpu(task, p.cpu.id);
      resched(p);
    }
    woken = 1;
  }
  yield* spin_unlock_irqrestore(p.rqLock, flags);
  return woken;
});

/** Asks a CPU to schedule soon; another one by IPI. */
function resched(p: PerCpu): void {
  p.needResched = true;
  if (p.cpu !== cpu) K.machine.ioApic.sendIpi(p.cpu, RESCHEDULE_VECTOR, cpu.clock);
}

/** Puts a new task on a runqueue for the first time. */
export const wake_up_new_task = kfunc("wake_up_new_task", function* (task: Task) {
  const p = chooseCpu(task);
  const flags = yield* spin_lock_irqsave(p.rqLock);
  enqueue(p, task, p.rq.active);
  set_task_cpu(task, p.cpu.id);
  resched(p);
  yield* spin_unlock_irqrestore(p.rqLock, flags);
});

/** The tick's part: slices run down; a task that used its slice up goes to the expired array. */
export const scheduler_tick = kquick("scheduler_tick", () => {
  const p = this_cpu();
  return p.current === p.idle ? finished() : shorten_slice(p);
});

function* shorten_slice(p: PerCpu): Generator<void, void, void> {
  const task = p.current;
  yield* spin_lock(p.rqLock);
  const left = task.s.time_slice - 1;
  if (left > 0) task.s.time_slice = left;
  else if (task.onRunqueue) {
    dequeue(p, task);
    task.s.time_slice = DEFAULT_SLICE_TICKS;
    enqueue(p, task, p.rq.expired);
    p.needResched = true;
  }
  spin_unlock(p.rqLock);
}

/** On the way back to user mode: interrupts may have asked for another task. */
export function cond_resched(): Running {
  return this_cpu().needResched ? schedule() : finished();
}
/** The idle task: halts until an interrupt makes somebody runnable. */
export const cpu_idle = kfunc("cpu_idle", function* () {
  for (;;) {
    while (!this_cpu().needResched) yield* default_idle();
    yield* schedule();
  }
});

export const default_idle = kquick("default_idle", () =>
  // No preemption point between the test and the halt: sti; hlt.
  this_cpu().needResched ? finished() : halt(),
);

/** Sets the running task's state, e.g. before schedule(). */
export const set_current_state = kleaf("set_current_state", (state: number) => {
  current().s.state = state;
});
