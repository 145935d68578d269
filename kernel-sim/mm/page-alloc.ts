// The page allocator (mm/page_alloc.c of 2.6.9): zones with buddy lists, lists per CPU, watermarks, mem_map.
//
// Two zones are filled: Normal is what boot left of the flat window (kernel objects live there: a physical address
// indexes the typed arrays), HighMem is the rest of RAM (page cache and user pages). DMA exists and is empty.
import { cpu, finished, step, type Running } from "../../emulator/cpu/cpu.ts";
import { FRAME_SIZE } from "../../emulator/memory/pool.ts";
import { poke64, poke32, pokePtr } from "../abi/ram.ts";
import { atomic_t } from "../abi/structs/base.ts";
import { MAX_NR_ZONES, page as page_struct, page_state, pglist_data, zone as zone_struct } from "../abi/structs/mm.ts";
import { ptr, ulong, voidPtr } from "../abi/types.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import {
  local_irq_restore,
  local_irq_save,
  spin_lock,
  spin_lock_irqsave,
  spin_unlock,
  spin_unlock_irqrestore,
} from "../core/spinlock.ts";
import { TAINT_BAD_PAGE, add_taint } from "../core/taint.ts";
import { SlabCaches } from "./slab.ts";
import { try_to_free_pages } from "./vmscan.ts";
import type { AddressSpace } from "./page-cache.ts";
import {
  PG_reserved,
  ZONE_SHIFT,
  get_page,
  page_count,
  page_list_add,
  page_list_add_tail,
  page_list_del,
  page_list_next,
  page_lru,
  page_of_lru,
  page_to_phys,
  page_zonenum,
  pfn_to_page,
  set_page_count,
  set_page_flags,
  virt_to_page,
} from "./page.ts";
import { Zone } from "./zone.ts";

/** gfp_mask bits (include/linux/gfp.h of 2.6.9). */
export const __GFP_HIGHMEM = 0x02;
export const __GFP_WAIT = 0x10;
export const __GFP_HIGH = 0x20;
export const __GFP_IO = 0x40;
export const __GFP_FS = 0x80;
export const GFP_ATOMIC = __GFP_HIGH;
export const GFP_NOIO = __GFP_WAIT;
export const GFP_NOFS = __GFP_WAIT | __GFP_IO;
export const GFP_KERNEL = __GFP_WAIT | __GFP_IO | __GFP_FS;
export const GFP_HIGHUSER = GFP_KERNEL | __GFP_HIGHMEM;

export const ZONE_DMA = 0;
export const ZONE_NORMAL = 1;
export const ZONE_HIGHMEM = 2;

/** Share of what boot left of the flat window that stays with K.bootmem: drivers and tasks still take from it. */
const BOOTMEM_SHARE = 0.4;
const REFILL_NS = 40;

export class PageAllocator {
  /** Address of mem_map: behind the flat window, or in it when all of RAM is flat. */
  readonly memMap: number;
  readonly pageStructBytes: number;
  readonly at: {
    readonly flags: number;
    readonly _count: number;
    readonly private: number;
    readonly mapping: number;
    readonly index: number;
    readonly lru: number;
  };
  readonly zones: Zone[] = [];
  readonly maxPfn: number;
  readonly node: ViewOf<typeof pglist_data>;
  readonly pageState: ViewOf<typeof page_state>;
  /** Address of nr_pagecache. */
  readonly nrPagecache: number;
  /** The address_space objects by the address of their struct. */
  readonly mappings = new Map<number, AddressSpace>();
  readonly slabs: SlabCaches;
  /** First byte behind mem_map and the buddy bitmaps: what lies above is free when boot ends. */
  readonly reservedEnd: number;
  /** Pages that may be handed out. */
  readonly totalPages: number;

  constructor() {
    const k = K;
    // The structs below are reached through K.pages while it is built.
    k.pages = this;
    const { memory } = k.machine;
    const offset = (field: string): number => k.offsetOf(page_struct, field);
    this.at = {
      flags: offset("flags"),
      _count: offset("_count"),
      private: offset("private"),
      mapping: offset("mapping"),
      index: offset("index"),
      lru: offset("lru"),
    };
    this.pageStructBytes = k.sizeOf(page_struct);
    this.maxPfn = Math.floor(Math.min(memory.endOfRam, k.region.e820.at(-1)!.end) / FRAME_SIZE);
    const flatPfn = Math.floor(memory.flatBytes / FRAME_SIZE);
    const mapBytes = Math.ceil((this.maxPfn * this.pageStructBytes) / FRAME_SIZE) * FRAME_SIZE;
    const highPages = Math.max(0, this.maxPfn - flatPfn);
    const bitmapBytes = Math.ceil((Zone.mapBytes(flatPfn) + Zone.mapBytes(highPages)) / FRAME_SIZE) * FRAME_SIZE;
    // Memory kept for a crash kernel begins in the flat window and may end above it.
    const reservedTo = k.region.reserved.reduce((end, range) => Math.max(end, range.end), 0);
    let highStart = Math.max(flatPfn, Math.ceil(reservedTo / FRAME_SIZE));
    if (highPages * FRAME_SIZE > 2 * (mapBytes + bitmapBytes)) {
      this.memMap = highStart * FRAME_SIZE;
      highStart += (mapBytes + bitmapBytes) / FRAME_SIZE;
      const last = highStart * FRAME_SIZE - 1;
      if (!k.region.e820.some((r) => r.type === "ram" && r.start <= this.memMap && r.end > last)) {
        throw new Error(
          `memory map: no ${mapBytes + bitmapBytes} bytes of RAM in one piece at 0x${this.memMap.toString(16)} for mem_map`,
        );
      }
    } else this.memMap = k.bootmem(mapBytes + bitmapBytes, FRAME_SIZE);

    this.reservedEnd = this.memMap + mapBytes + bitmapBytes;
    const contig = k.static("contig_page_data", pglist_data);
    this.node = k.view(pglist_data, contig);
    this.pageState = k.view(page_state, k.static("page_states", page_state));
    this.nrPagecache = k.static("nr_pagecache", atomic_t);
    const zoneBytes = k.sizeOf(zone_struct);
    const zoneAt = (i: number): number => this.node.node_zones + i * zoneBytes;
    const bitmaps = this.memMap + mapBytes;
    this.zones.push(new Zone(zoneAt(ZONE_DMA), ZONE_DMA, "DMA", 0, 0, 0));
    this.zones.push(new Zone(zoneAt(ZONE_NORMAL), ZONE_NORMAL, "Normal", 0, flatPfn, bitmaps));
    this.zones.push(
      new Zone(zoneAt(ZONE_HIGHMEM), ZONE_HIGHMEM, "HighMem", flatPfn, highPages, bitmaps + Zone.mapBytes(flatPfn)),
    );
    this.fill(flatPfn, highStart);
    this.totalPages = this.zones.reduce((sum, z) => sum + z.s.present_pages, 0);
    this.setWatermarks();
    this.describe(contig);
    this.slabs = new SlabCaches();
  }

  /** Hands the zones their frames; what boot took is reserved. */
  private fill(flatPfn: number, highStart: number): void {
    const k = K;
    const { memory } = k.machine;
    const left = k.region.lowEnd - k.bootAt;
    const normalPfn = Math.ceil((k.bootAt + left * BOOTMEM_SHARE) / FRAME_SIZE);
    k.bootLimit = normalPfn * FRAME_SIZE;
    for (let pfn = 0; pfn < normalPfn; pfn++) reserve(pfn, ZONE_NORMAL);
    for (let pfn = flatPfn; pfn < highStart; pfn++) reserve(pfn, ZONE_HIGHMEM);
    const lowPfn = Math.floor(Math.min(k.region.lowEnd, memory.flatBytes) / FRAME_SIZE);
    for (let pfn = lowPfn; pfn < flatPfn; pfn++) reserve(pfn, ZONE_NORMAL);
    for (const range of k.region.e820) {
      if (range.type !== "ram") continue;
      const start = Math.ceil(range.start / FRAME_SIZE);
      const end = Math.floor(range.end / FRAME_SIZE);
      const normal = this.zones[ZONE_NORMAL]!;
      const high = this.zones[ZONE_HIGHMEM]!;
      normal.addRange(Math.max(start, normalPfn), Math.min(end, lowPfn));
      // What lies below a crash kernel's own part and is given to it all the same: the first 640 KiB, without page 0.
      if (k.region.start > 0)
        normal.addRange(Math.max(start, 1), Math.min(end, Math.floor(k.region.start / FRAME_SIZE)));
      high.addRange(Math.max(start, highStart), end);
    }
  }

  /** min_free_kbytes = sqrt(lowmem KiB * 16), spread over the zones. */
  private setWatermarks(): void {
    const minPages = Math.floor(Math.sqrt(this.zones[ZONE_NORMAL]!.s.present_pages * 4 * 16) / 4);
    for (const z of this.zones) {
      const s = z.s;
      const share =
        z.index === ZONE_HIGHMEM
          ? Math.min(128, Math.floor(s.present_pages / 1024))
          : Math.min(minPages, Math.floor(s.present_pages / 16));
      s.pages_min = share;
      s.pages_low = share * 2;
      s.pages_high = share * 3;
    }
  }

  /** The symbols that crash's kmem and a dumper look for. */
  private describe(contig: number): void {
    const k = K;
    const { node } = this;
    for (const z of this.zones) {
      z.s.zone_pgdat = contig;
      z.s.zone_mem_map = pfn_to_page(z.startPfn);
    }
    node.nr_zones = MAX_NR_ZONES;
    node.node_mem_map = this.memMap;
    node.node_start_pfn = 0;
    node.node_spanned_pages = this.maxPfn;
    node.node_present_pages = this.totalPages;
    const word = (name: string, value: number): void => {
      const at = k.static(name, ulong);
      if (k.map.model.wordBytes === 8) poke64(at, value);
      else poke32(at, value);
    };
    pokePtr(
      k.static(
        "mem_map",
        ptr(() => page_struct),
      ),
      this.memMap,
    );
    pokePtr(
      k.static(
        "pgdat_list",
        ptr(() => pglist_data),
      ),
      contig,
    );
    pokePtr(k.static("high_memory", voidPtr), Math.min(k.machine.memory.flatBytes, k.machine.memory.endOfRam));
    word("max_mapnr", this.maxPfn);
    word("num_physpages", this.maxPfn);
    word("max_pfn", this.maxPfn);
    word("end_pfn", this.maxPfn);
    word("totalram_pages", this.totalPages);
  }

  /** Keeps the allocator's hands off a range of bytes (preserved contents of an earlier kernel). Boot only. Returns pages taken. */
  reserveRange(startBytes: number, endBytes: number): number {
    let taken = 0;
    for (const zone of this.zones) {
      if (zone.spannedPages > 0)
        taken += zone.reserveRange(Math.floor(startBytes / FRAME_SIZE), Math.ceil(endBytes / FRAME_SIZE));
    }
    return taken;
  }

  zoneOf(page: number): Zone {
    return this.zones[page_zonenum(page)]!;
  }

  get freePages(): number {
    return this.zones.reduce((sum, z) => sum + z.freePages + z.pcp.reduce((n, p) => n + p.count, 0), 0);
  }
}

function reserve(pfn: number, zone: number): void {
  const page = pfn_to_page(pfn);
  set_page_flags(page, ((zone << ZONE_SHIFT) | PG_reserved) >>> 0);
  set_page_count(page, 1);
}

/** Which zones an allocation may fall back through, best first. */
const zoneOrder = (gfp_mask: number): readonly number[] =>
  gfp_mask & __GFP_HIGHMEM ? [ZONE_HIGHMEM, ZONE_NORMAL] : [ZONE_NORMAL];
const HIGH_ORDER = zoneOrder(__GFP_HIGHMEM);
const NORMAL_ORDER = zoneOrder(0);

/**
 * Takes 2^order pages.
 * Returns: the first one's struct page, or 0. Locks: zone locks, inside. Context: any; sleeps only with __GFP_WAIT, to
 * reclaim. Must not be called by a dumper: it is refused in dump mode.
 */
export function alloc_pages(gfp_mask: number, order: number): Running<number> {
  K.dumpMode?.forbid("alloc_pages");
  return __alloc_pages(gfp_mask, order);
}
export const alloc_page = (gfp_mask: number): Running<number> => alloc_pages(gfp_mask, 0);

export const __alloc_pages = kfunc("__alloc_pages", function* (gfp_mask: number, order: number) {
  const candidates = gfp_mask & __GFP_HIGHMEM ? HIGH_ORDER : NORMAL_ORDER;
  for (const limit of ["pages_low", "pages_min"] as const) {
    for (const index of candidates) {
      const zone = K.pages.zones[index]!;
      const floor = gfp_mask & __GFP_HIGH ? zone.s[limit] / 2 : zone.s[limit];
      if (zone.s.free_pages < floor + 2 ** order) continue;
      const page = yield* buffered_rmqueue(zone, order);
      if (page !== 0) return page;
    }
    if (gfp_mask & __GFP_WAIT && limit === "pages_low") yield* try_to_free_pages(gfp_mask, order);
  }
  return 0;
});

const buffered_rmqueue = kfunc("buffered_rmqueue", function* (zone: Zone, order: number) {
  let page = 0;
  const flags = local_irq_save();
  if (order === 0) {
    const pcp = zone.pcp[cpu.id]!;
    if (pcp.count <= pcp.low) yield* rmqueue_bulk(zone, cpu.id);
    if (pcp.count > 0) {
      page = page_of_lru(page_list_next(zone.pcpLists[cpu.id]!));
      page_list_del(page_lru(page));
      pcp.count = pcp.count - 1;
    }
  } else {
    yield* spin_lock(zone.lock);
    page = zone.rmqueue(order);
    spin_unlock(zone.lock);
  }
  if (page !== 0) {
    const { pageState } = K.pages;
    pageState.pgalloc = pageState.pgalloc + 2 ** order;
    zone.prep(page);
    set_page_count(page, 1);
  }
  yield* local_irq_restore(flags);
  return page;
});

/** Refills a CPU's list from the buddy lists. Called with interrupts off. */
const rmqueue_bulk = kfunc("rmqueue_bulk", function* (zone: Zone, cpuId: number) {
  const pcp = zone.pcp[cpuId]!;
  yield* spin_lock(zone.lock);
  for (let i = pcp.batch; i > 0; i--) {
    const page = zone.rmqueue(0);
    if (page === 0) break;
    page_list_add_tail(page_lru(page), zone.pcpLists[cpuId]!);
    pcp.count = pcp.count + 1;
  }
  step(REFILL_NS);
  spin_unlock(zone.lock);
});

/** Drops one use of a block; the last one frees it. Context: any. */
export function __free_pages(page: number, order: number): Running {
  const count = page_count(page) - 1;
  set_page_count(page, count);
  if (count > 0) return finished();
  if (count < 0) {
    K.reports.push(`__free_pages: page ${page_to_phys(page).toString(16)} is free already`);
    add_taint(TAINT_BAD_PAGE);
    return finished();
  }
  return order === 0 ? free_hot_page(page) : __free_pages_ok(page, order);
}
/** put_page: one user less. */
export const put_page = (page: number): Running => __free_pages(page, 0);
export const page_cache_get = get_page;

const free_hot_page = kfunc("free_hot_page", function* (page: number) {
  const zone = K.pages.zoneOf(page);
  const flags = local_irq_save();
  const pcp = zone.pcp[cpu.id]!;
  K.pages.pageState.pgfree = K.pages.pageState.pgfree + 1;
  if (pcp.count >= pcp.high) yield* free_pages_bulk(zone, cpu.id);
  page_list_add(page_lru(page), zone.pcpLists[cpu.id]!);
  pcp.count = pcp.count + 1;
  yield* local_irq_restore(flags);
});

/** Gives `batch` pages of a CPU's list back to the buddy lists. Called with interrupts off. */
const free_pages_bulk = kfunc("free_pages_bulk", function* (zone: Zone, cpuId: number) {
  const pcp = zone.pcp[cpuId]!;
  const list = zone.pcpLists[cpuId]!;
  yield* spin_lock(zone.lock);
  for (let i = pcp.batch; i > 0 && pcp.count > 0; i--) {
    const page = page_of_lru(page_list_next(list));
    page_list_del(page_lru(page));
    pcp.count = pcp.count - 1;
    zone.free(page, 0);
  }
  spin_unlock(zone.lock);
});

const __free_pages_ok = kfunc("__free_pages_ok", function* (page: number, order: number) {
  const zone = K.pages.zoneOf(page);
  const flags = yield* spin_lock_irqsave(zone.lock);
  K.pages.pageState.pgfree = K.pages.pageState.pgfree + 2 ** order;
  zone.free(page, order);
  yield* spin_unlock_irqrestore(zone.lock, flags);
});

/** As alloc_pages, from the flat window: returns the physical address of the block, 0 when there is none. */
export const __get_free_pages = kfunc("__get_free_pages", function* (gfp_mask: number, order: number) {
  const page = yield* alloc_pages(gfp_mask & ~__GFP_HIGHMEM, order);
  return page === 0 ? 0 : page_to_phys(page);
});
export const free_pages = (addr: number, order: number): Running => __free_pages(virt_to_page(addr), order);
