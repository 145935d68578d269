// A core of any format becomes a file of any other.
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import type { CoreSink } from "../userspace/core-sink.ts";
import { writeElfCore } from "../userspace/core-writer.ts";
import { plural, UsageError } from "../userspace/errors.ts";
import { writeCompressedCore } from "./compressed-writer.ts";
import { leftOutPages, type CoreProgress, type CoreReader } from "./core.ts";
import type { LkcdCompression } from "./lkcd-header.ts";
import { writeLkcdCore } from "./lkcd-writer.ts";
import { FILTER, type PageFilter } from "./page-filter.ts";

/** What can be written. "elf": as /proc/vmcore of a kdump kernel; "netdump": as a netdump server or savecore. */
export const CORE_FORMATS = ["elf", "netdump", "diskdump", "kdump", "lkcd8", "lkcd9"] as const;
export type CoreFormat = (typeof CORE_FORMATS)[number];

export const COMPRESSIONS = ["none", "zlib", "rle", "gzip"] as const;
export type Compression = (typeof COMPRESSIONS)[number];

/** How each format may keep its pages; the first is the default. */
const ALLOWED: Readonly<Record<CoreFormat, readonly Compression[]>> = {
  elf: ["none"],
  netdump: ["none"],
  diskdump: ["zlib", "none"],
  kdump: ["zlib", "none"],
  lkcd8: ["gzip", "rle", "none"],
  lkcd9: ["gzip", "rle", "none"],
};

export interface ExportOptions {
  readonly format: CoreFormat;
  /** Default: the format's own, see formats.md. */
  readonly compress?: Compression;
  /** makedumpfile's dump level; default 0. Anything but zero pages needs a filter. */
  readonly level?: number;
  /** Knows what kind a page is; made from the vmlinux. */
  readonly filter?: PageFilter;
  /** savecore -P: pages whose flags have any of these bits stay uncompressed. Needs a filter. */
  readonly plainFlags?: bigint;
  readonly onProgress?: (progress: CoreProgress) => void;
}

export interface ExportPlan {
  readonly compress: Compression;
  readonly keep: readonly PageRange[];
  readonly level: number;
  /** What the reader should know about the result, one sentence each. */
  readonly remarks: readonly string[];
}

/** Says whether and how a core can be written so; nothing is written. Throws a UsageError for what cannot be. */
export function planExport(core: CoreReader, options: ExportOptions): ExportPlan {
  const { format, level = 0, filter } = options;
  const compress = options.compress ?? ALLOWED[format][0]!;
  if (!ALLOWED[format].includes(compress)) {
    const allowed = ALLOWED[format].join(", ");
    throw new UsageError(`--compress ${compress}: pages of a ${format} file are kept as ${allowed}`);
  }
  if (!Number.isInteger(level) || level < 0 || level > 31) {
    throw new UsageError(`--level ${level}: expected 0 to 31, the sum of 1, 2, 4, 8 and 16`);
  }
  if ((level & ~FILTER.ZERO) !== 0 && !filter) {
    throw new UsageError(
      `--level ${level}: what kind a page is stands in the kernel's mem_map; give the kernel with --vmlinux`,
    );
  }
  if (options.plainFlags !== undefined) {
    if (!filter)
      throw new UsageError("-P: the flags of pages stand in the kernel's mem_map; give the kernel with --vmlinux");
    if (compress !== "zlib")
      throw new UsageError("-P: chooses pages that stay uncompressed, and no page of this file is compressed");
  }
  const keep = filter && (level & ~FILTER.ZERO) !== 0 ? filter.keep(core.saved, level) : core.saved;
  const remarks: string[] = [...(filter?.remarks ?? [])];
  const before = leftOutPages(core);
  const isElfFile = format === "elf" || format === "netdump";
  if (before > 0 && isElfFile) remarks.push(`${plural(before, "page")} that ${core.name} left out read as zeroes`);
  if (level === FILTER.ZERO && !isElfFile && format.startsWith("lkcd")) {
    remarks.push("an LKCD dump cannot say that a page is zero: zero pages stay");
  }
  if (core.facts.currentCpu === undefined && format !== "elf" && format !== "kdump") {
    remarks.push(`${core.name} does not say which CPU dumped (--vmlinux tells)`);
  }
  if (!core.facts.cpusNumbered && format !== "netdump" && core.facts.cpus.some(({ registers }) => registers)) {
    remarks.push(`${core.name} does not say which CPU its registers belong to: they become CPU 0's (--vmlinux tells)`);
  }
  const lost = core.saved.length > 0 ? pagesIn(core.saved) - pagesIn(keep) : 0;
  if (lost > 0) remarks.push(`level ${level}: ${lost} of ${plural(pagesIn(core.saved), "page")} left out by kind`);
  return { compress, keep, level: level | core.facts.dumpLevel, remarks };
}

/** Writes the file as planned. */
export function exportCore(core: CoreReader, sink: CoreSink, options: ExportOptions, plan: ExportPlan): void {
  const { format } = options;
  const { keep, compress, level } = plan;
  const common = { keep, ...(options.onProgress ? { onProgress: options.onProgress } : {}) };
  switch (format) {
    case "elf":
      writeElfCore(core, sink, { style: "kdump", ...common });
      return;
    case "netdump":
      writeElfCore(core, sink, { style: "netdump", ...common });
      return;
    case "diskdump":
    case "kdump": {
      const { filter, plainFlags } = options;
      writeCompressedCore(core, sink, {
        ...{ ...common, format, compress: compress === "zlib" ? "zlib" : "none", dumpLevel: level },
        skipZero: (level & FILTER.ZERO) !== 0,
        ...(filter ? { pageFlags: (pfn) => filter.flagsOf(pfn) } : {}),
        ...(plainFlags === undefined ? {} : { plainFlags }),
      });
      return;
    }
    case "lkcd8":
    case "lkcd9":
      writeLkcdCore(core, sink, {
        ...{ ...common, version: format === "lkcd8" ? 8 : 9, compress: compress as LkcdCompression },
      });
  }
}
