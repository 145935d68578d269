// Goal: timers fire at their jiffy and nowhere twice, on one wheel and between wheels; delays take the time they say.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { busyFor, cpu, setCurrentCpu, type Program, type Running } from "../../emulator/cpu/cpu.ts";
import { Machine } from "../../emulator/cpu/machine.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { M } from "../abi/ram.ts";
import { timer_list } from "../abi/structs/base.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread_on } from "./fork.ts";
import { K, type Kernel } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { list_entries, list_next, list_prev } from "./list.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "./spinlock.ts";
import {
  INITIAL_JIFFIES,
  del_timer,
  del_timer_sync,
  delayNs,
  init_timer,
  mod_timer,
  msleep,
  put_timer,
  run_timer_softirq,
  udelay,
  type Timer,
  type TimerBase,
} from "./timer.ts";

const MIB = 1 << 20;
const newTimer = (func: (data: number) => Running, data = 0): Timer =>
  init_timer(K.bootmem(K.sizeOf(timer_list)), "test_timer", func, data);

/** Runs kernel code with no CPU running: nothing can make it wait. */
function atOnce(k: Kernel, start: () => Running): void {
  setCurrentCpu(k.machine.outside);
  expect(start()[Symbol.iterator]().next().done).toBe(true);
}

/** Every list of a wheel, walked in RAM: its entries' addresses. Fails when a link does not lead back. */
function entriesOf(base: TimerBase): number[] {
  const found: number[] = [];
  const heads = [base.dueList];
  const start = base.due(0);
  for (let i = 0; i < 256 + 4 * 64; i++) heads.push(start + i * 16);
  for (const head of heads) {
    for (const entry of list_entries(head, 1000)) {
      expect(list_next(list_prev(entry))).toBe(entry);
      expect(list_prev(list_next(entry))).toBe(entry);
      found.push(entry);
    }
  }
  return found;
}

describe("a timer", () => {
  test("fires in its jiffy, whatever the wheel's level: as a model that sorts by expiry says", () => {
    const delay = fc.oneof(
      { arbitrary: fc.integer({ min: -5, max: 300 }), weight: 3 },
      { arbitrary: fc.integer({ min: 0, max: 17000 }), weight: 3 },
      fc.constantFrom(0, 1, 255, 256, 257, 16383, 16384, 16385, 1048575, 1048576, 1048577, 1100000),
    );
    const program = fc.array(fc.record({ delay, again: fc.option(fc.constantFrom(0, 1, 255, 256, 257, 16384)) }), {
      minLength: 1,
      maxLength: 40,
    });
    fc.assert(
      fc.property(program, fc.integer({ min: 0, max: 20000 }), (timers, start) => {
        const k = bootTestMachine({ cpus: 1, ramMiB: 32 });
        const base = k.time.bases[0]!;
        const begin = INITIAL_JIFFIES + start;
        base.timerJiffies = begin;
        k.time.jiffies = begin;
        const fired: [number, number][] = [];
        const expected: [number, number][] = [];
        timers.forEach(({ delay: ticks, again }, id) => {
          let left = again === null ? 0 : 1;
          const timer = newTimer(function* () {
            const jiffy = base.timerJiffies - 1;
            fired.push([jiffy - begin, id]);
            if (left-- > 0) put_timer(base, timer, jiffy + again!);
          });
          put_timer(base, timer, begin + ticks);
          const first = Math.max(ticks, 0);
          expected.push([first, id]);
          // A timer that is armed for now, in its own function, is late by one.
          if (again !== null) expected.push([first + Math.max(again, 1), id]);
        });
        k.time.jiffies = begin + 1_120_000;
        atOnce(k, () => run_timer_softirq());
        const order = (a: [number, number], b: [number, number]): number => a[0] - b[0] || a[1] - b[1];
        expect(fired.map(([at]) => at)).toEqual([...fired].sort(order).map(([at]) => at));
        expect([...fired].sort(order)).toEqual([...expected].sort(order));
        expect(entriesOf(base)).toEqual([]);
        expect(base.byEntry.size).toBe(0);
      }),
      { numRuns: 25 },
    );
  });

  test("beyond the wheel's 2^32 jiffies waits in the last slot, and is put there again when that comes round", () => {
    const k = bootTestMachine({ cpus: 1 });
    const base = k.time.bases[0]!;
    const turn = 2 ** 32;
    const begin = Math.ceil(INITIAL_JIFFIES / 2 ** 26) * 2 ** 26;
    base.timerJiffies = begin;
    const timer = newTimer(() => busyFor(0));
    put_timer(base, timer, begin + turn + 5);
    expect(base.slotFor(begin + turn + 5)).toBe(base.slotFor(begin + turn - 1));
    base.timerJiffies = begin + turn - 2 ** 26;
    base.cascade(base.timerJiffies);
    expect(entriesOf(base)).toEqual([timer.addr]);
    base.timerJiffies = begin + turn;
    base.cascade(base.timerJiffies);
    k.time.jiffies = begin + turn + 4;
    atOnce(k, () => run_timer_softirq());
    expect(timer.base).toBe(base);
    k.time.jiffies = begin + turn + 5;
    atOnce(k, () => run_timer_softirq());
    expect(timer.base).toBeUndefined();
  });

  test("is on time on a running machine, and its function runs in a softirq with interrupts on", () => {
    const k = bootTestMachine();
    let late = -1;
    let state = "";
    runKernel(k, function* () {
      const due = K.time.jiffies + 300;
      const timer = newTimer(function* () {
        late = K.time.jiffies - due;
        state = `softirq depth ${K.percpu[cpu.id]!.softirqDepth}, interrupts ${cpu.interruptsEnabled}`;
      });
      yield* mod_timer(timer, due);
      yield* msleep(400);
    });
    expect(late).toBeGreaterThanOrEqual(0);
    expect(late).toBeLessThanOrEqual(1);
    expect(state).toBe("softirq depth 1, interrupts true");
  });

  test("that CPUs arm, move and delete at the same time stays on one wheel, and fires no more often than it was armed", () => {
    const k = bootTestMachine({ cpus: 4 });
    let armed = 0;
    let fired = 0;
    const hammer = kfunc("test_hammer", function* (timers: Timer[], id: number): Generator<void, void, void> {
      const random = K.machine.random.stream(`hammer${id}`);
      for (let i = 0; i < 8000; i++) {
        const timer = timers[random.between(0, timers.length - 1)]!;
        if (random.between(0, 9) < 7) {
          const was = yield* mod_timer(timer, K.time.jiffies + random.between(0, 1));
          armed += 1 - was;
        } else {
          const was = yield* del_timer(timer);
          armed -= was;
        }
        yield* busyFor(random.between(0, i % 50 === 0 ? 400_000 : 300));
      }
    });
    runKernel(k, function* () {
      const timers = Array.from({ length: 3 }, () =>
        newTimer(function* () {
          fired++;
        }),
      );
      for (let i = 0; i < 4; i++) yield* kernel_thread_on(`h${i}`, () => hammer(timers, i), i);
      yield* msleep(300);
    });
    expect(fired).toBeGreaterThan(5);
    expect(fired).toBe(armed);
    for (const base of k.time.bases) expect(entriesOf(base)).toEqual([]);
  });

  test("that another CPU arms while this one waits for its wheel's lock is moved, not linked twice", () => {
    const k = bootTestMachine({ cpus: 3 });
    const results: string[] = [];
    runKernel(k, function* () {
      const timer = newTimer(() => busyFor(0));
      const [wheel, other] = K.time.bases as [TimerBase, TimerBase, TimerBase];
      const arm = kfunc("test_arm", function* (afterNs: number, ticks: number): Generator<void, void, void> {
        yield* busyFor(afterNs);
        const was = yield* mod_timer(timer, K.time.jiffies + ticks);
        results.push(`cpu${cpu.id}: ${was}`);
      });
      yield* kernel_thread_on(
        "holder",
        function* () {
          const flags = yield* spin_lock_irqsave(wheel.lock);
          yield* busyFor(60_000);
          yield* spin_unlock_irqrestore(wheel.lock, flags);
        },
        2,
      );
      yield* kernel_thread_on("other", () => arm(30_000, 100), 1);
      yield* arm(20_000, 50);
      expect([entriesOf(wheel), entriesOf(other)]).toEqual([[timer.addr], []]);
      expect(timer.base).toBe(wheel);
    });
    expect(results).toEqual(["cpu1: 0", "cpu0: 1"]);
  });
});

describe("del_timer_sync", () => {
  test("waits until the function has run to its end on another CPU", () => {
    const k = bootTestMachine();
    const log: string[] = [];
    const function_ = kfunc("test_function", function* (): Generator<void, void, void> {
      log.push("function begins");
      yield* udelay(500);
      log.push("function ends");
    });
    runKernel(k, function* () {
      const timer = newTimer(() => function_());
      yield* kernel_thread_on("armer", () => mod_timer(timer, K.time.jiffies + 1) as Running<unknown> as Running, 1);
      while (log.length === 0) yield* udelay(1);
      expect(yield* del_timer(timer)).toBe(0);
      expect(log).toEqual(["function begins"]);
      expect(yield* del_timer_sync(timer)).toBe(0);
      log.push("deleted");
    });
    expect(log).toEqual(["function begins", "function ends", "deleted"]);
  });

  test("also takes back a timer that arms itself", () => {
    const k = bootTestMachine();
    let runs = 0;
    runKernel(k, function* () {
      const again = kfunc("test_again", function* (): Generator<void, void, void> {
        runs++;
        yield* udelay(300);
        yield* mod_timer(timer, K.time.jiffies + 1);
      });
      const timer = newTimer(() => again());
      yield* kernel_thread_on("armer", () => mod_timer(timer, K.time.jiffies + 1) as Running<unknown> as Running, 1);
      while (runs < 3) yield* udelay(10);
      expect(yield* del_timer_sync(timer)).toBe(1);
      const ran = runs;
      yield* msleep(10);
      expect(runs).toBe(ran);
    });
    expect(runs).toBeGreaterThanOrEqual(3);
  });
});

describe("a delay with interrupts off", () => {
  const bareMachine = (): Machine => {
    const memory = new PhysicalMemory(new PagePool(2 * MIB, 8 * MIB), [{ start: 0, end: 4 * MIB, type: "ram" }]);
    return new Machine({ cpus: 2, seed: 1, memory });
  };

  test("that just lets time pass ends when the step-by-step one does, after the same events, and is lost to the same NMI", () => {
    const scenario = fc.record({
      delays: fc.array(fc.integer({ min: 0, max: 3000 }), { minLength: 1, maxLength: 8 }),
      events: fc.array(fc.integer({ min: 0, max: 9000 }), { maxLength: 12 }),
      /** An event that arms another one so much later. */
      follow: fc.integer({ min: 0, max: 700 }),
      /** When the second CPU comes to life, if ever, and when an NMI lands. */
      other: fc.option(fc.integer({ min: 0, max: 9000 })),
      nmi: fc.option(fc.integer({ min: 0, max: 9000 })),
    });
    const run = (s: { delays: number[]; events: number[]; follow: number; other: number | null; nmi: number | null }) =>
      [delayNs, busyFor].map((delay) => {
        const machine = bareMachine();
        const [c, second] = machine.cpus as [(typeof machine.cpus)[0], (typeof machine.cpus)[0]];
        const log: string[] = [];
        c.interruptsEnabled = false;
        c.onLanding = (): Program => {
          log.push(`lost at ${c.clock}`);
          return busyFor(10);
        };
        s.events.forEach((at, i) => {
          const next = makeEvent(`f${i}`, (event) => log.push(`${event.label}@${event.at}`));
          const event = makeEvent(`e${i}`, () => {
            log.push(`${event.label}@${event.at}`);
            machine.events.arm(next, event.at + s.follow);
          });
          machine.events.arm(event, at);
        });
        const { nmi } = s;
        if (nmi !== null) {
          const landing = makeEvent("nmi", (event) => machine.land(c, { kind: "nmi", reason: "switch" }, event.at));
          machine.events.arm(landing, nmi);
        }
        if (s.other !== null) machine.start(second, busyFor(100), s.other);
        machine.start(
          c,
          (function* () {
            for (const ns of s.delays) {
              yield* delay(ns);
              log.push(`delay over at ${c.clock}`);
            }
          })(),
          0,
        );
        machine.run(1e6);
        return { log, clock: c.clock, hash: machine.events.hash };
      });
    fc.assert(
      fc.property(scenario, (s) => {
        const [fast, slow] = run(s);
        expect(fast).toEqual(slow);
      }),
      { numRuns: 300 },
    );
  });

  test("is over on time although a device armed an event for a time that has passed", () => {
    const machine = bareMachine();
    const [c] = machine.cpus;
    let fired = 0;
    machine.start(
      c!,
      (function* () {
        cpu.interruptsEnabled = false;
        yield* delayNs(1000);
        machine.events.arm(
          makeEvent("late", () => fired++),
          500,
        );
        yield* delayNs(1000);
      })(),
      0,
    );
    machine.run(1e6);
    expect(c!.clock).toBe(2000);
    expect(fired).toBe(1);
  });
});

describe("time", () => {
  test("is counted in RAM: jiffies, and xtime from the boot's wall clock", () => {
    const k = bootTestMachine({ boot: { bootSeconds: 1_000_000 } });
    runKernel(k, () => msleep(2500));
    const ticks = M.u32[k.symbol("jiffies") >>> 2]! - INITIAL_JIFFIES;
    expect(ticks).toBeGreaterThanOrEqual(2500);
    expect(ticks).toBeLessThanOrEqual(2504);
    expect(k.time.xtime.tv_sec).toBe(1_000_002);
    expect(Math.floor(k.time.xtime.tv_nsec / 1e6)).toBe(ticks - 2000);
  });

  test("msleep sleeps at least as long as it says, on every CPU's tick", () => {
    const k = bootTestMachine({ cpus: 4 });
    const slept: number[] = [];
    runKernel(k, function* () {
      for (const ms of [1, 2, 10]) {
        for (let i = 0; i < 8; i++) {
          const from = cpu.clock;
          yield* msleep(ms);
          slept.push((cpu.clock - from) / 1e6 - ms);
          yield* busyFor(i * 137_000);
        }
      }
    });
    expect(Math.min(...slept)).toBeGreaterThanOrEqual(0);
    expect(Math.max(...slept)).toBeLessThan(3);
  });
});
