import { expect, test } from "vitest";
import { PhysicalMemory } from "../memory/memory.ts";
import { PagePool } from "../memory/pool.ts";
import { EventQueue } from "../time/events.ts";
import { PciBus, PciDevice, type BarSpec, type DeviceHost } from "./pci.ts";

const host: DeviceHost = {
  events: new EventQueue(),
  memory: new PhysicalMemory(new PagePool(4096, 2 ** 17), [{ start: 0, end: 65536, type: "ram" }]),
  complain: () => {},
  trace: () => {},
  tracing: false,
};

class Card extends PciDevice {
  constructor(bars: readonly BarSpec[], name = "card") {
    super(host, name, { vendorId: 0x1000, deviceId: 0x30, classCode: 0x010000, revision: 7, bars });
  }
  read(): number {
    return 0;
  }
  write(): void {}
  reset(): void {}
  drive(asserted: boolean): void {
    this.driveInterruptLine(asserted);
  }
}

test("a driver sizes BARs by writing all ones, and gets its address back", () => {
  const bus = new PciBus();
  const card = new Card([
    { kind: "io", size: 256 },
    { kind: "memory", size: 0x20000 },
  ]);
  bus.plug(card, 0x18, 11, () => {});
  const sized = [0x10, 0x14, 0x18].map((at) => {
    const address = card.readConfig(at, 4);
    card.writeConfig(at, 4, 0xffffffff);
    const mask = card.readConfig(at, 4);
    card.writeConfig(at, 4, address);
    expect(card.readConfig(at, 4)).toBe(address);
    return mask;
  });
  expect(sized).toEqual([0xffffff01, 0xfffe0000, 0]);
  expect(card.barBases[0]).toBe(card.readConfig(0x10, 4) - 1);
  expect(card.barBases[1]! % 0x20000).toBe(0);
});

test("a BAR shows its kind before it has an address: Linux sizes an I/O BAR by that", () => {
  const card = new Card([
    { kind: "io", size: 256 },
    { kind: "memory", size: 0x20000 },
  ]);
  expect([card.readConfig(0x10, 4), card.readConfig(0x14, 4)]).toEqual([1, 0]);
});

test("BARs of cards on one bus do not overlap and are aligned to their size", () => {
  const bus = new PciBus();
  const ranges: [number, number][] = [];
  for (const [i, size] of [4096, 0x20000, 0x4000, 0x100000].entries()) {
    const card = new Card([{ kind: "memory", size }], `card${i}`);
    bus.plug(card, i << 3, 10, () => {});
    expect(card.barBases[0]! % size).toBe(0);
    ranges.push([card.barBases[0]!, card.barBases[0]! + size]);
  }
  ranges.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < ranges.length; i++) expect(ranges[i]![0]).toBeGreaterThanOrEqual(ranges[i - 1]![1]);
});

test("a BAR that the sizing protocol cannot express is refused", () => {
  expect(() => new Card([{ kind: "memory", size: 5000 }])).toThrow(/card: a BAR of 5000 bytes/);
});

test("bus mastering follows the command register, also when that is written by bytes", () => {
  const card = new Card([]);
  expect(card.busMaster).toBe(false);
  card.writeConfig(0x05, 1, 0x04);
  card.writeConfig(0x04, 1, 0x07);
  expect(card.busMaster).toBe(true);
  expect(card.readConfig(0x04, 2)).toBe(0x0407);
  card.writeConfig(0x04, 2, 0);
  expect(card.busMaster).toBe(false);
});

test("identity is read-only; cache line, latency timer and interrupt line keep what is written", () => {
  const card = new Card([]);
  card.writeConfig(0x00, 4, 0);
  card.writeConfig(0x08, 4, 0);
  card.writeConfig(0x0c, 2, 0x4010);
  card.writeConfig(0x3c, 1, 9);
  expect(card.readConfig(0x00, 4)).toBe(0x00301000);
  expect(card.readConfig(0x08, 4)).toBe(0x01000007);
  expect(card.readConfig(0x0c, 4)).toBe(0x4010);
  expect(card.readConfig(0x3c, 2)).toBe(0x0109);
});

test("the interrupt line reports changes only, with the number the firmware gave", () => {
  const seen: string[] = [];
  const card = new Card([]);
  const bus = new PciBus();
  bus.plug(card, 8, 5, (irq, asserted) => seen.push(`${irq} ${asserted}`));
  card.drive(true);
  card.drive(true);
  card.drive(false);
  expect(seen).toEqual(["5 true", "5 false"]);
  expect(() => bus.plug(new Card([]), 8, 5, () => {})).toThrow("pci: slot 1.0 is taken");
});

test("a line that cards share is asserted until the last of them lets go", () => {
  const bus = new PciBus();
  const cards = [new Card([]), new Card([]), new Card([])];
  const log: [number, boolean][] = [];
  cards.forEach((card, i) => bus.plug(card, i << 3, i < 2 ? 16 : 17, (irq, asserted) => log.push([irq, asserted])));
  cards[0]!.drive(true);
  cards[1]!.drive(true);
  cards[0]!.drive(false);
  cards[2]!.drive(true);
  cards[0]!.drive(true);
  expect(log).toEqual([
    [16, true],
    [17, true],
  ]);
  cards[1]!.drive(false);
  cards[0]!.drive(false);
  expect(log.at(-1)).toEqual([16, false]);
  expect(log).toHaveLength(3);
});
