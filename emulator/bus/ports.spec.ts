// Goal: I/O ports: legacy ranges decode like BARs, and a string instruction is its units, however many go at once.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { cpu } from "../cpu/cpu.ts";
import { Machine } from "../cpu/machine.ts";
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";
import { makeEvent } from "../time/events.ts";
import { PORT_NS, PortWindow, pciFunctionOf, type RegisterFile } from "./mmio.ts";
import { PciBus, PciDevice, type DeviceHost } from "./pci.ts";

const MIB = 1 << 20;
const makeMachine = (): Machine => {
  const memory = new PhysicalMemory(new PagePool(MIB, 8 * MIB), [{ start: 0, end: 4 * MIB, type: "ram" }]);
  return new Machine({ cpus: 1, seed: 1, memory });
};

class Legacy extends PciDevice {
  readonly accesses: string[] = [];
  constructor(host: DeviceHost) {
    super(host, "legacy", {
      ...{ vendorId: 1, deviceId: 2, classCode: 0x010180, revision: 0, interruptPin: 0 },
      bars: [undefined, undefined, undefined, undefined, { kind: "io", size: 16 }],
      legacyPorts: [{ bar: 1, base: 0x3f4, size: 4 }],
      legacyIrqs: [14],
    });
  }
  override read(bar: number, offset: number, size: number): number {
    this.accesses.push(`r${bar}+${offset}/${size}`);
    return 0x12;
  }
  override write(bar: number, offset: number, size: number, value: number): void {
    this.accesses.push(`w${bar}+${offset}/${size}=${value}`);
  }
  override reset(): void {}
}

describe("a function in compatibility mode", () => {
  test("answers at its legacy ports and its BAR once I/O is enabled; nobody else's port reads as ones", () => {
    const machine = makeMachine();
    const bus = new PciBus();
    const device = new Legacy(machine);
    const lines: [number, boolean][] = [];
    bus.plug(device, 8, 0, (irq, asserted) => lines.push([irq, asserted]));
    const base = device.barBases[4]!;
    expect(bus.portRead(0x3f6, 1)).toBe(0xff);
    device.writeConfig(0x04, 2, 0x0001);
    expect(bus.portRead(0x3f6, 1)).toBe(0x12);
    bus.portWrite(base + 8, 2, 7);
    expect([bus.portRead(0x1f0, 2), bus.portRead(base + 16, 4)]).toEqual([0xffff, 0xffffffff]);
    expect(device.accesses).toEqual(["r1+2/1", "w4+8/2=7"]);
    device.onLegacyLine(14, true);
    expect(lines).toEqual([[14, true]]);
  });

  test("gives its driver one window per range, which share one count of accesses", () => {
    const device = new Legacy(makeMachine());
    const pdev = pciFunctionOf(device, 8);
    expect(pdev.ports(1)).toBe(pdev.ports(1));
    expect(pdev.ports(1).accesses).toBe(pdev.ports(4).accesses);
    expect(() => pdev.ports(0)).toThrow("legacy: BAR 0 has no I/O ports");
  });
});

/** A data port: a queue of bytes both ways. */
class Port implements RegisterFile {
  readonly bytes: Uint8Array;
  at = 0;
  strings = 0;
  constructor(bytes: Uint8Array) {
    this.bytes = bytes;
  }
  read(_bar: number, _offset: number, size: number): number {
    const value =
      size === 4
        ? new DataView(this.bytes.buffer).getUint32(this.at, true)
        : this.bytes[this.at]! | (this.bytes[this.at + 1]! << 8);
    this.at += size;
    return value;
  }
  write(_bar: number, _offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) this.bytes[this.at++] = (value >>> (8 * i)) & 0xff;
  }
  readString(_bar: number, _offset: number, memory: PhysicalMemory, address: number, bytes: number): void {
    this.strings++;
    memory.writeBytes(address, this.bytes.subarray(this.at, (this.at += bytes)));
  }
  writeString(_bar: number, _offset: number, memory: PhysicalMemory, address: number, bytes: number): void {
    this.strings++;
    memory.readBytes(address, this.bytes.subarray(this.at, (this.at += bytes)));
  }
}

describe("a string instruction", () => {
  test("moves the same bytes in the same time as its units one by one, whatever happens in between", () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 1, max: 300 }),
        fc.constantFrom(2 as const, 4 as const),
        fc.array(fc.nat(60_000), { maxLength: 5 }),
        fc.boolean(),
        (units, unitBytes, eventTimes, out) => {
          const machine = makeMachine();
          const { memory, events } = machine;
          const data = Uint8Array.from({ length: units * unitBytes }, (_, i) => (i * 13) & 0xff);
          const port = new Port(out ? new Uint8Array(data.length) : data);
          memory.writeBytes(0x2000, out ? data : new Uint8Array(data.length));
          const fired: number[] = [];
          for (const at of eventTimes)
            events.arm(
              makeEvent("x", (event) => fired.push(event.at)),
              at,
            );
          let took = -1;
          let calls = 0;
          const program = function* (): Generator<void, void, void> {
            const window = new PortWindow(port, 0, 8, events);
            window.stringCycleNs = 200;
            const move = out ? window.outs.bind(window) : window.ins.bind(window);
            const start = cpu.clock;
            for (let done = 0; done < units; calls++) {
              done += move(0, unitBytes, memory, 0x2000 + done * unitBytes, units - done);
            }
            took = cpu.clock - start;
            expect(window.count).toBe(units);
          };
          machine.start(machine.cpus[0]!, program(), 0);
          machine.run(1e9);
          const moved = new Uint8Array(data.length);
          memory.readBytes(0x2000, moved);
          expect(took).toBe(units * unitBytes * 100);
          expect(out ? port.bytes : moved).toEqual(data);
          expect(calls).toBeLessThanOrEqual(2 * eventTimes.length + 3);
          expect(fired).toHaveLength(eventTimes.length);
        },
      ),
      { numRuns: 60 },
    );
  });

  test("stops short of the access that a trigger waits for, which then happens as one of its own", () => {
    const machine = makeMachine();
    const port = new Port(new Uint8Array(400));
    const hits: number[] = [];
    machine.start(
      machine.cpus[0]!,
      (function* (): Generator<void, void, void> {
        const window = new PortWindow(port, 0, 8, machine.events);
        window.inb(1);
        window.atAccess(50, () => hits.push(port.at));
        for (let done = 0; done < 100;) done += window.ins(0, 4, machine.memory, 0x2000 + done * 4, 100 - done);
      })(),
      0,
    );
    machine.run(1e9);
    // One byte by inb, then 49 units, then the hit.
    expect(hits).toEqual([1 + 49 * 4]);
    expect(port.strings).toBe(2);
  });

  test("costs a full I/O cycle per unit unless the driver has set another one", () => {
    expect(new PortWindow(new Port(new Uint8Array(4)), 0, 8, { now: 0 }).stringCycleNs).toBe(PORT_NS);
  });
});
