// What a task shares with the others and what a process has of its own (copy_process() of kernel/fork.c, do_execve() of
// fs/exec.c, 2.6.9): files, directories, mounts, signals, memory.
import { copy_files, exit_files, init_files_and_fs, share_files } from "../fs/files.ts";
import { open_exec } from "../fs/open.ts";
import { program_file } from "../fs/rootfs.ts";
import { PROGRAM_BYTES, exec_mmap, exit_mm, hasProcessMemory } from "../mm/process-memory.ts";
import { K, type Kernel } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { copy_sighand, copy_signal, exit_sighand, signals_init } from "./signal.ts";
import type { Task } from "./task.ts";

/** init_files, init_fs, init_signals and init_sighand; the idle tasks have them. Boot. */
export function init_task_resources(k: Kernel): void {
  init_files_and_fs(k);
  signals_init(k);
  for (const { id } of k.cpus) {
    const { idle } = k.percpu[id]!;
    share_files(idle, k.symbol("init_files"), k.symbol("init_fs"));
    idle.s.active_mm = k.symbol("init_mm");
  }
}

/** What every new task begins with: the files of init_task, its parent's mounts, signals of its own with shared handlers. */
export function share_resources(task: Task, parent: Task): void {
  share_files(task, K.symbol("init_files"), K.symbol("init_fs"));
  task.s.namespace = parent.s.namespace;
  task.s.active_mm = K.symbol("init_mm");
  copy_signal(task, K.symbol("init_sighand"));
}

/** Makes a new task a process: files and signal handlers of its own, a program in memory. Context: process. */
export const copy_process = kfunc("copy_process", function* (task: Task, parent: Task) {
  // Where nothing is mounted yet there is nothing to open (a kernel under test).
  if (parent.s.namespace === 0) return;
  let error = yield* copy_files(task, parent);
  if (error === 0) error = yield* copy_sighand(task);
  if (error === 0 && hasProcessMemory()) {
    const program = yield* program_file(task.comm.replace(/\/.*/, ""), PROGRAM_BYTES);
    const file = yield* open_exec(program);
    error = file < 0 ? file : yield* exec_mmap(task, file);
  }
  if (error !== 0) K.reports.push(`fork: ${task.name} has no memory for what a process has (${error})`);
});

/** The reverse of copy_process. Context: the process that ends. */
export const exit_resources = kfunc("exit_resources", function* (task: Task) {
  yield* exit_mm(task);
  yield* exit_files(task);
  yield* exit_sighand(task);
});
