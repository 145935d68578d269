// A dump on a partition, opened: what it says, what it holds, and how far it goes.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { decodeBitmap, pagesIn, type PageRange } from "../format/bitmap.ts";
import {
  isComplete,
  isPartial,
  memoryBlock,
  readHeader,
  readSubHeader,
  statusText,
  type DumpHeader,
  type Problem,
} from "../format/header.ts";
import { bitmapBlocksFor } from "../format/layout.ts";
import { firstWrongWord } from "../format/signature.ts";
import type { StructBytes } from "../format/struct-bytes.ts";
import { DUMP_HEADER } from "../format/structs.ts";
import { hex, plural, UsageError } from "./errors.ts";
import { formatOf } from "./format.ts";

export interface DumpImage {
  readonly store: ByteStore;
  readonly header: DumpHeader;
  readonly subHeader: StructBytes;
  /** RAM, as the bitmap has it. */
  readonly ram: readonly PageRange[];
  readonly ramPages: number;
  /**
   * The RAM pages that were meant to be saved, counted within RAM (0 is the lowest RAM page): all of them, unless the dump is
   * partial. (The RHEL4 module numbers the second bitmap so, not by page frame.)
   */
  readonly saved: readonly PageRange[];
  readonly savedPages: number;
  /** How many of the saved pages the image really holds; they are in ascending order, so it is the tail that lacks. */
  readonly presentPages: number;
  /** Why the dump is not whole; empty when it is. */
  readonly shortcomings: readonly string[];
  readonly problems: readonly Problem[];
}

/** True when the store begins like a partition with a dump. */
export const hasDump = (store: ByteStore): boolean => readHeader(store) !== undefined;

/** Opens the dump on a partition. Throws a UsageError that says what is wrong and where. */
export function openDump(store: ByteStore): DumpImage {
  const reading = readHeader(store);
  if (!reading) {
    throw new UsageError(
      `${store.name}: holds no dump: "DISKDUMP" expected at offset 0x1000 (or at 0x2000, 0x4000, 0x8000, 0x10000 for larger pages)`,
    );
  }
  const { header } = reading;
  if (!header) {
    const worst = reading.problems.find(({ severity }) => severity === "fatal")!;
    throw new UsageError(`${store.name}: damaged dump header at offset ${hex(worst.offset)}: ${worst.what}`);
  }
  if ((header.status & DUMP_HEADER.COMPRESSED) !== 0) {
    throw new UsageError(
      `${store.name}: the dump is compressed (status ${header.status}); only plain dumps can be read`,
    );
  }
  const firstMemoryBlock = memoryBlock(header);
  if (firstMemoryBlock * header.blockSize > store.sizeBytes) {
    throw new UsageError(
      `${store.name}: ends at offset ${hex(store.sizeBytes)}, within the headers and bitmap; memory begins at ${hex(firstMemoryBlock * header.blockSize)}`,
    );
  }
  const problems = [...reading.problems];
  const { ram, saved } = readBitmaps(store, header, problems);
  const shortcomings: string[] = [];
  const savedPages = pagesIn(saved);
  const presentPages = countPresent(store, header, savedPages, shortcomings);
  return {
    ...{ store, header, subHeader: readSubHeader(store, header), ram, ramPages: pagesIn(ram) },
    ...{ saved, savedPages, presentPages, shortcomings, problems },
  };
}

function readBitmaps(
  store: ByteStore,
  header: DumpHeader,
  problems: Problem[],
): { ram: PageRange[]; saved: PageRange[] } {
  const { blockSize, maxMapnr } = header;
  const offset = (2 + header.subHeaderBlocks) * blockSize;
  const bytes = new Uint8Array(bitmapBlocksFor(maxMapnr, blockSize) * blockSize);
  store.read(offset, bytes);
  const ram = decodeBitmap(bytes, maxMapnr);
  const ramPages = pagesIn(ram);
  if (ramPages === 0) {
    throw new UsageError(`${store.name}: the bitmap at offset ${hex(offset)} names no RAM page at all`);
  }
  if (ramPages !== header.totalRamBlocks) {
    const what = `the bitmap names ${plural(ramPages, "RAM page")}, the header says ${header.totalRamBlocks}`;
    problems.push({ severity: "warning", offset, what });
  }
  const beyond = decodeBitmap(bytes).find(({ first, count }) => first + count > maxMapnr);
  if (beyond) {
    const what = `the bitmap names page ${Math.max(beyond.first, maxMapnr)}, beyond max_mapnr ${maxMapnr}`;
    problems.push({ severity: "warning", offset: offset + (Math.max(beyond.first, maxMapnr) >>> 3), what });
  }
  if (!isPartial(header)) return { ram, saved: [{ first: 0, count: ramPages }] };
  const second = new Uint8Array(bytes.length);
  store.read(offset + bytes.length, second);
  return { ram, saved: decodeBitmap(second, ramPages) };
}

function countPresent(store: ByteStore, header: DumpHeader, savedPages: number, shortcomings: string[]): number {
  const first = memoryBlock(header);
  const storedBlocks = Math.floor(store.sizeBytes / header.blockSize);
  const room = storedBlocks - first;
  const claimed = Math.max(0, header.writtenBlocks - first);
  let present = savedPages;
  if (isComplete(header) || header.status === DUMP_HEADER.SHORT_AREA) {
    if (claimed < present) {
      shortcomings.push(`written_blocks accounts for ${claimed} of ${plural(savedPages, "page")}`);
      present = claimed;
    }
  } else {
    const end = findEnd(store, header, Math.min(first + savedPages, storedBlocks));
    present = Math.min(savedPages, Math.max(claimed, end.block - first));
    shortcomings.push(
      `the dump stopped after ${present} of ${plural(savedPages, "page")} (status: ${statusText(header.status)})`,
    );
    if (end.unsigned) {
      shortcomings.push("block 0 carries no signature, so the end of the dump cannot be told; old contents may follow");
    }
    if (end.uncertainBlocks > 0) {
      shortcomings.push(
        `the partition was formatted sparsely: up to ${end.uncertainBlocks} of the last pages may be older contents of the disk`,
      );
    }
  }
  if (!isComplete(header) && shortcomings.length === 0) shortcomings.push(`status: ${statusText(header.status)}`);
  if (present > room) {
    shortcomings.push(
      `the image ends at offset ${hex(store.sizeBytes)} and holds ${Math.max(0, room)} of ${plural(savedPages, "page")}`,
    );
    present = Math.max(0, room);
  }
  return present;
}

interface DumpEnd {
  readonly block: number;
  readonly uncertainBlocks: number;
  /** There is nothing to tell the end by. */
  readonly unsigned?: boolean;
}

/** Distance of the blocks that even a sparse format signs, with the default parameters. */
const SAMPLE_STEP = 1024;

/**
 * Where the dump stopped: the first block that still carries its own signature, with every later one (white paper 6.2:
 * the dummy data "makes it possible to detect the end of the dump even it was accidentally terminated in the middle").
 */
function findEnd(store: ByteStore, header: DumpHeader, endBlock: number): DumpEnd {
  const style = formatOf(store);
  const first = memoryBlock(header);
  if (!style || style.blockSize !== header.blockSize) {
    return { block: endBlock, uncertainBlocks: 0, unsigned: true };
  }
  const bytes = new Uint8Array(header.blockSize);
  const isSigned = (block: number): boolean => {
    store.read(block * header.blockSize, bytes);
    return firstWrongWord(bytes, block, style) < 0;
  };
  let end = endBlock;
  let sample = Math.floor((endBlock - 1) / SAMPLE_STEP) * SAMPLE_STEP;
  while (sample >= first && isSigned(sample)) {
    end = sample;
    sample -= SAMPLE_STEP;
  }
  const lastUnsigned = Math.max(first - 1, sample);
  const sampledEnd = end;
  while (end - 1 > lastUnsigned && isSigned(end - 1)) end--;
  if (end !== sampledEnd || sampledEnd === endBlock) return { block: end, uncertainBlocks: 0 };
  // Nothing below the sample is signed: either the dump stopped exactly here, or the gaps of a sparse format begin.
  const dense = sampledEnd + 5 < endBlock ? isSigned(sampledEnd + 5) : true;
  return { block: end, uncertainBlocks: dense ? 0 : end - 1 - lastUnsigned };
}
