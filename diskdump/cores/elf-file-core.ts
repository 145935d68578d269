// An ELF core - ours, makedumpfile's, a kdump kernel's - as a core of pages.
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { PageRange } from "../format/bitmap.ts";
import type { DataModel } from "../../kernel-sim/abi/types.ts";
import { readElfCore, type CoreSegment, type ElfCore } from "../userspace/elf-core.ts";
import { plural, UsageError } from "../userspace/errors.ts";
import { machineOf, NO_NAME, type CoreFacts, type CoreReader } from "./core.ts";
import { factsOfNotes } from "./notes.ts";
import { PageIndex, pushRange } from "./page-index.ts";
import { nextRawData } from "./raw-pages.ts";

/** Bytes of RAM and where they are in the file. */
interface Piece {
  readonly start: number;
  /** End of RAM, and of what is in the file. */
  readonly end: number;
  readonly fileEnd: number;
  readonly fileOffset: number;
}

/** Physical memory of the PT_LOADs, ascending. A second mapping of the same bytes (the kernel's text) says nothing new. */
function piecesOf(segments: readonly CoreSegment[]): Piece[] {
  const pieces: Piece[] = [];
  const loads = segments.filter((s) => s.type === "PT_LOAD" && s.memoryBytes > 0);
  // The longest of those that begin at one address covers the others.
  loads.sort((a, b) => a.physical - b.physical || b.memoryBytes - a.memoryBytes || b.fileBytes - a.fileBytes);
  for (const { physical, memoryBytes, fileBytes, fileOffset } of loads) {
    const skipped = Math.max(0, (pieces.at(-1)?.end ?? 0) - physical);
    if (skipped >= memoryBytes) continue;
    const start = physical + skipped;
    const fileEnd = Math.max(start, physical + fileBytes);
    pieces.push({ start, end: physical + memoryBytes, fileEnd, fileOffset: fileOffset + skipped });
  }
  return pieces;
}

const pagesOf = (pieces: readonly { start: number; end: number }[], pageSize: number): PageRange[] => {
  const ranges: PageRange[] = [];
  for (const { start, end } of pieces) {
    const last = ranges.at(-1);
    const first = Math.max(Math.floor(start / pageSize), last ? last.first + last.count : 0);
    const count = Math.ceil(end / pageSize) - first;
    if (count > 0) pushRange(ranges, first, count);
  }
  return ranges;
};

function factsOf(elf: ElfCore, model: DataModel, ram: readonly PageRange[], saved: readonly PageRange[]): CoreFacts {
  const { facts, release } = factsOfNotes(elf.notes, model);
  const last = ram.at(-1);
  const maxMapnr = last ? last.first + last.count : 0;
  const lastSaved = saved.at(-1);
  return {
    ...{ model, pageSize: model.pageSize, panicText: "", timestampNs: 0 },
    ...facts,
    systemName: { ...NO_NAME, sysname: "Linux", release, machine: machineOf(model) },
    ...{ maxMapnr, ram, dumpLevel: 0 },
    // A core that broke off has its last segment cut short.
    endPfn: elf.problems.length > 0 && lastSaved ? lastSaved.first + lastSaved.count : maxMapnr,
  };
}

/** Opens an ELF core. Throws a UsageError that says what is wrong and where. */
export function elfFileCore(store: ByteStore): CoreReader {
  const elf = readElfCore(store);
  const { model } = elf;
  if (!model) {
    throw new UsageError(`${store.name}: at offset 0x12: ELF machine ${elf.machine}, expected 3, 21, 50 or 62`);
  }
  if (elf.littleEndian !== model.littleEndian) {
    const order = elf.littleEndian ? "little" : "big";
    throw new UsageError(`${store.name}: at offset 0x5: ${model.name} cores are not ${order} endian`);
  }
  const { pageSize } = model;
  const pieces = piecesOf(elf.segments);
  if (pieces.length === 0) throw new UsageError(`${store.name}: has no PT_LOAD segment: there is no memory in it`);
  if (pieces.at(-1)!.end > Number.MAX_SAFE_INTEGER / 2) {
    throw new UsageError(`${store.name}: a PT_LOAD segment ends beyond any physical address`);
  }
  const ram = pagesOf(pieces, pageSize);
  const present = pieces.map((p) => ({
    ...p,
    end: Math.min(p.fileEnd, p.start + Math.max(0, store.sizeBytes - p.fileOffset)),
  }));
  const saved = pagesOf(
    present.filter(({ start, end }) => end > start),
    pageSize,
  );
  const missing = new PageIndex(ram).total - new PageIndex(saved).total;

  const pieceAt = (address: number): number => {
    let low = 0;
    let high = present.length;
    while (low < high) {
      const middle = (low + high) >>> 1;
      if (present[middle]!.end > address) high = middle;
      else low = middle + 1;
    }
    return low;
  };
  const rawRun = (pfn: number): ReturnType<CoreReader["rawRun"]> => {
    const address = pfn * pageSize;
    const piece = present[pieceAt(address)];
    if (!piece || piece.start > address) return undefined;
    const pages = Math.floor((piece.end - address) / pageSize);
    return pages > 0 ? { store, offset: piece.fileOffset + address - piece.start, pages } : undefined;
  };
  const { partial } = factsOfNotes(elf.notes, model);
  return {
    ...{ name: store.name, kind: `an ELF core${partial ? ", partial" : ""}`, saved, rawRun },
    facts: factsOf(elf, model, ram, saved),
    shortcomings: missing > 0 ? [`${plural(missing, "page")} of RAM are not in the file`] : [],
    problems: elf.problems,
    readPages(pfn, count, into) {
      const from = pfn * pageSize;
      const to = from + count * pageSize;
      let filledTo = from;
      // Segments need not begin and end at pages: what no segment has is zero.
      for (let index = pieceAt(from); index < present.length && present[index]!.start < to; index++) {
        const piece = present[index]!;
        const start = Math.max(from, piece.start);
        const end = Math.min(to, piece.end);
        if (start > filledTo) into.fill(0, filledTo - from, start - from);
        store.read(piece.fileOffset + start - piece.start, into.subarray(start - from, end - from));
        filledTo = end;
      }
      into.fill(0, filledTo - from, to - from);
    },
    nextData: (pfn, end) => nextRawData({ pageSize, rawRun }, pfn, end),
  };
}
