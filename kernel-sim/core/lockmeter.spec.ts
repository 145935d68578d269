// Goal: the meter says of a lock what was done to it. Method: hold it for known times.
import { expect, test } from "vitest";
import { runKernel } from "./boot.ts";
import { do_fork } from "./fork.ts";
import { K } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { LockMeter } from "./lockmeter.ts";
import {
  spin_lock,
  spin_lock_irqsave,
  spin_trylock,
  spin_unlock,
  spin_unlock_irqrestore,
  staticLock,
} from "./spinlock.ts";
import { bootTestMachine } from "./testing.ts";
import { udelay } from "./timer.ts";

test("times, callers, waits and refused tries of a lock", () => {
  const k = bootTestMachine({ cpus: 2 });
  const meter = new LockMeter();
  const holdsIt = kfunc("test_holds_it", function* (us: number) {
    const lock = K.locks.get("test_lock")!;
    const flags = yield* spin_lock_irqsave(lock);
    yield* udelay(us);
    yield* spin_unlock_irqrestore(lock, flags);
  });
  const waitsForIt = kfunc("test_waits_for_it", function* () {
    const lock = K.locks.get("test_lock")!;
    yield* spin_lock(lock);
    spin_unlock(lock);
  });
  runKernel(k, function* () {
    const lock = staticLock("test_lock");
    // Not measured: it was taken before.
    spin_trylock(lock);
    meter.start();
    yield* udelay(1000);
    spin_unlock(lock);
    yield* holdsIt(100);
    yield* holdsIt(300);
    yield* do_fork("holder", () => holdsIt(500), 1);
    while (!lock.isHeld) yield* udelay(1);
    expect(spin_trylock(lock)).toBe(false);
    yield* waitsForIt();
    meter.stop();
    yield* holdsIt(50);
  });
  const { all, sites } = meter.locks.get("test_lock")!;
  expect(all).toMatchObject({ total: 4, contended: 1, rejected: 1 });
  const site = (name: string) => [...sites].find(([id]) => k.functionName(id) === name)?.[1];
  expect(site("test_holds_it")).toMatchObject({ total: 3, contended: 0 });
  expect(site("test_waits_for_it")).toMatchObject({ total: 1, contended: 1 });
  expect(all.holdNs).toBeGreaterThanOrEqual(900_000);
  expect(all.holdNs).toBeLessThan(902_000);
  expect(all.holdMaxNs).toBeGreaterThanOrEqual(500_000);
  expect(all.waitNs).toBeGreaterThan(490_000);
  expect(all.waitNs).toBeLessThanOrEqual(500_100);
  expect(k.lockMeter).toBeUndefined();
});
