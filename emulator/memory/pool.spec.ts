import fc from "fast-check";
import { expect, test } from "vitest";
import { FRAME_SIZE, HOLE, PagePool } from "./pool.ts";

test("a frame is handed out again only after its last owner has let go of it", () => {
  const pool = new PagePool(FRAME_SIZE, 2 ** 20);
  const slot = pool.allocate();
  pool.share(slot);
  pool.release(slot);
  expect(pool.allocate()).not.toBe(slot);
  pool.release(slot);
  expect(pool.allocate()).toBe(slot);
});

test("any sequence of allocate, share and release keeps every frame with exactly its owners", () => {
  fc.assert(
    fc.property(fc.array(fc.tuple(fc.nat(2), fc.nat(30)), { maxLength: 200 }), (steps) => {
      const pool = new PagePool(2 * FRAME_SIZE, 2 ** 22);
      const owners = new Map<number, number>();
      for (const [kind, pick] of steps) {
        const held = [...owners.keys()];
        const slot = held[pick % Math.max(1, held.length)];
        if (kind === 0 || slot === undefined) {
          const fresh = pool.allocate();
          expect(owners.has(fresh)).toBe(false);
          expect(fresh).toBeGreaterThanOrEqual(pool.flatPages);
          owners.set(fresh, 1);
        } else if (kind === 1) {
          expect(pool.share(slot)).toBe(slot);
          owners.set(slot, owners.get(slot)! + 1);
        } else {
          pool.release(slot);
          if (owners.get(slot) === 1) owners.delete(slot);
          else owners.set(slot, owners.get(slot)! - 1);
        }
        for (const [one, count] of owners) expect(pool.isShared(one)).toBe(count > 1);
      }
    }),
  );
});

test("the hole can be shared and released without end and is never handed out", () => {
  const pool = new PagePool(0, 2 ** 17);
  for (let i = 0; i < 70_000; i++) pool.share(HOLE);
  pool.release(HOLE);
  expect(pool.allocate()).not.toBe(HOLE);
  expect(pool.isZero(HOLE)).toBe(true);
});

test("a frame with 65535 owners is copied for the next one", () => {
  const pool = new PagePool(0, 2 ** 17);
  const slot = pool.allocateZeroed();
  pool.bytes(slot)[7] = 42;
  for (let i = 1; i < 65_535; i++) pool.share(slot);
  const copy = pool.share(slot);
  expect(copy).not.toBe(slot);
  expect(pool.bytes(copy)[7]).toBe(42);
});

test("a frame is zero only when all of its bytes are", () => {
  const pool = new PagePool(0, 2 ** 17);
  const slot = pool.allocateZeroed();
  expect(pool.isZero(slot)).toBe(true);
  for (const at of [0, 1, 2047, 4092, 4095]) {
    pool.bytes(slot)[at] = 0x80;
    expect(pool.isZero(slot)).toBe(false);
    pool.bytes(slot)[at] = 0;
  }
});

test("a full slab says how large it is", () => {
  const pool = new PagePool(0, 65_536);
  for (let i = 1; i < 16; i++) pool.allocate();
  expect(() => pool.allocate()).toThrow(/all 16 page frames/);
});

test("after a reset the slab hands out the same slots, and the flat window is zero", () => {
  const pool = new PagePool(2 * FRAME_SIZE, 2 ** 18);
  const first = [pool.allocate(), pool.allocate()];
  pool.u8[100] = 1;
  pool.reset();
  expect(pool.u8[100]).toBe(0);
  expect([pool.allocate(), pool.allocate()]).toEqual(first);
});

test("lasting frames keep their contents and the slab as their owner over a reset, and are never handed out", () => {
  const pool = new PagePool(FRAME_SIZE, 2 ** 17);
  const first = pool.allocateLasting(4);
  for (let i = 0; i < 4; i++) pool.u32[((first + i) * FRAME_SIZE) / 4] = 7 + i;
  pool.share(first);
  pool.share(first + 3);
  pool.reset();
  expect(pool.share(first)).toBe(first);
  expect(pool.isShared(first)).toBe(true);
  pool.release(first);
  expect(pool.isShared(first)).toBe(false);
  const others = Array.from({ length: 32 - 1 - 4 }, () => pool.allocate());
  expect(others.some((slot) => slot >= first && slot < first + 4)).toBe(false);
  expect(() => pool.allocate()).toThrow(/all 32 page frames/);
  expect(() => pool.allocateLasting(1)).toThrow(/all 32 page frames/);
  expect(Array.from({ length: 4 }, (_, i) => pool.u32[((first + i) * FRAME_SIZE) / 4])).toEqual([7, 8, 9, 10]);
});

test("lasting frames that are more than the next machine can spare are given up", () => {
  const pool = new PagePool(FRAME_SIZE, 2 ** 17);
  pool.allocateLasting(20);
  const { lasting } = pool;
  pool.reset(20);
  expect(pool.lasting).toBe(lasting);
  pool.reset(19);
  expect(pool.lasting).not.toBe(lasting);
  for (let i = 0; i < 31; i++) expect(pool.isShared(pool.allocate())).toBe(false);
});
