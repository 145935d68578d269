import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { loadScenario } from "../scenario/load.ts";
import { fakeRecord } from "../testing/fake-trial.ts";
import type { TrialRecord } from "../trial/types.ts";
import { version } from "../version.ts";
import { openResults, readResults } from "./results.ts";

let folder: string;
let path: string;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dumplab-results-"));
  path = join(folder, "results.ndjson");
});
afterEach(() => rmSync(folder, { recursive: true }));

const learn = loadScenario("learn");
const record = (seed: number): TrialRecord => fakeRecord(learn, seed);

function write(...seeds: number[]): void {
  const { file } = openResults(path, true, version);
  for (const seed of seeds) file.append(record(seed));
  file.close();
}

const seedsIn = (records: readonly TrialRecord[]) => records.map(({ seed }) => seed);

test("what was appended comes back, and appending goes on behind it", () => {
  write(1, 2);
  write(3);
  expect(readResults(path)).toEqual([record(1), record(2), record(3)]);
});

test("a record is on disk as soon as it was appended, so a kill cannot take it", () => {
  const { file } = openResults(path, false, version);
  file.append(record(1));
  expect(seedsIn(readResults(path))).toEqual([1]);
  file.close();
});

test("a last line torn by a kill is cut off, and its trial can be run again", () => {
  write(1, 2);
  const whole = readFileSync(path, "utf8");
  for (const kept of [1, 30, 200]) {
    writeFileSync(path, whole + JSON.stringify(record(3)).slice(0, kept));
    const { file, previous } = openResults(path, true, version);
    expect(seedsIn(previous)).toEqual([1, 2]);
    file.append(record(3));
    file.close();
    expect(readFileSync(path, "utf8")).toBe(`${whole}${JSON.stringify(record(3))}\n`);
  }
});

test("a torn line that was longer than what follows it leaves nothing behind", () => {
  write(1);
  appendFileSync(path, "x".repeat(10_000));
  openResults(path, true, version).file.close();
  expect(readFileSync(path, "utf8")).toBe(`${JSON.stringify(record(1))}\n`);
});

test("a file with records is not touched without --resume", () => {
  write(1);
  const before = readFileSync(path);
  expect(() => openResults(path, false, version)).toThrow(`${path} has 1 records: --resume continues it`);
  expect(readFileSync(path)).toEqual(before);
});

test("a file of something else is not touched at all", () => {
  for (const text of ["hello\n", '{"seed":1}\n', "[1]\n", "null\n"]) {
    writeFileSync(path, text);
    expect(() => openResults(path, true, version)).toThrow(`${path}:1: not a trial record`);
    expect(readFileSync(path, "utf8")).toBe(text);
  }
});

test("records of other code are not mixed with ours", () => {
  write(1);
  expect(() => openResults(path, true, "0.2.0")).toThrow(`made by version ${version}; this is 0.2.0: start a new file`);
});

test("a bad line in the middle is named by its number", () => {
  write(1, 2);
  writeFileSync(path, readFileSync(path, "utf8").replace("\n", "\noops\n"));
  expect(() => readResults(path)).toThrow(`${path}:2: not a trial record: not JSON`);
});

test("a place that cannot be written is a usage error", () => {
  expect(() => openResults(join(folder, "no", "such", "folder"), false, version)).toThrow("cannot write results to");
  expect(() => openResults(folder, false, version)).toThrow("cannot write results to");
});

test("files larger than one read come back whole", () => {
  const seeds = Array.from({ length: 3000 }, (_, index) => index);
  write(...seeds);
  expect(readFileSync(path).length).toBeGreaterThan(1 << 20);
  expect(seedsIn(readResults(path))).toEqual(seeds);
});

test("a fact of the wrong shape is named", () => {
  for (const [fact, complaint] of [
    [{ dumpedBytes: "many" }, '"dumpedBytes" is not a number or null'],
    [{ blocked: "host_lock" }, '"blocked" is not a map or null'],
    [{ blocked: { on: "host_lock" } }, '"blocked.because" is not a string'],
    [{ load: { ns: 1, calls: 1, bytesPerS: 1, meanQueueDepth: 1 } }, '"load.cpuBusyShare" is not a number'],
  ] as const) {
    writeFileSync(path, `${JSON.stringify({ ...record(1), ...fact })}\n`);
    expect(() => readResults(path)).toThrow(`${path}:1: not a trial record: ${complaint}`);
  }
});
