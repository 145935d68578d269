// Goal: kdump and mkdump save what diskdump saves, by a second kernel in reserved memory, and fail where the real ones fail.
import { describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { armProbe } from "../../kernel-sim/core/kfunc.ts";
import { panic } from "../../kernel-sim/core/panic.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";
import { shows } from "../features/feature.ts";

const trial = (seed: number, ...overrides: string[]): TrialResult =>
  runTrial(loadScenario("learn", overrides), seed, {});
const text = (result: TrialResult): string => result.console.map((line) => line.text).join("\n");

describe.each(["kdump", "mkdump"])("%s", (dumper) => {
  test("saves every page as it was when the CPUs had stopped, from a second kernel that probes the adapter as it is", () => {
    const result = trial(7, `dump.dumper=${dumper}`);
    expect(result.record).toMatchObject({ outcome: "complete", cause: null, findings: [] });
    // 64 MiB without the reserve of 24 MiB and the hole below 1 MiB.
    expect(result.record.dumpedPages).toBe((64 - 24) * 256 - 96);
    expect(text(result)).toMatch(/Brought up 2 CPUs[^]*Brought up 1 CPUs[^]*saved vmcore/);
  });

  test("does not start an image that was damaged: the purgatory loops", (context) => {
    shows(context, "kdump", "safety", "a damaged image of the second kernel is not started");
    const { record } = trial(7, `dump.dumper=${dumper}`, "kdump.damageOffset=4711");
    expect(record).toMatchObject({ outcome: "hang", dumpedPages: 0 });
    expect(record.cause).toMatch(/sha256 digests do not match/);
  });

  test("has no crash kernel to go to when the reserve cannot hold its image", () => {
    const { record } = trial(7, `dump.dumper=${dumper}`, "kdump.crashkernel=4MiB");
    expect(record).toMatchObject({ outcome: "refused", dumpedPages: 0 });
    expect(record.cause).toMatch(/no crash kernel is loaded/);
  });

  test("dies in the capture kernel when its drivers need more than the reserve has", () => {
    const disks =
      "[{size: 1GiB, partitions: [{startSector: 63, sectors: 2000000}]}, " +
      "{size: 1GiB, partitions: [{startSector: 64, sectors: 160000}, {startSector: 160064, sectors: 1800000}]}]";
    const adapters = `adapters=[{disks: ${disks}}, {disks: []}, {disks: []}, {disks: []}]`;
    const { record } = trial(7, `dump.dumper=${dumper}`, "kdump.crashkernel=6MiB", adapters);
    expect(record.outcome).toBe("incomplete");
    expect(record.cause).toMatch(/ran out of memory in stage "probe"/);
  }, 30_000);

  test("leaves a CPU behind that sits in an NMI of its own, a second later, and saves memory all the same", () => {
    const { record } = trial(7, `dump.dumper=${dumper}`, "crash.initTargets=all");
    const { record: alone } = trial(7, `dump.dumper=${dumper}`, "crash.initTargets=monarch");
    expect([record.outcome, alone.outcome]).toEqual(["complete", "complete"]);
    expect(record.virtualNs - alone.virtualNs).toBeGreaterThan(0.9e9);
  });
});

const over = (adapter: string, dumper: string, ...overrides: string[]): TrialResult["record"] =>
  runTrial(loadScenario("learn", [`dump.dumper=${dumper}`, ...overrides], undefined, adapter), 7, {}).record;

describe.each(["mptspi", "mptsas", "sym53c8xx", "sym53c1010", "ide"])("--adapter %s", (adapter) => {
  test("both save memory through it, and say how many bytes that were and how long it took", () => {
    for (const dumper of ["kdump", "mkdump"]) {
      const record = over(adapter, dumper);
      expect(record).toMatchObject({ outcome: "complete", findings: [] });
      // The ELF headers and notes take a page.
      expect(record.dumpedBytes).toBe((record.dumpedPages + 1) * 4096);
      expect(record.dumpVirtualNs).toBeLessThan(record.virtualNs - record.crash!.virtualNs + 1);
    }
  });

  test("reset_devices costs mptfusion a second and more, and others nothing; both probes find the disks", () => {
    const [reset, soft] = [true, false].map((on) => over(adapter, "kdump", `kdump.resetDevices=${on}`));
    expect([reset!.outcome, soft!.outcome]).toEqual(["complete", "complete"]);
    const more = reset!.dumpVirtualNs! - soft!.dumpVirtualNs!;
    if (adapter.startsWith("mpt")) expect(more).toBeGreaterThan(1e9);
    else expect(more).toBe(0);
  });
});

/** The dump's disk on the first adapter, the load's on the second; one interrupt line for both. */
const sharedLine = (first: string, second: string): string[] => [
  `adapters=[{type: ${first}, irq: 16, disks: [{size: 1GiB, partitions: [{startSector: 64, sectors: 160000}]}]}, ` +
    `{type: ${second}, irq: 16, disks: [{size: 1GiB, partitions: [{startSector: 63, sectors: 2000000}]}]}]`,
  "load.perDisk=8",
];

describe("two adapters on one interrupt line", () => {
  test.each(["mptfusion", "sym53c8xx"])(
    "the one that %s does not drive yet asserts it for ever, and the handlers of 2004 claim every interrupt: a livelock, irqpoll or not",
    (first) => {
      for (const irqpoll of [true, false]) {
        const lines = [...sharedLine(first, "mptfusion"), "dump.devices=[/dev/sda1]", "limits.virtualTime=13s"];
        const { record } = trial(7, "dump.dumper=kdump", `kdump.irqpoll=${irqpoll}`, ...lines);
        expect(record).toMatchObject({ outcome: "hang", dumpedPages: 0 });
        expect(record.cause).toMatch(
          /^the dump waits for interrupt line 16 to fall: mptfusion\d asserts it, and no handler/,
        );
      }
    },
    30_000,
  );

  test("no livelock where the loud one is probed first", () => {
    const loudFirst =
      "adapters=[{irq: 16, disks: [{size: 1GiB, partitions: [{startSector: 63, sectors: 2000000}]}]}, " +
      "{irq: 16, disks: [{size: 1GiB, partitions: [{startSector: 64, sectors: 160000}]}]}]";
    const { record } = trial(7, "dump.dumper=kdump", "dump.devices=[/dev/sdb1]", "load.perDisk=8", loudFirst);
    expect(record.outcome).toBe("complete");
  });

  test("mkdump's mini kernel has the driver of its disk alone, for which that disk has another name", () => {
    const adapters =
      "adapters=[{type: sym53c8xx, disks: [{size: 1GiB, partitions: [{startSector: 63, sectors: 2000000}]}]}, " +
      "{type: mptfusion, disks: [{size: 1GiB, partitions: [{startSector: 64, sectors: 160000}]}]}]";
    const result = trial(7, "dump.dumper=mkdump", "dump.devices=[/dev/sdb1]", adapters);
    expect(result.record.outcome).toBe("complete");
    const mini = text(result).split("Brought up 1 CPUs")[1]!;
    expect(mini).toContain("Attached scsi disk sda");
    expect(mini).not.toMatch(/sym0|disk sdb/);
  });
});

test("reads that were under way land in the old memory while the capture kernel boots, and the dump has what they brought", () => {
  // A small partition: what is read had been written, and differs from what the buffer held.
  const disk = "{size: 1GiB, partitions: [{startSector: 64, sectors: 160000}, {startSector: 160064, sectors: 1024}]}";
  const busy = [
    `adapters=[{disks: [${disk}]}]`,
    "dump.devices=[/dev/sda1]",
    "load.devices=[/dev/sda2]",
    "load.perDisk=8",
  ];
  const mix = "load.mix={bufferedWrite: 0, fsync: 0, directRead: 4, directWrite: 1}";
  for (const dumper of ["kdump", "mkdump"]) {
    const { record } = trial(7, `dump.dumper=${dumper}`, ...busy, mix, "crash.at.time=1s", "crash.initTargets=monarch");
    expect(record).toMatchObject({ outcome: "complete", findings: [] });
    expect(record.changedPages).toBeGreaterThan(0);
  }
});

test("a panic inside the crash path finds kexec_lock taken: there is no second try", () => {
  const result = runTrial(loadScenario("learn", ["dump.dumper=kdump"]), 7, {
    onPhase: (phase) => {
      if (phase === "load") armProbe("purgatory", 1, () => panic("again"));
    },
  });
  expect(result.record).toMatchObject({ outcome: "refused", dumpedPages: 0 });
  expect(result.record.cause).toMatch(/a second crash in \w+: panic: again/);
  expect(text(result)).toMatch(/Kernel panic - not syncing: again/);
  expect(text(result)).not.toMatch(/Brought up 1 CPUs/);
});

test("kdump came with 2.6.13 and is refused on 2.4.21; mkdump's mini kernel saves one of those", () => {
  expect(() => loadScenario("learn", ["dump.dumper=kdump", "kernel=2.4.21"])).toThrow(/kdump needs kernel 2\.6\.9/);
  const result = trial(7, "dump.dumper=mkdump", "kernel=2.4.21");
  expect(result.record.outcome).toBe("complete");
  expect(text(result)).toMatch(/Linux version 2\.4\.21[^]*Linux version 2\.6\.9/);
});

test("the same seed gives the same trace twice", () => {
  const [one, two] = [trial(3, "dump.dumper=kdump"), trial(3, "dump.dumper=kdump")];
  expect(one.record.traceHash).toBe(two.record.traceHash);
});

test("a reserve where there is no memory is an error that says so", () => {
  expect(() => loadScenario("learn", ["dump.dumper=kdump", "kdump.at=60MiB"])).toThrow(
    /kdump\.crashkernel: there is no RAM/,
  );
  expect(() => loadScenario("learn", ["dump.dumper=kdump", "kdump.at=4MiB"])).toThrow(
    /kdump\.at: expected whole MiB, 12MiB/,
  );
});
