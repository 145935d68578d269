// struct request and its life at the driver's end (include/linux/blkdev.h, drivers/block/ll_rw_blk.c of 2.6.9).
import { step, type Running } from "../../emulator/cpu/cpu.ts";
import type { Segment } from "../../emulator/memory/memory.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { request as request_struct } from "../abi/structs/block.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc, kleaf } from "../core/kfunc.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { complete, type Completion } from "../core/wait.ts";
import { page_to_phys } from "../mm/page.ts";
import { bioAt, bio_endio, bvecAt, bvecLength, bvecOffset, bvecPage, setBvec, type Bio } from "./bio.ts";
import { blk_dev_init } from "./block-layer.ts";
import { disk_round_stats, type Gendisk } from "./gendisk.ts";
import { __blk_put_request, type RequestQueue } from "./queue.ts";

/** request.flags: a bit each, in the kernel's order. */
export const REQ_RW = 1 << 0;
export const REQ_FAILFAST = 1 << 1;
export const REQ_SOFTBARRIER = 1 << 2;
export const REQ_HARDBARRIER = 1 << 3;
/** A file system's read or write. */
export const REQ_CMD = 1 << 4;
export const REQ_NOMERGE = 1 << 5;
/** The driver has seen it: nothing may be merged into it. */
export const REQ_STARTED = 1 << 6;
/** prep_rq_fn has run already. */
export const REQ_DONTPREP = 1 << 7;
export const REQ_QUEUED = 1 << 8;
export const REQ_PC = 1 << 9;
/** `cmd` holds a SCSI command block. */
export const REQ_BLOCK_PC = 1 << 10;
export const REQ_SENSE = 1 << 11;
export const REQ_FAILED = 1 << 12;
export const REQ_QUIET = 1 << 13;
/** `special` means something to the driver. */
export const REQ_SPECIAL = 1 << 14;
export const REQ_DRIVE_CMD = 1 << 15;
export const REQ_DRIVE_TASK = 1 << 16;
export const REQ_DRIVE_TASKFILE = 1 << 17;
export const REQ_PREEMPT = 1 << 18;

export const READ = 0;
export const WRITE = 1;

export const RQ_INACTIVE = -1;
export const RQ_ACTIVE = 1;
export const RQ_SCSI_BUSY = 0xffff;
export const RQ_SCSI_DONE = 0xfffe;

export const SECTOR_SHIFT = 9;

/** A struct request in RAM with what JavaScript keeps beside it. Lives as long as its memory: it is reused, not remade. */
export class Request {
  readonly addr: number;
  readonly s: ViewOf<typeof request_struct>;
  /** Address of `queuelist`. */
  readonly queuelist: number;
  /** Address of `cmd`. */
  readonly cmd: number;
  q: RequestQueue | undefined;
  disk: Gendisk | undefined;
  /** Signalled by end_that_request_last. */
  waiting: Completion | undefined;
  /** The driver's object behind `s.special` (its scsi_cmnd). */
  special: object | undefined;
  /** The elevator's object behind `s.elevator_private`. */
  elevatorPrivate: object | undefined;
  /** Of the last time that its segments were counted. */
  readonly walk = new SegmentWalk();
  /** It came from its queue's request pool (rl != NULL) and goes back there. */
  fromPool = false;

  /** Takes the struct at `addr` as it is; `init` clears it. */
  constructor(addr: number) {
    this.addr = addr;
    this.s = K.view(request_struct, addr);
    this.queuelist = addr;
    this.cmd = addr + K.offsetOf(request_struct, "cmd");
    blk_dev_init().requests.set(addr, this);
  }

  /** A request that belongs to no pool (a driver's own, e.g. behind a scsi_request): cleared. */
  init(q: RequestQueue, flags: number): void {
    const { s } = this;
    INIT_LIST_HEAD(this.queuelist);
    s.flags = flags;
    s.rq_status = RQ_ACTIVE;
    s.errors = 0;
    s.ref_count = 1;
    s.q = q.addr;
    s.rl = 0;
    s.bio = 0;
    s.biotail = 0;
    s.special = 0;
    s.waiting = 0;
    s.buffer = 0;
    s.data = 0;
    s.data_len = 0;
    s.sense = 0;
    s.sense_len = 0;
    s.nr_phys_segments = 0;
    s.nr_hw_segments = 0;
    s.elevator_private = 0;
    s.timeout = 0;
    s.cmd_len = 0;
    this.q = q;
    this.disk = undefined;
    this.waiting = undefined;
    this.special = undefined;
    this.elevatorPrivate = undefined;
    this.fromPool = false;
  }

  /** Its first unfinished bio. */
  get bio(): Bio | undefined {
    return bioAt(this.s.bio);
  }
  get biotail(): Bio | undefined {
    return bioAt(this.s.biotail);
  }
}

export const rq_data_dir = (rq: Request): 0 | 1 => (rq.s.flags & REQ_RW) as 0 | 1;
export const blk_fs_request = (rq: Request): boolean => (rq.s.flags & REQ_CMD) !== 0;
export const blk_pc_request = (rq: Request): boolean => (rq.s.flags & REQ_BLOCK_PC) !== 0;
export const blk_barrier_rq = (rq: Request): boolean => (rq.s.flags & REQ_HARDBARRIER) !== 0;

/**
 * Ends the first `nr_sectors` sectors of a request: their bios' end_io functions run.
 * Returns: 0 when nothing is left of it, 1 when something is. Locks: none needed; end_io may take others.
 * Context: any (softirq in the SCSI mid-layer). `uptodate` 0 is an I/O error.
 */
export const end_that_request_first = (rq: Request, uptodate: number, nr_sectors: number): Running<number> =>
  __end_that_request_first(rq, uptodate, nr_sectors << SECTOR_SHIFT);

/** As end_that_request_first, in bytes: what residual counts come to. */
export const end_that_request_chunk = (rq: Request, uptodate: number, nr_bytes: number): Running<number> =>
  __end_that_request_first(rq, uptodate, nr_bytes);

const EIO = 5;

export const __end_that_request_first = kfunc(
  "__end_that_request_first",
  function* (rq: Request, uptodate: number, nr_bytes: number) {
    const error = uptodate > 0 ? 0 : uptodate < 0 ? uptodate : -EIO;
    if (!blk_pc_request(rq)) rq.s.errors = 0;
    let left = nr_bytes;
    let total = 0;
    for (;;) {
      const bio = rq.bio;
      if (bio === undefined) return 0;
      const size = bio.s.bi_size;
      if (left >= size) {
        rq.s.bio = bio.s.bi_next;
        total += size;
        left -= size;
        yield* bio_endio(bio, size, error);
        if (rq.s.bio === 0) return 0;
        if (left <= 0) break;
        continue;
      }
      if (left > 0) {
        consume(bio, left);
        total += left;
        yield* bio_endio(bio, left, error);
      }
      break;
    }
    blk_recalc_rq_sectors(rq, total >>> SECTOR_SHIFT);
    rq.s.nr_phys_segments = countSegments(rq.q!, rq);
    return 1;
  },
);

/** Moves a bio's vector past its first `bytes` bytes. */
function consume(bio: Bio, bytes: number): void {
  let left = bytes;
  while (left > 0) {
    const at = bvecAt(bio, bio.s.bi_idx);
    const length = bvecLength(at);
    if (left >= length) {
      bio.s.bi_idx = bio.s.bi_idx + 1;
      left -= length;
    } else {
      setBvec(at, bvecPage(at), length - left, bvecOffset(at) + left);
      left = 0;
    }
  }
}

function blk_recalc_rq_sectors(rq: Request, nsect: number): void {
  if (!blk_fs_request(rq)) return;
  const { s } = rq;
  s.hard_sector = s.hard_sector + nsect;
  s.hard_nr_sectors = s.hard_nr_sectors - nsect;
  s.sector = s.hard_sector;
  s.nr_sectors = s.hard_nr_sectors;
  const bio = rq.bio;
  if (bio) {
    s.hard_cur_sectors = bvecLength(bvecAt(bio, bio.s.bi_idx)) >>> SECTOR_SHIFT;
    s.current_nr_sectors = s.hard_cur_sectors;
  }
}

/**
 * The last step of a request that has ended: statistics, the waiter, and the request back to its pool.
 * Locks: queue_lock held, irqs off. May wake who waits for a free request. Must not: sleep.
 */
export const end_that_request_last = kfunc("end_that_request_last", function* (rq: Request) {
  const { disk } = rq;
  if (disk && blk_fs_request(rq)) {
    const ticks = K.time.jiffies - rq.s.start_time;
    const { stats } = disk;
    if (rq_data_dir(rq) === WRITE) {
      stats.writes = stats.writes + 1;
      stats.write_ticks = stats.write_ticks + ticks;
    } else {
      stats.reads = stats.reads + 1;
      stats.read_ticks = stats.read_ticks + ticks;
    }
    disk_round_stats(disk);
    disk.s.in_flight = disk.s.in_flight - 1;
  }
  const { waiting } = rq;
  yield* __blk_put_request(rq.q!, rq);
  if (waiting) yield* complete(waiting);
});

/** A walk over a request's pages: the segments so far, and the one that may still grow. */
class SegmentWalk {
  count = 0;
  /** Physical address behind the last one. */
  private end = -1;
  private length = 0;
  /** What the request was when all of it had been walked over: its first bio, and its sectors. */
  first = 0;
  sectors = -1;

  start(): void {
    this.count = 0;
    this.end = -1;
    this.length = 0;
  }

  /** Merges neighbours within the queue's limits; `segments` is filled if it is there. */
  add(q: RequestQueue, bio: Bio, segments?: Segment[]): void {
    const maximum = q.maxSegmentSize;
    const { boundary } = q;
    const { bi_vcnt, bi_idx } = bio.s;
    for (let i = bi_idx; i < bi_vcnt; i++) {
      const at = bvecAt(bio, i);
      const bytes = bvecLength(at);
      const start = page_to_phys(bvecPage(at)) + bvecOffset(at);
      const { length } = this;
      const joins =
        start === this.end &&
        length + bytes <= maximum &&
        Math.floor((start - length) / boundary) === Math.floor((start + bytes - 1) / boundary);
      if (joins) {
        this.length = length + bytes;
        if (segments) segments[this.count - 1]!.length = this.length;
      } else {
        this.length = bytes;
        const segment = segments?.[this.count];
        if (segment) {
          segment.address = start;
          segment.length = bytes;
        } else segments?.push({ address: start, length: bytes });
        this.count++;
      }
      this.end = start + bytes;
    }
  }

  all(q: RequestQueue, rq: Request, segments?: Segment[]): number {
    this.start();
    for (let { bio } = rq; bio !== undefined; bio = bioAt(bio.s.bi_next)) this.add(q, bio, segments);
    return this.count;
  }
}

/** The physical segments of a request after merging neighbours: what blk_rq_map_sg will come to. Its sectors are counted already. */
export function countSegments(q: RequestQueue, rq: Request): number {
  const { walk, s } = rq;
  walk.all(q, rq);
  walk.first = s.bio;
  walk.sectors = s.nr_sectors;
  return walk.count;
}

/** countSegments() of a request that has just got `bio`, with its `sectors`, as its last: goes on where the last count ended. */
export function countAppended(q: RequestQueue, rq: Request, bio: Bio, sectors: number): number {
  const { walk, s } = rq;
  if (walk.first !== s.bio || walk.sectors !== s.nr_sectors - sectors) return countSegments(q, rq);
  walk.add(q, bio);
  walk.sectors = s.nr_sectors;
  return walk.count;
}

const mapping = new SegmentWalk();

/**
 * Fills `segments` with the request's data, merging pages that are physical neighbours within the queue's limits.
 * `segments` is reused: it grows when needed and never shrinks. Returns how many of its entries are meant.
 */
export const blk_rq_map_sg = kleaf("blk_rq_map_sg", (q: RequestQueue, rq: Request, segments: Segment[]) => {
  const count = mapping.all(q, rq, segments);
  step(20 + count * 6);
  return count;
});

/** Bytes in a page, as the block layer counts them. */
export const PAGE_BYTES = FRAME_SIZE;
