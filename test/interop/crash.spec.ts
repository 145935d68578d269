// Goal: crash(8) as Debian ships it finds in a trial's dump what the simulation was running on: the task that crashed, where
// every CPU was, who held which lock, the console's text. Method: trials that die in different ways; what crash answers is
// compared with the kernel's own state, which is still there in this process, not with texts that were once right.
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import { peek32, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { askCrash, backtraces, crash, functionsOf } from "./crash-session.ts";
import { need } from "./programs.ts";

const folder = mkdtempSync(join(tmpdir(), "crash-"));
afterAll(() => rmSync(folder, { recursive: true }));

/** Two adapters: the first is under load and dies with a lock held, the second takes the dump. */
const TWO_ADAPTERS = [
  'adapters=[{"type":"mptfusion","disks":[{"size":"1GiB","partitions":[{"startSector":64,"sectors":2000000}]}]},{"type":"mptfusion","disks":[{"size":"1GiB","partitions":[{"startSector":64,"sectors":160000}]}]}]',
  'load={"perDisk":4,"devices":["/dev/sda1"]}',
];

const INJECTED = "Kernel panic - not syncing: dumplab: crash injected";
/** How each dies, and what crash is to make of the console: the message that it looks for. OS_INIT prints none of those. */
const DEATHS = {
  panic: { scenario: "panic", overrides: [], panic: INJECTED },
  oops: {
    scenario: "oops",
    overrides: [],
    panic: "Unable to handle kernel NULL pointer dereference at 0000000000000000",
  },
  bug: { scenario: "bug", overrides: [], panic: "Kernel BUG at drivers/misc/lkdtm.c:280!" },
  sysrq: { scenario: "sysrq-c", overrides: [], panic: "SysRq : Trigger a crashdump" },
  hardirq: { scenario: "panic-in-hardirq", overrides: [], panic: INJECTED },
  softirq: { scenario: "panic-in-softirq", overrides: [], panic: INJECTED },
  init: { scenario: "learn", overrides: ["cpus=4"], panic: "" },
  /** The other CPUs have interrupts off and are stopped by NMI. */
  "nmi freeze": { scenario: "panic", overrides: ["dump.freeze=nmi", "cpus=4"], panic: INJECTED },
  /** INIT for all, CPU 0 first, at an instant at which another CPU is in the driver with its lock. */
  "lock held": {
    scenario: "learn",
    overrides: [
      ...TWO_ADAPTERS,
      'crash={"trigger":"os_init","cpu":0,"at":{"lock":{"name":"ioc0.FreeQlock","count":11}}}',
    ],
    panic: "",
  },
} as const;
type Death = keyof typeof DEATHS;
const NAMES = Object.keys(DEATHS) as Death[];

interface Remains {
  readonly vmlinux: string;
  readonly vmcore: string;
  readonly record: TrialRecord;
  /** The console up to the moment at which memory was written. */
  readonly console: readonly string[];
  readonly tasks: readonly { readonly pid: number; readonly comm: string; readonly address: string }[];
  /** pid and cpu of each CPU's task; the functions on the stack of one that was stopped, innermost first. */
  readonly cpus: readonly { readonly pid: number; readonly task: string }[];
  readonly idle: readonly string[];
  readonly nrSwitches: readonly number[];
  /** Physical addresses and values of the locks that are held, by name. */
  readonly held: ReadonlyMap<string, { readonly address: string; readonly holder: string; readonly cpu: number }>;
  readonly free: ReadonlyMap<string, string>;
}

const hex = (physical: number): string => virtualOf(physical).toString(16);

function die(name: Death): Remains {
  const { scenario, overrides } = DEATHS[name];
  const lines: string[] = [];
  let memoryBegan = false;
  const result = runTrial(loadScenario(scenario, [...overrides]), 1, {
    onConsole: (line) => {
      if (!memoryBegan) lines.push(line.text);
    },
    onPhase: (phase) => {
      if (phase === "dump memory") memoryBegan = true;
    },
  });
  const place = join(folder, name.replace(" ", "-"));
  mkdirSync(place);
  const [vmcore, vmlinux] = [join(place, "vmcore"), join(place, "vmlinux")];
  result.writeVmlinux(vmlinux);
  result.writeVmcore(vmcore);
  const locks = [...K.locks.values()];
  return {
    ...{ vmlinux, vmcore, record: result.record, console: lines },
    tasks: [...K.tasks.values()].map(({ pid, comm, addr }) => ({ pid, comm, address: hex(addr) })),
    cpus: K.percpu.map(({ current }) => ({ pid: current.pid, task: hex(current.addr) })),
    idle: K.percpu.map(({ idle }) => hex(idle.addr)),
    nrSwitches: K.percpu.map(({ rq }) => rq.nr_switches),
    held: new Map(
      locks
        .filter((lock) => lock.isHeld)
        .map((lock) => [lock.name, { address: hex(lock.addr), holder: lock.holder, cpu: lock.owner?.id ?? -1 }]),
    ),
    free: new Map(locks.filter((lock) => !lock.isHeld && peek32(lock.addr) === 1).map((l) => [l.name, hex(l.addr)])),
  };
}

const remains = new Map<Death, Remains>();
beforeAll(() => {
  for (const name of NAMES) remains.set(name, die(name));
}, 240_000);
const of = (name: Death): Remains => remains.get(name)!;

function ask(context: TestContext, name: Death, ...commands: string[]): readonly string[] {
  const { vmlinux, vmcore, record } = of(name);
  expect(record.outcome).toBe("complete");
  return askCrash(context, vmlinux, vmcore, commands);
}

test("crash is Debian's 8.0.2", (context) => {
  need(context, "crash");
  const { greeting } = crash("--version", "", [], []);
  expect(greeting).toMatch(/crash 8\.0\.2/);
});

describe.each(NAMES)("after a death by %s, crash", (name) => {
  test("starts without a warning and knows the machine, the kernel and how it died", (context) => {
    const [sys] = ask(context, name, "sys");
    const { cpus, tasks } = of(name);
    expect(sys).toMatch(new RegExp(`CPUS: ${cpus.length}\n`));
    expect(sys).toMatch(new RegExp(`TASKS: ${tasks.length}\n`));
    expect(sys).toMatch(/RELEASE: 2\.6\.9-5\.ELsmp\n/);
    expect(sys).toMatch(/MACHINE: x86_64 /);
    expect(/PANIC: "(.*?) *(RIP: )?"/.exec(sys!)![1]).toBe(DEATHS[name].panic);
    if (DEATHS[name].panic !== "") expect(of(name).console.join("\n")).toContain(DEATHS[name].panic);
  });

  test("has the console's text in its log", (context) => {
    const [log] = ask(context, name, "log");
    // A line that was being printed when memory was written is cut.
    const console = of(name).console;
    expect(console.length).toBeGreaterThan(20);
    expect(log!.split("\n").slice(0, console.length)).toEqual(console);
  });

  test("lists exactly the kernel's tasks, and takes the crashed one for its context", (context) => {
    const [ps, set] = ask(context, name, "ps", "set");
    const { tasks, cpus, record } = of(name);
    const listed = ps!
      .split("\n")
      .slice(1)
      .map((line) => /^[> ] +(\d+) +\d+ +(\d+) +([0-9a-f]+) +(\w\w) .* (\S+)$/.exec(line)!)
      .map(([, pid, , address, , comm]) => ({
        pid: Number(pid),
        comm: comm!.replace(/[[\]]/g, ""),
        address: address!,
      }));
    const order = (a: { address: string }, b: { address: string }): number => (a.address < b.address ? -1 : 1);
    expect(listed.sort(order)).toEqual([...tasks].sort(order));
    const running = ps!.split("\n").filter((line) => line.startsWith(">"));
    expect(running.map((line) => line.split(/ +/)[4]).sort()).toEqual(cpus.map(({ task }) => task).sort());
    expect(set).toContain(`TASK: ${cpus[record.crash!.cpu]!.task} `);
    expect(set).toContain(`CPU: ${record.crash!.cpu}\n`);
  });

  test("finds every CPU's task and a back trace that ends where the task began", (context) => {
    const [all] = ask(context, name, "bt -a");
    const found = backtraces(all!);
    expect([...found.keys()].sort()).toEqual(of(name).cpus.map((_, id) => id));
    for (const [id, { pid, text }] of found) {
      expect(pid).toBe(of(name).cpus[id]!.pid);
      const functions = functionsOf(text);
      if (id === of(name).record.crash!.cpu)
        expect(functions.slice(0, 2)).toEqual(["start_disk_dump", "try_crashdump"]);
      else expect(["smp_call_function_interrupt", "crash_nmi_callback"]).toContain(functions[0]);
      // In user mode there is nothing below the interrupt.
      const last = text.includes("CS: 0033") && !text.includes("system_call") ? "user" : functions.at(-1)!;
      expect(["user", "cpu_idle", "system_call", "kernel_thread"]).toContain(last);
    }
  });

  test("finds each runqueue's current task, and the counts that the scheduler kept", (context) => {
    const count = of(name).cpus.length;
    const switches = Array.from({ length: count }, (_, id) => `p per_cpu__runqueues:${id}`);
    const [runq, ...shown] = ask(context, name, "runq", ...switches);
    const current = [...runq!.matchAll(/CURRENT: PID: (\d+) +TASK: ([0-9a-f]+)/g)].map(([, pid, task]) => ({
      pid: Number(pid),
      task,
    }));
    expect(current).toEqual(of(name).cpus);
    expect(shown.map((text) => Number(/nr_switches = (\d+)/.exec(text)![1]))).toEqual(of(name).nrSwitches);
    expect(shown.map((text) => /idle = 0x([0-9a-f]+)/.exec(text)![1])).toEqual(of(name).idle);
  });
});

describe("crash shows", () => {
  test("the way from a system call through panic() to the dump, and the user's registers", (context) => {
    const [bt] = ask(context, "panic", "bt");
    expect(functionsOf(bt!)).toEqual([
      "start_disk_dump",
      "try_crashdump",
      "panic",
      "lkdtm_do_action",
      "crasher",
      "system_call",
    ]);
    expect(bt).toMatch(/RIP: 0000000000400530 .*\n[^]*CS: 0033 {2}SS: 002b/);
  });

  test("an oops with the exception frame and the function that faulted", (context) => {
    const [bt] = ask(context, "oops", "bt");
    const functions = functionsOf(bt!);
    expect(functions.slice(0, 5)).toEqual(["start_disk_dump", "try_crashdump", "die", "do_page_fault", "error_exit"]);
    expect(bt).toMatch(/\[exception RIP: lkdtm_do_action\+16\]/);
  });

  test("a sleeping process from schedule() to its system call", (context) => {
    const sleeper = of("panic").tasks.find(({ comm }) => comm.startsWith("load"))!;
    const [bt] = ask(context, "panic", `bt ${sleeper.pid}`);
    const functions = functionsOf(bt!);
    expect(functions[0]).toBe("schedule");
    expect(functions.at(-1)).toBe("system_call");
    expect(functions.at(-2)).toMatch(/^sys_/);
  });

  test("a kernel thread from schedule() to its beginning", (context) => {
    const thread = of("panic").tasks.find(({ comm }) => comm === "events/0")!;
    const [bt] = ask(context, "panic", `bt ${thread.pid}`);
    expect(functionsOf(bt!)).toEqual(["schedule", "wait_event_interruptible", "worker_thread", "kernel_thread"]);
  });

  test("a CPU that was stopped in the driver with its lock: the functions, and the lock as held", (context) => {
    const { held, free, record } = of("lock held");
    const lock = held.get("ioc0.FreeQlock")!;
    expect(lock).toMatchObject({ holder: "mpt_get_msg_frame", cpu: 1 });
    expect(record.crash!.cpu).toBe(0);
    const other = free.get("ioc1.FreeQlock")!;
    const [all, shown, freeShown] = ask(
      context,
      "lock held",
      "bt -a",
      `struct spinlock_t ${lock.address}`,
      `struct spinlock_t ${other}`,
    );
    const functions = functionsOf(backtraces(all!).get(1)!.text);
    expect(functions.slice(0, 3)).toEqual(["crash_nmi_callback", "nmi", "<NMI exception>"]);
    expect(functions).toEqual(expect.arrayContaining(["mpt_get_msg_frame", "mptscsih_qcmd", "scsi_dispatch_cmd"]));
    expect(functions.at(-1)).toBe("system_call");
    expect(shown).toMatch(/lock = 0[,\n]/);
    expect(freeShown).toMatch(/lock = 1[,\n]/);
  });
});
