// Goal: a machine boots and runs a program as a process, every time in the same way.
import { describe, expect, test } from "vitest";
import { busyFor, step } from "../../emulator/cpu/cpu.ts";
import { MAX_SKEW_NS } from "../../emulator/cpu/machine.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread } from "./fork.ts";
import { K, current } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { printk } from "./printk.ts";
import { Spinlock, spin_lock_irqsave, spin_unlock_irqrestore } from "./spinlock.ts";
import { msleep } from "./timer.ts";

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

  test("is deterministic: two runs of one seed have one trace hash, another seed has another", () => {
    const worker = kfunc("test_worker", function* (): Generator<void, void, void> {
      const random = K.machine.random.stream("w");
      for (let i = 0; i < 200; i++) yield* busyFor(random.between(100, 90000));
    });
    const run = (seed: number): string => {
      const k = bootTestMachine({ cpus: 4, seed });
      runKernel(k, function* () {
        for (let i = 0; i < 8; i++) yield* kernel_thread(`w${i}`, () => worker(), 0);
        yield* msleep(30);
      });
      return k.machine.traceHash;
    };
    expect(run(1)).toBe(run(1));
    expect(run(2)).not.toBe(run(1));
  });

  test("lets no CPU run more than 2 us ahead of the others, however they fight for a lock", () => {
    const k = bootTestMachine({ cpus: 4 });
    const lock = new Spinlock(k.bootmem(8), "test_lock");
    const hammer = kfunc("test_hammer", function* (): Generator<void, void, void> {
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
    expect(k.machine.maxSkewNs).toBeGreaterThan(100);
    expect(k.machine.maxSkewNs, k.machine.maxSkewIn).toBeLessThanOrEqual(MAX_SKEW_NS);
  });
});
