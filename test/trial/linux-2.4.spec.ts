// Goal: on kernel 2.4 the step that a stopped holder had reached decides what a dump can do, and what the machine can.
import { describe, expect, test } from "vitest";
import { LOST } from "../../emulator/cpu/cpu.ts";
import { peek32 } from "../../kernel-sim/abi/ram.ts";
import { buildHardware } from "../../tools/machine/hardware.ts";
import { bootLab, type Lab } from "../../tools/machine/lab.ts";
import { measureLocks } from "../../tools/lockmeter/measure.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";

const trial = (sets: readonly string[], seed = 1, ref = "learn"): TrialRecord =>
  runTrial(loadScenario(ref, ["kernel=2.4.21", ...sets]), seed, {}).record;

/** INIT for all at the n-th taking of a lock. */
const at = (name: string, count = 300): string => `crash.at={"lock":{"name":"${name}","count":${count}}}`;

/** A booted machine with its load running, and nothing that crashes it. */
function underLoad(sets: readonly string[] = []): Lab {
  const never = 'crash.at={"time":"20h"}';
  const scenario = loadScenario("learn", ["kernel=2.4.21", "cpus=3", "load.perDisk=6", never, ...sets]);
  const lab = bootLab(buildHardware(scenario, 1), scenario);
  const { machine } = lab.hardware;
  lab.onCrashArmed.push(() => (machine.stopReason = "under load"));
  machine.run(1e12);
  machine.run(lab.loadStartNs! + 50e6);
  return lab;
}

/** Stops a CPU for ever at the n-th instant at which it has just taken a lock in a function. */
function stopHolder(lab: Lab, name: string, holder: string, then: () => void): () => number {
  const lock = lab.kernel.locks.get(name)!;
  let stopped = -1;
  lock.onTaken = (_, c) => {
    if (lock.holder !== holder) return;
    lock.onTaken = undefined;
    stopped = c.id;
    lab.hardware.machine.stop(c);
    then();
    throw LOST;
  };
  return () => stopped;
}

/** What a dumper does that lives on interrupts: the lines and the clock go to a CPU that is alive. */
function steerInterrupts(lab: Lab, cpu: number): void {
  for (const entry of lab.hardware.machine.ioApic.entries) entry.destination = cpu;
  lab.kernel.timekeeper = cpu;
}

/** Interrupts of device lines that a CPU has taken. */
function counted(lab: Lab, cpu: number): { interrupts: number } {
  const { irq } = lab.kernel;
  const at = irq.kstat[cpu]!.irqs;
  return { interrupts: irq.descs.reduce((sum, _, line) => sum + peek32(at + line * 4), 0) };
}

describe("diskdump on kernel 2.4", () => {
  test("saves the white paper's machine: ia64, 4 CPUs, 8 GiB", () => {
    const { record } = runTrial(loadScenario("paper-2.4"), 1, {});
    expect(record).toMatchObject({ outcome: "complete", cause: null, findings: [], dumpedPages: 524288 });
  });

  test("does not need what kept the kernel itself from doing I/O: bottom halves, timers, runqueues, the disk task queue", () => {
    for (const lock of ["global_bh_lock", "timerlist_lock", "runqueue_lock", "tqueue_lock"]) {
      expect([lock, trial([at(lock, 40)]).outcome]).toEqual([lock, "complete"]);
    }
  });

  test("dares to use a host whose lock is io_request_lock, and hangs when a stopped CPU holds it", () => {
    const record = trial([at("io_request_lock")]);
    expect(record.outcome).toBe("hang");
    expect(record.cause).toMatch(
      /^the dumping CPU waits for io_request_lock, taken in \w+ \(by a context that an NMI or INIT abandoned\)$/,
    );
  });

  test("hangs, too, when the INIT meets a driver in scsi_done(): it holds io_request_lock for that call", () => {
    const record = trial([at("scsi_bhqueue_lock", 40)]);
    expect(record.cause).toMatch(/io_request_lock, taken in mptscsih_call_done/);
  });

  test("refuses instead when it may not dare", () => {
    const record = trial([at("io_request_lock"), "dump.allowRiskyDumps=false"]);
    expect(record).toMatchObject({ outcome: "refused" });
    expect(record.cause).toContain("adapter risky");
  });

  test("refuses, as on 2.6, when the host's lock is its own", () => {
    const record = trial([at("host_lock"), "linux24.hostLock=own"]);
    expect(record).toMatchObject({ outcome: "refused" });
    expect(record.cause).toContain("host_lock held");
  });
});

describe("a machine of kernel 2.4 that goes on without one of its CPUs", () => {
  test("gets no command's end any more when that one held global_bh_lock, although another takes its interrupts", () => {
    const lab = underLoad();
    const { machine } = lab.hardware;
    // At once: an interrupt that has gone to a CPU that never takes it keeps its line shut.
    const stopped = stopHolder(lab, "global_bh_lock", "bh_action", () => steerInterrupts(lab, 1));
    machine.run(machine.now() + 20e6);
    expect(stopped()).toBe(0);
    const { calls } = lab.load!;
    const { rejected } = lab.kernel.bottomHalves;
    machine.run(machine.now() + 10e6);
    const { interrupts } = counted(lab, 1);
    // The adapter's interrupts have come and been handled; what scsi_done() put on its queue nobody takes off.
    expect(interrupts).toBeGreaterThan(0);
    expect(lab.load!.calls).toBe(calls);
    expect(lab.kernel.bottomHalves.rejected).toBeGreaterThan(rejected + 100);
    expect(lab.kernel.scsi.hosts[0]!.s.host_busy).toBeGreaterThan(0);
  });

  test("goes on when that one held no lock, once another takes its interrupts", () => {
    const lab = underLoad();
    const { machine, adapters } = lab.hardware;
    const { apic } = machine.cpus[0]!;
    // Neither in the handler nor in a bottom half, and nothing under way to it.
    while (lab.kernel.percpu[0]!.current !== lab.kernel.percpu[0]!.idle || apic.inService.length > 0)
      machine.run(machine.now() + 1e3);
    machine.stop(machine.cpus[0]!);
    steerInterrupts(lab, 1);
    const { calls } = lab.load!;
    machine.run(machine.now() + 300e6);
    expect(adapters).toHaveLength(1);
    expect(lab.load!.calls).toBeGreaterThan(calls + 20);
  });
});

describe("lockmeter", () => {
  const scenario = loadScenario("learn", ["kernel=2.4.21", "load.perDisk=4"]);
  const options = { seed: 3, warmUpNs: 20e6, windowNs: 100e6 };

  test("accounts for every taking: a lock's calls and times are the sum over its callers", () => {
    const { locks } = measureLocks(scenario, options);
    const io = locks.find((row) => row.name === "io_request_lock")!;
    for (const field of ["total", "contended", "holdNs", "waitNs"] as const) {
      expect(io.sites.reduce((sum, site) => sum + site[field], 0)).toBe(io[field]);
    }
    expect(io.sites.map((site) => site.name)).toEqual(
      expect.arrayContaining(["__make_request", "blk_get_queue", "generic_unplug_device", "scsi_dispatch_cmd"]),
    );
    for (const name of ["global_bh_lock", "timerlist_lock", "runqueue_lock", "tqueue_lock", "device_request_lock"]) {
      expect([name, locks.find((row) => row.name === name)?.total ?? 0]).toEqual([name, expect.any(Number)]);
      expect(locks.find((row) => row.name === name)!.total).toBeGreaterThan(0);
    }
  });

  test("changes nothing by looking", () => {
    const { io } = measureLocks(scenario, options);
    const never = loadScenario("learn", ["kernel=2.4.21", "load.perDisk=4", 'crash.at={"time":"20h"}']);
    const lab = bootLab(buildHardware(never, options.seed), never);
    const { machine } = lab.hardware;
    lab.onCrashArmed.push(() => (machine.stopReason = "under load"));
    machine.run(1e12);
    machine.run(lab.loadStartNs! + options.warmUpNs);
    const before = lab.load!.calls;
    machine.run(lab.loadStartNs! + options.warmUpNs + options.windowNs);
    expect(io.calls).toBe(lab.load!.calls - before);
  });
});
