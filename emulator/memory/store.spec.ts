import fc from "fast-check";
import { expect, test } from "vitest";
import { FRAME_SIZE, PagePool } from "./pool.ts";
import { PageStore, type Backing } from "./store.ts";

const PAGES = 6;
const SIZE = PAGES * FRAME_SIZE - 512;

/** Page n of the backing is full of n, but page 2 is a hole. */
const backing: Backing = {
  readPage(page, into) {
    into.fill(page + 1);
    return page !== 2;
  },
};

const access = fc.record({
  write: fc.boolean(),
  offset: fc.nat(SIZE - 1),
  length: fc.oneof(fc.nat(3 * FRAME_SIZE), fc.constant(FRAME_SIZE)),
  aligned: fc.boolean(),
  value: fc.nat(255),
});

test.each([[undefined], [backing]])("reads and writes agree with a plain array (backing: %s)", (under) => {
  fc.assert(
    fc.property(fc.array(access, { maxLength: 40 }), (steps) => {
      const store = new PageStore(new PagePool(0, 2 ** 20), "store", SIZE, under);
      const model = new Uint8Array(SIZE);
      if (under)
        for (let i = 0; i < SIZE; i++) model[i] = Math.floor(i / FRAME_SIZE) === 2 ? 0 : Math.floor(i / FRAME_SIZE) + 1;
      for (const { write, offset: at, length: wanted, aligned, value } of steps) {
        const offset = aligned ? at - (at % FRAME_SIZE) : at;
        const bytes = new Uint8Array(Math.min(wanted, SIZE - offset)).fill(value);
        if (write) {
          store.write(offset, bytes);
          model.set(bytes, offset);
        } else {
          store.read(offset, bytes);
          expect(Buffer.compare(bytes, model.subarray(offset, offset + bytes.length))).toBe(0);
          const view = store.view(offset, bytes.length);
          if (view) expect(Buffer.compare(view, bytes)).toBe(0);
        }
      }
      const whole = new Uint8Array(SIZE);
      store.read(0, whole);
      expect(Buffer.compare(whole, model)).toBe(0);
      // nextData may call zeroes data, but never data zeroes.
      for (let at = 0; at < SIZE;) {
        const next = store.nextData(at);
        expect(next).toBeGreaterThanOrEqual(at);
        expect(model.subarray(at, next).every((byte) => byte === 0)).toBe(true);
        at = Math.max(next, at) + FRAME_SIZE;
      }
    }),
  );
});

test("a page shared with another store is copied when either of them is written", () => {
  const pool = new PagePool(0, 2 ** 20);
  const [one, two] = [new PageStore(pool, "one", FRAME_SIZE), new PageStore(pool, "two", FRAME_SIZE)];
  one.write(0, new Uint8Array(FRAME_SIZE).fill(1));
  two.setShared(0, one.slotOf(0));
  expect(two.slotOf(0)).toBe(one.slotOf(0));
  two.write(10, Uint8Array.of(2));
  const bytes = new Uint8Array(12);
  one.read(0, bytes);
  expect([...bytes].every((byte) => byte === 1)).toBe(true);
  two.read(0, bytes);
  expect([...bytes.subarray(9)]).toEqual([1, 2, 1]);
});

test("access beyond the end names the store and its size", () => {
  const store = new PageStore(new PagePool(0, 2 ** 17), "sda", 1024);
  expect(() => store.write(1000, new Uint8Array(25))).toThrow(/sda: 25 bytes at 1000 .*1024/);
  expect(() => store.read(-1, new Uint8Array(1))).toThrow(RangeError);
});

test("a cleared store is as it was made: laid contents are gone, pages are back in the pool", () => {
  const pool = new PagePool(0, 2 ** 18);
  const store = new PageStore(pool, "sda", SIZE);
  store.lay(backing, 1, 1);
  const byte = new Uint8Array(1);
  store.read(FRAME_SIZE, byte);
  expect(byte[0]).toBe(2);
  store.clear();
  for (const page of [0, 1, 3]) {
    store.read(page * FRAME_SIZE, byte);
    expect(byte[0]).toBe(0);
  }
});

test("pages laid over written ones replace them", () => {
  const store = new PageStore(new PagePool(0, 2 ** 18), "sda", SIZE);
  store.write(3 * FRAME_SIZE, Uint8Array.of(9));
  store.lay(backing, 3, 1);
  const byte = new Uint8Array(1);
  store.read(3 * FRAME_SIZE, byte);
  expect(byte[0]).toBe(4);
});

test("pages that are replaced by reference go back to the pool", () => {
  const pool = new PagePool(0, 2 ** 18);
  const [one, two] = [new PageStore(pool, "one", FRAME_SIZE), new PageStore(pool, "two", FRAME_SIZE)];
  for (let i = 0; i < 200; i++) {
    one.write(0, new Uint8Array(FRAME_SIZE).fill(i));
    two.setShared(0, one.slotOf(0));
  }
  expect(pool.peakSlots).toBeLessThanOrEqual(3);
});

test("what lies in one piece is seen where it lies, what does not is not seen", () => {
  const pool = new PagePool(0, 2 ** 20);
  const store = new PageStore(pool, "store", 4 * FRAME_SIZE);
  for (const page of [0, 1, 3]) store.write(page * FRAME_SIZE, new Uint8Array(FRAME_SIZE).fill(page + 1));
  expect([...store.view(FRAME_SIZE - 1, 3)!]).toEqual([1, 2, 2]);
  expect(store.view(0, 2 * FRAME_SIZE)!.length).toBe(2 * FRAME_SIZE);
  // A hole, and a page that lies next to its neighbour's frame, but not behind it.
  expect(store.view(2 * FRAME_SIZE - 1, 2)).toBeUndefined();
  store.write(2 * FRAME_SIZE, Uint8Array.of(3));
  expect(store.view(2 * FRAME_SIZE, FRAME_SIZE + 1)).toBeUndefined();
  expect(() => store.view(4 * FRAME_SIZE - 1, 2)).toThrow("lie beyond its end");
});
