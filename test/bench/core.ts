// The core's two prices: a register access, and a preemption point. Each against a loop that does as little as can be.
import { Machine } from "../../emulator/cpu/machine.ts";
import { PciDevice } from "../../emulator/bus/pci.ts";
import { MmioWindow } from "../../emulator/bus/mmio.ts";
import { cpu, giveWay, mustGiveWay, step } from "../../emulator/cpu/cpu.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { median, nsPer, type Row } from "./measure.ts";

const MIB = 1 << 20;

/** One dependent multiply-add: the unit of the register price. */
function multiplyAdd(count: number): number {
  let x = 1;
  for (let i = 0; i < count; i++) x = (Math.imul(x, 1664525) + 1013904223) | 0;
  return x;
}

/** A device with a few registers, a status bit that a read clears, and an event that sets it again. */
class BenchChip extends PciDevice {
  private status = 0;
  private readonly data = new Int32Array(16);
  private readonly event = makeEvent("bench", () => {
    this.status |= 8;
  });
  read(_bar: number, offset: number): number {
    if (offset === 0x30) {
      const was = this.status;
      this.status = 0;
      return was;
    }
    return this.data[offset >> 2]! >>> 0;
  }
  write(_bar: number, offset: number, _size: number, value: number): void {
    this.data[offset >> 2] = value;
    if (offset === 0x20) this.host.events.arm(this.event, this.host.events.now + 1500);
  }
  reset(): void {
    this.status = 0;
  }
}

function benchMachine(cpus: number): Machine {
  const memory = new PhysicalMemory(new PagePool(4 * MIB, 16 * MIB), [{ start: 0, end: 8 * MIB, type: "ram" }]);
  return new Machine({ cpus, seed: 1, memory });
}

function* accesses(window: MmioWindow, count: number): Generator<void, void, void> {
  for (let i = 0; i < count; i += 8) {
    window.writel(i, 0x20);
    for (let j = 0; j < 6; j++) window.readl(0x08);
    window.readl(0x30);
    if (mustGiveWay()) yield* giveWay(cpu);
  }
}

/** ns per register access: bus, device, its share of events. */
function registerNs(count: number): number {
  const machine = benchMachine(1);
  const chip = new BenchChip(machine, "bench", {
    vendorId: 1,
    deviceId: 1,
    classCode: 0,
    revision: 0,
    bars: [{ kind: "memory", size: 4096 }],
  });
  const window = new MmioWindow(chip, 0, 4096, machine.events);
  machine.start(machine.cpus[0]!, accesses(window, count), 0);
  return nsPer(count, () => machine.run(Infinity));
}

function* nested(depth: number, body: () => Generator<void, void, void>): Generator<void, void, void> {
  if (depth === 0) yield* body();
  else yield* nested(depth - 1, body);
}

/** ns per resume of a bare generator five deep. */
function bareResumeNs(count: number): number {
  const g = nested(5, function* () {
    for (let i = 0; i < count; i++) yield;
  });
  return nsPer(count, () => {
    while (!g.next().done);
  });
}

/** ns per preemption point that gives way: two CPUs leapfrog, each five deep. */
function preemptionNs(count: number): number {
  const machine = benchMachine(2);
  function* program(): Generator<void, void, void> {
    yield* nested(4, function* (): Generator<void, void, void> {
      for (let i = 0; i < count / 2; i++) {
        step(100);
        if (mustGiveWay()) yield* giveWay(cpu);
      }
    });
  }
  for (const c of machine.cpus) machine.start(c, program(), 0);
  // Not every point gives way; those that do are what is measured.
  const total = nsPer(1, () => machine.run(Infinity));
  return total / machine.resumptions;
}

export function coreRows(smoke: boolean): Row[] {
  const count = smoke ? 400_000 : 4_000_000;
  const runs = smoke ? 3 : 7;
  const lcg = (): number => nsPer(count * 10, () => multiplyAdd(count * 10));
  return [
    {
      name: "register access / dependent multiply-add",
      ratio: median(runs, () => registerNs(count) / lcg()),
      target: 27,
      detail: "bus, device and its share of events",
    },
    {
      name: "preemption point / depth-5 generator resume",
      ratio: median(runs, () => preemptionNs(count) / bareResumeNs(count)),
      target: 1.7,
      detail: "two CPUs that leapfrog, five frames deep",
    },
  ];
}
