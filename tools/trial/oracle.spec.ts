// Goal: what the page oracle forgives is what may happen, and nothing more. Method: RAM of which the first four pages are the flat
// window (the first holds zeroes, as the first of every machine does), a core made of it, and single bytes that differ in one of the two.
import { expect, test } from "vitest";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { FRAME_SIZE, PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import type { TouchedRange } from "../../diskdump/module/disk-dump.ts";
import type { CoreReader } from "../../diskdump/cores/core.ts";
import { compareCore, comparePages, type PageVerdict } from "./oracle.ts";
import { RamSnapshot } from "./snapshot.ts";

const PAGES = 8;
const FLAT_PAGES = 4;
const BYTES = PAGES * FRAME_SIZE;
/** Bytes 0x100 to 0x180 of page 2. */
const WORKING: TouchedRange = {
  start: 2 * FRAME_SIZE + 0x100,
  end: 2 * FRAME_SIZE + 0x180,
  what: "queues",
  changesBack: true,
};

/**
 * The verdict on a core whose bytes at `inCore` differ from RAM at the freeze.
 * @param inRam bytes of RAM that change after the freeze
 */
function verdictOn(
  inCore: readonly number[],
  touched: readonly TouchedRange[],
  inRam: readonly number[] = [],
): PageVerdict {
  const pool = new PagePool(FLAT_PAGES * FRAME_SIZE, 64 * FRAME_SIZE);
  const memory = new PhysicalMemory(pool, [{ start: 0, end: BYTES, type: "ram" }]);
  const contents = Uint8Array.from({ length: BYTES }, (_, i) => (i < FRAME_SIZE ? 0 : (i * 7 + (i >>> 12)) & 0xff));
  memory.writeBytes(0, contents);
  const snapshot = new RamSnapshot(memory);
  for (const address of inRam) memory.writeBytes(address, Uint8Array.of(contents[address]! ^ 1));
  for (const address of inCore) contents[address]! ^= 1;
  const core = new PageStore(pool, "core", BYTES);
  core.write(0, contents);
  const range = { physical: 0, fileOffset: 0, memoryBytes: BYTES, fileBytes: BYTES };
  return comparePages(core, { head: new Uint8Array(0), ranges: [range], sizeBytes: BYTES }, snapshot, touched);
}

const inPage = (page: number, byte: number): number => page * FRAME_SIZE + byte;

test("a core that equals RAM at the freeze is right in every page", () => {
  expect(verdictOn([], [])).toEqual({ compared: PAGES, changedByDump: 0, wrong: undefined, wrongPages: 0 });
});

test("a changed byte is named, in the flat window and above it", () => {
  for (const page of [2, 6]) {
    const { wrong, wrongPages } = verdictOn([inPage(page, 0x123)], []);
    expect([wrong, wrongPages]).toEqual([{ physical: inPage(page, 0), byte: 0x123 }, 1]);
  }
});

test("memory that an adapter works in may have changed and changed back: its own bytes, and none beside them", () => {
  expect(verdictOn([WORKING.start, WORKING.end - 1], [WORKING])).toMatchObject({ changedByDump: 1, wrongPages: 0 });
  for (const stray of [WORKING.start - 1, WORKING.end, inPage(2, 0), inPage(1, 0x110)]) {
    expect(verdictOn([WORKING.start, stray], [WORKING]).wrongPages).toBe(1);
  }
});

test("memory that the dump writes for good must look written when a page of it differs", () => {
  const { start, end, what } = WORKING;
  expect(verdictOn([start], [{ start, end, what }]).wrongPages).toBe(1);
  expect(verdictOn([start], [{ start, end, what }], [start])).toMatchObject({ changedByDump: 1, wrongPages: 0 });
});

test("a core that holds copies is judged page by page, in pages of any size", () => {
  const pool = new PagePool(FLAT_PAGES * FRAME_SIZE, 64 * FRAME_SIZE);
  const memory = new PhysicalMemory(pool, [{ start: 0, end: BYTES, type: "ram" }]);
  const contents = Uint8Array.from({ length: BYTES }, (_, i) => (i < FRAME_SIZE ? 0 : (i * 7 + (i >>> 12)) & 0xff));
  memory.writeBytes(0, contents);
  const snapshot = new RamSnapshot(memory);
  contents[inPage(3, 0x123)]! ^= 1;
  contents[inPage(6, 0x45)]! ^= 1;
  // What compareCore asks of a core, with pages of two frames, of which the first was left out.
  const core = {
    facts: { pageSize: 2 * FRAME_SIZE },
    saved: [{ first: 1, count: 3 }],
    nextData: (pfn: number) => pfn,
    readPages: (pfn: number, count: number, into: Uint8Array) =>
      into.set(contents.subarray(pfn * 2 * FRAME_SIZE, (pfn + count) * 2 * FRAME_SIZE)),
  } as unknown as CoreReader;
  const pageBytes = (pfn: number) => contents.subarray(pfn * 2 * FRAME_SIZE, (pfn + 1) * 2 * FRAME_SIZE);
  for (const reader of [core, { ...core, pageBytes }]) {
    expect(compareCore(reader, snapshot, (frame) => frame === 3)).toEqual({
      compared: 3,
      changedByDump: 1,
      wrong: { physical: inPage(6, 0), byte: 0x45 },
      wrongPages: 1,
    });
  }
});

test("pages that a core knows to be zeroes without reading them are judged like all others", () => {
  const pool = new PagePool(FLAT_PAGES * FRAME_SIZE, 64 * FRAME_SIZE);
  const memory = new PhysicalMemory(pool, [{ start: 0, end: BYTES, type: "ram" }]);
  for (const page of [1, 6]) memory.writeBytes(inPage(page, 0x77), Uint8Array.of(1));
  const snapshot = new RamSnapshot(memory);
  const core = {
    facts: { pageSize: FRAME_SIZE },
    saved: [{ first: 0, count: 8 }],
    nextData: (_pfn: number, end: number) => end,
  } as unknown as CoreReader;
  expect(compareCore(core, snapshot, (frame) => frame === 1)).toEqual({
    compared: 8,
    changedByDump: 1,
    wrong: { physical: inPage(6, 0), byte: 0x77 },
    wrongPages: 1,
  });
});
