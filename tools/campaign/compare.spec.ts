import { expect, test } from "vitest";
import type { TrialRecord } from "../trial/types.ts";
import { comparisonText, differencesBetween } from "./compare.ts";

const record = (seed: number, traceHash: string, partitionDigest = "d"): TrialRecord => ({
  ...{ scenario: "learn", scenarioRef: "learn", overrides: [], scenarioHash: "h", dumper: "diskdump" },
  ...{ adapter: "mptfusion", seed, outcome: "complete", cause: null, traceHash, virtualNs: 1, hostMs: seed },
  ...{ crash: null, findings: [], dumpedPages: 3, changedPages: 0, partitionDigest, version: "v", command: "c" },
  ...{ dumpedBytes: 12288, dumpVirtualNs: 5, blocked: null, load: null },
});

test("two runs in another order, on other workers, with other host times are equal", () => {
  const first = [record(1, "a"), record(2, "b")];
  const second = [{ ...record(2, "b"), hostMs: 99 }, record(1, "a")];
  expect(comparisonText(2, differencesBetween(first, second))).toBe("2 trials run twice: no difference\n");
});

test("a trace hash, a partition or a trial that differs is named with its seed", () => {
  const differences = differencesBetween(
    [record(1, "a"), record(2, "b"), record(3, "c"), record(4, "d")],
    [record(1, "x"), record(2, "b", "other"), { ...record(4, "d"), blocked: { on: "L", because: "b", function: "f" } }],
  );
  expect(differences.map(({ seed, what }) => `${seed} ${what}`)).toEqual([
    "1 traceHash",
    "2 partitionDigest",
    "3 missing",
    "4 blocked",
  ]);
  expect(comparisonText(3, differences)).toContain(
    "3 trials run twice: 4 DIFFER\n  diskdump seed 1: traceHash a / x\n",
  );
  expect(comparisonText(3, differences)).toContain('seed 4: blocked null / {"on":"L","because":"b","function":"f"}\n');
});
