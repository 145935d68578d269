// Goal: a dump goes through every adapter. Method: the same small trial with each name of --adapter, on each platform and chip.
import { describe, expect, test } from "vitest";
import { ADAPTER_CHOICES, ADAPTERS, modelsOf } from "../../tools/machine/adapters.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";

const COMPLETE = { outcome: "complete", cause: null };
const trial = (adapter: string, seed: number, ...overrides: string[]): TrialRecord =>
  runTrial(loadScenario("learn", overrides, undefined, adapter), seed, { digest: true }).record;

describe.each(Object.keys(ADAPTER_CHOICES))("--adapter %s", (adapter) => {
  test("dumps completely at random moments under load", () => {
    for (const seed of [1, 2, 3]) expect(trial(adapter, seed)).toMatchObject(COMPLETE);
  });

  test("a seed is the same trial each time", () => {
    const { hostMs: _, ...first } = trial(adapter, 4);
    const { hostMs: __, ...second } = trial(adapter, 4);
    expect(second).toEqual(first);
  });
});

describe("sym53c8xx", () => {
  test.each(["i386", "ia64", "ppc64"])("dumps on %s: SCRIPTS are little endian everywhere", (platform) => {
    expect(trial("sym53c8xx", 1, `platform=${platform}`)).toMatchObject(COMPLETE);
  });

  test.each(modelsOf("sym53c8xx"))("dumps through a %s", (model) => {
    const overrides = ["adapters.0.type=sym53c8xx", `adapters.0.model=${model}`];
    expect(runTrial(loadScenario("learn", overrides), 1, {}).record).toMatchObject(COMPLETE);
  });

  test("refuses when host_lock was held by a CPU that is frozen", () => {
    const scenario = loadScenario("with-host-lock-held", [], undefined, "sym53c8xx");
    const { record } = { record: runTrial(scenario, 1, {}).record };
    expect(record.outcome).toBe("refused");
    expect(record.cause).toContain("host_lock held");
  });

  test("dumps after a crash at any of its first register accesses under load", () => {
    for (const count of [1, 2, 3, 5, 8, 13]) {
      const record = trial("sym53c8xx", 1, `crash.at={"access":{"adapter":"sym53c8xx0","count":${count}}}`);
      // A crash in queuecommand or the interrupt handler leaves host_lock held.
      expect(["complete", "refused"]).toContain(record.outcome);
      if (record.outcome === "refused") expect(record.cause).toContain("host_lock held");
    }
  });
});

test("two kinds of adapter in one machine: each driver finds its own, disks are named in the order of probing", () => {
  const scenario = loadScenario(`
extends: learn
adapters:
  - { type: sym53c8xx, disks: [{ size: 64MiB, partitions: [{ startSector: 63, sectors: 120000 }] }] }
  - { type: mptfusion, disks: [{ size: 64MiB, partitions: [{ startSector: 63, sectors: 120000 }] }] }
  - { type: sym53c8xx, disks: [{ size: 1GiB, partitions: [{ startSector: 64, sectors: 160000 }] }] }
`);
  expect(scenario.adapters.map(({ name, disks }) => [name, disks[0]!.device])).toEqual([
    ["sym53c8xx0", "/dev/sda"],
    ["mptfusion0", "/dev/sdc"],
    ["sym53c8xx1", "/dev/sdb"],
  ]);
  expect(runTrial(scenario, 1, {}).record).toMatchObject(COMPLETE);
  expect(Object.keys(ADAPTERS)).toContain("sym53c8xx");
});
