// A dump on a partition as a core.
import type { PageRange } from "../format/bitmap.ts";
import { memoryBlock } from "../format/header.ts";
import { layoutOf } from "../../kernel-sim/abi/types.ts";
import { NR_CPUS } from "../format/structs.ts";
import type { DumpImage } from "../userspace/dump-image.ts";
import type { CoreCpu, CoreFacts, CoreReader } from "./core.ts";
import { PageIndex, pushRange } from "./page-index.ts";
import { nextRawData, readRawPages } from "./raw-pages.ts";

/** The pages that the image holds, by page frame number. */
function savedRanges(dump: DumpImage, ram: PageIndex): PageRange[] {
  const ranges: PageRange[] = [];
  let left = dump.presentPages;
  for (const piece of dump.saved) {
    for (let at = 0; at < piece.count && left > 0;) {
      const pfn = ram.pfnOf(piece.first + at);
      const count = Math.min(ram.pagesFrom(pfn), piece.count - at, left);
      pushRange(ranges, pfn, count);
      at += count;
      left -= count;
    }
  }
  return ranges;
}

/** Where the dump broke off, as a page frame. */
function endOf(dump: DumpImage, ram: PageIndex): number {
  if (dump.presentPages >= dump.savedPages) return dump.header.maxMapnr;
  let left = dump.presentPages;
  for (const { first, count } of dump.saved) {
    if (left < count) return ram.pfnOf(first + left);
    left -= count;
  }
  return dump.header.maxMapnr;
}

function factsOf(dump: DumpImage, ram: PageIndex): CoreFacts {
  const { header, subHeader } = dump;
  const { model } = header;
  const count = Math.max(1, Math.min(NR_CPUS, header.cpuCount));
  const currentCpu = header.currentCpu < count ? header.currentCpu : undefined;
  const cpus = Array.from({ length: count }, (_, cpu): CoreCpu => {
    const task = header.tasks[cpu] ?? 0n;
    // The partition has the registers of the CPU that dumped, and of no other.
    return cpu === currentCpu ? { task, registers: subHeader.inner("elf_regs").bytes } : { task };
  });
  const hasSwitchStack = layoutOf(subHeader.type, model).fields.has("sw");
  return {
    ...{ model, pageSize: header.blockSize, systemName: header.systemName, panicText: "", vmcoreinfo: "" },
    ...{ timestampSeconds: header.timestampSeconds, timestampNs: header.timestampNs },
    ...{ currentCpu, cpusNumbered: true, cpus, dumpLevel: 0 },
    switchStack: hasSwitchStack && currentCpu !== undefined ? subHeader.getBig("sw", currentCpu) : 0n,
    ...{ maxMapnr: header.maxMapnr, ram: dump.ram, endPfn: endOf(dump, ram) },
  };
}

/** The dump as a core; `dump` stays what it is. */
export function partitionCore(dump: DumpImage): CoreReader {
  const { store, header } = dump;
  const ram = new PageIndex(dump.ram);
  const saved = new PageIndex(savedRanges(dump, ram));
  const memoryAt = memoryBlock(header) * header.blockSize;
  const raw = {
    pageSize: header.blockSize,
    rawRun(pfn: number) {
      const ordinal = saved.ordinalOf(pfn);
      if (ordinal < 0) return undefined;
      // Saved pages stand one behind the other, whatever holes lie between their frames.
      return { store, offset: memoryAt + ordinal * header.blockSize, pages: saved.pagesFrom(pfn) };
    },
  };
  return {
    ...{ name: store.name, kind: "a dump on a partition", facts: factsOf(dump, ram), saved: saved.ranges },
    ...{ shortcomings: dump.shortcomings, problems: dump.problems, rawRun: raw.rawRun },
    readPages: (pfn, count, into) => readRawPages(raw, pfn, count, into),
    nextData: (pfn, end) => nextRawData(raw, pfn, end),
  };
}
