import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_SIZE, PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import {
  fillSignature,
  firstWrongWord,
  isCheckedBlock,
  signatureWord,
  styleOf,
  type SignatureStyle,
} from "./signature.ts";
import { SignatureBacking } from "./signature-backing.ts";
import { SignatureKernel } from "./wasm-signature.ts";

const pool = new PagePool(0, 1 << 20);
const first = pool.allocate();
for (let i = 0; i < 15; i++) pool.allocate();
const offset = first * FRAME_SIZE;

const anyStyle: fc.Arbitrary<SignatureStyle> = fc.record({
  formula: fc.constantFrom("paper" as const, "rhel4" as const),
  littleEndian: fc.boolean(),
});
const anyBlock = fc.nat(0xffffffff);
const anyBlockSize = fc.constantFrom(4096, 8192, 16384, 65536);

function signed(block: number, blockSize: number, style: SignatureStyle): Uint8Array {
  const bytes = new Uint8Array(blockSize);
  fillSignature(bytes, block, style);
  return bytes;
}

describe("the per-block signature", () => {
  test("reads as chapter 2.1 of the white paper says", () => {
    const view = new DataView(signed(5, 4096, { formula: "paper" }).buffer);
    expect(Buffer.from(view.buffer, 0, 8).toString()).toBe("diskdump");
    expect(view.getUint32(8, true)).toBe(5);
    expect(view.getUint32(12, true)).toBe((5 + 3) * 11);
    expect(view.getUint32(16, true)).toBe(((5 + 3) * 11 + 3) * 11);
  });

  test("adds 7 in the release that shipped, where block 2 is the formatter's own", () => {
    expect(signatureWord(5, 3, { formula: "rhel4" })).toBe((5 + 7) * 11);
    expect(isCheckedBlock(2, "rhel4")).toBe(false);
    expect(isCheckedBlock(2, "paper")).toBe(true);
    expect(isCheckedBlock(3, "rhel4")).toBe(true);
  });

  test("the SIMD version writes the very same bytes, for any block, block size, formula and byte order", () => {
    fc.assert(
      fc.property(anyBlock, anyBlockSize, anyStyle, (block, blockSize, style) => {
        const kernel = new SignatureKernel(pool.memory, style);
        kernel.generate(offset, block, blockSize);
        const written = pool.u8.slice(offset, offset + blockSize);
        expect(Buffer.compare(written, signed(block, blockSize, style))).toBe(0);
        expect(kernel.check(offset, block, blockSize)).toBe(-1);
      }),
      { numRuns: 200 },
    );
  });

  test("one wrong bit is found at its word, by both versions", () => {
    const word = fc.nat(65536 / 4 - 1);
    fc.assert(
      fc.property(anyBlock, anyBlockSize, anyStyle, word, fc.nat(31), (block, blockSize, style, anyWord, bit) => {
        const at = anyWord % (blockSize / 4);
        const bytes = signed(block, blockSize, style);
        bytes[at * 4 + (bit >> 3)]! ^= 1 << (bit & 7);
        pool.u8.set(bytes, offset);
        expect(new SignatureKernel(pool.memory, style).check(offset, block, blockSize)).toBe(at);
        expect(firstWrongWord(bytes, block, style)).toBe(at);
      }),
      { numRuns: 300 },
    );
  });

  test("a signature is only good for its own block, formula and byte order", () => {
    fc.assert(
      fc.property(anyBlock, anyStyle, (block, style) => {
        const bytes = signed(block, 4096, style);
        expect(styleOf(bytes, block)).toEqual(style);
        expect(styleOf(bytes, (block + 1) >>> 0)).toBeUndefined();
      }),
    );
  });
});

describe("a formatted partition that is computed when read", () => {
  test("has every whole block of the partition signed, and nothing outside", () => {
    const disk = new PageStore(
      pool,
      "disk",
      40 * FRAME_SIZE,
      new SignatureBacking(pool, { formula: "paper", firstPage: 5, pages: 30, blockSize: 16384 }),
    );
    const block = new Uint8Array(16384);
    for (let n = 0; n < 7; n++) {
      disk.read((5 + n * 4) * FRAME_SIZE, block);
      expect(firstWrongWord(block, n, { formula: "paper" })).toBe(-1);
    }
    const outside = new Uint8Array(5 * FRAME_SIZE);
    disk.read(0, outside);
    expect(outside.every((byte) => byte === 0)).toBe(true);
    disk.read(33 * FRAME_SIZE, outside.subarray(0, 2 * FRAME_SIZE));
    expect(outside.every((byte) => byte === 0)).toBe(true);
    disk.clear();
  });

  test("gives the same page to a reader outside the slab", () => {
    const backing = new SignatureBacking(pool, { formula: "rhel4", firstPage: 0, pages: 8, blockSize: 8192 });
    const page = new Uint8Array(FRAME_SIZE);
    expect(backing.readPage(3, page)).toBe(true);
    expect(page).toEqual(signed(1, 8192, { formula: "rhel4" }).subarray(FRAME_SIZE));
  });
});
