// Goal: what crash(8) says of devices, memory, modules, files and driver state is what the simulated kernel was working with.
// Method: one trial under load; the kernel's own records (JavaScript beside RAM) are taken when the dump begins, and crash, which
// has only the vmlinux and the vmcore, must say the same.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { peek32, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import type { Task } from "../../kernel-sim/core/task.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { crash } from "./crash-session.ts";
import { need } from "./programs.ts";

const folder = mkdtempSync(join(tmpdir(), "crash-ram-"));
afterAll(() => rmSync(folder, { recursive: true }));

const hex = (address: number): string => virtualOf(address).toString(16);
const symbolize = (name: string): string => `${hex(K.symbol(name))}`;

interface Truth {
  readonly irqCounts: readonly (readonly [irq: number, counts: readonly number[]])[];
  readonly timers: readonly (readonly { expires: number; addr: string; name: string }[])[];
  readonly caches: readonly { name: string; addr: string; objsize: number; slabPages: number }[];
  readonly modules: readonly { name: string; addr: string; core: string; bytes: number }[];
  readonly freePages: number;
  readonly totalPages: number;
  readonly pollAt: string;
  readonly freeQlock: number;
  /** Addresses of the commands that each device has out. */
  readonly commandsOut: readonly { device: string; commands: number }[];
  readonly load: { pid: number; task: string; fd: number; path: string; bufferPages: number };
  readonly namespaces: readonly string[];
  readonly averages: readonly number[];
}

let load: Task | undefined;

function truthNow(): Truth {
  const lines = K.irq.descs.map((_, irq) => irq);
  const counts = (irq: number): number[] => K.machine.cpus.map((c) => peek32(K.irq.kstat[c.id]!.irqs + irq * 4));
  load = [...K.tasks.values()].find((task) => task.comm === "load/0");
  const ioc = K.symbol("ioc_list");
  const adapter = K.scsi.hosts[0]!.hostdata as { ioc: { s: { FreeQlock: { lock: number } } } };
  expect(ioc).toBeGreaterThan(0);
  return {
    irqCounts: lines.map((irq) => [irq, counts(irq)] as const).filter(([, c]) => c.some((n) => n > 0)),
    timers: K.time.bases.map((base) =>
      [...base.byEntry.values()].map((t) => ({ expires: t.expires, addr: hex(t.addr), name: t.name })),
    ),
    caches: K.pages.slabs.caches.map((c) => ({
      name: c.name,
      addr: hex(c.addr),
      objsize: c.objsize,
      slabPages: 2 ** c.order,
    })),
    modules: [...K.modules.loaded.values()].map((m) => ({
      name: m.name,
      addr: hex(m.addr),
      core: hex(m.core),
      bytes: m.coreBytes,
    })),
    freePages: K.pages.zones.reduce((sum, zone) => sum + zone.freePages, 0),
    totalPages: K.pages.totalPages,
    pollAt: symbolize("mptscsih_poll"),
    freeQlock: adapter.ioc.s.FreeQlock.lock,
    commandsOut: K.scsi.devices.map((d) => ({
      device: hex(d.addr),
      commands: [...K.scsi.byAddress.values()].filter((cmd) => cmd.device === d && cmd.request !== undefined).length,
    })),
    load: { pid: load!.pid, task: hex(load!.addr), fd: 3, path: "/load.0", bufferPages: 16 },
    namespaces: [...K.vfs.mounts.values()].map((m) => m.sb.type.name),
    averages: [0, 1, 2].map((i) => K.machine.memory.read64(K.symbol("avenrun") + i * 8) / 2048),
  };
}

let truth: Truth;
const answers = new Map<string, string>();
let complaints = "";

const COMMANDS = [
  ...["sys", "mod", "irq -s", "irq -b", "dev", "kmem -i", "kmem -s", "kmem -f", "mach -m", "net", "swap", "mount"],
  ...["sym mptscsih_poll", "dis mptscsih_poll", "p disk_dump_partitions", "list -H ioc_list -o _MPT_ADAPTER.list"],
  "list -H ioc_list -o _MPT_ADAPTER.list -s _MPT_ADAPTER.FreeQlock",
] as const;

beforeAll(() => {
  const result = runTrial(loadScenario("panic", []), 1, {
    onPhase: (phase) => {
      if (phase === "dump header") truth = truthNow();
    },
  });
  expect(result.record.outcome).toBe("complete");
  const [vmlinux, vmcore] = [join(folder, "vmlinux"), join(folder, "vmcore")];
  result.writeVmlinux(vmlinux);
  result.writeVmcore(vmcore);
  const { pid } = truth.load;
  const commands: string[] = [
    ...COMMANDS,
    ...[`files ${pid}`, `vm ${pid}`, `sig ${pid}`, `vtop -c ${pid} 400530`, `rd -u 40052e`],
    ...[`vtop ${truth.pollAt}`, ...truth.commandsOut.map((d) => `list -H ${commandList(d.device)}`)],
  ];
  // Last: after it crash 8.0.2 complains of its own buffers at each command (malloc/free mismatch).
  commands.push("timer");
  const session = crash(vmlinux, vmcore, commands);
  complaints = session.greeting;
  commands.forEach((command, i) => answers.set(command, session.answers[i] ?? ""));
}, 120_000);

/** Address of a device's cmd_list. */
function commandList(device: string): string {
  const { addr, cmd_list } = K.scsi.devices[0]!;
  return (BigInt(`0x${device}`) + BigInt(cmd_list - addr)).toString(16);
}

const answer = (command: string): string => {
  const text = answers.get(command);
  if (text === undefined) throw new Error(`crash did not get to "${command}": ${complaints}`);
  return text;
};
const rows = (command: string): string[][] =>
  answer(command)
    .split("\n")
    .map((line) => line.trim().split(/\s+/));

describe("crash on a trial's dump", () => {
  test("starts without a complaint", (context) => {
    need(context, "crash");
    expect(complaints).toBe("");
  });

  test("shows the interrupts that each CPU has counted, under the names that drivers gave", (context) => {
    need(context, "crash");
    expect(truth.irqCounts.length).toBeGreaterThan(0);
    const shown = rows("irq -s").slice(1);
    const expected = truth.irqCounts.map(([irq, counts]) => [
      `${irq}:`,
      ...counts.map(String),
      "IO-APIC-level",
      "ioc0",
    ]);
    expect(shown).toEqual(expected);
    expect(answer("irq -b")).toMatch(
      /\[1\] .*<run_timer_softirq>[^]*\[4\] .*<scsi_softirq>[^]*\[5\] .*<tasklet_action>/,
    );
  });

  test("lists the timers that were on each CPU's wheel", (context) => {
    need(context, "crash");
    expect(truth.timers.flat().length).toBeGreaterThan(0);
    const shown = [...answer("timer").matchAll(/^ *(\d+) +-?\d+ +([0-9a-f]+) +[0-9a-f]+ +<(\w+)>/gm)];
    const expected = truth.timers.flat().map((t) => `${t.expires} ${t.addr}`);
    expect(shown.map((m) => `${m[1]} ${m[2]}`).sort()).toEqual(expected.sort());
  });

  test("lists the devices that were registered, and where the disks' operations are", (context) => {
    need(context, "crash");
    const text = answer("dev");
    expect(text).toMatch(/^ +1 +mem +[0-9a-f]+ +memory_fops$/m);
    expect(text).toMatch(/^ +5 +\/dev\/console +[0-9a-f]+ +console_fops$/m);
    expect(text).toMatch(/^ +8 +sd +[0-9a-f]+ +sd_fops$/m);
  });

  test("counts memory as the page allocator does, and finds the free lists in order", (context) => {
    need(context, "crash");
    const at = (name: string): string => rows("kmem -i").find((row) => row.join(" ").startsWith(name))![2]!;
    expect(Number(at("TOTAL MEM"))).toBe(truth.totalPages);
    expect(Number(rows("kmem -i").find((row) => row[0] === "FREE")![1])).toBe(truth.freePages);
    expect(answer("kmem -f")).toContain(`nr_free_pages: ${truth.freePages}  (verified)`);
  });

  test("lists the slab caches with their objects", (context) => {
    need(context, "crash");
    const shown = rows("kmem -s").slice(1);
    expect(shown.map(([addr, objsize, , , , , name]) => ({ addr, objsize: Number(objsize), name }))).toEqual(
      truth.caches.map(({ addr, objsize, name }) => ({ addr, objsize, name })),
    );
    const cache = (name: string): string[] => shown.find((row) => row[6] === name)!;
    // Four load processes and the one that crashed: an address space and a table of files each.
    expect([cache("mm_struct")[2], cache("files_cache")[2]]).toEqual(["5", "5"]);
  });

  test("lists the modules, and knows their functions and variables by name and type", (context) => {
    need(context, "crash");
    const shown = rows("mod").slice(1);
    expect(shown.map(([addr, name, core, bytes]) => ({ name, addr, core, bytes: Number(bytes) }))).toEqual(
      truth.modules,
    );
    expect(shown.map(([, name]) => name)).toEqual([
      "scsi_mod",
      "mptbase",
      "mptscsih",
      "sd_mod",
      "diskdump",
      "scsi_dump",
    ]);
    expect(answer("sym mptscsih_poll")).toBe(`${truth.pollAt} (t) mptscsih_poll [mptscsih]`);
    expect(answer("dis mptscsih_poll")).toMatch(/^0x\w+ <mptscsih_poll>:\tpush +%rbp\n.*\tmov +%rsp,%rbp$/m);
    expect(answer("p disk_dump_partitions")).toMatch(/next = 0x1000[0-9a-f]+,/);
  });

  test("walks the page tables to a module's function", (context) => {
    need(context, "crash");
    const physical = /^\w+ +([0-9a-f]+)/m.exec(answer(`vtop ${truth.pollAt}`).split("\n")[1]!)![1]!;
    expect(Number.parseInt(physical, 16)).toBe(K.symbol("mptscsih_poll"));
    expect(answer(`vtop ${truth.pollAt}`)).toMatch(/PTE: .*\n +PAGE: [0-9a-f]+\n/);
  });

  test("shows the adapter's lock as it stood, and the commands that each disk had out", (context) => {
    need(context, "crash");
    const list = answer("list -H ioc_list -o _MPT_ADAPTER.list -s _MPT_ADAPTER.FreeQlock");
    expect(list).toMatch(new RegExp(`FreeQlock = \\{\\s+lock = ${truth.freeQlock}\\s+\\}`));
    for (const { device, commands } of truth.commandsOut) {
      const shown = answer(`list -H ${commandList(device)}`).match(/^[0-9a-f]{8,}$/gm) ?? [];
      expect(shown).toHaveLength(commands);
    }
    expect(truth.commandsOut.some((d) => d.commands > 0)).toBe(true);
  });

  test("shows what a load process has open, mapped and mounted", (context) => {
    need(context, "crash");
    const { pid } = truth.load;
    const files = answer(`files ${pid}`);
    expect(files).toContain("ROOT: /    CWD: /");
    expect(files).toMatch(/^ +0 .* CHR +\/dev\/console$/m);
    expect(files).toMatch(/^ +3 .* REG +\/mnt\/sda1\/load\.0$/m);
    expect(files).toMatch(/^ +4 .* REG +\/mnt\/sda1\/load\.0$/m);
    const areas = rows(`vm ${pid}`).slice(4);
    expect(areas.map(([, start, end, flags, file]) => [start, end, flags, file])).toEqual([
      ["400000", "402000", "1875", "/bin/load"],
      ["501000", "502000", "101873", undefined],
      ["2a95556000", (0x2a95556000 + truth.load.bufferPages * 4096).toString(16), "100073", undefined],
      ["7fbfffd000", "7fc0000000", "100177", undefined],
    ]);
    expect(answer(`vtop -c ${pid} 400530`)).toMatch(/\(PRESENT\|USER\|ACCESSED\)/);
    expect(answer("rd -u 40052e")).toMatch(/fceb050f /);
    expect(answer(`sig ${pid}`)).toMatch(/SIGPENDING: no\n +BLOCKED: 0000000000000000\n/);
    expect(
      rows("mount")
        .slice(1)
        .map((row) => row[2]),
    ).toEqual(truth.namespaces);
    expect(answer("mount")).toMatch(/loadfs \/dev\/sda1 +\/mnt\/sda1/);
  });

  test("says what machine it was", (context) => {
    need(context, "crash");
    expect(
      rows("mach -m")
        .slice(1)
        .map((row) => row.slice(-1)[0]),
    ).toEqual(["E820_RAM", "E820_RESERVED", "E820_RAM"]);
    expect(answer("sys")).toMatch(/MACHINE: x86_64 {2}\(2400 Mhz\)/);
    expect(answer("sys")).toContain(`LOAD AVERAGE: ${truth.averages.map((n) => n.toFixed(2)).join(", ")}`);
    expect(answer("net")).toMatch(/lo +127\.0\.0\.1/);
    expect(answer("sys")).not.toMatch(/TAINTED|LIVEPATCH/);
  });
});
