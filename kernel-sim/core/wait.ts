// Wait queues, completions and semaphores (kernel/sched.c, lib/rwsem of 2.6.9). Sleepers are linked in RAM.
import { step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, poke32 } from "../abi/ram.ts";
import { completion as completion_struct, semaphore as semaphore_struct, wait_queue_t } from "../abi/structs/base.ts";
import { K, current } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail, list_del, list_empty, list_entries } from "./list.ts";
import { schedule, try_to_wake_up } from "./sched.ts";
import { Spinlock, spin_lock_irqsave, spin_unlock_irqrestore } from "./spinlock.ts";
import { TASK_INTERRUPTIBLE, TASK_RUNNING, TASK_UNINTERRUPTIBLE, type Task } from "./task.ts";
import { schedule_timeout } from "./timer.ts";

/** A wait_queue_head_t at `addr`: a lock word and a list head. */
export class WaitQueue {
  readonly addr: number;
  readonly lock: Spinlock;
  /** Address of task_list. */
  readonly list: number;
  /** Sleeping tasks by the address of their list entry. */
  readonly sleepers = new Map<number, { task: Task; exclusive: boolean }>();

  constructor(addr: number, name: string) {
    this.addr = addr;
    this.lock = new Spinlock(addr, `${name}.lock`);
    this.list = addr + (M.word8 ? 8 : 4);
    INIT_LIST_HEAD(this.list);
  }
}

/** Links the running task into a wait queue with a wait_queue_t on its stack. Returns its list entry. */
export const prepare_to_wait = kfunc(
  "prepare_to_wait",
  function* (queue: WaitQueue, state: number, exclusive: boolean) {
    const task = current();
    const node = waitNode(task, queue);
    const entry = node + K.offsetOf(wait_queue_t, "task_list");
    const w = K.view(wait_queue_t, node);
    w.flags = exclusive ? 1 : 0;
    w.task = task.addr;
    const flags = yield* spin_lock_irqsave(queue.lock);
    if (!queue.sleepers.has(entry)) {
      queue.sleepers.set(entry, { task, exclusive });
      list_add_tail(entry, queue.list);
    }
    task.s.state = state;
    yield* spin_unlock_irqrestore(queue.lock, flags);
    return entry;
  },
);

/** The queues that a task is linked into, by node. It may sleep on one inside another: a condition that sleeps, say. */
const nodesOf = new WeakMap<Task, (WaitQueue | undefined)[]>();
const MAX_NODES = 8;
/** The wait_queue_t of a task lie at the foot of its stack page, out of the way of its frames. */
const NODES_OFFSET = 512;

/** The task's wait_queue_t on this queue: the one that is linked already, or a free one. */
function waitNode(task: Task, queue: WaitQueue): number {
  let nodes = nodesOf.get(task);
  if (!nodes) nodesOf.set(task, (nodes = []));
  let at = nodes.indexOf(queue);
  if (at < 0) at = nodes.indexOf(undefined);
  if (at < 0) at = nodes.length;
  if (at >= MAX_NODES) throw new Error(`${task.name} sleeps on more than ${MAX_NODES} wait queues at once`);
  nodes[at] = queue;
  return task.stack + NODES_OFFSET + at * Math.ceil(K.sizeOf(wait_queue_t) / 16) * 16;
}

/** The queue's entry is not linked any more. */
function freeNode(task: Task, queue: WaitQueue): void {
  const nodes = nodesOf.get(task);
  const at = nodes?.indexOf(queue) ?? -1;
  if (at >= 0) nodes![at] = undefined;
}

export const finish_wait = kfunc("finish_wait", function* (queue: WaitQueue, entry: number) {
  current().s.state = TASK_RUNNING;
  const flags = yield* spin_lock_irqsave(queue.lock);
  if (queue.sleepers.delete(entry)) list_del(entry);
  freeNode(current(), queue);
  yield* spin_unlock_irqrestore(queue.lock, flags);
});

/** Sleeps (uninterruptible) until `condition` holds. Context: process. */
export const wait_event = kfunc("wait_event", function* (queue: WaitQueue, condition: () => boolean) {
  while (!condition()) {
    const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, false);
    if (!condition()) yield* schedule();
    yield* finish_wait(queue, entry);
  }
});

/** As wait_event, interruptible: how a thread waits that has nothing to do. No signal ever comes. Context: process. */
export const wait_event_interruptible = kfunc(
  "wait_event_interruptible",
  function* (queue: WaitQueue, condition: () => boolean) {
    while (!condition()) {
      const entry = yield* prepare_to_wait(queue, TASK_INTERRUPTIBLE, false);
      if (!condition()) yield* schedule();
      yield* finish_wait(queue, entry);
    }
  },
);

/** As wait_event, at most `ticks` jiffies. Returns the jiffies left, 0 when time ran out. */
export const wait_event_timeout = kfunc(
  "wait_event_timeout",
  function* (queue: WaitQueue, condition: () => boolean, ticks: number) {
    let left = ticks;
    while (!condition()) {
      if (left <= 0) return 0;
      const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, false);
      if (!condition()) left = yield* schedule_timeout(left);
      yield* finish_wait(queue, entry);
    }
    return Math.max(left, 1);
  },
);

/** Wakes every sleeper, but only the first `exclusive` exclusive ones (0: those too). Context: any; the queue's lock inside. */
export const __wake_up = kfunc("__wake_up", function* (queue: WaitQueue, exclusive: number) {
  const flags = yield* spin_lock_irqsave(queue.lock);
  let left = exclusive;
  if (!list_empty(queue.list)) {
    for (const entry of list_entries(queue.list)) {
      const sleeper = queue.sleepers.get(entry);
      if (!sleeper) continue;
      // One that was woken before, and has not run since, does not count: this wake-up is for the next.
      const woken = yield* try_to_wake_up(sleeper.task);
      if (woken !== 0 && sleeper.exclusive && --left === 0) break;
    }
  }
  yield* spin_unlock_irqrestore(queue.lock, flags);
});

export const wake_up = (queue: WaitQueue): Running => __wake_up(queue, 1);
export const wake_up_all = (queue: WaitQueue): Running => __wake_up(queue, 0);

/** struct completion at `addr`. */
export class Completion {
  readonly addr: number;
  readonly wait: WaitQueue;
  constructor(addr: number, name: string) {
    this.addr = addr;
    poke32(addr, 0);
    this.wait = new WaitQueue(addr + K.offsetOf(completion_struct, "wait"), name);
  }
  get done(): number {
    return peek32(this.addr);
  }
  set done(value: number) {
    step(2);
    poke32(this.addr, value);
  }
}

export const complete = kfunc("complete", function* (x: Completion) {
  x.done = x.done + 1;
  yield* __wake_up(x.wait, 1);
});

export const wait_for_completion = kfunc("wait_for_completion", function* (x: Completion) {
  yield* wait_event(x.wait, () => x.done > 0);
  x.done = x.done - 1;
});

/** Returns the jiffies left, 0 when it did not come in time. */
export const wait_for_completion_timeout = kfunc(
  "wait_for_completion_timeout",
  function* (x: Completion, ticks: number) {
    const left = yield* wait_event_timeout(x.wait, () => x.done > 0, ticks);
    if (left > 0) x.done = x.done - 1;
    return left;
  },
);

/** struct semaphore at `addr`. */
export class Semaphore {
  readonly addr: number;
  readonly wait: WaitQueue;
  readonly name: string;
  constructor(addr: number, name: string, count: number) {
    this.addr = addr;
    this.name = name;
    poke32(addr, count);
    this.wait = new WaitQueue(addr + K.offsetOf(semaphore_struct, "wait"), name);
  }
  get count(): number {
    return peek32(this.addr) | 0;
  }
  set count(value: number) {
    step(2);
    poke32(this.addr, value);
  }
}

/** Returns 0 when the semaphore was taken, 1 when it is in use. Never waits. */
export function down_trylock(sem: Semaphore): number {
  if (sem.count <= 0) return 1;
  sem.count = sem.count - 1;
  return 0;
}

/** Takes the semaphore; sleeps while it is in use. Context: process. */
export const down = kfunc("down", function* (sem: Semaphore) {
  while (down_trylock(sem) !== 0) {
    const entry = yield* prepare_to_wait(sem.wait, TASK_UNINTERRUPTIBLE, true);
    if (sem.count <= 0) yield* schedule();
    yield* finish_wait(sem.wait, entry);
  }
});

/** As down, interruptible: for a thread that waits to be told something. No signal ever comes. Context: process. */
export const down_interruptible = kfunc("down_interruptible", function* (sem: Semaphore) {
  while (down_trylock(sem) !== 0) {
    const entry = yield* prepare_to_wait(sem.wait, TASK_INTERRUPTIBLE, true);
    if (sem.count <= 0) yield* schedule();
    yield* finish_wait(sem.wait, entry);
  }
});

export const up = kfunc("up", function* (sem: Semaphore) {
  sem.count = sem.count + 1;
  yield* __wake_up(sem.wait, 1);
});
