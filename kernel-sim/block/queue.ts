// Request queues: limits, the request pool, plugging, starting and stopping (drivers/block/ll_rw_blk.c of 2.6.9).
//
// The lock is a property of the queue: each queue has its own here, and all may share one (the io_request_lock of 2.4).
import { finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { deadline_data, request_list, request_queue } from "../abi/structs/block.ts";
import { completion } from "../abi/structs/base.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc, kquick, textAddressOf } from "../core/kfunc.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import {
  Spinlock,
  spin_lock_irq,
  spin_lock_irqsave,
  spin_unlock_irq,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { del_timer, init_timer, mod_timer, type Timer } from "../core/timer.ts";
import { Completion, WaitQueue, wait_for_completion } from "../core/wait.ts";
import { init_work, schedule_work, type Work } from "../core/workqueue.ts";
import { __elv_add_request, blk_requeue_request, elv_queue_empty, type Elevator } from "./elevator.ts";
import { makeElevator, type ElevatorName } from "./elevators.ts";
import { GFP_KERNEL } from "../mm/page-alloc.ts";
import { kfree, kmalloc } from "../mm/slab.ts";
import { blk_dev_init } from "./block-layer.ts";
import type { Gendisk } from "./gendisk.ts";
import { REQ_NOMERGE, REQ_SOFTBARRIER, REQ_SPECIAL, type Request } from "./request.ts";

export {
  blk_requeue_request,
  blkdev_dequeue_request,
  elv_next_request,
  elv_queue_empty,
  __elv_add_request,
} from "./elevator.ts";
export { blk_get_request } from "./request-pool.ts";
export { __make_request, generic_make_request, submit_bio } from "./make-request.ts";

/** queue_flags bits. */
export const QUEUE_FLAG_CLUSTER = 1 << 0;
export const QUEUE_FLAG_QUEUED = 1 << 1;
export const QUEUE_FLAG_STOPPED = 1 << 2;
export const QUEUE_FLAG_READFULL = 1 << 3;
export const QUEUE_FLAG_WRITEFULL = 1 << 4;
export const QUEUE_FLAG_DEAD = 1 << 5;
export const QUEUE_FLAG_REENTER = 1 << 6;
export const QUEUE_FLAG_PLUGGED = 1 << 7;

export const BLKDEV_MIN_RQ = 4;
export const BLKDEV_MAX_RQ = 128;
/** Jiffies until a plugged queue starts on its own, and the requests that start it at once. */
const UNPLUG_DELAY_MS = 3;
export const UNPLUG_THRESH = 4;
const ENOMEM = 12;
const EOPNOTSUPP = 95;

export const BLKPREP_OK = 0;
export const BLKPREP_KILL = 1;
export const BLKPREP_DEFER = 2;

/** Locks: queue_lock held, irqs off, on entry and on return (it may be let go in between). Context: process or softirq. Must not: sleep. */
export type RequestFn = (q: RequestQueue) => Running;
/** Makes a request ready for the driver. Returns BLKPREP_*. Locks: queue_lock held. */
export type PrepRequestFn = (q: RequestQueue, rq: Request) => Running<number>;

/** Brings the disk's write cache to the media (SYNCHRONIZE CACHE) and waits. Returns 0 or a negative errno. Context: process. */
export type IssueFlushFn = (q: RequestQueue, disk: Gendisk) => Running<number>;

export class RequestQueue {
  readonly addr: number;
  readonly s: ViewOf<typeof request_queue>;
  /** Address of queue_head: the requests in the order in which the driver will get them. */
  readonly queue_head: number;
  readonly queue_lock: Spinlock;
  readonly request_fn: RequestFn;
  prep_rq_fn: PrepRequestFn | undefined;
  issue_flush_fn: IssueFlushFn | undefined;
  readonly elevator: Elevator;
  readonly rl: ViewOf<typeof request_list>;
  /** Who waits for a free request, per direction. */
  readonly wait: readonly [WaitQueue, WaitQueue];
  readonly unplugTimer: Timer;
  readonly unplugWork: Work;
  /** The driver's object behind `s.queuedata` (its scsi_device). */
  queuedata: object | undefined;
  disk: Gendisk | undefined;
  /** Copies of limits that the hot paths compare with. */
  maxSegmentSize = 65536;
  boundary = 0x1_0000_0000;

  constructor(request_fn: RequestFn, lock: Spinlock | undefined, name: string, elevator: ElevatorName) {
    const size = Math.ceil(K.sizeOf(request_queue) / 64) * 64;
    this.addr = K.bootmem(size);
    const s = (this.s = K.view(request_queue, this.addr));
    const at = (field: string): number => this.addr + K.offsetOf(request_queue, field);
    this.queue_head = this.addr;
    INIT_LIST_HEAD(this.queue_head);
    this.request_fn = request_fn;
    this.queue_lock = lock ?? K.flavour.block.sharedLock() ?? new Spinlock(at("__queue_lock"), `${name}.queue_lock`);
    s.queue_lock = this.queue_lock.addr;
    s.request_fn = textAddressOf((request_fn as unknown as { id?: number }).id ?? 0);
    s.unplug_fn = textAddressOf(generic_unplug_device.id);
    s.queue_flags = QUEUE_FLAG_CLUSTER;
    const { requestsPerDirection: most, unplugThreshold } = K.flavour.block;
    s.nr_requests = most;
    s.nr_congestion_on = most - (most >>> 3) + 1;
    s.nr_congestion_off = most - (most >>> 3) - (most >>> 4) - 1;
    s.max_sectors = 255;
    s.max_hw_sectors = 255;
    s.max_phys_segments = 128;
    s.max_hw_segments = 128;
    s.hardsect_size = 512;
    s.max_segment_size = this.maxSegmentSize;
    s.seg_boundary_mask = 0xffffffff;
    s.unplug_thresh = unplugThreshold;
    s.unplug_delay = Math.max(1, Math.floor((UNPLUG_DELAY_MS * K.hz) / 1000));
    this.rl = K.view(request_list, at("rq"));
    const waitAt = this.rl.addr + K.offsetOf(request_list, "wait");
    const waitBytes = (K.sizeOf(request_list) - K.offsetOf(request_list, "wait")) / 2;
    this.wait = [
      new WaitQueue(waitAt, `${name}.rq.wait[READ]`),
      new WaitQueue(waitAt + waitBytes, `${name}.rq.wait[WRITE]`),
    ];
    this.unplugTimer = init_timer(at("unplug_timer"), `${name}.unplug_timer`, () => blk_unplug_timeout(this));
    this.unplugWork = init_work(at("unplug_work"), `${name}.unplug_work`, () => blk_unplug_work(this));
    this.elevator = makeElevator(elevator, this, K.bootmem(K.sizeOf(deadline_data)));
  }

  hasFlag(flag: number): boolean {
    return (this.s.queue_flags & flag) !== 0;
  }
  setFlag(flag: number): void {
    this.s.queue_flags = this.s.queue_flags | flag;
  }
  clearFlag(flag: number): void {
    this.s.queue_flags = this.s.queue_flags & ~flag;
  }

  /** rq.count[rw]: requests of that direction taken from the pool. */
  count(rw: number): number {
    return peek32(this.rl.count + rw * 4);
  }
  setCount(rw: number, value: number): void {
    step(2);
    poke32(this.rl.count + rw * 4, value);
  }
}

/** Makes a queue. `lock` undefined: the queue's own (2.6); given: shared, e.g. the host's. Context: process or boot. */
export function blk_init_queue(
  request_fn: RequestFn,
  lock?: Spinlock,
  name = "queue",
  elevator: ElevatorName = K.flavour.block.elevator,
): RequestQueue {
  const layer = blk_dev_init();
  const q = new RequestQueue(request_fn, lock, name, elevator);
  layer.queues.push(q);
  return q;
}

export function blk_queue_prep_rq(q: RequestQueue, prep: PrepRequestFn): void {
  q.prep_rq_fn = prep;
  q.s.prep_rq_fn = textAddressOf((prep as unknown as { id?: number }).id ?? 0);
}
/** The driver's way to flush its disk's write cache; fsync uses it. */
export function blk_queue_issue_flush_fn(q: RequestQueue, flush: IssueFlushFn): void {
  q.issue_flush_fn = flush;
}
export function blk_queue_max_sectors(q: RequestQueue, sectors: number): void {
  q.s.max_sectors = sectors;
  q.s.max_hw_sectors = sectors;
}
export function blk_queue_max_phys_segments(q: RequestQueue, segments: number): void {
  q.s.max_phys_segments = segments;
}
export function blk_queue_max_hw_segments(q: RequestQueue, segments: number): void {
  q.s.max_hw_segments = segments;
}
export function blk_queue_max_segment_size(q: RequestQueue, bytes: number): void {
  q.s.max_segment_size = bytes;
  q.maxSegmentSize = bytes;
}
/** `mask` + 1 is a power of two that no segment may cross. */
export function blk_queue_segment_boundary(q: RequestQueue, mask: number): void {
  q.s.seg_boundary_mask = mask;
  q.boundary = mask + 1;
}
export function blk_queue_hardsect_size(q: RequestQueue, bytes: number): void {
  q.s.hardsect_size = bytes;
}

export const blk_queue_plugged = (q: RequestQueue): boolean => q.hasFlag(QUEUE_FLAG_PLUGGED);
export const blk_queue_stopped = (q: RequestQueue): boolean => q.hasFlag(QUEUE_FLAG_STOPPED);

/** 2.6: a plugged queue starts by itself after unplug_delay. */
export const unplug_later = (q: RequestQueue): Running<number> =>
  mod_timer(q.unplugTimer, K.time.jiffies + q.s.unplug_delay);
export const unplug_not_later = (q: RequestQueue): Running<number> => del_timer(q.unplugTimer);

/** Holds the queue back so that more requests can gather. Locks: queue_lock held, irqs off. */
export const blk_plug_device = kquick("blk_plug_device", (q: RequestQueue): Running<unknown> => {
  if (blk_queue_stopped(q) || blk_queue_plugged(q)) return finished();
  q.setFlag(QUEUE_FLAG_PLUGGED);
  return K.flavour.block.plugged(q);
});

/** Takes the plug out. Returns 1 when there was one. Locks: queue_lock held, irqs off. */
export const blk_remove_plug = kfunc("blk_remove_plug", function* (q: RequestQueue) {
  if (!blk_queue_plugged(q)) return 0;
  q.clearFlag(QUEUE_FLAG_PLUGGED);
  yield* K.flavour.block.unplugged(q);
  return 1;
});

/** Lets the driver at the queue if it was plugged. Locks: queue_lock held, irqs off. */
export const __generic_unplug_device = kfunc("__generic_unplug_device", function* (q: RequestQueue) {
  if (blk_queue_stopped(q)) return;
  if ((yield* blk_remove_plug(q)) === 0) return;
  yield* q.request_fn(q);
});

/** As __generic_unplug_device, taking the lock. Context: process, softirq. */
export const generic_unplug_device = kfunc("generic_unplug_device", function* (q: RequestQueue) {
  yield* spin_lock_irq(q.queue_lock);
  yield* __generic_unplug_device(q);
  yield* spin_unlock_irq(q.queue_lock);
});

/** 2.6: lets one plugged queue go. Context: process. */
export const unplug_if_plugged = (q: RequestQueue | undefined): Running =>
  q !== undefined && blk_queue_plugged(q) ? generic_unplug_device(q) : finished();

const blk_unplug_work = kfunc("blk_unplug_work", function* (q: RequestQueue) {
  yield* generic_unplug_device(q);
});

/** The unplug timer: softirq context, so keventd does the work (request_fn may need process context in some drivers). */
const blk_unplug_timeout = kfunc("blk_unplug_timeout", function* (q: RequestQueue) {
  yield* schedule_work(q.unplugWork);
});

/** Lets the driver look at the queue now, plugged or not, unless it is empty. Context: any. Locks: queue_lock, inside. */
export const blk_run_queue = kfunc("blk_run_queue", function* (q: RequestQueue) {
  const flags = yield* spin_lock_irqsave(q.queue_lock);
  yield* blk_remove_plug(q);
  if (!elv_queue_empty(q)) yield* q.request_fn(q);
  yield* spin_unlock_irqrestore(q.queue_lock, flags);
});

/** Undoes blk_stop_queue and runs the queue. Locks: queue_lock held, irqs off. */
export const blk_start_queue = kfunc("blk_start_queue", function* (q: RequestQueue) {
  q.clearFlag(QUEUE_FLAG_STOPPED);
  // One level of recursion is enough: a driver that starts its queue from its request_fn.
  if (!q.hasFlag(QUEUE_FLAG_REENTER)) {
    q.setFlag(QUEUE_FLAG_REENTER);
    yield* q.request_fn(q);
    q.clearFlag(QUEUE_FLAG_REENTER);
  } else {
    yield* blk_plug_device(q);
    yield* schedule_work(q.unplugWork);
  }
});

/** The driver cannot take more for now. Locks: queue_lock held, irqs off. */
export const blk_stop_queue = kfunc("blk_stop_queue", function* (q: RequestQueue) {
  yield* blk_remove_plug(q);
  q.setFlag(QUEUE_FLAG_STOPPED);
});

/** A request's last reference: back to the pool it came from. Locks: queue_lock held, irqs off. */
export const __blk_put_request = kquick("__blk_put_request", (q: RequestQueue, rq: Request): Running => {
  rq.s.ref_count = rq.s.ref_count - 1;
  if (rq.s.ref_count > 0) return finished();
  rq.s.rq_status = -1;
  rq.q = undefined;
  return rq.fromPool ? K.flavour.block.releaseRequest(q, rq) : finished();
});

/** As __blk_put_request, taking the lock. */
export const blk_put_request = kfunc("blk_put_request", function* (rq: Request) {
  const { q } = rq;
  if (!q) return;
  const flags = yield* spin_lock_irqsave(q.queue_lock);
  yield* __blk_put_request(q, rq);
  yield* spin_unlock_irqrestore(q.queue_lock, flags);
});

/**
 * Puts a driver's own request on the queue (scsi_do_req, error handling) and runs the queue.
 * `reinsert`: it is being put back after the driver could not take it. Locks: queue_lock, inside. Context: any.
 */
export const blk_insert_request = kfunc(
  "blk_insert_request",
  function* (
    q: RequestQueue,
    rq: Request,
    at_head: number,
    data: { readonly addr: number } | undefined,
    reinsert: number,
  ) {
    rq.s.flags = rq.s.flags | REQ_SPECIAL | REQ_SOFTBARRIER;
    rq.s.special = data ? data.addr : 0;
    rq.special = data;
    const flags = yield* spin_lock_irqsave(q.queue_lock);
    if (reinsert) yield* blk_requeue_request(q, rq);
    else yield* __elv_add_request(q, rq, at_head ? ELEVATOR_INSERT_FRONT : ELEVATOR_INSERT_BACK, 0);
    if (blk_queue_plugged(q)) yield* __generic_unplug_device(q);
    else yield* q.request_fn(q);
    yield* spin_unlock_irqrestore(q.queue_lock, flags);
  },
);

/** __elv_add_request's `where`. */
export const ELEVATOR_INSERT_FRONT = 1;
export const ELEVATOR_INSERT_BACK = 2;
export const ELEVATOR_INSERT_SORT = 3;

/** Flushes the write cache of a device's disk. Returns 0, or a negative errno (-EOPNOTSUPP without a driver hook). Context: process. */
export const blkdev_issue_flush = kfunc("blkdev_issue_flush", function* (q: RequestQueue, disk: Gendisk) {
  if (!q.issue_flush_fn) return -EOPNOTSUPP;
  return yield* q.issue_flush_fn(q, disk);
});

/** Queues a request at the back and sleeps until it has ended. Returns: its `errors`, or -ENOMEM. Context: process. */
export const blk_execute_rq = kfunc("blk_execute_rq", function* (q: RequestQueue, disk: Gendisk, rq: Request) {
  const at = yield* kmalloc(K.sizeOf(completion), GFP_KERNEL);
  if (at === 0) return -ENOMEM;
  const wait = new Completion(at, "blk_execute_rq");
  rq.disk = disk;
  rq.s.rq_disk = disk.addr;
  rq.s.flags = rq.s.flags | REQ_NOMERGE;
  rq.waiting = wait;
  rq.s.waiting = wait.addr;
  // One reference for the driver, one for us, who look at the outcome.
  rq.s.ref_count = rq.s.ref_count + 1;
  const flags = yield* spin_lock_irqsave(q.queue_lock);
  yield* __elv_add_request(q, rq, ELEVATOR_INSERT_BACK, 1);
  yield* __generic_unplug_device(q);
  yield* spin_unlock_irqrestore(q.queue_lock, flags);
  yield* wait_for_completion(wait);
  yield* kfree(at);
  return rq.s.errors;
});
