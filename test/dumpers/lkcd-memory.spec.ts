// Goal: LKCD's memory method keeps the dump over a soft boot, in the memory that nobody uses, and loses it where that does not suffice.
// Method: whole trials; the oracle holds each page of what the next kernel wrote against RAM as it was when its turn came.
import { beforeAll, describe, expect, test } from "vitest";
import { lkcdOf } from "../../diskdump/peers/lkcd/lkcd.ts";
import { type DumpMemdev } from "../../diskdump/peers/lkcd/mem/memdev.ts";
import { framesOf, lookup } from "../../diskdump/peers/lkcd/mem/map.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { buildHardware } from "../../tools/machine/hardware.ts";
import { bootLab, type Lab } from "../../tools/machine/lab.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";

const MEMORY = ["memory.size=32MiB", "dump.lkcd.method=memory", "dump.lkcd.compress=gzip"];
const PAGES = (32 << 20) / 4096 - 96;
const trial = (sets: readonly string[], seed = 1): TrialResult =>
  runTrial(loadScenario("learn", [...MEMORY, ...sets], "lkcd"), seed, {});
const outcomeOf = ({ record }: TrialResult): unknown[] => [record.outcome, record.cause];
const NOT_ENOUGH = "the free pages did not suffice for the dump in memory";

describe("a dump comes through the soft boot, page by page as it was,", () => {
  test.each([
    ["after INIT on all CPUs", ["cpus=4", "load.perDisk=6"]],
    ["after INIT on one CPU, the others halting where they would schedule", ["cpus=4", "crash.initTargets=monarch"]],
    ["after a panic, version 9", ["crash.trigger=panic", "dump.lkcd.version=9"]],
    ["from an interrupt's context", ["crash.trigger=sysrq_c", "crash.context=hardirq"]],
    ["the kernel's pages only", ["dump.lkcd.level=kernel"]],
    ["on 2.4", ["kernel=2.4.21", "cpus=4"]],
    ["on i386", ["platform=i386"]],
    ["with the modified LKCD", ["dump.dumper=lkcd-modified"]],
  ])("%s", (_title, sets) => {
    const { record } = trial(sets);
    expect([record.outcome, record.cause, record.findings]).toEqual(["complete", null, []]);
    if (!sets.includes("dump.lkcd.level=kernel")) expect(record.dumpedPages).toBe(PAGES);
  });

  test("in two boots, of which the second writes it", () => {
    const lines = trial(["cpus=4"]).console.map(({ text }) => text);
    const order = [
      "Brought up 4 CPUs",
      "saving dump config settings",
      "Brought up 1 CPUs",
      `Dump complete; ${PAGES} pages saved.`,
    ];
    const places = order.map((text) => lines.indexOf(text));
    expect(places.every((place) => place >= 0)).toBe(true);
    expect(places).toEqual([...places].sort((a, b) => a - b));
  });

  test("and two runs of a seed leave the same trace", () => {
    expect(trial([], 5).record.traceHash).toBe(trial([], 5).record.traceHash);
  });
});

describe("the pages that a dump was kept in", () => {
  let lab: Lab;
  let dev: DumpMemdev;
  beforeAll(() => {
    const scenario = loadScenario("learn", [...MEMORY, "memory.inUse=0.3"], "lkcd");
    lab = bootLab(buildHardware(scenario, 3), scenario);
    lab.hardware.machine.run(scenario.limits.virtualTimeNs);
    dev = lkcdOf(lab.kernel)!.device as DumpMemdev;
  });

  test("were handed out by nobody: the next kernel knows no free block with one of them", () => {
    const next = dev.softBoot.kernel!;
    const { memdev } = savedConfig();
    const kept = new Set(framesOf(memdev, memdev.last_used_offset / 4096));
    expect(kept.size).toBeGreaterThan(500);
    next.enter();
    for (const zone of next.pages.zones) {
      for (let order = 0; order <= 10 && zone.spannedPages > 0; order++) {
        for (const pfn of zone.freeBlocks(order)) {
          for (let i = 0; i < 2 ** order; i++) expect(kept.has(pfn + i)).toBe(false);
        }
      }
    }
  });

  test("were free ones but for the first few, and lie above the flat window", () => {
    const { memdev } = savedConfig();
    const { bootstrapPages } = dev.softBoot;
    const { flatBytes } = lab.hardware.machine.memory;
    const used = memdev.last_used_offset / 4096;
    expect(used).toBeGreaterThan(bootstrapPages);
    for (let loc = bootstrapPages; loc < used; loc++)
      expect(lookup(memdev, loc)! * 4096).toBeGreaterThanOrEqual(flatBytes);
  });

  /** As the next kernel found it: the first one's variables are gone with its image. */
  function savedConfig(): { memdev: Parameters<typeof lookup>[0] } {
    dev.softBoot.kernel!.enter();
    return { memdev: dev.savedMemdev() };
  }
});

describe("there is no dump, or half of one,", () => {
  test("when the free pages do not take what is in use: the more is in use, the less of it", () => {
    const runs = [0.5, 0.7].map((share) => trial([`memory.inUse=${share}`, "memory.size=64MiB"]));
    for (const run of runs) expect(outcomeOf(run)).toEqual(["incomplete", NOT_ENOUGH]);
    expect(runs[0]!.console.map(({ text }) => text)).toContain("Out of space to write");
    expect(runs[1]!.record.dumpedPages).toBeLessThan(runs[0]!.record.dumpedPages);
    // With less in use there is more room, and less to put there.
    expect(outcomeOf(trial(["memory.inUse=0.2", "memory.size=64MiB"]))).toEqual(["complete", null]);
  });

  test("when a CPU never comes to where it would halt: it spins for a lock of the one that died", () => {
    const locked = ["kernel=2.4.21", "cpus=4", "load.perDisk=6", "crash.initTargets=monarch"];
    const { record } = trial([...locked, 'crash.at={"lock":{"name":"io_request_lock","count":200}}']);
    expect([record.outcome, record.cause]).toEqual([
      "hang",
      "the dump waits for the other CPUs to halt: one never comes to schedule(), where it would stop",
    ]);
  });

  test("when the disk is too small for it", () => {
    const partitions =
      "adapters.0.disks.1.partitions=[{startSector: 64, sectors: 8000}, {startSector: 160064, sectors: 1800000}]";
    const { record } = trial([partitions, "memory.inUse=0.3"]);
    expect([record.outcome, record.cause]).toEqual(["incomplete", "no space left on the dump device"]);
  });
});

test("what stops the disk method does not stop this one: the next kernel has locks of its own", () => {
  const dd = (...sets: string[]): TrialResult =>
    runTrial(loadScenario("raw-dd", ["memory.size=128MiB", "dump.lkcd.compress=gzip", ...sets], "lkcd"), 10, {});
  expect(outcomeOf(dd())).toEqual(["hang", expect.stringContaining("waits for io_request_lock")]);
  expect(outcomeOf(dd("dump.lkcd.method=memory"))).toEqual(["complete", null]);
}, 30_000);

describe("a scenario is refused that", () => {
  test.each([
    [["dump.lkcd.compress=rle"], /dump\.lkcd\.compress: the memory method needs gzip .*; got rle/],
    [["platform=ia64"], /dump\.lkcd\.method: memory is on x86_64 and i386 only; the platform is ia64/],
    [["dump.devices=[]"], /dump\.devices: expected at least one device/],
  ])("says %s", (sets, message) => {
    expect(() => loadScenario("learn", [...MEMORY, ...sets], "lkcd")).toThrow(UsageError);
    expect(() => loadScenario("learn", [...MEMORY, ...sets], "lkcd")).toThrow(message);
  });
});
