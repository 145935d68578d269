// A core of any kind becomes a DISKDUMP or KDUMP file.
import { encodeBitmap, pagesIn, type PageRange } from "../format/bitmap.ts";
import { encodeHeader, type DumpHeader } from "../format/header.ts";
import { bitmapBlocksFor } from "../format/layout.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { disk_dump_sub_header, DUMP_HEADER, NR_CPUS } from "../format/structs.ts";
import { layoutOf } from "../../kernel-sim/abi/types.ts";
import { cpuNotes, dumpingCpu } from "../userspace/core-notes.ts";
import type { CoreSink } from "../userspace/core-sink.ts";
import { Appender } from "./appender.ts";
import {
  DESC,
  DISKDUMP_VERSION,
  kdump_sub_header,
  kdumpSubHeaderBytes,
  KDUMP_STATUS,
  KDUMP_VERSION,
  PAGE_DESC_BYTES,
  SIGNATURES,
  type CompressedFormat,
} from "./compressed-header.ts";
import type { CoreFacts, CoreProgress, CoreReader } from "./core.ts";
import { PageIndex } from "./page-index.ts";
import { deflatePage } from "./zlib-page.ts";
import { feedPages } from "./page-feed.ts";

export interface CompressedOptions {
  readonly format: CompressedFormat;
  readonly compress: "none" | "zlib";
  /** The pages to write; default: all that are saved. */
  readonly keep?: readonly PageRange[];
  /**
   * Pages of zeroes are left out, too. That changes a DISKDUMP file only: in a KDUMP file they have descriptors that share one
   * page, as makedumpfile has it, so that readers need not know that they are zero.
   */
  readonly skipZero?: boolean;
  /** What was left out by kind, for the sub header (makedumpfile's bits). */
  readonly dumpLevel?: number;
  /** page->flags of a page frame, where they are known: kept in its descriptor. */
  readonly pageFlags?: (pfn: number) => bigint;
  /** savecore -P: pages with any of these flags stay uncompressed. */
  readonly plainFlags?: bigint;
  readonly onProgress?: (progress: CoreProgress) => void;
}

/** The sub header's blocks: what is in them, and how many. */
function subHeaderOf(facts: CoreFacts, options: CompressedOptions): Uint8Array {
  const { model, pageSize } = facts;
  const blocks = (bytes: number): Uint8Array => new Uint8Array(Math.ceil(bytes / pageSize) * pageSize);
  if (options.format === "diskdump") {
    const type = disk_dump_sub_header[model.name];
    const out = blocks(layoutOf(type, model).size);
    const view = new StructBytes(type, model, out);
    const registers = dumpingCpu(facts)?.registers;
    if (registers) view.inner("elf_regs").bytes.set(registers);
    if (layoutOf(type, model).fields.has("sw")) view.setBig("sw", facts.switchStack, facts.currentCpu ?? 0);
    return out;
  }
  const info = Buffer.from(facts.vmcoreinfo, "latin1");
  const notes = cpuNotes(facts);
  const infoAt = Math.ceil(kdumpSubHeaderBytes(model) / 8) * 8;
  const notesAt = Math.ceil((infoAt + info.length) / 8) * 8;
  const out = blocks(notesAt + notes.length);
  const view = new StructBytes(kdump_sub_header, model, out);
  view.set("dump_level", options.dumpLevel ?? 0);
  view.set("offset_vmcoreinfo", info.length === 0 ? 0 : pageSize + infoAt);
  view.set("size_vmcoreinfo", info.length);
  view.set("offset_note", pageSize + notesAt);
  view.set("size_note", notes.length);
  view.set("max_mapnr_64", facts.maxMapnr);
  out.set(info, infoAt);
  out.set(notes, notesAt);
  return out;
}

function headerOf(
  core: CoreReader,
  options: CompressedOptions,
  subHeaderBlocks: number,
  bitmapBlocks: number,
): DumpHeader {
  const { facts } = core;
  const whole = core.shortcomings.length === 0;
  const packed = options.compress === "zlib";
  const kdump = options.format === "kdump";
  const complete = whole ? DUMP_HEADER.COMPLETED : DUMP_HEADER.INCOMPLETED;
  const word = BigInt(facts.model.wordBytes * 8);
  return {
    model: facts.model,
    headerVersion: kdump ? KDUMP_VERSION : DISKDUMP_VERSION,
    systemName: facts.systemName,
    ...{ timestampSeconds: facts.timestampSeconds, timestampNs: facts.timestampNs },
    status: kdump
      ? (packed ? KDUMP_STATUS.ZLIB : 0) | (whole ? 0 : KDUMP_STATUS.INCOMPLETE)
      : complete | (packed ? DUMP_HEADER.COMPRESSED : 0),
    ...{ blockSize: facts.pageSize, subHeaderBlocks, bitmapBlocks },
    maxMapnr: Math.min(facts.maxMapnr, 0xffffffff),
    totalRamBlocks: pagesIn(facts.ram),
    ...{ deviceBlocks: 0, writtenBlocks: 0, currentCpu: facts.currentCpu ?? 0 },
    cpuCount: facts.cpus.length,
    tasks: facts.cpus.slice(0, NR_CPUS).map(({ task }) => BigInt.asUintN(Number(word), task)),
  };
}

/** Writes the file in one pass over the pages: room for the most descriptors that there can be stands before their contents. */
export function writeCompressedCore(core: CoreReader, sink: CoreSink, options: CompressedOptions): void {
  const { facts } = core;
  const { pageSize, model } = facts;
  const keep = options.keep ?? core.saved;
  const subHeader = subHeaderOf(facts, options);
  const oneBitmap = bitmapBlocksFor(facts.maxMapnr, pageSize);
  const header = headerOf(core, options, subHeader.length / pageSize, 2 * oneBitmap);
  const bitmapAt = pageSize + subHeader.length;
  const descAt = bitmapAt + 2 * oneBitmap * pageSize;
  const kept = new PageIndex(keep);
  const dataAt = Math.ceil((descAt + kept.total * PAGE_DESC_BYTES) / pageSize) * pageSize;

  sink.begin(dataAt + (kept.total + 1) * pageSize);
  sink.bytes(0, encodeHeader(header, SIGNATURES[options.format]));
  sink.bytes(pageSize, subHeader);
  sink.bytes(bitmapAt, encodeBitmap(facts.ram, oneBitmap * pageSize));
  const dumped = encodeBitmap(keep, oneBitmap * pageSize);
  const descriptors = new Appender(sink, descAt);
  const data = new Appender(sink, dataAt);
  const descriptor = new Uint8Array(PAGE_DESC_BYTES);
  const view = new DataView(descriptor.buffer);
  const pack = options.compress === "zlib" ? deflatePage : (): undefined => undefined;
  const { pageFlags, plainFlags = 0n } = options;
  const skipZero = options.skipZero === true && options.format === "diskdump";

  /** One descriptor for contents at `at`. */
  const describe = (at: number, size: number, flags: number, pageFlagBits: bigint): void => {
    view.setBigUint64(0, BigInt(at), model.littleEndian);
    view.setUint32(8, size, model.littleEndian);
    view.setUint32(12, flags, model.littleEndian);
    view.setBigUint64(16, pageFlagBits, model.littleEndian);
    descriptors.append(descriptor);
  };
  /** Pages of zeroes share one piece of contents. */
  let zero: readonly [at: number, size: number, flags: number] | undefined;
  const store = (contents: Uint8Array, plain: boolean): readonly [number, number, number] => {
    const packed = plain ? undefined : pack(contents);
    return packed
      ? [data.append(packed), packed.length, DESC.ZLIB]
      : [data.append(contents), contents.length, DESC.RAW];
  };
  feedPages(
    core,
    keep,
    (pfn, contents) => {
      if (!contents && skipZero) {
        dumped[pfn >>> 3]! &= ~(1 << (pfn & 7));
        return;
      }
      const bits = pageFlags?.(pfn) ?? 0n;
      const [at, size, flags] = contents
        ? store(contents, (bits & plainFlags) !== 0n)
        : (zero ??= store(new Uint8Array(pageSize), false));
      describe(at, size, flags, bits);
    },
    options.onProgress,
  );
  descriptors.flush();
  data.flush();
  sink.bytes(bitmapAt + oneBitmap * pageSize, dumped);
  sink.end(data.offset);
}
