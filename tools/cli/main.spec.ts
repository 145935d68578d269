import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { scenarioHash } from "../scenario/identity.ts";
import { COMPARED_LOAD_START } from "../campaign/plan.ts";
import { WHITE_PAPER_DUMPERS } from "../scenario/dumpers.ts";
import { loadScenario } from "../scenario/load.ts";
import { fakeLab, fakeRecord } from "../testing/fake-trial.ts";
import type { RunTrial, TrialRecord } from "../trial/types.ts";
import { main } from "./main.ts";

// How: the real command line over a laboratory whose trials end as the test says.
const folder = mkdtempSync(join(tmpdir(), "dumplab-cli-"));
afterAll(() => rmSync(folder, { recursive: true }));
const workerFile = new URL("../testing/fake-worker.mjs", import.meta.url).pathname;
const inFolder = (name: string) => join(folder, name);

async function dumplab(args: string, runTrial: RunTrial = fakeLab()) {
  let out = "";
  let err = "";
  const terminal = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
    interrupted: () => undefined,
  };
  const code = await main(args.split(" ").filter(Boolean), terminal, { runTrial, workerFile });
  return { code, out, err };
}

describe("dumplab trial", () => {
  test("without a scenario runs the learning machine and ends with the command that runs it again", async () => {
    const { code, out } = await dumplab("trial --seed 7");
    expect(code).toBe(0);
    expect(out).toContain("     0.043211 cpu1  disk_dump: start dumping\n");
    expect(out).toContain("outcome   complete\n");
    expect(out).toMatch(/replay {4}dumplab trial learn --seed 7\n$/);
  });

  test("--json prints one record and nothing else on stdout", async () => {
    const { out, err } = await dumplab("trial paper --seed 3 --json --set cpus=8");
    expect(JSON.parse(out)).toEqual(fakeRecord(loadScenario("paper", ["cpus=8"]), 3));
    expect(out.trimEnd()).not.toContain("\n");
    expect(err).toBe("");
  });

  test("exits with 1 when the trial failed, and with 0 when that is what was expected", async () => {
    const refusing = fakeLab(() => ({ outcome: "refused", cause: "host_lock is held" }));
    const failed = await dumplab("trial", refusing);
    expect(failed.code).toBe(1);
    expect(failed.out).toContain("cause     host_lock is held\n");
    expect((await dumplab("trial --expect refused", refusing)).code).toBe(0);
    expect((await dumplab("trial --expect refused")).code).toBe(1);
  });

  test("passes on what it was asked for", async () => {
    const calls: unknown[] = [];
    await dumplab(`trial learn --seed 9 --digest --json --trace ${inFolder("t")}`, fakeLab(undefined, calls));
    expect(calls).toMatchObject([{ seed: 9, options: { digest: true, trace: true } }]);
  });

  test("refuses to overwrite a file before it runs anything", async () => {
    const path = inFolder("precious");
    writeFileSync(path, "data");
    const calls: unknown[] = [];
    const { code, err } = await dumplab(`trial --vmcore ${path}`, fakeLab(undefined, calls));
    expect(code).toBe(2);
    expect(err).toBe(`dumplab: ${path} exists already; it is not overwritten\n`);
    expect(calls).toEqual([]);
    expect(readFileSync(path, "utf8")).toBe("data");
  });

  test("a failed trial without a vmcore still says that it failed", async () => {
    const hanging: RunTrial = (scenario, seed, options) => ({
      ...fakeLab(() => ({ outcome: "hang", cause: "cpu0 spins" }))(scenario, seed, options),
      writeVmcore: () => {
        throw new UsageError("there is no dump on /dev/sdb1");
      },
    });
    const { code, err } = await dumplab(`trial --vmcore ${inFolder("none")}`, hanging);
    expect(code).toBe(1);
    expect(err).toContain("was not written: there is no dump on /dev/sdb1");
  });

  test("a bug of the simulator is not dressed up as the user's mistake", async () => {
    const broken: RunTrial = () => {
      throw new RangeError("assertion failed");
    };
    const { code, out, err } = await dumplab("trial", broken);
    expect(code).toBe(1);
    expect(err).toContain("RangeError: assertion failed");
    expect(out).toMatch(/outcome +simulator-error\n/);
    expect((await dumplab("trial --expect simulator-error", broken)).code).toBe(0);
  });
});

describe("dumplab replay", () => {
  test("a capsule that runs the same way is reproduced", async () => {
    const capsule = inFolder("same.json");
    await dumplab(`trial learn --seed 5 --capsule ${capsule}`);
    const { code, out } = await dumplab(`replay ${capsule}`);
    expect(out).toMatch(/^reproduced: seed 5 of learn, complete, trace hash-\w+-5\n$/);
    expect(code).toBe(0);
  });

  test("a reproduced failure is a success of replay", async () => {
    const hanging = fakeLab(() => ({ outcome: "hang", cause: "cpu0 spins" }));
    const capsule = inFolder("hang.json");
    await dumplab(`trial learn --capsule ${capsule}`, hanging);
    expect((await dumplab(`replay ${capsule}`, hanging)).code).toBe(0);
  });

  test("a trial that runs another way has diverged: exit code 1, and what differs", async () => {
    const capsule = inFolder("other.json");
    await dumplab(`trial learn --capsule ${capsule}`);
    const { code, out } = await dumplab(
      `replay ${capsule}`,
      fakeLab(() => ({ traceHash: "else", outcome: "hang", cause: "x" })),
    );
    expect(code).toBe(1);
    expect(out).toMatch(/^diverged: traceHash was hash-\w+-1, is else; outcome was complete, is hang; cause was null/);
  });

  test("of a campaign's records it takes the one asked for, or the first that failed", async () => {
    const learn = loadScenario("learn");
    const fate = (seed: number): Partial<TrialRecord> => (seed === 3 ? { outcome: "hang", cause: "x" } : {});
    const path = inFolder("campaign.ndjson");
    writeFileSync(path, [1, 2, 3].map((seed) => `${JSON.stringify(fakeRecord(learn, seed, fate(seed)))}\n`).join(""));
    expect((await dumplab(`replay ${path}`, fakeLab(fate))).out).toContain("reproduced: seed 3 of learn, hang");
    expect((await dumplab(`replay ${path} --seed 2`, fakeLab(fate))).out).toContain("reproduced: seed 2 of learn");
    expect(await dumplab(`replay ${path} --seed 4`)).toMatchObject({ code: 2 });
  });

  test("a simulator error is reproduced by the same error", async () => {
    const broken: RunTrial = () => {
      throw new RangeError("page 7 is twice on the free list");
    };
    const record = fakeRecord(loadScenario("learn"), 1, {
      outcome: "simulator-error",
      cause: "RangeError: page 7 is twice on the free list",
      traceHash: "",
      virtualNs: 0,
      dumpedPages: 0,
      ...{ dumpedBytes: null, dumpVirtualNs: null, load: null },
    });
    const path = inFolder("error.json");
    writeFileSync(path, JSON.stringify(record, undefined, 2));
    expect(await dumplab(`replay ${path}`, broken)).toMatchObject({ code: 0 });
  });

  test("a record of an earlier version, without the newer facts, is replayed too", async () => {
    const { dumpedBytes: _1, dumpVirtualNs: _2, blocked: _3, load: _4, ...old } = fakeRecord(loadScenario("learn"), 1);
    const path = inFolder("old.ndjson");
    writeFileSync(path, JSON.stringify(old));
    expect(await dumplab(`replay ${path}`)).toMatchObject({ code: 0 });
  });

  test("a fact that differs is told with its parts", async () => {
    const path = inFolder("facts.ndjson");
    const blocked = { on: "host_lock", because: "held by cpu 1", function: "scsi_request_fn" };
    writeFileSync(path, JSON.stringify(fakeRecord(loadScenario("learn"), 1, { blocked })));
    expect(await dumplab(`replay ${path}`)).toMatchObject({
      code: 1,
      out: `diverged: blocked was ${JSON.stringify(blocked)}, is null\n`,
    });
  });

  test("a changed scenario is not compared", async () => {
    const path = inFolder("changed.ndjson");
    writeFileSync(path, JSON.stringify({ ...fakeRecord(loadScenario("learn"), 1), scenarioHash: "0123456789abcdef" }));
    const { code, err } = await dumplab(`replay ${path}`);
    expect(code).toBe(2);
    expect(err).toContain("scenario learn has changed since: its hash is");
  });

  test.each([
    ["nothing", "", "is empty"],
    ["a word", "hello", "not a trial record: not JSON"],
    ["other JSON", '{"a": 1}', 'not a trial record: "scenario" is missing'],
    ["a capsule of nothing", '{"record": null}', "not a trial record"],
    [
      "a capsule with half a scenario",
      JSON.stringify({ record: fakeRecord(loadScenario("learn"), 1), scenario: { cpus: 2 } }),
      "the capsule's scenario was changed after it was written",
    ],
    [
      "a capsule without its scenario's map",
      JSON.stringify({ record: fakeRecord(loadScenario("learn"), 1), scenario: null }),
      "its scenario is not a map",
    ],
  ])("%s is no capsule", async (title, text, message) => {
    const path = inFolder(`bad-${title.replaceAll(" ", "-")}`);
    writeFileSync(path, text);
    const { code, err } = await dumplab(`replay ${path}`);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringContaining(message) });
  });
});

describe("dumplab bench", () => {
  // The campaign's workers take their orders from the scenario's description.
  function scenarioFile(name: string, orders: object): string {
    const path = inFolder(`${name}.yaml`);
    const write = (hash: string) =>
      writeFileSync(path, `extends: learn\ndescription: ${JSON.stringify(JSON.stringify({ ...orders, hash }))}\n`);
    write("");
    write(scenarioHash(loadScenario(path, [])));
    return path;
  }

  test("prints the table beside the white paper's row", async () => {
    const { code, out } = await dumplab(`bench --scenario ${scenarioFile("good", {})} --trials 20 --workers 2`);
    expect(code).toBe(0);
    expect(out).toMatch(/good +diskdump +20 +20 +100.0 +83.9 - 100.0 +diskdump \(RHEL3\): 300\/300, 98.7 - 100.0\n$/);
  });

  test("exits with 1 when a trial failed, and says why", async () => {
    const { code, out } = await dumplab(`bench --scenario ${scenarioFile("bad", { failAt: [2] })} --trials 4`);
    expect(code).toBe(1);
    expect(out).toContain("1  diskdump  hang     cpu0 spins on host_lock\n");
    expect(out).toContain("dumplab trial bad --seed 2");
  });

  test("--json prints the records in the order of their seeds", async () => {
    const { out } = await dumplab(`bench --scenario ${scenarioFile("json", {})} --seeds 5..14 --shard 2/2 --json`);
    const seeds = out
      .trimEnd()
      .split("\n")
      .map((line) => (JSON.parse(line) as TrialRecord).seed);
    expect(seeds).toEqual([6, 8, 10, 12, 14]);
  });

  test("--out keeps the records, and --resume runs only what is missing", async () => {
    const scenario = scenarioFile("resumed", {});
    const results = inFolder("resumed.ndjson");
    const lines = () => readFileSync(results, "utf8").trimEnd().split("\n");
    await dumplab(`bench --scenario ${scenario} --trials 10 --out ${results}`);
    expect(lines()).toHaveLength(10);
    expect((await dumplab(`bench --scenario ${scenario} --trials 10 --out ${results}`)).code).toBe(2);
    // As a kill leaves it: three whole lines and a torn one.
    writeFileSync(results, `${lines().slice(0, 3).join("\n")}\n{"scenario":"resu`);
    const again = await dumplab(`bench --scenario ${scenario} --trials 10 --out ${results} --resume`);
    expect(again.err).toContain("7 trials left to run");
    expect(again.out).toMatch(/resumed +diskdump +10 +10/);
    expect(
      lines()
        .map((line) => (JSON.parse(line) as TrialRecord).seed)
        .sort((a, b) => a - b),
    ).toHaveLength(10);
  });

  test("--trials paper runs each dumper as often as the white paper did, and prints its table anew", async () => {
    const path = scenarioFile("whole", {});
    const hashes = WHITE_PAPER_DUMPERS.map((dumper) => [
      dumper,
      scenarioHash(loadScenario(path, [COMPARED_LOAD_START], dumper)),
    ]);
    const orders = JSON.stringify({ failAt: [100], hashes: Object.fromEntries(hashes) });
    writeFileSync(path, `extends: learn\ndescription: ${JSON.stringify(orders)}\n`);
    const { code, out } = await dumplab(`bench --scenario ${path} --trials paper`);
    expect(code).toBe(1);
    const rows = [...out.matchAll(/^ *(diskdump|lkcd|lkcd-modified) +(\d+) +(\d+) /gm)].map((row) => row.slice(1, 4));
    expect(rows).toEqual([
      ["diskdump", "300", "299"],
      ["lkcd", "71", "71"],
      ["lkcd-modified", "143", "142"],
    ]);
  });
});

describe("a comparison", () => {
  test("writes table, picture and page, with the command that makes them again and a row for who cannot take part", async () => {
    const scenario = inFolder("compared.yaml");
    writeFileSync(scenario, "extends: learn\nplatform: ia64\ndescription: '{}'\n");
    const [csv, svg, html] = ["c.csv", "c.svg", "c.html"].map(inFolder) as [string, string, string];
    const args = `bench --scenario ${scenario} --dumper diskdump,kdump --trials 3 --csv ${csv} --svg ${svg} --html ${html}`;
    const { code, out, err } = await dumplab(args);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    expect(out).toMatch(/kdump .* not possible here: dump\.dumper: kdump needs platform x86_64\n/);
    expect(readFileSync(csv, "utf8")).toMatch(/,kdump,.*kdump needs platform x86_64\r\n$/);
    expect(readFileSync(svg, "utf8")).toMatch(/^<\?xml[^]*<svg [^]*<\/svg>\n$/);
    const again = `dumplab bench --scenario ${scenario} --dumper diskdump,kdump --trials 3`;
    for (const path of [svg, html]) expect(readFileSync(path, "utf8")).toContain(again);
    expect(existsSync(`${svg}.tmp-${process.pid}`)).toBe(false);
  });
});

describe("the command line", () => {
  test("--help of everything exits with 0, has examples, and goes to stdout", async () => {
    const top = await dumplab("--help");
    expect(top).toMatchObject({ code: 0, err: "" });
    const commands = [...top.out.matchAll(/^ {2}([a-z]+) /gm)]
      .map((match) => match[1]!)
      .filter((name) => name !== "help");
    expect(commands).toEqual(expect.arrayContaining(["trial", "bench", "replay", "scenarios"]));
    for (const command of commands) {
      const { code, out, err } = await dumplab(`${command} --help`);
      expect({ code, err }, command).toEqual({ code: 0, err: "" });
      expect(out.split("\nExamples:\n")[1], command).toContain(`dumplab ${command}`);
    }
  });

  test("--version names the code", async () => {
    expect(await dumplab("--version")).toMatchObject({ code: 0, out: expect.stringMatching(/^0\.1\.0\+/) });
  });

  test.each([
    ["trail", "unknown command 'trail'"],
    ["trial --sed 3", "unknown option '--sed'"],
    ["trial --seed x", "seed: expected a whole number"],
    ["trial papr", 'did you mean "paper"?'],
    ["trial --set crash.at.tiem=5ms", 'crash.at.tiem: unknown key; did you mean "time"?'],
    ["trial --dumper kdmp", "Allowed choices are diskdump"],
    ["bench --workers 0", "Expected a whole number of at least 1"],
    ["bench --trials 3x", "Expected a whole number of at least 1"],
    ["bench --seeds 3", "--seeds: expected a range"],
    ["bench --trials papers", "Expected a whole number of at least 1"],
    ["bench --shard 3/2", "--shard: expected i/n"],
    ["bench extra", "too many arguments"],
    ["replay", "missing required argument 'capsule'"],
    ["replay /nowhere", "cannot read the capsule /nowhere"],
  ])("dumplab %s exits with 2 and says why on stderr", async (args, message) => {
    const { code, out, err } = await dumplab(args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toContain(message);
  });

  test("no arguments at all show the help and exit with 2", async () => {
    const { code, err } = await dumplab("");
    expect(code).toBe(2);
    expect(err).toContain("Usage: dumplab");
  });

  test("scenarios lists them and shows one with every default", async () => {
    expect((await dumplab("scenarios")).out).toMatch(/^paper +The white paper's machine/m);
    const shown = JSON.parse((await dumplab("scenarios learn")).out) as { dump: object };
    expect(shown.dump).toMatchObject({ blockOrder: 2, sampleRate: 8, dumper: "diskdump" });
  });

  test("nothing was written beside what was asked for", () => {
    expect(existsSync("results.ndjson")).toBe(false);
  });
});
