import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { FRAME_SIZE, HOLE, PagePool } from "./pool.ts";
import { PageSimd } from "./simd.ts";
import { sleb, uleb } from "./wasm-emitter.ts";

const pool = new PagePool(0, 1 << 20);
const simd = new PageSimd(pool);
const a = pool.allocateZeroed();
const b = pool.allocateZeroed();

describe("page frames compared in place", () => {
  test("a frame of zeroes is zero, and one non-zero byte anywhere makes it not zero", () => {
    expect(simd.isZero(a)).toBe(true);
    for (let at = 0; at < FRAME_SIZE; at++) {
      pool.bytes(a)[at] = 0x80;
      expect(simd.isZero(a), `byte ${at}`).toBe(false);
      pool.bytes(a)[at] = 0;
    }
  });

  test("two frames are equal exactly when every byte is", () => {
    const place = fc.integer({ min: 0, max: FRAME_SIZE - 1 });
    fc.assert(
      fc.property(
        fc.uint8Array({ minLength: FRAME_SIZE, maxLength: FRAME_SIZE }),
        place,
        fc.nat(255),
        (page, at, byte) => {
          pool.bytes(a).set(page);
          pool.bytes(b).set(page);
          expect(simd.equal(a, b)).toBe(true);
          pool.bytes(b)[at] = byte;
          expect(simd.equal(a, b)).toBe(byte === page[at]);
        },
      ),
      { numRuns: 50 },
    );
  });

  test("a neighbour's bytes do not count", () => {
    pool.bytes(a).fill(0);
    pool.bytes(b).fill(0xff);
    expect(simd.isZero(a)).toBe(true);
    expect(simd.isZero(b)).toBe(false);
  });

  test("a hole equals a frame of zeroes and no other", () => {
    pool.bytes(a).fill(0);
    pool.bytes(b).fill(1);
    expect(simd.isZero(HOLE)).toBe(true);
    expect(simd.equal(HOLE, a)).toBe(true);
    expect(simd.equal(b, HOLE)).toBe(false);
  });

  test("the last frame of a 4 GiB slab can be tested", () => {
    const big = new PagePool(0);
    const last = 65536 * 16 - 1;
    expect(new PageSimd(big).isZero(last)).toBe(true);
    big.u8[last * FRAME_SIZE + FRAME_SIZE - 1] = 1;
    expect(new PageSimd(big).isZero(last)).toBe(false);
  });

  test("LEB128 as in the examples of the specification and DWARF", () => {
    expect(uleb(624485)).toEqual([0xe5, 0x8e, 0x26]);
    expect(sleb(-123456)).toEqual([0xc0, 0xbb, 0x78]);
    expect(sleb(64)).toEqual([0xc0, 0x00]);
  });
});
