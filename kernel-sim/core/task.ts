// Tasks: a task_struct, a thread_info and a stack in RAM, and the generator that is the task's program.
import { cpu, type Program, type Running } from "../../emulator/cpu/cpu.ts";
import { M, pokePtr } from "../abi/ram.ts";
import { task_struct, thread_info, thread_struct } from "../abi/structs/sched.ts";
import { array, charPtr } from "../abi/types.ts";
import type { ViewOf } from "../abi/view.ts";
import { INIT_LIST_HEAD } from "./list.ts";
import { child_rip, system_call } from "./entry.ts";
import type { Kernel } from "./kernel.ts";
import { beginStack } from "./kfunc.ts";
import { registerBytes, saveUserRegisters } from "./registers.ts";

export const THREAD_BYTES = 8192;
export const TASK_RUNNING = 0;
export const TASK_INTERRUPTIBLE = 1;
export const TASK_UNINTERRUPTIBLE = 2;
/** task_struct.flags of kernel threads without an address space. */
export const PF_KTHREAD = 0x00200000;

export interface Task {
  readonly s: ViewOf<typeof task_struct>;
  /** Physical address of the task_struct. */
  readonly addr: number;
  readonly runList: number;
  readonly comm: string;
  readonly pid: number;
  readonly stack: number;
  readonly kernelThread: boolean;
  program: Program;
  /** Saved while the task is switched out (thread.rsp is the RAM's copy). */
  sp: number;
  fp: number;
  functionId: number;
  /** The CPU it ran on last, or runs on. */
  cpuId: number;
  /** It never leaves that CPU (cpus_allowed has its bit alone). */
  readonly bound: boolean;
  /** When it last gave up a CPU: another one, whose clock may be behind, goes on from there. */
  leftAt: number;
  onRunqueue: boolean;
  /** It is some CPU's current. */
  running: boolean;
  /** A wake-up time for schedule_timeout, in jiffies; for the simulator's messages. */
  name: string;
}

/** Starts a program only when it is first resumed: a kernel function called outside a running CPU would run at once. */
function* lazily(start: () => Running): Generator<void, void, void> {
  // ret_from_fork: schedule() switched here with interrupts off.
  cpu.interruptsEnabled = true;
  yield* start();
}

/**
 * A task that is not on a runqueue yet.
 * @param start its program, e.g. `() => kjournald()`
 */
export function makeTask(
  k: Kernel,
  options: {
    readonly comm: string;
    readonly pid: number;
    readonly kernelThread: boolean;
    readonly start: () => Running;
    /** Where task_struct and stack lie; else in boot memory. */
    readonly place?: { readonly task: number; readonly stack: number };
    readonly cpuId?: number;
    readonly bound?: boolean;
  },
): Task {
  const addr = options.place?.task ?? k.bootmem(k.sizeOf(task_struct), 64);
  const stack = options.place?.stack ?? k.bootmem(THREAD_BYTES, THREAD_BYTES);
  M.u8.fill(0, addr, addr + k.sizeOf(task_struct));
  M.u8.fill(0, stack, stack + THREAD_BYTES);
  const s = k.view(task_struct, addr);
  const info = k.view(thread_info, stack);
  const offsets = (field: string): number => addr + k.offsetOf(task_struct, field);
  s.thread_info = stack;
  info.task = addr;
  info.cpu = options.cpuId ?? 0;
  s.pid = options.pid;
  s.tgid = options.pid;
  s.prio = 120;
  s.static_prio = 120;
  s.time_slice = 100;
  s.cpus_allowed = options.bound ? 1 << (options.cpuId ?? 0) : k.cpus.reduce((mask, c) => mask + 2 ** c.id, 0);
  s.flags = options.kernelThread ? PF_KTHREAD : 0;
  s.usage = 2;
  for (const field of ["run_list", "tasks", "children", "sibling"]) INIT_LIST_HEAD(offsets(field));
  for (let i = 0; i < 15 && i < options.comm.length; i++) M.u8[offsets("comm") + i] = options.comm.charCodeAt(i);
  const top = stack + THREAD_BYTES;
  // A process has its user registers at the top; the idle tasks were there before anybody could start them.
  const base = { sp: 0, fp: 0 };
  beginStack(base, options.kernelThread ? top : saveUserRegisters(top - registerBytes()));
  // copy_thread(): also a task that has not run yet has a stack for a debugger to look at.
  pokePtr(offsets("thread") + k.offsetOf(thread_struct, "rsp"), base.sp);
  const began = options.pid === 0 ? 0 : options.kernelThread ? child_rip.id : system_call.id;
  const task: Task = {
    s,
    addr,
    runList: offsets("run_list"),
    comm: options.comm,
    pid: options.pid,
    stack,
    kernelThread: options.kernelThread,
    program: lazily(options.start),
    ...base,
    functionId: began,
    cpuId: options.cpuId ?? 0,
    bound: options.bound ?? false,
    leftAt: 0,
    onRunqueue: false,
    running: false,
    name: `${options.comm}[${options.pid}]`,
  };
  k.tasks.set(addr, task);
  return task;
}

/** What ps calls the states of a task (fs/proc/array.c). */
const TASK_STATES = [
  "R (running)",
  "S (sleeping)",
  "D (disk sleep)",
  "T (stopped)",
  "T (tracing stop)",
  "Z (zombie)",
  "X (dead)",
];

/** task_state_array: analysts' tools take the letters of the states from it. */
export function init_task_state_array(k: Kernel): void {
  const word = k.map.model.wordBytes;
  const at = k.static("task_state_array", array(charPtr, TASK_STATES.length), "rodata");
  TASK_STATES.forEach((text, i) => {
    const string = k.staticBytes(`task_state_array.${i}`, text.length + 1, 1, "rodata");
    for (let j = 0; j < text.length; j++) M.u8[string + j] = text.charCodeAt(j);
    pokePtr(at + i * word, string);
  });
}

/** "bash[1234]", or "cpu 2" when nothing runs there yet. */
export const describeTask = (task: Task | undefined): string => task?.name ?? `cpu ${cpu.id}`;
