// How a driver reaches a device: register windows that cost time, and configuration space.
//
// A driver uses nothing else of a device (and DMA memory), so the same driver can run over another bus.
import { cpu, step } from "../cpu/cpu.ts";
import type { PhysicalMemory } from "../memory/memory.ts";
import type { DmaPort, PciBus, PciDevice } from "./pci.ts";

/** A read crosses the bus and comes back; a posted write only leaves. Typical of PCI-X at 133 MHz. */
export const MMIO_READ_NS = 600;
export const MMIO_WRITE_NS = 120;

/** What is behind a window: a PCI function here; a process that emulates one elsewhere. */
export interface RegisterFile {
  read(bar: number, offset: number, size: number): number;
  write(bar: number, offset: number, size: number, value: number): void;
  /** For devices with a data port: what `bytes / unit` reads of the register one after the other come to. */
  readString?(bar: number, offset: number, memory: PhysicalMemory, address: number, bytes: number): void;
  writeString?(bar: number, offset: number, memory: PhysicalMemory, address: number, bytes: number): void;
}

/** The clock that device code reads: the time of the last event, or of the access it serves. */
export interface Calendar {
  now: number;
}

/** How many windows have a trigger armed: while one has, every access must really happen. */
export const accessTriggers = { armed: 0 };

/** Counts the accesses to a function's windows, all together, and tells when a certain one is about to happen. */
export class AccessCounter {
  /** Accesses so far. */
  count = 0;
  /** `notify()` is due before the access that makes `count` reach this. */
  notifyAt = Infinity;
  private onAccess: ((count: number) => void) | undefined;

  /** Calls `hit` before the n-th access from now (1 is the next). */
  at(nth: number, hit: (count: number) => void): void {
    accessTriggers.armed++;
    this.notifyAt = this.count + nth;
    this.onAccess = hit;
  }

  notify(): void {
    accessTriggers.armed--;
    this.notifyAt = Infinity;
    this.onAccess?.(this.count);
  }
}

/** One BAR, mapped. Every access pays time on the running CPU, and may be where that CPU is lost, before the effect. */
export class MmioWindow {
  readonly bar: number;
  readonly size: number;
  readonly accesses: AccessCounter;
  protected readonly registers: RegisterFile;
  protected readonly calendar: Calendar;

  constructor(
    registers: RegisterFile,
    bar: number,
    size: number,
    calendar: Calendar,
    accesses: AccessCounter = new AccessCounter(),
  ) {
    this.registers = registers;
    this.bar = bar;
    this.size = size;
    this.calendar = calendar;
    this.accesses = accesses;
  }

  /** Before the access: counts it. After the payment: the device's clock shows the CPU's time. */
  protected pay(ns: number): void {
    const { accesses } = this;
    if (++accesses.count >= accesses.notifyAt) accesses.notify();
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

  /** Accesses so far, to this window and to those that share its counter. */
  get count(): number {
    return this.accesses.count;
  }

  /** Calls `hit` before the n-th access from now (1 is the next). */
  atAccess(nth: number, hit: (count: number) => void): void {
    this.accesses.at(nth, hit);
  }
}

/** An I/O cycle on PCI is never posted: the CPU waits for it in both directions. */
export const PORT_NS = 700;

/** The I/O ports of one BAR. */
export class PortWindow extends MmioWindow {
  /** What 16 bits of a string instruction take: the device's cycle time, which the driver has set. 32 bits are two cycles. */
  stringCycleNs = PORT_NS;

  inb(offset: number): number {
    this.pay(PORT_NS);
    return this.registers.read(this.bar, offset, 1);
  }

  outb(value: number, offset: number): void {
    this.pay(PORT_NS);
    this.registers.write(this.bar, offset, 1, value);
  }

  inw(offset: number): number {
    this.pay(PORT_NS);
    return this.registers.read(this.bar, offset, 2);
  }

  outw(value: number, offset: number): void {
    this.pay(PORT_NS);
    this.registers.write(this.bar, offset, 2, value);
  }

  inl(offset: number): number {
    this.pay(PORT_NS);
    return this.registers.read(this.bar, offset, 4);
  }

  outl(value: number, offset: number): void {
    this.pay(PORT_NS);
    this.registers.write(this.bar, offset, 4, value);
  }

  /**
   * `rep ins`: moves at most `units` units of `unitBytes` from the register to memory at `address`, for as long as nothing
   * else is to happen in between: each unit is an access that pays, and may be where the CPU is lost. Returns how many
   * moved, at least one. The caller, kernel code, gives way in between and goes on.
   */
  ins(offset: number, unitBytes: 2 | 4, memory: PhysicalMemory, address: number, units: number): number {
    const { registers, bar } = this;
    const ns = (this.stringCycleNs * unitBytes) / 2;
    const many = this.stretch(units, ns);
    if (many === 0 || !registers.readString) {
      this.pay(ns);
      const value = registers.read(bar, offset, unitBytes);
      if (unitBytes === 4) memory.write32(address, value);
      else memory.write16(address, value);
      return 1;
    }
    registers.readString(bar, offset, memory, address, many * unitBytes);
    return many;
  }

  /** `rep outs`: as `ins`, from memory to the register. */
  outs(offset: number, unitBytes: 2 | 4, memory: PhysicalMemory, address: number, units: number): number {
    const { registers, bar } = this;
    const ns = (this.stringCycleNs * unitBytes) / 2;
    const many = this.stretch(units, ns);
    if (many === 0 || !registers.writeString) {
      this.pay(ns);
      registers.write(bar, offset, unitBytes, unitBytes === 4 ? memory.read32(address) : memory.read16(address));
      return 1;
    }
    registers.writeString(bar, offset, memory, address, many * unitBytes);
    return many;
  }

  /** Pays for as many units as come before the next event, landing, trigger or turn of another CPU; 0 for none. */
  private stretch(units: number, ns: number): number {
    const { accesses } = this;
    const c = cpu;
    const until = Math.min(c.limit - 1, c.horizon);
    const many = Math.min(units, Math.floor((until - c.clock) / ns), accesses.notifyAt - accesses.count - 1);
    if (!(many > 0) || !this.registers.readString) return 0;
    accesses.count += many;
    c.clock += many * ns;
    if (c.clock > this.calendar.now) this.calendar.now = c.clock;
    return many;
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
  /** The I/O ports of BAR `bar`, or the legacy ports that stand for it; the same window each time. Throws when there are none. */
  ports(bar: number): PortWindow;
  /** Counts the accesses through all windows, for crash triggers. */
  readonly accesses: AccessCounter;
}

class PluggedFunction implements PciFunction {
  readonly devfn: number;
  readonly name: string;
  readonly dma: DmaPort | undefined;
  readonly accesses = new AccessCounter();
  private readonly windows = new Map<number, MmioWindow>();
  private readonly portWindows = new Map<number, PortWindow>();
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
      window = new MmioWindow(this.device, bar, spec.size, this.device.host.events, this.accesses);
      this.windows.set(bar, window);
    }
    return window;
  }

  ports(bar: number): PortWindow {
    let window = this.portWindows.get(bar);
    if (!window) {
      const { bars, legacyPorts } = this.device.identity;
      const spec = legacyPorts?.find((range) => range.bar === bar) ?? bars[bar];
      if (!spec || ("kind" in spec && spec.kind !== "io")) throw new Error(`${this.name}: BAR ${bar} has no I/O ports`);
      window = new PortWindow(this.device, bar, spec.size, this.device.host.events, this.accesses);
      this.portWindows.set(bar, window);
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
