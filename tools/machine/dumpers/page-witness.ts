// RAM page by page as a dumper took it: what a dump must hold that is written while memory goes on changing.
import type { CoreReader } from "../../../diskdump/cores/core.ts";
import { FRAME_SIZE, HOLE } from "../../../emulator/memory/pool.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import type { SlotTable } from "../../../emulator/memory/slot-tables.ts";
import type { RamSnapshot } from "../../trial/snapshot.ts";

/** Keeps a reference to each page (flat ones: a copy) at the moment at which the dump copies it. */
export class PageWitness {
  private readonly memory: PhysicalMemory;
  /** Slot by page frame, and HOLE for zeroes or what the dump has not looked at; a share of each is ours. */
  private readonly table: SlotTable;

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
    this.table = memory.pool.tables.take(memory.pages.slots.length);
  }

  see(pfn: number, pageSize: number): void {
    const frames = pageSize / FRAME_SIZE;
    for (let frame = pfn * frames; frame < (pfn + 1) * frames; frame++) this.keep(frame);
  }

  private keep(frame: number): void {
    const { memory } = this;
    const { pool } = memory;
    // A page that would not become smaller is taken a second time.
    pool.release(this.table.slots[frame]!);
    // A page that nobody has read lies in its backing still, and nobody can have changed it.
    const flat = frame < memory.flatBytes / FRAME_SIZE;
    this.table.set(frame, flat ? pool.copyOf(frame) : pool.share(memory.pages.slotOf(frame)));
  }

  /** True when the page, as the dump took it, was no more what it had been at the freeze. */
  changed(frame: number, snapshot: RamSnapshot): boolean {
    return !snapshot.matches(frame, this.table.slots[frame]!);
  }

  /**
   * Of the pages that had changed when the dump took them, the first that the core does not hold as it was then; undefined when
   * there is none. (All others must be as at the freeze, which is for the comparison with the snapshot to say.)
   */
  contradiction(core: CoreReader, snapshot: RamSnapshot): string | undefined {
    const { pageSize } = core.facts;
    const page = new Uint8Array(pageSize);
    const frames = pageSize / FRAME_SIZE;
    const { slots } = this.table;
    for (let frame = 0; frame < slots.length; frame++) {
      const slot = slots[frame]!;
      if (slot === HOLE || snapshot.matches(frame, slot)) continue;
      core.readPages(Math.floor(frame / frames), 1, page);
      const at = (frame % frames) * FRAME_SIZE;
      if (Buffer.compare(this.memory.pool.bytes(slot), page.subarray(at, at + FRAME_SIZE)) !== 0) {
        return `page 0x${(frame * FRAME_SIZE).toString(16)} is not in the dump as it was in RAM when its turn came`;
      }
    }
    return undefined;
  }
}
