import { describe, expect, test } from "vitest";
import { scenarioHash } from "../scenario/identity.ts";
import { loadScenario } from "../scenario/load.ts";
import { dumpedBy } from "../testing/fake-dumper.ts";
import { fakeRecord } from "../testing/fake-trial.ts";
import type { TrialRecord } from "../trial/types.ts";
import { cellsOf, median, type PlannedCell } from "./cells.ts";
import { comparisonCsv } from "./comparison-csv.ts";
import { blockerTable, cellTable, curveText } from "./comparison-text.ts";
import { instantsOf, instantsText } from "./instants.ts";
import { verdicts } from "./paper-verdict.ts";
import { parseSweep, planCells } from "./plan.ts";

// How: trials that end as this file says, under two dumpers at two loads.
const learn = loadScenario("learn");
const plan: PlannedCell[] = ["1", "8"].flatMap((value) =>
  (["diskdump", "lkcd"] as const).map((dumper) => ({
    scenario: dumpedBy(loadScenario("learn", [`load.perDisk=${value}`]), dumper),
    value,
  })),
);
const hang: Partial<TrialRecord> = {
  ...{ outcome: "hang", cause: "the dumping CPU waits for L" },
  blocked: { on: "io_request_lock", because: "held by cpu 2", function: "__make_request" },
};
const trials = (cell: number, count: number, over: (seed: number) => Partial<TrialRecord> = () => ({})) =>
  Array.from({ length: count }, (_, i) => fakeRecord(plan[cell]!.scenario, i + 1, over(i + 1)));
const records = [
  ...trials(0, 100),
  ...trials(1, 100),
  ...trials(2, 100),
  ...trials(3, 100, (seed) => (seed > 69 ? hang : {})),
];
const cells = cellsOf(plan, records, []);

test("a cell has its rate, interval, outcomes, and what the failures were blocked on", () => {
  expect(cells[3]).toMatchObject({
    ...{ dumper: "lkcd", value: "8", trials: 100, complete: 69, dumpedBytes: 103 * 4096 },
    outcomes: [
      ["complete", 69],
      ["hang", 31],
    ],
    blockers: [{ on: "io_request_lock", function: "__make_request", because: "held by cpu 2", count: 31 }],
  });
  expect(cellTable(cells, "load.perDisk")).toMatch(
    /\n +8 +lkcd +100 +69 +69\.0 +59\.4 - 77\.2 .* complete 69, hang 31\n/,
  );
  expect(blockerTable(cells, "load.perDisk")).toMatch(
    /\n +31 +lkcd +8 +io_request_lock +__make_request +held by cpu 2\n/,
  );
});

test("the white paper's LKCD wrote to a disk: what LKCD keeps in memory or sends has no mark of the paper's beside it", () => {
  const methods = ["disk", "memory", "network"].map((value): PlannedCell => {
    const scenario = dumpedBy(loadScenario("learn", [`dump.lkcd.method=${value}`]), "lkcd-modified");
    return { scenario, value };
  });
  const some = cellsOf(
    methods,
    methods.flatMap(({ scenario }) => [fakeRecord(scenario, 1)]),
    [],
  );
  expect(some.map(({ paper }) => paper?.title)).toEqual(["modified LKCD 4.1.1", undefined, undefined]);
  expect(verdicts(some, "dump.lkcd.method")).toEqual([expect.stringMatching(/meets ours .*=disk, 1\/1 \(100.0 %\)$/)]);
  expect(verdicts(some.slice(1), "dump.lkcd.method")).toEqual([]);
});

test("a lost trial counts in its own cell", () => {
  const lost = { scenario: "x", scenarioHash: scenarioHash(plan[0]!.scenario), dumper: "diskdump", seed: 1 };
  const [cell, other] = cellsOf(plan, [], [{ ...lost, cause: "gone", command: "dumplab" }]);
  expect(cell).toMatchObject({ trials: 1, complete: 0, outcomes: [["lost", 1]] });
  expect(other!.trials).toBe(0);
});

test("the curve puts each dumper's letter at its rate, and the white paper's beside it", () => {
  const lines = curveText(cells, "load.perDisk").split("\n");
  const at = (label: string) => lines.find((line) => line.startsWith(label.padStart(4)))!;
  expect(at("100")).toMatch(/\+ D L +D +: D$/);
  expect(at("70")).toMatch(/\+ +L +: +L$/);
  expect(lines.join("\n")).toContain("D diskdump, L lkcd; | 95 % interval");
});

test("the verdict says where the paper's rate lies on the curve, and where nothing meets it", () => {
  const [, lkcd] = verdicts(cells, "load.perDisk");
  expect(lkcd).toBe(
    "lkcd: the white paper's 69.0 % [57.5 - 78.6]: its interval meets ours at load.perDisk=8, 69/100 (69.0 %); " +
      "the curve crosses that rate between 1 and 8",
  );
  expect(verdicts(cells.slice(0, 2), "load.perDisk")[1]).toMatch(/its interval meets ours nowhere$/);
});

test("CSV quotes what it must, and has one row per cell under names with units", () => {
  const odd = cellsOf(
    plan,
    trials(1, 1, () => ({ outcome: "refused", cause: 'a "b", c' })),
    [],
  );
  const lines = comparisonCsv(odd, "load.perDisk").split("\r\n");
  expect(lines).toHaveLength(6);
  expect(lines[0]).toContain("dump_virtual_ns_median");
  expect(lines[2]).toContain(',"refused: a ""b"", c",1,');
});

describe("same instants", () => {
  test("are counted by seed over dumpers", () => {
    expect(instantsOf(cells)).toMatchObject({ dumpers: 2, compared: 200, same: 200, sameLoad: 200, examples: [] });
  });
  test("that are not are told", () => {
    const crash = { cpu: 3, function: "f", virtualNs: 1, sinceLoadNs: 2, trigger: "os_init" };
    const other = cellsOf(plan, [...trials(0, 3), ...trials(1, 3, (seed) => (seed === 2 ? { crash } : {}))], []);
    const found = instantsOf(other);
    expect(found).toMatchObject({ compared: 3, same: 2 });
    expect(instantsText(found)).toContain(
      "  seed 2: cpu 0 in scsi_request_fn at 30000000 ns (diskdump), cpu 3 in f at 2 ns (lkcd)",
    );
  });
});

test("a sweep is read from text, and a bad one named", () => {
  expect(parseSweep("load.mix=[1,2],{a: 1, b: 2},3").values).toEqual(["[1,2]", "{a: 1, b: 2}", "3"]);
  for (const bad of ["load.perDisk", "=1,2", "cpus=1,,2", "cpus="])
    expect(() => parseSweep(bad)).toThrow("--sweep: expected");
  expect(() => parseSweep("cpus=2,2")).toThrow("the value 2 is there twice");
});

test("a comparison gives the load a stated start, unless the scenario has one", () => {
  const options = {
    ref: "learn",
    adapter: undefined,
    dumpers: ["diskdump" as const],
    sweep: undefined,
    sameInstants: true,
  };
  expect(planCells({ ...options, sets: [] })[0]!.scenario.load.startNs).toBe(10e9);
  expect(planCells({ ...options, sets: ["load.start=7s"] })[0]!.scenario.load.startNs).toBe(7e9);
  expect(planCells({ ...options, sets: [], sameInstants: false })[0]!.scenario).toEqual(learn);
});

describe("a dumper that the scenario cannot have", () => {
  const options = { ref: "learn", sets: [], adapter: undefined, sweep: undefined, sameInstants: true };
  const dumpers = ["diskdump", "kdump", "lkcd"] as const;

  test("is a cell that says why; the others are run", () => {
    const plan = planCells({ ...options, sets: ["platform=ppc64"], dumpers });
    expect(plan.map(({ scenario, impossible }) => [scenario.dump.dumper, impossible])).toEqual([
      ["diskdump", undefined],
      ["kdump", "dump.dumper: kdump needs platform x86_64"],
      ["lkcd", "dump.dumper: the layout of LKCD's header on ppc64 is not known here; x86_64, i386 and ia64 are"],
    ]);
    const some = cellsOf(plan, [fakeRecord(plan[0]!.scenario, 1)], []);
    expect(cellTable(some, null)).toMatch(
      /\nkdump +- .* not possible here: dump\.dumper: kdump needs platform x86_64\n/,
    );
    expect(comparisonCsv(some, null).split("\r\n")[2]).toMatch(
      /^learn,kdump,,,0,0,,,,.*,dump\.dumper: kdump needs platform x86_64$/,
    );
    expect(verdicts(some, null)).toHaveLength(1);
    expect(instantsOf(some)).toMatchObject({ dumpers: 1 });
  });

  test("is one only where another can be had: a value that nobody can have is an error", () => {
    const sweep = { key: "cpus", values: ["2", "65"] };
    expect(() => planCells({ ...options, dumpers, sweep })).toThrow(
      "cpus: expected a whole number from 1 to 64; got 65",
    );
    expect(() => planCells({ ...options, dumpers: ["kdump"], sets: ["platform=ia64"] })).toThrow(
      "kdump needs platform",
    );
  });
});

test("a median is of what is there", () => {
  expect([median([3, null, 1, undefined, 2]), median([4, 1]), median([null])]).toEqual([2, 2.5, null]);
});
