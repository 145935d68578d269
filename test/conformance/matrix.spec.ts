// Goal: nobody overlooks a failure or a gap in the matrix. Method: records in, text out, and back from files.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, test } from "vitest";
import { matrixText } from "./matrix.ts";
import { clearRecords, readRecords, writeRecord, type ConformanceRecord } from "./record.ts";

const record = (adapter: string, more: Partial<ConformanceRecord> = {}): ConformanceRecord => ({
  adapter,
  judge: "linux",
  outcome: "passed",
  exercised: ["probe", "abort"],
  failures: [],
  skipped: [],
  ...more,
});

describe("the conformance matrix", () => {
  test("has a row per adapter and says what was exercised", () => {
    const text = matrixText([record("mptspi"), record("ide", { exercised: ["PIO"] })]);
    expect(text).toMatch(/^adapter +\| real Linux module on our chip/);
    expect(text).toMatch(/^ide +\| passed: PIO\./m);
    expect(text).toMatch(/^mptspi +\| passed: probe, abort\./m);
  });

  test("shows a cell that no suite filled as a dash", () => {
    expect(matrixText([record("ide")])).toMatch(/^ide +\| passed: probe, abort\. +\| - +\| -$/m);
  });

  test("names what failed and what did not run", () => {
    const text = matrixText(
      [record("ide", { outcome: "failed", failures: ["reads back"], skipped: ["no kernel; apt-get download x"] })],
      400,
    );
    expect(text).toContain("failed: reads back. probe, abort. Not run: no kernel; apt-get download x");
  });

  test("keeps to its width", () => {
    const text = matrixText([record("mptspi", { exercised: "a b c d e f g h i j".repeat(20).split(" ") })], 100);
    expect(Math.max(...text.split("\n").map((line) => line.length))).toBeLessThanOrEqual(100);
  });

  test("comes from the files that the suites leave", () => {
    const folder = mkdtempSync(join(tmpdir(), "dumplab-records-"));
    try {
      expect(readRecords(join(folder, "none"))).toEqual([]);
      writeRecord(record("mptspi"), folder);
      writeRecord(record("mptspi", { judge: "qemu" }), folder);
      expect(readRecords(folder).map(({ adapter, judge }) => `${adapter} ${judge}`)).toEqual([
        "mptspi linux",
        "mptspi qemu",
      ]);
      clearRecords(folder);
      expect(readRecords(folder)).toEqual([]);
    } finally {
      rmSync(folder, { recursive: true, force: true });
    }
  });
});
