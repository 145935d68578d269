// Task queues (include/linux/tqueue.h of 2.4): lists of functions to be called once, later. One lock, tqueue_lock, for all.
import { step, type Running } from "../../emulator/cpu/cpu.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { list_head } from "../abi/structs/base.ts";
import { tq_struct } from "../abi/structs/tqueue.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "./kernel.ts";
import { pointed } from "./fault.ts";
import { versionFunctions } from "./version-functions.ts";
import { INIT_LIST_HEAD, list_add_tail, list_del_init, list_empty, list_next, list_splice_init } from "./list.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore, staticLock, type Spinlock } from "./spinlock.ts";
import { offStack, onStack } from "./timer.ts";

const kfunc = versionFunctions("2.4.21");

/** A tq_struct: linked once, however often it is queued before it runs. */
export class QueuedTask {
  readonly addr: number;
  readonly s: ViewOf<typeof tq_struct>;
  readonly routine: () => Running;

  constructor(routine: () => Running, textAddress: number, data: number) {
    this.addr = K.bootmem(K.sizeOf(tq_struct));
    this.s = K.view(tq_struct, this.addr);
    INIT_LIST_HEAD(this.addr);
    this.s.routine = textAddress;
    this.s.data = data;
    this.routine = routine;
  }

  /** sync: it is on a queue. */
  get sync(): boolean {
    return peek32(this.addr + K.offsetOf(tq_struct, "sync")) !== 0;
  }
  set sync(on: boolean) {
    step(2);
    poke32(this.addr + K.offsetOf(tq_struct, "sync"), on ? 1 : 0);
  }
}

/** DECLARE_TASK_QUEUE(name). */
export class TaskQueue {
  readonly head: number;
  readonly lock: Spinlock;
  /** Tasks by address: what the lists in RAM lead to. */
  private readonly tasks = new Map<number, QueuedTask>();

  constructor(name: string, lock: Spinlock) {
    this.head = K.static(name, list_head);
    INIT_LIST_HEAD(this.head);
    this.lock = lock;
  }

  know(task: QueuedTask): void {
    this.tasks.set(task.addr, task);
  }
  taskAt(addr: number): QueuedTask {
    return pointed(this.tasks.get(addr), addr);
  }
}

/** tqueue_lock, of the kernel image. */
export const tqueueLock = (): Spinlock => K.locks.get("tqueue_lock") ?? staticLock("tqueue_lock");

/** Queues a task unless it is queued. Locks: tqueue_lock, inside. Context: any. */
export const queue_task = kfunc("queue_task", function* (task: QueuedTask, queue: TaskQueue) {
  if (task.sync) return;
  task.sync = true;
  const flags = yield* spin_lock_irqsave(queue.lock);
  list_add_tail(task.addr, queue.head);
  yield* spin_unlock_irqrestore(queue.lock, flags);
});

export const task_queue_active = (queue: TaskQueue): boolean => !list_empty(queue.head);

/**
 * Takes what is queued and calls it. A context that is stopped in here takes what it had taken with it: those tasks say that they
 * are queued, and are not. Locks: tqueue_lock, inside, for the taking. Context: process or softirq.
 */
export const run_task_queue = kfunc("run_task_queue", function* (queue: TaskQueue) {
  if (!task_queue_active(queue)) return;
  const bytes = K.sizeOf(list_head);
  const head = onStack(bytes);
  INIT_LIST_HEAD(head);
  const flags = yield* spin_lock_irqsave(queue.lock);
  list_splice_init(queue.head, head);
  yield* spin_unlock_irqrestore(queue.lock, flags);
  while (!list_empty(head)) {
    const task = queue.taskAt(list_next(head));
    list_del_init(task.addr);
    task.sync = false;
    yield* task.routine();
  }
  offStack(bytes);
});
