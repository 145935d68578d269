import fc from "fast-check";
import { expect, test } from "vitest";
import { parseSeed, parseSeedRange, parseShard, seedsOf } from "./seeds.ts";

test("the shards of a range are the range: no seed twice, none forgotten", () => {
  fc.assert(
    fc.property(fc.nat(1000), fc.nat(300), fc.integer({ min: 1, max: 20 }), (first, length, of) => {
      const range = { first, last: first + length };
      const shards = Array.from({ length: of }, (_, index) => seedsOf(range, { index: index + 1, of }));
      expect(shards.flat().sort((a, b) => a - b)).toEqual(seedsOf(range));
      const sizes = shards.map((seeds) => seeds.length);
      expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1);
    }),
  );
});

test("ranges and shards as people write them", () => {
  expect(parseSeedRange("5..9")).toEqual({ first: 5, last: 9 });
  expect(parseShard("2/8")).toEqual({ index: 2, of: 8 });
  expect(seedsOf({ first: 1, last: 10 }, { index: 2, of: 4 })).toEqual([2, 6, 10]);
});

test("what is none is refused by name", () => {
  expect(() => parseSeedRange("5-9")).toThrow("--seeds: expected a range like 1..300; got 5-9");
  expect(() => parseSeedRange("9..5")).toThrow("--seeds: the range 9..5 is empty");
  expect(() => parseShard("0/4")).toThrow("--shard: expected i/n");
  expect(() => parseShard("5/4")).toThrow("--shard: expected i/n");
  expect(() => parseSeed("-1")).toThrow("seed: expected a whole number from 0 to 4294967295; got -1");
  expect(() => parseSeed("4294967296")).toThrow("seed: expected");
});
