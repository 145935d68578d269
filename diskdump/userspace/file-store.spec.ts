import { execFileSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { UsageError } from "./errors.ts";
import { FileStore } from "./file-store.ts";
import { parseSparseMap } from "./hole-map.ts";
import { PartitionStore, resolveStore } from "./partition-store.ts";
import { openPartition, readPartitions } from "./partition-table.ts";

const scratch = mkdtempSync(join(tmpdir(), "file-store-spec-"));
afterAll(() => rmSync(scratch, { recursive: true }));
let files = 0;
const fresh = (): string => join(scratch, `image-${files++}`);

describe("an image file", () => {
  test("beyond 4 GiB is read where it was written, and the rest is hole", () => {
    const path = fresh();
    const image = FileStore.create(path, 2 ** 33);
    image.write(2 ** 32 + 4096, Buffer.from("far out"));
    image.close();
    const again = FileStore.open(path);
    const bytes = Buffer.alloc(7);
    again.read(2 ** 32 + 4096, bytes);
    expect(bytes.toString()).toBe("far out");
    expect(again.sizeBytes).toBe(2 ** 33);
    again.close();
  });

  test("never calls data a hole", () => {
    const place = fc.tuple(fc.nat(900), fc.integer({ min: 1, max: 5 }));
    fc.assert(
      fc.property(fc.array(place, { maxLength: 12 }), (pieces) => {
        const path = fresh();
        const image = FileStore.create(path, 1000 * 4096);
        for (const [page, count] of pieces) image.write(page * 4096, new Uint8Array(count * 4096).fill(1));
        image.close();
        const again = FileStore.open(path);
        const hasData = (page: number): boolean =>
          pieces.some(([first, count]) => page >= first && page < first + count);
        const seen = new Set<number>();
        for (let at = again.nextData(0); at < again.sizeBytes; at = again.nextData(again.nextHole(at))) {
          for (let page = Math.floor(at / 4096); page * 4096 < again.nextHole(at); page++) seen.add(page);
        }
        for (let page = 0; page < 1000; page++) if (hasData(page)) expect(seen.has(page), `page ${page}`).toBe(true);
        again.close();
        rmSync(path);
      }),
      { numRuns: 25 },
    );
  });

  test("has its holes skipped where the host can tell them", () => {
    const path = fresh();
    const image = FileStore.create(path, 2 ** 30);
    image.write(2 ** 29, new Uint8Array(4096).fill(1));
    image.close();
    const tarKnowsHoles = execFileSync("tar", ["--version"]).toString().includes("GNU tar");
    const again = FileStore.open(path);
    expect(again.nextData(0)).toBe(tarKnowsHoles ? 2 ** 29 : 0);
    expect(again.nextData(2 ** 29 + 17)).toBe(2 ** 29 + 17);
    again.close();
  });

  test("that is written to is no longer believed to have holes where it had", () => {
    const path = fresh();
    const image = FileStore.create(path, 2 ** 24);
    image.nextData(0);
    image.write(2 ** 20, Uint8Array.of(1));
    expect(image.nextData(0)).toBeLessThanOrEqual(2 ** 20);
    image.close();
  });

  test("that cannot be opened is named with the reason", () => {
    expect(() => FileStore.open(join(scratch, "nothing.img"))).toThrow(/nothing\.img: cannot be opened: no such file/);
    expect(() => FileStore.open(scratch)).toThrow(UsageError);
    const path = fresh();
    FileStore.create(path, 10).close();
    expect(() => FileStore.create(path, 10)).toThrow(/cannot be opened: file already exists/);
    const readOnly = FileStore.open(path);
    expect(() => readOnly.write(0, Uint8Array.of(1))).toThrow(/opened for reading only/);
    expect(() => readOnly.read(8, new Uint8Array(3))).toThrow(/3 bytes at 8 lie beyond its end \(10 bytes\)/);
    readOnly.close();
  });

  test("with bytes that are no archive has no map", () => {
    expect(parseSparseMap(Buffer.alloc(5000), 10)).toBeUndefined();
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 0, maxLength: 3000 }), (bytes) => {
        const map = parseSparseMap(Buffer.from(bytes), 1000);
        expect(map === undefined || map === "short").toBe(true);
      }),
    );
  });
});

describe("partitions of a disk image", () => {
  /** Writes an MBR-style table of [type, start, count] into a sector. */
  function table(store: PageStore, sector: number, entries: readonly (readonly [number, number, number])[]): void {
    const bytes = Buffer.alloc(512);
    entries.forEach(([type, start, count], index) => {
      bytes[446 + index * 16 + 4] = type;
      bytes.writeUInt32LE(start, 446 + index * 16 + 8);
      bytes.writeUInt32LE(count, 446 + index * 16 + 12);
    });
    bytes.writeUInt16LE(0xaa55, 510);
    store.write(sector * 512, bytes);
  }
  const disk = (sectors: number): PageStore => new PageStore(new PagePool(0, 1 << 22), "sda.img", sectors * 512);

  test("are found, logical ones too, and are windows of the disk", () => {
    const store = disk(4000);
    table(store, 0, [
      [0x83, 64, 936],
      [0x05, 1000, 2000],
    ]);
    table(store, 1000, [
      [0x83, 63, 200],
      [0x05, 500, 300],
    ]);
    table(store, 1500, [[0x82, 63, 100]]);
    expect(readPartitions(store)!.map(({ number, startSector }) => [number, startSector])).toEqual([
      ...[
        [1, 64],
        [2, 1000],
        [5, 1063],
        [6, 1563],
      ],
    ]);
    const fifth = openPartition(store, 5);
    fifth.write(10, Buffer.from("inside"));
    const bytes = Buffer.alloc(6);
    store.read(1063 * 512 + 10, bytes);
    expect(bytes.toString()).toBe("inside");
    expect(fifth.sizeBytes).toBe(200 * 512);
    expect(() => fifth.write(200 * 512 - 2, bytes)).toThrow(
      /sda\.img partition 5: 6 bytes at 102398 lie beyond its end/,
    );
  });

  test("that do not exist are refused with those that do", () => {
    const store = disk(4000);
    expect(() => openPartition(store, 1)).toThrow(
      /sda\.img: has no partition table \(bytes 55 aa expected at offset 0x1fe\)/,
    );
    table(store, 0, [
      [0x83, 64, 936],
      [0, 0, 0],
      [0x83, 100_000, 5],
    ]);
    expect(() => openPartition(store, 2)).toThrow("sda.img: has no partition 2; its partitions: 1, 3");
    expect(() => openPartition(store, 3)).toThrow(/partition 3 begins at sector 100000, beyond the image's end/);
  });

  test("of a chain that goes in circles end somewhere", () => {
    const store = disk(4000);
    table(store, 0, [[0x05, 1000, 2000]]);
    table(store, 1000, [
      [0x83, 63, 2],
      [0x05, 0, 2],
    ]);
    expect(readPartitions(store)!.length).toBeLessThan(70);
  });

  test("skip the same holes as the disk does", () => {
    const store = disk(4000);
    store.write(2048 * 512, Uint8Array.of(1));
    const inner = new PartitionStore(new PartitionStore(store, "outer", 4096, 2_000_000), "inner", 8192, 1_500_000);
    expect(inner.nextData(0)).toBe(2048 * 512 - 12288);
    expect(resolveStore(inner, 5)).toEqual({ store, offset: 12293 });
    expect(inner.nextData(inner.sizeBytes - 1)).toBe(inner.sizeBytes);
  });
});

test("a file of no holes is read like any other", () => {
  const path = fresh();
  writeFileSync(path, Buffer.alloc(50_000, 3));
  const store = FileStore.open(path);
  expect([store.nextData(0), store.nextHole(0), store.nextData(60_000)]).toEqual([0, 50_000, 50_000]);
  store.close();
});
