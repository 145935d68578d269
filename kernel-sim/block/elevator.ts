// The elevator's front: what make_request and drivers call (drivers/block/elevator.c of 2.6.9).
//
// queue_head is the order in which the driver gets requests; an elevator keeps what is not due yet on lists of its own.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../core/kernel.ts";
import { pointed } from "../core/fault.ts";
import { kfunc, kleaf } from "../core/kfunc.ts";
import { list_add, list_add_tail, list_del_init, list_empty, list_next } from "../core/list.ts";
import type { Bio } from "./bio.ts";
import { disk_round_stats } from "./gendisk.ts";
import {
  BLKPREP_DEFER,
  BLKPREP_KILL,
  BLKPREP_OK,
  ELEVATOR_INSERT_BACK,
  ELEVATOR_INSERT_FRONT,
  QUEUE_FLAG_PLUGGED,
  __generic_unplug_device,
  blk_plug_device,
  type RequestQueue,
} from "./queue.ts";
import {
  REQ_CMD,
  REQ_DONTPREP,
  REQ_HARDBARRIER,
  REQ_NOMERGE,
  REQ_QUIET,
  REQ_SOFTBARRIER,
  REQ_SPECIAL,
  REQ_STARTED,
  end_that_request_chunk,
  end_that_request_last,
  rq_data_dir,
  type Request,
} from "./request.ts";

export const ELEVATOR_NO_MERGE = 0;
export const ELEVATOR_FRONT_MERGE = 1;
export const ELEVATOR_BACK_MERGE = 2;

/** What a bio is merged into; `where` is ELEVATOR_*_MERGE. */
export interface MergeTarget {
  where: number;
  rq: Request | undefined;
  /** A second request that the merge has made superfluous: the caller frees it. */
  absorbed: Request | undefined;
}

/** An I/O scheduler. Everything runs with queue_lock held and irqs off, in plain steps on lists in RAM. */
export interface Elevator {
  readonly name: string;
  /** Address of elevator_data. */
  readonly addr: number;
  /** Finds a request that the bio continues (back) or precedes (front). */
  merge(bio: Bio, target: MergeTarget): void;
  /** The request grew at the front or at the back: its place may have changed. */
  mergedRequest(rq: Request): void;
  /** `next` was merged into `rq` as a whole. */
  mergedRequests(rq: Request, next: Request): void;
  addRequest(rq: Request, where: number): void;
  /** Moves what is due to queue_head and returns its first request. */
  nextRequest(): Request | undefined;
  /** Takes a request off wherever it is. */
  removeRequest(rq: Request): void;
  isEmpty(): boolean;
  formerRequest(rq: Request): Request | undefined;
  latterRequest(rq: Request): Request | undefined;
  /** Elevator-private memory of a new request; false when memory is out. Called without locks. */
  setRequest(rq: Request): Running<boolean>;
  putRequest(rq: Request): Running;
}

/** Nothing may be merged into a request that the driver has seen, into a driver's own, or across a barrier. */
export const rq_mergeable = (rq: Request): boolean =>
  (rq.s.flags & (REQ_NOMERGE | REQ_STARTED | REQ_HARDBARRIER | REQ_SOFTBARRIER | REQ_SPECIAL)) === 0 &&
  (rq.s.flags & REQ_CMD) !== 0;

/** Whether a bio lies right behind or right before a request; direction, disk and mergeability agree. */
export function elv_try_merge(rq: Request, bio: Bio): number {
  if (!rq_mergeable(rq)) return ELEVATOR_NO_MERGE;
  if (rq_data_dir(rq) !== (bio.s.bi_rw & 1)) return ELEVATOR_NO_MERGE;
  if (rq.disk !== bio.bdev!.disk || rq.waiting || rq.special) return ELEVATOR_NO_MERGE;
  const sector = bio.s.bi_sector;
  if (rq.s.sector + rq.s.nr_sectors === sector) return ELEVATOR_BACK_MERGE;
  if (rq.s.sector - (bio.s.bi_size >>> 9) === sector) return ELEVATOR_FRONT_MERGE;
  return ELEVATOR_NO_MERGE;
}

/** The requests the driver has and has not ended: started ones that were accounted for. */
const isAccounted = (rq: Request): boolean => (rq.s.flags & (REQ_STARTED | REQ_CMD)) === (REQ_STARTED | REQ_CMD);

export const requestAt = (addr: number): Request | undefined => K.block.requests.get(addr);

export const elv_queue_empty = (q: RequestQueue): boolean => list_empty(q.queue_head) && q.elevator.isEmpty();

/**
 * Queues a request. `plug`: hold the queue back first. A plugged queue with enough requests is let go here.
 * Locks: queue_lock held, irqs off.
 */
export const __elv_add_request = kfunc(
  "__elv_add_request",
  function* (q: RequestQueue, rq: Request, where: number, plug: number) {
    if (rq.s.flags & REQ_HARDBARRIER && where !== ELEVATOR_INSERT_FRONT) {
      rq.s.flags = rq.s.flags | REQ_SOFTBARRIER;
      q.elevator.addRequest(rq, ELEVATOR_INSERT_BACK);
    } else q.elevator.addRequest(rq, where);
    if (plug) yield* blk_plug_device(q);
    if (q.hasFlag(QUEUE_FLAG_PLUGGED)) {
      const queued = q.count(0) + q.count(1) - q.s.in_flight;
      if (queued === q.s.unplug_thresh) yield* __generic_unplug_device(q);
    }
  },
);

/**
 * The next request for the driver, prepared; it stays on the queue until blkdev_dequeue_request. Returns undefined when there is
 * none or the driver has deferred it. Locks: queue_lock held, irqs off.
 */
export const elv_next_request = kfunc("elv_next_request", function* (q: RequestQueue) {
  for (;;) {
    const rq = q.elevator.nextRequest();
    if (rq === undefined) return undefined;
    rq.s.flags = rq.s.flags | REQ_STARTED;
    if (q.s.last_merge === rq.addr) q.s.last_merge = 0;
    if ((rq.s.flags & REQ_DONTPREP) !== 0 || !q.prep_rq_fn) return rq;
    const verdict = yield* q.prep_rq_fn(q, rq);
    if (verdict === BLKPREP_OK) return rq;
    if (verdict === BLKPREP_DEFER) return undefined;
    if (verdict !== BLKPREP_KILL) {
      K.reports.push(`elv_next_request: bad return ${verdict} from prep_rq_fn`);
      return undefined;
    }
    blkdev_dequeue_request(rq);
    rq.s.flags = rq.s.flags | REQ_QUIET;
    while (yield* end_that_request_chunk(rq, 0, Math.max(512, rq.s.nr_sectors * 512))) {
      // until every bio has been told
    }
    yield* end_that_request_last(rq);
  }
});

/** Takes a request off its queue: the driver has it now. Locks: queue_lock held, irqs off. */
export const blkdev_dequeue_request = kleaf("blkdev_dequeue_request", (rq: Request) => {
  elv_remove_request(rq.q!, rq);
});

export function elv_remove_request(q: RequestQueue, rq: Request): void {
  if (isAccounted(rq)) q.s.in_flight = q.s.in_flight + 1;
  q.elevator.removeRequest(rq);
  if (q.s.last_merge === rq.addr) q.s.last_merge = 0;
}

/** Puts a request that the driver could not take back to the head of the queue. Locks: queue_lock held, irqs off. */
export const blk_requeue_request = kfunc("blk_requeue_request", function* (q: RequestQueue, rq: Request) {
  if (isAccounted(rq)) q.s.in_flight = q.s.in_flight - 1;
  rq.s.flags = rq.s.flags & ~REQ_STARTED;
  list_add(rq.queuelist, q.queue_head);
});

/** A request that the driver had has ended. Locks: queue_lock held. */
export function elv_completed_request(q: RequestQueue, rq: Request): void {
  if (isAccounted(rq)) q.s.in_flight = q.s.in_flight - 1;
}

/** The first request on queue_head, where the driver looks. */
export function firstQueued(q: RequestQueue): Request | undefined {
  if (list_empty(q.queue_head)) return undefined;
  const first = list_next(q.queue_head);
  return pointed(requestAt(first), first);
}

/** Takes a request off queue_head. */
export function unlinkRequest(rq: Request): void {
  list_del_init(rq.queuelist);
}
export function appendRequest(q: RequestQueue, rq: Request): void {
  list_add_tail(rq.queuelist, q.queue_head);
}
export function prependRequest(q: RequestQueue, rq: Request): void {
  list_add(rq.queuelist, q.queue_head);
}

/** A new request on its disk's account, or sectors merged into an old one. Locks: queue_lock held. */
export function drive_stat_acct(rq: Request, sectors: number, newRequest: boolean): void {
  const { disk } = rq;
  if (!disk) return;
  const { stats } = disk;
  if (rq_data_dir(rq) === 1) {
    stats.write_sectors = stats.write_sectors + sectors;
    if (!newRequest) stats.write_merges = stats.write_merges + 1;
  } else {
    stats.read_sectors = stats.read_sectors + sectors;
    if (!newRequest) stats.read_merges = stats.read_merges + 1;
  }
  if (newRequest) {
    disk_round_stats(disk);
    disk.s.in_flight = disk.s.in_flight + 1;
  }
}
