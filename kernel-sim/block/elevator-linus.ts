// The elevator of 2.4 (drivers/block/elevator.c): one list in the order of sectors, searched from its end, lock held, at each block.
//
// A request that others have passed often enough lets nobody pass any more (elevator_sequence). That number lies in the request's
// `timeout`, which file system requests of 2.6.9 do not use.
import { finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { pointed } from "../core/fault.ts";
import { list_add, list_add_tail, list_empty, list_next, list_prev } from "../core/list.ts";
import { ELEVATOR_WALK_NS } from "../flavours/prices-2.4.ts";
import type { Bio } from "./bio.ts";
import {
  ELEVATOR_BACK_MERGE,
  ELEVATOR_FRONT_MERGE,
  ELEVATOR_NO_MERGE,
  elv_try_merge,
  firstQueued,
  requestAt,
  unlinkRequest,
  type Elevator,
  type MergeTarget,
} from "./elevator.ts";
import { ELEVATOR_INSERT_FRONT, ELEVATOR_INSERT_SORT, type RequestQueue } from "./queue.ts";
import { rq_data_dir, type Request } from "./request.ts";

/** Requests that may pass a read and a write (ELEVATOR_LINUS). */
const PASSOVERS = [2048, 8192] as const;

export class LinusElevator implements Elevator {
  readonly name = "linus";
  readonly addr: number;
  private readonly q: RequestQueue;
  /** Behind which entry of queue_head the block of the last merge() belongs: a local variable of __make_request in C. */
  private insertHere = 0;

  constructor(q: RequestQueue, addr: number) {
    this.q = q;
    this.addr = addr;
  }

  merge(bio: Bio, target: MergeTarget): void {
    const { q } = this;
    const head = q.queue_head;
    const sectors = bio.s.bi_size >>> 9;
    target.where = ELEVATOR_NO_MERGE;
    target.rq = undefined;
    this.insertHere = list_prev(head);
    let found = false;
    for (let at = list_prev(head); at !== head; at = list_prev(at)) {
      step(ELEVATOR_WALK_NS);
      const rq = pointed(requestAt(at), at);
      const passovers = rq.s.timeout;
      if (passovers === 0) return;
      rq.s.timeout = passovers - 1;
      if (rq.waiting) continue;
      if (!found && this.isPlace(bio, rq)) {
        found = true;
        this.insertHere = at;
      }
      if (rq.s.nr_sectors + sectors > q.s.max_sectors) continue;
      const where = elv_try_merge(rq, bio);
      if (where !== ELEVATOR_BACK_MERGE && where !== ELEVATOR_FRONT_MERGE) continue;
      target.where = where;
      target.rq = rq;
      return;
    }
  }

  /** bh_rq_in_between(): does the block belong right behind this request? */
  private isPlace(bio: Bio, rq: Request): boolean {
    const next = list_next(rq.queuelist);
    if (next === this.q.queue_head) return false;
    const sector = bio.s.bi_sector;
    const after = pointed(requestAt(next), next).s.sector;
    const before = rq.s.sector;
    if (before < sector && sector < after) return true;
    // The list goes round: past its highest sector it begins again with the lowest.
    return after < before && (sector > before || sector < after);
  }

  mergedRequest(): void {}
  mergedRequests(_rq: Request, next: Request): void {
    unlinkRequest(next);
  }

  addRequest(rq: Request, where: number): void {
    const head = this.q.queue_head;
    rq.s.timeout = PASSOVERS[rq_data_dir(rq)];
    if (where === ELEVATOR_INSERT_FRONT) list_add(rq.queuelist, head);
    else if (where === ELEVATOR_INSERT_SORT && this.insertHere !== 0) list_add(rq.queuelist, this.insertHere);
    else list_add_tail(rq.queuelist, head);
    this.insertHere = 0;
  }

  /** Nothing to search: the next request goes behind the last one. */
  atTheEnd(): void {
    this.insertHere = 0;
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
