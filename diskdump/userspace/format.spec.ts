import fc from "fast-check";
import { beforeEach, describe, expect, test } from "vitest";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { sampledRuns } from "../format/layout.ts";
import { SignatureBacking } from "../format/signature-backing.ts";
import { firstWrongWord } from "../format/signature.ts";
import { formatOf, formatPartition, verifyPartition, wrongBlockText } from "./format.ts";

const pool = new PagePool(0, 128 << 20);
beforeEach(() => pool.reset());
const partition = (blocks: number, blockSize = 4096): PageStore => new PageStore(pool, "hda7", blocks * blockSize);

describe("initialformat", () => {
  test("signs every block, for each formula, byte order and page size", () => {
    for (const formula of ["paper", "rhel4"] as const) {
      for (const littleEndian of [true, false]) {
        for (const blockSize of [4096, 16384]) {
          const store = partition(300, blockSize);
          const result = formatPartition(store, { formula, littleEndian, blockSize });
          expect(result).toEqual({ formula, blockSize, deviceBlocks: 300, writtenBlocks: 300 });
          const bytes = new Uint8Array(blockSize);
          for (const block of [0, 1, 2, 255, 256, 299]) {
            store.read(block * blockSize, bytes);
            expect(firstWrongWord(bytes, block, { formula, littleEndian })).toBe(-1);
          }
          expect(formatOf(store)).toEqual({ formula, littleEndian, blockSize });
          store.clear();
        }
      }
    }
  });

  test("is verified by the same rule, and one wrong bit anywhere is named with block, word and both values", () => {
    const store = partition(600);
    formatPartition(store);
    expect(verifyPartition(store)).toEqual({ checkedBlocks: 600 });
    fc.assert(
      fc.property(fc.nat(600 * 1024 - 1), fc.nat(31), (word, bit) => {
        const byte = new Uint8Array(1);
        const at = word * 4 + (bit >> 3);
        store.read(at, byte);
        store.write(at, Uint8Array.of(byte[0]! ^ (1 << (bit & 7))));
        const { firstWrong } = verifyPartition(store);
        store.write(at, byte);
        expect(firstWrong).toMatchObject({ block: word >> 10, word: word & 1023, offset: word * 4 });
        expect((firstWrong!.expected ^ firstWrong!.found) >>> 0).toBe((1 << bit) >>> 0);
      }),
      { numRuns: 40 },
    );
    store.write(77 * 4096 + 12, new Uint8Array(4));
    expect(wrongBlockText(verifyPartition(store).firstWrong!)).toBe(
      "block 77 is not signed: word 3 at offset 0x4d00c is 0x0, expected 0x370",
    );
  });

  test("of the shipped release leaves block 2 to the formatter, and the paper's does not", () => {
    for (const [formula, wrongBlock] of [
      ["rhel4", undefined],
      ["paper", 2],
    ] as const) {
      const store = partition(8);
      formatPartition(store, { formula });
      store.write(2 * 4096, new Uint8Array(4096));
      expect(verifyPartition(store, { formula }).firstWrong?.block).toBe(wrongBlock);
    }
  });

  test("reports its progress", () => {
    const seen: number[] = [];
    formatPartition(partition(600), { onProgress: (done, all) => seen.push(done / all) });
    expect(seen).toHaveLength(3);
    expect(seen.at(-1)).toBe(1);
  });

  test("writes what a computed format would show", () => {
    const area = { formula: "rhel4" as const, firstPage: 0, pages: 50, blockSize: 4096 };
    const computed = new PageStore(pool, "computed", 50 * 4096, new SignatureBacking(pool, area));
    expect(verifyPartition(computed, { formula: "rhel4" }).firstWrong).toBeUndefined();
  });

  test("refuses a partition without room, and a block size that is none", () => {
    expect(() => formatPartition(partition(3))).toThrow(/hda7: 12288 bytes are too few .* \(at least 16384\)/);
    expect(() => formatPartition(partition(9), { blockSize: 5000 })).toThrow(
      "block size 5000: expected a multiple of 4096",
    );
  });
});

describe("the sparse format", () => {
  test("writes what the module's check reads, for any of its parameters, and little else", () => {
    const order = fc.nat(4);
    const rate = fc.nat(8);
    fc.assert(
      fc.property(
        fc.integer({ min: 4, max: 5000 }),
        fc.nat(2000),
        order,
        rate,
        (required, spare, blockOrder, sampleRate) => {
          pool.reset();
          const store = partition(required + spare);
          const rule = { blockOrder, sampleRate, requiredBlocks: required };
          const { writtenBlocks } = formatPartition(store, { sparse: rule });
          const bytes = new Uint8Array(4096);
          for (const { block, count } of sampledRuns(required, blockOrder, sampleRate)) {
            for (let i = block; i < block + count; i++) {
              store.read(i * 4096, bytes);
              expect(firstWrongWord(bytes, i, { formula: "paper" })).toBe(-1);
            }
          }
          const chunk = 2 ** blockOrder;
          const samples = Math.ceil((required + spare) / (chunk * 2 ** sampleRate)) + 1;
          expect(writtenBlocks).toBeLessThanOrEqual(2 * samples * chunk);
          expect(verifyPartition(store, { sparse: rule }).firstWrong).toBeUndefined();
        },
      ),
      { numRuns: 60 },
    );
  });

  test("writes 4 blocks of every 1024 by default, and a check of every block finds the first gap", () => {
    const store = partition(10 * 1024);
    expect(formatPartition(store, { sparse: true }).writtenBlocks).toBe(44);
    expect(verifyPartition(store).firstWrong).toMatchObject({ block: 4, word: 0, found: 0 });
  });
});

test("how a partition was formatted is still told when block 0 is damaged", () => {
  const store = partition(40);
  formatPartition(store, { formula: "rhel4" });
  store.write(100, Uint8Array.of(1, 2, 3));
  expect(formatOf(store)).toEqual({ formula: "rhel4", littleEndian: true, blockSize: 4096 });
  expect(formatOf(partition(40))).toBeUndefined();
});
