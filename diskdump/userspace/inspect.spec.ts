import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { DATA_MODELS } from "../../kernel-sim/abi/types.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { PageStoreSink } from "./core-sink.ts";
import { writeCore } from "./core-writer.ts";
import { partitionBytes, putDump, type DumpFixture } from "./dump-fixture.ts";
import { openDump } from "./dump-image.ts";
import { formatPartition } from "./format.ts";
import { inspect, isSound } from "./inspect.ts";
import { renderInspect } from "./inspect-text.ts";
import { PartitionStore } from "./partition-store.ts";

const pool = new PagePool(0, 64 << 20);
beforeEach(() => pool.reset());
const model = DATA_MODELS.x86_64;
const ram = [
  { first: 0, count: 8 },
  { first: 64, count: 50 },
];

function dumped(fixture: Partial<DumpFixture> = {}): PageStore {
  const store = new PageStore(pool, "sde1", partitionBytes(model, ram, 20));
  putDump(store, { model, ram, fill: (frame, page) => void page.fill(frame), ...fixture });
  return store;
}
const text = (store: PageStore): string => renderInspect(inspect(store)).join("\n");

describe("inspect", () => {
  test("tells the formula of a formatted partition, and whether all of it is signed", () => {
    const store = new PageStore(pool, "sde1", 3000 * 4096);
    formatPartition(store, { formula: "rhel4" });
    expect(inspect(store)).toMatchObject({ kind: "formatted", signed: "all", format: { formula: "rhel4" } });
    expect(text(store)).toContain("signed with (n + 7) * 11 (rhel4), blocks of 4096 bytes, little endian");
    const sparse = new PageStore(pool, "sde2", 3000 * 4096);
    formatPartition(sparse, { sparse: true });
    expect(inspect(sparse)).toMatchObject({ kind: "formatted", signed: "sampled" });
    expect(isSound(inspect(sparse))).toBe(true);
  });

  test("finds one wrong signature word and names it", () => {
    const store = new PageStore(pool, "sde1", 3000 * 4096);
    formatPartition(store);
    store.write(2500 * 4096 + 400, Uint8Array.of(1));
    const report = inspect(store);
    expect(report).toMatchObject({ kind: "formatted", signed: "damaged", firstWrong: { block: 2500, word: 100 } });
    expect(isSound(report)).toBe(false);
    expect(renderInspect(report).join("\n")).toContain("WRONG: block 2500 is not signed: word 100 at offset 0x9c4190");
  });

  test("shows a dump's header, its RAM and that it adds up", () => {
    const report = inspect(dumped());
    expect(isSound(report)).toBe(true);
    const lines = renderInspect(report).join("\n");
    expect(lines).toContain("sde1: a dump");
    expect(lines).toContain("Linux lab 2.6.9-5.ELsmp #1 SMP x86_64");
    expect(lines).toContain("2006-03-30T14:05:09.000Z");
    expect(lines).toContain("0 (complete)");
    expect(lines).toMatch(/written_blocks +62 of 62/);
    expect(lines).toContain("0x40000-0x71fff  50 pages");
    expect(lines).toContain("1 of 2, task 0x10037fd9030");
  });

  test("says of a dump that stopped how far it came", () => {
    const report = inspect(dumped({ stopAfterPages: 20 }));
    expect(isSound(report)).toBe(false);
    const lines = renderInspect(report).join("\n");
    expect(lines).toContain("1 (incomplete)");
    expect(lines).toContain("INCOMPLETE         the dump stopped after 20 of 58 pages");
  });

  test("reports what does not add up, each with its offset", () => {
    const store = dumped({ change: { totalRamBlocks: 99, writtenBlocks: 50 } });
    const lines = text(store);
    expect(lines).toContain("PROBLEM            at offset 0x3000: the bitmap names 58 RAM pages, the header says 99");
    expect(lines).toContain("written_blocks accounts for 46 of 58 pages");
    store.write(3 * 4096 + 14, Uint8Array.of(0xff));
    expect(text(store)).toContain("beyond max_mapnr 114");
  });

  test("calls a broken header a damaged dump and says what is broken", () => {
    const store = dumped();
    store.write(4096 + 428, Uint8Array.of(1, 2, 3, 4));
    expect(inspect(store)).toMatchObject({ kind: "damaged dump" });
    expect(text(store)).toContain("block_size is 67305985, expected a power of two");
  });

  test("reads a core's segments, notes and registers", () => {
    const sink = new PageStoreSink(pool);
    writeCore(openDump(dumped()), sink);
    const report = inspect(sink.store);
    expect(isSound(report)).toBe(true);
    const lines = renderInspect(report).join("\n");
    expect(lines).toContain("ELF64, little endian, machine 62 (x86_64)");
    expect(lines).toContain("CORE     NT_PRSTATUS, 336 bytes");
    expect(lines).toContain("rip=0xffffffff80111110");
  });

  test("sees that a core is truncated", () => {
    const sink = new PageStoreSink(pool);
    writeCore(openDump(dumped()), sink);
    const cut = new PartitionStore(sink.store, "cut", 0, sink.store.sizeBytes - 4096);
    const report = inspect(cut);
    expect(isSound(report)).toBe(false);
    expect(renderInspect(report).join("\n")).toContain("it is truncated");
  });

  test("looks into the partitions of a disk", () => {
    const disk = new PageStore(pool, "sde", 400 * 4096);
    const mbr = Buffer.alloc(512);
    mbr[450] = 0x83;
    mbr.writeUInt32LE(64, 454);
    mbr.writeUInt32LE(800, 458);
    mbr[466] = 0x83;
    mbr.writeUInt32LE(1000, 470);
    mbr.writeUInt32LE(800, 474);
    mbr.writeUInt16LE(0xaa55, 510);
    disk.write(0, mbr);
    formatPartition(new PartitionStore(disk, "p1", 64 * 512, 800 * 512));
    const lines = text(disk);
    expect(lines).toContain("sde: a disk with 2 partitions");
    expect(lines).toContain("  sde partition 1: a formatted dump partition");
    expect(lines).toContain("  sde partition 2: not recognised");
  });

  test("neither throws at nor recognises arbitrary bytes", () => {
    fc.assert(
      fc.property(
        fc.uint8Array({ maxLength: 9000 }),
        fc.constantFrom("", "\x7fELF", "\x7fELF\x02\x01"),
        (bytes, head) => {
          const store = new PageStore(pool, "noise", bytes.length);
          bytes.set(Buffer.from(head, "latin1").subarray(0, bytes.length));
          if (bytes.length > 0) store.write(0, bytes);
          const report = inspect(store);
          expect(renderInspect(report).length).toBeGreaterThan(1);
          expect(["unknown", "disk"]).toContain(report.kind);
          store.clear();
        },
      ),
      { numRuns: 200 },
    );
  });

  test("a damaged core is reported or refused, never a crash", () => {
    const sink = new PageStoreSink(pool);
    writeCore(openDump(dumped()), sink);
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(1100), fc.nat(255)), { minLength: 1, maxLength: 6 }), (damage) => {
        const bytes = new Uint8Array(sink.store.sizeBytes);
        sink.store.read(0, bytes);
        for (const [at, value] of damage) bytes[at] = value;
        const store = new PageStore(pool, "core", bytes.length);
        store.write(0, bytes);
        expect(renderInspect(inspect(store)).length).toBeGreaterThan(1);
        store.clear();
      }),
      { numRuns: 200 },
    );
  });
});
