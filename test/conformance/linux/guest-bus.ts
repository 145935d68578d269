// Our PCI devices on the guest's bus. It takes configuration cycles, port and memory accesses before the guest's own
// devices see them, carries DMA and interrupt lines, and lets device time pass with the guest's clock.
import type { DeviceHost, PciDevice } from "../../../emulator/bus/pci.ts";
import { EventQueue } from "../../../emulator/time/events.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import type { RegisterLog } from "./register-log.ts";
import type { CoreImports, V86Cpu } from "./v86.ts";
import type { VirtualClock } from "./virtual-clock.ts";

const CONFIG_ADDRESS = 0xcf8;
const CONFIG_DATA = 0xcfc;
const CONFIG_ENABLE = 0x80000000;
/** PIRQ route control of the guest's ISA bridge: which interrupt each of the four lines drives; bit 7 means none. */
const PIRQ_ROUTES = 0x60;
const PIRQ_OFF = 0x80;
const NS_PER_MS = 1_000_000;
const COMMAND = 0x04;
const MEMORY_ENABLE = 2;
const INTERRUPT_DISABLE = 0x400;

interface Plugged {
  readonly device: PciDevice;
  readonly devfn: number;
  asserted: boolean;
  /** Of the PC's own interrupts (identity.legacyIrqs): those that the device holds. */
  readonly legacy: Set<number>;
}

interface Place {
  readonly device: PciDevice;
  readonly bar: number;
  readonly offset: number;
}

/** The host that our devices are made for: guest memory, a calendar that follows the guest, and complaints. */
export class GuestHost implements DeviceHost {
  readonly events = new EventQueue();
  readonly memory: PhysicalMemory;
  readonly tracing = false;
  /** What the devices found wrong with the driver, or are not able to do. */
  readonly complaints: string[] = [];

  constructor(memory: PhysicalMemory) {
    this.memory = memory;
  }

  complain(device: string, kind: "driver erred" | "not modelled", what: string): void {
    this.complaints.push(`${device}: ${kind}: ${what}`);
  }

  trace(): void {}
}

export class GuestBus {
  private readonly plugged: Plugged[] = [];
  private readonly clock: VirtualClock;
  private readonly log: RegisterLog;
  private cpu: V86Cpu | undefined;
  private host: GuestHost | undefined;
  private configAddress = 0;
  /** Interrupts that our devices hold at the guest's controller. */
  private raised = new Set<number>();

  constructor(clock: VirtualClock, log: RegisterLog) {
    this.clock = clock;
    this.log = log;
  }

  /** The guest is there: devices may be plugged. */
  start(cpu: V86Cpu, host: GuestHost): void {
    this.cpu = cpu;
    this.host = host;
  }

  /** Plugs a device into a slot (one that has an INTx pin: 2 to 6, whose interrupts the guest's firmware describes). */
  plug(device: PciDevice, slot: number, func = 0): void {
    const entry: Plugged = { device, devfn: (slot << 3) | func, asserted: false, legacy: new Set() };
    device.onInterruptLine = (asserted) => {
      entry.asserted = asserted;
      this.lowerLines();
    };
    device.onLegacyLine = (irq, asserted) => {
      if (asserted) entry.legacy.add(irq);
      else entry.legacy.delete(irq);
      this.lowerLines();
    };
    this.plugged.push(entry);
  }

  /** Puts itself between the CPU core and the guest's own devices. */
  hook(imports: CoreImports): void {
    const timers = imports.run_hardware_timers;
    imports.run_hardware_timers = (acpiEnabled, nowMs) => {
      this.passTime();
      this.raiseLines();
      const sleepMs = timers(acpiEnabled, nowMs);
      const next = this.host?.events.nextAt ?? Infinity;
      return Math.min(sleepMs, Math.max(0, (next - this.clock.nowNs()) / NS_PER_MS));
    };
    this.hookPorts(imports);
    this.hookMemory(imports);
  }

  private hookPorts(imports: CoreImports): void {
    const { io_port_read8, io_port_read16, io_port_read32, io_port_write8, io_port_write16, io_port_write32 } = imports;
    const reader =
      (size: number, otherwise: (port: number) => number) =>
      (port: number): number => {
        if (port >= CONFIG_DATA && port < CONFIG_DATA + 4) {
          const device = this.configured();
          if (device) return device.readConfig((this.configAddress & 0xfc) | (port & 3), size) | 0;
        }
        const place = this.portPlace(port);
        return place ? this.read(place, size) | 0 : otherwise(port);
      };
    const writer =
      (size: number, otherwise: (port: number, value: number) => void) =>
      (port: number, value: number): void => {
        if (port === CONFIG_ADDRESS && size === 4) this.configAddress = value >>> 0;
        if (port >= CONFIG_DATA && port < CONFIG_DATA + 4) {
          const device = this.configured();
          if (device) {
            device.writeConfig((this.configAddress & 0xfc) | (port & 3), size, value >>> 0);
            this.lowerLines();
            return;
          }
        }
        const place = this.portPlace(port);
        if (place) this.write(place, size, value);
        else otherwise(port, value);
      };
    imports.io_port_read8 = reader(1, io_port_read8);
    imports.io_port_read16 = reader(2, io_port_read16);
    imports.io_port_read32 = reader(4, io_port_read32);
    imports.io_port_write8 = writer(1, io_port_write8);
    imports.io_port_write16 = writer(2, io_port_write16);
    imports.io_port_write32 = writer(4, io_port_write32);
  }

  private hookMemory(imports: CoreImports): void {
    const { mmap_read8, mmap_read32, mmap_write8, mmap_write16, mmap_write32, mmap_write64 } = imports;
    const reader =
      (size: number, otherwise: (address: number) => number) =>
      (address: number): number => {
        const place = this.memoryPlace(address >>> 0);
        return place ? this.read(place, size) | 0 : otherwise(address);
      };
    const writer =
      (size: number, otherwise: (address: number, value: number) => void) =>
      (address: number, value: number): void => {
        const place = this.memoryPlace(address >>> 0);
        if (place) this.write(place, size, value);
        else otherwise(address, value);
      };
    imports.mmap_read8 = reader(1, mmap_read8);
    imports.mmap_read32 = reader(4, mmap_read32);
    imports.mmap_write8 = writer(1, mmap_write8);
    imports.mmap_write16 = writer(2, mmap_write16);
    imports.mmap_write32 = writer(4, mmap_write32);
    imports.mmap_write64 = (address, low, high) => {
      const place = this.memoryPlace(address >>> 0);
      if (!place) {
        mmap_write64(address, low, high);
        return;
      }
      this.write(place, 4, low);
      this.write({ ...place, offset: place.offset + 4 }, 4, high);
    };
  }

  /** Which device the last configuration address means. */
  private configured(): PciDevice | undefined {
    if ((this.configAddress & CONFIG_ENABLE) === 0) return undefined;
    const busAndFunction = (this.configAddress >>> 8) & 0xffff;
    return this.plugged.find(({ devfn }) => devfn === busAndFunction)?.device;
  }

  private portPlace(port: number): Place | undefined {
    for (const { device } of this.plugged) {
      const place = device.decodePort(port);
      if (place) return { device, ...place };
    }
    return undefined;
  }

  private memoryPlace(address: number): Place | undefined {
    for (const { device } of this.plugged) {
      if ((device.readConfig(COMMAND, 2) & MEMORY_ENABLE) === 0) continue;
      const { bars } = device.identity;
      for (let bar = 0; bar < bars.length; bar++) {
        const base = device.barBases[bar] ?? 0;
        const spec = bars[bar];
        if (spec?.kind === "memory" && base !== 0 && address >= base && address < base + spec.size) {
          return { device, bar, offset: address - base };
        }
      }
    }
    return undefined;
  }

  /** Device events up to now happen; then the devices' clock shows now. */
  private passTime(): number {
    const now = this.clock.nowNs();
    const events = this.host?.events;
    if (events) {
      while (events.nextAt <= now) events.fireNext();
      if (now > events.now) events.now = now;
    }
    return now;
  }

  private read({ device, bar, offset }: Place, size: number): number {
    const now = this.passTime();
    const value = device.read(bar, offset, size);
    this.log.add(now, device.name, "read", bar, offset, size, value);
    return value;
  }

  private write({ device, bar, offset }: Place, size: number, value: number): void {
    const now = this.passTime();
    const unsigned = size === 4 ? value >>> 0 : value & (size === 2 ? 0xffff : 0xff);
    this.log.add(now, device.name, "write", bar, offset, size, unsigned);
    device.write(bar, offset, size, unsigned);
  }

  /**
   * Raising a line makes v86 enter the handler at once, and between two instructions is only here: in the middle of a
   * translated memory access the entry would be lost. Lines that are held are raised again each time: they are levels.
   */
  private raiseLines(): void {
    const held = this.heldIrqs();
    for (const irq of held) this.cpu!.device_raise_irq(irq);
    this.raised = held;
  }

  /** Lines that are no longer held must not call again, so they fall at once. */
  private lowerLines(): void {
    if (this.raised.size === 0) return;
    const held = this.heldIrqs();
    for (const irq of this.raised) {
      if (held.has(irq)) continue;
      this.cpu!.device_lower_irq(irq);
      this.raised.delete(irq);
    }
  }

  private heldIrqs(): Set<number> {
    const held = new Set<number>();
    for (const { device, devfn, asserted, legacy } of this.plugged) {
      for (const irq of legacy) held.add(irq);
      if (!asserted || (device.readConfig(COMMAND, 2) & INTERRUPT_DISABLE) !== 0) continue;
      const irq = this.routeOf(device, devfn);
      if (irq !== undefined) held.add(irq);
    }
    return held;
  }

  private routeOf(device: PciDevice, devfn: number): number | undefined {
    const pin = device.readConfig(0x3d, 1);
    if (pin === 0) return undefined;
    const route = this.cpu!.devices.pci.isa_bridge_space8[PIRQ_ROUTES + ((pin - 1 + (devfn >> 3) - 1) & 3)]!;
    return (route & PIRQ_OFF) !== 0 ? undefined : route & 0x0f;
  }
}
