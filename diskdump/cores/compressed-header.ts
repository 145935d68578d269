// The head of the two formats that keep pages compressed behind descriptors: DISKDUMP as a file, and makedumpfile's KDUMP.
//
//   block 0      disk_dump_header: the one of the partition, under the signature "DISKDUMP" or "KDUMP   "
//   block 1 ...  sub header: DISKDUMP has the registers of the dumping CPU, KDUMP a struct of its own, VMCOREINFO and notes
//   then         two bitmaps, one bit per page frame: RAM, and what is in the file (one bitmap: both are the same)
//   then         a page_desc for each page in the file, ascending
//   then         the pages; descriptors may share one
//
// Sources: diskdump.h, diskdump.c of crash 8.0.2; diskdump_mod.h of makedumpfile 1.7.2.
import { DATA_MODELS, int, layoutOf, struct, u64, uint, ulong, type DataModel } from "../../kernel-sim/abi/types.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { headerFields, modelOfMachine, type DumpHeader, type Problem } from "../format/header.ts";
import { bitmapBlocksFor } from "../format/layout.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { disk_dump_header, disk_dump_sub_header, NR_CPUS } from "../format/structs.ts";
import { hex, UsageError } from "../userspace/errors.ts";

export const SIGNATURES = { diskdump: "DISKDUMP", kdump: "KDUMP   " } as const;
export type CompressedFormat = keyof typeof SIGNATURES;

/** The sub header of a KDUMP file. Fields came in with header versions 1 to 6; a reader of an older one sees zeroes. */
export const kdump_sub_header = struct("kdump_sub_header", {
  phys_base: ulong,
  /** Version 1. */
  dump_level: int,
  /** Version 2: one of several files. */
  split: int,
  start_pfn: ulong,
  end_pfn: ulong,
  /** Version 3. */
  offset_vmcoreinfo: u64,
  size_vmcoreinfo: ulong,
  /** Version 4. */
  offset_note: u64,
  size_note: ulong,
  /** Version 5. */
  offset_eraseinfo: u64,
  size_eraseinfo: ulong,
  /** Version 6. */
  start_pfn_64: u64,
  end_pfn_64: u64,
  max_mapnr_64: u64,
});

/** What stands before each page's contents. */
export const page_desc = struct("page_desc", { offset: u64, size: uint, flags: uint, page_flags: u64 });
export const PAGE_DESC_BYTES = 24;

/** page_desc.flags: how the contents are compressed. Of these only zlib is read and written here. */
export const DESC = { RAW: 0, ZLIB: 1, LZO: 2, SNAPPY: 4, ZSTD: 0x20 } as const;
export const DESC_NAMES: Readonly<Record<number, string>> = { 2: "lzo", 4: "snappy", 0x20: "zstd" };

/** disk_dump_header.status of a KDUMP file: how pages are compressed, and whether the disk was full before the end. */
export const KDUMP_STATUS = { ZLIB: 1, INCOMPLETE: 8 } as const;
export const KDUMP_VERSION = 6;
export const DISKDUMP_VERSION = 1;

/** Bitmaps beyond this describe no machine. */
const MOST_MAPNR = 2 ** 36;
const MOST_SUB_HEADER_BLOCKS = 4096;

/** Which of the two the store begins like. */
export function compressedFormatOf(store: ByteStore): CompressedFormat | undefined {
  if (store.sizeBytes < 8) return undefined;
  const bytes = new Uint8Array(8);
  store.read(0, bytes);
  const text = Buffer.from(bytes).toString("latin1");
  return text === SIGNATURES.diskdump ? "diskdump" : text === SIGNATURES.kdump ? "kdump" : undefined;
}

export interface CompressedHead {
  readonly format: CompressedFormat;
  readonly header: DumpHeader;
  /** disk_dump_sub_header of the machine, or kdump_sub_header. */
  readonly subHeader: StructBytes;
  readonly maxMapnr: number;
  readonly problems: readonly Problem[];
}

/**
 * The machine's data model. makedumpfile leaves the name empty when it was not told of a kernel: then it is the one in whose
 * layout block_size is that machine's page size.
 */
function modelOf(block: Uint8Array, fail: (at: number, what: string) => never): DataModel {
  const probe = new StructBytes(disk_dump_header, DATA_MODELS.x86_64, block);
  const name = probe.inner("utsname");
  const machine = name.getText("machine");
  const byName = modelOfMachine(machine);
  if (byName) return byName;
  if (machine !== "") {
    const at = probe.offsetOf("utsname") + name.offsetOf("machine");
    fail(at, `utsname.machine is "${machine}", expected i386..i686, x86_64, ia64 or ppc64`);
  }
  const fits = Object.values(DATA_MODELS).find(
    (model) => new StructBytes(disk_dump_header, model, block).get("block_size") === model.pageSize,
  );
  return (
    fits ?? fail(probe.offsetOf("block_size"), "utsname.machine is empty, and block_size is no machine's page size")
  );
}

/** Reads and checks the head. Throws a UsageError that says what is wrong and where. */
export function readCompressedHead(store: ByteStore): CompressedHead {
  const fail = (at: number, what: string): never => {
    throw new UsageError(`${store.name}: damaged header at offset ${hex(at)}: ${what}`);
  };
  const format = compressedFormatOf(store);
  if (!format) return fail(0, 'neither "DISKDUMP" nor "KDUMP   "');
  const block = new Uint8Array(4096);
  if (store.sizeBytes < block.length) {
    throw new UsageError(`${store.name}: ends at offset ${hex(store.sizeBytes)}, within its header`);
  }
  store.read(0, block);
  const model = modelOf(block, fail);
  const raw = new StructBytes(disk_dump_header, model, block);
  const header = headerFields(raw, model);
  const at = (field: string): number => raw.offsetOf(field);
  const { headerVersion, blockSize, subHeaderBlocks, bitmapBlocks } = header;
  if (headerVersion < 0 || headerVersion > KDUMP_VERSION) {
    fail(at("header_version"), `header_version is ${headerVersion}, expected 0 to ${KDUMP_VERSION}`);
  }
  if (blockSize < 4096 || blockSize > 65536 || (blockSize & (blockSize - 1)) !== 0) {
    fail(at("block_size"), `block_size is ${blockSize}, expected a power of two from 4096 to 65536`);
  }
  if (subHeaderBlocks < 1 || subHeaderBlocks > MOST_SUB_HEADER_BLOCKS) {
    fail(at("sub_hdr_size"), `sub_hdr_size is ${subHeaderBlocks}, expected 1 to ${MOST_SUB_HEADER_BLOCKS}`);
  }
  const headEnd = (1 + subHeaderBlocks + bitmapBlocks) * blockSize;
  if (headEnd > store.sizeBytes) {
    throw new UsageError(
      `${store.name}: ends at offset ${hex(store.sizeBytes)}, within the headers and bitmaps; they end at ${hex(headEnd)}`,
    );
  }
  const type = format === "kdump" ? kdump_sub_header : disk_dump_sub_header[model.name];
  const subHeader = new StructBytes(type, model);
  store.read(blockSize, subHeader.bytes.subarray(0, Math.min(subHeader.bytes.length, subHeaderBlocks * blockSize)));

  // Version 6 has room for more page frames than the header's 32 bits.
  const wide = format === "kdump" && headerVersion >= 6 ? subHeader.get("max_mapnr_64") : 0;
  const maxMapnr = wide > 0 ? wide : header.maxMapnr;
  if (maxMapnr < 1 || maxMapnr > MOST_MAPNR) {
    fail(at("max_mapnr"), `max_mapnr is ${maxMapnr}, expected at least one page of memory`);
  }
  const one = bitmapBlocksFor(maxMapnr, blockSize);
  if (bitmapBlocks < one) {
    fail(
      at("bitmap_blocks"),
      `bitmap_blocks is ${bitmapBlocks}, expected ${one} or ${2 * one} for max_mapnr ${maxMapnr}`,
    );
  }
  if (format === "kdump" && headerVersion >= 2 && subHeader.get("split") !== 0) {
    fail(blockSize + subHeader.offsetOf("split"), "it is one of several files; makedumpfile --reassemble joins them");
  }
  const problems: Problem[] = [];
  const warn = (field: string, what: string): void => {
    problems.push({ severity: "warning", offset: at(field), what });
  };
  if (bitmapBlocks !== one && bitmapBlocks !== 2 * one) {
    warn("bitmap_blocks", `bitmap_blocks is ${bitmapBlocks}, expected ${one} or ${2 * one} for max_mapnr ${maxMapnr}`);
  }
  if (blockSize !== model.pageSize) {
    warn("block_size", `block_size is ${blockSize}, ${model.name} has pages of ${model.pageSize}`);
  }
  if (header.cpuCount < 1 || (format === "diskdump" && header.cpuCount > NR_CPUS)) {
    warn("nr_cpus", `nr_cpus is ${header.cpuCount}, expected 1 to ${NR_CPUS}`);
  }
  return { format, header, subHeader, maxMapnr, problems };
}

/** Blocks before the first bitmap. */
export const headBlocks = (header: Pick<DumpHeader, "subHeaderBlocks">): number => 1 + header.subHeaderBlocks;

/** Bytes of a KDUMP sub header. */
export const kdumpSubHeaderBytes = (model: DataModel): number => layoutOf(kdump_sub_header, model).size;
