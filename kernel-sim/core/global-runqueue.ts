// One lock for all runqueues (kernel/sched.c of 2.4): schedule() and every wake-up on any CPU take runqueue_lock.
//
// 2.4 has one queue of runnable tasks, of which schedule() looks at each for its goodness(). Here the tasks are on the queues
// of 2.6.9, where analysts' tools find them; the lock is one, and the look at each task is paid for.
import { step } from "../../emulator/cpu/cpu.ts";
import { poke32 } from "../abi/ram.ts";
import { staticLock, type Spinlock } from "./spinlock.ts";
import { K, this_cpu, type Kernel } from "./kernel.ts";
import { versionFunctions } from "./version-functions.ts";
import type { PerCpu } from "./percpu.ts";
import { DEFAULT_SLICE_TICKS, dequeue, enqueue } from "./sched.ts";
import type { Task } from "./task.ts";
import { GOODNESS_NS } from "../flavours/prices-2.4.ts";

const kfunc = versionFunctions("2.4.21");
const locks = new WeakMap<Kernel, Spinlock>();

export function global_runqueue_lock(k: Kernel, at: number): Spinlock {
  // The word in the struct is nobody's; free, for those who look.
  poke32(at, 1);
  let lock = locks.get(k);
  if (!lock) locks.set(k, (lock = staticLock("runqueue_lock")));
  return lock;
}

/** A look at every runnable task's goodness(); who has used up his slice goes behind the others. Locks: runqueue_lock held. */
export function look_at_all(p: PerCpu, prev: Task): void {
  let runnable = 0;
  for (const { id } of K.cpus) runnable += K.percpu[id]!.rq.nr_running;
  step(runnable * GOODNESS_NS);
  if (!prev.onRunqueue || prev.s.time_slice > 0) return;
  dequeue(p, prev);
  prev.s.time_slice = DEFAULT_SLICE_TICKS;
  enqueue(p, prev, p.rq.expired);
}

/** The slice runs down, without any lock. Hardirq. */
export const update_process_times = kfunc("update_process_times", function* () {
  const p = this_cpu();
  const task = p.current;
  if (task === p.idle) return;
  const left = task.s.time_slice - 1;
  task.s.time_slice = Math.max(0, left);
  if (left <= 0) p.needResched = true;
});
