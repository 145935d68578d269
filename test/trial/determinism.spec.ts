// Goal: equal scenario and seed, equal trial. Method: run trials again, in another order, and compare everything but host time.
import { expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";

const SEEDS = [1, 2, 3, 4, 5, 6];
const run = (scenario: string, seed: number): Omit<TrialRecord, "hostMs"> => {
  const { hostMs: _, ...record } = runTrial(loadScenario(scenario), seed, { digest: true }).record;
  return record;
};

test("seeds run twice, in opposite order, give identical records: trace hash, partition, outcome", () => {
  const first = SEEDS.map((seed) => run("learn", seed));
  const second = [...SEEDS].reverse().map((seed) => run("learn", seed));
  expect(second.reverse()).toEqual(first);
});

test("different seeds crash at different moments", () => {
  const moments = new Set(SEEDS.map((seed) => run("learn", seed).crash?.virtualNs));
  expect(moments.size).toBe(SEEDS.length);
});

test("tracing changes nothing but the trace", () => {
  const plain = runTrial(loadScenario("learn"), 3, {}).record;
  const traced = runTrial(loadScenario("learn"), 3, { trace: true }).record;
  expect(traced.traceHash).toBe(plain.traceHash);
});
