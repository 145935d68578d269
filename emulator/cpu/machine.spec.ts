// Goal: the loop, landings and deadlock detection keep their contracts. Method: bare programs on a machine without a kernel.
import { describe, expect, test } from "vitest";
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";
import { makeEvent } from "../time/events.ts";
import {
  DELAY,
  HALT,
  RUN,
  SPIN,
  STOPPED,
  busyFor,
  cpu,
  giveWay,
  halt,
  mustGiveWay,
  preempt,
  step,
  type Cpu,
  type Landing,
  type Program,
  type Spinnable,
} from "./cpu.ts";
import { MAX_SKEW_NS, Machine, TURN_LIMIT, type Deadlock } from "./machine.ts";

const MIB = 1 << 20;
const NMI: Landing = { kind: "nmi", reason: "switch" };
const INIT: Landing = { kind: "init", reason: "os_init" };

function machineOf(cpus: number): Machine {
  const memory = new PhysicalMemory(new PagePool(2 * MIB, 8 * MIB), [{ start: 0, end: 4 * MIB, type: "ram" }]);
  return new Machine({ cpus, seed: 1, memory });
}

/** A lock that only a test opens. */
class TestLock implements Spinnable {
  readonly name: string;
  owner: Cpu | undefined;
  ownerEpoch = 0;
  holder = "test_holder";
  readonly forgotten: number[] = [];
  constructor(name: string) {
    this.name = name;
  }
  take(c: Cpu): void {
    this.owner = c;
    this.ownerEpoch = c.epoch;
  }
  forget(c: Cpu): void {
    this.forgotten.push(c.id);
  }
}

function* spinOn(machine: Machine, lock: Spinnable): Generator<void, void, void> {
  cpu.spinOn = lock;
  cpu.state = SPIN;
  machine.checkDeadlock(cpu);
  yield;
}

/** Runs plain sections of 100 ns for `ns`. */
function* work(ns: number): Generator<void, void, void> {
  for (const end = cpu.clock + ns; cpu.clock < end; step(100)) yield* preempt();
}

function* stopMachine(machine: Machine): Generator<void, void, void> {
  machine.stopReason = "landed";
  yield;
}

describe("the loop", () => {
  test("runs the CPU with the lowest clock, the lower number first, and an event before a CPU of the same time", () => {
    const machine = machineOf(2);
    const log: string[] = [];
    function* program(name: string, ns: number): Generator<void, void, void> {
      for (let i = 0; i < 3; i++) {
        log.push(`${name}@${cpu.clock}`);
        yield* busyFor(ns);
      }
    }
    machine.start(machine.cpus[0]!, program("a", 200), 0);
    machine.start(machine.cpus[1]!, program("b", 100), 0);
    machine.events.arm(
      makeEvent("e", () => log.push("event@200")),
      200,
    );
    machine.run(1e6);
    expect(log).toEqual(["a@0", "b@0", "b@100", "event@200", "a@200", "b@200", "a@400"]);
  });

  test("gives a turn as soon as another CPU is behind, so clocks differ by one plain section", () => {
    const machine = machineOf(4);
    for (const c of machine.cpus) machine.start(c, work(1e5 + c.id * 1000), c.id * 37);
    machine.run(1e6);
    expect(machine.maxSkewNs).toBeGreaterThan(0);
    expect(machine.maxSkewNs).toBeLessThanOrEqual(100);
  });

  test("measures how far a plain section overruns, also one that ends in a delay, and in which function", () => {
    const machine = machineOf(2);
    machine.nameFunction = () => "test_hog";
    machine.start(
      machine.cpus[0]!,
      (function* () {
        step(5000);
        yield* busyFor(10);
      })(),
      0,
    );
    machine.start(machine.cpus[1]!, work(1e4), 0);
    machine.run(1e6);
    expect(machine.maxSkewNs).toBe(5000);
    expect(machine.maxSkewNs).toBeGreaterThan(MAX_SKEW_NS);
    expect(machine.maxSkewIn).toBe("test_hog");
  });

  test("stops a livelock after the turns it was given", () => {
    const machine = machineOf(2);
    machine.turnLimit = 1000;
    for (const c of machine.cpus) machine.start(c, work(Infinity), 0);
    machine.run(Infinity);
    expect(machine.stopReason).toBe(TURN_LIMIT);
  });

  test("stops soon after an event asked for it, also when a CPU is alone and nobody's clock holds it back", () => {
    const machine = machineOf(1);
    machine.start(machine.cpus[0]!, work(1e6), 0);
    machine.events.arm(
      makeEvent("enough", () => (machine.stopReason = "enough")),
      5000,
    );
    expect(machine.run(1e9)).toBeLessThan(5500);
    expect(machine.stopReason).toBe("enough");
  });

  test("ends when nothing can happen any more: everybody halted with interrupts off", () => {
    const machine = machineOf(2);
    for (const c of machine.cpus) {
      c.interruptsEnabled = false;
      machine.start(c, halt(), 0);
      c.apic.request(0x80, 500);
    }
    machine.run(Infinity);
    expect(machine.stopReason).toBe("nothing left to happen");
  });
});

describe("an interrupt", () => {
  test("is taken at a preemption point only, and at no time before it arrived", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    let plain = false;
    const taken: { at: number; inPlain: boolean }[] = [];
    c.onInterrupt = function* () {
      taken.push({ at: c.clock, inPlain: plain });
      c.apic.endOfInterrupt();
      c.interruptsEnabled = true;
    };
    const arrive = makeEvent("irq", (event) => {
      // The line's latency: the request carries a time that has not come.
      c.apic.request(0x80, event.at + 250);
      machine.ioApic.onRequest(c, event.at + 250);
    });
    machine.events.arm(arrive, 1000);
    machine.start(
      c,
      (function* () {
        for (let i = 0; i < 100; i++) {
          plain = true;
          for (let j = 0; j < 7; j++) step(10);
          plain = false;
          yield* preempt();
        }
      })(),
      0,
    );
    machine.run(1e6);
    expect(taken).toHaveLength(1);
    expect(taken[0]!.inPlain).toBe(false);
    expect(taken[0]!.at).toBeGreaterThanOrEqual(1250);
    expect(taken[0]!.at).toBeLessThan(1250 + 70);
  });

  test("stamped in a halted CPU's future wakes it at exactly that time", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    const taken: number[] = [];
    c.onInterrupt = function* () {
      taken.push(c.clock);
      c.apic.endOfInterrupt();
      c.interruptsEnabled = true;
    };
    c.apic.request(0x80, 7777);
    machine.start(c, halt(), 0);
    machine.run(1e6);
    expect(taken).toEqual([7777]);
  });

  test("that is pending while interrupts are off makes no preemption point give way", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    c.interruptsEnabled = false;
    c.apic.request(0x80, 0);
    machine.start(
      c,
      (function* () {
        for (let i = 0; i < 1000; i++) {
          step(10);
          expect(mustGiveWay()).toBe(false);
          yield* preempt();
          yield* giveWay(cpu);
        }
      })(),
      0,
    );
    machine.run(1e6);
    expect(c.clock).toBe(10000);
    expect(machine.resumptions).toBe(1);
  });

  test("pulls a busy CPU out of its delay, which still ends on time", () => {
    const machine = machineOf(2);
    const c = machine.cpus[0]!;
    const log: string[] = [];
    c.onInterrupt = function* () {
      log.push(`irq@${c.clock}`);
      c.apic.endOfInterrupt();
      c.interruptsEnabled = true;
    };
    machine.start(
      c,
      (function* () {
        yield* busyFor(10000);
        log.push(`end@${c.clock}`);
      })(),
      0,
    );
    machine.start(
      machine.cpus[1]!,
      (function* () {
        yield* busyFor(3000);
        machine.ioApic.sendIpi(c, 0xf0, cpu.clock);
        yield* work(1e5);
      })(),
      0,
    );
    machine.run(1e6);
    expect(log).toEqual(["irq@3400", "end@10000"]);
  });
});

describe("an NMI or INIT", () => {
  /** Where CPU 0 may be when it is struck. */
  const places: Record<string, (machine: Machine) => Program & Iterable<void, unknown, void>> = {
    "is halted": () => halt(),
    "waits in a delay": () => busyFor(1e6),
    "spins on a lock": (machine) => spinOn(machine, new TestLock("test_lock")),
  };

  test.each(Object.keys(places))("lands at exactly its time on a CPU that %s, while another CPU runs", (place) => {
    const machine = machineOf(2);
    const [c, other] = machine.cpus as [Cpu, Cpu];
    c.interruptsEnabled = false;
    const landed: number[] = [];
    c.onLanding = () => {
      landed.push(c.clock);
      return stopMachine(machine);
    };
    machine.start(c, places[place]!(machine), 0);
    machine.start(other, work(1e6), 0);
    machine.events.arm(
      makeEvent("nmi", (event) => machine.land(c, NMI, event.at)),
      5050,
    );
    machine.run(1e7);
    expect(landed).toEqual([5050]);
    expect(machine.stopReason).toBe("landed");
    expect(machine.maxSkewNs).toBeLessThanOrEqual(100);
    expect(c.abandoned).toMatchObject([{ epoch: 0, clock: 5050, interruptsEnabled: false }]);
    expect(c.epoch).toBe(1);
  });

  test.each(Object.keys(places))("whose handler returns leaves a CPU that %s where it was", (place) => {
    const machine = machineOf(2);
    const [c, other] = machine.cpus as [Cpu, Cpu];
    c.interruptsEnabled = false;
    let landings = 0;
    let wentOn = false;
    c.onLanding = () => {
      landings++;
      return undefined;
    };
    machine.start(
      c,
      (function* () {
        yield* places[place]!(machine);
        wentOn = true;
      })(),
      0,
    );
    machine.start(other, work(1e5), 0);
    const parkedAs = { "is halted": HALT, "waits in a delay": DELAY, "spins on a lock": SPIN }[place];
    for (const at of [2000, 3000]) {
      machine.events.arm(
        makeEvent("nmi", (event) => machine.land(c, NMI, event.at)),
        at,
      );
    }
    machine.run(9e4);
    expect(landings).toBe(2);
    expect(wentOn).toBe(false);
    expect(c.state).toBe(parkedAs);
    expect(c.epoch).toBe(0);
    machine.run(2e6);
    expect(wentOn).toBe(place === "waits in a delay");
    if (wentOn) expect(c.clock).toBe(1e6);
  });

  test("ends the quiet of a delay: what comes next on the CPU is not passed over by a device that may look ahead", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    const { events } = machine;
    const passed: (readonly [number, boolean])[] = [];
    const device = makeEvent("device", (event) => {
      passed.push([events.now, events.passTo(event, events.now + 500)]);
      if (events.now < 20_000) events.arm(event, events.now + 500);
    });
    events.arm(device, 1000);
    events.arm(
      makeEvent("nmi", (event) => machine.land(c, NMI, event.at)),
      5200,
    );
    c.interruptsEnabled = false;
    c.onLanding = () => work(30_000);
    machine.start(
      c,
      (function* (): Generator<void, void, void> {
        // What a busy wait does.
        c.idleUntil = 100_000;
        while (c.clock < 100_000) c.advanceTo(Math.min(c.limit, 100_000));
        yield;
      })(),
      0,
    );
    machine.run(1e6);
    expect(passed.filter(([at]) => at < 4000).every(([, did]) => did)).toBe(true);
    expect(passed.filter(([at]) => at > 5200).some(([, did]) => did)).toBe(false);
  });

  test("strikes plain code before the effect of an access, and a handler that returns lets that access happen", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    let effects = 0;
    const seen: number[] = [];
    c.onLanding = (_c, landing) => {
      seen.push(effects);
      return landing.kind === "init" ? stopMachine(machine) : undefined;
    };
    machine.start(
      c,
      (function* (): Generator<void, void, void> {
        for (let i = 0; i < 1000; i++) {
          step(10);
          effects++;
        }
        yield* preempt();
      })(),
      0,
    );
    machine.land(c, NMI, 105);
    machine.land(c, INIT, 205);
    machine.run(1e6);
    // The eleventh step reaches 110, the twenty-first 210.
    expect(seen).toEqual([10, 20]);
    expect(effects).toBe(20);
  });

  test("of the same kind and sender merges with one that is pending; any other one lands too", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    const landed: string[] = [];
    c.onLanding = (_c, { kind, reason }) => {
      landed.push(`${kind} ${reason}`);
      return undefined;
    };
    machine.start(c, busyFor(1e4), 0);
    machine.land(c, { kind: "nmi", reason: "watchdog" }, 1000);
    machine.land(c, { kind: "nmi", reason: "watchdog" }, 1100);
    machine.land(c, INIT, 1000);
    machine.land(c, NMI, 1200);
    machine.land(c, NMI, 1300);
    machine.run(1e6);
    expect(landed).toEqual(["nmi watchdog", "init os_init", "nmi switch"]);
  });

  test("inside an interrupt handler leaves the vector in service, and says so of the abandoned context", () => {
    const machine = machineOf(1);
    const c = machine.cpus[0]!;
    c.onLanding = () => stopMachine(machine);
    c.onInterrupt = function* () {
      yield* busyFor(1e6);
    };
    c.apic.request(0x61, 100);
    machine.start(c, halt(), 0);
    machine.land(c, NMI, 5000);
    machine.run(1e7);
    expect(c.apic.inService).toEqual([0x61]);
    expect(c.abandoned[0]!.inService).toEqual([0x61]);
    c.apic.request(0x62, 6000);
    expect(c.apic.pending(7000)).toBe(false);
  });

  test("does nothing to a stopped CPU, even when it was on its way", () => {
    const machine = machineOf(2);
    const [c, other] = machine.cpus as [Cpu, Cpu];
    let landed = 0;
    c.onLanding = () => {
      landed++;
      return undefined;
    };
    machine.start(c, busyFor(1e6), 0);
    machine.start(
      other,
      (function* () {
        machine.land(c, NMI, 3000);
        machine.stop(c);
        machine.land(c, INIT, 3000);
        yield* work(1e4);
      })(),
      0,
    );
    machine.run(1e7);
    expect(landed).toBe(0);
    expect(c.state).toBe(STOPPED);
  });
});

describe("a deadlock is recognised", () => {
  /** CPU 0 takes lock A, CPU 1 spins on it; then CPU 0 does `then`. */
  function trial(then: (machine: Machine, a: TestLock) => Program): Deadlock[] {
    const machine = machineOf(2);
    const [owner, spinner] = machine.cpus as [Cpu, Cpu];
    const a = new TestLock("A");
    const found: Deadlock[] = [];
    machine.onDeadlock = (deadlock) => {
      found.push(deadlock);
      machine.stopReason = "deadlock";
    };
    owner.onLanding = () => busyFor(1e6);
    machine.start(
      owner,
      (function* () {
        a.take(cpu);
        yield* busyFor(1000);
        yield* { [Symbol.iterator]: () => then(machine, a) };
      })(),
      0,
    );
    machine.start(
      spinner,
      (function* () {
        const b = new TestLock("B");
        b.take(cpu);
        locks.set(machine, b);
        yield* busyFor(500);
        yield* spinOn(machine, a);
      })(),
      0,
    );
    machine.run(1e7);
    return found;
  }
  const locks = new WeakMap<Machine, TestLock>();

  test("when the owner is stopped, also when the spinner was parked before", () => {
    const found = trial(function* (machine) {
      machine.stop(cpu);
      yield;
    });
    expect(found).toMatchObject([
      { end: "frozen cpu", chain: [{ cpu: 1, waitsFor: "A", heldBy: 0, holder: "test_holder" }] },
    ]);
  });

  test("when the owner halts for ever", () => {
    const found = trial(function* () {
      cpu.interruptsEnabled = false;
      yield* halt();
    });
    expect(found[0]).toMatchObject({ end: "frozen cpu", cpu: { id: 1 } });
  });

  test("when the context that took the lock is abandoned", () => {
    const found = trial(function* (machine) {
      machine.land(cpu, NMI, cpu.clock + 100);
      yield* busyFor(1000);
    });
    expect(found[0]).toMatchObject({ end: "abandoned context", cpu: { id: 1 } });
  });

  test("when owners wait for each other in a ring", () => {
    const found = trial(function* (machine) {
      yield* spinOn(machine, locks.get(machine)!);
    });
    expect(found[0]!.end).toBe("cycle");
    expect(found[0]!.chain.map(({ cpu: id, waitsFor }) => `${id}:${waitsFor}`)).toEqual(["0:B", "1:A"]);
  });

  test("and not while the owner works, sleeps in hlt with interrupts on, or handles an interrupt", () => {
    expect(trial(() => busyFor(1e5))).toEqual([]);
    expect(trial(() => halt())).toEqual([]);
  });
});

describe("a CPU that waits for a lock", () => {
  test("is forgotten by it when it is stopped or loses its context", () => {
    const machine = machineOf(3);
    const lock = new TestLock("A");
    for (const c of machine.cpus) {
      c.onLanding = () => busyFor(1e3);
      machine.start(c, spinOn(machine, lock), 0);
    }
    machine.land(machine.cpus[1]!, NMI, 100);
    machine.run(1e4);
    machine.stop(machine.cpus[2]!);
    expect(lock.forgotten).toEqual([1, 2]);
    // A lock that still knows it cannot bring it back.
    machine.unpark(machine.cpus[2]!, 500);
    expect(machine.cpus[2]!.state).toBe(STOPPED);
    machine.unpark(machine.cpus[0]!, 2e4);
    expect(machine.cpus[0]).toMatchObject({ state: RUN, clock: 2e4, triesNext: lock });
  });
});
