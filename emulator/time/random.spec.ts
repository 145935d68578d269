import fc from "fast-check";
import { expect, test } from "vitest";
import { RandomSource, type RandomStream } from "./random.ts";

const draw = (stream: RandomStream, count: number): number[] => Array.from({ length: count }, () => stream.u32());

test("a stream depends on seed and label only: other consumers, and when they draw, do not move it", () => {
  fc.assert(
    fc.property(
      fc.integer({ min: 0, max: 2 ** 53 - 1 }),
      fc.string(),
      fc.array(fc.string(), { maxLength: 5 }),
      (seed, label, others) => {
        const alone = draw(new RandomSource(seed).stream(label), 20);
        const source = new RandomSource(seed);
        const crowded: number[] = [];
        for (let i = 0; i < 20; i++) {
          for (const other of others) if (other !== label) source.stream(other).u32();
          crowded.push(source.stream(label).u32());
        }
        expect(crowded).toEqual(alone);
      },
    ),
  );
});

test("seeds and labels that differ a little give different streams", () => {
  const first = (seed: number, label: string): string => draw(new RandomSource(seed).stream(label), 4).join();
  const all = new Set<string>();
  for (let seed = 0; seed < 500; seed++) for (const label of ["cpu0", "cpu1", "disk"]) all.add(first(seed, label));
  expect(all.size).toBe(1500);
});

test("between includes both ends and nothing else; unit stays below 1", () => {
  const stream = new RandomSource(7).stream("x");
  const seen = new Set<number>();
  for (let i = 0; i < 2000; i++) {
    seen.add(stream.between(-2, 3));
    const unit = stream.unit();
    expect(unit >= 0 && unit < 1).toBe(true);
  }
  expect([...seen].sort((a, b) => a - b)).toEqual([-2, -1, 0, 1, 2, 3]);
});

test("weighted draws in proportion and never picks a weight of zero", () => {
  const stream = new RandomSource(1).stream("w");
  const counts = [0, 0, 0, 0];
  for (let i = 0; i < 8000; i++) counts[stream.weighted([0, 1, 3, 0])]!++;
  expect(counts[0]! + counts[3]!).toBe(0);
  expect(counts[2]! / counts[1]!).toBeGreaterThan(2.6);
  expect(counts[2]! / counts[1]!).toBeLessThan(3.4);
});

test("the numbers of a known seed stay what they were: capsules of old failures must replay", () => {
  expect(draw(new RandomSource(42).stream("golden"), 3)).toMatchInlineSnapshot(`
    [
      2684019723,
      738882465,
      3531372996,
    ]
  `);
});
