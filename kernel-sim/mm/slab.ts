// The slab allocator (mm/slab.c of 2.6.9): caches of equal objects, an array of free ones per CPU, slabs in RAM.
import { cpu, finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { M, peek32, peekPtr, poke32, pokePtr, store32, storePtr } from "../abi/ram.ts";
import { array_cache, cache_sizes, kmem_cache_s, kmem_list3, slab as slab_struct } from "../abi/structs/mm.ts";
import { list_head } from "../abi/structs/base.ts";
import { array } from "../abi/types.ts";
import type { ViewOf } from "../abi/view.ts";
import { kernelString } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { INIT_LIST_HEAD, list_add, list_add_tail, list_del, list_empty, list_next } from "../core/list.ts";
import { Spinlock, local_irq_restore, local_irq_save, spin_lock, spin_unlock } from "../core/spinlock.ts";
import { alloc_pages, free_pages } from "./page-alloc.ts";
import {
  PG_slab,
  far_peekPtr,
  far_storePtr,
  page_lru,
  page_to_phys,
  pfn_to_page,
  set_page_flag,
  virt_to_page,
} from "./page.ts";

/** End of a slab's chain of free objects. */
const BUFCTL_END = 0xffffffff;
const L1_BYTES = 64;
/** Objects of at least this size keep their slab's management elsewhere. */
const OFF_SLAB_FROM = FRAME_SIZE / 8;
const MAX_GFP_ORDER = 5;
const GENERAL_SIZES = [32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32768, 65536, 131072];

/** A cache of equal objects: kmem_cache_t. */
export class KmemCache {
  readonly name: string;
  readonly addr: number;
  readonly s: ViewOf<typeof kmem_cache_s>;
  readonly lock: Spinlock;
  readonly objsize: number;
  readonly num: number;
  readonly order: number;
  readonly offSlab: boolean;
  /** Bytes of struct slab with its bufctl words. */
  readonly slabBytes: number;
  readonly headerBytes: number;
  readonly partial: number;
  readonly full: number;
  readonly free: number;
  readonly lists: ViewOf<typeof kmem_list3>;
  /** array[cpu] and the address of its first entry. */
  readonly arrays: ViewOf<typeof array_cache>[] = [];
  readonly entries: number[] = [];

  constructor(name: string, objectBytes: number, align: number) {
    const k = K;
    this.name = name;
    this.addr = k.bootmem(k.sizeOf(kmem_cache_s));
    const s = (this.s = k.view(kmem_cache_s, this.addr));
    this.lock = new Spinlock(s.spinlock.addr, `kmem_cache[${name}].spinlock`);
    this.objsize = Math.ceil(objectBytes / align) * align;
    this.offSlab = this.objsize >= OFF_SLAB_FROM;
    const header = (this.headerBytes = k.sizeOf(slab_struct));
    const fit = (order: number): number => {
      const bytes = FRAME_SIZE << order;
      if (this.offSlab) return Math.floor(bytes / this.objsize);
      let num = Math.floor((bytes - header) / (this.objsize + 4));
      while (num > 0 && Math.ceil((header + num * 4) / L1_BYTES) * L1_BYTES + num * this.objsize > bytes) num--;
      return num;
    };
    let order = 0;
    while (order < MAX_GFP_ORDER) {
      const bytes = FRAME_SIZE << order;
      const waste = bytes - fit(order) * this.objsize;
      if (fit(order) > 0 && (waste * 8 <= bytes || order >= 1)) break;
      order++;
    }
    this.order = order;
    this.num = fit(order);
    if (this.num === 0) throw new Error(`kmem_cache_create: ${name}: objects of ${objectBytes} bytes are too large`);
    this.slabBytes = Math.ceil((header + this.num * 4) / L1_BYTES) * L1_BYTES;
    const limit = this.objsize > 4096 ? 8 : this.objsize > 1024 ? 24 : this.objsize > 256 ? 54 : 120;
    s.objsize = this.objsize;
    s.num = this.num;
    s.gfporder = order;
    s.batchcount = Math.ceil(limit / 2);
    s.limit = limit;
    s.slab_size = this.slabBytes;
    s.free_limit = (1 + k.machine.cpus.length) * s.batchcount + this.num;
    s.name = kernelString(name);
    this.lists = k.view(kmem_list3, s.lists.addr);
    this.partial = this.lists.addr + k.offsetOf(kmem_list3, "slabs_partial");
    this.full = this.lists.addr + k.offsetOf(kmem_list3, "slabs_full");
    this.free = this.lists.addr + k.offsetOf(kmem_list3, "slabs_free");
    INIT_LIST_HEAD(this.partial);
    INIT_LIST_HEAD(this.full);
    INIT_LIST_HEAD(this.free);
    const word = k.map.model.wordBytes;
    const headBytes = k.sizeOf(array_cache);
    for (const c of k.machine.cpus) {
      const ac = k.view(array_cache, k.bootmem(headBytes + limit * word));
      ac.limit = limit;
      ac.batchcount = s.batchcount;
      this.arrays.push(ac);
      this.entries.push(ac.addr + headBytes);
      pokePtr(s.array + c.id * word, ac.addr);
    }
  }
}

/** Every cache; the general ones that kmalloc draws from. */
export class SlabCaches {
  readonly chain: number;
  readonly caches: KmemCache[] = [];
  readonly byAddress = new Map<number, KmemCache>();
  readonly general: KmemCache[] = [];

  constructor() {
    const k = K;
    this.chain = k.static("cache_chain", list_head);
    INIT_LIST_HEAD(this.chain);
    const table = k.static("malloc_sizes", array(cache_sizes, GENERAL_SIZES.length + 1));
    GENERAL_SIZES.forEach((size, i) => {
      const cache = this.add(new KmemCache(`size-${size}`, size, Math.min(size, L1_BYTES)));
      this.general.push(cache);
      const entry = k.view(cache_sizes, table + i * k.sizeOf(cache_sizes));
      entry.cs_size = size;
      entry.cs_cachep = cache.addr;
      entry.cs_dmacachep = cache.addr;
    });
    for (const cache of this.caches) this.placeManagement(cache);
  }

  add(cache: KmemCache): KmemCache {
    this.caches.push(cache);
    this.byAddress.set(cache.addr, cache);
    list_add_tail(cache.addr + K.offsetOf(kmem_cache_s, "next"), this.chain);
    if (this.general.length === GENERAL_SIZES.length) this.placeManagement(cache);
    return cache;
  }

  /** The cache that slabs of an off-slab cache are described in. */
  private placeManagement(cache: KmemCache): void {
    if (cache.offSlab) cache.s.slabp_cache = this.generalFor(cache.slabBytes)!.addr;
  }

  generalFor(bytes: number): KmemCache | undefined {
    for (const cache of this.general) if (cache.objsize >= bytes) return cache;
    return undefined;
  }
}

/** Makes a cache. Context: process or boot. Objects lie in the flat window. */
export function kmem_cache_create(name: string, objectBytes: number, align = 16): KmemCache {
  return K.pages.slabs.add(new KmemCache(name, objectBytes, align));
}

/**
 * Takes an object of a cache. Returns: its physical address, or 0. Locks: the cache's, inside.
 * Context: any; sleeps only with __GFP_WAIT. Refused in dump mode.
 */
export function kmem_cache_alloc(cache: KmemCache, gfp_mask: number): Running<number> {
  K.dumpMode?.forbid("kmem_cache_alloc");
  return __cache_alloc(cache, gfp_mask);
}

/** As kmem_cache_alloc, zeroed. */
export const kmem_cache_zalloc = kfunc("kmem_cache_zalloc", function* (cache: KmemCache, gfp_mask: number) {
  const object = yield* kmem_cache_alloc(cache, gfp_mask);
  if (object === 0) return 0;
  step(10 + cache.objsize / 16);
  M.u8.fill(0, object, object + cache.objsize);
  return object;
});

const __cache_alloc = kfunc("__cache_alloc", function* (cache: KmemCache, gfp_mask: number) {
  const flags = local_irq_save();
  let ac = cache.arrays[cpu.id]!;
  if (ac.avail === 0 && !(yield* cache_alloc_refill(cache, gfp_mask, flags))) {
    yield* local_irq_restore(flags);
    return 0;
  }
  // Growing may have slept: this may be another CPU now.
  ac = cache.arrays[cpu.id]!;
  const avail = ac.avail - 1;
  ac.avail = avail;
  const object = peekPtr(cache.entries[cpu.id]! + avail * (M.word8 ? 8 : 4));
  yield* local_irq_restore(flags);
  return object;
});

/** Fills this CPU's array from the slabs. Called and returns with interrupts off; true when there is something in it. */
const cache_alloc_refill = kfunc("cache_alloc_refill", function* (cache: KmemCache, gfp_mask: number, flags: number) {
  for (;;) {
    const ac = cache.arrays[cpu.id]!;
    if (ac.avail > 0) return true;
    yield* spin_lock(cache.lock);
    for (let left = ac.batchcount; left > 0;) {
      const list = !list_empty(cache.partial) ? cache.partial : cache.free;
      if (list_empty(list)) break;
      const slab = K.view(slab_struct, list_next(list));
      while (slab.inuse < cache.num && left > 0) {
        const object = take(cache, slab);
        storePtr(cache.entries[cpu.id]! + ac.avail * (M.word8 ? 8 : 4), object);
        ac.avail = ac.avail + 1;
        left--;
      }
      list_del(slab.addr);
      list_add(slab.addr, slab.inuse === cache.num ? cache.full : cache.partial);
    }
    spin_unlock(cache.lock);
    if (ac.avail > 0) {
      ac.touched = 1;
      return true;
    }
    if (!(yield* cache_grow(cache, gfp_mask, flags))) return false;
  }
});

/** The words behind struct slab chain its free objects: bufctl[i] is the next free one after i. */
const bufctl = (cache: KmemCache, slab: ViewOf<typeof slab_struct>, i: number): number =>
  slab.addr + cache.headerBytes + i * 4;

function take(cache: KmemCache, slab: ViewOf<typeof slab_struct>): number {
  const index = slab.free;
  slab.free = peek32(bufctl(cache, slab, index));
  slab.inuse = slab.inuse + 1;
  cache.lists.free_objects = cache.lists.free_objects - 1;
  return slab.s_mem + index * cache.objsize;
}

/** One more slab. Called and returns with interrupts off; they are as in `flags` while it may sleep. */
const cache_grow = kfunc("cache_grow", function* (cache: KmemCache, gfp_mask: number, flags: number) {
  yield* local_irq_restore(flags);
  const page = yield* alloc_pages(gfp_mask, cache.order);
  let at = 0;
  if (page !== 0) {
    const start = page_to_phys(page);
    at = cache.offSlab ? yield* kmem_cache_alloc(K.pages.slabs.byAddress.get(cache.s.slabp_cache)!, gfp_mask) : start;
    if (at === 0) yield* free_pages(start, cache.order);
    else prepareSlab(cache, page, start, at);
  }
  local_irq_save();
  if (at === 0) return false;
  yield* spin_lock(cache.lock);
  list_add_tail(at, cache.free);
  cache.lists.free_objects = cache.lists.free_objects + cache.num;
  spin_unlock(cache.lock);
  return true;
});

function prepareSlab(cache: KmemCache, page: number, start: number, at: number): void {
  const slab = K.view(slab_struct, at);
  slab.colouroff = 0;
  slab.s_mem = cache.offSlab ? start : start + cache.slabBytes;
  slab.inuse = 0;
  slab.free = 0;
  step(cache.num * 2);
  for (let i = 0; i < cache.num; i++) poke32(bufctl(cache, slab, i), i + 1 < cache.num ? i + 1 : BUFCTL_END);
  const first = page_lru(page) - page;
  const word = M.word8 ? 8 : 4;
  const { pageStructBytes, pageState } = K.pages;
  for (let i = 0; i < 1 << cache.order; i++) {
    const p = page + i * pageStructBytes;
    set_page_flag(p, PG_slab);
    far_storePtr(p + first, cache.addr);
    far_storePtr(p + first + word, at);
  }
  pageState.nr_slab = pageState.nr_slab + (1 << cache.order);
}

/** Gives an object back to its cache. Context: any. */
export const kmem_cache_free = kfunc("kmem_cache_free", function* (cache: KmemCache, object: number) {
  const flags = local_irq_save();
  const ac = cache.arrays[cpu.id]!;
  if (ac.avail >= ac.limit) yield* cache_flusharray(cache, ac);
  storePtr(cache.entries[cpu.id]! + ac.avail * (M.word8 ? 8 : 4), object);
  ac.avail = ac.avail + 1;
  yield* local_irq_restore(flags);
});

/** Moves the oldest `batchcount` objects of a CPU's array back to their slabs. Called with interrupts off. */
const cache_flusharray = kfunc("cache_flusharray", function* (cache: KmemCache, ac: ViewOf<typeof array_cache>) {
  const word = M.word8 ? 8 : 4;
  const entries = cache.entries[cpu.id]!;
  const batch = ac.batchcount;
  yield* spin_lock(cache.lock);
  for (let i = 0; i < batch; i++) putBack(cache, peekPtr(entries + i * word));
  spin_unlock(cache.lock);
  step(20);
  M.u8.copyWithin(entries, entries + batch * word, entries + ac.avail * word);
  ac.avail = ac.avail - batch;
});

function putBack(cache: KmemCache, object: number): void {
  const slab = K.view(slab_struct, far_peekPtr(page_lru(virt_to_page(object)) + (M.word8 ? 8 : 4)));
  const index = (object - slab.s_mem) / cache.objsize;
  store32(bufctl(cache, slab, index), slab.free);
  slab.free = index;
  const inuse = slab.inuse - 1;
  slab.inuse = inuse;
  cache.lists.free_objects = cache.lists.free_objects + 1;
  list_del(slab.addr);
  list_add(slab.addr, inuse === 0 ? cache.free : cache.partial);
}

/** Memory of any size up to 128 KiB from the flat window, not cleared. Returns its physical address, or 0. Context: as kmem_cache_alloc. */
export function kmalloc(bytes: number, gfp_mask: number): Running<number> {
  const cache = K.pages.slabs.generalFor(bytes);
  if (!cache) return finished(0);
  return kmem_cache_alloc(cache, gfp_mask);
}

/** As kmalloc, zeroed. */
export const kcalloc = kfunc("kcalloc", function* (bytes: number, gfp_mask: number) {
  const at = yield* kmalloc(bytes, gfp_mask);
  if (at === 0) return 0;
  step(10 + bytes / 16);
  M.u8.fill(0, at, at + bytes);
  return at;
});

/** Frees what kmalloc gave. */
export const kfree = (object: number): Running => {
  if (object === 0) return finished();
  const page = pfn_to_page(Math.floor(object / FRAME_SIZE));
  const cache = K.pages.slabs.byAddress.get(far_peekPtr(page_lru(page)));
  if (!cache) {
    K.reports.push(`kfree: 0x${object.toString(16)} does not belong to a slab`);
    return finished();
  }
  return kmem_cache_free(cache, object);
};
