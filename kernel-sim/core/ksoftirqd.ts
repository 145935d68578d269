// Softirqs of 2.4.21 and the thread that takes over when they do not end (kernel/softirq.c of 2.4).
import { cpu, giveWay, mustGiveWay } from "../../emulator/cpu/cpu.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { kernel_thread_on } from "./fork.ts";
import { K, this_cpu } from "./kernel.ts";
import { versionFunctions } from "./version-functions.ts";
import { cond_resched, schedule, set_current_state, try_to_wake_up } from "./sched.ts";
import { softirq_pending } from "./softirq.ts";
import { local_irq_disable, local_irq_enable } from "./spinlock.ts";
import { TASK_INTERRUPTIBLE, TASK_RUNNING, type Task } from "./task.ts";

const kfunc = versionFunctions("2.4.21");
const LEAST_PRIORITY = 19;
const NR_SOFTIRQS = 6;

const threads = new WeakMap<object, (Task | undefined)[]>();

/**
 * Runs what is pending, with interrupts on. What becomes pending meanwhile runs too, unless it ran here already: that is left to
 * ksoftirqd, so that a bottom half that does not get its lock cannot hold the CPU for ever. Called with irqs off, returns so.
 */
export const do_softirq = kfunc("do_softirq", function* () {
  const p = this_cpu();
  let pending = peek32(p.softirqPendingAt);
  if (pending === 0) return;
  let mask = ~pending;
  p.softirqDepth++;
  for (;;) {
    poke32(p.softirqPendingAt, 0);
    cpu.interruptsEnabled = true;
    if (mustGiveWay()) yield* giveWay(cpu);
    for (let nr = 0; nr < NR_SOFTIRQS; nr++) {
      if ((pending & (1 << nr)) === 0) continue;
      const action = K.softirqs.actions[nr];
      if (action) yield* action();
    }
    local_irq_disable();
    pending = peek32(p.softirqPendingAt);
    if ((pending & mask) === 0) break;
    mask &= ~pending;
  }
  p.softirqDepth--;
  if (pending !== 0) yield* wakeup_softirqd();
});

const wakeup_softirqd = kfunc("wakeup_softirqd", function* () {
  const task = threads.get(K)?.[cpu.id];
  if (task && task.s.state !== TASK_RUNNING) yield* try_to_wake_up(task);
});

/** ksoftirqd_CPUn: bound, the nicest of all. */
const ksoftirqd = kfunc("ksoftirqd", function* () {
  for (;;) {
    set_current_state(TASK_INTERRUPTIBLE);
    if (!softirq_pending()) yield* schedule();
    set_current_state(TASK_RUNNING);
    while (softirq_pending()) {
      local_irq_disable();
      yield* do_softirq();
      yield* local_irq_enable();
      yield* cond_resched();
    }
  }
});

/** Starts a thread per CPU. Context: process 1. */
export const spawn_ksoftirqd = kfunc("spawn_ksoftirqd", function* () {
  const tasks: (Task | undefined)[] = [];
  threads.set(K, tasks);
  for (const c of K.cpus) {
    tasks[c.id] = yield* kernel_thread_on(`ksoftirqd_CPU${c.id}`, () => ksoftirqd(), c.id, LEAST_PRIORITY);
  }
});
