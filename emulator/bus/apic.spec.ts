// Goal: interrupt state is kept whole, so that what an abandoned context leaves behind has its real consequences.
import { beforeEach, describe, expect, test } from "vitest";
import type { Cpu } from "../cpu/cpu.ts";
import { Machine } from "../cpu/machine.ts";
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";

const MIB = 1 << 20;
let machine: Machine;
let c: Cpu;

beforeEach(() => {
  const memory = new PhysicalMemory(new PagePool(2 * MIB, 8 * MIB), [{ start: 0, end: 4 * MIB, type: "ram" }]);
  machine = new Machine({ cpus: 2, seed: 1, memory });
  c = machine.cpus[0]!;
});

/** Lets events happen until `ns`. */
const pass = (ns: number): number => machine.run(ns);

describe("a local APIC", () => {
  test("hands out the highest vector that has arrived, and none before its time", () => {
    c.apic.request(0x41, 100);
    c.apic.request(0x91, 300);
    c.apic.request(0x51, 100);
    expect(c.apic.acknowledge(50)).toBe(-1);
    expect(c.apic.earliest()).toBe(100);
    expect(c.apic.acknowledge(100)).toBe(0x51);
    c.apic.endOfInterrupt();
    expect(c.apic.acknowledge(300)).toBe(0x91);
    c.apic.endOfInterrupt();
    expect(c.apic.acknowledge(300)).toBe(0x41);
    c.apic.endOfInterrupt();
    expect(c.apic.acknowledge(1e9)).toBe(-1);
  });

  test("merges a request with one that waits, which is then as early as the earlier", () => {
    c.apic.request(0x41, 500);
    c.apic.request(0x41, 200);
    expect(c.apic.requests).toEqual([0x41]);
    expect(c.apic.acknowledge(200)).toBe(0x41);
    c.apic.endOfInterrupt();
    expect(c.apic.acknowledge(1e6)).toBe(-1);
  });

  test("lets a higher class interrupt a lower one, and nothing of the same class", () => {
    c.apic.request(0x51, 0);
    expect(c.apic.acknowledge(0)).toBe(0x51);
    c.apic.request(0x5f, 0);
    expect(c.apic.acknowledge(0)).toBe(-1);
    c.apic.request(0x60, 0);
    expect(c.apic.acknowledge(0)).toBe(0x60);
    expect(c.apic.inService).toEqual([0x51, 0x60]);
    c.apic.endOfInterrupt();
    expect(c.apic.inService).toEqual([0x51]);
  });

  test("calls for attention when an EOI makes a request deliverable that was held back", () => {
    c.apic.request(0x51, 0);
    c.apic.acknowledge(0);
    c.apic.request(0x41, 0);
    expect(c.apic.acknowledge(0)).toBe(-1);
    expect(c.attention).toBe(false);
    c.apic.endOfInterrupt();
    expect(c.attention).toBe(true);
    expect(c.apic.acknowledge(0)).toBe(0x41);
    expect(c.attention).toBe(false);
  });

  test("keeps attention for a request that is still on its way", () => {
    c.apic.request(0x51, 1000);
    expect(c.apic.acknowledge(500)).toBe(-1);
    expect(c.attention).toBe(true);
  });

  test("holds back what the task priority register covers, and gives it out when that is lowered", () => {
    c.apic.taskPriority = 0x8;
    c.apic.request(0x81, 0);
    expect(c.apic.acknowledge(0)).toBe(-1);
    expect(c.attention).toBe(false);
    c.apic.taskPriority = 0x7;
    expect(c.attention).toBe(true);
    expect(c.apic.acknowledge(0)).toBe(0x81);
  });

  test("ignores an EOI that nobody owes", () => {
    c.apic.endOfInterrupt();
    expect(c.apic.inService).toEqual([]);
  });
});

describe("a level-triggered line of the I/O APIC", () => {
  const IRQ = 16;
  const VECTOR = 0xa9;
  beforeEach(() => {
    Object.assign(machine.ioApic.entry(IRQ), { vector: VECTOR, destination: 0, level: true });
    machine.ioApic.setMasked(IRQ, false, 0);
  });

  test("asks once while it stays asserted, and again after the EOI", () => {
    const { ioApic } = machine;
    ioApic.setLine(IRQ, true);
    ioApic.setLine(IRQ, true);
    expect(c.apic.acknowledge(1000)).toBe(VECTOR);
    expect(c.apic.requests).toEqual([]);
    expect(ioApic.entry(IRQ).remoteIrr).toBe(true);
    c.clock = 2000;
    c.apic.endOfInterrupt();
    expect(c.apic.acknowledge(2000)).toBe(VECTOR);
    ioApic.setLine(IRQ, false);
    c.apic.endOfInterrupt();
    expect(c.apic.requests).toEqual([]);
  });

  test("never asks again when the EOI stays owed: not when it is asserted anew, not when it is unmasked", () => {
    const { ioApic } = machine;
    ioApic.setLine(IRQ, true);
    expect(c.apic.acknowledge(1000)).toBe(VECTOR);
    machine.stop(c);
    ioApic.setLine(IRQ, false);
    ioApic.setLine(IRQ, true);
    ioApic.setMasked(IRQ, true, 2000);
    ioApic.setMasked(IRQ, false, 3000);
    ioApic.entry(IRQ).destination = 1;
    ioApic.setLine(IRQ, false);
    ioApic.setLine(IRQ, true);
    expect(c.apic.requests).toEqual([]);
    expect(machine.cpus[1]!.apic.requests).toEqual([]);
    expect(ioApic.entry(IRQ)).toMatchObject({ remoteIrr: true, asserted: true });
  });

  test("that is asserted while masked asks when it is unmasked", () => {
    machine.ioApic.setMasked(IRQ, true, 0);
    machine.ioApic.setLine(IRQ, true);
    expect(c.apic.requests).toEqual([]);
    machine.ioApic.setMasked(IRQ, false, 5000);
    expect(c.apic.earliest()).toBe(5000);
  });

  test("that is let go while masked does not ask", () => {
    machine.ioApic.setMasked(IRQ, true, 0);
    machine.ioApic.setLine(IRQ, true);
    machine.ioApic.setLine(IRQ, false);
    machine.ioApic.setMasked(IRQ, false, 5000);
    expect(c.apic.requests).toEqual([]);
  });

  test("masked in its handler does not ask at the EOI but at the unmask", () => {
    machine.ioApic.setLine(IRQ, true);
    c.apic.acknowledge(1000);
    machine.ioApic.setMasked(IRQ, true, 1000);
    c.apic.endOfInterrupt();
    expect(c.apic.requests).toEqual([]);
    machine.ioApic.setMasked(IRQ, false, 2000);
    expect(c.apic.requests).toEqual([VECTOR]);
  });
});

describe("an edge-triggered line", () => {
  test("asks at each edge, and loses the edge that comes while it is masked", () => {
    const { ioApic } = machine;
    Object.assign(ioApic.entry(14), { vector: 0x71, level: false });
    ioApic.setLine(14, true);
    ioApic.setMasked(14, false, 0);
    expect(c.apic.requests).toEqual([]);
    ioApic.setLine(14, false);
    ioApic.setLine(14, true);
    expect(c.apic.acknowledge(1000)).toBe(0x71);
    ioApic.setLine(14, false);
    ioApic.setLine(14, true);
    expect(c.apic.requests).toEqual([0x71]);
  });
});

describe("an interrupt between processors", () => {
  test("arrives 400 ns later; a second one merges with it on its way and while it waits", () => {
    const [, other] = machine.cpus as [Cpu, Cpu];
    machine.ioApic.sendIpi(other, 0xfc, 1000);
    machine.ioApic.sendIpi(other, 0xfc, 1200);
    machine.ioApic.sendIpi(other, 0xfb, 1300);
    pass(5000);
    expect([...other.apic.requests].sort()).toEqual([0xfb, 0xfc]);
    expect(other.apic.earliest()).toBe(1400);
    machine.ioApic.sendIpi(other, 0xfc, 6000);
    pass(10000);
    expect(other.apic.requests).toHaveLength(2);
  });

  test("to a line that does not exist is an error that names it", () => {
    expect(() => machine.ioApic.setLine(24, true)).toThrow("there is no line 24 (0..23)");
  });
});

describe("a SAPIC", () => {
  test("keeps an EOI to itself: a level line asks again only when its IOSAPIC is told", () => {
    const memory = new PhysicalMemory(new PagePool(2 * MIB, 8 * MIB), [{ start: 0, end: 4 * MIB, type: "ram" }]);
    const { cpus, ioApic, ...rest } = new Machine({ cpus: 1, seed: 1, memory, sapic: true });
    const { apic } = cpus[0]!;
    expect(rest.sapic).toBe(true);
    ioApic.entry(5).vector = 0x61;
    ioApic.setMasked(5, false, 0);
    ioApic.setLine(5, true);
    expect(apic.acknowledge(1000)).toBe(0x61);
    apic.endOfInterrupt();
    expect(apic.inService).toEqual([]);
    expect(apic.acknowledge(1e6)).toBe(-1);
    expect(ioApic.entry(5).remoteIrr).toBe(true);
    ioApic.endOfInterrupt(0x61, 2000);
    expect(apic.acknowledge(1e6)).toBe(0x61);
  });
});
