// Goal: the vmlinux that we write without a compiler is one to binutils, elfutils and gdb: symbols, types, call frames.
// Method: write it for small kernels, compare what the programs say with RAM, with the types, and with gcc's own DWARF.
import { createRequire } from "node:module";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test, type TestContext } from "vitest";
import { busyFor, cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { Machine } from "../../emulator/cpu/machine.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { ADDRESS_MAPS } from "../../kernel-sim/abi/address-maps.ts";
import { M, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { timer_list } from "../../kernel-sim/abi/structs/base.ts";
import { namedTypes } from "../../kernel-sim/abi/structs/index.ts";
import { runqueue } from "../../kernel-sim/abi/structs/sched.ts";
import { array, char, struct, uint, ulong } from "../../kernel-sim/abi/types.ts";
import { cSource } from "../../kernel-sim/abi/vmlinux/c-source.ts";
import { writeVmlinux } from "../../kernel-sim/abi/vmlinux/vmlinux.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import { K, Kernel } from "../../kernel-sim/core/kernel.ts";
import { LINUX_2_6_9 } from "../../kernel-sim/flavours/linux-2.6.9.ts";
import { instructionPointer, kfunc, moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { bootTestMachine } from "../../kernel-sim/core/testing.ts";
import { init_timer, mod_timer } from "../../kernel-sim/core/timer.ts";
import { gdb as runGdb, need, run } from "./programs.ts";

const scratch = mkdtempSync(join(tmpdir(), "vmlinux-"));
afterAll(() => rmSync(scratch, { recursive: true }));
const save = (name: string, bytes: Uint8Array): string => {
  const path = join(scratch, name);
  writeFileSync(path, bytes);
  return path;
};

type Platform = keyof typeof ADDRESS_MAPS;
const PLATFORMS = Object.keys(ADDRESS_MAPS) as Platform[];

/** A kernel that has an image and does not run: enough for a vmlinux of any platform. */
function imageOf(platform: Platform): Kernel {
  const memory = new PhysicalMemory(new PagePool(16 << 20, 64 << 20), [{ start: 0, end: 16 << 20, type: "ram" }]);
  const kernel = new Kernel({
    machine: new Machine({ cpus: 1, seed: 1, memory }),
    map: ADDRESS_MAPS[platform],
    release: "2.6.9-5.ELsmp",
    hz: 1000,
    flavour: LINUX_2_6_9,
    bootArguments: { panicTimeoutSeconds: 0, panicOnOops: false, nmiWatchdog: false },
  });
  const banner = kernel.static("linux_banner", array(char, 256), "rodata");
  M.u8.set(Buffer.from("Linux version 2.6.9-5.ELsmp (build@dumplab)\n"), banner);
  kernel.static("jiffies", ulong);
  kernel.static("irq_table", array(array(uint, 3), 5));
  kernel.staticBytes("untyped", 24, 8);
  return kernel;
}

/** What gdb says on stdout; it must have nothing to complain about. */
function gdb(program: string, core: string | undefined, ...commands: string[]): string {
  const { stdout, stderr } = runGdb(core === undefined ? { program } : { program, core }, ...commands);
  expect(stderr).toBe("");
  return stdout;
}

describe.each(PLATFORMS)("of %s", (platform) => {
  const kernel = imageOf(platform);
  const path = save(`vmlinux-${platform}`, writeVmlinux(kernel));
  const { model, kernelMap } = ADDRESS_MAPS[platform];

  test("readelf reads all of it without a complaint", (context) => {
    need(context, "readelf");
    const all = run("readelf", ["--all", "--wide", "--debug-dump=info,abbrev,frames", path]);
    expect([all.code, all.stderr]).toEqual([0, ""]);
    expect(all.stdout).not.toMatch(/warning: |error: |corrupt|DW_\w+ value: [1-9]/i);
    expect(all.stdout).toMatch(/Type: +EXEC/);
    expect(all.stdout).toMatch(model.littleEndian ? /Data: .*little endian/ : /Data: .*big endian/);
    expect(all.stdout).toContain(model.wordBytes === 8 ? "ELF64" : "ELF32");
    for (const section of [".text", ".rodata", ".data"]) {
      expect(all.stdout).toMatch(new RegExp(`\\${section} +PROGBITS +[0-9a-f]*[1-9a-f]`));
    }
  });

  test("elflint finds nothing against the standard", (context) => {
    need(context, "eu-elflint");
    expect(run("eu-elflint", [path])).toEqual({ code: 0, stdout: "No errors\n", stderr: "" });
  });

  test("nm lists every symbol of the image at its virtual address with its letter", (context) => {
    need(context, "nm");
    const { stdout, stderr } = run("nm", [path]);
    expect(stderr).toBe("");
    const listed = stdout.trim().split("\n");
    const expected = [...kernel.symbols.values()].map(({ name, addr, letter }) => {
      const value = (kernelMap + BigInt(addr)).toString(16).padStart(model.wordBytes * 2, "0");
      return `${value} ${letter} ${name}`;
    });
    expect(listed).toEqual(expect.arrayContaining(expected));
    const added = listed.filter((line) => !expected.includes(line)).map((line) => line.replace(/^\w+ /, ""));
    expect(added.sort()).toEqual([
      "D _edata",
      "D _end",
      "T _einittext",
      "T _etext",
      "T _sinittext",
      "T _stext",
      "T _text",
      "T error_exit",
      "T thread_return",
    ]);
  });

  test("the contents of .text and .rodata are RAM's, those of .data zeroes; elfy agrees on where they are", () => {
    interface ElfySection {
      readonly name: string;
      readonly addr: number;
      readonly data: Buffer;
    }
    const elfy = createRequire(import.meta.url)("elfy") as {
      parse(bytes: Buffer): { entry: number; body: { sections: ElfySection[] } };
    };
    const { body } = elfy.parse(readFileSync(path));
    kernel.enter();
    const section = (name: string): Buffer => body.sections.find((s) => s.name === name)!.data;
    const { text, rodata } = kernel.sections;
    expect(section(".text").equals(Buffer.from(M.u8.subarray(text, text + section(".text").length)))).toBe(true);
    expect(section(".text").length).toBeGreaterThan(1000);
    expect(section(".rodata").equals(Buffer.from(M.u8.subarray(rodata, rodata + section(".rodata").length)))).toBe(
      true,
    );
    expect(section(".rodata").toString("latin1")).toContain("Linux version 2.6.9-5.ELsmp");
    expect(section(".data").every((byte) => byte === 0)).toBe(true);
  });
});

test.for(["x86_64", "i386"] as const)(
  "gdb says of every struct of %s what it says of gcc's DWARF for the same C",
  (platform, context) => {
    need(context, "gdb");
    need(context, "gcc");
    const path = save(`types-${platform}`, writeVmlinux(imageOf(platform)));
    const object = join(scratch, `${platform}.o`);
    const types = namedTypes(platform).map((type) => {
      const keyword =
        type.kind === "struct" ? (type.union ? "union " : "struct ") : type.kind === "enum" ? "enum " : "";
      return `${keyword}${type.name}`;
    });
    // A use of each type keeps gcc from leaving it out.
    const uses = types.map((type, i) => `${type} *use${i};`).join("\n");
    const flag = platform === "i386" ? "-m32" : "-m64";
    const source = `${cSource(namedTypes(platform))}\n${uses}\n`;
    expect(run("gcc", [flag, "-g", "-w", "-c", "-o", object, "-x", "c", "-"], source)).toMatchObject({
      code: 0,
      stderr: "",
    });
    const questions = types.flatMap((type) => [`ptype /o ${type}`, `whatis ${type}`]);
    // gcc spells the basic types in its own order of words.
    const spelled = gdb(object, undefined, ...questions)
      .replace(/\b(long long|long|short) unsigned int\b/g, "unsigned $1")
      .replace(/\b(long long|long|short) int\b/g, "$1");
    const ours = gdb(path, undefined, ...questions);
    expect(ours.length).toBeGreaterThan(5000);
    expect(ours.split("\n")).toEqual(spelled.split("\n"));
  },
);

test("gdb prints static objects by type, and names functions", (context) => {
  need(context, "gdb");
  const kernel = imageOf("x86_64");
  const path = save("vmlinux-objects", writeVmlinux(kernel));
  const at = (name: string): string => `0x${virtualOf(kernel.symbol(name)).toString(16)}`;
  const said = gdb(
    path,
    undefined,
    ...["p &jiffies", "whatis irq_table", "p sizeof(struct task_struct)", "p (char *) linux_banner"],
    ...["info address schedule", "whatis untyped", "p PIDTYPE_MAX"],
  );
  expect(said.split("\n")).toEqual([
    `$1 = (unsigned long *) ${at("jiffies")} <jiffies>`,
    "type = unsigned int [5][3]",
    `$2 = ${kernel.sizeOf(namedTypes("x86_64").find((type) => type.name === "task_struct")!)}`,
    `$3 = ${at("linux_banner")} <linux_banner> "Linux version 2.6.9-5.ELsmp (build@dumplab)\\n"`,
    `Symbol "schedule" is at ${at("schedule")} in a file compiled without debugging.`,
    "type = <data variable, no debug info>",
    "$4 = PIDTYPE_MAX",
    "",
  ]);
});

test("call frames follow a function from its first instruction to its last", (context) => {
  need(context, "readelf");
  const kernel = imageOf("x86_64");
  const { stdout } = run("readelf", [
    "--wide",
    "--debug-dump=frames-interp",
    save("vmlinux-cfi", writeVmlinux(kernel)),
  ]);
  const start = virtualOf(kernel.symbol("schedule"));
  const entry = stdout.split("\n\n").find((text) => text.includes(`pc=${start.toString(16)}..`))!;
  const rows = entry
    .split("\n")
    .filter((line) => /^f{8}/.test(line))
    .map((line) => line.trim().split(/\s+/));
  const offset = (row: readonly string[]): number => Number(BigInt(`0x${row[0]}`) - start);
  // push rbp; mov rbp, rsp; ...; leave; ret: what the text in RAM says, too.
  expect(rows.map((row) => [offset(row), ...row.slice(1)])).toEqual([
    [0, "rsp+8", "u", "c-8"],
    [1, "rsp+16", "c-16", "c-8"],
    [4, "rbp+16", "c-16", "c-8"],
    [63, "rsp+8", "u", "c-8"],
  ]);
  const text = kernel.symbol("schedule");
  expect([...M.u8.subarray(text, text + 4)]).toEqual([0x55, 0x48, 0x89, 0xe5]);
  expect([...M.u8.subarray(text + 62, text + 64)]).toEqual([0xc9, 0xc3]);
});

describe("what is written", () => {
  test("depends on the image alone: twice gives the same bytes, and RAM stays as it was", () => {
    const kernel = imageOf("x86_64");
    const before = M.u8.slice(0, 8 << 20);
    expect(Buffer.compare(writeVmlinux(kernel), writeVmlinux(kernel))).toBe(0);
    expect(Buffer.compare(M.u8.subarray(0, 8 << 20), before)).toBe(0);
  });

  test("per-CPU variables get a section and its labels", (context) => {
    need(context, "readelf");
    const kernel = imageOf("x86_64");
    const first = kernel.static("per_cpu__runqueues", runqueue);
    const last = kernel.static("per_cpu__kstat", ulong);
    kernel.static("after", uint);
    const { stdout } = run("readelf", ["-SsW", save("vmlinux-percpu", writeVmlinux(kernel))]);
    const start = virtualOf(first).toString(16);
    expect(stdout).toMatch(
      new RegExp(`\\.data\\.percpu +PROGBITS +${start} [0-9a-f]+ 0*${(last + 8 - first).toString(16)} `),
    );
    expect(stdout).toMatch(new RegExp(`${start} +0 NOTYPE +GLOBAL DEFAULT +\\d+ __per_cpu_start`));
    expect(stdout).toMatch(
      new RegExp(`${virtualOf(last + 8).toString(16)} +0 NOTYPE +GLOBAL DEFAULT +\\d+ __per_cpu_end`),
    );
    kernel.static("per_cpu__late", uint);
    expect(() => writeVmlinux(kernel)).toThrow("vmlinux: after lies between per-CPU variables");
  });

  test("types of drivers come along when they are given", (context) => {
    need(context, "gdb");
    const MPT_ADAPTER = struct("_MPT_ADAPTER", { id: uint, name: array(char, 32) });
    const path = save("vmlinux-driver", writeVmlinux(imageOf("x86_64"), { types: [MPT_ADAPTER] }));
    expect(gdb(path, undefined, "ptype struct _MPT_ADAPTER")).toContain("char name[32];");
  });

  test("variables of modules, which lie in memory that boot handed out, are at home with their modules", (context) => {
    need(context, "nm");
    need(context, "gdb");
    const kernel = bootTestMachine({ cpus: 1 });
    const addr = kernel.bootmem(8);
    kernel.symbols.set("module_variable", { name: "module_variable", addr, size: 4, letter: "D", type: uint });
    kernel.modules.load("vmlinux_test_driver", 64);
    const said = (modules: boolean): string =>
      gdb(save(`vmlinux-bss-${modules}`, writeVmlinux(kernel, { modules })), undefined, "info address module_variable");
    expect(said(true)).toContain(`static storage at address 0x${virtualOf(addr).toString(16)}`);
    const known = run("nm", [save("vmlinux-bss", writeVmlinux(kernel, { modules: true }))]).stdout;
    expect(known).not.toContain("module_variable");
  });

  test("a symbol outside the image is an error that names it", () => {
    const kernel = imageOf("x86_64");
    kernel.symbols.set("stray", { name: "stray", addr: 0x800, size: 4, letter: "D" });
    expect(() => writeVmlinux(kernel)).toThrow("vmlinux: stray (0x800) lies outside the kernel image");
  });
});

// ---- backtraces ------------------------------------------------------------------------------------------------------

/** Where the running CPU is: what an NMI would save. */
const registersNow = (): { rip: bigint; rsp: bigint; rbp: bigint } => ({
  rip: virtualOf(instructionPointer(cpu.functionId)),
  rsp: virtualOf(cpu.sp),
  rbp: virtualOf(cpu.fp),
});

/** An ELF core of the flat window, with the registers of the running CPU: the least that gdb wants. */
function coreOfNow(): Uint8Array {
  const { imageStart, imageEnd, moduleStart, moduleEnd } = K.ranges;
  const top = K.machine.memory.flatBytes;
  const loads = [
    { address: K.map.kernelMap + BigInt(imageStart), start: imageStart, end: imageEnd },
    { address: K.map.moduleBase, start: moduleStart, end: moduleEnd },
    { address: K.map.pageOffset, start: 0, end: top },
  ];
  const note = Buffer.alloc(20 + 336);
  note.set([5, 0, 0, 0, 336 & 255, 336 >> 8, 0, 0, 1, 0, 0, 0, 0x43, 0x4f, 0x52, 0x45]);
  const { rip, rsp, rbp } = registersNow();
  // elf_prstatus: pr_pid at 32, pr_reg (r15 r14 r13 r12 rbp ... rip cs eflags rsp ss ...) at 112.
  note.writeInt32LE(1, 20 + 32);
  for (const [index, value] of [[4, rbp] as const, [16, rip] as const, [17, 0x10n] as const, [19, rsp] as const]) {
    note.writeBigUInt64LE(value, 20 + 112 + 8 * index);
  }
  const head = Buffer.alloc(4096);
  head.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  head.set([4, 0, 62, 0, 1], 16);
  head.writeBigUInt64LE(64n, 32);
  head.set([64, 0, 56, 0, 1 + loads.length, 0], 52);
  const program = (i: number, type: number, offset: number, address: bigint, physical: number, size: number): void => {
    const at = 64 + 56 * i;
    head.set([type, 0, 0, 0, 7], at);
    [BigInt(offset), address, BigInt(physical), BigInt(size), BigInt(size), type === 1 ? 4096n : 4n].forEach(
      (value, field) => head.writeBigUInt64LE(value, at + 8 + 8 * field),
    );
  };
  program(0, 4, 1024, 0n, 0, note.length);
  head.set(note, 1024);
  let at = head.length;
  loads.forEach(({ address, start, end }, i) => {
    program(i + 1, 1, at, address, start, end - start);
    at += end - start;
  });
  return Buffer.concat([head, ...loads.map(({ start, end }) => M.u8.slice(start, end))]);
}

let core: Uint8Array | undefined;
/** Takes the core where it is called, and ends the run. */
function* stopHere(): Generator<void, void, void> {
  core = coreOfNow();
  K.machine.stopReason = "core taken";
  yield;
}

const poll = moduleFunctions("vmlinux_test_driver")("test_driver_poll", stopHere);
const scsi = kfunc("test_scsi_dump", function* () {
  yield* poll();
});
const program = kfunc("test_sys_write", function* () {
  yield* scsi();
});
const timerFunction = kfunc("test_timer_function", stopHere);
const busy = kfunc("test_busy", function* () {
  for (let i = 0; i < 1000; i++) yield* busyFor(100_000);
});
const interrupted = kfunc("test_sys_read", function* () {
  const timer = init_timer(K.bootmem(K.sizeOf(timer_list)), "test timer", timerFunction);
  yield* mod_timer(timer, K.time.jiffies + 3);
  yield* busy();
});
const dumper = kfunc("test_disk_dump", stopHere);
const struck = kfunc("test_sys_fsync", function* () {
  K.crashdump.diskdump = function* (): Generator<void, number, void> {
    yield* dumper();
    return 0;
  };
  K.machine.land(cpu, { kind: "nmi", reason: "switch" }, cpu.clock + 250_000);
  yield* busy();
});

describe("a backtrace in gdb", () => {
  /** The functions of `bt`, innermost first. */
  function backtrace(context: TestContext, start: () => Running, modules: boolean): string[] {
    need(context, "gdb");
    const kernel = bootTestMachine({ cpus: 1 });
    kernel.modules.load("vmlinux_test_driver", 64);
    const path = save("vmlinux-bt", writeVmlinux(kernel, { modules }));
    core = undefined;
    runKernel(kernel, start);
    expect(core, "the program got where it takes the core").toBeDefined();
    const said = gdb(path, save("core-bt", core!), "bt -frame-arguments none");
    expect(said).not.toMatch(/corrupt|cannot|stopped/i);
    // gdb says where it is before it is asked.
    const lines = said.split("\n").filter((line) => line.startsWith("#"));
    return lines.slice(1).map((line) => (/ in ([\w.?]+) \(\)/.exec(line) ?? /(<.*>)/.exec(line))?.[1] ?? line);
  }

  test("goes through frames of the kernel and of a module, and ends where the task began", (context) => {
    expect(backtrace(context, program, true)).toEqual([
      ...["test_driver_poll", "test_scsi_dump", "test_sys_write", "system_call"],
    ]);
  });

  test("needs no symbols of the module to get past it", (context) => {
    expect(backtrace(context, program, false)).toEqual(["??", "test_scsi_dump", "test_sys_write", "system_call"]);
  });

  test("goes from the interrupt stack to what was interrupted", (context) => {
    const frames = backtrace(context, interrupted, false);
    expect(frames[0]).toBe("test_timer_function");
    expect(frames).toContain("run_timer_softirq");
    expect(frames.slice(frames.indexOf("<signal handler called>"))).toEqual([
      ...["<signal handler called>", "test_busy", "test_sys_read", "system_call"],
    ]);
  });

  test("goes from the NMI stack to what was interrupted", (context) => {
    expect(backtrace(context, struck, false)).toEqual([
      ...["test_disk_dump", "try_crashdump", "die", "die_nmi", "<signal handler called>"],
      ...["test_busy", "test_sys_fsync", "system_call"],
    ]);
  });
});
