// A memory zone: buddy lists and their bitmaps in RAM (mm/page_alloc.c of 2.6.9), the lists of a CPU, the LRU.
import { pokePtr } from "../abi/ram.ts";
import { MAX_ORDER, free_area, per_cpu_pages, per_cpu_pageset, zone as zone_struct } from "../abi/structs/mm.ts";
import { wait_queue_head_t } from "../abi/structs/base.ts";
import type { ViewOf } from "../abi/view.ts";
import { K } from "../core/kernel.ts";
import { kernelString } from "../core/irq.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { Spinlock } from "../core/spinlock.ts";
import { WaitQueue } from "../core/wait.ts";
import {
  ZONE_SHIFT,
  far_peek32,
  far_store32,
  page_list_add,
  page_list_del,
  page_list_empty,
  page_list_next,
  page_lru,
  page_of_lru,
  page_to_pfn,
  pfn_to_page,
  set_page_flags,
  set_page_private,
} from "./page.ts";

/** What a CPU keeps of a zone's order-0 pages: refilled and drained `batch` at a time. */
const PCP_BATCH = 16;
const PCP_HIGH = 6 * PCP_BATCH;
const WAIT_TABLE_BITS = 6;

export class Zone {
  readonly addr: number;
  readonly s: ViewOf<typeof zone_struct>;
  readonly index: number;
  readonly name: string;
  readonly lock: Spinlock;
  readonly lruLock: Spinlock;
  readonly startPfn: number;
  readonly spannedPages: number;
  /** Addresses of active_list and inactive_list. */
  readonly activeList: number;
  readonly inactiveList: number;
  private readonly freeAreas: number[] = [];
  private readonly maps: number[] = [];
  /** Hot list of each CPU. */
  readonly pcp: ViewOf<typeof per_cpu_pages>[] = [];
  readonly pcpLists: number[] = [];
  readonly waitTable: WaitQueue[] = [];

  /**
   * @param mapsAt where the buddy bitmaps go: `Zone.mapBytes` bytes of zeroed memory, flat or not
   */
  constructor(addr: number, index: number, name: string, startPfn: number, spannedPages: number, mapsAt: number) {
    this.addr = addr;
    this.index = index;
    this.name = name;
    this.startPfn = startPfn;
    this.spannedPages = spannedPages;
    const k = K;
    const s = (this.s = k.view(zone_struct, addr));
    this.lock = new Spinlock(s.lock.addr, `zone[${name}].lock`);
    this.lruLock = new Spinlock(s.lru_lock.addr, `zone[${name}].lru_lock`);
    this.activeList = addr + k.offsetOf(zone_struct, "active_list");
    this.inactiveList = addr + k.offsetOf(zone_struct, "inactive_list");
    INIT_LIST_HEAD(this.activeList);
    INIT_LIST_HEAD(this.inactiveList);
    const areaBytes = k.sizeOf(free_area);
    let map = mapsAt;
    for (let order = 0; order < MAX_ORDER; order++) {
      const area = s.free_area + order * areaBytes;
      INIT_LIST_HEAD(area);
      this.freeAreas.push(area);
      this.maps.push(map);
      pokePtr(area + k.offsetOf(free_area, "map"), order < MAX_ORDER - 1 ? map : 0);
      map += mapBytesOf(spannedPages, order);
    }
    s.zone_start_pfn = startPfn;
    s.spanned_pages = spannedPages;
    s.name = kernelString(name);
    const setBytes = k.sizeOf(per_cpu_pageset);
    for (const c of k.machine.cpus) {
      const pcp = k.view(per_cpu_pages, s.pageset + c.id * setBytes);
      pcp.low = 0;
      pcp.high = PCP_HIGH;
      pcp.batch = PCP_BATCH;
      const list = pcp.addr + k.offsetOf(per_cpu_pages, "list");
      INIT_LIST_HEAD(list);
      this.pcp.push(pcp);
      this.pcpLists.push(list);
    }
    this.makeWaitTable();
  }

  private makeWaitTable(): void {
    const bytes = K.sizeOf(wait_queue_head_t);
    const size = 1 << WAIT_TABLE_BITS;
    const table = K.bootmem(bytes * size);
    for (let i = 0; i < size; i++) {
      this.waitTable.push(new WaitQueue(table + i * bytes, `zone[${this.name}].wait_table[${i}]`));
    }
    this.s.wait_table = table;
    this.s.wait_table_size = size;
    this.s.wait_table_bits = WAIT_TABLE_BITS;
  }

  /** Bytes that the bitmaps of a zone need. */
  static mapBytes(spannedPages: number): number {
    let bytes = 0;
    for (let order = 0; order < MAX_ORDER; order++) bytes += mapBytesOf(spannedPages, order);
    return bytes;
  }

  get freePages(): number {
    return this.s.free_pages;
  }

  /** The queue on which tasks wait for this page. */
  waitQueue(page: number): WaitQueue {
    const hash = Math.imul(page_to_pfn(page), 0x9e370001) >>> (32 - WAIT_TABLE_BITS);
    return this.waitTable[hash]!;
  }

  /** Flips the bit of the pair that a block belongs to. Returns what it was. */
  private change(index: number, order: number): number {
    const pair = Math.floor(index / 2 ** (order + 1));
    const at = this.maps[order]! + (pair >>> 5) * 4;
    const word = far_peek32(at);
    far_store32(at, word ^ (1 << (pair & 31)));
    return (word >>> (pair & 31)) & 1;
  }

  /** Takes a block of 2^order pages off the buddy lists; 0 when there is none. Locks: zone.lock (boot: none). */
  rmqueue(order: number): number {
    for (let at = order; at < MAX_ORDER; at++) {
      const area = this.freeAreas[at]!;
      if (page_list_empty(area)) continue;
      const page = page_of_lru(page_list_next(area));
      page_list_del(page_lru(page));
      const index = page_to_pfn(page) - this.startPfn;
      if (at < MAX_ORDER - 1) this.change(index, at);
      this.s.free_pages = this.s.free_pages - 2 ** order;
      return this.expand(page, index, order, at);
    }
    return 0;
  }

  /** Halves a block down to the order that is wanted; the upper halves go back, so that pages come in ascending order. */
  private expand(page: number, index: number, low: number, high: number): number {
    for (let order = high - 1; order >= low; order--) {
      page_list_add(page_lru(pfn_to_page(this.startPfn + index + 2 ** order)), this.freeAreas[order]!);
      this.change(index, order);
    }
    return page;
  }

  /** Gives a block back, merging it with its buddy as long as that is free too. Locks: zone.lock (boot: none). */
  free(page: number, order: number): void {
    let index = page_to_pfn(page) - this.startPfn;
    let at = order;
    this.s.free_pages = this.s.free_pages + 2 ** order;
    for (; at < MAX_ORDER - 1; at++) {
      // The bit was 0: the buddy is in use (or beyond the zone), so the block stays as it is.
      if (this.change(index, at) === 0) break;
      const buddy = index % 2 ** (at + 1) === 0 ? index + 2 ** at : index - 2 ** at;
      page_list_del(page_lru(pfn_to_page(this.startPfn + buddy)));
      index = Math.min(index, buddy);
    }
    page_list_add(page_lru(pfn_to_page(this.startPfn + index)), this.freeAreas[at]!);
  }

  /** Boot: hands the frames [start, end) to the zone in blocks as large as their alignment allows. */
  addRange(start: number, end: number): void {
    let pfn = start;
    while (pfn < end) {
      const index = pfn - this.startPfn;
      let order = 0;
      while (order < MAX_ORDER - 1 && index % 2 ** (order + 1) === 0 && pfn + 2 ** (order + 1) <= end) order++;
      this.free(pfn_to_page(pfn), order);
      this.s.present_pages = this.s.present_pages + 2 ** order;
      pfn += 2 ** order;
    }
  }

  /** Takes the free frames of [start, end) out for good: memory that somebody else looks after. Boot. Returns how many. */
  reserveRange(start: number, end: number): number {
    let taken = 0;
    for (let order = MAX_ORDER - 1; order >= 0; order--) {
      for (const pfn of this.freeBlocks(order)) {
        const blockEnd = pfn + 2 ** order;
        if (blockEnd <= start || pfn >= end) continue;
        page_list_del(page_lru(pfn_to_page(pfn)));
        if (order < MAX_ORDER - 1) this.change(pfn - this.startPfn, order);
        this.s.free_pages = this.s.free_pages - 2 ** order;
        this.s.present_pages = this.s.present_pages - 2 ** order;
        this.addRange(pfn, Math.min(start, blockEnd));
        this.addRange(Math.max(end, pfn), blockEnd);
        taken += Math.min(end, blockEnd) - Math.max(start, pfn);
      }
    }
    return taken;
  }

  /** Marks a page as handed out: count 1, its zone, nothing else. */
  prep(page: number): void {
    set_page_flags(page, (this.index << ZONE_SHIFT) >>> 0);
    set_page_private(page, 0);
  }

  /** Blocks on the buddy list of an order, walked in RAM: for checks. */
  freeBlocks(order: number): number[] {
    const blocks: number[] = [];
    const head = this.freeAreas[order]!;
    for (let at = page_list_next(head); at !== head && blocks.length < 1 << 22; at = page_list_next(at)) {
      blocks.push(page_to_pfn(page_of_lru(at)));
    }
    return blocks;
  }
}

/** A bit per pair of blocks, in whole words. */
const mapBytesOf = (spannedPages: number, order: number): number =>
  order === MAX_ORDER - 1 ? 0 : Math.ceil((Math.ceil(spannedPages / 2 ** (order + 1)) + 1) / 64) * 8;
