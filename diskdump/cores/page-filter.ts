// Which pages need not be saved: the kinds that makedumpfile's dump level names, told from the dead kernel's own mem_map.
import { PG_lru, PG_private } from "../../kernel-sim/mm/page.ts";
import { decodeBitmap, encodeBitmap, type PageRange } from "../format/bitmap.ts";
import { UsageError } from "../userspace/errors.ts";
import type { KernelMemory } from "./kernel-memory.ts";

/** Bits of a dump level (makedumpfile(8), -d). */
export const FILTER = {
  ZERO: 1,
  /** Page cache without private data. */
  CACHE: 2,
  /** Page cache with and without private data. */
  CACHE_PRIVATE: 4,
  /** Anonymous pages of processes. */
  USER: 8,
  /** What is on the allocator's free lists. */
  FREE: 16,
} as const;

/** include/linux/page-flags.h of 2.6.9; the kernel here has no swap cache, another 2.6.9 has. */
export const PG_swapcache = 1 << 16;
/** include/linux/mm.h of 2.6.9: the low bit of page.mapping. */
const PAGE_MAPPING_ANON = 1;

export interface PageFilter {
  /** Those of `saved` that are of no kind that `level` leaves out. Zero pages are not looked for: that takes their contents. */
  keep(saved: readonly PageRange[], level: number): PageRange[];
  /** page->flags. 0 for a frame whose struct page is not in the core. */
  flagsOf(pfn: number): bigint;
  /** What kept the filter from knowing everything, found by `keep`. */
  readonly remarks: readonly string[];
}

/** struct pages that are read at once. */
const ENTRIES_AT_ONCE = 512;
/** Most list entries in a zone: more than any machine has blocks. */
const MOST_NODES = 64;

export class MemMapFilter implements PageFilter {
  readonly remarks: string[] = [];
  private readonly memory: KernelMemory;
  private readonly memMap: bigint;
  private readonly entryBytes: number;
  private readonly entries: number;
  private readonly at: { flags: number; mapping: number; lru: number };
  private chunkFirst = -1;
  private chunk: DataView | undefined;

  /** Throws a UsageError when kernel and core do not have what it takes. */
  constructor(memory: KernelMemory) {
    const { image, core } = memory;
    this.memory = memory;
    this.memMap = memory.word(image.needSymbol("mem_map"), "mem_map");
    this.entryBytes = image.needStruct("page").size;
    this.at = {
      flags: image.needOffset("page", "flags"),
      mapping: image.needOffset("page", "mapping"),
      lru: image.needOffset("page", "lru"),
    };
    this.entries = Number(memory.word(image.needSymbol("max_mapnr"), "max_mapnr"));
    // A mem_map that counts smaller frames than the core has pages says nothing about a page.
    if (this.entries > core.facts.maxMapnr + (core.facts.maxMapnr >>> 1)) {
      throw new UsageError(
        `${core.name}: its mem_map has ${this.entries} frames for ${core.facts.maxMapnr} pages of ${core.facts.pageSize} bytes; pages cannot be filtered by kind`,
      );
    }
  }

  /** The struct page of a frame in a chunk of its neighbours; undefined when it is not in the core. */
  private entry(pfn: number): { view: DataView; at: number } | undefined {
    if (pfn >= this.entries) return undefined;
    const first = pfn - (pfn % ENTRIES_AT_ONCE);
    if (first !== this.chunkFirst) {
      const count = Math.min(ENTRIES_AT_ONCE, this.entries - first);
      const bytes = this.memory.tryBytes(this.memMap + BigInt(first * this.entryBytes), count * this.entryBytes);
      this.chunkFirst = first;
      this.chunk = bytes && new DataView(bytes.buffer);
    }
    return this.chunk && { view: this.chunk, at: (pfn - first) * this.entryBytes };
  }

  flagsOf(pfn: number): bigint {
    const entry = this.entry(pfn);
    if (!entry) return 0n;
    const { wordBytes, littleEndian } = this.memory.image.model;
    const at = entry.at + this.at.flags;
    return wordBytes === 8 ? entry.view.getBigUint64(at, littleEndian) : BigInt(entry.view.getUint32(at, littleEndian));
  }

  keep(saved: readonly PageRange[], level: number): PageRange[] {
    const { maxMapnr } = this.memory.core.facts;
    this.remarks.length = 0;
    const bits = encodeBitmap(saved, Math.ceil(maxMapnr / 8));
    if ((level & (FILTER.CACHE | FILTER.CACHE_PRIVATE | FILTER.USER)) !== 0) this.dropByFlags(saved, level, bits);
    if ((level & FILTER.FREE) !== 0) this.dropFree(bits, maxMapnr);
    return decodeBitmap(bits, maxMapnr);
  }

  private dropByFlags(saved: readonly PageRange[], level: number, bits: Uint8Array): void {
    const { littleEndian, wordBytes } = this.memory.image.model;
    // Everything of interest is in the low words.
    const low = littleEndian ? 0 : wordBytes - 4;
    const flagsAt = this.at.flags + low;
    const mappingAt = this.at.mapping + low;
    let unknown = 0;
    for (const { first, count } of saved) {
      for (let pfn = first; pfn < first + count; pfn++) {
        const entry = this.entry(pfn);
        if (!entry) {
          unknown++;
          continue;
        }
        const flags = entry.view.getUint32(entry.at + flagsAt, littleEndian);
        const anonymous = (entry.view.getUint32(entry.at + mappingAt, littleEndian) & PAGE_MAPPING_ANON) !== 0;
        const cache = (flags & (PG_lru | PG_swapcache)) !== 0 && !anonymous;
        const drop =
          (cache && (level & FILTER.CACHE_PRIVATE) !== 0) ||
          (cache && (level & FILTER.CACHE) !== 0 && (flags & PG_private) === 0) ||
          (anonymous && (level & FILTER.USER) !== 0);
        if (drop) bits[pfn >>> 3]! &= ~(1 << (pfn & 7));
      }
    }
    if (unknown > 0) this.remarks.push(`${unknown} pages have no struct page in the core: they are kept`);
  }

  private dropFree(bits: Uint8Array, maxMapnr: number): void {
    const { memory } = this;
    const { image } = memory;
    const zoneBytes = image.needStruct("zone").size;
    const nodeShape = image.needStruct("pglist_data");
    const zonesAt = image.needOffset("pglist_data", "node_zones");
    const nextAt = image.needOffset("pglist_data", "pgdat_next");
    const zones = nodeShape.lengths.get("node_zones") ?? 0;
    let node = memory.word(image.needSymbol("pgdat_list"), "pgdat_list");
    for (let i = 0; node !== 0n && i < MOST_NODES; i++) {
      for (let zone = 0; zone < zones; zone++) {
        this.dropFreeOfZone(node + BigInt(zonesAt + zone * zoneBytes), bits, maxMapnr);
      }
      node = memory.word(node + BigInt(nextAt), "pglist_data.pgdat_next");
    }
  }

  /** Walks the buddy lists of a zone. A list that does not hold together - the crash was amid a change - keeps its zone's pages. */
  private dropFreeOfZone(zone: bigint, bits: Uint8Array, maxMapnr: number): void {
    const { memory, entryBytes } = this;
    const { image } = memory;
    const areaAt = image.needOffset("zone", "free_area");
    const areaBytes = image.needStruct("free_area").size;
    const orders = image.needStruct("zone").lengths.get("free_area") ?? 0;
    const listAt = image.needOffset("free_area", "free_list");
    const blocks: PageRange[] = [];
    const taken = new Uint8Array(bits.length);
    for (let order = 0; order < orders; order++) {
      const head = zone + BigInt(areaAt + order * areaBytes + listAt);
      let node = memory.word(head, "free_area.free_list");
      // An empty zone that boot never filled has null lists.
      while (node !== head && node !== 0n) {
        const distance = node - BigInt(this.at.lru) - this.memMap;
        const pfn = Number(distance / BigInt(entryBytes));
        const fits = distance >= 0n && distance % BigInt(entryBytes) === 0n && pfn + 2 ** order <= this.entries;
        const seen = fits && (taken[pfn >>> 3]! & (1 << (pfn & 7))) !== 0;
        if (!fits || seen || pfn + 2 ** order > maxMapnr) {
          const name = this.zoneName(zone);
          this.remarks.push(`the free lists of zone ${name} do not hold together: its free pages are kept`);
          return;
        }
        taken[pfn >>> 3]! |= 1 << (pfn & 7);
        blocks.push({ first: pfn, count: 2 ** order });
        node = memory.word(node, "page.lru");
      }
    }
    for (const { first, count } of blocks) {
      for (let pfn = first; pfn < first + count; pfn++) bits[pfn >>> 3]! &= ~(1 << (pfn & 7));
    }
  }

  private zoneName(zone: bigint): string {
    const at = this.memory.image.struct("zone")?.offsets.get("name");
    if (at === undefined) return "?";
    const pointer = this.memory.word(zone + BigInt(at), "zone.name");
    return pointer === 0n ? "?" : this.memory.text(pointer, 16, "zone.name");
  }
}
