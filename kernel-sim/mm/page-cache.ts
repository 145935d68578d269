// Cached pages of a block device or of a file on it: the index, page locks, dirty and writeback state (mm/filemap.c of 2.6.9).
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { peek32, poke32 } from "../abi/ram.ts";
import { address_space } from "../abi/structs/mm.ts";
import type { ViewOf } from "../abi/view.ts";
import type { BlockDevice } from "../block/gendisk.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { list_empty } from "../core/list.ts";
import { schedule } from "../core/sched.ts";
import {
  Spinlock,
  spin_lock_irq,
  spin_lock_irqsave,
  spin_unlock_irq,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { TASK_UNINTERRUPTIBLE } from "../core/task.ts";
import { finish_wait, prepare_to_wait, wake_up_all } from "../core/wait.ts";
import { __GFP_HIGHMEM, __GFP_WAIT, __GFP_IO, __GFP_FS, alloc_page, put_page } from "./page-alloc.ts";
import {
  PG_dirty,
  PG_locked,
  PG_lru,
  PG_writeback,
  clear_page_flag,
  get_page,
  page_index,
  page_list_add,
  page_list_del,
  page_lru,
  page_mapping_addr,
  set_page_flag,
  set_page_index,
  set_page_mapping,
  test_and_clear_page_flag,
  test_and_set_page_flag,
  test_page_flag,
} from "./page.ts";

export const PAGE_SECTORS = 8;
/** address_space.flags */
export const AS_EIO = 1;

/** The cached pages of a run of sectors: a whole device, or a file that lies in one piece. */
export class AddressSpace {
  readonly addr: number;
  readonly s: ViewOf<typeof address_space>;
  readonly treeLock: Spinlock;
  readonly name: string;
  readonly bdev: BlockDevice;
  /** Where it starts on its device, and its length, in sectors. */
  readonly startSector: number;
  readonly sectors: number;
  /** The radix tree and its two tags. The pages themselves say the same (mapping, index, PG_dirty, PG_writeback). */
  readonly pages = new Map<number, number>();
  readonly dirty = new Set<number>();
  readonly writeback = new Set<number>();
  /** When the oldest dirty page was made so, in jiffies. */
  dirtiedWhen = 0;

  constructor(
    bdev: BlockDevice,
    file?: { readonly name: string; readonly startSector: number; readonly sectors: number },
  ) {
    this.bdev = bdev;
    this.name = file ? file.name : bdev.name;
    this.startSector = file ? file.startSector : 0;
    this.sectors = file ? file.sectors : bdev.sectors;
    this.addr = K.bootmem(K.sizeOf(address_space));
    this.s = K.view(address_space, this.addr);
    this.treeLock = new Spinlock(this.s.tree_lock.addr, `${this.name}.tree_lock`);
    K.pages.mappings.set(this.addr, this);
  }

  /** Bytes of the page at `index` that lie on the device: less than a page at an odd end. */
  bytesAt(index: number): number {
    return Math.max(0, Math.min(PAGE_SECTORS, this.sectors - index * PAGE_SECTORS)) * 512;
  }
  /** Sector on the device at which the page at `index` starts. */
  sectorOf(index: number): number {
    return this.startSector + index * PAGE_SECTORS;
  }
}

export const page_mapping = (page: number): AddressSpace | undefined => K.pages.mappings.get(page_mapping_addr(page));

// ---- page lock and waiting --------------------------------------------------------------------------------------------

/** Lets the queue go that the page's I/O may be held back on. */
const block_sync_page = kfunc("block_sync_page", function* (page: number) {
  const q = page_mapping(page)?.bdev.disk.queue;
  if (q) yield* K.flavour.block.letGo(q);
});

/** Sleeps until a flag of the page is clear. Context: process. */
export const wait_on_page_bit = kfunc("wait_on_page_bit", function* (page: number, flag: number) {
  const queue = K.pages.zoneOf(page).waitQueue(page);
  while (test_page_flag(page, flag)) {
    const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, false);
    if (test_page_flag(page, flag)) {
      yield* block_sync_page(page);
      yield* schedule();
    }
    yield* finish_wait(queue, entry);
  }
});

export const wait_on_page_locked = (page: number): Running =>
  test_page_flag(page, PG_locked) ? wait_on_page_bit(page, PG_locked) : finished();
export const wait_on_page_writeback = (page: number): Running =>
  test_page_flag(page, PG_writeback) ? wait_on_page_bit(page, PG_writeback) : finished();

/** Takes the page lock; sleeps while another has it. Context: process. */
export const lock_page = (page: number): Running =>
  test_and_set_page_flag(page, PG_locked) ? __lock_page(page) : finished();

const __lock_page = kfunc("__lock_page", function* (page: number) {
  const queue = K.pages.zoneOf(page).waitQueue(page);
  for (;;) {
    const entry = yield* prepare_to_wait(queue, TASK_UNINTERRUPTIBLE, false);
    if (test_page_flag(page, PG_locked)) {
      yield* block_sync_page(page);
      yield* schedule();
    }
    yield* finish_wait(queue, entry);
    if (!test_and_set_page_flag(page, PG_locked)) return;
  }
});

function wake_up_page(page: number): Running {
  const queue = K.pages.zoneOf(page).waitQueue(page);
  return list_empty(queue.list) ? finished() : wake_up_all(queue);
}

/** Context: any. */
export const unlock_page = kfunc("unlock_page", function* (page: number) {
  if (!test_and_clear_page_flag(page, PG_locked)) K.reports.push("unlock_page: the page is not locked");
  yield* wake_up_page(page);
});

// ---- the index --------------------------------------------------------------------------------------------------------

/** The cached page at `index` with one more reference, or 0. */
export const find_get_page = kfunc("find_get_page", function* (mapping: AddressSpace, index: number) {
  yield* spin_lock_irq(mapping.treeLock);
  const page = mapping.pages.get(index) ?? 0;
  if (page !== 0) get_page(page);
  yield* spin_unlock_irq(mapping.treeLock);
  return page;
});

/** The page at `index`, locked, with one more reference; made (not up to date) when it is not cached. 0: memory is out. */
export const find_or_create_page = kfunc("find_or_create_page", function* (mapping: AddressSpace, index: number) {
  for (;;) {
    const page = yield* find_get_page(mapping, index);
    if (page !== 0) {
      yield* lock_page(page);
      if (page_mapping_addr(page) === mapping.addr && page_index(page) === index) return page;
      // It was reclaimed while we slept.
      yield* unlock_page(page);
      yield* put_page(page);
      continue;
    }
    const fresh = yield* alloc_page(__GFP_HIGHMEM | __GFP_WAIT | __GFP_IO | __GFP_FS);
    if (fresh === 0) return 0;
    if ((yield* add_to_page_cache(fresh, mapping, index)) === 0) return fresh;
    yield* put_page(fresh);
  }
});

/** nr_pagecache: cached pages of all mappings. */
function pagecache_acct(count: number): void {
  const at = K.pages.nrPagecache;
  poke32(at, peek32(at) + count);
}

const EEXIST = 17;

/** Enters a fresh page, locked, with a reference for the cache besides the caller's. Returns 0, or -EEXIST. */
export const add_to_page_cache = kfunc(
  "add_to_page_cache",
  function* (page: number, mapping: AddressSpace, index: number) {
    yield* spin_lock_irq(mapping.treeLock);
    if (mapping.pages.has(index)) {
      yield* spin_unlock_irq(mapping.treeLock);
      return -EEXIST;
    }
    get_page(page);
    set_page_flag(page, PG_locked);
    set_page_mapping(page, mapping.addr);
    set_page_index(page, index);
    mapping.pages.set(index, page);
    mapping.s.nrpages = mapping.s.nrpages + 1;
    pagecache_acct(1);
    yield* spin_unlock_irq(mapping.treeLock);
    yield* lru_cache_add(page);
    return 0;
  },
);

const lru_cache_add = kfunc("lru_cache_add", function* (page: number) {
  const zone = K.pages.zoneOf(page);
  yield* spin_lock_irq(zone.lruLock);
  set_page_flag(page, PG_lru);
  page_list_add(page_lru(page), zone.inactiveList);
  zone.s.nr_inactive = zone.s.nr_inactive + 1;
  yield* spin_unlock_irq(zone.lruLock);
});

/** Takes a locked, clean page out of the cache. Locks: tree_lock and lru_lock, inside. Context: process. */
export const remove_from_page_cache = kfunc("remove_from_page_cache", function* (page: number) {
  const mapping = page_mapping(page)!;
  const zone = K.pages.zoneOf(page);
  yield* spin_lock_irq(mapping.treeLock);
  mapping.pages.delete(page_index(page));
  mapping.s.nrpages = mapping.s.nrpages - 1;
  pagecache_acct(-1);
  set_page_mapping(page, 0);
  yield* spin_unlock_irq(mapping.treeLock);
  if (test_page_flag(page, PG_lru)) {
    yield* spin_lock_irq(zone.lruLock);
    page_list_del(page_lru(page));
    zone.s.nr_inactive = zone.s.nr_inactive - 1;
    clear_page_flag(page, PG_lru);
    yield* spin_unlock_irq(zone.lruLock);
  }
  yield* put_page(page);
});

// ---- dirty and writeback ----------------------------------------------------------------------------------------------

/** The page differs from the disk. Context: process, page locked. */
export const set_page_dirty = kfunc("__set_page_dirty_nobuffers", function* (page: number) {
  if (test_and_set_page_flag(page, PG_dirty)) return;
  const mapping = page_mapping(page)!;
  yield* spin_lock_irq(mapping.treeLock);
  if (mapping.dirty.size === 0) mapping.dirtiedWhen = K.time.jiffies;
  mapping.dirty.add(page_index(page));
  const { pageState } = K.pages;
  pageState.nr_dirty = pageState.nr_dirty + 1;
  yield* spin_unlock_irq(mapping.treeLock);
});

/** The page is going to be written: clean for now, under writeback. Page locked. */
export const set_page_writeback = kfunc("test_set_page_writeback", function* (page: number) {
  const mapping = page_mapping(page)!;
  const index = page_index(page);
  const { pageState } = K.pages;
  yield* spin_lock_irq(mapping.treeLock);
  if (test_and_clear_page_flag(page, PG_dirty)) {
    mapping.dirty.delete(index);
    pageState.nr_dirty = pageState.nr_dirty - 1;
  }
  set_page_flag(page, PG_writeback);
  mapping.writeback.add(index);
  pageState.nr_writeback = pageState.nr_writeback + 1;
  yield* spin_unlock_irq(mapping.treeLock);
});

/** The page has been written. Context: any. */
export const end_page_writeback = kfunc("end_page_writeback", function* (page: number) {
  const mapping = page_mapping(page)!;
  const flags = yield* spin_lock_irqsave(mapping.treeLock);
  clear_page_flag(page, PG_writeback);
  mapping.writeback.delete(page_index(page));
  const { pageState } = K.pages;
  pageState.nr_writeback = pageState.nr_writeback - 1;
  yield* spin_unlock_irqrestore(mapping.treeLock, flags);
  yield* wake_up_page(page);
});
