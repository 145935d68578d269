// inspect: what is on this partition, disk image or core, and does it add up?
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { CoreReader } from "../cores/core.ts";
import { isCoreFile, openCore } from "../cores/open-core.ts";
import { isPartial, memoryBlock, statusText, type Problem } from "../format/header.ts";
import { isCheckedBlock } from "../format/signature.ts";
import { hasDump, openDump, type DumpImage } from "./dump-image.ts";
import { isElf, readElfCore, type ElfCore } from "./elf-core.ts";
import { UsageError } from "./errors.ts";
import { formatOf, verifyPartition, type WrongBlock } from "./format.ts";
import { missingBytesOf } from "./partition-store.ts";
import { openPartition, readPartitions, SECTOR_SIZE, type Partition } from "./partition-table.ts";

export interface FormatReport {
  readonly formula: "paper" | "rhel4";
  readonly littleEndian: boolean;
  readonly blockSize: number;
}

/** What every report says. */
interface Common {
  readonly name: string;
  readonly sizeBytes: number;
  /** Bytes of the partition that the image lacks: it is truncated. */
  readonly missingBytes: number;
}

export type InspectReport = Common &
  (
    | {
        readonly kind: "formatted";
        readonly format: FormatReport;
        readonly deviceBlocks: number;
        /** All blocks; the sampled ones; or not even those. */
        readonly signed: "all" | "sampled" | "damaged";
        readonly firstWrong?: WrongBlock;
      }
    | { readonly kind: "dump"; readonly dump: DumpImage; readonly format: FormatReport | undefined }
    | { readonly kind: "damaged dump"; readonly reason: string; readonly format: FormatReport | undefined }
    | { readonly kind: "vmcore"; readonly core: ElfCore }
    | {
        readonly kind: "core file";
        readonly file: CoreReader;
        /** What is wrong with pages; the first of them. */
        readonly badPages: readonly string[];
      }
    | {
        readonly kind: "disk";
        readonly partitions: readonly { readonly partition: Partition; readonly report: InspectReport }[];
      }
    | { readonly kind: "unknown"; readonly reason: string }
  );

/** True when nothing is wrong with what was found. */
export function isSound(report: InspectReport): boolean {
  if (report.missingBytes > 0) return false;
  switch (report.kind) {
    case "formatted":
      return report.signed !== "damaged";
    case "dump":
      return report.dump.shortcomings.length === 0 && report.dump.problems.length === 0;
    case "vmcore":
      return report.core.problems.length === 0;
    case "core file": {
      const { file, badPages } = report;
      return file.shortcomings.length === 0 && file.problems.length === 0 && badPages.length === 0;
    }
    case "disk":
      return report.partitions.every(
        ({ report: inner }) => isSound(inner) || (inner.kind === "unknown" && inner.missingBytes === 0),
      );
    default:
      return false;
  }
}

/** Looks at a store and reports; damage is part of the report, not an error. */
export function inspect(store: ByteStore): InspectReport {
  const common = commonOf(store);
  if (isElf(store)) {
    return reasonOr(common, () => ({ ...common, kind: "vmcore", core: readElfCore(store) }));
  }
  if (isCoreFile(store)) {
    return reasonOr(common, () => {
      const file = openCore(store);
      return { ...common, kind: "core file", file, badPages: badPagesOf(file) };
    });
  }
  const format = formatOf(store);
  if (hasDump(store)) {
    const opened = reasonOr(common, () => ({ ...common, kind: "dump", dump: openDump(store), format }));
    return opened.kind === "unknown" ? { ...common, kind: "damaged dump", reason: opened.reason, format } : opened;
  }
  if (format) return inspectFormat(store, format);
  const partitions = readPartitions(store);
  if (partitions && partitions.length > 0) {
    const inner = partitions.map((partition) => ({ partition, report: inspectPartition(store, partition) }));
    return { ...common, kind: "disk", partitions: inner };
  }
  const reason = "no ELF, DISKDUMP, KDUMP or LKCD core, no dump header, no signature in block 0, no partition table";
  return { ...common, kind: "unknown", reason };
}

/** Bad pages that are told of; the rest is looked at no more. */
const MOST_BAD_PAGES = 16;

/** Reads every page: a compressed one is whole when it can be decompressed. */
function badPagesOf(core: CoreReader): string[] {
  const page = new Uint8Array(core.facts.pageSize);
  const bad: string[] = [];
  for (const { first, count } of core.saved) {
    for (let pfn = first; pfn < first + count; pfn++) {
      try {
        core.readPages(pfn, 1, page);
      } catch (error) {
        if (!(error instanceof UsageError)) throw error;
        if (bad.push(error.message) >= MOST_BAD_PAGES) return bad;
      }
    }
  }
  return bad;
}

const commonOf = (store: ByteStore): Common => ({
  name: store.name,
  sizeBytes: store.sizeBytes,
  missingBytes: missingBytesOf(store),
});

function inspectPartition(disk: ByteStore, partition: Partition): InspectReport {
  const name = `${disk.name} partition ${partition.number}`;
  const sizeBytes = partition.sectorCount * SECTOR_SIZE;
  const end = partition.startSector * SECTOR_SIZE + sizeBytes;
  const missingBytes = Math.min(sizeBytes, Math.max(0, end - disk.sizeBytes));
  const common = { name, sizeBytes, missingBytes };
  return reasonOr(common, () => {
    const store = openPartition(disk, partition.number);
    // A partition table within a partition is not looked for: an extended one would be found again and again.
    if (!isCoreFile(store) && !hasDump(store) && !formatOf(store)) {
      return { ...common, kind: "unknown", reason: "no dump and not formatted" };
    }
    return inspect(store);
  });
}

function reasonOr(common: Common, look: () => InspectReport): InspectReport {
  try {
    return look();
  } catch (error) {
    if (error instanceof UsageError) return { ...common, kind: "unknown", reason: error.message };
    throw error;
  }
}

function inspectFormat(store: ByteStore, format: FormatReport): InspectReport {
  const common = commonOf(store);
  const deviceBlocks = Math.floor(store.sizeBytes / format.blockSize);
  const { firstWrong } = verifyPartition(store, format);
  const report = { ...common, kind: "formatted" as const, format, deviceBlocks };
  if (!firstWrong) return { ...report, signed: "all" };
  const sampledWrong = verifyPartition(store, { ...format, sparse: true }).firstWrong;
  if (sampledWrong) return { ...report, signed: "damaged", firstWrong };
  // A sparse format leaves its first gap right behind the first chunk; a wrong block elsewhere is damage.
  const gap = firstWrong.block === 4 || !isCheckedBlock(firstWrong.block, format.formula);
  return { ...report, signed: gap ? "sampled" : "damaged", firstWrong };
}

/** Reading aids of a dump's numbers. */
export function dumpFacts(dump: DumpImage): {
  expectedBlocks: number;
  accountedBlocks: number;
  problems: readonly Problem[];
} {
  const expectedBlocks = memoryBlock(dump.header) + dump.savedPages;
  return { expectedBlocks, accountedBlocks: dump.header.writtenBlocks, problems: dump.problems };
}

export const dumpStatusText = (dump: DumpImage): string =>
  `${statusText(dump.header.status)}${isPartial(dump.header) ? ", partial" : ""}`;
