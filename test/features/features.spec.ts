// Goal: the cells of the white paper's table of dumpers that no other test proves. Method: whole trials on a small machine, the same for
// every dumper; each test says what it has asserted.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { isLkcd } from "../../diskdump/cores/lkcd-header.ts";
import { isElf } from "../../diskdump/userspace/elf-core.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { openPartition } from "../../diskdump/userspace/partition-table.ts";
import { DUMPERS, type Dumper } from "../../tools/scenario/scenario.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";
import { shows } from "./feature.ts";

const folder = mkdtempSync(join(tmpdir(), "features-"));
afterAll(() => rmSync(folder, { recursive: true }));

const isKexec = (dumper: Dumper): boolean => dumper === "kdump" || dumper === "mkdump";
const trial = (dumper: Dumper, sets: readonly string[], scenario = "learn"): TrialResult => {
  const size = isKexec(dumper) ? ["memory.size=48MiB", "kdump.crashkernel=16MiB"] : ["memory.size=20MiB"];
  return runTrial(loadScenario(scenario, [...size, ...sets], dumper), 1, {});
};

/** host_lock is held; the adapter's handler is abandoned. */
const AFTER: Readonly<Record<Dumper, readonly [locked: string, inHandler: string]>> = {
  diskdump: ["refused", "complete"],
  lkcd: ["hang", "hang"],
  "lkcd-modified": ["complete", "hang"],
  netdump: ["complete", "complete"],
  kdump: ["complete", "complete"],
  mkdump: ["complete", "complete"],
};

describe.each(DUMPERS)("%s", (dumper) => {
  test("after INIT on a lock, and after INIT in a handler", (context) => {
    const [locked, inHandler] = AFTER[dumper];
    shows(context, dumper, "robustness", `INIT while the SCSI host's \`host_lock\` is held: ${locked}`);
    shows(context, dumper, "robustness", `INIT in the adapter's interrupt handler: ${inHandler}`);
    expect(trial(dumper, [], "with-host-lock-held").record.outcome).toBe(locked);
    const at = "crash.at={function: {name: mpt_interrupt, count: 20}}";
    expect(trial(dumper, [at]).record.outcome).toBe(inHandler);
  }, 60_000);

  test("each way to die leads to a complete dump", (context) => {
    const triggers = ["panic", "oops", "nmi_switch", "nmi_watchdog", "os_init", "sysrq_c"];
    shows(context, dumper, "trigger", triggers.join(", "));
    for (const trigger of triggers) {
      const { outcome, cause } = trial(dumper, [`crash.trigger=${trigger}`]).record;
      expect([trigger, outcome, cause]).toEqual([trigger, "complete", null]);
    }
  }, 120_000);

  test("its core begins as its format does", (context) => {
    const format = dumper === "lkcd" || dumper === "lkcd-modified" ? "LKCD" : "ELF";
    shows(context, dumper, "core format", format);
    const result = trial(dumper, ["crash.trigger=panic"]);
    const path = join(folder, dumper);
    result.writeVmcore(path);
    const core = FileStore.open(path);
    expect([isElf(core), isLkcd(core)]).toEqual([format === "ELF", format === "LKCD"]);
    core.close();
    if (!isKexec(dumper)) return;
    shows(
      context,
      dumper,
      "dump device",
      "a partition as it is, without a format: it holds the ELF core from its first byte",
    );
    const disk = join(folder, `${dumper}-disk`);
    result.writeDisk(disk);
    expect(isElf(openPartition(FileStore.open(disk), 1))).toBe(true);
  }, 60_000);
});

test("diskdump needs a partition for all of memory", (context) => {
  shows(context, "diskdump", "dump device", "a partition of its own: one too small for memory is refused");
  const partitions =
    "adapters.0.disks.1.partitions=[{startSector: 64, sectors: 20000}, {startSector: 160064, sectors: 1800000}]";
  expect(trial("diskdump", [partitions]).record).toMatchObject({ outcome: "refused", dumpedPages: 0 });
});

test("netdump needs no dump device", (context) => {
  shows(context, "netdump", "dump device", "none on the machine: a server on the network");
  expect(trial("netdump", ["dump.devices=[]"]).record.outcome).toBe("complete");
});

test.for(["lkcd", "lkcd-modified"] as const)(
  "%s compresses, and leaves out what its level says",
  { timeout: 60_000 },
  (dumper, context) => {
    shows(context, dumper, "additional functions", "compression (RLE, gzip), partial dump (kernel pages only)");
    const all = trial(dumper, ["crash.trigger=panic"]).record;
    for (const compress of ["rle", "gzip"]) {
      const { record } = trial(dumper, ["crash.trigger=panic", `dump.lkcd.compress=${compress}`]);
      expect([record.outcome, record.dumpedPages]).toEqual(["complete", all.dumpedPages]);
      expect(record.dumpVirtualNs!).toBeLessThan(all.dumpVirtualNs!);
    }
    const part = trial(dumper, ["crash.trigger=panic", "dump.lkcd.level=kernel"]).record;
    expect(part.outcome).toBe("complete");
    expect(part.dumpedPages).toBeLessThan(all.dumpedPages);
  },
);

test.for(["kdump", "mkdump"] as const)("%s is for one platform", (dumper, context) => {
  shows(context, dumper, "platform dependency", "x86_64 only here; i386, ia64 and ppc64 are refused");
  for (const platform of ["i386", "ia64", "ppc64"]) {
    expect(() => loadScenario("learn", [`platform=${platform}`], dumper)).toThrow(`${dumper} needs platform x86_64`);
  }
  expect(loadScenario("learn", [], dumper).platform).toBe("x86_64");
});

test.for(["lkcd", "lkcd-modified"] as const)("%s is refused where its header is not known", (dumper, context) => {
  shows(context, dumper, "platform dependency", "ppc64 is refused: the layout of its header there is not known here");
  expect(() => loadScenario("learn", ["platform=ppc64"], dumper)).toThrow("LKCD's header on ppc64 is not known here");
});
