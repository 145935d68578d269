// Goal: a scenario and a seed have one history. Method: random programs over locks, interrupts, timers and sleep, run twice.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { busyFor, cpu, step } from "../../emulator/cpu/cpu.ts";
import { MAX_SKEW_NS } from "../../emulator/cpu/machine.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { timer_list } from "../abi/structs/base.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread, kernel_thread_on } from "./fork.ts";
import { request_irq, type IrqHandler } from "./irq.ts";
import { K } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { printk } from "./printk.ts";
import { tasklet_init, tasklet_schedule, type Tasklet } from "./softirq.ts";
import { Spinlock, spin_lock_irqsave, spin_unlock_irqrestore } from "./spinlock.ts";
import { init_timer, mod_timer, msleep, udelay, type Timer } from "./timer.ts";
import { Semaphore, down, up } from "./wait.ts";
import { init_work, schedule_work, type Work } from "./workqueue.ts";

const IRQ = 11;
const KINDS = ["lock", "nest", "delay", "sleep", "timer", "tasklet", "work", "irq", "sem", "print", "spawn"] as const;
const operation = fc.record({ kind: fc.constantFrom(...KINDS), ns: fc.integer({ min: 0, max: 60_000 }) });
type Operation = { kind: (typeof KINDS)[number]; ns: number };

interface Shared {
  locks: [Spinlock, Spinlock];
  timers: Timer[];
  tasklet: Tasklet;
  work: Work;
  sem: Semaphore;
  log: string[];
}

const note = kfunc("test_note", function* (shared: Shared, what: string): Generator<void, void, void> {
  const flags = yield* spin_lock_irqsave(shared.locks[1]);
  shared.log.push(`${what} cpu${cpu.id} ${cpu.clock}`);
  step(300);
  yield* spin_unlock_irqrestore(shared.locks[1], flags);
});

const perform = kfunc("test_perform", function* (shared: Shared, { kind, ns }: Operation): Generator<void, void, void> {
  const { locks, timers } = shared;
  switch (kind) {
    case "lock":
    case "nest": {
      const flags = yield* spin_lock_irqsave(locks[0]);
      step(ns % 1500);
      if (kind === "nest") yield* note(shared, "nest");
      yield* spin_unlock_irqrestore(locks[0], flags);
      break;
    }
    case "delay":
      yield* udelay(ns / 1000);
      break;
    case "sleep":
      yield* msleep(1 + (ns % 3));
      break;
    case "timer":
      yield* mod_timer(timers[ns % timers.length]!, K.time.jiffies + (ns % 4));
      break;
    case "tasklet":
      yield* tasklet_schedule(shared.tasklet);
      break;
    case "work":
      yield* schedule_work(shared.work);
      break;
    case "irq":
      K.machine.events.arm(
        makeEvent("test-device", () => K.machine.ioApic.setLine(IRQ, true)),
        cpu.clock + ns,
      );
      break;
    case "sem":
      yield* down(shared.sem);
      yield* busyFor(ns);
      yield* up(shared.sem);
      break;
    case "print":
      yield* printk(`${"message ".repeat(ns % 40)}\n`, 6);
      break;
    case "spawn":
      yield* kernel_thread("child", () => perform(shared, { kind: "nest", ns }), 0);
  }
  yield* note(shared, kind);
});

const handler: IrqHandler = kfunc("test_interrupt", function* (_irq: number, devId: number) {
  K.machine.ioApic.setLine(IRQ, false);
  yield* busyFor(devId);
  return true;
});

function history(cpus: number, programs: readonly (readonly Operation[])[]) {
  const k = bootTestMachine({ cpus });
  const log: string[] = [];
  const ended = runKernel(
    k,
    function* () {
      const shared: Shared = {
        locks: [new Spinlock(K.bootmem(8), "lock_a"), new Spinlock(K.bootmem(8), "lock_b")],
        timers: [0, 1, 2].map((i) =>
          init_timer(K.bootmem(K.sizeOf(timer_list)), `timer${i}`, () => note(shared, `timer${i}`)),
        ),
        tasklet: tasklet_init(K.bootmem(64), "tasklet", () => note(shared, "tasklet"), 0),
        work: init_work(K.bootmem(128), "work", () => note(shared, "work")),
        sem: new Semaphore(K.bootmem(64), "sem", 1),
        log,
      };
      yield* request_irq(IRQ, handler, 0, "test", 700);
      let left = programs.length;
      for (let i = 0; i < programs.length; i++) {
        yield* kernel_thread_on(
          `p${i}`,
          function* () {
            for (const op of programs[i]!) yield* perform(shared, op);
            left--;
          },
          i % cpus,
        );
      }
      while (left > 0) yield* msleep(1);
      yield* msleep(10);
    },
    2e9,
  );
  return { ended, log, hash: k.machine.traceHash, console: k.console.lines, k };
}

describe("random programs over locks, interrupts, timers, tasklets, work, semaphores and the console", () => {
  test("end, have the same history twice, keep the CPUs together and leave nothing behind", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 4 }),
        fc.array(fc.array(operation, { maxLength: 25 }), { minLength: 1, maxLength: 6 }),
        (cpus, programs) => {
          const first = history(cpus, programs);
          const second = history(cpus, programs);
          expect(first.ended).toBe(true);
          expect(second.hash).toBe(first.hash);
          expect(second.log).toEqual(first.log);
          expect(second.console).toEqual(first.console);
          expect(first.k.reports).toEqual([]);
          expect(first.k.machine.maxSkewNs, first.k.machine.maxSkewIn).toBeLessThanOrEqual(MAX_SKEW_NS);
          expect([...first.k.locks.values()].filter((lock) => lock.waiters.length > 0)).toEqual([]);
          // Under one lock, so in virtual time too.
          const times = first.log.map((line) => Number(line.split(" ")[2]));
          expect(times).toEqual([...times].sort((a, b) => a - b));
        },
      ),
      { numRuns: 40 },
    );
  });
});
