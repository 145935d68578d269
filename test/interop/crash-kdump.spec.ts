// Goal: crash(8) reads the core that the capture kernel wrote, and sees in it the tasks and the log of the kernel that died.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { askCrash, backtraces } from "./crash-session.ts";
import { shows } from "../features/feature.ts";

const folder = mkdtempSync(join(tmpdir(), "kdump-"));
afterAll(() => rmSync(folder, { recursive: true }));
const fileOf = (dumper: string, what: string): string => join(folder, `${dumper}-${what}`);

beforeAll(() => {
  for (const dumper of ["diskdump", "kdump"]) {
    const result = runTrial(loadScenario("panic", ["cpus=4", `dump.dumper=${dumper}`]), 2, {});
    expect(result.record).toMatchObject({ outcome: "complete" });
    result.writeVmlinux(fileOf(dumper, "vmlinux"));
    result.writeVmcore(fileOf(dumper, "vmcore"));
  }
}, 120_000);

test("crash sees the same tasks, the same cause and every CPU in kdump's core and in diskdump's", (context) => {
  shows(context, "kdump", "analysis tools", "crash");
  shows(context, "diskdump", "analysis tools", "crash");
  const ask = (dumper: string): readonly string[] =>
    askCrash(context, fileOf(dumper, "vmlinux"), fileOf(dumper, "vmcore"), ["ps", "log", "sys", "bt -a"]);
  const [theirs, ours] = [ask("diskdump"), ask("kdump")];
  const commands = (ps: string): string[] => ps.split("\n").map((line) => line.trim().split(/\s+/).at(-1)!);
  expect(commands(ours[0]!).length).toBeGreaterThan(10);
  expect(new Set(commands(ours[0]!))).toEqual(new Set(commands(theirs[0]!)));
  expect(ours[1]).toMatch(/Kernel panic - not syncing: dumplab: crash injected/);
  expect(ours[1]).not.toMatch(/saved vmcore/);
  expect(ours[2]).toMatch(/dumplab: crash injected/);
  expect([...backtraces(ours[3]!).keys()].sort()).toEqual([0, 1, 2, 3]);
});
