// Goal: the vmcore and vmlinux of a whole trial are what an analyst of the field expects: readelf, elfutils, gdb, makedumpfile,
// crash and elfy read them, and find what was in the simulated RAM. Method: trials that die in different ways; each program is
// asked for contents that the kernel itself recorded (pt_regs, call trace, log), and must have nothing to complain about.
import { createRequire } from "node:module";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StructBytes } from "../../diskdump/format/struct-bytes.ts";
import { readElfCore } from "../../diskdump/userspace/elf-core.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { M, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { pt_regs } from "../../kernel-sim/abi/structs/registers.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { gdb, need, run } from "./programs.ts";
import { shows } from "../features/feature.ts";

const folder = mkdtempSync(join(tmpdir(), "trial-vmcore-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Ways to die, and the functions that a backtrace must show after what the kernel printed itself. */
const DEATHS = {
  init: { scenario: "learn", overrides: [] },
  panic: { scenario: "panic", overrides: [] },
  /** kernel BUG in the middle of a read(): the deepest stack. */
  bug: { scenario: "bug", overrides: [] },
  hardirq: { scenario: "panic-in-hardirq", overrides: [] },
  /** NMI in the driver's interrupt handler; the driver is a module, and vmlinux has no symbols of it. */
  driver: {
    scenario: "nmi-switch",
    overrides: ['crash.at={"function":{"name":"mptscsih_io_done","count":20}}'],
  },
} as const;
type Death = keyof typeof DEATHS;
const NAMES = Object.keys(DEATHS) as Death[];

/** What a trial left: two files, and what its RAM said while it was there. */
interface Remains {
  readonly vmcore: string;
  readonly vmlinux: string;
  readonly record: TrialRecord;
  /** The pt_regs that the kernel left of the crash. */
  readonly registers: ReadonlyMap<string, bigint>;
  /** When the dump began to write memory, and when it had written all of it: the dump keeps the time itself. */
  readonly jiffies: readonly bigint[];
  readonly release: string;
  /** The text in log_buf. */
  readonly log: string;
  /** "Call Trace" of the oops, innermost first; empty when it printed none. */
  readonly callTrace: readonly string[];
  /** The crashed CPU's task: address of its task_struct, pid, name. */
  readonly task: { readonly address: bigint; readonly pid: number; readonly comm: string };
  /** Kernel text and read-only data, and where they are. */
  readonly text: { readonly start: bigint; readonly end: bigint; readonly bytes: Buffer };
  /** Physical address of the pt_regs on the crashed CPU's exception stack; 0 when it was not used. */
  readonly nmiRegisters: number;
}

function textAt(address: number, end: number): string {
  const bytes = Buffer.from(M.u8.subarray(address, end));
  return bytes.toString("latin1", 0, bytes.indexOf(0) < 0 ? bytes.length : bytes.indexOf(0));
}

const wordAt = (symbol: string): bigint => BigInt(K.machine.memory.read64(K.symbol(symbol)));

function die(name: Death): Remains {
  const { scenario, overrides } = DEATHS[name];
  const jiffies: bigint[] = [];
  const result = runTrial(loadScenario(scenario, overrides), 1, {
    onPhase: (phase) => {
      if (phase === "dump memory" || phase === "dump completion") jiffies.push(wordAt("jiffies"));
    },
  });
  // By these names and in this order: gdb complains of a program that has another name than the core says, or is newer.
  const [vmcore, vmlinux] = [join(folder, name, "vmcore"), join(folder, name, "vmlinux")];
  mkdirSync(join(folder, name));
  result.writeVmlinux(vmlinux);
  result.writeVmcore(vmcore);
  const { crash } = K;
  if (!crash) throw new Error(`${name}: no crash`);
  const at = (symbol: string): number => K.symbol(symbol);
  const saved = new StructBytes(
    pt_regs.x86_64,
    K.map.model,
    M.u8.slice(crash.regs, crash.regs + K.sizeOf(pt_regs.x86_64)),
  );
  const { current, nmiRegs } = K.percpu[crash.cpu]!;
  const { text, data } = K.sections;
  const logEnd = M.u32[at("log_end") >>> 2]!;
  const trace = result.console.map((line) => line.text).find((line) => line.startsWith("Call Trace:")) ?? "";
  return {
    ...{ vmcore, vmlinux, jiffies, record: result.record },
    registers: new Map(Object.keys(pt_regs.x86_64.fields).map((field) => [field, saved.getBig(field)])),
    release: textAt(at("system_utsname") + 2 * 65, at("system_utsname") + 3 * 65),
    log: Buffer.from(M.u8.subarray(at("__log_buf"), at("__log_buf") + logEnd)).toString("latin1"),
    callTrace: [...trace.matchAll(/\{(\w+)\+/g)].map((match) => match[1]!),
    task: { address: virtualOf(current.addr), pid: current.pid, comm: current.comm },
    text: { start: virtualOf(text), end: virtualOf(data), bytes: Buffer.from(M.u8.subarray(text, data)) },
    nmiRegisters: nmiRegs,
  };
}

const remains = new Map<Death, Remains>();
beforeAll(() => {
  for (const name of NAMES) remains.set(name, die(name));
}, 120_000);
const of = (name: Death): Remains => remains.get(name)!;

const COMPLAINT = /warning|error|corrupt|cannot|invalid|no such|failed|\?\?\?/i;
/** Answers to one gdb session that must not complain. */
function ask(name: Death, ...commands: string[]): string {
  const { stdout, stderr } = gdb({ program: of(name).vmlinux, core: of(name).vmcore }, ...commands);
  expect(stderr).toBe("");
  expect(stdout).not.toMatch(COMPLAINT);
  expect(stdout).toContain(`Core was generated by \`vmlinux ${of(name).release}'.`);
  return stdout;
}

test("the trials end with a complete dump, or nothing below means anything", () => {
  expect(NAMES.map((name) => [name, of(name).record.outcome])).toEqual(NAMES.map((name) => [name, "complete"]));
});

describe.each(NAMES)("the vmcore of a death by %s", (name) => {
  test("readelf reads all of it without a complaint; program headers follow at 64", (context) => {
    need(context, "readelf");
    const { code, stdout, stderr } = run("readelf", ["--all", "--wide", of(name).vmcore]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).not.toMatch(COMPLAINT);
    expect(stdout).toMatch(/Start of program headers: +64 /);
    expect(stdout).toMatch(/Type: +CORE/);
    for (const note of ["NT_PRSTATUS (prstatus structure)", "NT_PRPSINFO (prpsinfo structure)", "NT_TASKSTRUCT"]) {
      expect(stdout).toContain(note);
    }
    // 0-640 KiB and 1-64 MiB, in the direct map and as the kernel image.
    const loads = [...stdout.matchAll(/^ +LOAD +\S+ (\S+) (\S+) (\S+) (\S+)/gm)].map((match) => match.slice(1, 5));
    const [low, high] = ["0x00000000000a0000", "0x0000000003f00000"].map((size) => BigInt(size));
    expect(loads.map((load) => load.map(BigInt))).toEqual([
      [0x10000000000n, 0n, low, low],
      [0x10000100000n, 0x100000n, high, high],
      [0xffffffff80000000n, 0n, low, low],
      [0xffffffff80100000n, 0x100000n, high, high],
    ]);
  });

  test("elfutils reads all of it without a complaint", (context) => {
    need(context, "eu-readelf");
    const { code, stdout, stderr } = run("eu-readelf", ["--all", of(name).vmcore]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout).toMatch(/Type: +CORE/);
    expect(stdout).toMatch(/Start of program headers: +64 /);
    expect(stdout.match(/^ +LOAD /gm)).toHaveLength(4);
  });

  test("gdb shows the registers that the kernel saved when it died", (context) => {
    shows(context, "diskdump", "analysis tools", "gdb");
    need(context, "gdb");
    const shown = new Map(
      [...ask(name, "info registers").matchAll(/^([a-z0-9_]+) +(0x[0-9a-f]+)/gm)].map((m) => [m[1]!, BigInt(m[2]!)]),
    );
    const saved = [...of(name).registers].filter(([register]) => register !== "orig_rax");
    expect(saved.length).toBe(20);
    expect(saved.map(([register]) => [register, shown.get(register)])).toEqual(saved);
    expect(shown.get("rip")).not.toBe(0n);
    expect(shown.get("cs")).toBe(0x10n);
  });
});

describe("gdb", () => {
  /** The functions of `bt`, innermost first; what has no symbol is "??". */
  function backtrace(name: Death): string[] {
    const said = ask(name, "echo backtrace\\n", "bt -frame-arguments none");
    return said
      .slice(said.indexOf("backtrace\n"))
      .split("\n")
      .filter((line) => line.startsWith("#"))
      .map((line) => (/ in ([\w.?]+) \(\)/.exec(line) ?? /(<.*>)/.exec(line))?.[1] ?? line);
  }

  test("finds the panicking CPU where the kernel says that it died", (context) => {
    need(context, "gdb");
    for (const name of ["init", "bug"] as const) {
      const { record } = of(name);
      expect(backtrace(name)[0]).toBe(record.crash!.function);
      expect(record.crash!.function).toMatch(/^\w+$/);
    }
  });

  test("goes from panic() to the start of the process that called it", (context) => {
    need(context, "gdb");
    expect(backtrace("panic")).toEqual(["panic", "lkdtm_do_action", "crasher", "system_call"]);
  });

  test("shows the whole path of a BUG under a read(), as the oops on the console has it", (context) => {
    need(context, "gdb");
    const { callTrace, record } = of("bug");
    expect(callTrace).toEqual(expect.arrayContaining(["scsi_dispatch_cmd", "__make_request", "submit_bio"]));
    expect(backtrace("bug")).toEqual([record.crash!.function, ...callTrace]);
  });

  test("goes from a panic in an interrupt handler to what was interrupted", (context) => {
    need(context, "gdb");
    const frames = backtrace("hardirq");
    expect(frames.slice(0, 3)).toEqual(["panic", "lkdtm_do_action", "<signal handler called>"]);
    expect(frames.length).toBeGreaterThan(4);
    expect(frames.at(-1)).toBe("startup_64");
  });

  test("names the frames of a module, and gets through them to the kernel that called it", (context) => {
    need(context, "gdb");
    const { registers, callTrace } = of("driver");
    expect(registers.get("rip")! >> 24n).toBe(0xffffffffa0n);
    expect(callTrace[0]).toBe("mpt_interrupt");
    expect(backtrace("driver").slice(0, 5)).toEqual([
      ...["mptscsih_io_done", "mpt_interrupt", "handle_IRQ_event", "do_IRQ", "<signal handler called>"],
    ]);
    expect(backtrace("driver").at(-1)).toBe("startup_64");
  });

  test("finds the way from INIT to the dump on the exception stack, in order", (context) => {
    need(context, "gdb");
    const { nmiRegisters } = of("init");
    // Frames of two words below the pt_regs, each with the return address into its caller.
    const lowest = 0x10000000000n + BigInt(nmiRegisters - 4 * 16);
    const said = ask("init", `x/8ga 0x${lowest.toString(16)}`);
    const callers = [...said.matchAll(/<(\w+)\+\d+>/g)].map((match) => match[1]!).filter((f) => f !== "default_idle");
    expect(callers).toEqual(["try_crashdump", "die", "ia64_init_handler", "nmi"]);
  });

  test("prints the kernel's variables as they stood in RAM", (context) => {
    need(context, "gdb");
    const { jiffies, release, record, task, log } = of("panic");
    const cpu = record.crash!.cpu;
    const said = ask(
      "panic",
      "set print elements 0",
      ...["output jiffies", "echo \\n", "output (char *) system_utsname.release", "echo \\n"],
      ...[`output cpu_pda[${cpu}].cpunumber`, "echo \\n", `output/x cpu_pda[${cpu}].pcurrent`, "echo \\n"],
      ...[`output ((struct task_struct *) cpu_pda[${cpu}].pcurrent)->pid`, "echo \\n"],
      ...[`output (char *) ((struct task_struct *) cpu_pda[${cpu}].pcurrent)->comm`, "echo \\n"],
      ...["output log_end", "echo \\n", 'printf "%s", log_buf'],
    );
    const answers = said.slice(said.lastIndexOf("\n#0") + 1).split("\n");
    const [, jiffiesShown, releaseShown, number, current, pid, comm, logEnd, ...logShown] = answers;
    const [before, after] = jiffies;
    expect(BigInt(jiffiesShown!)).toBeGreaterThanOrEqual(before!);
    expect(BigInt(jiffiesShown!)).toBeLessThanOrEqual(after!);
    expect(releaseShown).toMatch(new RegExp(`^0xffffffff8[0-9a-f]+ <system_utsname\\+130> "${release}"$`));
    expect(release).toBe("2.6.9-5.ELsmp");
    expect([number, current]).toEqual([String(cpu), `0x${task.address.toString(16)}`]);
    expect(pid).toBe(String(task.pid));
    expect(comm).toContain(`"${task.comm}"`);
    expect(task.comm).toBe("crasher");
    // The dump stops reading log_buf before it has ended: what the core has is how RAM's text begins.
    const inCore = logShown.join("\n").slice(0, Number(logEnd));
    expect(log.startsWith(inCore)).toBe(true);
    expect(inCore).toContain("Kernel panic - not syncing: dumplab: crash injected\n");
    expect(inCore).toContain("total blocks required: 16292 (header 3 + bitmap 1 + memory 16288)");
  });

  test("dumps kernel text and read-only data as RAM has them", (context) => {
    need(context, "gdb");
    const { start, end, bytes } = of("init").text;
    const file = join(folder, "text");
    // Without the program: sections that cannot be written are read from it, not from the core.
    const { stderr } = gdb({ core: of("init").vmcore }, `dump binary memory ${file} ${start} ${end}`);
    expect(stderr).toBe("");
    expect(bytes.length).toBeGreaterThan(500_000);
    expect(readFileSync(file).equals(bytes)).toBe(true);
  });
});

describe("makedumpfile", () => {
  test("makes an ELF file with the same memory of it", (context) => {
    need(context, "makedumpfile");
    const copy = join(folder, "copy.elf");
    const args = ["--message-level", "0", "-E", "-d", "0", of("init").vmcore, copy];
    const { code, stdout, stderr } = run("makedumpfile", args);
    expect([code, stdout, stderr]).toEqual([0, "", ""]);
    const ours = memoryOf(of("init").vmcore);
    const theirs = memoryOf(copy);
    expect([...theirs.keys()]).toEqual(expect.arrayContaining([...ours.keys()]));
    for (const [physical, bytes] of ours) expect(theirs.get(physical)!.equals(bytes), `at ${physical}`).toBe(true);
    rmSync(copy);
  });
});

/** The contents of the first PT_LOAD at each physical address. */
function memoryOf(path: string): Map<number, Buffer> {
  const store = FileStore.open(path);
  const { segments } = readElfCore(store);
  store.close();
  const file = readFileSync(path);
  const memory = new Map<number, Buffer>();
  for (const { type, physical, fileOffset, fileBytes } of segments) {
    if (type === "PT_LOAD" && !memory.has(physical)) {
      memory.set(physical, file.subarray(fileOffset, fileOffset + fileBytes));
    }
  }
  return memory;
}

describe("crash", () => {
  test("takes the vmcore for netdump's, with the task that crashed", (context) => {
    need(context, "crash");
    // Without a vmlinux that has all that crash wants it goes no further; debug level 1 prints what it made of the file.
    const { stdout, stderr } = run("crash", ["-d1", "/bin/true", of("panic").vmcore]);
    const out = stdout + stderr;
    expect(out).toContain("NETDUMP_LOCAL|NETDUMP_ELF64");
    expect(out).toMatch(/num_pt_load_segments: 4\b/);
    expect(out).toContain(`task_struct: ${of("panic").task.address.toString(16)}`);
  });
});

describe("elfy", () => {
  interface Program {
    readonly type: string;
    readonly paddr: number;
    readonly data: Buffer;
  }
  const elfy = createRequire(import.meta.url)("elfy") as {
    parse(file: Buffer): { type: string; class: string; phoff: number; body: { programs: Program[] } };
  };

  test("parses it, and finds the kernel's text where the program headers say", () => {
    const { start, bytes } = of("init").text;
    const parsed = elfy.parse(readFileSync(of("init").vmcore));
    expect([parsed.type, parsed.class, parsed.phoff]).toEqual(["core", "64", 64]);
    expect(parsed.body.programs.map(({ type }) => type)).toEqual(["note", "load", "load", "load", "load"]);
    const image = parsed.body.programs[4]!;
    const offset = Number(start - 0xffffffff80100000n);
    expect(image.data.subarray(offset, offset + bytes.length).equals(bytes)).toBe(true);
  });
});
