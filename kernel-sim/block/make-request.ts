// From a bio to a request on a queue (submit_bio, generic_make_request, __make_request of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../core/kernel.ts";
import { kfunc, kquick } from "../core/kfunc.ts";
import { spin_lock_irq, spin_unlock_irq } from "../core/spinlock.ts";
import { GFP_ATOMIC } from "../mm/page-alloc.ts";
import { BIO_RW_AHEAD, BIO_RW_BARRIER, BIO_RW_SYNC, bio_endio, bvecAt, bvecLength, type Bio } from "./bio.ts";
import {
  ELEVATOR_BACK_MERGE,
  ELEVATOR_NO_MERGE,
  __elv_add_request,
  drive_stat_acct,
  elv_queue_empty,
  rq_mergeable,
  type MergeTarget,
} from "./elevator.ts";
import {
  ELEVATOR_INSERT_BACK,
  ELEVATOR_INSERT_SORT,
  __blk_put_request,
  __generic_unplug_device,
  blk_plug_device,
  blk_queue_plugged,
  type RequestQueue,
} from "./queue.ts";
import { get_request, get_request_wait } from "./request-pool.ts";
import {
  REQ_CMD,
  REQ_HARDBARRIER,
  REQ_NOMERGE,
  REQ_SOFTBARRIER,
  countAppended,
  countSegments,
  rq_data_dir,
  type Request,
} from "./request.ts";

const EIO = 5;
const EWOULDBLOCK = 11;

/** Hands a bio to its device. `rw`: READ or WRITE with BIO_RW_* bits. Context: process; sleeps for a free request. */
export const submit_bio = kquick("submit_bio", (rw: number, bio: Bio): Running => {
  bio.s.bi_rw = bio.s.bi_rw | rw;
  const sectors = bio.s.bi_size >>> 9;
  const { pageState } = K.pages;
  if (rw & 1) pageState.pgpgout = pageState.pgpgout + sectors;
  else pageState.pgpgin = pageState.pgpgin + sectors;
  return generic_make_request(bio);
});

/** Checks a bio against the end of its device, maps a partition to its disk, and queues it. Context: process. */
export const generic_make_request = kquick("generic_make_request", (bio: Bio): Running => {
  const bdev = bio.bdev!;
  const sectors = bio.s.bi_size >>> 9;
  const q = bdev.disk.queue;
  if (bio.s.bi_sector + sectors > bdev.sectors || sectors > q.s.max_hw_sectors) {
    K.reports.push(
      `attempt to access beyond end of device ${bdev.name}: sector ${bio.s.bi_sector}+${sectors}, limit ${bdev.sectors}`,
    );
    return bio_endio(bio, bio.s.bi_size, -EIO);
  }
  if (bdev.startSector !== 0) {
    bio.s.bi_sector = bio.s.bi_sector + bdev.startSector;
    const whole = K.block.devices.get(bdev.disk.name)!;
    bio.bdev = whole;
    bio.s.bi_bdev = whole.addr;
  }
  return K.flavour.block.makeRequest(q, bio);
});

/** Merges a bio into a queued request or queues a new one. Context: process. Locks: queue_lock, inside. */
export const __make_request = kfunc("__make_request", function* (q: RequestQueue, bio: Bio) {
  const rw = bio.s.bi_rw & 1;
  const barrier = (bio.s.bi_rw & BIO_RW_BARRIER) !== 0;
  const sectors = bio.s.bi_size >>> 9;
  const target: MergeTarget = { where: ELEVATOR_NO_MERGE, rq: undefined, absorbed: undefined };
  let free: Request | undefined;
  yield* spin_lock_irq(q.queue_lock);
  for (;;) {
    if (elv_queue_empty(q)) yield* blk_plug_device(q);
    else if (!barrier) {
      q.elevator.merge(bio, target);
      if (target.where !== ELEVATOR_NO_MERGE && mergeBio(q, target, bio, sectors)) {
        if (target.absorbed) yield* __blk_put_request(q, target.absorbed);
        break;
      }
    }
    if (free) {
      yield* addRequest(q, free, bio, barrier, sectors);
      free = undefined;
      break;
    }
    yield* spin_unlock_irq(q.queue_lock);
    free = yield* get_request(q, rw, GFP_ATOMIC);
    if (!free) {
      if (bio.s.bi_rw & BIO_RW_AHEAD) {
        yield* bio_endio(bio, bio.s.bi_size, -EWOULDBLOCK);
        return;
      }
      free = yield* get_request_wait(q, rw);
    }
    // The queue may look different now: look for a merge again.
    yield* spin_lock_irq(q.queue_lock);
  }
  if (free) yield* __blk_put_request(q, free);
  if (bio.s.bi_rw & BIO_RW_SYNC && blk_queue_plugged(q)) yield* __generic_unplug_device(q);
  yield* spin_unlock_irq(q.queue_lock);
});

function addRequest(q: RequestQueue, rq: Request, bio: Bio, barrier: boolean, sectors: number): Running {
  fillRequest(q, rq, bio, barrier, sectors);
  return __elv_add_request(q, rq, barrier ? ELEVATOR_INSERT_BACK : ELEVATOR_INSERT_SORT, 0);
}

/** What a request takes over from its first bio. */
export function fillRequest(q: RequestQueue, rq: Request, bio: Bio, barrier: boolean, sectors: number): void {
  const { s } = rq;
  s.flags = s.flags | REQ_CMD | (barrier ? REQ_HARDBARRIER | REQ_SOFTBARRIER | REQ_NOMERGE : 0);
  s.sector = bio.s.bi_sector;
  s.hard_sector = bio.s.bi_sector;
  s.nr_sectors = sectors;
  s.hard_nr_sectors = sectors;
  const current = bvecLength(bvecAt(bio, 0)) >>> 9;
  s.current_nr_sectors = current;
  s.hard_cur_sectors = current;
  s.bio = bio.addr;
  s.biotail = bio.addr;
  s.start_time = K.time.jiffies;
  rq.disk = bio.bdev!.disk;
  s.rq_disk = rq.disk.addr;
  s.nr_phys_segments = countSegments(q, rq);
  s.nr_hw_segments = s.nr_phys_segments;
  drive_stat_acct(rq, sectors, true);
}

/** True when the request can take the bio within the queue's limits, and has taken it. */
export function mergeBio(q: RequestQueue, target: MergeTarget, bio: Bio, sectors: number): boolean {
  const rq = target.rq!;
  const { s } = rq;
  if (s.nr_sectors + sectors > q.s.max_sectors) return false;
  const segments = s.nr_phys_segments + bio.s.bi_vcnt;
  if (segments > q.s.max_phys_segments || segments > q.s.max_hw_segments) return false;
  if (target.where === ELEVATOR_BACK_MERGE) {
    rq.biotail!.s.bi_next = bio.addr;
    s.biotail = bio.addr;
  } else {
    bio.s.bi_next = s.bio;
    s.bio = bio.addr;
    s.sector = bio.s.bi_sector;
    s.hard_sector = bio.s.bi_sector;
    s.current_nr_sectors = bvecLength(bvecAt(bio, 0)) >>> 9;
    s.hard_cur_sectors = s.current_nr_sectors;
  }
  s.nr_sectors = s.nr_sectors + sectors;
  s.hard_nr_sectors = s.nr_sectors;
  s.nr_phys_segments = target.where === ELEVATOR_BACK_MERGE ? countAppended(q, rq, bio, sectors) : countSegments(q, rq);
  s.nr_hw_segments = s.nr_phys_segments;
  drive_stat_acct(rq, sectors, false);
  const neighbour = target.where === ELEVATOR_BACK_MERGE ? q.elevator.latterRequest(rq) : q.elevator.formerRequest(rq);
  const [first, second] = target.where === ELEVATOR_BACK_MERGE ? [rq, neighbour] : [neighbour, rq];
  if (first && second && attempt_merge(q, first, second)) target.absorbed = second;
  else q.elevator.mergedRequest(rq);
  return true;
}

/** Joins two requests that have become neighbours. The caller frees the second one. */
function attempt_merge(q: RequestQueue, rq: Request, next: Request): boolean {
  if (!rq_mergeable(rq) || !rq_mergeable(next)) return false;
  if (rq.s.sector + rq.s.nr_sectors !== next.s.sector) return false;
  if (rq_data_dir(rq) !== rq_data_dir(next) || rq.disk !== next.disk || next.waiting || next.special) return false;
  if (rq.s.nr_sectors + next.s.nr_sectors > q.s.max_sectors) return false;
  const segments = rq.s.nr_phys_segments + next.s.nr_phys_segments;
  if (segments > q.s.max_phys_segments || segments > q.s.max_hw_segments) return false;
  if (next.s.start_time < rq.s.start_time) rq.s.start_time = next.s.start_time;
  rq.biotail!.s.bi_next = next.s.bio;
  rq.s.biotail = next.s.biotail;
  rq.s.nr_sectors = rq.s.nr_sectors + next.s.nr_sectors;
  rq.s.hard_nr_sectors = rq.s.nr_sectors;
  rq.s.nr_phys_segments = countSegments(q, rq);
  rq.s.nr_hw_segments = rq.s.nr_phys_segments;
  q.elevator.mergedRequests(rq, next);
  if (rq.disk) rq.disk.s.in_flight = rq.disk.s.in_flight - 1;
  return true;
}
