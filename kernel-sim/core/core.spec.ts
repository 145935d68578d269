// Goal: the kernel core keeps its contracts on a running machine. Method: boot a small machine, run programs on it.
import { afterEach, describe, expect, test } from "vitest";
import { busyFor, cpu, step, type Running } from "../../emulator/cpu/cpu.ts";
import { M, peek32, store32 } from "../abi/ram.ts";
import { timer_list } from "../abi/structs/base.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread } from "./fork.ts";
import { K, current } from "./kernel.ts";
import { armProbe, disarmAllProbes, kfunc } from "./kfunc.ts";
import { panic } from "./panic.ts";
import { printk } from "./printk.ts";
import {
  Spinlock,
  spin_lock,
  spin_lock_irqsave,
  spin_trylock,
  spin_unlock,
  spin_unlock_irqrestore,
} from "./spinlock.ts";
import { schedule } from "./sched.ts";
import { raise_softirq, tasklet_init, tasklet_schedule } from "./softirq.ts";
import { init_timer, mod_timer, msleep, udelay } from "./timer.ts";
import { Completion, Semaphore, complete, down, up, wait_for_completion } from "./wait.ts";
import { init_work, schedule_work } from "./workqueue.ts";

afterEach(disarmAllProbes);

describe("a booted kernel", () => {
  test("prints its banner, starts its CPUs and runs a program as a process", () => {
    const k = bootTestMachine();
    let name = "";
    const ended = runKernel(k, function* () {
      name = current().comm;
      yield* printk("hello\n", 6);
    });
    expect(ended).toBe(true);
    expect(name).toBe("test");
    expect(k.console.lines.map((l) => l.text)).toEqual([
      "Linux version 2.6.9-5.ELsmp (dumplab) #1 SMP",
      "Brought up 2 CPUs",
      "hello",
    ]);
  });

  test("keeps jiffies in RAM, one a millisecond", () => {
    const k = bootTestMachine();
    runKernel(k, () => msleep(50));
    const at = k.symbol("jiffies");
    const ticks = M.u32[at >>> 2]! - (0x100000000 - 300000);
    expect(ticks).toBeGreaterThanOrEqual(50);
    expect(ticks).toBeLessThanOrEqual(54);
  });

  test("is deterministic: two runs of one seed have one trace hash, another seed may not", () => {
    const run = (): string => {
      const k = bootTestMachine({ cpus: 4 });
      runKernel(k, function* () {
        for (let i = 0; i < 8; i++) yield* kernel_thread(`w${i}`, () => worker(), 0);
        yield* msleep(30);
      });
      return k.machine.traceHash;
    };
    const worker = kfunc("test_worker", function* () {
      const random = K.machine.random.stream("w");
      for (let i = 0; i < 200; i++) yield* busyFor(random.between(100, 90000));
    });
    expect(run()).toBe(run());
  });

  test("lets no CPU run more than 2 us ahead of the others", () => {
    const k = bootTestMachine({ cpus: 4 });
    const lock = new Spinlock(k.bootmem(8), "test_lock");
    const hammer = kfunc("test_hammer", function* () {
      for (let i = 0; i < 3000; i++) {
        const flags = yield* spin_lock_irqsave(lock);
        step(150);
        yield* spin_unlock_irqrestore(lock, flags);
      }
    });
    runKernel(k, function* () {
      for (let i = 0; i < 8; i++) yield* kernel_thread(`h${i}`, () => hammer(), 0);
      yield* msleep(20);
    });
    expect(k.machine.maxSkewNs).toBeLessThan(2000);
  });
});

describe("locks", () => {
  test("exclude each other: two holds never overlap in virtual time", () => {
    const k = bootTestMachine({ cpus: 4 });
    const lock = new Spinlock(k.bootmem(8), "test_lock");
    const holds: [number, number][] = [];
    const taker = kfunc("test_taker", function* () {
      for (let i = 0; i < 500; i++) {
        yield* spin_lock(lock);
        const from = cpu.clock;
        yield* busyFor(300);
        holds.push([from, cpu.clock]);
        spin_unlock(lock);
        yield* busyFor(200);
      }
    });
    runKernel(k, function* () {
      for (let i = 0; i < 4; i++) yield* kernel_thread(`t${i}`, () => taker(), i);
      yield* msleep(20);
    });
    expect(holds.length).toBe(2000);
    holds.sort((a, b) => a[0] - b[0]);
    for (let i = 1; i < holds.length; i++) expect(holds[i]![0]).toBeGreaterThanOrEqual(holds[i - 1]![1]);
  });

  test("that their own CPU holds already are recognised as a deadlock of its own making", () => {
    const k = bootTestMachine();
    const lock = new Spinlock(k.bootmem(8), "host_lock");
    let end = "";
    k.machine.onDeadlock = (d) => {
      end = `${d.end}: ${d.chain[0]!.waitsFor}`;
      k.machine.stopReason = "dead";
    };
    runKernel(k, function* () {
      yield* spin_lock(lock);
      yield* spin_lock(lock);
    });
    expect(end).toBe("itself: host_lock");
  });

  test("held by a context that an NMI abandoned are a deadlock for the next taker", () => {
    const k = bootTestMachine();
    const lock = new Spinlock(k.bootmem(8), "FreeQlock");
    const found: string[] = [];
    const holder = kfunc("test_holder", function* () {
      yield* spin_lock(lock);
      yield* busyFor(1e9);
    });
    k.machine.onDeadlock = (d) => {
      found.push(`${d.end}: ${d.chain[0]!.waitsFor} held in ${d.chain[0]!.holder}`);
      k.machine.stopReason = "dead";
    };
    for (const c of k.machine.cpus) {
      c.onLanding = (at) =>
        (function* (): Generator<void, void, void> {
          void at;
          yield* spin_lock(lock);
        })();
    }
    let holderCpu = -1;
    runKernel(k, function* () {
      const task = yield* kernel_thread("holder", () => holder(), 1);
      yield* msleep(2);
      holderCpu = task.cpuId;
      K.machine.land(K.machine.cpus[holderCpu]!, { kind: "nmi", reason: "switch" }, cpu.clock + 1000);
      yield* msleep(5);
    });
    expect(found[0]).toBe("abandoned context: FreeQlock held in test_holder");
  });

  test("cannot be taken by trylock at a time before they were freed", () => {
    const k = bootTestMachine({ cpus: 1 });
    const lock = new Spinlock(k.bootmem(8), "test_lock");
    const got: boolean[] = [];
    runKernel(k, function* () {
      yield* busyFor(0);
      got.push(spin_trylock(lock));
      got.push(spin_trylock(lock));
      spin_unlock(lock);
      lock.freedAt = cpu.clock + 500;
      got.push(spin_trylock(lock));
      step(600);
      got.push(spin_trylock(lock));
      spin_unlock(lock);
    });
    expect(got).toEqual([true, false, false, true]);
  });
});

describe("an NMI or INIT", () => {
  test("lands before the effect of the access at which it strikes, never after", () => {
    const k = bootTestMachine({ cpus: 1 });
    const at = k.bootmem(64);
    let seen = -1;
    let struck = 0;
    const counter = kfunc("test_counter", function* () {
      for (let i = 1; i <= 100000; i++) store32(at, i);
      yield* busyFor(1);
    });
    k.machine.cpus[0]!.onLanding = (c) => {
      seen = peek32(at);
      struck = c.clock;
      return (function* (): Generator<void, void, void> {
        K.machine.stopReason = "struck";
        yield;
      })();
    };
    runKernel(k, function* () {
      K.machine.land(cpu, { kind: "init", reason: "os_init" }, cpu.clock + 5000);
      yield* counter();
    });
    expect(struck).toBeGreaterThan(0);
    expect(seen).toBeGreaterThan(1000);
    expect(peek32(at)).toBe(seen);
  });
});

describe("deferred work", () => {
  test("timers fire on time, tasklets once per schedule, work in keventd", () => {
    const k = bootTestMachine();
    const log: string[] = [];
    const note = kfunc("test_note", function* (text: string): Generator<void, void, void> {
      log.push(text);
      yield* udelay(1);
    });
    runKernel(k, function* () {
      const start = K.time.jiffies;
      const timer = init_timer(K.bootmem(K.sizeOf(timer_list)), "t", () => note(`timer +${K.time.jiffies - start}`));
      yield* mod_timer(timer, start + 300);
      const tasklet = tasklet_init(K.bootmem(64), "tl", () => note("tasklet"), 0);
      yield* tasklet_schedule(tasklet);
      yield* tasklet_schedule(tasklet);
      const work = init_work(K.bootmem(128), "w", () => note(`work in ${current().comm}`));
      yield* schedule_work(work);
      yield* msleep(400);
    });
    expect(log.sort()).toEqual([
      "tasklet",
      expect.stringMatching(/^timer \+30[0-2]$/),
      expect.stringMatching(/^work in events\/\d$/),
    ]);
  });

  test("completions and semaphores put tasks to sleep and wake them", () => {
    const k = bootTestMachine();
    const order: string[] = [];
    const other = kfunc("test_other", function* (done: Completion, sem: Semaphore): Generator<void, void, void> {
      yield* down(sem);
      order.push("b has it");
      yield* complete(done);
    });
    runKernel(k, function* () {
      const done = new Completion(K.bootmem(64), "done");
      const sem = new Semaphore(K.bootmem(64), "sem", 1);
      yield* down(sem);
      yield* kernel_thread("b", () => other(done, sem), 1);
      yield* msleep(3);
      order.push("a ups");
      yield* up(sem);
      yield* wait_for_completion(done);
      order.push("a done");
    });
    expect(order).toEqual(["a ups", "b has it", "a done"]);
  });
});

describe("probes", () => {
  test("run at the n-th entry of a kernel function, in its caller's context", () => {
    const k = bootTestMachine();
    let hits = 0;
    const target = kfunc("test_target", function* (): Generator<void, void, void> {
      hits++;
      yield* udelay(1);
    });
    expect(armProbe("test_target", 3, () => panic("LKDTM"))).toBe(true);
    runKernel(k, function* () {
      for (let i = 0; i < 10; i++) yield* target();
    });
    expect(hits).toBe(2);
    expect(k.console.lines.at(-1)!.text).toBe("Kernel panic - not syncing: LKDTM");
  });
});

describe("scheduling while atomic", () => {
  test("is reported", () => {
    const k = bootTestMachine();
    runKernel(
      k,
      function* () {
        yield* raise_softirq(0);
        const tasklet = tasklet_init(K.bootmem(64), "tl", () => schedule() as Running, 0);
        yield* tasklet_schedule(tasklet);
        yield* msleep(5);
      },
      1e8,
    );
    expect(k.reports[0]).toMatch(/scheduling while atomic/);
  });
});
