// Reading and writing through the page cache (mm/filemap.c, fs/mpage.c, mm/readahead.c of 2.6.9).
import { step } from "../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { M } from "../abi/ram.ts";
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
import { READ } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { GFP_HIGHUSER, GFP_NOFS, alloc_page, put_page } from "./page-alloc.ts";
import {
  add_to_page_cache,
  find_get_page,
  find_or_create_page,
  lock_page,
  page_mapping,
  set_page_dirty,
  unlock_page,
  wait_on_page_locked,
  type AddressSpace,
} from "./page-cache.ts";
import {
  PG_error,
  PG_referenced,
  PG_uptodate,
  clear_page_flag,
  page_index,
  page_to_phys,
  set_page_flag,
  test_page_flag,
} from "./page.ts";
import { balance_dirty_pages_ratelimited } from "./writeback.ts";

const EIO = 5;
const ENOMEM = 12;
/** Copying 4 KiB that is in the cache. */
const COPY_PAGE_NS = 1000;

/** A process's buffer: its pages in order, anywhere in RAM. Offset 0 is the start of the first page. */
export class UserBuffer {
  /** Physical address of each page. */
  readonly pages: readonly number[];
  constructor(pages: readonly number[]) {
    this.pages = pages;
  }
  address(offset: number): number {
    return this.pages[Math.floor(offset / FRAME_SIZE)]! + (offset % FRAME_SIZE);
  }
  get bytes(): number {
    return this.pages.length * FRAME_SIZE;
  }
}

/** Copies bytes within a page each: a whole page by reference on the host, at the price of a copy for the CPU. */
function copy_bytes(from: number, to: number, bytes: number): void {
  step(Math.ceil((COPY_PAGE_NS * bytes) / FRAME_SIZE));
  const { memory } = M;
  if (bytes === FRAME_SIZE) {
    memory.copyPage(from, to);
    return;
  }
  const target = memory.offsetForWrite(to);
  const source = memory.offsetForRead(from);
  if (source < 0) M.u8.fill(0, target, target + bytes);
  else M.u8.copyWithin(target, source, source + bytes);
}

/** Copies between a page of the cache and a buffer whose pages need not be aligned with the file's. */
function copy_user(page: number, offset: number, buffer: UserBuffer, at: number, bytes: number, toUser: boolean): void {
  const cached = page_to_phys(page) + offset;
  for (let done = 0; done < bytes;) {
    const length = Math.min(bytes - done, FRAME_SIZE - ((at + done) % FRAME_SIZE));
    const user = buffer.address(at + done);
    if (toUser) copy_bytes(cached + done, user, length);
    else copy_bytes(user, cached + done, length);
    done += length;
  }
}

/** Every page of a read bio is up to date, or in error; all are unlocked. Softirq. */
export const mpage_end_io_read = kfunc("mpage_end_io_read", function* (bio: Bio, _bytes: number, _error: number) {
  if (bio.s.bi_size !== 0) return;
  const good = (bio.s.bi_flags & BIO_UPTODATE) !== 0;
  const pages = bio.s.bi_vcnt;
  for (let i = 0; i < pages; i++) {
    const page = bvecPage(bvecAt(bio, i));
    if (good) set_page_flag(page, PG_uptodate);
    else {
      clear_page_flag(page, PG_uptodate);
      set_page_flag(page, PG_error);
    }
    yield* unlock_page(page);
  }
  yield* bio_put(bio);
});

/** Starts reading locked pages; they are unlocked when they have come. Pages that follow each other share a bio. */
const mpage_readpages = kfunc(
  "mpage_readpages",
  function* (mapping: AddressSpace, pages: readonly number[], rw: number) {
    let bio: Bio | undefined;
    let next = -1;
    for (let i = 0; i < pages.length; i++) {
      const page = pages[i]!;
      const index = page_index(page);
      const bytes = mapping.bytesAt(index);
      if (bytes < FRAME_SIZE) {
        const tail = M.memory.offsetForWrite(page_to_phys(page));
        M.u8.fill(0, tail, tail + FRAME_SIZE);
      }
      if (bio && (index !== next || bio_add_page(bio, page, bytes, 0) !== bytes)) {
        yield* submit_bio(READ | rw, bio);
        bio = undefined;
      }
      if (!bio) {
        bio = yield* bio_alloc(GFP_NOFS, Math.min(K.flavour.block.pagesPerIo, pages.length - i));
        if (!bio) {
          set_page_flag(page, PG_error);
          yield* unlock_page(page);
          continue;
        }
        bio_target(bio, mapping.bdev, mapping.sectorOf(index), mpage_end_io_read, mapping);
        bio_add_page(bio, page, bytes, 0);
      }
      next = index + 1;
    }
    if (bio) yield* submit_bio(READ | rw, bio);
  },
);

/** The page at `index`, up to date, with a reference; 0 when it cannot be read. Context: process; sleeps. */
export const read_cache_page = kfunc("read_cache_page", function* (mapping: AddressSpace, index: number) {
  const page = yield* find_or_create_page(mapping, index);
  if (page === 0) return 0;
  if (yield* make_uptodate(mapping, page)) return page;
  yield* put_page(page);
  return 0;
});

/** Reads a locked page if need be; it is unlocked on return. True when it is up to date. */
const make_uptodate = kfunc("block_read_full_page", function* (mapping: AddressSpace, page: number) {
  if (test_page_flag(page, PG_uptodate)) {
    yield* unlock_page(page);
    return true;
  }
  clear_page_flag(page, PG_error);
  yield* mpage_readpages(mapping, [page], 0);
  yield* wait_on_page_locked(page);
  return test_page_flag(page, PG_uptodate);
});

/** The read-ahead state of an open file (struct file_ra_state). */
export interface ReadAhead {
  /** Index behind the last page read. */
  next: number;
  /** Pages read ahead the last time; grows while the reads are sequential. */
  size: number;
}
const RA_MIN = 4;
const RA_MAX = 32;

/** Starts reads for the pages [index, index+count) that are not cached, and beyond them when reads are sequential. */
const page_cache_readahead = kfunc(
  "page_cache_readahead",
  function* (mapping: AddressSpace, ra: ReadAhead, index: number, count: number) {
    ra.size = index === ra.next ? Math.min(RA_MAX, Math.max(RA_MIN, ra.size * 2)) : 0;
    const last = Math.min(Math.ceil(mapping.sectors / 8), index + count + ra.size);
    const fresh: number[] = [];
    for (let at = index; at < last; at++) {
      const known = yield* find_get_page(mapping, at);
      if (known !== 0) {
        yield* put_page(known);
        continue;
      }
      const page = yield* alloc_page(GFP_HIGHUSER);
      if (page === 0) break;
      if ((yield* add_to_page_cache(page, mapping, at)) === 0) fresh.push(page);
      // The cache's own reference keeps it; ours ends here.
      yield* put_page(page);
    }
    if (fresh.length > 0) yield* mpage_readpages(mapping, fresh, 0);
  },
);

/**
 * Reads through the cache into a process's buffer, from its start.
 * Returns: bytes read, or a negative errno. Context: process; sleeps.
 */
export const generic_file_read = kfunc(
  "do_generic_mapping_read",
  function* (mapping: AddressSpace, ra: ReadAhead, pos: number, bytes: number, buffer: UserBuffer) {
    const first = Math.floor(pos / FRAME_SIZE);
    const end = Math.min(pos + bytes, mapping.sectors * 512);
    const count = Math.ceil(end / FRAME_SIZE) - first;
    if (count > 0) yield* page_cache_readahead(mapping, ra, first, count);
    ra.next = first + count;
    let done = 0;
    for (let at = pos; at < end;) {
      const offset = at % FRAME_SIZE;
      const length = Math.min(FRAME_SIZE - offset, end - at);
      const page = yield* find_or_read(mapping, Math.floor(at / FRAME_SIZE));
      if (page <= 0) return done > 0 ? done : page;
      set_page_flag(page, PG_referenced);
      copy_user(page, offset, buffer, done, length, true);
      yield* put_page(page);
      done += length;
      at += length;
    }
    return done;
  },
);

/** An up-to-date page with a reference, or a negative errno. */
const find_or_read = kfunc("page_cache_read", function* (mapping: AddressSpace, index: number) {
  const page = yield* find_get_page(mapping, index);
  if (page !== 0) {
    if (test_page_flag(page, PG_uptodate)) return page;
    yield* wait_on_page_locked(page);
    if (test_page_flag(page, PG_uptodate) && page_mapping(page) === mapping) return page;
    yield* put_page(page);
  }
  const read = yield* read_cache_page(mapping, index);
  return read === 0 ? -EIO : read;
});

/**
 * Writes a process's buffer, from its start, into the cache; the disk gets it later.
 * Returns: bytes written, or a negative errno. Context: process; may sleep for memory, for a partial page, or because too much is dirty.
 */
export const generic_file_write = kfunc(
  "generic_file_buffered_write",
  function* (mapping: AddressSpace, pos: number, bytes: number, buffer: UserBuffer) {
    const end = Math.min(pos + bytes, mapping.sectors * 512);
    let done = 0;
    for (let at = pos; at < end;) {
      const offset = at % FRAME_SIZE;
      const length = Math.min(FRAME_SIZE - offset, end - at);
      const page = yield* find_or_create_page(mapping, Math.floor(at / FRAME_SIZE));
      if (page === 0) return done > 0 ? done : -ENOMEM;
      if (length < FRAME_SIZE && !test_page_flag(page, PG_uptodate)) {
        const read = yield* make_uptodate(mapping, page);
        if (!read) {
          yield* put_page(page);
          return done > 0 ? done : -EIO;
        }
        yield* lock_page(page);
      }
      copy_user(page, offset, buffer, done, length, false);
      set_page_flag(page, PG_uptodate);
      yield* set_page_dirty(page);
      yield* unlock_page(page);
      yield* put_page(page);
      yield* balance_dirty_pages_ratelimited(mapping);
      done += length;
      at += length;
    }
    return done;
  },
);
