// Goal: add_disk finds what the partition tool wrote, primaries and logicals. Method: write a table on the media, attach the disk.
import { describe, expect, test } from "vitest";
import { writePartitionTable } from "../../emulator/disk/partition-table.ts";
import { runKernel } from "../core/boot.ts";
import { bootTestMachine } from "../core/testing.ts";
import { lookup_bdev, rescan_partitions } from "./gendisk.ts";
import { TestDisk, attachTestDisk } from "./testing.ts";

describe("add_disk", () => {
  test("reads primary and logical partitions through the block layer and names them", () => {
    const k = bootTestMachine();
    const disk = new TestDisk({ name: "sde" });
    writePartitionTable(disk.media, [
      { startSector: 63, sectors: 2000, type: 0x83 },
      { startSector: 4096, sectors: 8192, type: 0x82 },
      { startSector: 20480, sectors: 4096, type: 0x83, logical: true },
      { startSector: 30720, sectors: 5000, type: 0x83, logical: true },
    ]);
    expect(runKernel(k, () => attachTestDisk(disk))).toBe(true);
    const place = (name: string): readonly number[] => [lookup_bdev(name)!.startSector, lookup_bdev(name)!.sectors];
    expect(place("sde")).toEqual([0, 65536]);
    expect(place("sde1")).toEqual([63, 2000]);
    expect(place("sde2")).toEqual([4096, 8192]);
    expect(place("sde5")).toEqual([20480, 4096]);
    expect(place("sde6")).toEqual([30720, 5000]);
    expect(lookup_bdev("sde3")!.sectors).toBe(2);
    expect(k.console.lines.at(-1)!.text).toBe(" sde: sde1 sde2 sde3 < sde5 sde6 >");
    expect(disk.served[0]).toMatchObject({ write: false, sector: 0, sectors: 8 });
  });

  test("finds no partitions on a disk without a table, or whose first sector cannot be read", () => {
    for (const failSector of [-1, 0]) {
      const k = bootTestMachine();
      const disk = new TestDisk();
      disk.failSector = failSector;
      expect(runKernel(k, () => attachTestDisk(disk))).toBe(true);
      expect([...k.block.devices.keys()]).toEqual(["sda"]);
    }
  });

  test("rescan_partitions reads the table from the disk again, not from the cache", () => {
    const k = bootTestMachine();
    const disk = new TestDisk();
    writePartitionTable(disk.media, [{ startSector: 64, sectors: 100, type: 0x83 }]);
    runKernel(k, function* () {
      yield* attachTestDisk(disk);
      writePartitionTable(disk.media, [{ startSector: 128, sectors: 200, type: 0x83 }]);
      yield* rescan_partitions(disk.disk);
    });
    expect(lookup_bdev("sda1")).toMatchObject({ startSector: 128, sectors: 200 });
  });
});
