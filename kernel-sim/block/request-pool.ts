// The pool of free requests of a queue (get_request and friends in drivers/block/ll_rw_blk.c of 2.6.9).
//
// A queue hands out at most nr_requests per direction; a process that meets the limit sleeps, and gets a batch when it
// wakes. An interrupt-driven dumper that needs a request while the pool is empty sleeps here for ever.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K, current } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_empty } from "../core/list.ts";
import { schedule } from "../core/sched.ts";
import { spin_lock_irq, spin_unlock_irq } from "../core/spinlock.ts";
import { TASK_UNINTERRUPTIBLE } from "../core/task.ts";
import { finish_wait, prepare_to_wait, wake_up } from "../core/wait.ts";
import { GFP_NOIO, __GFP_WAIT } from "../mm/page-alloc.ts";
import { kmem_cache_alloc, kmem_cache_free } from "../mm/slab.ts";
import { elv_completed_request } from "./elevator.ts";
import { QUEUE_FLAG_READFULL, QUEUE_FLAG_WRITEFULL, generic_unplug_device, type RequestQueue } from "./queue.ts";
import { Request } from "./request.ts";

/** Requests that a process may take beyond a full queue once it has waited, and for how long. */
const BLK_BATCH_REQ = 32;
const BLK_BATCH_MS = 20;

/** A process's state towards the request pools (struct io_context). */
export interface IoContext {
  lastWaited: number;
  batchRequests: number;
}

function ioContext(): IoContext {
  const task = current();
  const { ioContexts } = K.block;
  let context = ioContexts.get(task);
  if (!context) ioContexts.set(task, (context = { lastWaited: 0, batchRequests: 0 }));
  return context;
}

const batchTicks = (): number => Math.max(1, Math.ceil((BLK_BATCH_MS * K.hz) / 1000));

/** Just woken: may take a few requests although the queue is full, so that it does not sleep for each one. */
const ioc_batching = (ioc: IoContext): boolean =>
  ioc.batchRequests === BLK_BATCH_REQ || (ioc.batchRequests > 0 && K.time.jiffies < ioc.lastWaited + batchTicks());

function ioc_set_batching(ioc: IoContext): void {
  if (ioc_batching(ioc)) return;
  ioc.batchRequests = BLK_BATCH_REQ;
  ioc.lastWaited = K.time.jiffies;
}

const fullFlag = (rw: number): number => (rw ? QUEUE_FLAG_WRITEFULL : QUEUE_FLAG_READFULL);

/** Congested: so many requests are out that writers had better wait. */
export const queue_congested = (q: RequestQueue, rw: number): boolean => q.count(rw) >= q.s.nr_congestion_on;
export const bdi_congested = (q: RequestQueue, rw: number): boolean => K.flavour.block.congested(q, rw);

/**
 * A free request of a queue, without waiting.
 * Returns: the request, or undefined when the pool is empty. Locks: queue_lock, inside; irqs on at entry. Context: process.
 */
export const get_request = kfunc("get_request", function* (q: RequestQueue, rw: number, gfp_mask: number) {
  const ioc = ioContext();
  yield* spin_lock_irq(q.queue_lock);
  if (q.count(rw) + 1 >= q.s.nr_requests && !q.hasFlag(fullFlag(rw))) {
    ioc_set_batching(ioc);
    q.setFlag(fullFlag(rw));
  }
  if (q.hasFlag(fullFlag(rw)) && !ioc_batching(ioc)) {
    yield* spin_unlock_irq(q.queue_lock);
    return undefined;
  }
  q.setCount(rw, q.count(rw) + 1);
  yield* spin_unlock_irq(q.queue_lock);
  const rq = yield* blk_alloc_request(q, gfp_mask);
  if (rq === undefined) {
    // Memory is out: give the count back; somebody may wait for it.
    yield* spin_lock_irq(q.queue_lock);
    yield* freed_request(q, rw);
    yield* spin_unlock_irq(q.queue_lock);
    return undefined;
  }
  if (ioc_batching(ioc)) ioc.batchRequests--;
  rq.s.flags = rw;
  return rq;
});

const blk_alloc_request = kfunc("blk_alloc_request", function* (q: RequestQueue, gfp_mask: number) {
  const layer = K.block;
  const addr = yield* kmem_cache_alloc(layer.requestCache, gfp_mask);
  if (addr === 0) return undefined;
  const rq = layer.requests.get(addr) ?? new Request(addr);
  rq.init(q, 0);
  rq.fromPool = true;
  rq.s.rl = q.rl.addr;
  if (yield* q.elevator.setRequest(rq)) return rq;
  yield* kmem_cache_free(layer.requestCache, addr);
  return undefined;
});

/** A free request; sleeps until there is one. Context: process. Locks: none held. */
export const get_request_wait = kfunc("get_request_wait", function* (q: RequestQueue, rw: number) {
  // What is queued must move on, or nothing is ever freed.
  yield* generic_unplug_device(q);
  const queue = q.wait[rw as 0 | 1];
  for (;;) {
    const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, true);
    const rq = yield* get_request(q, rw, GFP_NOIO);
    if (rq) {
      yield* finish_wait(queue, entry);
      return rq;
    }
    yield* schedule();
    ioc_set_batching(ioContext());
    yield* finish_wait(queue, entry);
  }
});

/** A request for a driver's own command, from the pool. Waits for one with __GFP_WAIT. Context: process. */
export function blk_get_request(q: RequestQueue, rw: number, gfp_mask: number): Running<Request | undefined> {
  const { block } = K.flavour;
  return gfp_mask & __GFP_WAIT ? block.getRequestWait(q, rw) : block.getRequest(q, rw, gfp_mask);
}

/** 2.6: the request's memory back to the slab, its place to who waits. Locks: queue_lock held, irqs off. */
export function* release_request(q: RequestQueue, rq: Request): Generator<void, void, void> {
  const rw = rq.s.flags & 1;
  yield* free_pool_request(q, rq);
  yield* freed_request(q, rw);
}

/** Memory of a request back to the slab. Locks: queue_lock held, irqs off. */
export const free_pool_request = kfunc("blk_free_request", function* (q: RequestQueue, rq: Request) {
  elv_completed_request(q, rq);
  yield* q.elevator.putRequest(rq);
  if (!list_empty(rq.queuelist)) {
    K.reports.push(`blk_put_request: request ${rq.addr.toString(16)} is freed while it is queued`);
    INIT_LIST_HEAD(rq.queuelist);
  }
  rq.disk = undefined;
  rq.special = undefined;
  rq.waiting = undefined;
  yield* kmem_cache_free(K.block.requestCache, rq.addr);
});

/** One request of a direction is free again: wakes who waits for it. Locks: queue_lock held, irqs off. */
export const freed_request = kfunc("freed_request", function* (q: RequestQueue, rw: number) {
  const count = q.count(rw) - 1;
  q.setCount(rw, count);
  if (count + 1 > q.s.nr_requests) return;
  const queue = q.wait[rw as 0 | 1];
  if (!list_empty(queue.list)) yield* wake_up(queue);
  q.clearFlag(fullFlag(rw));
});
