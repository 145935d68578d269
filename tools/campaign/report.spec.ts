import { expect, test } from "vitest";
import { whitePaperRow } from "../scenario/dumpers.ts";
import { loadScenario } from "../scenario/load.ts";
import { fakeRecord } from "../testing/fake-trial.ts";
import type { TrialRecord } from "../trial/types.ts";
import { campaignReport, causeRows, rateRows } from "./report.ts";

const learn = loadScenario("learn");
const refused = { outcome: "refused", cause: "FreeQlock is held" } as const;
const hang = { outcome: "hang", cause: "cpu0 spins on host_lock" } as const;

function trials(count: number, over: (seed: number) => Partial<TrialRecord>): TrialRecord[] {
  return Array.from({ length: count }, (_, index) => fakeRecord(learn, index + 1, over(index + 1)));
}

test("300 of 300 stand beside the white paper's 300 of 300", () => {
  expect(
    campaignReport(
      trials(300, () => ({})),
      [],
      whitePaperRow(learn.dump),
    ),
  ).toBe(
    [
      "scenario  dumper    trials  complete   rate  95 % interval  white paper",
      "learn     diskdump     300       300  100.0  98.7 - 100.0   diskdump (RHEL3): 300/300, 98.7 - 100.0",
      "",
    ].join("\n"),
  );
});

test("what is not complete is counted by its cause, with the first seed to run again", () => {
  const records = trials(10, (seed) => (seed === 4 ? hang : seed > 7 ? refused : {}));
  expect(causeRows(records, [])).toMatchObject([
    { outcome: "refused", cause: "FreeQlock is held", count: 3, command: "dumplab trial learn --seed 8" },
    { outcome: "hang", cause: "cpu0 spins on host_lock", count: 1, command: "dumplab trial learn --seed 4" },
  ]);
  expect(campaignReport(records, [], undefined)).toContain(
    [
      "Not complete:",
      "trials  dumper    outcome  cause, and one to run again",
      "     3  diskdump  refused  FreeQlock is held",
      "                           dumplab trial learn --seed 8",
    ].join("\n"),
  );
});

test("a lost trial is a trial without success", () => {
  const lost = {
    scenario: "learn",
    scenarioHash: "h",
    dumper: "diskdump",
    seed: 3,
    cause: "the worker exited",
    command: "dumplab",
  };
  expect(
    rateRows(
      trials(2, () => ({})),
      [lost],
    ),
  ).toMatchObject([{ trials: 3, complete: 2 }]);
  expect(causeRows([], [lost])).toMatchObject([{ outcome: "lost", cause: "the worker exited", count: 1 }]);
});

test("dumpers and scenarios have a row each", () => {
  const records = [...trials(2, () => ({})), ...trials(4, () => ({ dumper: "lkcd-modified" }))];
  expect(rateRows(records, []).map(({ dumper, trials: n }) => [dumper, n])).toEqual([
    ["diskdump", 2],
    ["lkcd-modified", 4],
  ]);
});
