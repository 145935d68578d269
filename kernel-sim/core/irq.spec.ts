// Goal: interrupts come and go as on the real machine, and what a dead CPU leaves of them stays. Method: lines driven by hand.
import { describe, expect, test } from "vitest";
import { busyFor, cpu, type Cpu } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr } from "../abi/ram.ts";
import { pt_regs } from "../abi/structs/registers.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import {
  IRQ_INPROGRESS,
  IRQ_PENDING,
  SA_INTERRUPT,
  SA_SHIRQ,
  disable_irq_nosync,
  enable_irq,
  request_irq,
  vectorOfIrq,
  type IrqHandler,
} from "./irq.ts";
import { K, type Kernel } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import type { PerCpu } from "./percpu.ts";
import { stackFunctions } from "./panic.ts";
import { msleep, udelay } from "./timer.ts";

const IRQ = 10;
const line = (asserted: boolean, irq = IRQ): void => K.machine.ioApic.setLine(irq, asserted);

/** A handler that quiets its device after `workNs`. */
const deviceHandler = (log: string[], workNs = 1000, irq = IRQ): IrqHandler =>
  kfunc("test_interrupt", function* (): Generator<void, boolean, void> {
    log.push(`in ${irq} on cpu${cpu.id}`);
    yield* busyFor(workNs);
    line(false, irq);
    log.push(`out ${irq}`);
    return true;
  });

describe("a device line", () => {
  test("runs its handler once per request, at the CPU it is routed to, and is counted in kstat", () => {
    const k = bootTestMachine();
    const log: string[] = [];
    runKernel(k, function* () {
      yield* request_irq(IRQ, deviceHandler(log), 0, "test", 0);
      line(true);
      yield* msleep(1);
      k.machine.ioApic.entry(IRQ).destination = 1;
      line(true);
      yield* msleep(1);
    });
    expect(log).toEqual(["in 10 on cpu0", "out 10", "in 10 on cpu1", "out 10"]);
    expect(M.u32[(k.irq.kstat[1]!.irqs + IRQ * 4) >>> 2]).toBe(1);
    expect(k.irq.descs[IRQ]!.status & IRQ_INPROGRESS).toBe(0);
  });

  test("lets a higher class interrupt its handler, unless that asked for interrupts off (SA_INTERRUPT)", () => {
    for (const flags of [0, SA_INTERRUPT]) {
      const nested = bootTestMachine({ cpus: 1 });
      const order: string[] = [];
      runKernel(nested, function* () {
        const low = kfunc("test_low", function* (): Generator<void, boolean, void> {
          order.push("low in");
          line(true, 20);
          yield* busyFor(20_000);
          line(false, 4);
          order.push("low out");
          return true;
        });
        yield* request_irq(4, low, flags, "low", 0);
        yield* request_irq(20, deviceHandler(order, 1000, 20), flags, "high", 0);
        line(true, 4);
        yield* msleep(1);
      });
      const inner = ["in 20 on cpu0", "out 20"];
      expect(order).toEqual(flags === 0 ? ["low in", ...inner, "low out"] : ["low in", "low out", ...inner]);
    }
  });

  test("is shared only when all agree; a sharer's handlers are all asked", () => {
    const k = bootTestMachine();
    const asked: number[] = [];
    const results: number[] = [];
    const handler: IrqHandler = kfunc("test_shared", function* (_irq: number, devId: number) {
      asked.push(devId);
      line(false);
      yield* busyFor(10);
      return devId === 2;
    });
    runKernel(k, function* () {
      results.push(yield* request_irq(IRQ, handler, SA_SHIRQ, "a", 1));
      results.push(yield* request_irq(IRQ, handler, SA_SHIRQ, "b", 2));
      results.push(yield* request_irq(IRQ, handler, 0, "c", 3));
      line(true);
      yield* msleep(1);
    });
    expect(results).toEqual([0, 0, -16]);
    expect(asked).toEqual([1, 2]);
  });

  test("that is disabled stays quiet, as deep as it was disabled, and asks when it is enabled", () => {
    const k = bootTestMachine();
    const log: string[] = [];
    runKernel(k, function* () {
      yield* request_irq(IRQ, deviceHandler(log), 0, "test", 0);
      yield* disable_irq_nosync(IRQ);
      yield* disable_irq_nosync(IRQ);
      line(true);
      yield* msleep(1);
      yield* enable_irq(IRQ);
      yield* msleep(1);
      expect(log).toEqual([]);
      yield* enable_irq(IRQ);
      yield* msleep(1);
      expect(log).toHaveLength(2);
      expect(k.reports).toEqual([]);
      yield* enable_irq(IRQ);
    });
    expect(k.reports).toEqual([`enable_irq(${IRQ}) unbalanced`]);
  });

  test("that nobody cares for is shut down after 100000 interrupts", () => {
    const k = bootTestMachine({ cpus: 1 });
    let asked = 0;
    const handler: IrqHandler = kfunc("test_stranger", function* (): Generator<void, boolean, void> {
      asked++;
      yield* busyFor(0);
      return false;
    });
    runKernel(k, function* () {
      yield* request_irq(IRQ, handler, 0, "test", 0);
      line(true);
      yield* msleep(500);
    });
    expect(k.reports).toEqual([`irq ${IRQ}: nobody cared!`]);
    expect(asked).toBe(100_000);
  });
});

test.each([
  ["irqpoll", 1],
  ["", 0],
])(
  "a device on a line that a stranger had shut down is served from the tick with irqpoll, else never: %j",
  (words, served) => {
    const k = bootTestMachine({ cpus: 1, boot: { commandLine: words } });
    let asks = false;
    let taken = 0;
    const handler: IrqHandler = kfunc("test_sharer", function* (): Generator<void, boolean, void> {
      yield* busyFor(0);
      if (!asks) return false;
      asks = false;
      taken++;
      return true;
    });
    runKernel(k, function* () {
      yield* request_irq(IRQ, handler, SA_SHIRQ, "test", 0);
      line(true);
      yield* msleep(500);
      asks = true;
      yield* msleep(5);
    });
    expect(k.reports).toEqual([`irq ${IRQ}: nobody cared!`]);
    expect(taken).toBe(served);
  },
);

describe("what an abandoned handler leaves behind", () => {
  /** CPU 1 is struck by an NMI in the handler of the line; `after` runs there on a fresh stack. */
  function abandonInHandler(after: (k: Kernel, c: Cpu) => void): { k: Kernel; entries: () => number } {
    const k = bootTestMachine();
    const log: string[] = [];
    const c = k.machine.cpus[1]!;
    c.onLanding = () =>
      (function* (): Generator<void, void, void> {
        after(k, c);
        k.machine.stop(c);
        yield;
      })();
    runKernel(k, function* () {
      yield* request_irq(IRQ, deviceHandler(log, 50_000), 0, "test", 0);
      k.machine.ioApic.entry(IRQ).destination = 1;
      line(true);
      yield* udelay(20);
      expect(log).toEqual(["in 10 on cpu1"]);
      k.machine.land(c, { kind: "nmi", reason: "freeze" }, cpu.clock);
      yield* udelay(20);
      k.machine.ioApic.entry(IRQ).destination = 0;
      const letGo = makeEvent("let-go", () => line(false));
      for (let i = 0; i < 3; i++) {
        line(false);
        yield* msleep(1);
        // Not for long: a level that nobody quiets, and whose EOI is paid, is an interrupt storm.
        k.machine.events.arm(letGo, cpu.clock + 5000);
        line(true);
        yield* msleep(1);
      }
    });
    return { k, entries: () => log.filter((entry) => entry.startsWith("in")).length };
  }

  test("an EOI that is owed: the line never asks again, wherever it is routed", () => {
    const { k, entries } = abandonInHandler(() => {});
    expect(entries()).toBe(1);
    expect(k.machine.ioApic.entry(IRQ)).toMatchObject({ remoteIrr: true });
    expect(k.machine.cpus[1]!.abandoned[0]!.inService).toEqual([vectorOfIrq(IRQ)]);
    expect(k.irq.descs[IRQ]!.status & IRQ_INPROGRESS).toBe(IRQ_INPROGRESS);
  });

  test("IRQ_INPROGRESS: even when the EOI is paid, the next interrupt is only marked pending", () => {
    const { k, entries } = abandonInHandler((_k, c) => {
      line(false);
      c.apic.endOfInterrupt();
    });
    expect(entries()).toBe(1);
    expect(k.irq.descs[IRQ]!.status & (IRQ_INPROGRESS | IRQ_PENDING)).toBe(IRQ_INPROGRESS | IRQ_PENDING);
  });

  test("and nothing of the kind when the NMI's handler returns: the interrupt handler goes on to its end", () => {
    const k = bootTestMachine();
    const log: string[] = [];
    runKernel(k, function* () {
      k.machine.cpus[1]!.onLanding = () => undefined;
      yield* request_irq(IRQ, deviceHandler(log, 50_000), 0, "test", 0);
      k.machine.ioApic.entry(IRQ).destination = 1;
      line(true);
      yield* udelay(20);
      k.machine.land(k.machine.cpus[1]!, { kind: "nmi", reason: "watchdog" }, cpu.clock);
      yield* msleep(1);
    });
    expect(log).toEqual(["in 10 on cpu1", "out 10"]);
    expect(k.machine.cpus[1]!.apic.inService).toEqual([]);
  });
});

describe("an interrupt's entry", () => {
  test("leaves stack, frame and function of the interrupted code as they were", () => {
    const seen = new Set<string>();
    const inner = kfunc("test_inner", function* (): Generator<void, void, void> {
      for (let i = 0; i < 20; i++) {
        seen.add(`${cpu.sp} ${cpu.fp} ${cpu.functionId} ${stackFunctions(cpu.fp).join(" < ")}`);
        yield* busyFor(700_000);
      }
    });
    const outer = kfunc("test_outer", function* (): Generator<void, void, void> {
      yield* inner();
    });
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, () => outer());
    expect(k.percpu[0]!.timerTicks).toBeGreaterThan(10);
    expect(seen.size).toBe(1);
    expect([...seen][0]).toMatch(/ test_inner < test_outer/);
  });

  test("saves registers that say where it struck, with interrupts on, and moves to the interrupt stack once", () => {
    let found: { ip: string | undefined; eflags: number; sp: number; depth: number; stack: number } | undefined;
    const handler: IrqHandler = kfunc("test_interrupt", function* (): Generator<void, boolean, void> {
      const regs = peekPtr(p.irqStackTop - 8);
      found = {
        ip: k.functionAt(peekPtr(regs + k.offsetOf(pt_regs.x86_64, "rip"))),
        eflags: M.u32[(regs + k.offsetOf(pt_regs.x86_64, "eflags")) >>> 2]!,
        sp: peekPtr(regs + k.offsetOf(pt_regs.x86_64, "rsp")),
        depth: p.pda.irqcount,
        stack: p.irqStackTop - cpu.sp,
      };
      yield* busyFor(10);
      line(false);
      return true;
    });
    const victim = kfunc("test_victim", function* (): Generator<void, void, void> {
      const sp = cpu.sp;
      line(true);
      yield* busyFor(5000);
      expect(found).toMatchObject({ ip: "test_victim", eflags: 0x246, sp, depth: 0 });
      expect(found!.stack).toBeGreaterThan(0);
      expect(found!.stack).toBeLessThan(512);
    });
    const k: Kernel = bootTestMachine({ cpus: 1 });
    const p: PerCpu = k.percpu[0]!;
    runKernel(k, function* () {
      yield* request_irq(IRQ, handler, 0, "test", 0);
      yield* victim();
    });
    expect(found).toBeDefined();
    expect(p.pda.irqcount).toBe(-1);
  });

  test("for a vector that belongs to nobody is reported, and ended", () => {
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, function* () {
      cpu.apic.request(0x7e, cpu.clock);
      yield* msleep(3);
    });
    expect(k.reports).toEqual(["unexpected IRQ trap at vector 7e on cpu 0"]);
    expect(k.machine.cpus[0]!.apic.inService).toEqual([]);
  });
});

describe("on ia64", () => {
  test("lines and ticks come and go: cr.tpr is down and nothing is in service between them", () => {
    const k = bootTestMachine({ cpus: 2, sapic: true });
    const log: string[] = [];
    runKernel(k, function* () {
      yield* request_irq(IRQ, deviceHandler(log), 0, "test", 0);
      for (let i = 0; i < 3; i++) {
        line(true);
        yield* msleep(2);
      }
    });
    expect(log).toHaveLength(6);
    expect(k.time.jiffies).toBeGreaterThan(0);
    for (const { apic } of k.machine.cpus) expect([apic.taskPriority, apic.inService]).toEqual([0, []]);
    expect(k.reports).toEqual([]);
  });

  test("a handler that is abandoned leaves three things, and its line comes again only when the last of them is undone", () => {
    const k = bootTestMachine({ cpus: 1, sapic: true });
    const log: string[] = [];
    let took = 0;
    runKernel(k, function* () {
      yield* request_irq(IRQ, deviceHandler(log), SA_INTERRUPT, "test", 0);
      const c = cpu;
      c.onLanding = () =>
        (function* (): Generator<void, void, void> {
          // A dumper of the time, in its INIT handler: EOI at the CPU, EOI at the IOSAPIC, cr.tpr down.
          c.interruptsEnabled = false;
          line(false);
          line(true);
          const undo = [
            () => c.apic.endOfInterrupt(),
            () => K.machine.ioApic.endOfInterrupt(vectorOfIrq(IRQ), c.clock),
            () => (c.apic.taskPriority = 0),
          ];
          for (const step of undo) {
            yield* busyFor(10_000);
            expect(c.apic.acknowledge(c.clock)).not.toBe(vectorOfIrq(IRQ));
            step();
          }
          yield* busyFor(10_000);
          took = c.apic.acknowledge(c.clock);
          K.machine.stopReason = "shown";
          yield;
        })();
      const init = makeEvent("init", () => K.machine.land(c, { kind: "init", reason: "os_init" }, K.machine.now()));
      line(true);
      K.machine.events.arm(init, c.clock + 1_000);
      yield* udelay(100);
    });
    expect(log).toEqual([`in ${IRQ} on cpu0`]);
    expect(took).toBe(vectorOfIrq(IRQ));
    expect(k.irq.descs[IRQ]!.status & IRQ_INPROGRESS).toBe(IRQ_INPROGRESS);
  });
});
