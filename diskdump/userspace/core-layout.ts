// The shape of an ELF core: headers, notes and where every piece of RAM goes. Nothing is written here.
//
//   ELF header | program headers (e_phoff right behind the header: makedumpfile looks there) | notes | section names and table |
//   padding to a page | RAM
//
// RAM ranges are packed, but for a netdump core of i386. There a byte stands at "header size + physical address", because crash(8) reads a
// 32-bit netdump core so (netdump.c, read_netdump: one segment is all that NETDUMP_ELF32 knows); the gaps are holes in the file.
// Memory whose offset or address does not fit 32 bits is in the file, where crash finds it, but no program header tells of it:
// that is the white paper's "gdb cannot read the dump of over-4GB system on IA-32".
import type { DataModel } from "../../kernel-sim/abi/types.ts";
import type { PageRange } from "../format/bitmap.ts";
import { ELF_BYTES, ElfWriter, PT_LOAD, PT_NOTE, type ProgramHeader } from "./elf-writer.ts";
import { UsageError } from "./errors.ts";
import { PLATFORMS, type Platform } from "./platform.ts";

/** One less than PN_XNUM: readers of the time know no extension. */
const MOST_PROGRAM_HEADERS = 0xfffe;
/** Room that the 32-bit file offsets of a packed core leave for what stands before RAM. */
const MOST_HEAD_BYTES = 4 << 20;
const SECTION_NAMES = "\0.shstrtab\0";
/** A virtual address for memory that has none, as kexec-tools has it. */
const NO_ADDRESS = 0xffffffffffffffffn;

/** A piece of RAM in the core. */
export interface CoreRange {
  /** Bytes. */
  readonly physical: number;
  readonly fileOffset: number;
  readonly memoryBytes: number;
  /** Bytes that are in the file; less than `memoryBytes` when the dump broke off. */
  readonly fileBytes: number;
}

export interface CoreLayout {
  /** Everything before the first page of RAM. */
  readonly head: Uint8Array;
  readonly ranges: readonly CoreRange[];
  readonly sizeBytes: number;
}

export interface CoreContents {
  readonly name: string;
  readonly model: DataModel;
  readonly ram: readonly PageRange[];
  /** Bytes of a page. */
  readonly pageSize: number;
  /** Of RAM, counted from its lowest page: how many are there. */
  readonly presentPages: number;
  readonly notes: Uint8Array;
  /**
   * "netdump": segments aligned to pages, i386 not packed. "kdump": packed, and without an alignment, which is how crash(8) tells
   * the two apart; RAM of i386 beyond 4 GiB makes it ELF64, as kexec does.
   */
  readonly style: CoreStyle;
  /**
   * Bytes to leave before RAM, which then stands at "that + physical address" on every machine: for a writer that learns where RAM
   * is only as it comes.
   */
  readonly fixedHeadBytes?: number;
}

/** The two kinds of ELF core: what a netdump server wrote, and what /proc/vmcore of a kdump kernel shows. */
export type CoreStyle = "netdump" | "kdump";

/** Lays out a core. Throws a UsageError when RAM is in more pieces than a core can describe. */
export function layOutCore(contents: CoreContents): CoreLayout {
  const { model, pageSize, notes } = contents;
  const platform = PLATFORMS[model.name];
  const is64 = isElf64(contents);
  const { headerBytes, programBytes, sectionBytes } = ELF_BYTES[is64 ? 64 : 32];

  // The head's size depends on the number of program headers, and on i386 that number on the size: what lies too far up has none.
  const sectionsOffset = (count: number): number =>
    Math.ceil((headerBytes + count * programBytes + notes.length + SECTION_NAMES.length) / 8) * 8;
  let headBytes = 0;
  for (let needed = contents.fixedHeadBytes ?? pageSize; needed > headBytes;) {
    headBytes = needed;
    const count = segmentsOf(rangesOf(contents, headBytes), contents).length + 1;
    needed = Math.ceil((sectionsOffset(count) + 2 * sectionBytes) / pageSize) * pageSize;
  }
  if (contents.fixedHeadBytes !== undefined && headBytes > contents.fixedHeadBytes) {
    throw new UsageError(
      `${contents.name}: RAM lies in ${contents.ram.length} pieces, whose program headers need ${headBytes} bytes; there are ${contents.fixedHeadBytes}`,
    );
  }
  const ranges = rangesOf(contents, headBytes);
  const loads = segmentsOf(ranges, contents);
  const count = loads.length + 1;
  if (count > MOST_PROGRAM_HEADERS) {
    throw new UsageError(
      `${contents.name}: RAM lies in ${contents.ram.length} pieces; an ELF core holds at most ${MOST_PROGRAM_HEADERS} program headers`,
    );
  }
  const notesAt = headerBytes + count * programBytes;
  const namesAt = notesAt + notes.length;
  const sectionsAt = sectionsOffset(count);

  const note: ProgramHeader = {
    ...{ type: PT_NOTE, offset: notesAt, virtual: 0n, physical: 0 },
    ...{ fileBytes: notes.length, memoryBytes: 0, align: 4 },
  };
  const segments = [note, ...loads];
  const head = new Uint8Array(headBytes);
  const writer = new ElfWriter(head, is64, model.littleEndian);
  writer.header({ machine: platform.elfMachine, count, sectionsAt });
  segments.forEach((segment, index) => writer.programHeader(headerBytes + index * programBytes, segment));
  head.set(notes, notesAt);
  head.set(Buffer.from(SECTION_NAMES, "latin1"), namesAt);
  writer.stringSection(sectionsAt + sectionBytes, namesAt, SECTION_NAMES.length);
  const last = ranges.at(-1);
  return { head, ranges, sizeBytes: last ? last.fileOffset + last.fileBytes : headBytes };
}

/** A kdump core of a 32-bit machine is ELF64 when 32 bits cannot tell of all of its RAM. */
function isElf64({ model, ram, pageSize, style }: CoreContents): boolean {
  const last = ram.at(-1);
  const endOfRam = last ? (last.first + last.count) * pageSize : 0;
  return model.wordBytes === 8 || (style === "kdump" && endOfRam > 2 ** 32 - MOST_HEAD_BYTES);
}

function rangesOf(contents: CoreContents, headBytes: number): CoreRange[] {
  const { pageSize } = contents;
  const packed =
    contents.fixedHeadBytes === undefined && (contents.style === "kdump" || contents.model.wordBytes === 8);
  const ranges: CoreRange[] = [];
  let pagesBefore = 0;
  let packedAt = headBytes;
  for (const { first, count } of contents.ram) {
    const physical = first * pageSize;
    const fileBytes = Math.max(0, Math.min(count, contents.presentPages - pagesBefore)) * pageSize;
    const fileOffset = packed ? packedAt : headBytes + physical;
    if (fileBytes > 0 || packed) {
      ranges.push({ physical, fileOffset, memoryBytes: count * pageSize, fileBytes });
    }
    packedAt += fileBytes;
    pagesBefore += count;
  }
  return ranges;
}

/** PT_LOADs in ascending order of virtual address: the direct map, then the kernel image's own mapping of the same bytes. */
function segmentsOf(ranges: readonly CoreRange[], contents: CoreContents): ProgramHeader[] {
  const { pageSize, style } = contents;
  const platform: Platform = PLATFORMS[contents.model.name];
  const is64 = isElf64(contents);
  const align = style === "kdump" ? 0 : pageSize;
  const segments: ProgramHeader[] = [];
  const load = (range: CoreRange, from: number, to: number, virtual: bigint): void => {
    const start = Math.max(from, range.physical);
    const end = Math.min(to, range.physical + range.memoryBytes);
    if (start >= end) return;
    const skipped = start - range.physical;
    segments.push({
      ...{ type: PT_LOAD, offset: range.fileOffset + skipped, physical: start, align },
      virtual: virtual === NO_ADDRESS ? NO_ADDRESS : virtual + BigInt(start - from),
      fileBytes: Math.max(0, Math.min(range.fileBytes - skipped, end - start)),
      memoryBytes: end - start,
    });
  };
  const low = platform.lowMemoryBytes ?? Infinity;
  for (const range of ranges) {
    // 32-bit fields: file offset and physical address of a segment's end must fit. The rest is in the file without a header.
    const limit = is64 ? Infinity : 2 ** 32 - pageSize - (range.fileOffset - range.physical);
    load(range, 0, Math.min(low, limit), platform.pageOffset);
    if (low !== Infinity) load(range, low, limit, NO_ADDRESS);
  }
  const { text } = platform;
  if (text) {
    for (const range of ranges) load(range, text.physical, text.physical + text.bytes, text.virtual);
  }
  return segments;
}
