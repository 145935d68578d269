import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSize, parseTime } from "./units.ts";

test("sizes as people write them", () => {
  expect(parseSize("8GiB")).toBe(8589934592);
  expect(parseSize("36 GB")).toBe(36e9);
  expect(parseSize("0x9f000")).toBe(651264);
  expect(parseSize("1.5KiB")).toBe(1536);
  expect(parseSize(512)).toBe(512);
});

test("times as people write them", () => {
  expect(parseTime("250ms")).toBe(250_000_000);
  expect(parseTime("4.7ms")).toBe(4_700_000);
  expect(parseTime("0.1us")).toBe(100);
  expect(parseTime("2min")).toBe(120e9);
});

test("what is no size and no time is refused, not guessed", () => {
  for (const text of ["", "8", "GiB", "8gib", "-1KiB", "1e3KiB", "8GiB ", "0.3B", "9e99TiB", "1constructor"]) {
    expect(parseSize(text), text).toBeUndefined();
  }
  for (const text of ["", "5", "ms", "-1ms", "0.5ns", "5 m", "1 toString"])
    expect(parseTime(text), text).toBeUndefined();
  for (const bytes of [-1, 0.5, NaN, Infinity, 2 ** 53]) expect(parseSize(bytes), String(bytes)).toBeUndefined();
});

test("a whole number of any unit comes back exactly", () => {
  fc.assert(
    fc.property(fc.integer({ min: 0, max: 4_000_000 }), (count) => {
      expect(parseSize(`${count}GiB`)).toBe(count * 2 ** 30);
      expect(parseTime(`${count}ms`)).toBe(count * 1e6);
      expect(parseTime(`${count / 1000}ms`)).toBe(count * 1e3);
    }),
  );
});

test("no text makes the parsers throw or answer with a fraction", () => {
  fc.assert(
    fc.property(fc.string(), (text) => {
      for (const value of [parseSize(text), parseTime(text)]) {
        expect(value === undefined || Number.isSafeInteger(value)).toBe(true);
      }
    }),
  );
});
