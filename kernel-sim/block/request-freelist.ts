// Request pools of 2.4: each queue has its requests, half for reads and half for writes, on two free lists of its own.
//
// blkdev_release_request() wakes a sleeper only when a quarter of all is free again, and SCSI gives a request back as soon as it
// has copied it into the command: the pool counts what is queued, not what is under way.
import { step } from "../../emulator/cpu/cpu.ts";
import { request as request_struct } from "../abi/structs/block.ts";
import { K } from "../core/kernel.ts";
import { pointed } from "../core/fault.ts";
import { versionFunctions } from "../core/version-functions.ts";
import { INIT_LIST_HEAD, list_add, list_del_init, list_empty, list_next } from "../core/list.ts";
import { schedule } from "../core/sched.ts";
import { spin_lock_irq, spin_unlock_irq } from "../core/spinlock.ts";
import { TASK_UNINTERRUPTIBLE } from "../core/task.ts";
import { finish_wait, prepare_to_wait, wake_up } from "../core/wait.ts";
import { REQUEST_POOL_NS } from "../flavours/prices-2.4.ts";
import { elv_completed_request } from "./elevator.ts";
import { generic_unplug_device, type RequestQueue } from "./queue.ts";
import { RQ_INACTIVE, Request } from "./request.ts";

const kfunc = versionFunctions("2.4.21");

/** 128 requests per queue where there is more than 32 MiB of RAM, shared equally (blk_init_free_list). */
export const REQUESTS_PER_DIRECTION = 64;
/** batch_requests: a quarter of all, 32 at most. */
const BATCH_REQUESTS = 32;

/** rq[READ].free and rq[WRITE].free of each queue: addresses of list heads. */
const freeLists = new WeakMap<RequestQueue, readonly [number, number]>();

/** A queue's free lists; its requests are made when the first one is wanted. */
function freeListsOf(q: RequestQueue): readonly [number, number] {
  let lists = freeLists.get(q);
  if (!lists) {
    const heads = K.bootmem(64);
    lists = [heads, heads + 32];
    freeLists.set(q, lists);
    const bytes = K.sizeOf(request_struct);
    for (const head of lists) {
      INIT_LIST_HEAD(head);
      for (let i = 0; i < q.s.nr_requests; i++) {
        const rq = new Request(K.bootmem(bytes));
        rq.s.rq_status = RQ_INACTIVE;
        INIT_LIST_HEAD(rq.queuelist);
        list_add(rq.queuelist, head);
      }
    }
  }
  return lists;
}

/** Takes a free request. Returns: it, or undefined. Locks: io_request_lock held, irqs off. */
export function get_free_request(q: RequestQueue, rw: number): Request | undefined {
  const head = freeListsOf(q)[rw as 0 | 1];
  step(REQUEST_POOL_NS);
  if (list_empty(head)) return undefined;
  const first = list_next(head);
  const rq = pointed(K.block.requests.get(first), first);
  list_del_init(rq.queuelist);
  q.setCount(rw, q.count(rw) + 1);
  rq.init(q, rw);
  rq.fromPool = true;
  rq.s.rl = q.rl.addr;
  return rq;
}

/** As get_free_request, taking the lock. Context: process. */
export const get_request_24 = kfunc("get_request", function* (q: RequestQueue, rw: number) {
  yield* spin_lock_irq(q.queue_lock);
  const rq = get_free_request(q, rw);
  yield* spin_unlock_irq(q.queue_lock);
  return rq;
});

/** A free request; sleeps until there is one. Context: process. Locks: none held. */
export const __get_request_wait = kfunc("__get_request_wait", function* (q: RequestQueue, rw: number) {
  // What is queued must move on, or nothing is ever freed.
  yield* generic_unplug_device(q);
  const queue = q.wait[rw as 0 | 1];
  for (;;) {
    const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, true);
    yield* spin_lock_irq(q.queue_lock);
    const rq = get_free_request(q, rw);
    yield* spin_unlock_irq(q.queue_lock);
    if (rq) {
      yield* finish_wait(queue, entry);
      return rq;
    }
    yield* schedule();
    yield* finish_wait(queue, entry);
  }
});

/** A request back to the free list it came from. Locks: io_request_lock held, irqs off; the wait queue's inside. */
export const blkdev_release_request = kfunc("blkdev_release_request", function* (q: RequestQueue, rq: Request) {
  const rw = rq.s.flags & 1;
  step(REQUEST_POOL_NS);
  elv_completed_request(q, rq);
  rq.s.rq_status = RQ_INACTIVE;
  rq.disk = undefined;
  rq.special = undefined;
  rq.waiting = undefined;
  if (!list_empty(rq.queuelist)) {
    K.reports.push(`blkdev_release_request: request ${rq.addr.toString(16)} is freed while it is queued`);
    INIT_LIST_HEAD(rq.queuelist);
  }
  list_add(rq.queuelist, freeListsOf(q)[rw as 0 | 1]);
  const taken = q.count(rw) - 1;
  q.setCount(rw, taken);
  const queue = q.wait[rw as 0 | 1];
  if (q.s.nr_requests - taken >= BATCH_REQUESTS && !list_empty(queue.list)) yield* wake_up(queue);
});

/** 2.4 knows no congestion: a writer finds out when the pool is empty, and sleeps. */
export const never_congested = (): boolean => false;
