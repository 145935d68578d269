// Goal: the files of all formats are what the tools of the trade take them for, and tell all of them the same. Method: one trial
// that panics; its dump as crash(8)'s seven kinds of file; crash answers the same to the same questions in each, makedumpfile
// reads ours and we read its, and where both choose pages to leave out they choose the same.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { type CoreReader } from "../../diskdump/cores/core.ts";
import { exportCore, planExport, type Compression, type CoreFormat } from "../../diskdump/cores/export-core.ts";
import { withKernelFacts } from "../../diskdump/cores/kernel-facts.ts";
import { readKernelImage } from "../../diskdump/cores/kernel-image.ts";
import { KernelMemory } from "../../diskdump/cores/kernel-memory.ts";
import { openCore } from "../../diskdump/cores/open-core.ts";
import { FILTER, MemMapFilter } from "../../diskdump/cores/page-filter.ts";
import { pagesIn, type PageRange } from "../../diskdump/format/bitmap.ts";
import { FileSink } from "../../diskdump/userspace/core-sink.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { nodeFiles } from "../../diskdump/userspace/host-files.ts";
import { openPartition } from "../../diskdump/userspace/partition-table.ts";
import { PG_lru, PG_private, page_flags, pfn_to_page } from "../../kernel-sim/mm/page.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { crash } from "./crash-session.ts";
import { need, run } from "./programs.ts";

const folder = mkdtempSync(join(tmpdir(), "formats-"));
afterAll(() => rmSync(folder, { recursive: true }));
const vmlinux = join(folder, "vmlinux");

/** The files that crash(8) must read alike. */
const FILES: Readonly<Record<string, readonly [CoreFormat, Compression?]>> = {
  elf: ["elf"],
  netdump: ["netdump"],
  diskdump: ["diskdump", "zlib"],
  diskdump_raw: ["diskdump", "none"],
  kdump: ["kdump", "zlib"],
  lkcd8: ["lkcd8", "gzip"],
  lkcd9: ["lkcd9", "rle"],
};
const NAMES = Object.keys(FILES);
const fileOf = (name: string): string => join(folder, `vmcore.${name}`);

/** What the kernel said of itself while its RAM was there. */
let log = "";
let jiffiesPage = 0n;
let crashedCpu = -1;
/** Frames on the allocator's free lists, and the page cache by flags, as the kernel knew them. */
let freeFrames = 0;
const cacheFrames = new Set<number>();
const privateFrames = new Set<number>();

/** Calls `use` with the trial's dump and everything that its kernel tells. */
function withDump<T>(use: (core: CoreReader, memory: KernelMemory) => T): T {
  const [disk, kernelFile] = [FileStore.open(join(folder, "disk.img")), FileStore.open(vmlinux)];
  const plain = openCore(openPartition(disk, 1));
  const memory = new KernelMemory(plain, readKernelImage(kernelFile));
  const result = use(withKernelFacts(plain, memory), memory);
  disk.close();
  kernelFile.close();
  return result;
}

beforeAll(() => {
  const trial = runTrial(loadScenario("panic"), 1, {});
  expect(trial.record.outcome).toBe("complete");
  trial.writeVmlinux(vmlinux);
  trial.writeDisk(join(folder, "disk.img"));
  crashedCpu = trial.record.crash!.cpu;
  log = trial.console.map(({ text }) => text).join("\n");
  jiffiesPage = BigInt(K.symbol("jiffies")) + 0xffffffff80000000n;
  freeFrames = K.pages.zones.reduce((sum, zone) => sum + zone.freePages, 0);
  for (let pfn = 0; pfn < K.pages.maxPfn; pfn++) {
    const flags = page_flags(pfn_to_page(pfn));
    if ((flags & PG_lru) !== 0) cacheFrames.add(pfn);
    if ((flags & PG_private) !== 0) privateFrames.add(pfn);
  }
  withDump((core) => {
    for (const [name, [format, compress]] of Object.entries(FILES)) {
      const order = { format, ...(compress ? { compress } : {}) };
      const file = nodeFiles.create(fileOf(name));
      exportCore(core, new FileSink(file), order, planExport(core, order));
      file.close();
    }
  });
}, 120_000);

/** crash's answers to commands, one by one. */
function ask(name: string, ...commands: string[]): readonly string[] {
  const { code, answers } = crash(vmlinux, fileOf(name), commands);
  expect([name, code]).toEqual([name, 0]);
  return answers;
}

describe("crash", () => {
  test("opens all seven files, and sys, log, ps, tasks and memory are the same in each", (context) => {
    need(context, "crash");
    const questions = ["sys", "log", "ps", "set", `rd ${jiffiesPage.toString(16)} 64`, "rd -p 0 512"];
    const answers = NAMES.map((name) => ask(name, ...questions));
    const first = answers[0]!;
    expect(first[0]).toContain("RELEASE: 2.6.9-5.ELsmp");
    expect(first[0]).toMatch(/PANIC: "Kernel panic - not syncing: dumplab: crash injected"/);
    // The dump stops reading log_buf before the console's last lines.
    const lines = first[1]!.trim().split("\n");
    expect(lines.length).toBeGreaterThan(10);
    expect(first[1]).toContain("Kernel panic - not syncing: dumplab: crash injected");
    for (const line of lines) expect(log).toContain(line.trimEnd());
    expect(first[3]).toMatch(new RegExp(`COMMAND: "crasher"[^]*CPU: ${crashedCpu}\\b`));
    answers.forEach((theirs, index) => {
      const name = NAMES[index]!;
      theirs.forEach((answer, question) => {
        // The file's own name is in sys; LKCD's header has the panic's text without the prefix.
        const plain = (text: string): string =>
          text.replace(/DUMPFILE: .*/, "").replace('"Kernel panic - not syncing: ', '"');
        expect([name, questions[question], plain(answer)]).toEqual([
          name,
          questions[question],
          plain(first[question]!),
        ]);
      });
    });
  }, 120_000);

  test("finds the way to the panic in each of them", (context) => {
    need(context, "crash");
    const functionsOf = (text: string): string[] => [...text.matchAll(/^ *#\d+ \[\w+\] (\w+) at/gm)].map((m) => m[1]!);
    const traces = NAMES.map((name) => functionsOf(ask(name, "bt")[0]!));
    const whole = traces[0]!;
    expect(whole[0]).toBe("start_disk_dump");
    expect(whole).toEqual(expect.arrayContaining(["try_crashdump", "panic", "lkdtm_do_action", "crasher"]));
    NAMES.forEach((name, index) => {
      // LKCD's trace starts at the registers in its header, those of the panic's caller; the others' at the dumper.
      const trace = traces[index]!;
      if (!name.startsWith("lkcd")) expect([name, trace]).toEqual([name, whole]);
      else expect([name, trace]).toEqual([name, whole.slice(-trace.length)]);
      expect(trace.length).toBeGreaterThan(2);
    });
  }, 120_000);

  test.for(["elf", "kdump"])("tells the release of %s without a kernel", (name, context) => {
    need(context, "crash");
    expect(run("crash", ["--osrelease", fileOf(name)]).stdout).toBe("2.6.9-5.ELsmp\n");
  });
});

/** Contents of a file's pages in ranges of page frames. */
function contentsOf(path: string): { saved: readonly PageRange[]; pages: Map<number, string> } {
  const store = FileStore.open(path);
  const core = openCore(store);
  const pages = new Map<number, string>();
  for (const { first, count } of core.saved) {
    for (let pfn = first; pfn < first + count; pfn++) {
      const page = new Uint8Array(core.facts.pageSize);
      core.readPages(pfn, 1, page);
      pages.set(pfn, Buffer.from(page).toString("latin1"));
    }
  }
  store.close();
  return { saved: core.saved, pages };
}

describe("makedumpfile", () => {
  const convert = (args: readonly string[], from: string, to: string): string => {
    const path = join(folder, to);
    // It says of every kernel before 2.6.15 that it is not supported, and converts it.
    const { code, stdout, stderr } = run("makedumpfile", [...args, from, path]);
    expect(stdout + stderr).toContain("makedumpfile Completed.");
    expect(code).toBe(0);
    return path;
  };

  /** Our file of the trial's dump at a level. */
  const ours = (level: number): string =>
    withDump((core, memory) => {
      const path = join(folder, `ours.${level}`);
      const order = { format: "kdump", level, filter: new MemMapFilter(memory) } as const;
      const file = nodeFiles.create(path);
      exportCore(core, new FileSink(file), order, planExport(core, order));
      file.close();
      return path;
    });

  // Free pages are not in the list: makedumpfile 1.7.2 finds no memory node of a 2.6.9 kernel to look for them in.
  test.for([0, 1, 2, 4, 8, 15])(
    "at dump level %i leaves out the same pages as we do, and we read what it writes",
    (level, context) => {
      need(context, "makedumpfile");
      const theirs = contentsOf(convert(["-c", "-d", String(level)], fileOf("elf"), `theirs.${level}`));
      const mine = contentsOf(ours(level));
      expect(mine.saved).toEqual(theirs.saved);
      expect(pagesIn(mine.saved)).toBeGreaterThan(10_000);
      expect(mine.pages).toEqual(theirs.pages);
    },
  );

  test("makes the same core of our KDUMP file as of our ELF core", (context) => {
    need(context, "makedumpfile");
    const again = contentsOf(convert(["-c", "-d", "0"], fileOf("kdump"), "again.kdump"));
    expect(again).toEqual(contentsOf(fileOf("elf")));
    expect(again).toEqual(contentsOf(convert(["-E", "-d", "0"], fileOf("netdump"), "again.elf")));
  });
});

describe("readelf and elfutils", () => {
  test.for(["readelf", "eu-readelf"] as const)("%s reads a kdump core without a complaint", (program, context) => {
    need(context, program);
    const { code, stdout, stderr } = run(program, ["--all", fileOf("elf")]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).not.toMatch(/warning|corrupt|invalid/i);
    expect(stdout.match(/^ +LOAD /gm)).toHaveLength(4);
    // elfutils looks for notes in sections where there are any.
    if (program === "readelf") expect(stdout).toMatch(/VMCOREINFO/);
  });
});

describe("filtering by kind", () => {
  const kept = (level: number): Set<number> =>
    withDump((core, memory) => {
      const frames = new Set<number>();
      for (const { first, count } of new MemMapFilter(memory).keep(core.saved, level)) {
        for (let pfn = first; pfn < first + count; pfn++) frames.add(pfn);
      }
      return frames;
    });
  const all = (): Set<number> => kept(0);
  const leftOut = (level: number): number[] => {
    const frames = kept(level);
    return [...all()].filter((pfn) => !frames.has(pfn));
  };

  test("leaves out what the kernel had on its free lists, and nothing else", () => {
    const out = leftOut(FILTER.FREE);
    expect(out).toHaveLength(freeFrames);
    expect(out.length).toBeGreaterThan(5000);
    expect(out.some((pfn) => cacheFrames.has(pfn))).toBe(false);
  });

  test("leaves out the page cache, without or with private data", () => {
    expect(cacheFrames.size).toBeGreaterThan(0);
    expect(leftOut(FILTER.CACHE_PRIVATE)).toEqual([...cacheFrames]);
    expect(leftOut(FILTER.CACHE)).toEqual([...cacheFrames].filter((pfn) => !privateFrames.has(pfn)));
  });

  test("what level 31 keeps, crash still debugs", (context) => {
    need(context, "crash");
    withDump((core, memory) => {
      const order = { format: "kdump", level: 31, filter: new MemMapFilter(memory) } as const;
      const file = nodeFiles.create(fileOf("small"));
      exportCore(core, new FileSink(file), order, planExport(core, order));
      file.close();
    });
    expect(ask("small", "log", "bt", "ps")).toEqual(ask("kdump", "log", "bt", "ps"));
  }, 60_000);
});
