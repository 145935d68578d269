// What a process does about signals (kernel/signal.c, fork.c of 2.6.9). Nobody sends any: handlers are the default ones, queues
// are empty.
import { M } from "../abi/ram.ts";
import { sighand_struct, signal_struct } from "../abi/structs/signal.ts";
import { sigpending } from "../abi/structs/signal.ts";
import { task_struct } from "../abi/structs/sched.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kmem_cache_create, kmem_cache_free, kmem_cache_zalloc } from "../mm/slab.ts";
import { K, type Kernel } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { INIT_LIST_HEAD } from "./list.ts";
import type { Task } from "./task.ts";

const ENOMEM = 12;

function initSignal(addr: number, task: Task | undefined): number {
  const s = K.view(signal_struct, addr);
  s.count.counter = 1;
  s.live.counter = 1;
  s.wait_chldexit.lock.lock = 1;
  INIT_LIST_HEAD(s.wait_chldexit.task_list.addr);
  INIT_LIST_HEAD(s.shared_pending.list.addr);
  if (task) {
    s.pgrp = task.pid;
    s.session = task.pid;
  }
  return addr;
}

/** init_signals, init_sighand and the caches. Boot. */
export function signals_init(k: Kernel): void {
  initSignal(k.static("init_signals", signal_struct), undefined);
  const hand = k.view(sighand_struct, k.static("init_sighand", sighand_struct));
  hand.siglock.lock = 1;
  k.sighandCache = kmem_cache_create("sighand_cache", k.sizeOf(sighand_struct), 64);
  for (const { id } of k.cpus) {
    const { idle } = k.percpu[id]!;
    share_signals(idle, k.symbol("init_signals"), k.symbol("init_sighand"));
  }
}

/** A task without signals pending, which uses these handlers. */
export function share_signals(task: Task, signal: number, sighand: number): void {
  const { count } = K.view(sighand_struct, sighand);
  count.counter = count.counter + 1;
  task.s.signal = signal;
  task.s.sighand = sighand;
  INIT_LIST_HEAD(task.addr + K.offsetOf(task_struct, "pending") + K.offsetOf(sigpending, "list"));
}

/** A new task that is a thread group of its own: its own signal_struct, its parent's handlers (CLONE_SIGHAND). */
export const copy_signal = (task: Task, sighand: number): void =>
  share_signals(task, initSignal(K.bootmem(K.sizeOf(signal_struct)), task), sighand);

/** Handlers of its own for a new process, as its parent has them. Returns: 0 or -ENOMEM. Context: process. */
export const copy_sighand = kfunc("copy_sighand", function* (task: Task) {
  const addr = yield* kmem_cache_zalloc(K.sighandCache, GFP_KERNEL);
  if (addr === 0) return -ENOMEM;
  const old = K.view(sighand_struct, task.s.sighand);
  M.u8.copyWithin(addr, old.addr, old.addr + K.sizeOf(sighand_struct));
  old.count.counter = old.count.counter - 1;
  const hand = K.view(sighand_struct, addr);
  hand.count.counter = 1;
  hand.siglock.lock = 1;
  task.s.sighand = addr;
  return 0;
});

/** The last user of its handlers frees them. Context: process. */
export const exit_sighand = kfunc("exit_sighand", function* (task: Task) {
  const { addr, count } = K.view(sighand_struct, task.s.sighand);
  task.s.sighand = 0;
  count.counter = count.counter - 1;
  if (count.counter === 0) yield* kmem_cache_free(K.sighandCache, addr);
});
