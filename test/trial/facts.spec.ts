// Goal: the facts in a record are the machine's. Method: trials in which another witness can say the same, on loads whose
// throughput, queue and CPU time follow from arithmetic.
import { describe, expect, test } from "vitest";

import { K } from "../../kernel-sim/core/kernel.ts";
import { spin_lock } from "../../kernel-sim/core/spinlock.ts";
import { delayNs } from "../../kernel-sim/core/timer.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { dumpedBy, withFakeDumper } from "../../tools/testing/fake-dumper.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";

const trial = (...overrides: string[]) => runTrial(loadScenario("learn", overrides), 1, {});

describe("a record says of a dump", () => {
  test("how many bytes it put on the device: the blocks that the kernel said it needs, and the header once more", () => {
    const { record, console } = trial();
    const said = console.map(({ text }) => /total blocks required: (\d+)/.exec(text)?.[1]).find(Boolean);
    expect(record.outcome).toBe("complete");
    // The common header is written when the dump begins and again when it is complete.
    expect(record.dumpedBytes).toBe((Number(said) + 1) * 4096);
  });

  test("how long it took, without the wait for the reboot", () => {
    const { record } = trial("dump.panicTimeout=7s");
    const again = trial("dump.panicTimeout=20s").record;
    expect(again.dumpVirtualNs).toBe(record.dumpVirtualNs);
    expect(again.virtualNs - record.virtualNs).toBeCloseTo(13e9, -8);
    expect(record.dumpVirtualNs! / 1e9).toBeCloseTo((record.virtualNs - record.crash!.virtualNs) / 1e9 - 7, 0);
  });

  test("nothing was written when it was refused", () => {
    const { record } = runTrial(loadScenario("with-host-lock-held"), 1, {});
    expect(record).toMatchObject({ outcome: "refused", dumpedBytes: 0, blocked: null });
  });
});

describe("a record of a hang says what the dump waits for", () => {
  const stuck = (scenario: string, ...overrides: string[]): TrialRecord =>
    withFakeDumper("mkdump", { dump: () => spin_lock(K.locks.get("scsi0.host_lock")!) }, () =>
      runTrial(dumpedBy(loadScenario(scenario, overrides), "mkdump"), 1, {}),
    ).record;

  test("the lock, who has it, and the function in which it was taken", () => {
    const record = stuck("with-host-lock-held");
    const { blocked } = record;
    expect(record.outcome).toBe("hang");
    expect(blocked).toEqual({
      on: "scsi0.host_lock",
      because: "held by cpu 0 (by a context that an NMI or INIT abandoned)",
      function: record.crash!.function,
    });
    // The sentence says the same.
    expect(record.cause).toContain(`waits for ${blocked!.on}, taken in ${blocked!.function}`);
  });

  test("or what the dumper itself has found out", () => {
    const blocked = {
      on: "completion of the dump's bio",
      because: "irq 16 is in service on cpu 1",
      function: undefined,
    };
    const { record } = withFakeDumper("mkdump", { dump: () => delayNs(1e15), blockedOn: () => blocked }, () =>
      runTrial(dumpedBy(loadScenario("learn", ["limits.virtualTime=20s"]), "mkdump"), 1, {}),
    );
    expect(record).toMatchObject({
      outcome: "hang",
      cause: "the dump waits for completion of the dump's bio: irq 16 is in service on cpu 1",
      blocked: { ...blocked, function: null },
    });
  });
});

describe("a record says of the load", () => {
  const READS = ["load.mix={bufferedWrite: 0, fsync: 0, directRead: 1, directWrite: 0}", "crash.at.time=100ms"];

  test("what the disks moved: the calls times their size, but for the one that each process is in", () => {
    const { load } = trial(...READS, "load.sizeMin=16KiB", "load.sizeMax=16KiB", "load.perDisk=3").record;
    const calls = ((load!.bytesPerS / 1e9) * load!.ns) / 16384;
    expect(load!.calls).toBeGreaterThan(20);
    expect(calls).toBeGreaterThan(load!.calls - 1);
    expect(calls).toBeLessThan(load!.calls + 6);
  });

  test("the mean queue: processes that do nothing but read have a command each at their disk", () => {
    const { load } = trial(...READS, "load.perDisk=5", "load.thinkTime=0s").record;
    expect(load!.meanQueueDepth).toBeGreaterThan(4.5);
    expect(load!.meanQueueDepth).toBeLessThanOrEqual(5);
  });

  test("the CPUs' share that was not idle: all of it when every CPU has somebody who computes", () => {
    const busy = trial("load.perDisk=2", "load.thinkTime=10s", "crash.at.time=200ms").record.load!;
    expect(busy.cpuBusyShare).toBeGreaterThan(0.98);
    expect(busy.cpuBusyShare).toBeLessThanOrEqual(1);
    const half = trial("load.processes=1", "load.thinkTime=10s", "crash.at.time=200ms").record.load!;
    expect(half.cpuBusyShare).toBeGreaterThan(0.49);
    expect(half.cpuBusyShare).toBeLessThan(0.55);
  });

  test("its length: from its start to the crash", () => {
    const { crash, load } = trial("crash.at.time=37ms").record;
    expect(crash!.sinceLoadNs).toBe(load!.ns);
    expect(load!.ns / 1e6).toBeCloseTo(37, 1);
  });

  test("nothing when there is none", () => {
    const { record } = trial("load.processes=0");
    expect(record).toMatchObject({ outcome: "complete", load: { calls: 0, bytesPerS: 0, meanQueueDepth: 0 } });
  });
});
