// Goal: an analyst with gdb-multiarch finds a crash on i386 and on ppc64 (big-endian) as on x86_64. Method: trials that die in
// three ways on each; back trace and registers must be those that the kernel left in RAM, with the struct and the memory layout
// of that architecture. ia64 has no reader here: gdb-multiarch 13 opens its cores and finds no registers in them.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { StructBytes } from "../../diskdump/format/struct-bytes.ts";
import { M, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { CONTEXT_REGISTERS, pt_regs } from "../../kernel-sim/abi/structs/registers.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { gdbMultiarch, need } from "./programs.ts";

const folder = mkdtempSync(join(tmpdir(), "platforms-"));
afterAll(() => rmSync(folder, { recursive: true }));

const PLATFORMS = ["i386", "ppc64"] as const;
const DEATHS = ["panic", "panic-in-hardirq", "bug"] as const;

interface Remains {
  readonly vmcore: string;
  readonly vmlinux: string;
  readonly outcome: string;
  /** The pt_regs of the crash: integer fields by name; of an array, element n as name + n. */
  readonly registers: ReadonlyMap<string, bigint>;
  readonly current: { readonly address: bigint; readonly pid: number };
}

function die(platform: (typeof PLATFORMS)[number], scenario: string): Remains {
  const result = runTrial(loadScenario(scenario, [`platform=${platform}`]), 3, {});
  const place = join(folder, `${platform}-${scenario}`);
  mkdirSync(place);
  const [vmcore, vmlinux] = [join(place, "vmcore"), join(place, "vmlinux")];
  result.writeVmlinux(vmlinux);
  result.writeVmcore(vmcore);
  const { regs, cpu } = K.crash!;
  const type = pt_regs[platform];
  const saved = new StructBytes(type, K.map.model, M.u8.slice(regs, regs + K.sizeOf(type)));
  const registers = new Map<string, bigint>();
  for (const [name, field] of Object.entries(type.fields)) {
    const { length } = field.kind === "array" ? field : { length: 1 };
    for (let i = 0; i < length; i++)
      registers.set(
        length > 1 ? `${name}${i}` : name,
        BigInt.asUintN(K.map.model.wordBytes * 8, saved.getBig(name, i)),
      );
  }
  const { current } = K.percpu[cpu]!;
  return {
    ...{ vmcore, vmlinux, registers, outcome: result.record.outcome },
    current: { address: virtualOf(current.addr), pid: current.pid },
  };
}

/** gdb's name of a pt_regs field, where it is another. */
const GDB_NAMES: Readonly<Record<string, string>> = {
  ...{ xcs: "cs", xss: "ss", xds: "ds", xes: "es", nip: "pc", link: "lr", ccr: "cr", orig_gpr3: "orig_r3" },
  ...Object.fromEntries(Array.from({ length: 32 }, (_, i) => [`gpr${i}`, `r${i}`])),
};
/** What no register of gdb stands for. */
const UNSHOWN = ["orig_eax", "softe", "dar", "dsisr", "result"];

describe.each(PLATFORMS)("gdb-multiarch and a %s kernel", (platform) => {
  const remains = new Map<string, Remains>();
  beforeAll(() => {
    for (const scenario of DEATHS) remains.set(scenario, die(platform, scenario));
  }, 120_000);

  /** Answers to one session that must not complain. */
  function ask(scenario: string, ...commands: string[]): string {
    const { vmcore, vmlinux, outcome } = remains.get(scenario)!;
    expect(outcome).toBe("complete");
    const { stdout, stderr } = gdbMultiarch({ program: vmlinux, core: vmcore }, ...commands);
    expect(stderr).toBe("");
    expect(stdout).not.toMatch(/warning|error|corrupt|cannot|invalid|stopped|failed/i);
    return stdout;
  }
  /** The functions of `bt`, innermost first. */
  const backtrace = (scenario: string): string[] =>
    ask(scenario, "echo backtrace\\n", "bt -frame-arguments none")
      .split("backtrace\n")[1]!
      .split("\n")
      .filter((line) => line.startsWith("#"))
      .map((line) => (/ in ([\w.?]+) \(\)/.exec(line) ?? /(<.*>)/.exec(line))?.[1] ?? line);

  test("agree on the way from a process's system call to the panic", (context) => {
    need(context, "gdb-multiarch");
    expect(backtrace("panic")).toEqual(["panic", "lkdtm_do_action", "crasher", "system_call"]);
  });

  test("agree on the way from a panic in an interrupt to what was interrupted", (context) => {
    need(context, "gdb-multiarch");
    const frames = backtrace("panic-in-hardirq");
    expect(frames.slice(0, 3)).toEqual(["panic", "lkdtm_do_action", "<signal handler called>"]);
    expect(frames.length).toBeGreaterThan(4);
    expect(["startup_64", "system_call", "child_rip"]).toContain(frames.at(-1));
  });

  test("agree on the deepest stack: a BUG under a system call", (context) => {
    need(context, "gdb-multiarch");
    const frames = backtrace("bug");
    expect(frames).toEqual(expect.arrayContaining(["scsi_dispatch_cmd", "scsi_request_fn", "generic_unplug_device"]));
    expect(frames.at(-1)).toBe("system_call");
  });

  test.for(DEATHS)("agree on every register of a death by %s", (scenario, context) => {
    need(context, "gdb-multiarch");
    const shown = new Map(
      [...ask(scenario, "info registers").matchAll(/^([a-z0-9_]+) +(0x[0-9a-f]+)/gm)].map((m) => [
        m[1]!,
        BigInt(m[2]!),
      ]),
    );
    const saved = [...remains.get(scenario)!.registers].filter(([name]) => !UNSHOWN.includes(name));
    expect(saved.map(([name]) => [name, shown.get(GDB_NAMES[name] ?? name)])).toEqual(saved);
    expect(remains.get(scenario)!.registers.get(CONTEXT_REGISTERS[platform].ip)).not.toBe(0n);
  });

  test("agree on the structs in RAM: the task that crashed, by the architecture's own layout", (context) => {
    need(context, "gdb-multiarch");
    const { address, pid } = remains.get("panic")!.current;
    const said = ask(
      "panic",
      `output ((struct task_struct *) 0x${address.toString(16)})->pid`,
      "echo \\n",
      `output ((struct task_struct *) 0x${address.toString(16)})->comm`,
      "echo \\n",
    );
    expect(said).toContain(`\n${pid}\n"crasher`);
  });
});
