import fc from "fast-check";
import { expect, test } from "vitest";
import { FRAME_SIZE, PagePool } from "./pool.ts";
import { SlotTables } from "./slot-tables.ts";
import { PageStore } from "./store.ts";

test("a table that comes back is lent again, all zeroes, whatever was written into it", () => {
  const write = fc.record({ at: fc.nat(4999), count: fc.integer({ min: 0, max: 3000 }), value: fc.integer() });
  fc.assert(
    fc.property(fc.array(write), (writes) => {
      const tables = new SlotTables();
      const table = tables.take(5000);
      for (const { at, count, value } of writes) {
        if (count % 2 === 0) table.set(at, value);
        else table.fill(value, at, Math.min(5000, at + count));
      }
      tables.takeBack();
      const again = tables.take(5000);
      expect(again).toBe(table);
      expect(again.slots.every((slot) => slot === 0)).toBe(true);
    }),
  );
});

test("a table is not lent twice at a time, and one that a machine had no use for is dropped", () => {
  const tables = new SlotTables();
  const first = tables.take(100);
  expect(tables.take(100)).not.toBe(first);
  tables.takeBack();
  tables.takeBack();
  expect(tables.take(100)).not.toBe(first);
});

test("a copied table is wholly zero when it comes back", () => {
  const tables = new SlotTables();
  const table = tables.take(3000);
  table.copy(new Int32Array(3000).fill(7));
  expect(table.slots[2999]).toBe(7);
  tables.takeBack();
  expect(tables.take(3000).slots.indexOf(7)).toBe(-1);
});

test("what one machine left in a store is not in the store that the next machine makes of the same size", () => {
  const pool = new PagePool(FRAME_SIZE, 2 ** 22);
  const pages = { readPage: (_page: number, into: Uint8Array) => into.fill(9) !== undefined };
  const laid = new PageStore(pool, "disk", 100 * FRAME_SIZE);
  laid.lay(pages, 20, 60);
  laid.write(5 * FRAME_SIZE, new Uint8Array(10).fill(1));
  laid.setShared(90, laid.slotOf(30));
  laid.nameFlatPages(3);
  pool.reset();
  const next = new PageStore(pool, "disk", 100 * FRAME_SIZE);
  expect(next.nextData(0)).toBe(next.sizeBytes);
  pool.reset();
  const over = new PageStore(pool, "disk", 100 * FRAME_SIZE, pages);
  expect(over.isUnread(99)).toBe(true);
  over.clear();
  expect(over.isUnread(0)).toBe(true);
});
