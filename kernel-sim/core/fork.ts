// New tasks: kernel threads and the load's processes (kernel/fork.c of 2.6.9, as far as a scheduler can see).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { poke32 } from "../abi/ram.ts";
import { in_interrupt } from "./irq.ts";
import { K, current, this_cpu } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { panic } from "./panic.ts";
import { schedule, wake_up_new_task } from "./sched.ts";
import { makeTask, type Task } from "./task.ts";

/** Task state of one that has ended. */
const EXIT_DEAD = 32;

function newTask(comm: string, kernelThread: boolean, start: () => Running, cpuId: number, bound = false): Task {
  const pid = K.nextPid++;
  const task = makeTask(K, {
    comm,
    pid,
    kernelThread,
    cpuId,
    bound,
    allocate: (bytes, align) => K.bootmem(bytes, align),
    start: () => runThenExit(start),
  });
  poke32(K.symbol("nr_threads"), K.tasks.size);
  return task;
}

const runThenExit = kfunc("kernel_thread_helper", function* (start: () => Running) {
  yield* start();
  yield* do_exit();
});

/** Starts a kernel thread. Returns its task. Context: process. */
export const kernel_thread = kfunc("kernel_thread", function* (comm: string, start: () => Running, cpuId: number) {
  const task = newTask(comm, true, start, cpuId);
  yield* wake_up_new_task(task);
  return task;
});

/** As kernel_thread, on this CPU for ever (kthread_bind). */
export const kernel_thread_on = kfunc("kthread_bind", function* (comm: string, start: () => Running, cpuId: number) {
  const task = newTask(comm, true, start, cpuId, true);
  yield* wake_up_new_task(task);
  return task;
});

/** Starts a user process whose system calls are `start`. */
export const do_fork = kfunc("do_fork", function* (comm: string, start: () => Running, cpuId: number) {
  const task = newTask(comm, false, start, cpuId);
  yield* wake_up_new_task(task);
  return task;
});

/** The running task ends. Never returns; panics where a kernel cannot go on without the task. Context: process. */
export const do_exit = kfunc("do_exit", function* () {
  const task = current();
  if (in_interrupt()) yield* panic("Aiee, killing interrupt handler!");
  if (task.pid === 0) yield* panic("Attempted to kill the idle task!");
  if (task.pid === 1) yield* panic("Attempted to kill init!");
  // The next iret lets NMIs through again.
  this_cpu().inNmi = false;
  task.s.exit_state = EXIT_DEAD;
  task.s.state = EXIT_DEAD;
  K.tasks.delete(task.addr);
  poke32(K.symbol("nr_threads"), K.tasks.size);
  for (;;) yield* schedule();
});
