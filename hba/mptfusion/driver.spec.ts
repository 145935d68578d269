import { describe, expect, test } from "vitest";
import { M } from "../../kernel-sim/abi/ram.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { msleep } from "../../kernel-sim/core/timer.ts";
import { SDEV_OFFLINE } from "../../kernel-sim/scsi/host.ts";
import { makeRig, onDisk, scatteredPages, transfer, type Rig } from "./driver-testing.ts";

const fill = (pages: readonly number[], seed: number): void => {
  pages.forEach((page, n) => {
    for (let i = 0; i < 4096; i++) M.u8[page + i] = (i * 7 + n * 13 + seed) & 0xff;
  });
};
const contents = (pages: readonly number[]): Uint8Array => {
  const all = new Uint8Array(pages.length * 4096);
  pages.forEach((page, n) => all.set(M.u8.subarray(page, page + 4096), n * 4096));
  return all;
};

/** Writes pages to a disk and checks that they are there. Returns what transfer said. */
function write(rig: Rig, sector: number, count: number, seconds?: number): { good: boolean; same: boolean } {
  rig.kernel.enter();
  const pages = scatteredPages(rig.kernel, count);
  fill(pages, sector);
  let good = false;
  rig.run(function* () {
    good = yield* transfer(rig.sds[0]!, true, sector, pages);
  }, seconds);
  return { good, same: Buffer.compare(onDisk(rig.disks[0]!, sector, count * 4096), contents(pages)) === 0 };
}

describe.each(["53c1030", "sas1068"] as const)("the driver on a %s", (variant) => {
  test("finds the disks and names them in order", () => {
    const rig = makeRig({ variant, ids: [1, 3, 5] });
    expect(rig.sds.map((sd) => [sd.disk.name, sd.device.id, sd.disk.capacity])).toEqual([
      ["sda", 1, 131072],
      ["sdb", 3, 131072],
      ["sdc", 5, 131072],
    ]);
    expect(rig.sds[0]!.device.s.queue_depth).toBe(31);
    expect(rig.log().join("\n")).toContain("Attached scsi disk sdc at scsi0, channel 0, id 5, lun 0");
    expect(rig.kernel.reports).toEqual([]);
  });

  test("writes and reads what it was given, also through chained scatter-gather lists", () => {
    const rig = makeRig({ variant });
    for (const count of [1, 4, 6, 7, 16, 17, 40]) {
      expect(write(rig, count * 1000, count)).toEqual({ good: true, same: true });
      const pages = scatteredPages(rig.kernel, count);
      let good = false;
      rig.run(function* () {
        good = yield* transfer(rig.sds[0]!, false, count * 1000, pages);
      });
      expect(good).toBe(true);
      expect(Buffer.compare(contents(pages), onDisk(rig.disks[0]!, count * 1000, count * 4096))).toBe(0);
    }
    const { ioc } = rig.hosts[0]!.hostdata as { ioc: { s: { num_chain: number }; FreeChainQ: number } };
    expect(listLength(ioc.FreeChainQ)).toBe(ioc.s.num_chain);
  });
});

const listLength = (head: number): number => {
  let n = 0;
  for (let at = next(head); at !== head; at = next(at)) n++;
  return n;
};
const next = (at: number): number => M.u32[at >>> 2]! - M.pageOffsetLo;

describe("recovery", () => {
  test("a command that the disk swallows times out, is aborted and sent again", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "timeout", on: "write", count: 1 });
    const from = rig.kernel.machine.now();
    expect(write(rig, 512, 4)).toEqual({ good: true, same: true });
    expect(rig.kernel.machine.now() - from).toBeGreaterThan(30e9);
    expect(rig.log().filter((line) => line.includes("task abort"))).toHaveLength(2);
    expect(rig.log().join("\n")).toContain("task abort: SUCCESS");
  });

  test("a lost completion ends the same way", () => {
    const rig = makeRig({ variant: "sas1068", highPriorityQueue: true });
    rig.disks[0]!.faults.lay({ kind: "lost completion", on: "write", count: 1 });
    expect(write(rig, 512, 4)).toEqual({ good: true, same: true });
    expect(rig.log().join("\n")).toContain("task abort: SUCCESS");
  });

  test("a hung bus is freed by a bus reset, and the unit attention after it is no error", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "bus hang", on: "write", count: 1 });
    expect(write(rig, 512, 4, 600)).toEqual({ good: true, same: true });
    const log = rig.log().join("\n");
    expect(log).toContain("attempting target reset");
    expect(log).toContain("bus reset: SUCCESS");
    expect(write(rig, 1024, 4)).toEqual({ good: true, same: true });
  });

  test("a dead firmware is brought back by a host reset", () => {
    const rig = makeRig();
    rig.chip.injectFault(0x1234);
    expect(write(rig, 512, 4, 600)).toEqual({ good: true, same: true });
    const log = rig.log().join("\n");
    expect(log).toContain("Attempting host reset!");
    expect(log).toContain("FAULT code = 1234h");
    expect(rig.sds[0]!.device.s.sdev_state).not.toBe(SDEV_OFFLINE);
  });

  test("a disk that never answers again is taken offline, and the other one goes on", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "timeout" });
    expect(write(rig, 512, 1, 900).good).toBe(false);
    expect(rig.sds[0]!.device.s.sdev_state).toBe(SDEV_OFFLINE);
    expect(rig.log().join("\n")).toContain(
      "Device offlined - not ready after error recovery: host 0 channel 0 id 0 lun 0",
    );
    const pages = scatteredPages(rig.kernel, 1);
    let good = false;
    rig.run(function* () {
      good = yield* transfer(rig.sds[1]!, true, 0, pages);
    });
    expect(good).toBe(true);
  });

  test("TASK SET FULL and BUSY are only waited for", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "status", status: 0x28, count: 3 });
    rig.disks[0]!.faults.lay({ kind: "status", status: 0x08, count: 2 });
    expect(write(rig, 512, 4)).toEqual({ good: true, same: true });
    expect(rig.log().some((line) => line.includes("abort"))).toBe(false);
  });

  test("a unit attention that nobody caused is retried", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "unit attention", count: 1 });
    expect(write(rig, 512, 4)).toEqual({ good: true, same: true });
  });

  test("a bad sector fails the request with I/O error", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "media error", on: "read", firstLba: 520, lastLba: 520 });
    const pages = scatteredPages(rig.kernel, 4);
    let good = true;
    rig.run(function* () {
      good = yield* transfer(rig.sds[0]!, false, 512, pages);
    });
    expect(good).toBe(false);
  });

  test("a disk that has gone fails at once", () => {
    const rig = makeRig();
    rig.disks[0]!.faults.lay({ kind: "device gone" });
    const from = rig.kernel.machine.now();
    expect(write(rig, 512, 1, 60).good).toBe(false);
    expect(rig.kernel.machine.now() - from).toBeLessThan(5e9);
  });
});

test("a host with room for two commands serves both disks, two at a time", () => {
  const rig = makeRig({ cpus: 4 });
  const host = rig.hosts[0]!;
  host.s.can_queue = 2;
  const hd = host.hostdata as { lookup: unknown[]; setLookup(index: number, cmd: unknown): void };
  let most = 0;
  const plain = hd.setLookup.bind(hd);
  hd.setLookup = (index, cmd) => {
    plain(index, cmd);
    most = Math.max(most, hd.lookup.filter((entry) => entry !== undefined).length);
  };
  let ended = 0;
  let good = 0;
  rig.run(function* () {
    for (let i = 0; i < 12; i++) {
      const pages = scatteredPages(rig.kernel, 4);
      yield* do_fork(
        `writer${i}`,
        function* () {
          if (yield* transfer(rig.sds[i % 2]!, true, 4096 + i * 640, pages)) good++;
          ended++;
        },
        i % 4,
      );
    }
    while (ended < 12) yield* msleep(10);
  });
  expect(good).toBe(12);
  expect(most).toBe(2);
  expect(host.s.host_busy).toBe(0);
});

test("two runs of a seed are the same run", () => {
  const once = (): string => {
    const rig = makeRig({ cpus: 4, seed: 7 });
    write(rig, 512, 40);
    return rig.kernel.machine.traceHash;
  };
  expect(once()).toBe(once());
});
