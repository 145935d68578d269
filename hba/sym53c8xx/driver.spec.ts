// Goal: the driver serves disks through the chip, negotiates, recovers from what disks and buses do, and dumps by polling.
// Method: a booted kernel, the block layer above, faults below; and three chips that are broken on purpose, which must show.
import { describe, expect, test } from "vitest";
import { M } from "../../kernel-sim/abi/ram.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../kernel-sim/core/spinlock.ts";
import { msleep } from "../../kernel-sim/core/timer.ts";
import { SDEV_OFFLINE, SUCCESS } from "../../kernel-sim/scsi/host.ts";
import { onDisk, scatteredPages, transfer } from "../mptfusion/driver-testing.ts";
import type { Sym53c8xxChip } from "./chip.ts";
import type { SYM_HCB } from "./driver-hcb.ts";
import { get32le } from "./driver-memory.ts";
import { sym53c8xx_template } from "./driver.ts";
import { makeRig, type Rig } from "./driver-testing.ts";
import { ISTAT_SEM, SYM } from "./registers.ts";
import { asynchronousDivisor, synchronousTiming } from "./driver-nego.ts";

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

/** Writes pages to a disk and reads them back; true when all three are the same: memory, media, memory again. */
function roundTrip(rig: Rig, sector: number, count: number, seconds?: number): { good: boolean; same: boolean } {
  rig.kernel.enter();
  const pages = scatteredPages(rig.kernel, count);
  const back = scatteredPages(rig.kernel, count);
  fill(pages, sector);
  let good = false;
  rig.run(function* () {
    good = yield* transfer(rig.sds[0]!, true, sector, pages);
    if (good) good = yield* transfer(rig.sds[0]!, false, sector, back);
  }, seconds);
  const written = onDisk(rig.disks[0]!, sector, count * 4096);
  const same = Buffer.compare(written, contents(pages)) === 0 && Buffer.compare(written, contents(back)) === 0;
  return { good, same };
}
const FINE = { good: true, same: true };

describe.each(["53c895a", "53c875", "53c1010"] as const)("the driver on a %s", (variant) => {
  test("finds the disks and names them in order", () => {
    const rig = makeRig({ variant, ids: [1, 3, 15] });
    expect(rig.sds.map((sd) => [sd.disk.name, sd.device.id, sd.disk.capacity])).toEqual([
      ["sda", 1, 131072],
      ["sdb", 3, 131072],
      ["sdc", 15, 131072],
    ]);
    expect(rig.sds[0]!.device.s.queue_depth).toBe(16);
    expect(rig.kernel.reports).toEqual([]);
    expect(rig.kernel.machine.complaints).toEqual([]);
  });

  test("writes and reads what it was given, with up to 64 segments and disconnections in the middle", () => {
    const rig = makeRig({ variant });
    for (const count of [1, 4, 16, 17, 40, 64]) expect(roundTrip(rig, count * 1000, count)).toEqual(FINE);
    expect(rig.np.s.busy_ccbs).toBe(0);
  });

  test("sectors that lie across pages of the media come out the same", () => {
    const rig = makeRig({ variant });
    for (const sector of [63, 1, 12345]) expect(roundTrip(rig, sector, 20)).toEqual(FINE);
  });

  test("negotiates wide and synchronous transfers, each disk for itself", () => {
    const rig = makeRig({ variant });
    const expected = {
      "53c895a": { width: 1, period: 0x0a, offset: 31, doubleTransition: false },
      "53c875": { width: 1, period: 0x0c, offset: 16, doubleTransition: false },
      "53c1010": { width: 1, period: 0x09, offset: 31, doubleTransition: true },
    }[variant];
    for (const target of rig.targets) expect(target.agreement).toMatchObject(expected);
    expect(rig.log().filter((line) => line.includes("WIDE SCSI, synchronous"))).toHaveLength(2);
  });
});

test("a disk that can do neither is left narrow and asynchronous", () => {
  const rig = makeRig({ limits: { width: 0, period: 0, offset: 0, protocolRequest: false } });
  expect(rig.targets[0]!.agreement).toMatchObject({ width: 0, offset: 0 });
  expect(roundTrip(rig, 100, 16)).toEqual(FINE);
});

test("transfer timings are the fastest that are not too fast, for every period factor", () => {
  expect([40_000, 80_000, 160_000].map(asynchronousDivisor)).toEqual([3, 5, 7]);
  expect(synchronousTiming(160_000, 0x0a)).toEqual({ divisor: 1, clocks: 4 });
  expect(synchronousTiming(80_000, 0x0c)).toEqual({ divisor: 1, clocks: 4 });
  for (let factor = 13; factor < 80; factor++) {
    const timing = synchronousTiming(160_000, factor)!;
    const divisor = [1, 1.5, 2, 3, 4, 6, 8][timing.divisor - 1]!;
    expect((timing.clocks * divisor * 1e6) / 160_000).toBeGreaterThanOrEqual(factor * 4);
  }
  expect(synchronousTiming(160_000, 255)).toBeUndefined();
});

describe.each(["53c895a", "53c875", "53c1010"] as const)("recovery on a %s", (variant) => {
  test("a command that the disk swallows times out, is aborted and sent again", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "timeout", on: "write", count: 1 });
    const from = rig.kernel.machine.now();
    expect(roundTrip(rig, 512, 4)).toEqual(FINE);
    expect(rig.kernel.machine.now() - from).toBeGreaterThan(30e9);
    expect(rig.log().join("\n")).toContain("ABORT operation complete.");
    expect(rig.np.s.busy_ccbs).toBe(0);
  });

  test("an abort has succeeded when its command ends by itself before the abort comes to it", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "slow", on: "read", count: 1, factor: 50 });
    // The chip never looks up from what it does.
    const plain = rig.chip.write.bind(rig.chip);
    rig.chip.write = (bar, offset, size, value) =>
      plain(bar, offset, size, bar === 1 && offset === SYM.ISTAT0 ? value & ~ISTAT_SEM : value);
    const pages = scatteredPages(rig.kernel, 4);
    let said = 0;
    let waitedNs = 0;
    let good = false;
    rig.run(function* () {
      yield* do_fork(
        "reader",
        function* () {
          good = yield* transfer(rig.sds[0]!, false, 100_000, pages);
        },
        1,
      );
      yield* msleep(2);
      const { cmd } = rig.np.ccbs.find((cp) => cp.cmd !== undefined)!;
      const from = rig.kernel.machine.now();
      const flags = yield* spin_lock_irqsave(rig.hosts[0]!.host_lock);
      said = yield* sym53c8xx_template.eh_abort_handler!(cmd!);
      waitedNs = rig.kernel.machine.now() - from;
      yield* spin_unlock_irqrestore(rig.hosts[0]!.host_lock, flags);
      yield* msleep(1000);
    });
    expect({ said, good }).toEqual({ said: SUCCESS, good: true });
    expect(waitedNs).toBeLessThan(4e9);
  });

  test("a lost completion ends the same way", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "lost completion", on: "write", count: 1 });
    expect(roundTrip(rig, 512, 4)).toEqual(FINE);
    expect(rig.log().join("\n")).toContain("ABORT operation complete.");
  });

  test("a hung disk is freed by a bus reset: negotiation starts again, the unit attention after it is no error", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "bus hang", on: "write", count: 1 });
    expect(roundTrip(rig, 512, 4, 600)).toEqual(FINE);
    const log = rig.log().join("\n");
    expect(log).toContain("BUS RESET operation started.");
    expect(log).toContain("SCSI BUS reset detected.");
    expect(rig.targets[0]!.agreement).toMatchObject({ width: 1, offset: variant === "53c875" ? 16 : 31 });
    expect(roundTrip(rig, 1024, 4)).toEqual(FINE);
  });

  test("a bus reset by another device costs nothing but time", () => {
    const rig = makeRig({ variant });
    rig.chip.externalBusReset();
    expect(roundTrip(rig, 512, 16)).toEqual(FINE);
    expect(rig.log().join("\n")).toContain("SCSI BUS reset detected.");
  });

  test("a disk that never answers again is taken offline, and the other one goes on", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "timeout" });
    expect(roundTrip(rig, 512, 1, 900).good).toBe(false);
    expect(rig.sds[0]!.device.s.sdev_state).toBe(SDEV_OFFLINE);
    const pages = scatteredPages(rig.kernel, 1);
    let good = false;
    rig.run(function* () {
      good = yield* transfer(rig.sds[1]!, true, 0, pages);
    });
    expect(good).toBe(true);
  });

  test("TASK SET FULL and BUSY are only waited for", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "status", status: 0x28, count: 3 });
    rig.disks[0]!.faults.lay({ kind: "status", status: 0x08, count: 2 });
    expect(roundTrip(rig, 512, 4)).toEqual(FINE);
    expect(rig.log().some((line) => line.includes("ABORT"))).toBe(false);
  });

  test("a unit attention that nobody caused is retried: its sense data comes by REQUEST SENSE", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "unit attention", count: 1 });
    expect(roundTrip(rig, 512, 4)).toEqual(FINE);
  });

  test("a bad sector fails the request with I/O error", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "media error", on: "read", firstLba: 520, lastLba: 520 });
    const pages = scatteredPages(rig.kernel, 4);
    let good = true;
    rig.run(function* () {
      good = yield* transfer(rig.sds[0]!, false, 512, pages);
    });
    expect(good).toBe(false);
    expect(rig.log().join("\n")).toMatch(/I\/O error/);
  });

  test("a disk that has gone fails at once", () => {
    const rig = makeRig({ variant });
    rig.disks[0]!.faults.lay({ kind: "device gone" });
    const from = rig.kernel.machine.now();
    expect(roundTrip(rig, 512, 1, 60).good).toBe(false);
    expect(rig.kernel.machine.now() - from).toBeLessThan(5e9);
  });
});

test("many processes keep both disks busy with tagged commands, and every byte arrives", () => {
  const rig = makeRig({ cpus: 4, disk: { writeCacheEnabled: false } });
  let ended = 0;
  let good = 0;
  let deepest = 0;
  const all = Array.from({ length: 24 }, () => scatteredPages(rig.kernel, 20));
  all.forEach((pages, i) => fill(pages, i));
  rig.run(function* () {
    for (const [i, pages] of all.entries()) {
      yield* do_fork(
        `writer${i}`,
        function* () {
          if (yield* transfer(rig.sds[i % 2]!, true, 4096 + i * 640, pages)) good++;
          ended++;
        },
        i % 4,
      );
    }
    while (ended < all.length) {
      deepest = Math.max(deepest, rig.disks[0]!.outstanding);
      yield* msleep(1);
    }
  });
  expect(good).toBe(all.length);
  expect(deepest).toBeGreaterThan(3);
  all.forEach((pages, i) => {
    expect(Buffer.compare(onDisk(rig.disks[i % 2]!, 4096 + i * 640, 20 * 4096), contents(pages))).toBe(0);
  });
  expect(rig.np.s.busy_ccbs).toBe(0);
});

test("two runs of a seed are the same run", () => {
  const once = (): string => {
    const rig = makeRig({ cpus: 4, seed: 7 });
    roundTrip(rig, 512, 40);
    return rig.kernel.machine.traceHash;
  };
  expect(once()).toBe(once());
});

test("a chip whose DMA needs to be told of memory hears of everything that it touches", () => {
  const shared: [number, number][] = [];
  const lent = new Map<number, number>();
  const dmaPort = {
    share: (address: number, bytes: number) => void shared.push([address, address + bytes]),
    lend: (address: number, bytes: number) => void lent.set(address, bytes),
    giveBack: (address: number) => void lent.delete(address),
    order: () => {
      const { np } = known;
      if (!np) return;
      barriers++;
      // The chip reads the start queue whenever it likes: a command must be all there before it stands in it.
      expect(get32le(np.squeue + 8 * np.s.squeueput)).toBe(np.idletask.addr);
    },
  };
  let barriers = 0;
  const known: { np?: SYM_HCB } = {};
  const rig = makeRig({ dmaPort });
  known.np = rig.np;
  expect(roundTrip(rig, 512, 20)).toEqual(FINE);
  expect(lent.size).toBe(0);
  expect(barriers).toBeGreaterThanOrEqual(2);
  for (const address of [rig.np.addr, rig.np.squeue, rig.np.dqueue, rig.np.ccbs[0]!.addr, rig.np.ccbs.at(-1)!.addr]) {
    expect(shared.some(([start, end]) => address >= start && address < end)).toBe(true);
  }
});

/** What a chip keeps to itself, for those who break it. */
interface Insides {
  readonly memory: { write32(address: number, value: number): void };
  readonly interrupts: { raiseOnTheFly(): void };
  readonly file: { readHost(offset: number, size: number): number };
}
const insides = (chip: Sym53c8xxChip): Insides => chip as unknown as Insides;

describe("a chip that is broken on purpose is found out", () => {
  test("a DSA that is stored with its halves swapped: commands never end", () => {
    const rig = makeRig();
    const { memory } = insides(rig.chip);
    const { dqueue } = rig.np;
    const plain = memory.write32.bind(memory);
    memory.write32 = (address, value) =>
      plain(address, address >= dqueue && address < dqueue + 1024 ? ((value << 16) | (value >>> 16)) >>> 0 : value);
    expect(roundTrip(rig, 512, 1, 2000).good).toBe(false);
    expect(rig.log().join("\n")).toContain("ABORT operation started.");
  });

  test("an interrupt on the fly that never comes: commands time out", () => {
    const rig = makeRig();
    insides(rig.chip).interrupts.raiseOnTheFly = () => {};
    const from = rig.kernel.machine.now();
    roundTrip(rig, 512, 1, 2000);
    expect(rig.kernel.machine.now() - from).toBeGreaterThan(30e9);
    expect(rig.log().join("\n")).toContain("ABORT operation started.");
  });

  test("a rest that is off by one at a phase mismatch: the data after a disconnection is not what was written", () => {
    const rig = makeRig();
    const { file } = insides(rig.chip);
    const plain = file.readHost.bind(file);
    file.readHost = (offset, size) => plain(offset, size) - (offset === SYM.DBC && size === 4 ? 1 : 0);
    const outcome = roundTrip(rig, 512, 40, 2000);
    expect(outcome.good && outcome.same).toBe(false);
  });
});
