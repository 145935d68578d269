import { expect, test } from "vitest";
import { Machine } from "../cpu/machine.ts";
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";
import { makeEvent } from "../time/events.ts";
import { MMIO_READ_NS, MMIO_WRITE_NS, MmioWindow, pciFunctions, type RegisterFile } from "./mmio.ts";
import { PciDevice } from "./pci.ts";

const machineWith = (program: (machine: Machine) => Generator<void, void, void>): Machine => {
  const memory = new PhysicalMemory(new PagePool(1 << 20, 4 << 20), [{ start: 0, end: 2 << 20, type: "ram" }]);
  const machine = new Machine({ cpus: 1, seed: 1, memory });
  machine.start(machine.cpus[0]!, program(machine), 0);
  return machine;
};

test("an access pays its time before its effect, and the device's clock shows it", () => {
  const seen: string[] = [];
  const machine = machineWith(function* (m) {
    const file: RegisterFile = {
      read: (bar, offset) => {
        seen.push(`read ${bar}+${offset} at ${m.events.now}`);
        return 42;
      },
      write: (bar, offset, size, value) => seen.push(`write ${bar}+${offset} ${size}:${value} at ${m.events.now}`),
    };
    const window = new MmioWindow(file, 1, 256, m.events);
    expect(window.readl(0x30)).toBe(42);
    window.writel(7, 0x44);
    window.writeb(1, 3);
    expect(window.count).toBe(3);
  });
  machine.run(1e6);
  expect(seen).toEqual([
    `read 1+48 at ${MMIO_READ_NS}`,
    `write 1+68 4:7 at ${MMIO_READ_NS + MMIO_WRITE_NS}`,
    `write 1+3 1:1 at ${MMIO_READ_NS + 2 * MMIO_WRITE_NS}`,
  ]);
});

test("events that are due by the access run before it", () => {
  let register = 0;
  let value = -1;
  const machine = machineWith(function* (m) {
    m.events.arm(
      makeEvent("device", () => {
        register = 5;
      }),
      MMIO_READ_NS - 1,
    );
    const window = new MmioWindow({ read: () => register, write: () => {} }, 0, 16, m.events);
    value = window.readl(0);
  });
  machine.run(1e6);
  expect(value).toBe(5);
});

test("the n-th access can be waited for, once", () => {
  const hits: number[] = [];
  const machine = machineWith(function* (m) {
    const window = new MmioWindow({ read: () => 0, write: () => {} }, 0, 16, m.events);
    window.readl(0);
    window.atAccess(3, (count) => hits.push(count));
    for (let i = 0; i < 6; i++) window.readl(0);
  });
  machine.run(1e6);
  expect(hits).toEqual([4]);
});

class Plain extends PciDevice {
  override read(): number {
    return 0;
  }
  override write(): void {}
  override reset(): void {}
}

test("functions come in slot order, one window per BAR, and a BAR that is not there is an error that names it", () => {
  const machine = machineWith(function* () {});
  const plug = (name: string, devfn: number): void => {
    const identity = {
      vendorId: 1,
      deviceId: 2,
      classCode: 0,
      revision: 0,
      bars: [{ kind: "memory", size: 4096 }],
    } as const;
    machine.pci.plug(new Plain(machine, name, identity), devfn, 5, () => {});
  };
  plug("second", 16);
  plug("first", 8);
  const functions = pciFunctions(machine.pci);
  expect(functions.map((f) => f.name)).toEqual(["first", "second"]);
  expect(functions[0]!.map(0)).toBe(pciFunctions(machine.pci)[0]!.map(0));
  expect(() => functions[0]!.map(3)).toThrow("first: there is no BAR 3");
});
