// Goal: a kernel dies as 2.6.9 does, from wherever it is, and the record says where that was.
import { afterEach, describe, expect, test } from "vitest";
import { busyFor, cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { bootTestMachine, type TestMachineOptions } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { do_exit, kernel_thread, kernel_thread_on } from "./fork.ts";
import { request_irq } from "./irq.ts";
import { K, type Kernel } from "./kernel.ts";
import { armProbe, disarmAllProbes, kfunc, kleaf } from "./kfunc.ts";
import { BUG, page_fault, handle_sysrq, panic } from "./panic.ts";
import { savedRegisters } from "./registers.ts";
import { Spinlock, spin_lock } from "./spinlock.ts";
import { tasklet_init, tasklet_schedule } from "./softirq.ts";
import { msleep, udelay } from "./timer.ts";

afterEach(disarmAllProbes);

const IRQ = 10;
const test_victim = kfunc("test_victim", function* (how: () => Running): Generator<void, void, void> {
  yield* how();
});
const test_interrupt = kfunc("test_interrupt", function* (how: () => Running): Generator<void, boolean, void> {
  K.machine.ioApic.setLine(IRQ, false);
  yield* how();
  return true;
});
const test_leaf = kleaf("test_leaf", () => {
  leafRuns++;
});
const test_caller = kfunc("test_caller", function* (): Generator<void, void, void> {
  for (let i = 0; i < 10; i++) {
    test_leaf();
    yield* udelay(1);
  }
});
let leafRuns = 0;

const lines = (k: Kernel): string[] => k.console.lines.map(({ text }) => text);

/** Boots and runs `program`, for a second at most. */
function runUntilDead(program: () => Running, options: TestMachineOptions = {}, before?: (k: Kernel) => void): Kernel {
  const k = bootTestMachine(options);
  before?.(k);
  runKernel(k, program, 1e9);
  return k;
}

/** Dies in the handler of a device interrupt. */
function* inHardirq(how: () => Running): Generator<void, void, void> {
  yield* request_irq(IRQ, () => test_interrupt(how), 0, "test", 0);
  K.machine.ioApic.setLine(IRQ, true);
  yield* msleep(2);
}

describe("panic", () => {
  test("prints, calls the notifiers and stops; the record names who called it, from which context", () => {
    const told: number[] = [];
    const k = runUntilDead(
      () => test_victim(() => panic("test")),
      {},
      (kernel) => kernel.panicNotifiers.register({ name: "t", priority: 0, call: (e) => (told.push(e), busyFor(0)) }),
    );
    expect(lines(k).at(-1)).toBe("Kernel panic - not syncing: test");
    expect(k.crash).toMatchObject({ functionName: "test_victim", task: "test[2]", context: "process", cpu: 0 });
    expect(told).toEqual([0]);
    expect(k.machine.stopReason).toMatch(/^the kernel died/);
  });

  test("in a handler or a softirq says so", () => {
    const hard = runUntilDead(() => inHardirq(() => panic("test")));
    expect(hard.crash).toMatchObject({ functionName: "test_interrupt", context: "hardirq" });
    const soft = runUntilDead(function* () {
      const tasklet = tasklet_init(K.bootmem(64), "t", () => test_victim(() => panic("test")), 0);
      yield* tasklet_schedule(tasklet);
      yield* msleep(2);
    });
    expect(soft.crash).toMatchObject({ functionName: "test_victim", context: "softirq" });
  });

  test("gives the dumpers their chance in order, each once: a panic inside one goes on with the next", () => {
    const order: string[] = [];
    const k = runUntilDead(
      () => panic("first"),
      {},
      (kernel) => {
        kernel.crashdump.diskdump = kfunc("test_diskdump", function* (): Generator<void, number, void> {
          order.push("diskdump");
          yield* panic("in the dump");
          return 0;
        });
        kernel.crashdump.netdump = kfunc("test_netdump", function* (): Generator<void, number, void> {
          order.push("netdump");
          yield* busyFor(1);
          return -1;
        });
        kernel.panicNotifiers.register({
          name: "t",
          priority: 0,
          call: () => (order.push("notifier"), busyFor(0)),
        });
      },
    );
    expect(order).toEqual(["diskdump", "netdump", "notifier"]);
    expect(k.crash!.reason).toBe("panic: first");
    expect(k.secondCrash).toMatchObject({ reason: "panic: in the dump" });
  });

  test("reboots after its time-out, and the NMI watchdog does not mind the wait", () => {
    const k = bootTestMachine({
      boot: { bootArguments: { panicTimeoutSeconds: 12, panicOnOops: false, nmiWatchdog: true } },
    });
    runKernel(k, function* () {
      cpu.interruptsEnabled = false;
      yield* panic("test");
    });
    expect(k.restarted).toBe("panic");
    expect(k.crash!.ns).toBeLessThan(1e9);
    expect(k.machine.now()).toBeGreaterThan(12e9);
    expect(k.secondCrash).toBeUndefined();
  });
});

describe("an oops", () => {
  test("ends only its process; the system goes on", () => {
    let after = false;
    const k = runUntilDead(function* () {
      yield* kernel_thread("victim", () => test_victim(() => page_fault(0)), 1);
      yield* msleep(10);
      after = true;
    });
    expect(after).toBe(true);
    expect(k.crash).toMatchObject({ functionName: "test_victim", reason: "Oops: 0002 [1] SMP", task: "victim[5]" });
  });

  test("prints what crashed and how it got there, from the registers of the fault", () => {
    const k = runUntilDead(() => test_victim(() => page_fault(0x10)));
    const text = lines(k).join("\n");
    expect(text).toContain("Unable to handle kernel NULL pointer dereference at 0000000000000010 RIP: ");
    expect(text).toMatch(/RIP: 0010:\[<ffffffff80[0-9a-f]{6}>\] <ffffffff80[0-9a-f]{6}>\{test_victim\+16\}/);
    expect(text).toMatch(/Pid: 2, comm: test Not tainted 2\.6\.9-5\.ELsmp/);
    expect(text).toMatch(/Call Trace:\{system_call\+32\} $/m);
    const { ip, sp, fp } = savedRegisters(k.crash!.regs);
    expect(k.functionAt(ip)).toBe("test_victim");
    expect(fp).toBeGreaterThanOrEqual(sp);
    expect(fp - sp).toBeLessThan(4096);
  });

  test("is a panic with panic_on_oops, in an interrupt, in the idle task and in init", () => {
    const boot = { bootArguments: { panicTimeoutSeconds: 0, panicOnOops: true, nmiWatchdog: false } };
    const last = (k: Kernel): string => lines(k).at(-1)!;
    expect(last(runUntilDead(() => BUG("test.c:1"), { boot }))).toBe("Kernel panic - not syncing: Fatal exception");
    expect(last(runUntilDead(() => inHardirq(() => BUG("test.c:1"))))).toBe(
      "Kernel panic - not syncing: Fatal exception in interrupt",
    );
    expect(last(runUntilDead(() => msleep(10), { init: () => page_fault(0) }))).toBe(
      "Kernel panic - not syncing: Attempted to kill init!",
    );
    const idle = runUntilDead(
      () => msleep(10),
      {},
      () => armProbe("default_idle", 5, () => page_fault(0)),
    );
    expect(last(idle)).toBe("Kernel panic - not syncing: Attempted to kill the idle task!");
    expect(last(runUntilDead(() => inHardirq(() => do_exit())))).toBe(
      "Kernel panic - not syncing: Aiee, killing interrupt handler!",
    );
  });

  test("on two CPUs at once: the second waits until the first has had its dump", () => {
    const order: string[] = [];
    const dumper = kfunc("test_dumper", function* (): Generator<void, number, void> {
      order.push(`dump on cpu${cpu.id}`);
      yield* busyFor(1e6);
      order.push("dump ends");
      return -1;
    });
    const k = runUntilDead(
      function* () {
        for (const id of [1, 2]) {
          yield* kernel_thread_on(`v${id}`, () => test_victim(() => page_fault(0)), id);
        }
        yield* msleep(10);
        order.push(...lines(K).filter((line) => /^CPU \d/.test(line)));
      },
      { cpus: 3 },
      (kernel) => {
        kernel.crashdump.diskdump = () => dumper();
      },
    );
    expect(order).toEqual(["dump on cpu1", "dump ends", "CPU 1 ", "CPU 2 "]);
    const text = lines(k);
    expect(text.indexOf("CPU 2 ")).toBeGreaterThan(text.findIndex((line) => line.startsWith("Call Trace:")));
  });

  test("inside an oops of the same CPU does not wait for itself", () => {
    const k = runUntilDead(
      () => page_fault(0),
      {},
      (kernel) => {
        kernel.crashdump.diskdump = () => page_fault(4) as Running<unknown> as Running<number>;
      },
    );
    expect(lines(k).filter((line) => line.startsWith("Unable to handle"))).toHaveLength(2);
    expect(k.secondCrash!.reason).toBe("Oops: 0002 [1] SMP");
  });
});

describe("SysRq", () => {
  test("c crashes in sysrq_handle_crash, also from the keyboard's interrupt", () => {
    const k = runUntilDead(() => inHardirq(() => handle_sysrq("c")));
    expect(lines(k)).toContain("SysRq : Trigger a crashdump");
    expect(k.crash).toMatchObject({ functionName: "sysrq_handle_crash", context: "hardirq" });
    expect(lines(k).at(-1)).toBe("Kernel panic - not syncing: Fatal exception in interrupt");
  });

  test("b reboots", () => {
    expect(runUntilDead(() => handle_sysrq("b")).restarted).toBe("sysrq");
  });
});

describe("a crash point", () => {
  test("strikes at the n-th entry of a kernel function", () => {
    let hits = 0;
    expect(armProbe("test_victim", 3, () => panic("LKDTM"))).toBe(true);
    const k = runUntilDead(function* () {
      for (let i = 0; i < 10; i++) yield* test_victim(() => (hits++, busyFor(0)));
    });
    expect(hits).toBe(2);
    expect(lines(k).at(-1)).toBe("Kernel panic - not syncing: LKDTM");
    expect(k.crash!.functionName).toBe("test_victim");
  });

  test("strikes in a function without preemption points too: its callers are left, its locks stay held", () => {
    leafRuns = 0;
    armProbe("test_leaf", 4, () => panic("LKDTM"));
    let lock: Spinlock | undefined;
    const k = runUntilDead(function* () {
      lock = new Spinlock(K.bootmem(8), "test_lock");
      yield* spin_lock(lock);
      yield* test_caller();
    });
    expect(leafRuns).toBe(3);
    expect(k.crash).toMatchObject({ functionName: "test_leaf" });
    expect(lines(k).at(-1)).toBe("Kernel panic - not syncing: LKDTM");
    expect(lock!.isHeld).toBe(true);
  });

  test("that only looks, lets a function without preemption points go on", () => {
    leafRuns = 0;
    let seen = -1;
    armProbe("test_leaf", 4, function* () {
      seen = leafRuns;
    });
    runUntilDead(() => test_caller());
    expect(seen).toBe(3);
    expect(leafRuns).toBe(10);
  });

  test("for a function that does not exist is refused", () => {
    expect(armProbe("no_such_function", 1, () => panic("x"))).toBe(false);
  });
});
