// The judge: what a dump is worth is read off the machine's state, never off what the dumper says alone.
import { FRAME_SIZE, HOLE } from "../../emulator/memory/pool.ts";
import type { PageStore } from "../../emulator/memory/store.ts";
import type { TouchedRange } from "../../diskdump/module/disk-dump.ts";
import type { CoreReader } from "../../diskdump/cores/core.ts";
import type { CoreLayout } from "../../diskdump/userspace/core-layout.ts";
import type { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import type { RamSnapshot } from "./snapshot.ts";

export interface PageVerdict {
  /** Pages of the core that were compared. */
  readonly compared: number;
  /** Pages that the dump itself changed while it ran; they are in the core as they were when their turn came. */
  readonly changedByDump: number;
  /** The first page that is wrong; undefined when none is. */
  readonly wrong: { readonly physical: number; readonly byte: number } | undefined;
  readonly wrongPages: number;
}

/**
 * Compares every page of a core with RAM at the freeze. A page above the flat window must be equal unless it lies in
 * `touched`; one of the flat window (kernel data) must be equal unless it changed after the freeze. One that ended as it was may
 * differ in bytes that change back, and in no others.
 * @param biasBytes where in memory the core's address 0 lies: not 0 when a preserved image was dumped
 */
export function comparePages(
  core: PageStore,
  layout: CoreLayout,
  snapshot: RamSnapshot,
  touched: readonly TouchedRange[],
  biasBytes = 0,
): PageVerdict {
  const flatPages = snapshot.memory.flatBytes / FRAME_SIZE;
  const changing = touched.filter((range) => range.changesBack);
  let compared = 0;
  let changedByDump = 0;
  let wrong: PageVerdict["wrong"];
  let wrongPages = 0;
  for (const range of layout.ranges) {
    const first = (range.physical + biasBytes) / FRAME_SIZE;
    const at = range.fileOffset / FRAME_SIZE;
    const count = range.fileBytes / FRAME_SIZE;
    compared += count;
    // Most pages went from RAM to the core by reference.
    const skip = (i: number): number => i + snapshot.sameFrames(first + i, core.slots, at + i, count - i);
    for (let i = skip(0); i < count; i = skip(i + 1)) {
      const page = first + i;
      const slot = core.slots[at + i]!;
      if (snapshot.matches(page, slot)) continue;
      const mayChange =
        page < flatPages
          ? !snapshot.isUntouched(page) || snapshot.differsOnlyWithin(page, slot, changing)
          : touched.some((t) => page * FRAME_SIZE >= t.start && page * FRAME_SIZE < t.end);
      if (mayChange) changedByDump++;
      else {
        wrongPages++;
        wrong ??= { physical: page * FRAME_SIZE, byte: snapshot.firstDifference(page, slot) };
      }
    }
  }
  return { compared, changedByDump, wrong, wrongPages };
}

/**
 * As comparePages, for a core that holds copies: through its reader, every page that it says it has saved.
 * @param mayDiffer whether a page frame (of FRAME_SIZE bytes) that is not as it was at the freeze may be so
 */
export function compareCore(
  core: CoreReader,
  snapshot: RamSnapshot,
  mayDiffer: (frame: number) => boolean,
): PageVerdict {
  const { pageSize } = core.facts;
  const framesPerPage = pageSize / FRAME_SIZE;
  const buffer = new Uint8Array(pageSize);
  const bytesOf = (pfn: number): Uint8Array => {
    if (core.pageBytes) return core.pageBytes(pfn);
    core.readPages(pfn, 1, buffer);
    return buffer;
  };
  let compared = 0;
  let changedByDump = 0;
  let wrong: PageVerdict["wrong"];
  let wrongPages = 0;
  const differs = (frame: number, firstByte: () => number): void => {
    if (mayDiffer(frame)) changedByDump++;
    else {
      wrongPages++;
      wrong ??= { physical: frame * FRAME_SIZE, byte: firstByte() };
    }
  };
  for (const { first, count } of core.saved) {
    const end = first + count;
    compared += count;
    for (let at = first; at < end;) {
      const data = core.nextData(at, end);
      for (let frame = at * framesPerPage; frame < data * framesPerPage; frame++)
        if (!snapshot.matches(frame, HOLE)) differs(frame, () => snapshot.firstDifference(frame, HOLE));
      if (data === end) break;
      const page = bytesOf(data);
      for (let i = 0; i < framesPerPage; i++) {
        const frame = data * framesPerPage + i;
        const bytes = page.subarray(i * FRAME_SIZE, (i + 1) * FRAME_SIZE);
        if (!snapshot.holds(frame, bytes)) differs(frame, () => snapshot.differenceIn(frame, bytes));
      }
      at = data + 1;
    }
  }
  return { compared, changedByDump, wrong, wrongPages };
}

export interface StrayWrite {
  readonly disk: string;
  readonly lba: number;
  readonly ns: number;
  readonly writes: number;
}

/** The first disk that was written outside the allowed range since the guards were set; undefined when none was. */
export function strayWrite(disks: ReadonlyMap<string, ScsiDisk>): StrayWrite | undefined {
  for (const [device, disk] of disks) {
    const { guard } = disk;
    if (guard.writesOutside > 0) {
      return { disk: device, lba: guard.firstOffendingLba, ns: guard.firstOffendingAt, writes: guard.writesOutside };
    }
  }
  return undefined;
}
