// The noop elevator (drivers/block/noop-iosched.c of 2.6.9): first come, first served, with merging at the tail.
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { list_empty, list_next, list_prev } from "../core/list.ts";
import type { Bio } from "./bio.ts";
import {
  ELEVATOR_NO_MERGE,
  appendRequest,
  elv_try_merge,
  firstQueued,
  prependRequest,
  requestAt,
  rq_mergeable,
  unlinkRequest,
  type Elevator,
  type MergeTarget,
} from "./elevator.ts";
import { ELEVATOR_INSERT_FRONT, type RequestQueue } from "./queue.ts";
import { REQ_HARDBARRIER, REQ_SOFTBARRIER, type Request } from "./request.ts";

export class NoopElevator implements Elevator {
  readonly name = "noop";
  readonly addr: number;
  private readonly q: RequestQueue;

  constructor(q: RequestQueue, addr: number) {
    this.q = q;
    this.addr = addr;
  }

  merge(bio: Bio, target: MergeTarget): void {
    const { q } = this;
    target.where = ELEVATOR_NO_MERGE;
    const last = requestAt(q.s.last_merge);
    if (last) {
      target.where = elv_try_merge(last, bio);
      if (target.where !== ELEVATOR_NO_MERGE) {
        target.rq = last;
        return;
      }
    }
    for (let at = list_prev(q.queue_head); at !== q.queue_head; at = list_prev(at)) {
      const rq = requestAt(at)!;
      if (rq.s.flags & (REQ_SOFTBARRIER | REQ_HARDBARRIER)) return;
      target.where = elv_try_merge(rq, bio);
      if (target.where === ELEVATOR_NO_MERGE) continue;
      target.rq = rq;
      q.s.last_merge = rq.addr;
      return;
    }
  }

  mergedRequest(): void {}
  mergedRequests(_rq: Request, next: Request): void {
    unlinkRequest(next);
  }

  addRequest(rq: Request, where: number): void {
    if (where === ELEVATOR_INSERT_FRONT) prependRequest(this.q, rq);
    else appendRequest(this.q, rq);
    if (rq.s.flags & REQ_HARDBARRIER) this.q.s.last_merge = 0;
    else if (this.q.s.last_merge === 0 && rq_mergeable(rq)) this.q.s.last_merge = rq.addr;
  }

  nextRequest(): Request | undefined {
    return firstQueued(this.q);
  }
  removeRequest(rq: Request): void {
    unlinkRequest(rq);
  }
  isEmpty(): boolean {
    return list_empty(this.q.queue_head);
  }
  formerRequest(rq: Request): Request | undefined {
    const at = list_prev(rq.queuelist);
    return at === this.q.queue_head ? undefined : requestAt(at);
  }
  latterRequest(rq: Request): Request | undefined {
    const at = list_next(rq.queuelist);
    return at === this.q.queue_head ? undefined : requestAt(at);
  }
  setRequest(): Running<boolean> {
    return finished(true);
  }
  putRequest(): Running {
    return finished();
  }
}
