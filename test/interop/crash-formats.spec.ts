// Goal: whichever format a dump is kept in, crash(8) opens it without a word and tells the same story. Method: one trial's vmcore
// is exported to every format that there is; what crash answers about each is compared with what it answers about the first.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { dumplab } from "../cli/dumplab.ts";
import { askCrash, backtraces, functionsOf } from "./crash-session.ts";
import { need, run } from "./programs.ts";

const folder = mkdtempSync(join(tmpdir(), "formats-"));
afterAll(() => rmSync(folder, { recursive: true }));
const vmcore = join(folder, "vmcore");
const vmlinux = join(folder, "vmlinux");

/** The seven of our formats that crash knows, compressed in every way, and one with pages left out. */
const FORMATS: Readonly<Record<string, readonly string[]>> = {
  "ELF as kdump's": ["--to", "elf"],
  "ELF as netdump's": ["--to", "netdump"],
  "diskdump, raw": ["--to", "diskdump", "--compress", "none"],
  "diskdump, compressed": ["--to", "diskdump", "--compress", "zlib"],
  KDUMP: ["--to", "kdump"],
  "KDUMP at level 31": ["--to", "kdump", "--level", "31"],
  "LKCD 8": ["--to", "lkcd8", "--compress", "gzip"],
  "LKCD 9, runs": ["--to", "lkcd9", "--compress", "rle"],
  "LKCD 9, raw": ["--to", "lkcd9", "--compress", "none"],
};
const fileOf = (format: string): string => join(folder, format.replace(/\W+/g, "-"));

beforeAll(async () => {
  const result = runTrial(loadScenario("panic", ["cpus=4"]), 2, {});
  expect(result.record.outcome).toBe("complete");
  result.writeVmlinux(vmlinux);
  result.writeVmcore(vmcore);
  for (const [format, flags] of Object.entries(FORMATS)) {
    const { code, err } = await dumplab("export", vmcore, ...flags, "--vmlinux", vmlinux, "-o", fileOf(format));
    expect([format, code], err).toEqual([format, 0]);
  }
}, 120_000);

const QUESTIONS = ["log", "ps", "mod", "runq", "irq -s", "kmem -s", "rd -p 100000 64", "p jiffies", "bt 1"];

const ask = (context: TestContext, path: string, commands: readonly string[]): readonly string[] =>
  askCrash(context, vmlinux, path, commands);

describe.each(Object.keys(FORMATS))("the same dump as %s", (format) => {
  test("tells crash what the vmcore tells it: log, tasks, modules, runqueues, interrupts, caches, memory", (context) => {
    const reference = ask(context, vmcore, QUESTIONS);
    expect(reference.every((answer) => answer.length > 10)).toBe(true);
    expect(ask(context, fileOf(format), QUESTIONS)).toEqual(reference);
  });

  test("shows crash how every CPU got where it was", (context) => {
    const [bt, all] = ask(context, fileOf(format), ["bt", "bt -a"]);
    // LKCD's header has the registers of the crash, from where crash goes up; the others let it look for the dump on the stack.
    expect(functionsOf(bt!).slice(-3)).toEqual(["lkdtm_do_action", "crasher", "system_call"]);
    const found = backtraces(all!);
    expect([...found.keys()].sort()).toEqual([0, 1, 2, 3]);
    for (const { text } of found.values()) {
      const last = functionsOf(text).at(-1) ?? "user";
      expect(["cpu_idle", "system_call", "kernel_thread", "user"]).toContain(last);
    }
  });

  test("says why the kernel died", (context) => {
    const [sys] = ask(context, fileOf(format), ["sys"]);
    expect(sys).toMatch(/PANIC: "(Kernel panic - not syncing: )?dumplab: crash injected"/);
    expect(sys).toMatch(/CPUS: 4\n/);
  });
});

test("makedumpfile makes of our vmcore a file that crash reads as it reads ours", (context) => {
  need(context, "makedumpfile");
  const made = join(folder, "made-by-makedumpfile");
  const { code, stderr } = run("makedumpfile", ["-c", "-d", "0", "--message-level", "0", vmcore, made]);
  expect([code, stderr]).toEqual([0, ""]);
  expect(ask(context, made, QUESTIONS)).toEqual(ask(context, vmcore, QUESTIONS));
});
