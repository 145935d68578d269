// New tasks: kernel threads and the load's processes (kernel/fork.c of 2.6.9, as far as a scheduler can see).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { poke32 } from "../abi/ram.ts";
import { K, current } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { schedule, wake_up_new_task } from "./sched.ts";
import { makeTask, type Task } from "./task.ts";

/** Task state of one that has ended. */
const EXIT_DEAD = 32;

function newTask(comm: string, kernelThread: boolean, start: () => Running, cpuId: number): Task {
  const pid = K.nextPid++;
  const task = makeTask(K, {
    comm,
    pid,
    kernelThread,
    cpuId,
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

/** Starts a user process whose system calls are `start`. */
export const do_fork = kfunc("do_fork", function* (comm: string, start: () => Running, cpuId: number) {
  const task = newTask(comm, false, start, cpuId);
  yield* wake_up_new_task(task);
  return task;
});

/** The running task ends. Never returns. */
export const do_exit = kfunc("do_exit", function* () {
  const task = current();
  task.s.exit_state = EXIT_DEAD;
  task.s.state = EXIT_DEAD;
  yield* schedule();
});
