import fc from "fast-check";
import { expect, test } from "vitest";
import { PhysicalMemory } from "./memory.ts";
import { FRAME_SIZE, PagePool } from "./pool.ts";
import { PageStore, type Backing } from "./store.ts";

const RAM = 8 * FRAME_SIZE;
const DISK = 6 * FRAME_SIZE;
const backing: Backing = {
  readPage(page, into) {
    for (let i = 0; i < FRAME_SIZE; i++) into[i] = page * 7 + i;
    return page !== 1;
  },
};

const place = (limit: number) => fc.tuple(fc.nat(limit - 1), fc.constantFrom(0, 512, FRAME_SIZE));
const step = fc.record({
  kind: fc.constantFrom("out", "in", "poke", "page", "bytes"),
  ram: place(RAM),
  disk: place(DISK),
  other: fc.nat(7),
  length: fc.oneof(fc.nat(3 * FRAME_SIZE), fc.constantFrom(512, FRAME_SIZE, 2 * FRAME_SIZE)),
  value: fc.nat(0xffffffff),
});
const align = ([at, grain]: [number, number]): number => (grain === 0 ? at : at - (at % grain));

test.each([[undefined], [backing]])(
  "DMA both ways, pokes and page copies agree with plain arrays (backing: %s)",
  (under) => {
    fc.assert(
      fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
        const pool = new PagePool(3 * FRAME_SIZE, 2 ** 20);
        const memory = new PhysicalMemory(pool, [{ start: 0, end: RAM, type: "ram" }]);
        const store = new PageStore(pool, "disk", DISK, under);
        const ram = new Uint8Array(RAM);
        const disk = new Uint8Array(DISK);
        if (under)
          for (let i = 0; i < DISK; i++)
            disk[i] = Math.floor(i / FRAME_SIZE) === 1 ? 0 : Math.floor(i / FRAME_SIZE) * 7 + i;
        for (const { kind, ram: r, disk: d, other, length: wanted, value } of steps) {
          const address = align(r);
          const offset = align(d);
          const length = Math.min(wanted, RAM - address, DISK - offset);
          if (kind === "out") {
            memory.copyToStore(address, store, offset, length);
            disk.set(ram.subarray(address, address + length), offset);
          } else if (kind === "in") {
            memory.copyFromStore(store, offset, address, length);
            ram.set(disk.subarray(offset, offset + length), address);
          } else if (kind === "poke") {
            const at = Math.min(address, RAM - 4);
            memory.write32(at, value);
            new DataView(ram.buffer).setUint32(at, value, true);
            expect(memory.read32(at)).toBe(value);
            expect(memory.read16(at + 1)).toBe((value >>> 8) & 0xffff);
          } else if (kind === "page") {
            const to = address - (address % FRAME_SIZE);
            memory.copyPage(other * FRAME_SIZE, to);
            ram.copyWithin(to, other * FRAME_SIZE, (other + 1) * FRAME_SIZE);
          } else {
            const bytes = new Uint8Array(length).fill(value);
            memory.writeBytes(address, bytes);
            ram.set(bytes, address);
          }
        }
        const seen = new Uint8Array(RAM);
        memory.readBytes(0, seen);
        expect(Buffer.compare(seen, ram)).toBe(0);
        const stored = new Uint8Array(DISK);
        store.read(0, stored);
        expect(Buffer.compare(stored, disk)).toBe(0);
      }),
      { numRuns: 300 },
    );
  },
);

test("a page that went to a disk by reference keeps its contents there when RAM changes", () => {
  const pool = new PagePool(FRAME_SIZE, 2 ** 20);
  const memory = new PhysicalMemory(pool, [{ start: 0, end: RAM, type: "ram" }]);
  const store = new PageStore(pool, "disk", DISK);
  memory.write32(2 * FRAME_SIZE, 0x11111111);
  memory.copyToStore(2 * FRAME_SIZE, store, 0, FRAME_SIZE);
  memory.write32(2 * FRAME_SIZE, 0x22222222);
  const bytes = new Uint8Array(4);
  store.read(0, bytes);
  expect([...bytes]).toEqual([0x11, 0x11, 0x11, 0x11]);
});

test("a value that straddles two pages is read and written whole, wherever the pages lie", () => {
  const pool = new PagePool(FRAME_SIZE, 2 ** 20);
  const memory = new PhysicalMemory(pool, [{ start: 0, end: RAM, type: "ram" }]);
  // Touched in this order, the pages are no neighbours in the slab.
  memory.write8(3 * FRAME_SIZE, 0);
  memory.write8(2 * FRAME_SIZE, 0);
  for (const at of [FRAME_SIZE - 2, 3 * FRAME_SIZE - 2, 3 * FRAME_SIZE - 1]) {
    memory.write32(at, 0xa1b2c3d4);
    expect(memory.read32(at)).toBe(0xa1b2c3d4);
    expect(memory.read8(at)).toBe(0xd4);
    expect(memory.read8(at + 3)).toBe(0xa1);
  }
  memory.write64(3 * FRAME_SIZE - 4, 2 ** 52 + 3);
  expect(memory.read64(3 * FRAME_SIZE - 4)).toBe(2 ** 52 + 3);
});

test("addresses above 4 GiB work, and what lies beyond RAM is refused by name", () => {
  const end = 8 * 2 ** 30;
  const memory = new PhysicalMemory(new PagePool(FRAME_SIZE, 2 ** 20), [{ start: 0, end, type: "ram" }]);
  memory.write32(end - 4, 0xdeadbeef);
  memory.write32(5 * 2 ** 30 + 8, 7);
  expect(memory.read32(end - 4)).toBe(0xdeadbeef);
  expect(memory.read32(5 * 2 ** 30 + 8)).toBe(7);
  expect(memory.read32(2 ** 30 + 8)).toBe(0);
  expect(() => memory.read32(end - 3)).toThrow(/beyond RAM \(0x200000000\)/);
});

test("the firmware's map decides what is RAM; pages that are RAM only in part do not count", () => {
  const memory = new PhysicalMemory(new PagePool(FRAME_SIZE, 2 ** 20), [
    { start: 0x100000, end: 0x200000, type: "ram" },
    { start: 0, end: 0x9fc00, type: "ram" },
    { start: 0x9fc00, end: 0x100000, type: "reserved" },
  ]);
  expect(memory.ramPages).toBe(0x9f + 0x100);
  expect([0, 0x9fbff, 0x9fc00, 0xfffff, 0x100000, 0x200000].map((a) => memory.isRam(a))).toEqual([
    true,
    true,
    false,
    false,
    true,
    false,
  ]);
  expect(
    () =>
      new PhysicalMemory(new PagePool(FRAME_SIZE, 2 ** 20), [
        { start: 0, end: 0x2000, type: "ram" },
        { start: 0x1000, end: 0x3000, type: "ram" },
      ]),
  ).toThrow(/0x1000 overlaps/);
});
