import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { DATA_MODELS, offsetOf } from "../../kernel-sim/abi/types.ts";
import { decodeBitmap, encodeBitmap, nextSetBit, pagesIn, type PageRange } from "./bitmap.ts";
import { decodeHeader, encodeHeader, modelOfMachine, statusText, type DumpHeader } from "./header.ts";
import { bitmapBlocksFor, blocksRequired, sampledRuns } from "./layout.ts";
import { disk_dump_header, NR_CPUS } from "./structs.ts";

const name = fc.string({ maxLength: 64, unit: fc.constantFrom(..."abcXYZ 0123.-_#") });
const u32 = fc.nat(0xffffffff);
const anyHeader: fc.Arbitrary<DumpHeader> = fc
  .record({
    model: fc.constantFrom(...Object.values(DATA_MODELS)),
    headerVersion: fc.constantFrom(0, 1),
    systemName: fc.record({
      ...{ sysname: name, nodename: name, release: name, version: name, machine: name, domainname: name },
    }),
    timestampSeconds: fc.nat(0x7fffffff),
    timestampNs: fc.nat(999_999_999),
    status: fc.nat(15),
    subHeaderBlocks: fc.integer({ min: 1, max: 64 }),
    maxMapnr: fc.integer({ min: 1, max: 0xffffffff }),
    partial: fc.boolean(),
    totalRamBlocks: u32,
    deviceBlocks: u32,
    writtenBlocks: u32,
    currentCpu: fc.nat(NR_CPUS - 1),
    cpuCount: fc.integer({ min: 1, max: NR_CPUS }),
    tasks: fc.array(fc.bigInt(0n, 0xffffffffffffffffn), { minLength: NR_CPUS, maxLength: NR_CPUS }),
  })
  .map(({ partial, ...header }) => ({
    ...header,
    systemName: { ...header.systemName, machine: header.model.name === "i386" ? "i686" : header.model.name },
    blockSize: header.model.pageSize,
    bitmapBlocks: bitmapBlocksFor(header.maxMapnr, header.model.pageSize) * (partial ? 2 : 1),
    tasks: header.tasks.map((task) => BigInt.asUintN(header.model.wordBytes * 8, task)),
  }));

function block(header: DumpHeader): Uint8Array {
  const bytes = new Uint8Array(header.blockSize);
  bytes.set(encodeHeader(header));
  return bytes;
}

describe("the dump header", () => {
  test("comes back as it was written, on every architecture", () => {
    fc.assert(
      fc.property(anyHeader, (header) => {
        const reading = decodeHeader(block(header), header.blockSize);
        expect(reading.header).toEqual(header);
      }),
      { numRuns: 300 },
    );
  });

  test("has the offsets at which crash(8) reads it on x86_64", () => {
    const at = (field: Parameters<typeof offsetOf<typeof disk_dump_header.fields>>[1]): number =>
      offsetOf(disk_dump_header, field, DATA_MODELS.x86_64);
    expect([at("header_version"), at("utsname"), at("timestamp"), at("status")]).toEqual([8, 12, 408, 424]);
    expect([at("block_size"), at("bitmap_blocks"), at("max_mapnr"), at("tasks")]).toEqual([428, 436, 440, 464]);
  });

  test("is big endian on ppc64 and has 32-bit times on i386", () => {
    expect(offsetOf(disk_dump_header, "status", DATA_MODELS.i386)).toBe(412);
    const [header] = fc.sample(
      anyHeader.filter(({ model }) => model.name === "ppc64"),
      1,
    );
    expect(new DataView(encodeHeader(header!).buffer).getInt32(428, false)).toBe(4096);
  });

  test("arbitrary bytes are refused or read, and every complaint has a place inside the block", () => {
    fc.assert(
      fc.property(anyHeader, fc.array(fc.tuple(fc.nat(1000), fc.nat(255)), { maxLength: 8 }), (header, damage) => {
        const bytes = block(header);
        for (const [at, value] of damage) bytes[at] = value;
        const reading = decodeHeader(bytes, header.blockSize);
        for (const { offset, what } of reading.problems) {
          expect(offset).toBeGreaterThanOrEqual(header.blockSize);
          expect(offset).toBeLessThan(header.blockSize + 4096);
          expect(what).toMatch(/expected|more than|which has|has pages/);
        }
        if (!reading.header) expect(reading.problems.some(({ severity }) => severity === "fatal")).toBe(true);
      }),
      { numRuns: 500 },
    );
  });

  test("a block size that contradicts the header's place, and memory without pages, say what was expected", () => {
    // Both were found by the property above: their complaints once named no expectation.
    const plain = anyHeader.filter(({ model, blockSize }) => model === DATA_MODELS.x86_64 && blockSize === 4096);
    const header = fc.sample(plain, { numRuns: 1, seed: 1 })[0]!;
    const moved = decodeHeader(block(header), 8192);
    expect(moved.problems.map(({ what }) => what)).toEqual([
      "block_size is 4096, expected 8192: the header stands at offset 8192",
    ]);
    const empty = decodeHeader(block({ ...header, maxMapnr: 0 }), 4096);
    expect(empty.problems.at(-1)!.what).toBe("max_mapnr is 0, expected at least one page of memory");
  });

  test("damage is named with its offset and what was expected", () => {
    const [header] = fc.sample(
      anyHeader.map((any) => ({
        ...any,
        model: DATA_MODELS.x86_64,
        blockSize: 4096,
        maxMapnr: 262144,
        bitmapBlocks: 8,
      })),
      1,
    );
    const good: DumpHeader = { ...header!, systemName: { ...header!.systemName, machine: "x86_64" } };
    const firstProblem = (changed: Partial<DumpHeader>) =>
      decodeHeader(block({ ...good, ...changed }), 4096).problems[0];
    expect(firstProblem({ bitmapBlocks: 7 })).toEqual({
      severity: "fatal",
      offset: 4096 + 436,
      what: "bitmap_blocks is 7, expected 8 (or 16 for a partial dump) for max_mapnr 262144",
    });
    expect(firstProblem({ headerVersion: 5 })).toMatchObject({ severity: "fatal", offset: 4096 + 8 });
    expect(firstProblem({ systemName: { ...good.systemName, machine: "vax" } })?.what).toContain('"vax"');
    const bytes = block(good);
    bytes[3] = 0x21;
    expect(decodeHeader(bytes, 4096).problems[0]?.what).toBe(
      'the dump header\'s signature is "DIS!DUMP", expected "DISKDUMP"',
    );
  });

  test("machine names and states read as people write them", () => {
    expect(["i386", "i686", "x86_64", "ia64", "ppc64"].map((m) => modelOfMachine(m)?.name)).toEqual([
      ...["i386", "i386", "x86_64", "ia64", "ppc64"],
    ]);
    expect(modelOfMachine("toString")).toBeUndefined();
    expect([0, 1, 2, 4, 9].map(statusText)).toEqual([
      ...["complete", "incomplete", "in progress", "short area", "incomplete, compressed"],
    ]);
  });
});

describe("the space a dump needs", () => {
  test("is what the white paper's line says for its machine", () => {
    const need = blocksRequired({ ramPages: 261898, maxMapnr: 262144, model: DATA_MODELS.i386 });
    expect(need).toEqual({ header: 3, bitmap: 8, memory: 261898, total: 261909 });
  });

  test("has one sub-header block on each architecture", () => {
    for (const model of Object.values(DATA_MODELS)) {
      expect(blocksRequired({ ramPages: 1, maxMapnr: 1, model })).toEqual({
        header: 3,
        bitmap: 1,
        memory: 1,
        total: 5,
      });
    }
  });

  test("is checked in chunks of 16 KiB every 4 MiB and at the end, with the module's defaults", () => {
    expect([...sampledRuns(2050)]).toEqual([
      { block: 0, count: 4 },
      { block: 1024, count: 4 },
      { block: 2048, count: 2 },
    ]);
    expect([...sampledRuns(2000)].at(-1)).toEqual({ block: 1996, count: 4 });
    expect([...sampledRuns(100, 2, -1)]).toEqual([]);
    const everything = [...sampledRuns(103, 3, 0)].reduce((sum, { count }) => sum + count, 0);
    expect(everything).toBe(103);
  });
});

describe("bitmaps", () => {
  const anyRanges: fc.Arbitrary<PageRange[]> = fc
    .array(fc.tuple(fc.integer({ min: 1, max: 60 }), fc.integer({ min: 1, max: 60 })), { maxLength: 20 })
    .map((gaps) => {
      let at = 0;
      return gaps.map(([gap, count]) => {
        const first = at + gap;
        at = first + count;
        return { first, count };
      });
    });

  test("ranges come back from their bits", () => {
    fc.assert(
      fc.property(anyRanges, (ranges) => {
        const bytes = encodeBitmap(ranges, 512);
        expect(decodeBitmap(bytes)).toEqual(ranges);
        let set = 0;
        for (let at = nextSetBit(bytes, 0); at >= 0; at = nextSetBit(bytes, at + 1)) {
          expect(ranges.some(({ first, count }) => at >= first && at < first + count)).toBe(true);
          set++;
        }
        expect(set).toBe(pagesIn(ranges));
      }),
    );
  });

  test("any bits come back from their ranges", () => {
    const anyByte = fc.oneof(fc.constantFrom(0, 0xff, 1, 0x80), fc.nat(255));
    fc.assert(
      fc.property(fc.array(anyByte, { maxLength: 64 }), (bytes) => {
        const bits = Uint8Array.from(bytes);
        expect(encodeBitmap(decodeBitmap(bits), bits.length)).toEqual(bits);
      }),
    );
  });

  test("the least significant bit comes first", () => {
    expect([...encodeBitmap([{ first: 1, count: 2 }], 2)]).toEqual([0b110, 0]);
  });

  test("bits at or above the limit do not count, and a range cut by it ends there", () => {
    expect(decodeBitmap(Uint8Array.of(0xff, 0xff), 11)).toEqual([{ first: 0, count: 11 }]);
  });

  test("a range that does not fit is refused", () => {
    expect(() => encodeBitmap([{ first: 15, count: 2 }], 2)).toThrow("pages 15..16 do not fit into 16 bits");
  });
});
