// A DISKDUMP or KDUMP file as a core of pages.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { decodeBitmap, type PageRange } from "../format/bitmap.ts";
import { bitmapBlocksFor } from "../format/layout.ts";
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import { DUMP_HEADER, NR_CPUS } from "../format/structs.ts";
import type { Problem } from "../format/header.ts";
import { parseNotes } from "../userspace/elf-core.ts";
import { hex, plural, UsageError } from "../userspace/errors.ts";
import {
  DESC,
  DESC_NAMES,
  headBlocks,
  KDUMP_STATUS,
  PAGE_DESC_BYTES,
  readCompressedHead,
  type CompressedHead,
} from "./compressed-header.ts";
import { machineOf, registersOrNone, type CoreCpu, type CoreFacts, type CoreReader, type RawRun } from "./core.ts";
import { factsOfNotes } from "./notes.ts";
import { commonRanges, PageIndex } from "./page-index.ts";
import { inflatePage } from "./zlib-page.ts";
import { ReadWindow } from "./read-window.ts";

/** Notes and VMCOREINFO beyond this are damage. */
const MOST_NOTE_BYTES = 64 << 20;

interface Descriptor {
  readonly offset: number;
  readonly size: number;
  readonly flags: number;
}

/** The descriptors, read by the window. */
class Descriptors {
  private readonly window: ReadWindow;
  private readonly startAt: number;
  private readonly little: boolean;

  constructor(store: ByteStore, startAt: number, little: boolean) {
    this.window = new ReadWindow(store, 1 << 18);
    this.startAt = startAt;
    this.little = little;
  }

  at(ordinal: number): Descriptor {
    const bytes = this.window.bytes(this.startAt + ordinal * PAGE_DESC_BYTES, PAGE_DESC_BYTES);
    if (!bytes) return { offset: Infinity, size: 0, flags: 0 };
    const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_DESC_BYTES);
    const { little } = this;
    return {
      offset: Number(view.getBigUint64(0, little)),
      size: view.getUint32(8, little),
      flags: view.getUint32(12, little),
    };
  }
}

/** Opens the file. Throws a UsageError that says what is wrong and where. */
export function compressedCore(store: ByteStore): CoreReader {
  const head = readCompressedHead(store);
  const { header, maxMapnr } = head;
  const { blockSize, model } = header;
  const problems = [...head.problems];
  const bitmaps = readBitmaps(store, head, problems);
  const all = new PageIndex(bitmaps.dumped);
  const descAt = (headBlocks(header) + header.bitmapBlocks) * blockSize;
  const descriptors = new Descriptors(store, descAt, model.littleEndian);
  const shortcomings: string[] = [];

  const isThere = (ordinal: number): boolean => {
    const { offset, size } = descriptors.at(ordinal);
    return offset + size <= store.sizeBytes;
  };
  // The contents of the last page may stand early, when it is one of zeroes: all descriptors have to be asked.
  let present = 0;
  while (present < all.total && isThere(present)) present++;
  if (present < all.total) {
    shortcomings.push(
      `the file ends at offset ${hex(store.sizeBytes)} and holds ${present} of ${plural(all.total, "page")}`,
    );
  }
  const incomplete =
    head.format === "kdump"
      ? (header.status & KDUMP_STATUS.INCOMPLETE) !== 0
      : (header.status & ~DUMP_HEADER.COMPRESSED) !== 0;
  if (incomplete) shortcomings.push(`status ${header.status}: the dump was not finished`);
  const saved = present === all.total ? all : new PageIndex(commonRanges(all.ranges, belowOrdinal(all, present)));
  const last = saved.ranges.at(-1);
  const endPfn = shortcomings.length === 0 ? maxMapnr : last ? last.first + last.count : 0;

  const data = new ReadWindow(store);
  /** Where contents of zeroes stand: descriptors that share them need not be looked behind. */
  let zeroAt = -1;
  const fail = (pfn: number, ordinal: number, what: string): never => {
    throw new UsageError(
      `${store.name}: page ${hex(pfn)}, descriptor at offset ${hex(descAt + ordinal * PAGE_DESC_BYTES)}: ${what}`,
    );
  };
  const readPage = (pfn: number, into: Uint8Array): void => {
    const ordinal = saved.ordinalOf(pfn);
    if (ordinal < 0) throw new RangeError(`page ${pfn} is not saved`);
    const { offset, size, flags } = descriptors.at(ordinal);
    if (offset === zeroAt) return void into.fill(0);
    if (size > blockSize) fail(pfn, ordinal, `its contents have ${size} bytes, expected at most ${blockSize}`);
    const bytes =
      data.bytes(offset, size) ?? fail(pfn, ordinal, `its contents end beyond the file: ${hex(offset)}+${hex(size)}`);
    if (flags === DESC.RAW) {
      if (size !== blockSize) fail(pfn, ordinal, `raw contents of ${size} bytes, expected ${blockSize}`);
      into.set(bytes);
    } else if (flags === DESC.ZLIB) {
      const page = inflatePage(bytes, blockSize);
      into.set(typeof page === "string" ? fail(pfn, ordinal, page) : page);
    } else {
      const name = DESC_NAMES[flags];
      fail(pfn, ordinal, name ? `compressed with ${name}; only zlib is read` : `flags ${hex(flags)} are not known`);
    }
    if (zeroAt < 0 && into[0] === 0 && !into.some((byte) => byte !== 0)) zeroAt = offset;
  };
  const rawRun = (pfn: number): RawRun | undefined => {
    const ordinal = saved.ordinalOf(pfn);
    if (ordinal < 0) return undefined;
    const { offset, size, flags } = descriptors.at(ordinal);
    if (flags !== DESC.RAW || size !== blockSize || offset % 4096 !== 0 || offset + size > store.sizeBytes)
      return undefined;
    return { store, offset, pages: 1 };
  };
  const compression = (header.status & (head.format === "kdump" ? KDUMP_STATUS.ZLIB : DUMP_HEADER.COMPRESSED)) !== 0;
  return {
    ...{ name: store.name, saved: saved.ranges, shortcomings, problems, rawRun },
    kind: `a ${head.format === "kdump" ? "KDUMP" : "DISKDUMP"} core, ${compression ? "zlib" : "raw"}`,
    facts: { ...factsOf(store, head, problems), ram: bitmaps.ram, endPfn },
    readPages(pfn, count, into) {
      for (let i = 0; i < count; i++) readPage(pfn + i, into.subarray(i * blockSize, (i + 1) * blockSize));
    },
    nextData(pfn, end) {
      const limit = Math.min(end, pfn + saved.pagesFrom(pfn));
      let ordinal = saved.ordinalOf(pfn);
      if (zeroAt < 0 || ordinal < 0) return pfn;
      while (pfn < limit && descriptors.at(ordinal).offset === zeroAt) {
        pfn++;
        ordinal++;
      }
      return pfn;
    },
  };
}

/** The pages with fewer than `count` before them. */
const belowOrdinal = (index: PageIndex, count: number): PageRange[] =>
  count === 0 ? [] : [{ first: 0, count: index.pfnOf(count - 1) + 1 }];

function readBitmaps(
  store: ByteStore,
  { header, maxMapnr }: CompressedHead,
  problems: Problem[],
): { ram: PageRange[]; dumped: PageRange[] } {
  const { blockSize } = header;
  const blocks = bitmapBlocksFor(maxMapnr, blockSize);
  const offset = headBlocks(header) * blockSize;
  const first = new Uint8Array(blocks * blockSize);
  store.read(offset, first);
  const ram = decodeBitmap(first, maxMapnr);
  if (ram.length === 0) {
    throw new UsageError(`${store.name}: the bitmap at offset ${hex(offset)} names no RAM page at all`);
  }
  if (header.bitmapBlocks < 2 * blocks) return { ram, dumped: ram };
  const second = new Uint8Array(first.length);
  const secondAt = offset + (header.bitmapBlocks >>> 1) * blockSize;
  store.read(secondAt, second);
  const dumped = decodeBitmap(second, maxMapnr);
  const stray = dumped.find(({ first: pfn, count }) => {
    for (let at = pfn; at < pfn + count; at++) if ((first[at >>> 3]! & (1 << (at & 7))) === 0) return true;
    return false;
  });
  if (stray) {
    const what = `the second bitmap names pages from ${hex(stray.first)} on that the first one has not as RAM`;
    problems.push({ severity: "warning", offset: secondAt + (stray.first >>> 3), what });
    // Descriptors stand for the second bitmap's pages, so these are RAM.
    for (let at = 0; at < first.length; at++) first[at]! |= second[at]!;
    return { ram: decodeBitmap(first, maxMapnr), dumped };
  }
  return { ram, dumped };
}

/** A piece of the file that the sub header points to; a problem when it is not there. */
function pieceOf(store: ByteStore, head: CompressedHead, name: "note" | "vmcoreinfo", problems: Problem[]): Uint8Array {
  const { subHeader, header } = head;
  const since = name === "note" ? 4 : 3;
  const offset = header.headerVersion >= since ? subHeader.get(`offset_${name}`) : 0;
  const size = header.headerVersion >= since ? subHeader.get(`size_${name}`) : 0;
  if (offset === 0 || size === 0) return new Uint8Array();
  if (offset + size > store.sizeBytes || size > MOST_NOTE_BYTES) {
    const what = `offset_${name} and size_${name} name ${hex(offset)}+${hex(size)}, beyond the end of the file`;
    problems.push({ severity: "warning", offset: header.blockSize + subHeader.offsetOf(`offset_${name}`), what });
    return new Uint8Array();
  }
  const bytes = new Uint8Array(size);
  store.read(offset, bytes);
  return bytes;
}

function factsOf(store: ByteStore, head: CompressedHead, problems: Problem[]): Omit<CoreFacts, "ram" | "endPfn"> {
  const { header, subHeader, maxMapnr } = head;
  const { model, systemName } = header;
  const common = {
    ...{ model, pageSize: header.blockSize, maxMapnr, panicText: "", vmcoreinfo: "" },
    ...{ timestampSeconds: header.timestampSeconds, timestampNs: header.timestampNs },
  };
  if (head.format === "diskdump") {
    const count = Math.max(1, Math.min(NR_CPUS, header.cpuCount));
    const currentCpu = header.currentCpu < count ? header.currentCpu : undefined;
    const registers = registersOrNone(subHeader.inner("elf_regs").bytes.slice());
    const cpus = Array.from({ length: count }, (_, cpu): CoreCpu => {
      const task = header.tasks[cpu] ?? 0n;
      return cpu === currentCpu ? { task, ...registers } : { task };
    });
    const hasSwitchStack = layoutOf(subHeader.type, model).fields.has("sw");
    const switchStack = hasSwitchStack && currentCpu !== undefined ? subHeader.getBig("sw", currentCpu) : 0n;
    return {
      ...common,
      systemName: named(systemName, model, ""),
      currentCpu,
      cpusNumbered: true,
      cpus,
      switchStack,
      dumpLevel: 0,
    };
  }
  const info = pieceOf(store, head, "vmcoreinfo", problems);
  const notes = parseNotes(pieceOf(store, head, "note", problems), model.littleEndian, model);
  const { facts, release } = factsOfNotes(notes, model, info);
  const dumpLevel = header.headerVersion >= 1 ? subHeader.get("dump_level") : 0;
  // makedumpfile copies the notes of what it converts: netdump's know one CPU. The header's tasks are ours, its own are 0.
  const tasks = facts.cpusNumbered ? header.tasks : [];
  const currentCpu = facts.currentCpu ?? (tasks.some((task) => task !== 0n) ? header.currentCpu : undefined);
  return {
    ...{ ...common, ...facts, systemName: named(systemName, model, release), dumpLevel },
    timestampSeconds: header.timestampSeconds || facts.timestampSeconds,
    cpus: facts.cpus.map((cpu, index) => ({ ...cpu, task: tasks[index] || cpu.task })),
    currentCpu: currentCpu !== undefined && currentCpu < facts.cpus.length ? currentCpu : undefined,
  };
}

const named = (name: CoreFacts["systemName"], model: DataModel, release: string): CoreFacts["systemName"] => ({
  ...name,
  sysname: name.sysname || "Linux",
  machine: name.machine || machineOf(model),
  release: name.release || release,
});
