import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { expect, test } from "vitest";
import { PagePool } from "../memory/pool.ts";
import { PageStore } from "../memory/store.ts";
import { readPartitionTable, writePartitionTable, type PartitionEntry } from "./partition-table.ts";

const disk = (sectors: number): PageStore => new PageStore(new PagePool(0, 2 ** 22), "sde", sectors * 512);

test("a table comes back as it was written: primaries in their slots, logical ones from 5 on", () => {
  const store = disk(4_000_000);
  const written = writePartitionTable(store, [
    { startSector: 63, sectors: 514_017, type: 0x83, bootable: true },
    { startSector: 514_080, sectors: 1_012_095, type: 0x83 },
    { startSector: 1_526_238, sectors: 100_000, type: 0x82, logical: true },
    { startSector: 2_048_000, sectors: 204_800, type: 0x83, logical: true },
    { startSector: 3_000_000, sectors: 1_000_000, type: 0x83 },
  ]);
  expect(written.map((one) => [one.number, one.startSector, one.sectors, one.type, one.logical])).toEqual([
    [1, 63, 514_017, 0x83, false],
    [2, 514_080, 1_012_095, 0x83, false],
    [3, 1_526_175, 726_625, 0x05, false],
    [4, 3_000_000, 1_000_000, 0x83, false],
    [5, 1_526_238, 100_000, 0x82, true],
    [6, 2_048_000, 204_800, 0x83, true],
  ]);
  expect(written[0]!.bootable).toBe(true);
});

test("any set of disjoint partitions survives writing and reading", () => {
  const parts = fc.array(
    fc.record({ gap: fc.integer({ min: 1, max: 5000 }), size: fc.integer({ min: 1, max: 50_000_000 }) }),
    { minLength: 1, maxLength: 12 },
  );
  fc.assert(
    fc.property(parts, fc.nat(3), (list, primaryCount) => {
      let at = 0;
      const entries = list.map(({ gap, size }, i): PartitionEntry => {
        const startSector = at + gap;
        at = startSector + size;
        return { startSector, sectors: size, type: 0x83, ...(i >= primaryCount ? { logical: true } : {}) };
      });
      // A first logical partition in sector 1 would leave no room for its link.
      if (entries[0]!.logical && entries[0]!.startSector < 2) return;
      const found = writePartitionTable(disk(at), entries).filter((one) => one.type === 0x83);
      expect(found.map((one) => [one.startSector, one.sectors, one.logical])).toEqual(
        entries.map((one) => [one.startSector, one.sectors, one.logical ?? false]),
      );
    }),
  );
});

test("boot code in front of the table is kept", () => {
  const store = disk(10_000);
  store.write(0, new Uint8Array(440).fill(0x90));
  writePartitionTable(store, [{ startSector: 63, sectors: 100, type: 0x83 }]);
  const code = new Uint8Array(440);
  store.read(0, code);
  expect(code.every((byte) => byte === 0x90)).toBe(true);
});

const one = { startSector: 100, sectors: 100, type: 0x83 };
test.each<[string, PartitionEntry[], RegExp]>([
  ["overlapping partitions", [one, { ...one, startSector: 199 }], /sector 199 .* overlaps partition at sector 100/],
  ["a partition beyond the disk", [{ ...one, sectors: 9_901 }], /ends beyond the disk, which has 10000 sectors/],
  ["a partition on the table itself", [{ ...one, startSector: 0 }], /start of 1 or more/],
  ["five primaries", [1, 2, 3, 4, 5].map((i) => ({ ...one, startSector: i * 100 })), /5 primary partitions/],
  [
    "a primary inside the extended partition",
    [
      { ...one, logical: true },
      { ...one, startSector: 300 },
      { ...one, startSector: 500, logical: true },
    ],
    /overlaps/,
  ],
  ["no room for a logical link", [one, { ...one, startSector: 200, logical: true }], /no free sector before it/],
])("%s are refused, and nothing is written", (_what, entries, message) => {
  const store = disk(10_000);
  expect(() => writePartitionTable(store, entries)).toThrow(message);
  expect(store.nextData(0)).toBe(store.sizeBytes);
});

test("reading tells what is wrong and where: no signature, an entry beyond the disk, a chain that goes back", () => {
  expect(() => readPartitionTable(disk(100))).toThrow("sde: partition table at sector 0 has no 55 AA signature");
  const store = disk(10_000);
  writePartitionTable(store, [
    { ...one, logical: true },
    { ...one, startSector: 500, logical: true },
  ]);
  const link = 100 - 63;
  // The second entry of the first link: back to itself.
  store.write(link * 512 + 446 + 16 + 8, Uint8Array.of(0, 0, 0, 0));
  expect(() => readPartitionTable(store)).toThrow(/link at sector 37 leads to sector 37/);
  store.write(446 + 12, Uint8Array.of(0xff, 0xff, 0xff, 0));
  expect(() => readPartitionTable(store)).toThrow(/ends beyond the disk/);
});

test("no 512 bytes make the reader fail otherwise than by its own error, or hang", () => {
  fc.assert(
    fc.property(
      fc.uint8Array({ minLength: 64, maxLength: 64 }),
      fc.array(fc.tuple(fc.nat(99), fc.uint8Array({ minLength: 64, maxLength: 64 }))),
      (mbr, others) => {
        const store = disk(100);
        for (const [sector, table] of [...others, [0, mbr] as const]) {
          store.write(sector * 512 + 446, table);
          store.write(sector * 512 + 510, Uint8Array.of(0x55, 0xaa));
        }
        try {
          for (const found of readPartitionTable(store))
            expect(found.startSector + found.sectors).toBeLessThanOrEqual(100);
        } catch (error) {
          expect((error as Error).constructor.name).toBe("PartitionTableError");
        }
      },
    ),
  );
});

const sfdisk = ["sfdisk", "/sbin/sfdisk", "/usr/sbin/sfdisk"].find(
  (path) => spawnSync(path, ["--version"]).status === 0,
);
test.skipIf(sfdisk === undefined)(
  "sfdisk reads the same partitions and finds nothing to complain about (needs: apt-get install fdisk)",
  () => {
    const store = disk(200_000);
    const entries = [
      { startSector: 2048, sectors: 20_480, type: 0x83, bootable: true },
      { startSector: 40_960, sectors: 20_480, type: 0x82, logical: true },
      { startSector: 81_920, sectors: 20_480, type: 0x83, logical: true },
    ];
    writePartitionTable(store, entries);
    const folder = mkdtempSync(join(tmpdir(), "dumplab-"));
    const image = new Uint8Array(store.sizeBytes);
    store.read(0, image);
    writeFileSync(join(folder, "disk.img"), image);
    const dumped = spawnSync(sfdisk!, ["--json", join(folder, "disk.img")], { encoding: "utf8" });
    const verified = spawnSync(sfdisk!, ["--verify", join(folder, "disk.img")], { encoding: "utf8" });
    rmSync(folder, { recursive: true });
    const table = (JSON.parse(dumped.stdout) as { partitiontable: { partitions: { start: number; size: number }[] } })
      .partitiontable;
    expect(table.partitions.map((part) => [part.start, part.size])).toEqual([
      [2048, 20_480],
      [38_912, 63_488],
      [40_960, 20_480],
      [81_920, 20_480],
    ]);
    expect(`${dumped.stderr}${verified.stderr}`).toBe("");
    expect(verified.stdout).toMatch(/No errors detected/);
  },
);
