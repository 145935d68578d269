// The deadline elevator (drivers/block/deadline-iosched.c of 2.6.9): sorted lists, arrival lists with deadlines, batches.
//
// The sorted order is a linked list in RAM instead of the red-black tree; a search walks it.
import { step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr, poke32, storePtr } from "../abi/ram.ts";
import { deadline_data, deadline_rq } from "../abi/structs/block.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { LIST_WALK_LIMIT, pointed, walks_for_ever } from "../core/fault.ts";
import { kfunc } from "../core/kfunc.ts";
import {
  INIT_LIST_HEAD,
  list_add,
  list_add_tail,
  list_del,
  list_del_init,
  list_empty,
  list_next,
  list_prev,
} from "../core/list.ts";
import { GFP_NOIO } from "../mm/page-alloc.ts";
import { kmem_cache_alloc, kmem_cache_free } from "../mm/slab.ts";
import type { Bio } from "./bio.ts";
import {
  ELEVATOR_BACK_MERGE,
  ELEVATOR_FRONT_MERGE,
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
import { ELEVATOR_INSERT_FRONT, ELEVATOR_INSERT_SORT, type RequestQueue } from "./queue.ts";
import { READ, REQ_CMD, WRITE, rq_data_dir, type Request } from "./request.ts";

const READ_EXPIRE_MS = 500;
const WRITE_EXPIRE_MS = 5000;
const FIFO_BATCH = 16;
const WRITES_STARVED = 2;
/** A step along a list that is not in the cache. */
const WALK_NS = 3;
const SORTED_LIST = "the sorted list of a request queue";

/** struct deadline_rq beside a request. */
export class DeadlineRequest {
  readonly addr: number;
  readonly s: ViewOf<typeof deadline_rq>;
  readonly sort: number;
  readonly fifo: number;
  rq: Request | undefined;
  /** It is on the sorted and the arrival list. */
  queued = false;
  constructor(addr: number) {
    this.addr = addr;
    this.s = K.view(deadline_rq, addr);
    this.sort = addr;
    this.fifo = addr + K.offsetOf(deadline_rq, "fifo");
  }
}

export class DeadlineElevator implements Elevator {
  readonly name = "deadline";
  readonly addr: number;
  private readonly q: RequestQueue;
  private readonly s: ViewOf<typeof deadline_data>;
  private readonly sortLists: readonly [number, number];
  private readonly fifoLists: readonly [number, number];
  private readonly fifoOffset: number;
  private readonly nextAt: number;
  private readonly expireTicks: readonly [number, number];

  constructor(q: RequestQueue, addr: number) {
    this.q = q;
    this.addr = addr;
    const s = (this.s = K.view(deadline_data, addr));
    const headBytes = M.word8 ? 16 : 8;
    this.sortLists = [s.sort_list, s.sort_list + headBytes];
    this.fifoLists = [s.fifo_list, s.fifo_list + headBytes];
    for (const head of [...this.sortLists, ...this.fifoLists]) INIT_LIST_HEAD(head);
    this.fifoOffset = K.offsetOf(deadline_rq, "fifo");
    this.nextAt = s.next_drq;
    this.expireTicks = [(READ_EXPIRE_MS * K.hz) / 1000, (WRITE_EXPIRE_MS * K.hz) / 1000];
    poke32(s.fifo_expire, this.expireTicks[0]);
    poke32(s.fifo_expire + 4, this.expireTicks[1]);
    s.dispatch = q.queue_head;
    s.fifo_batch = FIFO_BATCH;
    s.writes_starved = WRITES_STARVED;
    s.front_merges = 1;
  }

  private drq(rq: Request): DeadlineRequest {
    return rq.elevatorPrivate as DeadlineRequest;
  }
  private drqAt(addr: number): DeadlineRequest {
    return pointed(K.block.deadlineRequests.get(addr), addr);
  }
  private next(dir: number): number {
    return peekPtr(this.nextAt + dir * (M.word8 ? 8 : 4));
  }
  private setNext(dir: number, drq: number): void {
    storePtr(this.nextAt + dir * (M.word8 ? 8 : 4), drq);
  }

  merge(bio: Bio, target: MergeTarget): void {
    const { q } = this;
    target.where = ELEVATOR_NO_MERGE;
    const last = requestAt(q.s.last_merge);
    if (last && this.tryMerge(last, bio, target)) return;
    const dir = bio.s.bi_rw & 1;
    const head = this.sortLists[dir]!;
    const start = bio.s.bi_sector;
    const end = start + (bio.s.bi_size >>> 9);
    // From the end of the list: streams mostly continue.
    let seen = 0;
    for (let at = list_prev(head); at !== head; at = list_prev(at)) {
      step(WALK_NS);
      if (++seen > LIST_WALK_LIMIT) walks_for_ever(SORTED_LIST);
      const drq = this.drqAt(at);
      const { s } = drq;
      if (s.sector > end) continue;
      const rq = pointed(drq.rq, s.request);
      if (this.tryMerge(rq, bio, target)) {
        q.s.last_merge = rq.addr;
        return;
      }
      if (s.sector < start && s.sector + rq.s.nr_sectors < start) return;
    }
  }

  private tryMerge(rq: Request, bio: Bio, target: MergeTarget): boolean {
    const where = elv_try_merge(rq, bio);
    if (where !== ELEVATOR_BACK_MERGE && where !== ELEVATOR_FRONT_MERGE) return false;
    target.where = where;
    target.rq = rq;
    return true;
  }

  /** A front merge moves the start: the request is sorted in again. */
  mergedRequest(rq: Request): void {
    const drq = this.drq(rq);
    if (drq?.queued && drq.s.sector !== rq.s.sector) {
      if (this.next(rq_data_dir(rq)) === drq.addr) this.setNext(rq_data_dir(rq), this.after(drq));
      list_del(drq.sort);
      this.sortIn(drq, rq);
    }
    this.q.s.last_merge = rq.addr;
  }

  /** `next` has become part of `rq`, which takes over the earlier deadline. */
  mergedRequests(rq: Request, next: Request): void {
    const drq = this.drq(rq);
    const gone = this.drq(next);
    if (drq.queued && gone.queued && gone.s.expires < drq.s.expires) {
      list_del(drq.fifo);
      list_add(drq.fifo, gone.fifo);
      drq.s.expires = gone.s.expires;
    }
    this.removeRequest(next);
  }

  addRequest(rq: Request, where: number): void {
    const { q } = this;
    if (where === ELEVATOR_INSERT_FRONT) {
      prependRequest(q, rq);
      return;
    }
    if (where !== ELEVATOR_INSERT_SORT || (rq.s.flags & REQ_CMD) === 0) {
      // Nothing passes it: everything that waits goes out first.
      while (this.dispatch()) {
        // one batch at a time
      }
      q.s.last_merge = 0;
      appendRequest(q, rq);
      return;
    }
    const drq = this.drq(rq);
    const dir = rq_data_dir(rq);
    this.sortIn(drq, rq);
    drq.queued = true;
    drq.s.expires = K.time.jiffies + this.expireTicks[dir];
    list_add_tail(drq.fifo, this.fifoLists[dir]!);
    if (q.s.last_merge === 0 && rq_mergeable(rq)) q.s.last_merge = rq.addr;
  }

  private sortIn(drq: DeadlineRequest, rq: Request): void {
    const { sector } = rq.s;
    drq.s.sector = sector;
    const head = this.sortLists[rq_data_dir(rq)]!;
    let at = list_prev(head);
    let seen = 0;
    while (at !== head && this.drqAt(at).s.sector > sector) {
      step(WALK_NS);
      if (++seen > LIST_WALK_LIMIT) walks_for_ever(SORTED_LIST);
      at = list_prev(at);
    }
    list_add(drq.sort, at);
  }

  /** The request behind one in sector order, or 0. */
  private after(drq: DeadlineRequest): number {
    const at = list_next(drq.sort);
    return at === this.sortLists[rq_data_dir(pointed(drq.rq, drq.s.request))] ? 0 : at;
  }

  /** Moves one request to the dispatch list. Returns false when nothing waits. */
  private dispatch(): boolean {
    const reads = !list_empty(this.fifoLists[READ]);
    const writes = !list_empty(this.fifoLists[WRITE]);
    let drq: DeadlineRequest | undefined;
    // A batch goes on in sector order.
    const going = this.next(WRITE) || this.next(READ);
    if (going && this.s.batching < this.s.fifo_batch) {
      const candidate = this.drqAt(going);
      if (candidate.s.sector >= this.s.last_sector) drq = candidate;
    }
    if (!drq) {
      let dir: 0 | 1;
      if (reads) {
        if (writes && this.s.starved >= this.s.writes_starved) dir = WRITE;
        else {
          if (writes) this.s.starved = this.s.starved + 1;
          dir = READ;
        }
      } else if (writes) dir = WRITE;
      else return false;
      if (dir === WRITE) this.s.starved = 0;
      const oldest = this.drqAt(list_next(this.fifoLists[dir]) - this.fifoOffset);
      const expired = K.time.jiffies >= oldest.s.expires;
      const next = this.next(dir);
      drq = expired || next === 0 ? oldest : this.drqAt(next);
      this.s.batching = 0;
    }
    this.s.batching = this.s.batching + 1;
    this.move(drq);
    return true;
  }

  private move(drq: DeadlineRequest): void {
    const rq = pointed(drq.rq, drq.s.request);
    const dir = rq_data_dir(rq);
    this.setNext(READ, 0);
    this.setNext(WRITE, 0);
    this.setNext(dir, this.after(drq));
    this.s.last_sector = rq.s.sector + rq.s.nr_sectors;
    this.unlink(drq);
    if (this.q.s.last_merge === rq.addr) this.q.s.last_merge = 0;
    appendRequest(this.q, rq);
  }

  private unlink(drq: DeadlineRequest): void {
    list_del_init(drq.fifo);
    list_del_init(drq.sort);
    drq.queued = false;
  }

  nextRequest(): Request | undefined {
    if (list_empty(this.q.queue_head)) this.dispatch();
    return firstQueued(this.q);
  }

  removeRequest(rq: Request): void {
    const drq = this.drq(rq);
    if (drq?.queued) {
      const dir = rq_data_dir(rq);
      if (this.next(dir) === drq.addr) this.setNext(dir, this.after(drq));
      this.unlink(drq);
    } else unlinkRequest(rq);
  }

  isEmpty(): boolean {
    return list_empty(this.fifoLists[READ]) && list_empty(this.fifoLists[WRITE]) && list_empty(this.q.queue_head);
  }

  formerRequest(rq: Request): Request | undefined {
    const drq = this.drq(rq);
    if (!drq?.queued) return undefined;
    const at = list_prev(drq.sort);
    return at === this.sortLists[rq_data_dir(rq)] ? undefined : this.drqAt(at).rq;
  }
  latterRequest(rq: Request): Request | undefined {
    const drq = this.drq(rq);
    if (!drq?.queued) return undefined;
    const at = this.after(drq);
    return at === 0 ? undefined : this.drqAt(at).rq;
  }

  setRequest(rq: Request): Running<boolean> {
    return deadline_set_request(rq);
  }
  putRequest(rq: Request): Running {
    return deadline_put_request(rq);
  }
}

const deadline_set_request = kfunc("deadline_set_request", function* (rq: Request) {
  const layer = K.block;
  const addr = yield* kmem_cache_alloc(layer.deadlineCache, GFP_NOIO);
  if (addr === 0) return false;
  let drq = layer.deadlineRequests.get(addr);
  if (!drq) layer.deadlineRequests.set(addr, (drq = new DeadlineRequest(addr)));
  INIT_LIST_HEAD(drq.sort);
  INIT_LIST_HEAD(drq.fifo);
  drq.s.request = rq.addr;
  drq.rq = rq;
  drq.queued = false;
  rq.s.elevator_private = addr;
  rq.elevatorPrivate = drq;
  return true;
});

const deadline_put_request = kfunc("deadline_put_request", function* (rq: Request) {
  const drq = rq.elevatorPrivate as DeadlineRequest | undefined;
  if (!drq) return;
  rq.s.elevator_private = 0;
  rq.elevatorPrivate = undefined;
  drq.rq = undefined;
  yield* kmem_cache_free(K.block.deadlineCache, drq.addr);
});
