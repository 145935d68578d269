// The small structs that everything else is made of (include/linux/list.h, spinlock.h, wait.h, timer.h of 2.6.9).
import {
  array,
  charPtr,
  funcPtr,
  int,
  ptr,
  struct,
  typedef,
  uint,
  ulong,
  voidPtr,
  char,
  long,
  type StructType,
} from "../types.ts";

export const list_head: StructType = struct("list_head", { next: ptr(() => list_head), prev: ptr(() => list_head) });
export const hlist_node: StructType = struct("hlist_node", {
  next: ptr(() => hlist_node),
  pprev: ptr(() => voidPtr),
});
export const hlist_head = struct("hlist_head", { first: ptr(() => hlist_node) });
export const listHead = list_head as StructType<{ next: typeof voidPtr; prev: typeof voidPtr }>;

/** x86: 1 is free, 0 is held. */
export const spinlock_struct = struct("", { lock: uint });
export const spinlock_t = typedef("spinlock_t", struct("spinlock_t", { lock: uint }, { doc: "1 free, 0 held" }));
export const atomic_t = typedef("atomic_t", struct("atomic_t", { counter: int }));

export const wait_queue_head_t = typedef(
  "wait_queue_head_t",
  struct("__wait_queue_head", { lock: spinlock_t, task_list: listHead }),
);
export const wait_queue_t = struct("__wait_queue", {
  flags: uint,
  task: voidPtr,
  func: funcPtr,
  task_list: listHead,
});
export const completion = struct("completion", { done: uint, wait: wait_queue_head_t });
export const semaphore = struct("semaphore", { count: atomic_t, sleepers: int, wait: wait_queue_head_t });

export const timer_list = struct(
  "timer_list",
  { entry: listHead, expires: ulong, lock: spinlock_t, magic: ulong, function: funcPtr, data: ulong, base: voidPtr },
  { doc: "include/linux/timer.h" },
);
export const tasklet_struct = struct("tasklet_struct", {
  next: voidPtr,
  state: ulong,
  count: atomic_t,
  func: funcPtr,
  data: ulong,
});
export const work_struct = struct("work_struct", {
  pending: ulong,
  entry: listHead,
  func: funcPtr,
  data: voidPtr,
  wq_data: voidPtr,
  timer: timer_list,
});
export const notifier_block = struct("notifier_block", { notifier_call: funcPtr, next: voidPtr, priority: int });

export const new_utsname = struct("new_utsname", {
  sysname: array(char, 65),
  nodename: array(char, 65),
  release: array(char, 65),
  version: array(char, 65),
  machine: array(char, 65),
  domainname: array(char, 65),
});
export const timespec = struct("timespec", { tv_sec: long, tv_nsec: long });

export const module_struct = struct("module", {
  state: int,
  list: listHead,
  name: array(char, 56),
  init: funcPtr,
  module_init: voidPtr,
  module_core: voidPtr,
  init_size: ulong,
  core_size: ulong,
  init_text_size: ulong,
  core_text_size: ulong,
  syms: voidPtr,
  num_syms: uint,
  gpl_syms: voidPtr,
  num_gpl_syms: uint,
  symtab: voidPtr,
  num_symtab: ulong,
  strtab: charPtr,
});
