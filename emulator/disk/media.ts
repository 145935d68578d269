// A disk's platters, and what losing power does to them.
//
// Contents are a sparse PageStore: holes are zeroes, untouched pages may lie in a backing (a raw image on the host),
// and whole pages come and go by reference. A write is applied to the store the moment its data arrives, also when it
// is only in the write cache: reads see it there anyway, and a dump of 8 GiB cannot afford to keep it twice.
//
// A power cut must take back what was not yet destaged. Only a scenario that cuts power needs that, so it is an option
// (`trackVolatile`): each cached write then first puts the page frames it replaces into an undo log, by reference; an
// extent that reaches the platters drops its part of the log. The log is bounded by the cache. Without the option a
// power cut loses nothing and only reports how much was at stake.
import type { PhysicalMemory } from "../memory/memory.ts";
import { FRAME_SIZE, HOLE, type PagePool } from "../memory/pool.ts";
import { PageStore, pageOfOffset, type Backing } from "../memory/store.ts";
import { SECTOR_SIZE } from "./timing.ts";

export interface MediaOptions {
  readonly name: string;
  /** A multiple of 512. */
  readonly sizeBytes: number;
  readonly backing?: Backing;
  /** Remember what a power cut would lose. */
  readonly trackVolatile?: boolean;
}

export class DiskMedia {
  readonly name: string;
  readonly pool: PagePool;
  readonly store: PageStore;
  readonly sectors: number;
  readonly trackVolatile: boolean;
  // The undo log, oldest first: plain numbers, used as a queue from `undoHead`.
  private undoPages: number[] = [];
  private undoSlots: number[] = [];
  private undoSequences: number[] = [];
  private undoHead = 0;

  /** Throws when the size is no positive multiple of a sector. */
  constructor(pool: PagePool, options: MediaOptions) {
    const { name, sizeBytes } = options;
    if (!(sizeBytes > 0) || sizeBytes % SECTOR_SIZE !== 0) {
      throw new Error(`${name}: a size of ${sizeBytes} bytes is no positive multiple of ${SECTOR_SIZE}`);
    }
    this.name = name;
    this.pool = pool;
    this.sectors = sizeBytes / SECTOR_SIZE;
    this.store = new PageStore(pool, name, sizeBytes, options.backing);
    this.trackVolatile = options.trackVolatile ?? false;
  }

  /** Undo log entries: page frames kept for a power cut. */
  get undoEntries(): number {
    return this.undoPages.length - this.undoHead;
  }

  /** RAM -> media. `sequence` is the cache extent it belongs to, or -1 when the data goes straight to the platters. */
  write(memory: PhysicalMemory, address: number, offset: number, length: number, sequence: number): void {
    if (this.trackVolatile && sequence >= 0) this.remember(offset, length, sequence);
    memory.copyToStore(address, this.store, offset, length);
    if (sequence < 0 && this.undoEntries > 0) this.amendUndo(offset, length);
  }

  /** Media -> RAM. */
  read(memory: PhysicalMemory, address: number, offset: number, length: number): void {
    memory.copyFromStore(this.store, offset, address, length);
  }

  private remember(offset: number, length: number, sequence: number): void {
    const last = pageOfOffset(offset + length - 1);
    for (let page = pageOfOffset(offset); page <= last; page++) {
      this.undoPages.push(page);
      this.undoSlots.push(this.pool.share(this.store.slotOf(page)));
      this.undoSequences.push(sequence);
    }
  }

  /** A write past the cache must survive a power cut that takes back an older cached write of the same page. */
  private amendUndo(offset: number, length: number): void {
    const { undoPages, undoSlots, pool, store } = this;
    for (let i = this.undoHead; i < undoPages.length; i++) {
      const start = undoPages[i]! * FRAME_SIZE;
      const from = Math.max(start, offset);
      const to = Math.min(start + FRAME_SIZE, offset + length);
      if (from >= to) continue;
      const before = undoSlots[i]!;
      const amended = before === HOLE ? pool.allocateZeroed() : pool.copyOf(before);
      const now = store.slotOf(undoPages[i]!);
      const bytes = pool.bytes(amended);
      if (now === HOLE) bytes.fill(0, from - start, to - start);
      else bytes.set(pool.bytes(now).subarray(from - start, to - start), from - start);
      pool.release(before);
      undoSlots[i] = amended;
    }
  }

  /** The extents before `sequence` are on the platters: no power cut takes them back. */
  settle(sequence: number): void {
    const { undoSequences, undoSlots, undoPages } = this;
    let head = this.undoHead;
    while (head < undoSequences.length && undoSequences[head]! < sequence) this.pool.release(undoSlots[head++]!);
    this.undoHead = head;
    if (head > 4096 && head * 2 > undoPages.length) {
      undoPages.splice(0, head);
      undoSlots.splice(0, head);
      undoSequences.splice(0, head);
      this.undoHead = 0;
    }
  }

  /**
   * Takes back every cached write from extent `sequence` on, except the first `keptSectors` sectors from `keptFrom` on,
   * which the head had just written: sectors are atomic, extents are not. Without `trackVolatile` it does nothing.
   */
  powerCut(sequence: number, keptFrom = 0, keptSectors = 0): void {
    this.settle(sequence);
    const { undoPages, undoSlots, undoSequences, pool, store } = this;
    const keptEnd = (keptFrom + keptSectors) * SECTOR_SIZE;
    const scratch = new Uint8Array(FRAME_SIZE);
    const edge = new Uint8Array(SECTOR_SIZE);
    for (let i = undoPages.length - 1; i >= this.undoHead; i--) {
      const page = undoPages[i]!;
      const start = page * FRAME_SIZE;
      const from = Math.max(start, keptFrom * SECTOR_SIZE);
      const to = Math.min(start + FRAME_SIZE, keptEnd);
      if (undoSequences[i] === sequence && from < to) {
        // What the head wrote stays; it lies between two parts that go back to what they were.
        const now = store.slotOf(page);
        if (now === HOLE) scratch.fill(0);
        else scratch.set(pool.bytes(now));
        store.setShared(page, undoSlots[i]!);
        for (let at = from; at < to; at += SECTOR_SIZE) {
          edge.set(scratch.subarray(at - start, at - start + SECTOR_SIZE));
          store.write(at, edge);
        }
      } else store.setShared(page, undoSlots[i]!);
      pool.release(undoSlots[i]!);
    }
    undoPages.length = undoSlots.length = undoSequences.length = 0;
    this.undoHead = 0;
  }
}
