// Goal: the machine is a parameter. Method: the same trial on every platform, with one CPU and with 64, with 64 GiB, with each adapter model.
import { describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { shows } from "../features/feature.ts";

const trial = (...overrides: string[]): TrialRecord => runTrial(loadScenario("learn", overrides), 1, {}).record;
const COMPLETE = { outcome: "complete", cause: null };

describe("a trial is complete", () => {
  for (const platform of ["x86_64", "i386", "ia64", "ppc64"]) {
    test(`on ${platform}, in its page size, word size and byte order`, (context) => {
      shows(context, "diskdump", "platform dependency", `complete on ${platform}`);
      const record = trial(`platform=${platform}`);
      expect(record).toMatchObject(COMPLETE);
      expect(record.dumpedPages).toBe({ ia64: 4096, ppc64: 16384 }[platform] ?? 16288);
    });
  }

  for (const cpus of [1, 3, 64]) test(`with ${cpus} CPUs`, () => expect(trial(`cpus=${cpus}`)).toMatchObject(COMPLETE));

  test("behind an SAS1068", () => {
    expect(trial('adapters.0.model="sas1068"')).toMatchObject(COMPLETE);
  });

  test("with INIT on one CPU only, the others running on until they are frozen", () => {
    expect(trial("crash.initTargets=monarch")).toMatchObject(COMPLETE);
  });

  test("when the other CPUs are frozen by NMI", () => {
    expect(trial("crash.initTargets=monarch", "dump.freeze=nmi")).toMatchObject(COMPLETE);
  });

  test("with the signatures of the later release, all of them checked", () => {
    expect(trial("dump.signature=rhel4", "dump.sampleRate=0")).toMatchObject(COMPLETE);
  });

  test("on a partition that was formatted block by block, or only where the module samples", () => {
    expect(trial("dump.format=full")).toMatchObject(COMPLETE);
    expect(trial("dump.format=sparse")).toMatchObject(COMPLETE);
  });

  test("with an I/O size of 128 KiB", () => {
    expect(trial("dump.blockOrder=5")).toMatchObject(COMPLETE);
  });
});

describe("the moment of the crash can be directed", () => {
  test("to the n-th call of a kernel function, by its kernel or its LKDTM name", () => {
    for (const name of ["scsi_dispatch_cmd", "SCSI_DISPATCH_CMD"]) {
      const record = trial("crash.trigger=panic", `crash.at={"function":{"name":"${name}","count":7}}`);
      expect(record).toMatchObject(COMPLETE);
      expect(record.crash?.function).toMatch(/panic|lkdtm|scsi_dispatch_cmd/);
    }
  });

  test("to the n-th register access of an adapter", () => {
    const record = trial('crash.at={"access":{"adapter":"mptfusion0","count":100}}');
    expect(record.crash).not.toBeNull();
    expect(["complete", "refused"]).toContain(record.outcome);
  });

  test("to a virtual time", () => {
    const early = trial('crash.at={"time":"5ms"}');
    const late = trial('crash.at={"time":"9ms"}');
    expect(late.crash!.virtualNs - early.crash!.virtualNs).toBe(4_000_000);
  });

  test("to a point that never comes: then it says so", () => {
    const record = trial('crash.at={"function":{"name":"mptscsih_bus_reset","count":1}}', "limits.virtualTime=6s");
    expect(record.outcome).toBe("no-crash");
    expect(record.cause).toMatch(/mptscsih_bus_reset was not called 1 times/);
  });
});

test("64 GiB of RAM cost what is touched", () => {
  const record = trial(
    "memory.size=64GiB",
    "memory.inUse=0.005",
    'adapters.0.disks.1={"size":"80GiB","partitions":[{"startSector":64,"sectors":140000000}]}',
    "dump.blockOrder=8",
    "limits.virtualTime=1h",
  );
  expect(record).toMatchObject(COMPLETE);
  expect(record.dumpedPages).toBe(16777120);
});

test("processes that fsync one cached disk at the same time do not share its request (paper, seed 2)", () => {
  const caches = [0, 1, 2, 3, 4].map((disk) => `adapters.0.disks.${disk}.writeCache=true`);
  const { record } = runTrial(loadScenario("paper", ["memory.size=512MiB", ...caches]), 2, {});
  expect(record).toMatchObject(COMPLETE);
});
