import { expect, test } from "vitest";
import { defineRegisters, namesByOffset, type RegisterSpec } from "./registers.ts";

const register = (offset: number, size: 1 | 2 | 4, more: Partial<RegisterSpec> = {}): RegisterSpec => ({
  offset,
  size,
  reset: 0,
  writable: 0,
  ...more,
});

test("two registers that share a byte are refused by chip, names and offset", () => {
  expect(() => defineRegisters("sym53c895", { ISTAT: register(0x14, 1), WIDE: register(0x12, 4) })).toThrow(
    "sym53c895: WIDE overlaps ISTAT at 0x14",
  );
});

test("registers that touch do not overlap", () => {
  const table = defineRegisters("chip", { A: register(0, 4), B: register(4, 2), C: register(6, 1), D: register(7, 1) });
  expect([...namesByOffset(table)]).toEqual([
    [0, "A"],
    [4, "B"],
    [6, "C"],
    [7, "D"],
  ]);
});

test.each([
  ["a reset value", { reset: 0x100 }],
  ["a writable mask", { writable: 0x100 }],
  ["a clear-on-read mask", { clearOnRead: 0x100 }],
  ["a named bit", { bits: { BUSY: 0x100 } }],
  ["a negative mask", { writable: ~0 }],
])("%s that does not fit the register is refused", (_what, more) => {
  expect(() => defineRegisters("chip", { SMALL: register(0, 1, more) })).toThrow(/chip: SMALL has 1 bytes/);
});

test("a 32-bit mask may use its top bit", () => {
  expect(() =>
    defineRegisters("chip", { A: register(0, 4, { writable: 0xffffffff, bits: { TOP: 0x80000000 } }) }),
  ).not.toThrow();
});
