// Goal: LKCD dumps a machine whose I/O path is sound, and what it saved is what was in RAM. Method: whole trials, in every way of writing
// that there is, judged by the oracle; and the partition that is left behind.
import { describe, expect, test } from "vitest";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { lkcdCore } from "../../diskdump/cores/lkcd-core.ts";
import { openCore } from "../../diskdump/cores/open-core.ts";
import { hasSwapHeader } from "../../diskdump/format/swap-header.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { openPartition } from "../../diskdump/userspace/partition-table.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";
import { shows } from "../features/feature.ts";

const SMALL = ["cpus=4", "memory.size=32MiB"];
const run = (sets: readonly string[], seed = 1): TrialResult =>
  runTrial(loadScenario("learn", [...SMALL, ...sets], "lkcd"), seed, {});
const outcomeOf = (sets: readonly string[], seed = 1): string => {
  const { outcome, cause } = run(sets, seed).record;
  return cause === null ? outcome : `${outcome}: ${cause}`;
};

describe("a dump is complete, and page by page what was in RAM,", () => {
  for (const kernel of ["2.6.9", "2.4.21"]) {
    for (const [title, sets] of Object.entries({
      "raw, all of RAM": [],
      "with runs of bytes shortened, pages in use": ["dump.lkcd.compress=rle", "dump.lkcd.level=used"],
      "by zlib, the kernel's pages, version 9": [
        "dump.lkcd.compress=gzip",
        "dump.lkcd.level=kernel",
        "dump.lkcd.version=9",
      ],
      "when INIT reaches one CPU and the others run on": ["crash.initTargets=monarch", "load.perDisk=6"],
      "after a panic": ["crash.trigger=panic"],
      "after SysRq from the keyboard's interrupt": ["crash.trigger=sysrq_c", "crash.context=hardirq"],
    })) {
      test(`${title} (${kernel})`, () => {
        expect(outcomeOf([`kernel=${kernel}`, ...sets])).toBe("complete");
      }, 60_000);
    }
  }
  test.for(["i386", "ia64"])("on %s", (platform, context) => {
    shows(context, "lkcd", "platform dependency", `complete on ${platform}`);
    expect(outcomeOf([`platform=${platform}`])).toBe("complete");
    expect(outcomeOf([`platform=${platform}`, "kernel=2.4.21", "dump.lkcd.compress=rle"])).toBe("complete");
  });
});

test("a partition that is too small holds what fitted, and the dump says so", () => {
  const partitions =
    "adapters.0.disks.1.partitions=[{startSector: 64, sectors: 20000}, {startSector: 160064, sectors: 1800000}]";
  const { record } = run([partitions]);
  expect([record.outcome, record.cause]).toEqual(["incomplete", "no space left on the dump device"]);
  expect(record.dumpedPages).toBeGreaterThan(2000);
  expect(record.dumpedPages).toBeLessThan(2600);
});

test("two runs of a seed leave the same trace", () => {
  const traces = [1, 2].map(() => run(["kernel=2.4.21", "load.perDisk=6"], 7).record.traceHash);
  expect(traces[0]).toBe(traces[1]);
});

test("the swap header stays before the dump, and the file that is saved reads as the partition does", (context) => {
  shows(context, "lkcd", "dump device", "a swap partition, whose header stays as it was");
  const folder = mkdtempSync(join(tmpdir(), "lkcd-"));
  const [disk, vmcore] = [join(folder, "disk"), join(folder, "vmcore")];
  const result = run(["dump.lkcd.compress=rle"]);
  result.writeDisk(disk);
  result.writeVmcore(vmcore);
  const partition = openPartition(FileStore.open(disk), 1);
  expect(hasSwapHeader(partition, 4096)).toBe(true);
  const onDisk = openCore(partition);
  const saved = FileStore.open(vmcore);
  const inFile = lkcdCore(saved);
  expect(inFile.shortcomings).toEqual([]);
  expect(inFile.saved).toEqual(onDisk.saved);
  expect(inFile.fileBytes).toBe(readFileSync(vmcore).length);
  const page = new Uint8Array(4096);
  const again = new Uint8Array(4096);
  for (const { first, count } of inFile.saved) {
    for (let pfn = first; pfn < first + count; pfn += 97) {
      inFile.readPages(pfn, 1, page);
      onDisk.readPages(pfn, 1, again);
      expect(again).toEqual(page);
    }
  }
  saved.close();
  rmSync(folder, { recursive: true });
});

describe("a scenario is refused that", () => {
  test.each([
    ["dump.lkcd.compress=lzo", /dump\.lkcd\.compress: expected one of none, rle, gzip; got "lzo"/],
    ["dump.lkcd.levle=all", /dump\.lkcd\.levle: unknown key; did you mean "level"\?/],
    ["dump.lkcd.ipiWait=soon", /dump\.lkcd\.ipiWait: expected/],
    ["memory.size=8GiB", /dump\.lkcd\.compress: a dump of 8589934592 bytes of RAM is not kept uncompressed/],
    ["platform=ppc64", /dump\.dumper: the layout of LKCD's header on ppc64 is not known here/],
  ])("says %s", (set, message) => {
    expect(() => loadScenario("learn", [...SMALL, set], "lkcd")).toThrow(message);
  });
});
