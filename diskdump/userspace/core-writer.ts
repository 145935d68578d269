// A core of any kind becomes an ELF core, page for page, wherever the sink puts it.
import type { PageRange } from "../format/bitmap.ts";
import { leftOutPages, type CoreProgress, type CoreReader } from "../cores/core.ts";
import { CoreStore } from "../cores/core-store.ts";
import { commonRanges } from "../cores/page-index.ts";
import { partitionCore } from "../cores/partition-core.ts";
import { pagesIn } from "../format/bitmap.ts";
import { layOutCore, type CoreLayout, type CoreStyle } from "./core-layout.ts";
import { kdumpNotes, netdumpNotes } from "./core-notes.ts";
import type { CoreSink } from "./core-sink.ts";
import type { DumpImage } from "./dump-image.ts";

export interface ElfOptions {
  readonly style: CoreStyle;
  /** The pages to write; default: all that are saved. The others are holes. */
  readonly keep?: readonly PageRange[];
  readonly onProgress?: (progress: CoreProgress) => void;
}

/** Pages between two calls of `onProgress`. */
const PROGRESS_PAGES = 16384;

/** Plans the ELF core of a core without writing anything. */
export function layOutElf(core: CoreReader, { style, keep }: ElfOptions): CoreLayout {
  const { facts } = core;
  const partial = leftOutPages(core) > 0 || (keep !== undefined && pagesIn(keep) < pagesIn(core.saved));
  return layOutCore({
    ...{ name: core.name, model: facts.model, ram: facts.ram, pageSize: facts.pageSize, style },
    presentPages: pagesIn(commonRanges(facts.ram, [{ first: 0, count: facts.endPfn }])),
    notes: style === "kdump" ? kdumpNotes(facts, partial) : netdumpNotes(facts, partial),
  });
}

/** Writes the core. Returns its layout. */
export function writeElfCore(core: CoreReader, sink: CoreSink, options: ElfOptions): CoreLayout {
  const { onProgress } = options;
  const layout = layOutElf(core, options);
  const { pageSize } = core.facts;
  const offsetOf = new Map(layout.ranges.map((range) => [range.physical, range.fileOffset]));
  const contents = new CoreStore(core);
  sink.begin(layout.sizeBytes);
  sink.bytes(0, layout.head);

  const keep = options.keep ?? core.saved;
  const allPages = pagesIn(keep);
  let donePages = 0;
  let ramIndex = 0;
  for (const range of commonRanges(core.facts.ram, keep)) {
    while (core.facts.ram[ramIndex]!.first + core.facts.ram[ramIndex]!.count <= range.first) ramIndex++;
    const ram = core.facts.ram[ramIndex]!;
    const rangeAt = offsetOf.get(ram.first * pageSize)!;
    for (let pfn = range.first, end = range.first + range.count; pfn < end;) {
      const run = core.rawRun(pfn);
      const count = Math.min(end - pfn, run?.pages ?? Infinity, onProgress ? PROGRESS_PAGES : Infinity);
      const [source, from] = run ? [run.store, run.offset] : [contents, pfn * pageSize];
      sink.copy(rangeAt + (pfn - ram.first) * pageSize, source, from, count * pageSize);
      pfn += count;
      donePages += count;
      onProgress?.({ donePages, allPages });
    }
  }
  sink.end();
  return layout;
}

/** Writes the dump of a partition as savecore always did: netdump's ELF core. */
export const writeCore = (dump: DumpImage, sink: CoreSink, onProgress?: (progress: CoreProgress) => void): CoreLayout =>
  writeElfCore(partitionCore(dump), sink, { style: "netdump", ...(onProgress ? { onProgress } : {}) });
