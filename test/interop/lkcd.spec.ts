// Goal: crash(8) opens what LKCD saved, and it tells the story that diskdump's vmcore tells of the same trial. Method: one scenario and
// seed with each dumper; what crash answers is compared where the dumpers themselves have left no traces.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import type { Dumper } from "../../tools/scenario/scenario.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { askCrash, backtraces, functionsOf } from "./crash-session.ts";
import { shows } from "../features/feature.ts";

const folder = mkdtempSync(join(tmpdir(), "lkcd-crash-"));
afterAll(() => rmSync(folder, { recursive: true }));

const CASES = {
  "a panic, raw": ["crash.trigger=panic"],
  "a panic, gzip, version 9": ["crash.trigger=panic", "dump.lkcd.compress=gzip", "dump.lkcd.version=9"],
  "INIT on all CPUs, run lengths": ["dump.lkcd.compress=rle"],
} as const;
const fileOf = (name: string, dumper: Dumper, what: string): string =>
  join(folder, `${name.replace(/\W+/g, "-")}-${dumper}-${what}`);

beforeAll(() => {
  for (const [name, sets] of Object.entries(CASES)) {
    for (const dumper of ["diskdump", "lkcd"] as const) {
      const result = runTrial(loadScenario("learn", ["cpus=4", ...sets], dumper), 2, {});
      expect([dumper, result.record.outcome, result.record.cause]).toEqual([dumper, "complete", null]);
      result.writeVmcore(fileOf(name, dumper, "vmcore"));
      result.writeVmlinux(fileOf(name, dumper, "vmlinux"));
    }
  }
}, 120_000);

const ask = (context: TestContext, name: string, dumper: Dumper, commands: readonly string[]): readonly string[] =>
  askCrash(context, fileOf(name, dumper, "vmlinux"), fileOf(name, dumper, "vmcore"), commands);

/** pid and name of each task; where it is and what it did lately differs. */
const tasksIn = (ps: string): string[] =>
  ps
    .split("\n")
    .slice(1)
    .map((line) => line.replace(/^>/, " ").trim().split(/\s+/))
    .map((words) => `${words[0]} ${words.at(-1)}`)
    .sort();

/** What dumpers say: LKCD, diskdump, and the adapter that diskdump resets. */
const DUMPERS_OWN =
  /disk_?dump|[Dd]umping|^dump: |Dump complete|Writing dump|check dump|CPU frozen|CPU#|Rebooting|ioc0/;
/** What an oops says of addresses and modules. */
const OF_ADDRESSES = /Modules linked|RIP|RSP|Call Trace|^Process|^Pid:/;

/** The kernel's own messages, in their order. */
const messagesIn = (log: string): string[] =>
  log.split("\n").filter((line) => line.trim() !== "" && !DUMPERS_OWN.test(line) && !OF_ADDRESSES.test(line));

describe.each(Object.keys(CASES))("%s", (name) => {
  test("the same tasks, and the same messages up to the dump", (context) => {
    shows(context, "lkcd", "analysis tools", "crash");
    const [ps, log] = ask(context, name, "lkcd", ["ps", "log"]);
    const [otherPs, otherLog] = ask(context, name, "diskdump", ["ps", "log"]);
    expect(tasksIn(ps!)).toEqual(tasksIn(otherPs!));
    expect(tasksIn(ps!).length).toBeGreaterThan(8);
    expect(messagesIn(log!)).toEqual(messagesIn(otherLog!));
    expect(messagesIn(log!).length).toBeGreaterThan(12);
  });

  test("every CPU has a back trace that ends where kernels begin", (context) => {
    const [all] = ask(context, name, "lkcd", ["bt -a"]);
    const found = backtraces(all!);
    expect([...found.keys()].sort()).toEqual([0, 1, 2, 3]);
    for (const { text } of found.values()) {
      const last = functionsOf(text).at(-1) ?? "user";
      expect(["cpu_idle", "system_call", "kernel_thread", "user"]).toContain(last);
    }
  });

  test("crash says why the kernel died, and takes it for a dump of all of memory", (context) => {
    const [sys, memory] = ask(context, name, "lkcd", ["sys", "kmem -i"]);
    expect(sys).toMatch(/CPUS: 4\n/);
    expect(sys).toMatch(name.startsWith("a panic") ? /PANIC: ".*dumplab: crash injected"/ : /PANIC: ".*OS_INIT/);
    expect(memory).toMatch(/TOTAL MEM +\d+/);
  });
});

describe.each([
  ["network", "LKCD: Dumping to network device eth0 on CPU"],
  ["memory", "Dumping to memory on CPU"],
])("by way of %s", (method, said) => {
  const at = (what: string): string => join(folder, `${method}-${what}`);
  beforeAll(() => {
    const sets = ["cpus=4", "memory.size=24MiB", "crash.trigger=panic", `dump.lkcd.method=${method}`];
    const result = runTrial(loadScenario("learn", [...sets, "dump.lkcd.compress=gzip"], "lkcd"), 2, {});
    expect([result.record.outcome, result.record.cause]).toEqual(["complete", null]);
    result.writeVmcore(at("vmcore"));
    result.writeVmlinux(at("vmlinux"));
  }, 60_000);

  test("crash opens what was saved, and finds the story up to the first page", (context) => {
    const [sys, log, ps, all] = askCrash(context, at("vmlinux"), at("vmcore"), ["sys", "log", "ps", "bt -a"]);
    expect(sys).toMatch(/CPUS: 4\n/);
    expect(sys).toMatch(/PANIC: ".*dumplab: crash injected"/);
    expect(log).toContain(said);
    expect(tasksIn(ps!).length).toBeGreaterThan(8);
    const found = backtraces(all!);
    expect([...found.keys()].sort()).toEqual([0, 1, 2, 3]);
    for (const { text } of found.values()) {
      const last = functionsOf(text).at(-1) ?? "user";
      expect(["cpu_idle", "system_call", "kernel_thread", "user"]).toContain(last);
    }
  });
});
