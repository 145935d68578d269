// Goal: locks exclude, their waiters are never lost, and who will wait for ever is known. Method: programs on a booted machine.
import { describe, expect, test } from "vitest";
import { STOPPED, busyFor, cpu, step } from "../../emulator/cpu/cpu.ts";
import type { Deadlock } from "../../emulator/cpu/machine.ts";
import { common_interrupt } from "./entry.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread, kernel_thread_on } from "./fork.ts";
import { request_irq } from "./irq.ts";
import { K, type Kernel } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import {
  Spinlock,
  force_unlock,
  local_irq_disable,
  spin_lock,
  spin_lock_irqsave,
  spin_trylock,
  spin_unlock,
  spin_unlock_irqrestore,
} from "./spinlock.ts";
import { msleep } from "./timer.ts";

const FREEZE_VECTOR = 0xfa;

function lockOf(k: Kernel, name = "test_lock"): Spinlock {
  return new Spinlock(k.bootmem(8), name);
}

function* stopHere(): Generator<void, void, void> {
  K.machine.stop(cpu);
  yield;
}

/** Takes the lock, notes it, holds it for a moment. */
const take = kfunc("test_take", function* (lock: Spinlock, order: number[]): Generator<void, void, void> {
  yield* spin_lock(lock);
  order.push(cpu.id);
  yield* busyFor(1000);
  spin_unlock(lock);
});

describe("a spinlock", () => {
  test("excludes: two holds never overlap in virtual time", () => {
    const k = bootTestMachine({ cpus: 4 });
    const lock = lockOf(k);
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

  test("cannot be taken by trylock at a time before it was freed", () => {
    const k = bootTestMachine({ cpus: 1 });
    const lock = lockOf(k);
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

  test("is tried in the order in which its waiters came", () => {
    const k = bootTestMachine({ cpus: 4 });
    const lock = lockOf(k);
    const order: number[] = [];
    runKernel(k, function* () {
      local_irq_disable();
      yield* spin_lock(lock);
      for (const id of [2, 1, 3]) {
        yield* kernel_thread_on(`t${id}`, () => take(lock, order), id);
        yield* busyFor(50_000);
      }
      spin_unlock(lock);
      yield* busyFor(50_000);
    });
    expect(order).toEqual([2, 1, 3]);
  });

  test("that a context leaves while it waits goes to the next waiter: a ghost is not woken", () => {
    const k = bootTestMachine({ cpus: 3 });
    const lock = lockOf(k);
    const order: number[] = [];
    runKernel(k, function* () {
      k.machine.cpus[1]!.onLanding = () => stopHere();
      yield* spin_lock(lock);
      yield* kernel_thread_on("ghost", () => take(lock, order), 1);
      yield* busyFor(50_000);
      yield* kernel_thread_on("next", () => take(lock, order), 2);
      yield* busyFor(50_000);
      k.machine.land(k.machine.cpus[1]!, { kind: "nmi", reason: "freeze" }, cpu.clock);
      yield* busyFor(50_000);
      spin_unlock(lock);
      yield* busyFor(50_000);
    });
    expect(order).toEqual([2]);
    expect(k.machine.cpus[1]!.state).toBe(STOPPED);
    expect(lock.waiters).toEqual([]);
  });

  /** What happens to the first waiter between being told that the lock is free and trying. */
  const mishaps: Record<string, () => void> = {
    "is frozen by an interrupt": () => K.machine.cpus[1]!.apic.request(FREEZE_VECTOR, cpu.clock),
    "loses its context to an NMI": () =>
      K.machine.land(K.machine.cpus[1]!, { kind: "nmi", reason: "freeze" }, cpu.clock),
    "is stopped": () => K.machine.stop(K.machine.cpus[1]!),
  };
  test.each(Object.keys(mishaps))("whose first waiter %s before it could try goes to the next", (mishap) => {
    const k = bootTestMachine({ cpus: 3 });
    const lock = lockOf(k);
    const order: number[] = [];
    runKernel(k, function* () {
      k.irq.setVector(FREEZE_VECTOR, common_interrupt, () => stopHere());
      k.machine.cpus[1]!.onLanding = () => stopHere();
      yield* spin_lock(lock);
      for (const id of [1, 2]) {
        yield* kernel_thread_on(`t${id}`, () => take(lock, order), id);
        yield* busyFor(50_000);
      }
      spin_unlock(lock);
      mishaps[mishap]!();
      yield* busyFor(50_000);
    });
    expect(order).toEqual([2]);
  });

  test("lets interrupts in while it is waited for with interrupts on, and only then", () => {
    for (const irqsOff of [false, true]) {
      const k = bootTestMachine({ cpus: 2 });
      const lock = lockOf(k);
      const ticks: number[] = [];
      runKernel(k, function* () {
        yield* spin_lock(lock);
        yield* kernel_thread_on(
          "t",
          function* () {
            if (irqsOff) local_irq_disable();
            yield* spin_lock(lock);
            spin_unlock(lock);
          },
          1,
        );
        yield* busyFor(500_000);
        ticks.push(K.percpu[1]!.timerTicks);
        yield* busyFor(5_000_000);
        ticks.push(K.percpu[1]!.timerTicks);
        spin_unlock(lock);
        yield* msleep(1);
      });
      expect(ticks[1]! - ticks[0]!, irqsOff ? "off" : "on").toBe(irqsOff ? 0 : 5);
    }
  });
});

describe("the checker reports", () => {
  test("an unlock by a CPU that does not hold the lock", () => {
    const k = bootTestMachine({ cpus: 1 });
    const lock = lockOf(k, "host_lock");
    runKernel(k, function* () {
      yield* busyFor(1);
      spin_unlock(lock);
    });
    expect(k.reports).toEqual([expect.stringMatching(/^spin_unlock\(host_lock\) on cpu 0 in .*: nobody holds it$/)]);
  });

  test("a lock that an interrupt handler takes and others take with interrupts on", () => {
    const k = bootTestMachine({ cpus: 1 });
    const lock = lockOf(k, "host_lock");
    const handler = kfunc("test_interrupt", function* (): Generator<void, boolean, void> {
      yield* spin_lock(lock);
      spin_unlock(lock);
      k.machine.ioApic.setLine(10, false);
      return true;
    });
    runKernel(k, function* () {
      yield* request_irq(10, handler, 0x20000000, "test", 0);
      const flags = yield* spin_lock_irqsave(lock);
      yield* spin_unlock_irqrestore(lock, flags);
      k.machine.ioApic.setLine(10, true);
      yield* msleep(1);
      expect(k.reports).toEqual([]);
      yield* spin_lock(lock);
      spin_unlock(lock);
    });
    expect(k.reports).toHaveLength(1);
    expect(k.reports[0]).toMatch(/^host_lock is taken in an interrupt handler and elsewhere with interrupts on/);
  });
});

describe("a deadlock", () => {
  function watch(k: Kernel): Deadlock[] {
    const found: Deadlock[] = [];
    k.machine.onDeadlock = (deadlock) => {
      found.push(deadlock);
      k.machine.stopReason = "dead";
    };
    return found;
  }
  const summary = ({ end, chain }: Deadlock): string => `${end}: ${chain[0]!.waitsFor} held in ${chain[0]!.holder}`;

  test("of a CPU's own making is recognised", () => {
    const k = bootTestMachine();
    const lock = lockOf(k, "host_lock");
    const found = watch(k);
    const holder = kfunc("test_holder", function* (): Generator<void, void, void> {
      yield* spin_lock(lock);
      yield* spin_lock(lock);
    });
    runKernel(k, () => holder());
    expect(found.map(summary)).toEqual(["itself: host_lock held in test_holder"]);
  });

  test("on a lock that an abandoned context holds is found by the next taker", () => {
    const k = bootTestMachine();
    const lock = lockOf(k, "FreeQlock");
    const found = watch(k);
    const holder = kfunc("test_holder", function* (): Generator<void, void, void> {
      yield* spin_lock(lock);
      yield* busyFor(1e9);
    });
    runKernel(k, function* () {
      const program = function* (): Generator<void, void, void> {
        yield* take(lock, []);
      };
      k.machine.cpus[1]!.onLanding = () => program();
      yield* kernel_thread_on("holder", () => holder(), 1);
      yield* msleep(2);
      k.machine.land(k.machine.cpus[1]!, { kind: "nmi", reason: "switch" }, cpu.clock + 1000);
      yield* msleep(5);
    });
    expect(found.map(summary)).toEqual(["abandoned context: FreeQlock held in test_holder"]);
  });

  test("ends when the lock is forced open", () => {
    const k = bootTestMachine({ cpus: 3 });
    const lock = lockOf(k, "host_lock");
    const found: Deadlock[] = [];
    const order: number[] = [];
    k.machine.onDeadlock = (deadlock) => found.push(deadlock);
    const holder = kfunc("test_holder", function* (): Generator<void, void, void> {
      yield* spin_lock(lock);
      yield* stopHere();
    });
    runKernel(k, function* () {
      yield* kernel_thread_on("holder", () => holder(), 1);
      yield* msleep(1);
      yield* kernel_thread_on("spinner", () => take(lock, order), 2);
      yield* busyFor(100_000);
      expect(found.at(-1)).toMatchObject({ end: "frozen cpu", cpu: { id: 2 } });
      force_unlock(lock);
      expect(k.machine.deadlockOf(k.machine.cpus[2]!)).toBeUndefined();
      yield* busyFor(100_000);
    });
    expect(order).toEqual([2]);
  });
});
