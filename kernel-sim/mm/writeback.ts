// Dirty pages on their way to the disk: limits, pdflush, fsync (mm/page-writeback.c, mm/pdflush.c of 2.6.9).
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import {
  BIO_UPTODATE,
  bio_add_page,
  bio_alloc,
  bio_put,
  bio_target,
  bvecAt,
  bvecPage,
  type Bio,
} from "../block/bio.ts";
import { submit_bio } from "../block/make-request.ts";
import { blkdev_issue_flush } from "../block/queue.ts";
import { bdi_congested } from "../block/request-pool.ts";
import { WRITE } from "../block/request.ts";
import { K, smp_processor_id } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { set_current_state } from "../core/sched.ts";
import { TASK_UNINTERRUPTIBLE } from "../core/task.ts";
import { schedule_timeout } from "../core/timer.ts";
import { GFP_NOIO, put_page } from "./page-alloc.ts";
import {
  AS_EIO,
  end_page_writeback,
  find_get_page,
  lock_page,
  page_mapping,
  set_page_writeback,
  unlock_page,
  wait_on_page_writeback,
  type AddressSpace,
} from "./page-cache.ts";
import { pdflush_operation } from "./pdflush.ts";
import { PG_dirty, PG_error, PG_writeback, set_page_flag, test_page_flag } from "./page.ts";

const EIO = 5;
/** Pages that one call of the write-back loop sends before it looks at the limits again. */
const MAX_WRITEBACK_PAGES = 1024;
/** A writer looks at the limits every so many pages. */
const RATELIMIT_PAGES = 32;

/** The limits of /proc/sys/vm. */
export interface DirtyLimits {
  /** Percent of the pages that may be handed out: pdflush starts; writers must help. */
  readonly backgroundRatio: number;
  readonly dirtyRatio: number;
  /** Jiffies between the rounds of the timer; age at which dirty data must go. */
  readonly writebackTicks: number;
  readonly expireTicks: number;
}
export const DEFAULT_DIRTY_LIMITS: DirtyLimits = {
  backgroundRatio: 10,
  dirtyRatio: 40,
  writebackTicks: 500,
  expireTicks: 3000,
};

/** Page-cache state of the whole kernel that the limits need. */
export class WritebackControl {
  readonly limits: DirtyLimits;
  readonly ratelimits: number[] = K.machine.cpus.map(() => 0);
  constructor(limits: DirtyLimits) {
    this.limits = limits;
  }
}
const controls = new WeakMap<object, WritebackControl>();
export const setDirtyLimits = (limits: DirtyLimits): void => {
  controls.set(K, new WritebackControl(limits));
};
export function writebackControl(): WritebackControl {
  let control = controls.get(K);
  if (!control) controls.set(K, (control = new WritebackControl(DEFAULT_DIRTY_LIMITS)));
  return control;
}

const backgroundThreshold = (): number =>
  Math.floor((K.pages.totalPages * writebackControl().limits.backgroundRatio) / 100);
const dirtyThreshold = (): number => Math.floor((K.pages.totalPages * writebackControl().limits.dirtyRatio) / 100);

/** Every page of a written bio is off writeback. Softirq. */
export const mpage_end_io_write = kfunc("mpage_end_io_write", function* (bio: Bio, _bytes: number, _error: number) {
  if (bio.s.bi_size !== 0) return;
  const good = (bio.s.bi_flags & BIO_UPTODATE) !== 0;
  const pages = bio.s.bi_vcnt;
  for (let i = 0; i < pages; i++) {
    const page = bvecPage(bvecAt(bio, i));
    if (!good) {
      set_page_flag(page, PG_error);
      const mapping = page_mapping(page);
      if (mapping) mapping.s.flags = mapping.s.flags | AS_EIO;
    }
    yield* end_page_writeback(page);
  }
  yield* bio_put(bio);
});

/**
 * Starts writing the dirty pages of a mapping, in index order, neighbours in one bio.
 * `wait`: also wait for pages whose earlier write is still going on (WB_SYNC_ALL). Returns: pages started. Context: process.
 */
export const mpage_writepages = kfunc(
  "mpage_writepages",
  function* (mapping: AddressSpace, limit: number, wait: boolean) {
    const indexes = [...mapping.dirty].sort((a, b) => a - b);
    let bio: Bio | undefined;
    let next = -1;
    let started = 0;
    for (const index of indexes) {
      if (started >= limit) break;
      if (!wait && bdi_congested(mapping.bdev.disk.queue, WRITE)) break;
      const page = yield* find_get_page(mapping, index);
      if (page === 0) continue;
      // A bio that is being filled must not keep its pages while we sleep for another page's lock.
      if (bio && index !== next) {
        yield* submit_bio(WRITE, bio);
        bio = undefined;
      }
      yield* lock_page(page);
      if (wait && test_page_flag(page, PG_writeback)) {
        if (bio) yield* submit_bio(WRITE, bio);
        bio = undefined;
        yield* wait_on_page_writeback(page);
      }
      if (page_mapping(page) !== mapping || !test_page_flag(page, PG_dirty) || test_page_flag(page, PG_writeback)) {
        yield* unlock_page(page);
        yield* put_page(page);
        continue;
      }
      yield* set_page_writeback(page);
      yield* unlock_page(page);
      yield* put_page(page);
      const bytes = mapping.bytesAt(index);
      if (bio && bio_add_page(bio, page, bytes, 0) !== bytes) {
        yield* submit_bio(WRITE, bio);
        bio = undefined;
      }
      if (!bio) {
        bio = yield* bio_alloc(GFP_NOIO, Math.min(K.flavour.block.pagesPerIo, indexes.length));
        if (!bio) {
          mapping.s.flags = mapping.s.flags | AS_EIO;
          yield* end_page_writeback(page);
          continue;
        }
        bio_target(bio, mapping.bdev, mapping.sectorOf(index), mpage_end_io_write, mapping);
        bio_add_page(bio, page, bytes, 0);
      }
      next = index + 1;
      started++;
    }
    if (bio) yield* submit_bio(WRITE, bio);
    return started;
  },
);

/** Waits until nothing of a mapping is being written. Returns 0, or -EIO when a write failed since the last call. */
export const filemap_fdatawait = kfunc("filemap_fdatawait", function* (mapping: AddressSpace) {
  for (const index of [...mapping.writeback]) {
    const page = yield* find_get_page(mapping, index);
    if (page === 0) continue;
    yield* wait_on_page_writeback(page);
    yield* put_page(page);
  }
  if ((mapping.s.flags & AS_EIO) === 0) return 0;
  mapping.s.flags = mapping.s.flags & ~AS_EIO;
  return -EIO;
});

/** Writes all that is dirty and waits for it. Returns 0 or -EIO. Context: process. */
export const filemap_write_and_wait = kfunc("filemap_write_and_wait", function* (mapping: AddressSpace) {
  if (mapping.dirty.size > 0) yield* mpage_writepages(mapping, Infinity, true);
  return mapping.writeback.size > 0 || mapping.s.flags !== 0 ? yield* filemap_fdatawait(mapping) : 0;
});

const EOPNOTSUPP = 95;

/** As filemap_write_and_wait, and the disk's write cache to the media. Returns 0 or a negative errno. Context: process. */
export const sys_fsync_mapping = kfunc("do_fsync", function* (mapping: AddressSpace) {
  const error = yield* filemap_write_and_wait(mapping);
  const { disk } = mapping.bdev;
  const flushed = yield* blkdev_issue_flush(disk.queue, disk);
  if (error !== 0) return error;
  return flushed === -EOPNOTSUPP ? 0 : flushed;
});

/** Called for every page written: now and then the writer looks whether too much is dirty, and then helps. */
export function balance_dirty_pages_ratelimited(mapping: AddressSpace): Running {
  const { ratelimits } = writebackControl();
  const id = smp_processor_id();
  const count = ratelimits[id]! + 1;
  if (count < RATELIMIT_PAGES) {
    ratelimits[id] = count;
    return finished();
  }
  ratelimits[id] = 0;
  return balance_dirty_pages(mapping);
}

const balance_dirty_pages = kfunc("balance_dirty_pages", function* (mapping: AddressSpace) {
  const { pageState } = K.pages;
  while (pageState.nr_dirty + pageState.nr_writeback > dirtyThreshold()) {
    const started = yield* mpage_writepages(mapping, RATELIMIT_PAGES * 2, false);
    if (pageState.nr_dirty + pageState.nr_writeback <= dirtyThreshold()) break;
    if (started > 0 && !bdi_congested(mapping.bdev.disk.queue, WRITE)) continue;
    yield* blk_congestion_wait(Math.max(1, Math.floor(K.hz / 10)));
  }
  if (pageState.nr_dirty > backgroundThreshold()) yield* pdflush_operation(background_writeout);
});

/** Sleeps up to `ticks` jiffies for the disks to get on. */
const blk_congestion_wait = kfunc("blk_congestion_wait", function* (ticks: number) {
  yield* K.flavour.block.letGo(undefined);
  set_current_state(TASK_UNINTERRUPTIBLE);
  yield* schedule_timeout(ticks);
});

/** pdflush: writes until no more than the background limit is dirty. */
export const background_writeout = kfunc("background_writeout", function* () {
  const { pageState } = K.pages;
  while (pageState.nr_dirty > backgroundThreshold()) {
    let started = 0;
    for (const mapping of K.pages.mappings.values()) {
      if (mapping.dirty.size > 0) started += yield* mpage_writepages(mapping, MAX_WRITEBACK_PAGES, false);
    }
    if (started === 0) yield* blk_congestion_wait(Math.max(1, Math.floor(K.hz / 10)));
  }
  yield* K.flavour.block.letGo(undefined);
});

/** pdflush, by timer: writes what has been dirty for longer than `expireTicks`. */
export const wb_kupdate = kfunc("wb_kupdate", function* () {
  const { limits } = writebackControl();
  for (const mapping of K.pages.mappings.values()) {
    if (mapping.dirty.size === 0) continue;
    if (K.time.jiffies - mapping.dirtiedWhen < limits.expireTicks) continue;
    mapping.dirtiedWhen = K.time.jiffies;
    yield* mpage_writepages(mapping, MAX_WRITEBACK_PAGES, false);
  }
  yield* K.flavour.block.letGo(undefined);
});
