// The tables of page stores (page number -> slot), kept from one machine to the next like the frames of the slab: a fresh
// table of some MiB costs a page fault for each 4 KiB that are written, which is more than all the writing.

/** Entries whose being written is noted together: 4 KiB of a table. */
const CHUNK_SHIFT = 10;
/** Entries of a table for which native calls cost more than they save; less than a chunk. */
const SMALL = 32;

/** A table of slots that knows where it was written. Whoever writes to `slots` notes it in `written`. */
export class SlotTable {
  readonly slots: Int32Array;
  /** Per chunk of entries, 1 when one of them may not be 0. */
  readonly written: Uint8Array;

  constructor(length: number) {
    this.slots = new Int32Array(length);
    this.written = new Uint8Array((length >>> CHUNK_SHIFT) + 1);
  }

  set(page: number, slot: number): void {
    this.written[page >>> CHUNK_SHIFT] = 1;
    this.slots[page] = slot;
  }

  /** Entries [first, end) become `value`. */
  fill(value: number, first: number, end: number): void {
    if (first >= end) return;
    this.slots.fill(value, first, end);
    this.written.fill(1, first >>> CHUNK_SHIFT, ((end - 1) >>> CHUNK_SHIFT) + 1);
  }

  /** All entries become what `slots`, a table of the same length, holds. */
  copy(slots: Int32Array): void {
    this.slots.set(slots);
    this.written.fill(1);
  }

  /** All entries become 0, at the price of those that were written. */
  clear(): void {
    const { slots, written } = this;
    if (slots.length <= SMALL) {
      // By hand: a disk's buffer is emptied with every command.
      for (let i = 0; i < slots.length; i++) slots[i] = 0;
      written[0] = 0;
      return;
    }
    for (let chunk = written.indexOf(1); chunk >= 0; chunk = written.indexOf(1, chunk + 1)) {
      slots.fill(0, chunk << CHUNK_SHIFT, (chunk + 1) << CHUNK_SHIFT);
      written[chunk] = 0;
    }
  }
}

/** Lends tables for the life of one machine. */
export class SlotTables {
  private lent: SlotTable[] = [];
  private readonly kept = new Map<number, SlotTable[]>();

  /** A table of zeroes. */
  take(length: number): SlotTable {
    const table = this.kept.get(length)?.pop() ?? new SlotTable(length);
    this.lent.push(table);
    return table;
  }

  /** Takes all tables back; those that the last machine had no use for are dropped. */
  takeBack(): void {
    const { kept, lent } = this;
    kept.clear();
    this.lent = [];
    for (const table of lent) {
      table.clear();
      const same = kept.get(table.slots.length);
      if (same) same.push(table);
      else kept.set(table.slots.length, [table]);
    }
  }
}
