// RAM as it was when the dump began, kept by reference: what the oracle holds the vmcore against.
import { FRAME_SIZE, HOLE } from "../../emulator/memory/pool.ts";
import type { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PageSimd } from "../../emulator/memory/simd.ts";

const ZEROES = new Uint8Array(FRAME_SIZE);

export class RamSnapshot {
  readonly memory: PhysicalMemory;
  /** Slot of each page at the freeze; a share of each is ours, so that writes go elsewhere. */
  private readonly slots: Int32Array;
  private readonly simd: PageSimd;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
    const { pool } = memory;
    this.simd = new PageSimd(pool);
    const table = pool.tables.take(memory.pages.slots.length);
    table.copy(memory.pages.slots);
    this.slots = table.slots;
    const flatPages = memory.flatBytes / FRAME_SIZE;
    // Flat pages cannot be shared: they are copied, zero pages excepted.
    for (let page = 0; page < flatPages; page++) {
      this.slots[page] =
        page === 0 || this.simd.isZero(page) ? (page === 0 ? this.copyZero() : HOLE) : pool.copyOf(page);
    }
    for (let page = flatPages; page < this.slots.length; page++)
      if (this.slots[page]! > 0) pool.share(this.slots[page]!);
  }

  /** Slot 0 of the slab is the flat window's first page, which HOLE would name: it is kept like any other page. */
  private copyZero(): number {
    return this.simd.isZero(0) ? HOLE : this.memory.pool.copyOf(0);
  }

  /** The slot that held `page` at the freeze; HOLE for zeroes. */
  slotOf(page: number): number {
    const slot = this.slots[page]!;
    // A page that nobody had read then still lay in its backing; nothing can have changed it before it was read.
    return slot >= 0 ? slot : this.memory.pages.slotOf(page);
  }

  /** How many of `count` pages from `page` on, counted from the first, lie in `slots` (from `at` on) as the very frames that held them. */
  sameFrames(page: number, slots: Int32Array, at: number, count: number): number {
    const mine = this.slots;
    let same = 0;
    while (same < count && slots[at + same] === mine[page + same] && mine[page + same]! >= 0) same++;
    return same;
  }

  /** True when RAM still holds what it held at the freeze. */
  isUntouched(page: number): boolean {
    const now = page < this.memory.flatBytes / FRAME_SIZE ? page : this.memory.pages.slotOf(page);
    return this.equal(this.slotOf(page), now, page < this.memory.flatBytes / FRAME_SIZE);
  }

  /** Compares two frames; `flat` says that `b` names a page of the flat window even when it is 0. */
  private equal(a: number, b: number, flat: boolean): boolean {
    if (a === b && !(flat && b === 0)) return true;
    if (a === HOLE) return flat || b !== HOLE ? this.simd.isZero(b) : true;
    if (b === HOLE && !flat) return this.simd.isZero(a);
    return this.simd.equal(a, b);
  }

  /** True when a frame of the slab (HOLE: zeroes) equals the page at the freeze. */
  matches(page: number, slot: number): boolean {
    return this.equal(this.slotOf(page), slot, false);
  }

  /** Index of the first differing byte, from `from` on, between a frame and the page at the freeze, or -1. */
  firstDifference(page: number, slot: number, from = 0): number {
    const { u8 } = this.memory.pool;
    const byte = (s: number, i: number): number => (s === HOLE ? 0 : u8[s * FRAME_SIZE + i]!);
    for (let i = from; i < FRAME_SIZE; i++) if (byte(this.slotOf(page), i) !== byte(slot, i)) return i;
    return -1;
  }

  /** True when `bytes`, a page frame of them, are what the page held at the freeze. */
  holds(page: number, bytes: Uint8Array): boolean {
    return Buffer.compare(this.bytesOf(page), bytes) === 0;
  }

  /** Index of the first byte in which `bytes` differ from the page at the freeze, or -1. */
  differenceIn(page: number, bytes: Uint8Array): number {
    const then = this.bytesOf(page);
    return bytes.findIndex((byte, i) => byte !== then[i]);
  }

  private bytesOf(page: number): Uint8Array {
    const slot = this.slotOf(page);
    return slot === HOLE ? ZEROES : this.memory.pool.bytes(slot);
  }

  /** True when every byte in which a frame differs from the page at the freeze lies in one of `ranges` (physical addresses). */
  differsOnlyWithin(
    page: number,
    slot: number,
    ranges: readonly { readonly start: number; readonly end: number }[],
  ): boolean {
    for (let i = this.firstDifference(page, slot); i >= 0; i = this.firstDifference(page, slot, i + 1)) {
      const address = page * FRAME_SIZE + i;
      if (!ranges.some(({ start, end }) => address >= start && address < end)) return false;
    }
    return true;
  }

  release(): void {
    for (let page = 0; page < this.slots.length; page++) {
      if (this.slots[page]! > 0) this.memory.pool.release(this.slots[page]!);
    }
  }
}
