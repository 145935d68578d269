// Goal: the NMI watchdog, the dump switch and OS_INIT strike whatever the CPUs do, and leave what they should.
import { describe, expect, test } from "vitest";
import { RUN, STOPPED, busyFor, cpu, halt } from "../../emulator/cpu/cpu.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread_on } from "./fork.ts";
import { K, type Kernel } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { touch_nmi_watchdog } from "./nmi.ts";
import { savedRegisters } from "./registers.ts";
import { userMode } from "../load/user-mode.ts";
import { Spinlock, local_irq_disable, spin_lock, spin_unlock } from "./spinlock.ts";
import { mdelay, msleep } from "./timer.ts";

const watchdogOn = { bootArguments: { panicTimeoutSeconds: 0, panicOnOops: true, nmiWatchdog: true } };
const hang = kfunc("test_hang", function* (): Generator<void, void, void> {
  local_irq_disable();
  yield* busyFor(1e12);
});
const lines = (k: Kernel): string[] => k.console.lines.map(({ text }) => text);

describe("the NMI watchdog", () => {
  test("finds a CPU that takes no ticks within 5 to 6 seconds, and the record names the function that hung", () => {
    for (const startMs of [0, 400, 999]) {
      const k = bootTestMachine({ boot: watchdogOn });
      let hungAt = 0;
      runKernel(k, function* () {
        yield* msleep(2000 + startMs);
        hungAt = cpu.clock;
        yield* kernel_thread_on("hang", () => hang(), 1);
        yield* msleep(20_000);
      });
      expect(lines(k)).toContain("NMI Watchdog detected LOCKUP on CPU1, registers:");
      expect(k.crash).toMatchObject({ cpu: 1, functionName: "test_hang", context: "nmi", task: "hang[5]" });
      const seconds = (k.crash!.ns - hungAt) / 1e9;
      expect(seconds).toBeGreaterThan(4.999);
      expect(seconds).toBeLessThan(6.1);
    }
  });

  test("does not mind an idle machine, nor one that says it is alive", () => {
    const k = bootTestMachine({ boot: watchdogOn });
    const ended = runKernel(k, function* () {
      yield* msleep(12_000);
      local_irq_disable();
      for (let i = 0; i < 10; i++) {
        yield* mdelay(1000);
        touch_nmi_watchdog();
      }
    });
    expect(ended).toBe(true);
    expect(k.crash).toBeUndefined();
    expect(k.percpu[1]!.pda.__nmi_count).toBeGreaterThanOrEqual(21);
  });

  test("leaves a CPU that spins with interrupts off for 4 s where it is: it gets the lock", () => {
    const k = bootTestMachine({ boot: watchdogOn });
    const log: string[] = [];
    runKernel(k, function* () {
      const lock = new Spinlock(K.bootmem(8), "test_lock");
      yield* spin_lock(lock);
      yield* kernel_thread_on(
        "spinner",
        function* () {
          local_irq_disable();
          yield* spin_lock(lock);
          log.push("has it");
          spin_unlock(lock);
        },
        1,
      );
      yield* mdelay(4000);
      log.push("frees it");
      spin_unlock(lock);
      yield* msleep(1);
    });
    expect(log).toEqual(["frees it", "has it"]);
    expect(k.machine.cpus[1]!.epoch).toBe(0);
    expect(k.crash).toBeUndefined();
  });

  test("finds a CPU that spins for ever, although it is parked", () => {
    const k = bootTestMachine({ boot: watchdogOn });
    const spinner = kfunc("test_spinner", function* (lock: Spinlock): Generator<void, void, void> {
      local_irq_disable();
      yield* spin_lock(lock);
    });
    runKernel(k, function* () {
      const lock = new Spinlock(K.bootmem(8), "test_lock");
      yield* spin_lock(lock);
      yield* kernel_thread_on("spinner", () => spinner(lock), 1);
      for (;;) yield* msleep(1000);
    });
    expect(k.crash).toMatchObject({ cpu: 1, functionName: "test_spinner" });
  });

  test("does not strike again inside the handler that it started", () => {
    const k = bootTestMachine({ boot: watchdogOn });
    k.crashdump.diskdump = kfunc("test_dumper", function* (): Generator<void, number, void> {
      yield* mdelay(20_000);
      return -1;
    });
    runKernel(k, function* () {
      yield* kernel_thread_on("hang", () => hang(), 1);
      for (;;) yield* msleep(1000);
    });
    expect(lines(k).filter((line) => line.startsWith("NMI Watchdog"))).toHaveLength(1);
    expect(k.machine.cpus[1]!.epoch).toBe(1);
  });
});

describe("the dump switch (an NMI)", () => {
  test("kills the CPU it reaches; the registers are those of the interrupted code", () => {
    let at = { sp: 0, fp: 0 };
    const victim = kfunc("test_victim", function* (): Generator<void, void, void> {
      local_irq_disable();
      at = { sp: cpu.sp, fp: cpu.fp };
      yield* busyFor(1e9);
    });
    const k = bootTestMachine({ boot: watchdogOn });
    runKernel(k, function* () {
      yield* kernel_thread_on("victim", () => victim(), 1);
      yield* msleep(2);
      k.machine.ioApic.sendLanding(k.machine.cpus[1]!, "nmi", "switch", cpu.clock);
      yield* msleep(10);
    });
    expect(k.crash).toMatchObject({ cpu: 1, functionName: "test_victim", context: "nmi" });
    expect(savedRegisters(k.percpu[1]!.nmiRegs)).toMatchObject(at);
    expect(k.functionAt(savedRegisters(k.percpu[1]!.nmiRegs).ip)).toBe("test_victim");
    expect(lines(k).join("\n")).toMatch(/\{test_victim\+16\}/);
    expect(k.machine.cpus[1]!.abandoned).toMatchObject([{ functionName: "test_victim", interruptsEnabled: false }]);
  });

  test("stops a CPU for a dumper that freezes by NMI, once", () => {
    const k = bootTestMachine();
    let frozen = 0;
    k.callFunction = kfunc("test_freeze", function* (): Generator<void, void, void> {
      frozen++;
      K.machine.stop(cpu);
      yield;
    });
    runKernel(k, function* () {
      const c = k.machine.cpus[1]!;
      yield* kernel_thread_on("hang", () => hang(), 1);
      yield* msleep(1);
      for (let i = 0; i < 3; i++) {
        k.machine.ioApic.sendLanding(c, "nmi", "freeze", cpu.clock);
        yield* msleep(1);
      }
      expect(c.state).toBe(STOPPED);
    });
    expect(frozen).toBe(1);
    expect(k.crash).toBeUndefined();
  });
});

describe("OS_INIT to all CPUs", () => {
  test("makes exactly one the monarch, which dumps; the others stop where they are, whatever they did", () => {
    const k = bootTestMachine({ cpus: 4, boot: watchdogOn });
    let dumps = 0;
    k.crashdump.diskdump = kfunc("test_dumper", function* (): Generator<void, number, void> {
      dumps++;
      yield* busyFor(1e6);
      return -1;
    });
    const spinner = kfunc("test_spinner", function* (lock: Spinlock): Generator<void, void, void> {
      yield* spin_lock(lock);
    });
    const sleeper = kfunc("test_sleeper", function* (): Generator<void, void, void> {
      local_irq_disable();
      yield* halt();
    });
    runKernel(k, function* () {
      const lock = new Spinlock(K.bootmem(8), "test_lock");
      yield* spin_lock(lock);
      yield* kernel_thread_on("hang", () => hang(), 1);
      yield* kernel_thread_on("spinner", () => spinner(lock), 2);
      yield* kernel_thread_on("sleeper", () => sleeper(), 3);
      yield* msleep(2);
      for (const c of k.machine.cpus) k.machine.ioApic.sendLanding(c, "init", "os_init", cpu.clock);
      yield* msleep(100);
    });
    expect(dumps).toBe(1);
    expect(lines(k).filter((line) => line === "Entered OS INIT handler")).toHaveLength(1);
    const monarch = k.initMonarch!;
    expect(k.crash).toMatchObject({ cpu: monarch, context: "nmi" });
    expect(k.machine.cpus.filter(({ state }) => state === STOPPED)).toHaveLength(3);
    expect(k.machine.cpus[monarch]!.state).not.toBe(RUN);
    expect(k.machine.cpus.map(({ abandoned }) => abandoned.length)).toEqual([1, 1, 1, 1]);
    expect(k.machine.cpus.slice(1).map(({ abandoned }) => abandoned[0]!.functionName)).toEqual([
      "test_hang",
      "test_spinner",
      "test_sleeper",
    ]);
    // All land within the latency of the signal and one plain section.
    const clocks = k.machine.cpus.map(({ abandoned }) => abandoned[0]!.clock);
    expect(Math.max(...clocks) - Math.min(...clocks)).toBeLessThanOrEqual(2000);
  });

  test("that meets a process in its own code says so, and goes on to the dump", () => {
    const k = bootTestMachine();
    let dumps = 0;
    k.crashdump.diskdump = function* () {
      dumps++;
      return 0;
    };
    runKernel(k, function* () {
      k.machine.ioApic.sendLanding(k.machine.cpus[0]!, "init", "os_init", cpu.clock + 1e6);
      yield* userMode(10e6);
    });
    expect(dumps).toBe(1);
    expect(lines(k)).toContain("RIP: 0033: in user mode");
  });
});
