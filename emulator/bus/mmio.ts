// How a driver reaches a device: register windows that cost time, and configuration space.
//
// A driver uses nothing else of a device (and DMA memory), so the same driver can run over another bus.
import { cpu, step } from "../cpu/cpu.ts";
import type { DmaPort, PciBus, PciDevice } from "./pci.ts";

/** A read crosses the bus and comes back; a posted write only leaves. Typical of PCI-X at 133 MHz. */
export const MMIO_READ_NS = 600;
export const MMIO_WRITE_NS = 120;

/** What is behind a window: a PCI function here; a process that emulates one elsewhere. */
export interface RegisterFile {
  read(bar: number, offset: number, size: number): number;
  write(bar: number, offset: number, size: number, value: number): void;
}

/** The clock that device code reads: the time of the last event, or of the access it serves. */
export interface Calendar {
  now: number;
}

/** How many windows have a trigger armed: while one has, every access must really happen. */
export const accessTriggers = { armed: 0 };

/** One BAR, mapped. Every access pays time on the running CPU, and may be where that CPU is lost, before the effect. */
export class MmioWindow {
  readonly bar: number;
  readonly size: number;
  /** Accesses so far, for crash triggers. */
  count = 0;
  /** Called before the access that makes `count` reach `notifyAt`. */
  onAccess: ((count: number) => void) | undefined;
  notifyAt = Infinity;
  private readonly registers: RegisterFile;
  private readonly calendar: Calendar;

  constructor(registers: RegisterFile, bar: number, size: number, calendar: Calendar) {
    this.registers = registers;
    this.bar = bar;
    this.size = size;
    this.calendar = calendar;
  }

  /** Before the access: counts it. After the payment: the device's clock shows the CPU's time. */
  private pay(ns: number): void {
    if (++this.count >= this.notifyAt) this.notify();
    step(ns);
    const { clock } = cpu;
    if (clock > this.calendar.now) this.calendar.now = clock;
  }

  readl(offset: number): number {
    this.pay(MMIO_READ_NS);
    return this.registers.read(this.bar, offset, 4);
  }

  writel(value: number, offset: number): void {
    this.pay(MMIO_WRITE_NS);
    this.registers.write(this.bar, offset, 4, value);
  }

  readw(offset: number): number {
    this.pay(MMIO_READ_NS);
    return this.registers.read(this.bar, offset, 2);
  }

  writew(value: number, offset: number): void {
    this.pay(MMIO_WRITE_NS);
    this.registers.write(this.bar, offset, 2, value);
  }

  readb(offset: number): number {
    this.pay(MMIO_READ_NS);
    return this.registers.read(this.bar, offset, 1);
  }

  writeb(value: number, offset: number): void {
    this.pay(MMIO_WRITE_NS);
    this.registers.write(this.bar, offset, 1, value);
  }

  /** Calls `hit` before the n-th access from now (1 is the next). */
  atAccess(nth: number, hit: (count: number) => void): void {
    accessTriggers.armed++;
    this.notifyAt = this.count + nth;
    this.onAccess = hit;
  }

  private notify(): void {
    accessTriggers.armed--;
    this.notifyAt = Infinity;
    this.onAccess?.(this.count);
  }
}

/** A PCI function as a driver's probe sees it. */
export interface PciFunction {
  readonly devfn: number;
  /** The name under which the function was plugged, for messages and triggers. */
  readonly name: string;
  /** Unsigned; `size` is 1, 2 or 4. */
  readConfig(offset: number, size: number): number;
  writeConfig(offset: number, size: number, value: number): void;
  /** Maps BAR `bar`; the same window each time. Throws when the function has no such BAR. */
  map(bar: number): MmioWindow;
  /** Where DMA mappings are told; undefined when the function sees RAM itself, as on every real bus here. */
  readonly dma: DmaPort | undefined;
  /** Windows that were mapped, for crash triggers. */
  readonly windows: ReadonlyMap<number, MmioWindow>;
}

class PluggedFunction implements PciFunction {
  readonly devfn: number;
  readonly name: string;
  readonly dma: DmaPort | undefined;
  readonly windows = new Map<number, MmioWindow>();
  private readonly device: PciDevice;

  constructor(device: PciDevice, devfn: number) {
    this.device = device;
    this.devfn = devfn;
    this.name = device.name;
    this.dma = device.dmaPort;
  }

  readConfig(offset: number, size: number): number {
    step(MMIO_READ_NS);
    return this.device.readConfig(offset, size);
  }

  writeConfig(offset: number, size: number, value: number): void {
    step(MMIO_WRITE_NS);
    this.device.writeConfig(offset, size, value);
  }

  map(bar: number): MmioWindow {
    let window = this.windows.get(bar);
    if (!window) {
      const spec = this.device.identity.bars[bar];
      if (!spec) throw new Error(`${this.name}: there is no BAR ${bar}`);
      this.windows.set(bar, (window = new MmioWindow(this.device, bar, spec.size, this.device.host.events)));
    }
    return window;
  }
}

const plugged = new WeakMap<PciDevice, PciFunction>();

/** A device as its driver sees it; one and the same object per device. */
export function pciFunctionOf(device: PciDevice, devfn: number): PciFunction {
  let found = plugged.get(device);
  if (!found) plugged.set(device, (found = new PluggedFunction(device, devfn)));
  return found;
}

/** Every function on the bus, by slot. */
export const pciFunctions = (bus: PciBus): PciFunction[] =>
  [...bus.devices].sort(([a], [b]) => a - b).map(([devfn, device]) => pciFunctionOf(device, devfn));
