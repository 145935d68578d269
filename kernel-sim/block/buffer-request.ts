// From a buffer head to a request (generic_make_request, __make_request of 2.4): one call per block, each under io_request_lock.
//
// A buffer head is a bio of one block here.
import { isFinished, step, valueOf, type Running } from "../../emulator/cpu/cpu.ts";
import { kquick } from "../core/kfunc.ts";
import { versionFunctions } from "../core/version-functions.ts";
import { spin_lock_irq, spin_lock_irqsave, spin_unlock_irq, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { GET_QUEUE_NS, MAKE_REQUEST_NS } from "../flavours/prices-2.4.ts";
import { BIO_RW_AHEAD, bio_endio, type Bio } from "./bio.ts";
import { LinusElevator } from "./elevator-linus.ts";
import { ELEVATOR_NO_MERGE, __elv_add_request, elv_queue_empty, type MergeTarget } from "./elevator.ts";
import { fillRequest, mergeBio } from "./make-request.ts";
import { ELEVATOR_INSERT_SORT, __blk_put_request, blk_plug_device, type RequestQueue } from "./queue.ts";
import { __get_request_wait, get_free_request } from "./request-freelist.ts";
import type { Request } from "./request.ts";

const VERSION = "2.4.21";
const kfunc = versionFunctions(VERSION);
const EWOULDBLOCK = 11;

/** blk_get_queue(): which queue is this device's? Under the lock, although nothing changes. */
const blk_get_queue = kquick(
  "blk_get_queue",
  (q: RequestQueue): Running => {
    const taken = spin_lock_irqsave(q.queue_lock);
    return isFinished(taken) ? lookUp(q, valueOf(taken)) : lookUpLater(q, taken);
  },
  undefined,
  VERSION,
);
function lookUp(q: RequestQueue, flags: number): Running {
  step(GET_QUEUE_NS);
  return spin_unlock_irqrestore(q.queue_lock, flags);
}
function* lookUpLater(q: RequestQueue, taking: Running<number>): Generator<void, void, void> {
  yield* lookUp(q, yield* taking);
}

/** Merges a block into a queued request or queues a new one. Context: process. Locks: io_request_lock, inside. */
export const __make_request_24 = kfunc("__make_request", function* (q: RequestQueue, bh: Bio) {
  const rw = bh.s.bi_rw & 1;
  const sectors = bh.s.bi_size >>> 9;
  const { elevator } = q;
  const target: MergeTarget = { where: ELEVATOR_NO_MERGE, rq: undefined, absorbed: undefined };
  let free: Request | undefined;
  yield* blk_get_queue(q);
  yield* spin_lock_irq(q.queue_lock);
  for (;;) {
    step(MAKE_REQUEST_NS);
    if (elv_queue_empty(q)) {
      if (elevator instanceof LinusElevator) elevator.atTheEnd();
      yield* blk_plug_device(q);
    } else {
      elevator.merge(bh, target);
      if (target.where !== ELEVATOR_NO_MERGE && mergeBio(q, target, bh, sectors)) {
        if (target.absorbed) yield* __blk_put_request(q, target.absorbed);
        break;
      }
    }
    free ??= get_free_request(q, rw);
    if (free) {
      fillRequest(q, free, bh, false, sectors);
      yield* __elv_add_request(q, free, ELEVATOR_INSERT_SORT, 0);
      free = undefined;
      break;
    }
    yield* spin_unlock_irq(q.queue_lock);
    if (bh.s.bi_rw & BIO_RW_AHEAD) {
      yield* bio_endio(bh, bh.s.bi_size, -EWOULDBLOCK);
      return;
    }
    free = yield* __get_request_wait(q, rw);
    // The queue may look different now: look for a merge again.
    yield* spin_lock_irq(q.queue_lock);
  }
  if (free) yield* __blk_put_request(q, free);
  yield* spin_unlock_irq(q.queue_lock);
});
