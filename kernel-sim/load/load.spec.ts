// Goal: the load keeps disks busy, what it was promised is on the disks, and a broken promise is found.
// Method: run it on disks with real interrupts; then damage the media.
import { describe, expect, test } from "vitest";
import { TestDisk, attachTestDisk } from "../block/testing.ts";
import { runKernel } from "../core/boot.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { msleep } from "../core/timer.ts";
import { bootTestMachine } from "../core/testing.ts";
import { fillMemory } from "./fill-memory.ts";
import type { Durability, LoadMismatch } from "./ledger.ts";
import { DEFAULT_LOAD, start_load, type Load, type LoadOptions } from "./load.ts";

interface Ran {
  readonly k: Kernel;
  readonly load: Load;
  readonly disks: readonly TestDisk[];
  readonly verify: (durability: Durability) => LoadMismatch[];
}

function run(options: Partial<LoadOptions> = {}, ms = 60, seed = 1, stop = false): Ran {
  const k = bootTestMachine({ cpus: 4, ramMiB: 96, seed });
  const disks = ["sda", "sdb"].map((name, i) => new TestDisk({ name, irq: 8 + i, latencyNs: 300_000 }));
  let load: Load | undefined;
  runKernel(k, function* () {
    for (const disk of disks) yield* attachTestDisk(disk);
    load = yield* start_load({
      ...DEFAULT_LOAD,
      processes: 8,
      devices: ["/dev/sda", "sdb"],
      fileBytes: 1 << 20,
      ...options,
    });
    yield* msleep(ms);
    if (!stop) return;
    load.stopping = true;
    while (load.running > 0) yield* msleep(1);
  });
  const read = (name: string, sector: number, into: Uint8Array): void =>
    disks.find((d) => d.disk.name === name)!.media.read(sector * 512, into);
  return { k, load: load!, disks, verify: (durability) => load!.verify(durability, read) };
}

describe("the load", () => {
  test("keeps every disk busy with reads and writes, and reads back what it wrote", () => {
    const { load, disks, k, verify } = run();
    expect(load.calls).toBeGreaterThan(200);
    for (const process of load.processes) expect(process.calls.every((n) => n > 0)).toBe(true);
    for (const disk of disks) {
      expect(disk.served.filter((s) => s.write).length).toBeGreaterThan(20);
      expect(disk.served.filter((s) => !s.write).length).toBeGreaterThan(20);
    }
    expect(load.complaints).toEqual([]);
    expect(k.reports).toEqual([]);
    expect(verify("acknowledged")).toEqual([]);
    expect(verify("synced")).toEqual([]);
  });

  test("is found out when the disk lost or changed an acknowledged block", () => {
    const { load, disks, verify } = run({}, 60, 2, true);
    expect(verify("acknowledged")).toEqual([]);
    const { ledger, mapping } = load.processes[0]!;
    const block = ledger.touchedBlocks.find((b) => ledger.atLeast(b, "acknowledged") > 0)!;
    const sector = mapping.startSector + block * 8 + 3;
    const good = new Uint8Array(512);
    disks[0]!.media.read(sector * 512, good);
    disks[0]!.media.write(sector * 512, new Uint8Array(512));
    expect(verify("acknowledged")).toMatchObject([{ disk: "sda", sector, found: "generation 0" }]);
    const changed = good.slice();
    changed[300]! ^= 1;
    disks[0]!.media.write(sector * 512, changed);
    expect(verify("acknowledged")).toMatchObject([{ disk: "sda", sector, found: "something else" }]);
    disks[0]!.media.write(sector * 512, good);
    expect(verify("acknowledged")).toEqual([]);
  });

  test("an older generation than the one synced is found out too", () => {
    const { load, disks, verify } = run(
      { mix: { bufferedWrite: 1, fsync: 1, directRead: 0, directWrite: 0 }, fileBytes: 65536 },
      60,
      3,
      true,
    );
    const process = load.processes[0]!;
    const block = process.ledger.touchedBlocks.find((b) => process.ledger.atLeast(b, "synced") > 1)!;
    const words = new Uint32Array(128);
    const at = (process.mapping.startSector + block * 8) * 512;
    disks[0]!.media.read(at, new Uint8Array(words.buffer));
    words[3] = 1;
    disks[0]!.media.write(at, new Uint8Array(words.buffer));
    expect(verify("synced")).toHaveLength(1);
  });

  test("touches nothing but its devices' files", () => {
    const { disks, load } = run({ devices: ["sdb"] });
    expect(disks[0]!.served.filter((s) => s.write)).toEqual([]);
    const last = Math.max(...load.processes.map((p) => p.mapping.startSector + p.mapping.sectors));
    for (const s of disks[1]!.served) expect(s.sector + s.sectors).toBeLessThanOrEqual(last);
  });

  test("is the same for the same seed, and another one for another", () => {
    const hash = (seed: number): string => run({}, 20, seed).k.machine.traceHash;
    expect(hash(5)).toBe(hash(5));
    expect(hash(5)).not.toBe(hash(6));
  });

  test("names a device that does not exist", () => {
    expect(() => run({ devices: ["/dev/sdz1"] })).toThrow(/no block device \/dev\/sdz1/);
  });
});

describe("a machine whose RAM is all in the flat window", () => {
  test("runs the same load and can be filled", () => {
    const k = bootTestMachine({ cpus: 2, flatMiB: 64 });
    expect(fillMemory(0.1)).toBeGreaterThan(1000);
    const disk = new TestDisk();
    let load: Load | undefined;
    runKernel(k, function* () {
      yield* attachTestDisk(disk);
      load = yield* start_load({ ...DEFAULT_LOAD, processes: 3, devices: ["sda"], fileBytes: 1 << 20 });
      yield* msleep(30);
    });
    expect(load!.calls).toBeGreaterThan(50);
    expect(load!.complaints).toEqual([]);
    expect(k.reports).toEqual([]);
    expect(load!.verify("acknowledged", (_name, sector, into) => disk.media.read(sector * 512, into))).toEqual([]);
  });
});

describe("fillMemory", () => {
  test("fills the share of RAM that was asked for, in clusters with holes between, never with zeroes", () => {
    const k = bootTestMachine({ ramMiB: 256, cpus: 1 });
    const { memory } = k.machine;
    const free = k.pages.freePages;
    const first = Math.ceil(k.pages.reservedEnd / 4096);
    const before = new Set<number>();
    for (let page = first; page < memory.ramPages; page++) if (!memory.pages.isHole(page)) before.add(page);
    const filled = fillMemory(0.3);
    expect(filled / memory.ramPages).toBeCloseTo(0.3, 2);
    expect(k.pages.freePages).toBe(free - filled);
    let pages = 0;
    let clusters = 0;
    for (let page = first; page < memory.endOfRam / 4096; page++) {
      if (memory.pages.isHole(page) || before.has(page)) continue;
      expect(memory.pool.isZero(memory.pages.slotOf(page))).toBe(false);
      pages++;
      if (memory.pages.isHole(page - 1)) clusters++;
    }
    expect(pages).toBe(filled);
    expect(clusters).toBeGreaterThan(10);
    expect(K.pages.zones[2]!.freeBlocks(6).length).toBeGreaterThan(0);
  });

  test("leaves room on a small machine, and is the same for the same seed", () => {
    const sum = (seed: number): string => {
      const k = bootTestMachine({ ramMiB: 64, cpus: 1, seed });
      const filled = fillMemory(0.9);
      expect(k.pages.zones[2]!.freePages).toBeGreaterThan(0);
      let h = filled;
      for (let page = 0; page < 16384; page++) h = Math.imul(h ^ k.machine.memory.read32(page * 4096), 0x01000193);
      return String(h);
    };
    expect(sum(1)).toBe(sum(1));
    expect(sum(1)).not.toBe(sum(2));
  });
});
