import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { scenarioHash } from "../scenario/identity.ts";
import { loadScenario } from "../scenario/load.ts";
import type { Scenario } from "../scenario/scenario.ts";
import type { TrialRecord } from "../trial/types.ts";
import { runCampaign, type CampaignSettings, type LostTrial } from "./campaign.ts";

// How: real worker threads and real comlink, but trials that take no time and do as the scenario's description says.
const workerFile = new URL("../testing/fake-worker.mjs", import.meta.url);
const folder = mkdtempSync(join(tmpdir(), "dumplab-campaign-"));
afterAll(() => rmSync(folder, { recursive: true }));

function scenarioThat(orders: object, override = "cpus=2"): Scenario {
  const scenario = loadScenario("learn", [override]);
  return { ...scenario, description: JSON.stringify({ ...orders, hash: scenarioHash(scenario) }) };
}

const upTo = (last: number) => Array.from({ length: last }, (_, index) => index + 1);
const seedsIn = (trials: readonly { seed: number }[]) => trials.map(({ seed }) => seed);

async function run(scenarios: Scenario[], seeds: number[], over: Partial<CampaignSettings> = {}, digest = false) {
  const completed: TrialRecord[] = [];
  const reportedLost: LostTrial[] = [];
  const result = await runCampaign(
    { cells: scenarios.map((scenario) => ({ scenario, seeds })), options: { digest } },
    {
      workers: 2,
      workerFile,
      previous: [],
      onRecord: (record) => completed.push(record),
      onLost: (trial) => reportedLost.push(trial),
      trialTimeoutMs: 20_000,
      ...over,
    },
  );
  return { ...result, completed, reportedLost };
}

test("every seed is run once, and the records come in the order of their seeds", async () => {
  const { records, completed, lost, interrupted } = await run([scenarioThat({})], upTo(100));
  expect(seedsIn(records)).toEqual(upTo(100));
  expect(seedsIn(completed).sort((a, b) => a - b)).toEqual(upTo(100));
  expect({ lost, interrupted }).toEqual({ lost: [], interrupted: false });
});

test("the number of workers changes nothing in the records", async () => {
  const scenarios = [scenarioThat({ failAt: [3, 8] }), scenarioThat({}, "cpus=3")];
  const alone = await run(scenarios, upTo(20), { workers: 1 }, true);
  const many = await run(scenarios, upTo(20), { workers: 5 }, true);
  expect(many.records).toEqual(alone.records);
  expect(alone.records).toHaveLength(40);
  expect(alone.records[2]).toMatchObject({ seed: 3, outcome: "hang", partitionDigest: "digest-3" });
});

test("a scenario that turns out to be impossible is passed over when the caller wants to know, unless there is no other", async () => {
  const [good, bad] = [scenarioThat({}), scenarioThat({ usageAt: 1 }, "cpus=3")];
  const told: unknown[] = [];
  const onImpossible: CampaignSettings["onImpossible"] = (scenario, reason) => void told.push([scenario.cpus, reason]);
  const { records } = await run([bad, good], upTo(8), { onImpossible });
  expect(records.map(({ scenarioHash: hash }) => hash)).toEqual(Array<string>(8).fill(scenarioHash(good)));
  expect(told).toEqual([[3, "memory.image: cannot be read"]]);
  await expect(run([bad], upTo(8), { onImpossible })).rejects.toThrow("memory.image: cannot be read");
  await expect(run([bad, good], upTo(8))).rejects.toThrow("memory.image: cannot be read");
});

test("a trial that kills its worker twice is lost, and only that one", async () => {
  const { records, lost, reportedLost } = await run([scenarioThat({ exitAt: 6 })], upTo(30));
  expect(seedsIn(records)).toEqual(upTo(30).filter((seed) => seed !== 6));
  expect(lost).toEqual(reportedLost);
  expect(lost).toEqual([
    {
      scenario: "learn",
      scenarioHash: scenarioHash(loadScenario("learn", ["cpus=2"])),
      dumper: "diskdump",
      seed: 6,
      cause: "the worker exited with code 7",
      command: "dumplab trial learn --seed 6 --set cpus=2",
    },
  ]);
});

test("a worker that dies once costs nothing but time", async () => {
  const orders = { exitOnceAt: 9, marker: join(folder, "died-once") };
  const { records, lost } = await run([scenarioThat(orders)], upTo(30));
  expect(seedsIn(records)).toEqual(upTo(30));
  expect(lost).toEqual([]);
});

test("an uncaught error in a worker is told as the cause", async () => {
  const { lost } = await run([scenarioThat({ throwAt: 2 })], upTo(3));
  expect(lost.map(({ seed, cause }) => [seed, cause])).toEqual([[2, "the worker failed: out of luck"]]);
});

test("a worker that never answers is given up", async () => {
  const { records, lost } = await run([scenarioThat({ hangAt: 2 })], upTo(4), { trialTimeoutMs: 300 });
  expect(seedsIn(records)).toEqual([1, 3, 4]);
  expect(lost).toMatchObject([{ seed: 2, cause: "no answer within 0.3 s" }]);
});

test("a scenario that cannot run is a usage error, not three hundred failed trials", async () => {
  await expect(run([scenarioThat({ usageAt: 1 })], upTo(300))).rejects.toMatchObject({
    name: "UsageError",
    message: "memory.image: cannot be read",
  });
});

test("a campaign goes on from the records of an earlier one and ends with the same result", async () => {
  const scenario = scenarioThat({ failAt: [3] });
  const whole = await run([scenario], upTo(40));
  const previous = whole.completed.slice(0, 25);
  const rest = await run([scenario], upTo(40), { previous });
  expect(rest.completed).toHaveLength(15);
  expect(rest.records).toEqual(whole.records);
});

test("records of another scenario, or of seeds that are not asked for, do not count", async () => {
  const before = await run([scenarioThat({}, "cpus=4")], upTo(3));
  const other = await run([scenarioThat({})], upTo(3), { previous: before.records });
  expect(other.completed).toHaveLength(3);
  const fewer = await run([scenarioThat({})], [2], { previous: other.records });
  expect(seedsIn(fewer.records)).toEqual([2]);
  expect(fewer.completed).toEqual([]);
});

test("an interrupted campaign stops at once and keeps what it has", async () => {
  const stop = new AbortController();
  let seen = 0;
  const { records, lost, interrupted } = await run([scenarioThat({ sleepMs: 20 })], upTo(2000), {
    signal: stop.signal,
    onRecord: () => {
      if (++seen === 5) stop.abort();
    },
  });
  expect(interrupted).toBe(true);
  expect(lost).toEqual([]);
  expect(records.length).toBeGreaterThanOrEqual(5);
  expect(records.length).toBeLessThan(500);
});
