// Goal: crash(8) says the same of one and the same instant, whichever dumper saved it. Method: one seed with a stated start of the load
// and a crash that comes in the same nanosecond; what differs is what a dumper itself leaves in the kernel, and is named here.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { shows } from "../features/feature.ts";
import { askCrash, backtraces, functionsOf } from "./crash-session.ts";
import { need, run } from "./programs.ts";

const PEERS = ["lkcd", "netdump", "kdump", "mkdump"] as const;
const folder = mkdtempSync(join(tmpdir(), "crash-peers-"));
afterAll(() => rmSync(folder, { recursive: true }));
const fileOf = (dumper: string, what: string): string => join(folder, `${dumper}-${what}`);
const INSTANTS = {
  idle: [],
  // The first moments of the writers: the page cache still has room, and no CPU is idle.
  busy: [
    ...["load.perDisk=4", "load.thinkTime=1us", "load.mix.bufferedWrite=1"],
    ...["directRead", "directWrite", "fsync"].map((kind) => `load.mix.${kind}=0`),
    ...["crash.at.random.from=150us", "crash.at.random.to=250us"],
  ],
} as const;
type Instant = keyof typeof INSTANTS;
const records = new Map<string, TrialRecord>();

beforeAll(() => {
  for (const instant of Object.keys(INSTANTS) as Instant[]) {
    for (const dumper of ["diskdump", ...PEERS]) {
      const own = ["cpus=4", "load.start=10s", "crash.trigger=nmi_switch", `dump.dumper=${dumper}`];
      const result = runTrial(loadScenario("learn", [...own, ...INSTANTS[instant]]), 2, {});
      expect(result.record).toMatchObject({ outcome: "complete" });
      const name = `${dumper}-${instant}`;
      records.set(name, result.record);
      result.writeVmlinux(fileOf(name, "vmlinux"));
      result.writeVmcore(fileOf(name, "vmcore"));
    }
  }
}, 480_000);

const said = new Map<string, readonly string[]>();
function ask(context: Parameters<typeof askCrash>[0], dumper: string, instant: Instant): readonly string[] {
  const name = `${dumper}-${instant}`;
  const known = said.get(name);
  if (known) return known;
  const answers = askCrash(context, fileOf(name, "vmlinux"), fileOf(name, "vmcore"), ["ps", "bt -a", "log"]);
  said.set(name, answers);
  return answers;
}

/** PID, CPU, state and name of each task; addresses and sizes lie where the dumper's own memory left room. */
const tasksOf = (ps: string): string[] =>
  ps
    .split("\n")
    .slice(1)
    .map((line) => line.replace(/^>/, " ").trim().split(/\s+/))
    .map(([pid, , cpu, , state, , , , ...name]) => [pid, cpu, state, name.join(" ")].join(" "))
    .sort();

/** What a dumper says when it is loaded and while it dumps, and what drivers say because of it (diskdump resets the adapter). */
const OWN_LINES =
  /^(disk_dump:|dump:|CPU frozen|CPU#|netdump|<|NETDUMP|\d+\(\d+\)|Dumping to block|Writing dump|eth0|8139too|start dumping|check dump|dumping memory|Modules linked in|mptscsih: .* host reset|mptbase: Initiating ioc0 recovery)/;
const logOf = (log: string): string[] =>
  log
    .split("\n")
    .map((line) => line.replace(/[0-9a-f]{16}/g, "ADDRESS").trim())
    .filter((line) => line !== "" && !OWN_LINES.test(line));

/** How a dumper stops a CPU and takes over one: by IPI or NMI. The halted idle loop's own frame shows under an NMI only. */
const OWN_FUNCTIONS =
  /^(smp_call_function_interrupt|call_function_interrupt|<IRQ>|crash_nmi_callback|nmi|<NMI exception>|start_disk_dump|netpoll_start_netdump|crash_kexec|dump_execute|try_crashdump|die|die_nmi|default_idle)$/;
const stackOf = (backtrace: string): string[] => functionsOf(backtrace).filter((name) => !OWN_FUNCTIONS.test(name));

describe.each(PEERS)("%s beside diskdump", (dumper) => {
  const both = [dumper, "diskdump"] as const;

  test.each(["idle", "busy"] as const)("%s CPUs: it is the same instant", (instant) => {
    const [ours, theirs] = both.map((one) => records.get(`${one}-${instant}`)!.crash!);
    expect(ours!.cpu).toBe(theirs!.cpu);
    if (instant === "idle") expect(ours!.function).toBe(theirs!.function);
    // A network card's interrupts cost a few microseconds; a busy CPU takes the NMI when it is through with its step.
    const late = dumper === "netdump" ? 10_000 : instant === "busy" ? 1000 : 0;
    expect(Math.abs(ours!.virtualNs - theirs!.virtualNs)).toBeLessThanOrEqual(late);
  });

  test("ps: the same tasks, on the same CPUs in the same states unless the dumper lets them run on", (context) => {
    // LKCD's other CPUs go on until they meet schedule(), and its own writes' interrupts wake who waits.
    const fields = (line: string): string => (dumper === "lkcd" ? line.replace(/^(\d+) \d+ \w+/, "$1") : line);
    for (const instant of ["idle", "busy"] as const) {
      const [ours, theirs] = both.map((one) => tasksOf(ask(context, one, instant)[0]!).map(fields));
      expect(ours!.length).toBeGreaterThan(10);
      expect(ours).toEqual(theirs);
    }
  });

  test("bt -a: the same task on each CPU, in the same functions below what stopped it", (context) => {
    const [ours, theirs] = both.map((one) => backtraces(ask(context, one, "idle")[1]!));
    expect([...ours!.keys()].sort()).toEqual([0, 1, 2, 3]);
    const crashed = records.get(`${dumper}-idle`)!.crash!.cpu;
    for (const [cpu, { pid, text }] of theirs!) {
      if (dumper === "lkcd" && cpu !== crashed) continue;
      expect(ours!.get(cpu)!.pid).toBe(pid);
      expect(stackOf(text).length).toBeGreaterThan(0);
      expect(stackOf(ours!.get(cpu)!.text)).toEqual(stackOf(text));
    }
  });

  test("bt -a of busy CPUs: the same writers on them, in the same system call", (context) => {
    const [ours, theirs] = both.map((one) => backtraces(ask(context, one, "busy")[1]!));
    const crashed = records.get(`${dumper}-busy`)!.crash!.cpu;
    for (const [cpu, { pid, text }] of theirs!) {
      if (dumper === "lkcd" && cpu !== crashed) continue;
      expect(pid).not.toBe(0);
      expect(ours!.get(cpu)!.pid).toBe(pid);
      // An NMI stops a CPU at once, an IPI when its interrupts are on: at most a step of the same loop apart, or in user mode.
      for (const stack of [stackOf(text), stackOf(ours!.get(cpu)!.text)]) {
        expect(["", "system_call", "sys_write < system_call"]).toContain(stack.slice(-2).join(" < "));
      }
    }
    expect([...ours!.values()].filter(({ text }) => stackOf(text).length > 0)).not.toEqual([]);
  });

  test("log: the same lines but for the dumper's own; nothing of a capture kernel's", (context) => {
    for (const one of both) shows(context, one, "analysis tools", "crash");
    for (const instant of ["idle", "busy"] as const) {
      const ours = logOf(ask(context, dumper, instant)[2]!);
      expect(ours.join("\n")).toMatch(/NMI: IOCK error/);
      expect(ours).toEqual(logOf(ask(context, "diskdump", instant)[2]!));
    }
  });
});

describe.each(["kdump", "mkdump"])("%s's core", (dumper) => {
  test("has one PT_NOTE, and for readelf -lW the reserve is no part of memory", (context) => {
    need(context, "readelf");
    const { stdout, stderr, code } = run("readelf", ["-lW", fileOf(`${dumper}-idle`, "vmcore")]);
    expect([code, stderr]).toEqual([0, ""]);
    expect(stdout.match(/^ +NOTE /gm)).toHaveLength(1);
    const loads = [...stdout.matchAll(/^ +LOAD +\w+ 0x00000100\w+ (0x\w+) +(0x\w+)/gm)];
    // 640 KiB, and 64 MiB without the 24 MiB behind 16 MiB.
    expect(loads.map(([, start, bytes]) => [Number(start), Number(bytes)])).toEqual([
      [0, 640 << 10],
      [1 << 20, 15 << 20],
      [40 << 20, 24 << 20],
    ]);
  });

  test("is copied by makedumpfile, which can leave nothing out: it knows no kernel as old without VMCOREINFO", (context) => {
    need(context, "makedumpfile");
    const core = fileOf(`${dumper}-idle`, "vmcore");
    expect(run("makedumpfile", ["-d", "0", "-c", core, fileOf(`${dumper}-idle`, "copy")]).code).toBe(0);
    const filtered = run("makedumpfile", [
      "-d",
      "31",
      "-x",
      fileOf(`${dumper}-idle`, "vmlinux"),
      core,
      fileOf(`${dumper}-idle`, "small"),
    ]);
    expect(filtered.code).toBe(1);
    expect(filtered.stdout).toContain("The kernel version is not supported");
  });
});
