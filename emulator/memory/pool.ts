// One slab of page frames, shared by RAM, disks and in-memory files, so that a page can move between them by reference.
//
// The slab is a WebAssembly.Memory: untouched pages cost nothing, JS sees it through typed arrays, and SIMD kernels
// (zero test, compare, signatures) work on it in place. A slot is a page frame's number in the slab. The first
// `flatPages` slots are the flat window of RAM: physical address == slab offset there. They are never shared.

import { SlotTables } from "./slot-tables.ts";

/** Bytes in a page frame. Page frames are 4 KiB on every architecture; a 16 KiB kernel page is four of them. */
export const FRAME_SIZE = 4096;
export const FRAME_SHIFT = 12;
/** `address & FRAME_MASK` is the offset in the frame for any address up to 2^53; `%` on such a double is 10 times slower. */
export const FRAME_MASK = FRAME_SIZE - 1;

/** The slot that means "a hole: reads as zeroes". (Slot 0 belongs to the flat window and is never handed out.) */
export const HOLE = 0;

/** The most a slab can hold: a Uint8Array, and a WebAssembly.Memory, stop at 4 GiB. */
const MAX_SLOTS = 65536 * 16;

export class PagePool {
  readonly memory: WebAssembly.Memory;
  readonly u8: Uint8Array;
  readonly u16: Uint16Array;
  readonly u32: Uint32Array;
  readonly i32: Int32Array;
  readonly f64: Float64Array;
  readonly view: DataView;
  readonly flatPages: number;
  /** The tables of the stores whose pages lie in this slab. */
  readonly tables = new SlotTables();
  /** How many owners each slot has; 0 is free. Flat slots count as owned once, for ever. */
  private readonly owners: Uint16Array;
  private readonly freeSlots: Int32Array;
  private freeTop = 0;
  private nextFresh: number;
  private readonly slotCount: number;
  /** Where the lasting frames begin: they are taken from the slab's end. */
  private firstLasting: number;
  /** Stands for the lasting frames: another object when they have been given up, so that who remembers them by it forgets them. */
  lasting: object = {};
  /** The largest number of slots in use at one time since the last reset. */
  peakSlots = 0;
  private usedSlots = 0;

  /** @param flatBytes size of the flat window; @param capacityBytes all of it, at most 4 GiB (only touched pages cost memory). */
  constructor(flatBytes: number, capacityBytes = MAX_SLOTS * FRAME_SIZE) {
    const wasmPages = Math.min(65536, Math.ceil(capacityBytes / 65536));
    this.slotCount = wasmPages * 16;
    this.flatPages = Math.max(1, Math.ceil(flatBytes / FRAME_SIZE));
    if (this.flatPages >= this.slotCount) {
      throw new Error(`page pool: a flat window of ${flatBytes} bytes does not fit into ${capacityBytes} bytes`);
    }
    this.memory = new WebAssembly.Memory({ initial: wasmPages, maximum: wasmPages });
    const buffer = this.memory.buffer;
    this.u8 = new Uint8Array(buffer);
    this.u16 = new Uint16Array(buffer);
    this.u32 = new Uint32Array(buffer);
    this.i32 = new Int32Array(buffer);
    this.f64 = new Float64Array(buffer);
    this.view = new DataView(buffer);
    this.owners = new Uint16Array(this.slotCount);
    this.freeSlots = new Int32Array(this.slotCount);
    this.nextFresh = this.flatPages;
    this.firstLasting = this.slotCount;
  }

  /** A frame of our own with undefined contents. Throws when the slab is full. */
  allocate(): number {
    let slot: number;
    if (this.freeTop > 0) slot = this.freeSlots[--this.freeTop]!;
    else {
      slot = this.nextFresh;
      if (slot >= this.firstLasting) this.throwFull();
      this.nextFresh = slot + 1;
    }
    this.owners[slot] = 1;
    if (++this.usedSlots > this.peakSlots) this.peakSlots = this.usedSlots;
    return slot;
  }

  /**
   * The first of `count` frames in a row that outlast `reset`, with undefined contents: for what is the same on each machine that
   * the slab serves, to be remembered by `lasting`. The slab stays their owner, so a machine that writes to one gets a copy.
   * Throws when the slab is full.
   */
  allocateLasting(count: number): number {
    const first = this.firstLasting - count;
    if (first < this.nextFresh) this.throwFull();
    this.owners.fill(1, first, this.firstLasting);
    return (this.firstLasting = first);
  }

  private throwFull(): never {
    throw new Error(
      `page pool: all ${this.slotCount} page frames (${(this.slotCount * FRAME_SIZE) / 2 ** 20} MiB) are in use; touch less memory per machine`,
    );
  }

  /** A frame of our own, all zeroes. */
  allocateZeroed(): number {
    const slot = this.allocate();
    this.u8.fill(0, slot << FRAME_SHIFT, (slot + 1) * FRAME_SIZE);
    return slot;
  }

  /** One more owner of the frame. HOLE may be shared freely. Returns the slot. */
  share(slot: number): number {
    if (slot !== HOLE) {
      if (this.owners[slot] === 0xffff) return this.copyOf(slot);
      this.owners[slot]!++;
    }
    return slot;
  }

  /** One owner less; the last one frees the frame. */
  release(slot: number): void {
    if (slot === HOLE) return;
    if (--this.owners[slot]! === 0) {
      this.freeSlots[this.freeTop++] = slot;
      this.usedSlots--;
    }
  }

  isShared(slot: number): boolean {
    return this.owners[slot]! > 1;
  }

  /** A fresh frame with the same contents. */
  copyOf(slot: number): number {
    const copy = this.allocate();
    this.copy(slot, copy);
    return copy;
  }

  /** Overwrites the frame `to` with the contents of `from`. */
  copy(from: number, to: number): void {
    this.u8.copyWithin(to * FRAME_SIZE, from * FRAME_SIZE, (from + 1) * FRAME_SIZE);
  }

  /** The bytes of a frame, as a view on the slab. */
  bytes(slot: number): Uint8Array {
    return this.u8.subarray(slot * FRAME_SIZE, slot * FRAME_SIZE + FRAME_SIZE);
  }

  /** True when the frame holds only zeroes. */
  isZero(slot: number): boolean {
    return slot === HOLE || this.isZeroAt(slot * FRAME_SIZE);
  }

  /** True when the 4 KiB at a slab offset, a multiple of 16, are zeroes: also for the flat window's first page. */
  isZeroAt(offset: number): boolean {
    const { i32 } = this;
    const start = offset >>> 2;
    for (let i = start, end = start + FRAME_SIZE / 4; i < end; i += 4) {
      if ((i32[i]! | i32[i + 1]! | i32[i + 2]! | i32[i + 3]!) !== 0) return false;
    }
    return true;
  }

  /**
   * Forgets every owner but itself and zeroes the flat window: the slab is as new for the next machine, without new page faults.
   * Its stores are dead. The lasting frames are given up when they are more than `lastingFrames`.
   */
  reset(lastingFrames = Infinity): void {
    if (this.slotCount - this.firstLasting > lastingFrames) {
      this.owners.fill(0, this.firstLasting);
      this.firstLasting = this.slotCount;
      this.lasting = {};
    }
    this.tables.takeBack();
    this.u8.fill(0, 0, this.flatPages * FRAME_SIZE);
    this.owners.fill(0, 0, this.nextFresh);
    this.owners.fill(1, this.firstLasting);
    this.freeTop = 0;
    this.nextFresh = this.flatPages;
    this.usedSlots = 0;
    this.peakSlots = 0;
  }
}
