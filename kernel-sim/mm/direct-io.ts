// Direct I/O: bios on the user's own pages, past the page cache (fs/direct-io.c of 2.6.9).
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { completion } from "../abi/structs/base.ts";
import { dio as dio_struct } from "../abi/structs/mm.ts";
import type { ViewOf } from "../abi/view.ts";
import { BIO_RW_SYNC, BIO_UPTODATE, bio_add_page, bio_alloc, bio_put, bio_target, type Bio } from "../block/bio.ts";
import { BIO_MAX_PAGES } from "../block/block-layer.ts";
import { submit_bio } from "../block/make-request.ts";
import { blk_queue_plugged, generic_unplug_device } from "../block/queue.ts";
import { WRITE } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { Spinlock, spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { Completion, complete, wait_for_completion } from "../core/wait.ts";
import { GFP_KERNEL, put_page } from "./page-alloc.ts";
import {
  find_get_page,
  lock_page,
  page_mapping,
  remove_from_page_cache,
  unlock_page,
  wait_on_page_writeback,
  type AddressSpace,
} from "./page-cache.ts";
import type { UserBuffer } from "./filemap.ts";
import { PG_dirty, test_page_flag, virt_to_page } from "./page.ts";
import { filemap_write_and_wait } from "./writeback.ts";

const EIO = 5;
const EINVAL = 22;
const ENOMEM = 12;

/** One direct I/O at a time of one open file: struct dio. */
export class DirectIo {
  readonly addr: number;
  readonly s: ViewOf<typeof dio_struct>;
  readonly lock: Spinlock;
  readonly done: Completion;

  constructor(name: string) {
    this.addr = K.bootmem(K.sizeOf(dio_struct));
    this.s = K.view(dio_struct, this.addr);
    this.lock = new Spinlock(this.s.bio_lock.addr, `dio[${name}].bio_lock`);
    this.done = new Completion(K.bootmem(K.sizeOf(completion)), `dio[${name}]`);
  }
}

/** A part of a direct I/O has ended. Softirq. */
export const dio_bio_end_io = kfunc("dio_bio_end_io", function* (bio: Bio, _bytes: number, _error: number) {
  if (bio.s.bi_size !== 0) return;
  const dio = bio.private_ as DirectIo;
  const good = (bio.s.bi_flags & BIO_UPTODATE) !== 0;
  const flags = yield* spin_lock_irqsave(dio.lock);
  if (!good) dio.s.io_error = -EIO;
  const left = dio.s.bios_in_flight - 1;
  dio.s.bios_in_flight = left;
  yield* spin_unlock_irqrestore(dio.lock, flags);
  yield* bio_put(bio);
  if (left === 0) yield* complete(dio.done);
});

/**
 * Reads or writes `bytes` at `pos` to or from a process's buffer, from its start; both in multiples of 512.
 * Cached pages of the range are written out first and, after a write, dropped.
 * Returns: bytes, or a negative errno. Context: process; sleeps.
 */
export const blkdev_direct_IO = kfunc(
  "blkdev_direct_IO",
  function* (rw: number, mapping: AddressSpace, dio: DirectIo, pos: number, bytes: number, buffer: UserBuffer) {
    if (pos % 512 !== 0 || bytes % 512 !== 0) return -EINVAL;
    const total = Math.max(0, Math.min(bytes, mapping.sectors * 512 - pos));
    if (mapping.dirty.size > 0 || mapping.writeback.size > 0) {
      const error = yield* filemap_write_and_wait(mapping);
      if (error !== 0) return error;
    }
    if (rw === WRITE && mapping.pages.size > 0) yield* invalidate_inode_pages2_range(mapping, pos, total);
    dio.s.io_error = 0;
    // One for ourselves, so that it cannot end while bios are still being made.
    dio.s.bios_in_flight = 1;
    const q = mapping.bdev.disk.queue;
    let done = 0;
    while (done < total) {
      const bio = yield* bio_alloc(GFP_KERNEL, Math.min(BIO_MAX_PAGES, Math.ceil((total - done) / FRAME_SIZE) + 1));
      if (!bio) {
        dio.s.io_error = -ENOMEM;
        break;
      }
      bio_target(bio, mapping.bdev, mapping.startSector + (pos + done) / 512, dio_bio_end_io, dio);
      done += fillBio(bio, buffer, done, total - done);
      yield* dioCount(dio, 1);
      yield* submit_bio(done >= total ? rw | BIO_RW_SYNC : rw, bio);
    }
    const left = yield* dioCount(dio, -1);
    if (left > 0) {
      if (blk_queue_plugged(q)) yield* generic_unplug_device(q);
      yield* wait_for_completion(dio.done);
    } else if (dio.done.done > 0) dio.done.done = 0;
    if (rw === WRITE && mapping.pages.size > 0) yield* invalidate_inode_pages2_range(mapping, pos, total);
    return dio.s.io_error !== 0 ? dio.s.io_error : done;
  },
);

function fillBio(bio: Bio, buffer: UserBuffer, from: number, bytes: number): number {
  let done = 0;
  while (done < bytes) {
    const at = buffer.address(from + done);
    const offset = at % FRAME_SIZE;
    const length = Math.min(FRAME_SIZE - offset, bytes - done);
    if (bio_add_page(bio, virt_to_page(at), length, offset) !== length) break;
    done += length;
  }
  return done;
}

const dioCount = kfunc("dio_bio_submit", function* (dio: DirectIo, change: number) {
  const flags = yield* spin_lock_irqsave(dio.lock);
  const count = dio.s.bios_in_flight + change;
  dio.s.bios_in_flight = count;
  yield* spin_unlock_irqrestore(dio.lock, flags);
  return count;
});

/** Drops the cached pages of a range that are clean. Context: process. */
export const invalidate_inode_pages2_range = kfunc(
  "invalidate_inode_pages2",
  function* (mapping: AddressSpace, pos: number, bytes: number) {
    const first = Math.floor(pos / FRAME_SIZE);
    const last = Math.ceil((pos + bytes) / FRAME_SIZE);
    // A whole disk has more places than cached pages: look at the pages then.
    const indexes = last - first > mapping.pages.size ? [...mapping.pages.keys()] : rangeOf(first, last);
    for (const index of indexes) {
      if (index < first || index >= last || !mapping.pages.has(index)) continue;
      const page = yield* find_get_page(mapping, index);
      if (page === 0) continue;
      yield* lock_page(page);
      yield* wait_on_page_writeback(page);
      if (page_mapping(page) === mapping && !test_page_flag(page, PG_dirty)) yield* remove_from_page_cache(page);
      yield* unlock_page(page);
      yield* put_page(page);
    }
  },
);

const rangeOf = (first: number, last: number): number[] => Array.from({ length: last - first }, (_, i) => first + i);
