// Goal: whole trials over IDE: the scenario, the boot, the load, the crash, the dump, the oracles, on every platform.
import { describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";

const trial = (overrides: readonly string[] = [], seed = 1): TrialRecord =>
  runTrial(loadScenario("learn", overrides, undefined, "ide"), seed, {}).record;
const COMPLETE = { outcome: "complete", cause: null, adapter: "ide", findings: [] };

describe("a trial over IDE is complete", () => {
  for (const platform of ["x86_64", "i386", "ia64", "ppc64"]) {
    test(`on ${platform}`, () => expect(trial([`platform=${platform}`])).toMatchObject(COMPLETE));
  }

  test("at twenty random instants under load", () => {
    for (let seed = 1; seed <= 20; seed++) expect(trial([], seed)).toMatchObject({ ...COMPLETE, seed });
  });

  test("on a PIIX3, with four CPUs, with all signatures checked, with larger blocks", () => {
    const scenario = ["cpus=4", "dump.sampleRate=0", "dump.blockOrder=5"];
    const record = runTrial(loadScenario("learn", [...scenario], undefined, "ide"), 3, {}).record;
    expect(record).toMatchObject(COMPLETE);
    expect(trial(["crash.initTargets=monarch"])).toMatchObject(COMPLETE);
  });

  test("when ide_lock is held, in ide_intr, at a register access: nothing of the subsystem is used", () => {
    for (const sets of [
      ["crash.trigger=panic", "crash.holding=ide_lock"],
      ['crash.at={"lock":{"name":"ide_lock","count":200}}'],
      ["crash.trigger=panic", 'crash.at={"function":{"name":"ide_intr","count":40}}'],
      ['crash.at={"access":{"adapter":"ide0","count":1500}}'],
    ]) {
      expect(trial(sets)).toMatchObject(COMPLETE);
    }
  });
});

test("the same seed gives the same trace, another seed another one", () => {
  const hashes = [1, 1, 2].map((seed) => trial([], seed).traceHash);
  expect(hashes[0]).toBe(hashes[1]);
  expect(hashes[0]).not.toBe(hashes[2]);
});

describe("damage is noticed", () => {
  test("a write whose end never shows makes the dump incomplete", () => {
    expect(trial(['damage=[{"kind":"dropCompletion","write":5}]'])).toMatchObject({
      outcome: "incomplete",
      cause: expect.stringContaining("write error"),
    });
  });

  test("a flipped bit is a corrupt dump, a write behind the partition is seen by the guard", () => {
    expect(trial(['damage=[{"kind":"flipDumpedBit","page":9}]']).outcome).toBe("corrupt");
    expect(trial(['damage=[{"kind":"writeOutsidePartition"}]']).outcome).toBe("wrote-outside");
  });
});

describe("--adapter ide", () => {
  test("takes the disks of a SCSI scenario along: dump disks first, then as many as the two cables hold", () => {
    const { adapters, dump, load, source } = loadScenario("paper", [], undefined, "ide");
    expect(adapters).toHaveLength(1);
    expect(adapters[0]!.disks.map((disk) => disk.device)).toEqual(["/dev/hda", "/dev/hdb", "/dev/hdc", "/dev/hdd"]);
    expect(dump.devices).toEqual(["/dev/hdd1"]);
    expect(load.devices).toEqual(["/dev/hda1", "/dev/hdb1", "/dev/hdc1", "/dev/hdd2"]);
    // What the command printed runs the same trial without the option.
    expect(loadScenario("paper", source.overrides).adapters).toEqual(adapters);
  });

  test("leaves a scenario alone that has IDE already, but for the model", () => {
    const ide = JSON.stringify({
      extends: "learn",
      adapters: [
        {
          type: "ide",
          model: "piix3",
          disks: [{ size: "1GiB", id: 2, partitions: [{ startSector: 64, sectors: 160000 }] }],
        },
      ],
      dump: { devices: ["/dev/hdc1"] },
    });
    expect(loadScenario(ide, [], undefined, "ide").adapters[0]).toMatchObject({
      model: "piix4",
      disks: [{ device: "/dev/hdc" }],
    });
  });

  test("a machine has room for one IDE function, and its cables for four drives", () => {
    const disk = { size: "1GiB" };
    const two = {
      adapters: [
        { type: "ide", disks: [disk] },
        { type: "ide", disks: [disk] },
      ],
      dump: { devices: ["/dev/hda"] },
    };
    expect(() => loadScenario(JSON.stringify(two))).toThrow("a machine has room for one ide adapter");
    const five = {
      adapters: [{ type: "ide", disks: [disk, disk, disk, disk, disk] }],
      dump: { devices: ["/dev/hda"] },
    };
    expect(() => loadScenario(JSON.stringify(five))).toThrow("expected 0 to 3; got 4");
  });
});
