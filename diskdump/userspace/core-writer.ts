// A dump becomes an ELF core, page for page, wherever the sink puts it.
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import { memoryBlock } from "../format/header.ts";
import { layOutCore, type CoreLayout } from "./core-layout.ts";
import { buildNotes } from "./core-notes.ts";
import type { CoreSink } from "./core-sink.ts";
import type { DumpImage } from "./dump-image.ts";

export interface CoreProgress {
  readonly donePages: number;
  readonly allPages: number;
}

/** Pages between two calls of `onProgress`. */
const PROGRESS_PAGES = 16384;

/** Of RAM, counted from its lowest page: up to where the dump reaches. Pages that a partial dump left out count. */
function coveredRamPages(dump: DumpImage): number {
  if (dump.presentPages >= dump.savedPages) return dump.ramPages;
  let left = dump.presentPages;
  for (const { first, count } of dump.saved) {
    if (left < count) return first + left;
    left -= count;
  }
  return dump.ramPages;
}

/** Plans the core of a dump without writing anything. */
export function layOutDump(dump: DumpImage): CoreLayout {
  return layOutCore({
    ...{ name: dump.store.name, model: dump.header.model, ram: dump.ram, pageSize: dump.header.blockSize },
    ...{ presentPages: coveredRamPages(dump), notes: buildNotes(dump) },
  });
}

interface Piece {
  /** RAM pages counted from the lowest. */
  readonly ordinal: number;
  /** Place among the saved pages. */
  readonly saved: number;
  readonly count: number;
}

/** The saved pages that the image holds, in order. */
function* presentPieces(saved: readonly PageRange[], presentPages: number): Generator<Piece> {
  let before = 0;
  for (const { first, count } of saved) {
    const here = Math.min(count, presentPages - before);
    if (here <= 0) return;
    yield { ordinal: first, saved: before, count: here };
    before += count;
  }
}

/** Writes the core. Returns its layout. */
export function writeCore(dump: DumpImage, sink: CoreSink, onProgress?: (progress: CoreProgress) => void): CoreLayout {
  const layout = layOutDump(dump);
  const { blockSize } = dump.header;
  const memoryAt = memoryBlock(dump.header) * blockSize;
  sink.begin(layout.sizeBytes);
  sink.bytes(0, layout.head);

  // Both lists ascend: the RAM ranges by ordinal of their first page, and the pieces.
  const pageOf = fileOffsets(dump.ram, layout, blockSize);
  let done = 0;
  for (const piece of presentPieces(dump.saved, dump.presentPages)) {
    for (let at = 0; at < piece.count;) {
      const place = pageOf(piece.ordinal + at);
      const count = Math.min(piece.count - at, place.pagesLeft, onProgress ? PROGRESS_PAGES : Infinity);
      sink.copy(place.fileOffset, dump.store, memoryAt + (piece.saved + at) * blockSize, count * blockSize);
      at += count;
      done += count;
      onProgress?.({ donePages: done, allPages: dump.presentPages });
    }
  }
  sink.end();
  return layout;
}

/** Finds the place in the core of a RAM page by its ordinal; ordinals must not descend between calls. */
function fileOffsets(
  ram: readonly PageRange[],
  layout: CoreLayout,
  pageSize: number,
): (ordinal: number) => { fileOffset: number; pagesLeft: number } {
  const offsetOf = new Map(layout.ranges.map((range) => [range.physical, range.fileOffset]));
  let index = 0;
  let before = 0;
  return (ordinal) => {
    while (ordinal >= before + ram[index]!.count) before += ram[index++]!.count;
    const range = ram[index]!;
    const fileOffset = offsetOf.get(range.first * pageSize)! + (ordinal - before) * pageSize;
    return { fileOffset, pagesLeft: before + range.count - ordinal };
  };
}

/** Bytes of RAM that a layout describes. */
export const ramBytes = (dump: DumpImage): number => pagesIn(dump.ram) * dump.header.blockSize;
