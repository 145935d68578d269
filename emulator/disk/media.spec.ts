import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { HOLE } from "../memory/pool.ts";
import { RawFileBacking } from "./raw-file-backing.ts";
import { filled, TestInitiator } from "./test-initiator.ts";
import { resolveDiskTiming } from "./timing.ts";

const folder = mkdtempSync(join(tmpdir(), "dumplab-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("a disk over a raw file shows the file, beyond its end zeroes, and never writes to it", () => {
  const path = join(folder, "disk.img");
  const image = Uint8Array.from({ length: 20_000 }, (_, i) => (i >= 4096 && i < 8192 ? 0 : (i >> 9) + 1));
  writeFileSync(path, image);
  const backing = new RawFileBacking(path);
  const lastPage = new Uint8Array(4096).fill(0xff);
  expect(backing.readPage(4, lastPage)).toBe(true);
  expect(lastPage.lastIndexOf(40)).toBe(20_000 - 4 * 4096 - 1);
  expect(lastPage[4095]).toBe(0);
  const host = new TestInitiator({ backing });
  expect(host.read(0, 39).data).toEqual(image.subarray(0, 39 * 512));
  expect(host.read(40, 8).data).toEqual(filled(8, 0));
  expect(host.disk.media.store.slotOf(1)).toBe(HOLE);
  host.write(2, filled(4, 0xaa));
  expect(host.read(1, 2).data).toEqual(new Uint8Array([...filled(1, 2), ...filled(1, 0xaa)]));
  backing.close();
  expect(new Uint8Array(readFileSync(path))).toEqual(image);
});

test("a power cut brings back what the file had under a volatile write", () => {
  const path = join(folder, "cut.img");
  writeFileSync(path, filled(16, 5));
  const backing = new RawFileBacking(path);
  const host = new TestInitiator({ backing, trackVolatile: true });
  host.write(100_000, filled(1, 1));
  host.write(4, filled(2, 9));
  host.disk.reset("power");
  host.disk.takeAttention();
  expect(host.read(0, 16).data).toEqual(filled(16, 5));
  backing.close();
});

test("page frames kept for a power cut are given back when they are destaged, and stay within the cache", () => {
  const host = new TestInitiator({ trackVolatile: true, timing: { cacheBytes: 2 ** 20 } });
  for (let round = 0; round < 10; round++) {
    for (let lba = 0; lba < 8192; lba += 128) host.write(lba, filled(128, round + 1));
    expect(host.disk.media.undoEntries).toBeLessThanOrEqual(2 ** 20 / 4096 + 32);
  }
  host.wait(10_000_000_000);
  host.write(0, filled(8, 1));
  expect(host.disk.media.undoEntries).toBe(1);
});

test("without trackVolatile a power cut loses nothing and says how much was at stake", () => {
  const host = new TestInitiator();
  host.write(100_000, filled(64, 9));
  host.disk.reset("power");
  host.disk.takeAttention();
  expect(host.disk.volatileBytesAtPowerCut).toBe(64 * 512);
  expect(host.read(100_000, 64).data).toEqual(filled(64, 9));
});

test("a missing file, a folder, an odd size and impossible timing are refused by name", () => {
  expect(() => new RawFileBacking(join(folder, "none"))).toThrow(/ENOENT.*none/);
  expect(() => new RawFileBacking(folder)).toThrow(/not a regular file/);
  expect(() => new TestInitiator({ sizeBytes: 1000 })).toThrow(
    "sda: a size of 1000 bytes is no positive multiple of 512",
  );
  expect(() => resolveDiskTiming({ queueDepth: 0 })).toThrow("disk timing: queueDepth is 0, it must be 1 to 256");
  expect(() => resolveDiskTiming({ rpm: NaN })).toThrow(/rpm is NaN/);
  expect(() => resolveDiskTiming({ averageSeekNs: 1 })).toThrow(/averageSeekNs/);
});
