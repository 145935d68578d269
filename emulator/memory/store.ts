// A sparse, paged byte store: the pages of a disk, of RAM above the flat window, or of a file kept in memory.
import { FRAME_MASK, FRAME_SHIFT, FRAME_SIZE, HOLE, type PagePool } from "./pool.ts";
import type { SlotTable } from "./slot-tables.ts";

/** What a page held before anybody wrote it: a raw file behind a disk, or contents that can be computed. */
export interface Backing {
  /** Fills `into` (one frame, arbitrary contents on entry) with page `page`. Returns false when that page is a hole. */
  readPage(page: number, into: Uint8Array): boolean;
}

/** Random-access bytes with holes: an image file on the host, a partition of one, or a simulated disk's media. */
export interface ByteStore {
  readonly name: string;
  readonly sizeBytes: number;
  /** Fills `into` from `offset`; holes read as zeroes. Throws a RangeError beyond the end. */
  read(offset: number, into: Uint8Array): void;
  /** Writes `from` at `offset`. Throws a RangeError beyond the end. */
  write(offset: number, from: Uint8Array): void;
  /** The first offset >= `offset` that may hold data (everything before it reads as zeroes), or `sizeBytes`. */
  nextData(offset: number): number;
  /** The bytes where they lie, to be read before the store is written again; undefined when they do not lie in one piece. */
  view?(offset: number, length: number): Uint8Array | undefined;
}

/** The slot of a page that still has to be read from the backing. */
const UNREAD = -1;

export class PageStore implements ByteStore {
  readonly name: string;
  readonly sizeBytes: number;
  readonly pool: PagePool;
  /** Page number -> slot, HOLE, or UNREAD. To read; writes go through the table. */
  readonly slots: Int32Array;
  private readonly table: SlotTable;
  /** What lies under the pages, the last laid on top. */
  private readonly layers: { readonly first: number; readonly end: number; readonly backing: Backing }[] = [];
  /** What an untouched page is: still in the backing that lies under the whole store, or a hole. */
  private readonly untouched: number;
  /** Whether a page may lie in a frame of its own. */
  private holdsFrames = false;

  constructor(pool: PagePool, name: string, sizeBytes: number, backing?: Backing) {
    this.pool = pool;
    this.name = name;
    this.sizeBytes = sizeBytes;
    this.table = pool.tables.take(Math.ceil(sizeBytes / FRAME_SIZE));
    this.slots = this.table.slots;
    this.untouched = backing ? UNREAD : HOLE;
    if (backing) {
      this.table.fill(UNREAD, 0, this.slots.length);
      this.layers.push({ first: 0, end: this.slots.length, backing });
    }
  }

  /** Declares pages [firstPage, firstPage+count) to hold what `backing` computes; what they held before is dropped. */
  lay(backing: Backing, firstPage: number, count: number): void {
    const end = firstPage + count;
    const { slots } = this;
    for (let page = this.holdsFrames ? firstPage : end; page < end; page++)
      if (slots[page]! > 0) this.pool.release(slots[page]!);
    this.table.fill(UNREAD, firstPage, end);
    this.layers.push({ first: firstPage, end, backing });
  }

  /** The slot that holds the page, read from the backing if need be; HOLE for zeroes. The slot is ours: share it to keep it. */
  slotOf(page: number): number {
    const slot = this.slots[page]!;
    return slot === UNREAD ? this.fetch(page) : slot;
  }

  /** True when the page is known to be a hole without reading anything. */
  isHole(page: number): boolean {
    return this.slots[page] === HOLE;
  }

  /** True when the page still lies in the backing: nobody has read or written it. */
  isUnread(page: number): boolean {
    return this.slots[page] === UNREAD;
  }

  private backingOf(page: number): Backing {
    const { layers } = this;
    for (let i = layers.length - 1; i > 0; i--)
      if (page >= layers[i]!.first && page < layers[i]!.end) return layers[i]!.backing;
    return layers[0]!.backing;
  }

  /** The first pages are the slab's flat window: each lies in the slot of its own number. (Page 0 has none to be shared by.) */
  nameFlatPages(count: number): void {
    for (let page = 1; page < count; page++) this.table.set(page, page);
  }

  private put(page: number, slot: number): number {
    this.table.set(page, slot);
    return slot;
  }

  private fetch(page: number): number {
    this.holdsFrames = true;
    const slot = this.pool.allocate();
    if (this.backingOf(page).readPage(page, this.pool.bytes(slot))) return this.put(page, slot);
    this.pool.release(slot);
    return this.put(page, HOLE);
  }

  /** Fills a frame of the slab with the page without keeping it here: for a read of computed contents that passes by. */
  readInto(page: number, slot: number): void {
    const { u8 } = this.pool;
    const to = slot * FRAME_SIZE;
    const from = this.slots[page]!;
    if (from > 0) u8.copyWithin(to, from * FRAME_SIZE, (from + 1) * FRAME_SIZE);
    else if (from === HOLE || !this.backingOf(page).readPage(page, u8.subarray(to, to + FRAME_SIZE))) {
      u8.fill(0, to, to + FRAME_SIZE);
    }
  }

  /** The page becomes `slot` by reference: one more owner for it, one less for what was here. */
  setShared(page: number, slot: number): void {
    const { pool, slots } = this;
    const old = slots[page]!;
    this.holdsFrames = true;
    this.table.set(page, pool.share(slot));
    if (old > 0) pool.release(old);
  }

  /** A slot that only this store owns, for writing into; `keep` false promises that the whole page will be overwritten. */
  ownedSlot(page: number, keep = true): number {
    const { pool, slots } = this;
    let slot = slots[page]!;
    if (slot > 0 && !pool.isShared(slot)) return slot;
    this.holdsFrames = true;
    if (!keep) {
      const fresh = pool.allocate();
      if (slot > 0) pool.release(slot);
      return this.put(page, fresh);
    }
    if (slot === UNREAD) {
      slot = this.fetch(page);
      if (slot !== HOLE) return slot;
    }
    if (slot === HOLE) return this.put(page, pool.allocateZeroed());
    const copy = pool.copyOf(slot);
    pool.release(slot);
    return this.put(page, copy);
  }

  read(offset: number, into: Uint8Array): void {
    this.check(offset, into.length);
    const { u8 } = this.pool;
    for (let done = 0; done < into.length;) {
      const page = Math.floor((offset + done) / FRAME_SIZE);
      const at = (offset + done) & FRAME_MASK;
      const length = Math.min(FRAME_SIZE - at, into.length - done);
      const slot = this.slotOf(page);
      if (slot === HOLE) into.fill(0, done, done + length);
      else into.set(u8.subarray(slot * FRAME_SIZE + at, slot * FRAME_SIZE + at + length), done);
      done += length;
    }
  }

  write(offset: number, from: Uint8Array): void {
    this.check(offset, from.length);
    const { u8 } = this.pool;
    for (let done = 0; done < from.length;) {
      const page = Math.floor((offset + done) / FRAME_SIZE);
      const at = (offset + done) & FRAME_MASK;
      const length = Math.min(FRAME_SIZE - at, from.length - done);
      const slot = this.ownedSlot(page, length !== FRAME_SIZE);
      u8.set(from.subarray(done, done + length), slot * FRAME_SIZE + at);
      done += length;
    }
  }

  view(offset: number, length: number): Uint8Array | undefined {
    this.check(offset, length);
    const { slots, pool } = this;
    const first = Math.floor(offset / FRAME_SIZE);
    const slot = slots[first]!;
    const last = Math.floor((offset + length - 1) / FRAME_SIZE);
    for (let page = first; page <= last; page++)
      if (slots[page]! <= 0 || slots[page] !== slot + page - first) return undefined;
    const at = slot * FRAME_SIZE + (offset & FRAME_MASK);
    return pool.u8.subarray(at, at + length);
  }

  nextData(offset: number): number {
    const { slots } = this;
    let page = Math.floor(offset / FRAME_SIZE);
    if (page < slots.length && slots[page] !== HOLE) return offset;
    while (page < slots.length && slots[page] === HOLE) page++;
    return Math.min(this.sizeBytes, page * FRAME_SIZE);
  }

  private check(offset: number, length: number): void {
    if (offset < 0 || offset + length > this.sizeBytes) {
      throw new RangeError(`${this.name}: ${length} bytes at ${offset} lie beyond its end (${this.sizeBytes} bytes)`);
    }
  }

  /** The first `count` pages become holes: for a store without a backing in which nothing else has been written. */
  clearFirst(count: number): void {
    const { slots } = this;
    for (let page = 0; page < count; page++) {
      if (slots[page]! > 0) this.pool.release(slots[page]!);
      slots[page] = HOLE;
    }
  }

  /** Gives every page back to the pool: the store is as it was made, what was laid is gone. */
  clear(): void {
    const { slots } = this;
    // By number: an iterator costs more than what it passes over, and a disk's buffer is emptied with every command.
    if (this.holdsFrames) for (let i = 0; i < slots.length; i++) if (slots[i]! > 0) this.pool.release(slots[i]!);
    this.holdsFrames = false;
    if (this.untouched === HOLE) this.table.clear();
    else this.table.fill(UNREAD, 0, this.slots.length);
    const layers = this.untouched === HOLE ? 0 : 1;
    if (this.layers.length > layers) this.layers.length = layers;
  }
}

/** Byte offset of a page. */
export const offsetOfPage = (page: number): number => page * FRAME_SIZE;
/** The page that holds a byte. */
export const pageOfOffset = (offset: number): number =>
  offset < 2 ** 31 ? offset >>> FRAME_SHIFT : Math.floor(offset / FRAME_SIZE);
