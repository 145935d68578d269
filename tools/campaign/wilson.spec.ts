import fc from "fast-check";
import { expect, test } from "vitest";
import { range } from "./percent.ts";
import { wilson } from "./wilson.ts";

test("the white paper's three rows have their known intervals", () => {
  expect(range(wilson(300, 300))).toBe("98.7 - 100.0");
  expect(range(wilson(49, 71))).toBe("57.5 - 78.6");
  expect(range(wilson(131, 143))).toBe("85.9 - 95.1");
});

test("a textbook case to four digits: 0 of 10 and 5 of 10", () => {
  expect(wilson(0, 10).high).toBeCloseTo(0.2775, 4);
  expect(wilson(5, 10).low).toBeCloseTo(0.2366, 4);
  expect(wilson(5, 10).high).toBeCloseTo(0.7634, 4);
});

test("without trials anything is possible, and impossible counts are refused", () => {
  expect(wilson(0, 0)).toEqual({ low: 0, high: 1 });
  expect(() => wilson(2, 1)).toThrow(RangeError);
  expect(() => wilson(NaN, 1)).toThrow(RangeError);
});

test("the interval holds the rate, lies in 0..1, and failures mirror successes", () => {
  const counts = fc
    .integer({ min: 1, max: 100_000 })
    .chain((n) => fc.tuple(fc.integer({ min: 0, max: n }), fc.constant(n)));
  fc.assert(
    fc.property(counts, ([successes, trials]) => {
      const { low, high } = wilson(successes, trials);
      const rate = successes / trials;
      expect(low).toBeGreaterThanOrEqual(0);
      expect(high).toBeLessThanOrEqual(1);
      expect(low).toBeLessThanOrEqual(rate);
      expect(high).toBeGreaterThanOrEqual(rate);
      expect(wilson(trials - successes, trials).low).toBeCloseTo(1 - high, 10);
    }),
  );
});
