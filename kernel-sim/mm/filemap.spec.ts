// Goal: what was written is what is read, whichever way; fsync, pdflush and reclaim do what they promise.
// Method: random buffered and direct I/O on a disk with a real interrupt, against a byte array.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { lookup_bdev } from "../block/gendisk.ts";
import { READ, WRITE } from "../block/request.ts";
import { TestDisk, attachTestDisk, type TestDiskOptions } from "../block/testing.ts";
import { runKernel } from "../core/boot.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { kfunc } from "../core/kfunc.ts";
import { msleep } from "../core/timer.ts";
import { bootTestMachine, type TestMachineOptions } from "../core/testing.ts";
import { DirectIo, blkdev_direct_IO } from "./direct-io.ts";
import { UserBuffer, generic_file_read, generic_file_write } from "./filemap.ts";
import { GFP_HIGHUSER, GFP_KERNEL, alloc_page } from "./page-alloc.ts";
import { type AddressSpace } from "./page-cache.ts";
import { page_to_phys } from "./page.ts";
import { pdflush_init } from "./pdflush.ts";
import { setDirtyLimits, sys_fsync_mapping } from "./writeback.ts";

const makeBuffer = kfunc("test_buffer", function* (pages: number, gfp: number) {
  const addresses: number[] = [];
  for (let i = 0; i < pages; i++) addresses.push(page_to_phys(yield* alloc_page(gfp)));
  return new UserBuffer(addresses);
});

function put(buffer: UserBuffer, bytes: Uint8Array): void {
  for (let done = 0; done < bytes.length; done += 4096) {
    M.memory.writeBytes(buffer.address(done), bytes.subarray(done, Math.min(done + 4096, bytes.length)));
  }
}
function get(buffer: UserBuffer, length: number): Uint8Array {
  const bytes = new Uint8Array(length);
  for (let done = 0; done < length; done += 4096) {
    M.memory.readBytes(buffer.address(done), bytes.subarray(done, Math.min(done + 4096, length)));
  }
  return bytes;
}
/** As toEqual, without its price for long arrays. */
const same = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0;
const noise = (seed: number, length: number): Uint8Array =>
  Uint8Array.from({ length }, (_, i) => (seed * 31 + i * 7 + (i >> 8)) & 0xff);

function withDisk(
  options: TestDiskOptions & { machine?: TestMachineOptions },
  program: (disk: TestDisk, mapping: AddressSpace) => Running,
  limitNs?: number,
): { k: Kernel; disk: TestDisk } {
  const k = bootTestMachine({ cpus: 2, ...options.machine });
  const disk = new TestDisk({ latencyNs: 50_000, ...options });
  const ended = runKernel(
    k,
    function* () {
      yield* attachTestDisk(disk);
      disk.served.length = 0;
      yield* program(disk, lookup_bdev("sda")!.mapping);
    },
    limitNs,
  );
  expect(ended).toBe(true);
  expect(k.reports).toEqual([]);
  return { k, disk };
}

describe("buffered and direct I/O", () => {
  const action = fc.record({
    kind: fc.constantFrom("write", "read", "directWrite", "directRead", "fsync"),
    // Odd places and lengths for the buffered calls; the direct ones round to sectors.
    pos: fc.integer({ min: 0, max: 100_000 }),
    bytes: fc.integer({ min: 1, max: 30_000 }),
    seed: fc.nat({ max: 1000 }),
  });
  for (const [where, gfp] of [
    ["user pages above the flat window", GFP_HIGHUSER],
    ["pages in the flat window", GFP_KERNEL],
  ] as const) {
    test(`always read what was written last (${where}); after fsync the disk holds it`, () => {
      fc.assert(
        fc.property(fc.array(action, { minLength: 1, maxLength: 25 }), (actions) => {
          // An odd end: 201 sectors are 25 pages and a sector.
          const sectors = 201;
          const model = new Uint8Array(sectors * 512);
          const { disk } = withDisk({ sectors, maxSectors: 32 }, function* (_disk, mapping) {
            const buffer = yield* makeBuffer(8, gfp);
            const dio = new DirectIo("test");
            const ra = { next: 0, size: 0 };
            for (const { kind, pos, bytes, seed } of actions) {
              const at = kind.startsWith("direct") ? pos - (pos % 512) : pos;
              const length = Math.min(
                kind.startsWith("direct") ? Math.ceil(bytes / 512) * 512 : bytes,
                model.length - at,
              );
              if (kind === "fsync") expect(yield* sys_fsync_mapping(mapping)).toBe(0);
              else if (kind === "write" || kind === "directWrite") {
                const data = noise(seed, length);
                put(buffer, data);
                const done =
                  kind === "write"
                    ? yield* generic_file_write(mapping, at, length, buffer)
                    : yield* blkdev_direct_IO(WRITE, mapping, dio, at, length, buffer);
                expect(done).toBe(length);
                model.set(data, at);
              } else {
                const done =
                  kind === "read"
                    ? yield* generic_file_read(mapping, ra, at, length, buffer)
                    : yield* blkdev_direct_IO(READ, mapping, dio, at, length, buffer);
                expect(done).toBe(length);
                expect(same(get(buffer, length), model.subarray(at, at + length))).toBe(true);
              }
            }
            expect(yield* sys_fsync_mapping(mapping)).toBe(0);
          });
          const media = new Uint8Array(model.length);
          disk.media.read(0, media);
          expect(same(media, model)).toBe(true);
          expect(K.pages.pageState.nr_dirty).toBe(0);
          expect(K.pages.pageState.nr_writeback).toBe(0);
        }),
        { numRuns: 25 },
      );
    });
  }

  test("a direct call that is not in whole sectors is refused", () => {
    withDisk({}, function* (_disk, mapping) {
      const buffer = yield* makeBuffer(1, GFP_HIGHUSER);
      expect(yield* blkdev_direct_IO(READ, mapping, new DirectIo("t"), 100, 512, buffer)).toBe(-22);
    });
  });

  test("a media error comes back as -EIO, from reads and from fsync, once", () => {
    withDisk({}, function* (disk, mapping) {
      const buffer = yield* makeBuffer(1, GFP_HIGHUSER);
      disk.failSector = 80;
      expect(yield* generic_file_read(mapping, { next: 0, size: 0 }, 80 * 512, 4096, buffer)).toBe(4096);
      disk.failSector = 80;
      expect(yield* blkdev_direct_IO(READ, mapping, new DirectIo("t"), 80 * 512, 4096, buffer)).toBe(-5);
      yield* generic_file_write(mapping, 80 * 512, 4096, buffer);
      disk.failSector = 80;
      expect(yield* sys_fsync_mapping(mapping)).toBe(-5);
      expect(yield* sys_fsync_mapping(mapping)).toBe(0);
    });
  });
});

describe("reading", () => {
  test("ahead of a sequential reader, in large requests", () => {
    const { disk } = withDisk({}, function* (_disk, mapping) {
      const buffer = yield* makeBuffer(4, GFP_HIGHUSER);
      const ra = { next: 0, size: 0 };
      for (let i = 0; i < 16; i++) yield* generic_file_read(mapping, ra, i * 16384, 16384, buffer);
    });
    expect(disk.served.length).toBeLessThan(16);
    expect(Math.max(...disk.served.map((s) => s.sectors))).toBeGreaterThanOrEqual(128);
  });
});

describe("writing back", () => {
  test("fsync flushes the disk's write cache after the data", () => {
    const { disk } = withDisk({}, function* (disk, mapping) {
      const buffer = yield* makeBuffer(4, GFP_HIGHUSER);
      yield* generic_file_write(mapping, 0, 16384, buffer);
      expect(disk.served).toHaveLength(0);
      expect(K.pages.pageState.nr_dirty).toBe(4);
      yield* sys_fsync_mapping(mapping);
    });
    expect(disk.served).toMatchObject([{ write: true, sector: 0, sectors: 32 }]);
    expect(disk.flushes).toBe(1);
  });

  test("pdflush writes what has been dirty for long, by its timer", () => {
    withDisk({}, function* (disk, mapping) {
      setDirtyLimits({ backgroundRatio: 10, dirtyRatio: 40, writebackTicks: 100, expireTicks: 300 });
      yield* pdflush_init();
      const buffer = yield* makeBuffer(1, GFP_HIGHUSER);
      yield* generic_file_write(mapping, 40960, 4096, buffer);
      yield* msleep(150);
      expect(disk.served).toHaveLength(0);
      yield* msleep(400);
      expect(disk.served).toMatchObject([{ write: true, sector: 80, sectors: 8 }]);
    });
  });

  test("a writer never gets far beyond the dirty limit: it has to write itself", () => {
    const { k, disk } = withDisk({ machine: { cpus: 1 } }, function* (_disk, mapping) {
      const limit = 256;
      const ratio = (limit / K.pages.totalPages) * 100;
      setDirtyLimits({ backgroundRatio: ratio / 2, dirtyRatio: ratio, writebackTicks: 500, expireTicks: 3000 });
      const buffer = yield* makeBuffer(16, GFP_HIGHUSER);
      for (let i = 0; i < 64; i++) {
        yield* generic_file_write(mapping, i * 65536, 65536, buffer);
        const { nr_dirty, nr_writeback } = K.pages.pageState;
        expect(nr_dirty + nr_writeback).toBeLessThan(limit + 100);
      }
    });
    expect(disk.served.length).toBeGreaterThan(5);
    expect(k.pages.pageState.nr_dirty).toBeLessThan(356);
  });

  test("when memory is short, clean cached pages are given back and reads go on", () => {
    const { k } = withDisk({ sectors: 262144, machine: { ramMiB: 48, cpus: 1 } }, function* (_disk, mapping) {
      const buffer = yield* makeBuffer(16, GFP_HIGHUSER);
      const ra = { next: 0, size: 0 };
      const pages = K.pages.freePages;
      for (let i = 0; i * 16 < pages + 2000; i++) {
        expect(yield* generic_file_read(mapping, ra, i * 65536, 65536, buffer)).toBe(65536);
      }
    });
    expect(k.pages.freePages).toBeGreaterThan(0);
    expect(lookup_bdev("sda")!.mapping.s.nrpages).toBe(lookup_bdev("sda")!.mapping.pages.size);
  });
});
