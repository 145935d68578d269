// New tasks: kernel threads and the load's processes (kernel/fork.c of 2.6.9, as far as a scheduler can see).
import { cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { poke32 } from "../abi/ram.ts";
import { task_struct } from "../abi/structs/sched.ts";
import { in_interrupt } from "./irq.ts";
import { K, current, this_cpu } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { list_add_tail, list_del, list_entries } from "./list.ts";
import { panic } from "./panic.ts";
import { attach_pid, detach_pid } from "./pid.ts";
import { copy_process, exit_resources, share_resources } from "./process.ts";
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
    start: () => runThenExit(start),
  });
  attach_task(task, current());
  return task;
}

function* runThenExit(start: () => Running): Generator<void, void, void> {
  yield* start();
  yield* do_exit();
}

/** Makes a new task known: in the pid hashes, on the list of all tasks, as its parent's child. */
export function attach_task(task: Task, parent: Task): void {
  const { s } = task;
  s.real_parent = parent.addr;
  s.parent = parent.addr;
  s.group_leader = task.addr;
  s.start_time.tv_sec = Math.floor(cpu.clock / 1e9);
  s.start_time.tv_nsec = cpu.clock % 1e9;
  const at = (t: Task, field: string): number => t.addr + K.offsetOf(task_struct, field);
  list_add_tail(at(task, "tasks"), K.symbol("init_task") + K.offsetOf(task_struct, "tasks"));
  list_add_tail(at(task, "sibling"), at(parent, "children"));
  attach_pid(task, task.pid);
  share_resources(task, parent);
  poke32(K.symbol("nr_threads"), K.tasks.size);
}

/** The reverse, of a task that nobody waits for. Its children become init's. */
function detach_task(task: Task): void {
  const children = task.addr + K.offsetOf(task_struct, "children");
  const init = [...K.tasks.values()].find((other) => other.pid === 1);
  for (const entry of list_entries(children)) {
    const child = K.tasks.get(entry - K.offsetOf(task_struct, "sibling"));
    if (!child || !init) continue;
    list_del(entry);
    child.s.parent = init.addr;
    child.s.real_parent = init.addr;
    list_add_tail(entry, init.addr + K.offsetOf(task_struct, "children"));
  }
  list_del(task.addr + K.offsetOf(task_struct, "tasks"));
  list_del(task.addr + K.offsetOf(task_struct, "sibling"));
  detach_pid(task);
  K.tasks.delete(task.addr);
  poke32(K.symbol("nr_threads"), K.tasks.size);
}

/** Starts a kernel thread. Returns its task. Context: process. */
export const kernel_thread = kfunc("kernel_thread", function* (comm: string, start: () => Running, cpuId: number) {
  const task = newTask(comm, true, start, cpuId);
  yield* wake_up_new_task(task);
  return task;
});

/** As kernel_thread, on this CPU for ever (kthread_bind). `nice`: -20 (first) to 19 (last), 0 when left out. */
export const kernel_thread_on = kfunc(
  "kthread_bind",
  function* (comm: string, start: () => Running, cpuId: number, nice?: number) {
    const task = newTask(comm, true, start, cpuId, true);
    if (nice !== undefined) {
      task.s.prio = NICE_0_PRIO + nice;
      task.s.static_prio = NICE_0_PRIO + nice;
    }
    yield* wake_up_new_task(task);
    return task;
  },
);
/** Priority of a task that is as nice as most. */
const NICE_0_PRIO = 120;

/** Starts a user process whose system calls are `start`. */
export const do_fork = kfunc("do_fork", function* (comm: string, start: () => Running, cpuId: number) {
  const task = newTask(comm, false, start, cpuId);
  yield* copy_process(task, current());
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
  yield* exit_resources(task);
  task.s.exit_state = EXIT_DEAD;
  task.s.state = EXIT_DEAD;
  detach_task(task);
  for (;;) yield* schedule();
});
