// The PCI bus: configuration space, BARs, INTx, and loud answers to accesses that no device expects.
import type { EventQueue } from "../time/events.ts";
import type { PhysicalMemory } from "../memory/memory.ts";

export interface BarSpec {
  readonly kind: "io" | "memory";
  readonly size: number;
}

export interface PciIdentity {
  readonly vendorId: number;
  readonly deviceId: number;
  /** 24 bits: class, subclass, programming interface. */
  readonly classCode: number;
  readonly revision: number;
  readonly subsystemVendorId?: number;
  readonly subsystemId?: number;
  readonly bars: readonly BarSpec[];
}

/** What a device can reach: its calendar, memory by DMA, and where it reports what nobody should do. */
export interface DeviceHost {
  readonly events: EventQueue;
  readonly memory: PhysicalMemory;
  /** A guest's or a model's mistake: "driver erred" or "not modelled". Throws in strict mode, else is recorded. */
  complain(device: string, kind: "driver erred" | "not modelled", what: string): void;
  /** Records a register access or another device step when tracing is on. */
  trace(device: string, what: string, a: number, b: number): void;
  readonly tracing: boolean;
}

/** Bits of the configuration header that a driver may change, by byte; above it everything is the device's own. */
const CONFIG_WRITABLE: Readonly<Record<number, number>> = {
  0x04: 0x47,
  0x05: 0x05,
  0x0c: 0xff,
  0x0d: 0xff,
  0x3c: 0xff,
};

/** Base of every PCI function. A chip overrides the register accessors; a write records and schedules, never runs the device. */
export abstract class PciDevice {
  readonly name: string;
  readonly identity: PciIdentity;
  readonly host: DeviceHost;
  /** Configuration space, 256 bytes, little endian. */
  readonly config = new DataView(new ArrayBuffer(256));
  /** Base address per BAR as the firmware assigned it; 0 when unassigned. */
  readonly barBases: number[] = [];
  /** Set by the bus: drives the INTx line. */
  onInterruptLine: (asserted: boolean) => void = () => {};
  private lineAsserted = false;

  constructor(host: DeviceHost, name: string, identity: PciIdentity) {
    this.host = host;
    this.name = name;
    this.identity = identity;
    for (const { kind, size } of identity.bars) {
      // The sizing protocol can only tell powers of two, and the low bits of a BAR are flags.
      if (!(size >= (kind === "io" ? 4 : 16) && size <= 2 ** 31 && Number.isInteger(Math.log2(size)))) {
        throw new Error(
          `${name}: a BAR of ${size} bytes; it must be a power of two from ${kind === "io" ? 4 : 16} to 2^31`,
        );
      }
    }
    const { config } = this;
    config.setUint16(0x00, identity.vendorId, true);
    config.setUint16(0x02, identity.deviceId, true);
    config.setUint8(0x08, identity.revision);
    config.setUint8(0x09, identity.classCode & 0xff);
    config.setUint16(0x0a, identity.classCode >>> 8, true);
    config.setUint16(0x2c, identity.subsystemVendorId ?? identity.vendorId, true);
    config.setUint16(0x2e, identity.subsystemId ?? 0, true);
    config.setUint8(0x3d, 1);
    // The flags of a BAR are wired: an I/O BAR says so also before it has an address (Linux goes by them).
    identity.bars.forEach(({ kind }, i) => config.setUint32(0x10 + i * 4, kind === "io" ? 1 : 0, true));
  }

  /** Reads `size` bytes (1, 2, 4) of a register in BAR `bar`. Unsigned. */
  abstract read(bar: number, offset: number, size: number): number;
  abstract write(bar: number, offset: number, size: number, value: number): void;
  /** Power-on state. */
  abstract reset(): void;

  /** The one place from which a chip drives its interrupt line. */
  protected driveInterruptLine(asserted: boolean): void {
    if (asserted === this.lineAsserted) return;
    this.lineAsserted = asserted;
    this.onInterruptLine(asserted);
  }

  get interruptLine(): boolean {
    return this.lineAsserted;
  }

  /** True when the driver has switched bus mastering on; DMA without it is a driver's mistake. */
  get busMaster(): boolean {
    return (this.config.getUint16(0x04, true) & 0x4) !== 0;
  }

  readConfig(offset: number, size: number): number {
    if (size === 1) return this.config.getUint8(offset);
    if (size === 2) return this.config.getUint16(offset, true);
    return this.config.getUint32(offset, true);
  }

  writeConfig(offset: number, size: number, value: number): void {
    const { config } = this;
    const bar = (offset - 0x10) >> 2;
    if (bar >= 0 && bar < 6) {
      // Sizing protocol: all ones reads back as the mask of the BAR's size.
      const spec = this.identity.bars[bar];
      const flags = spec?.kind === "io" ? 1 : 0;
      const base = spec ? (value & ~(spec.size - 1)) >>> 0 : 0;
      config.setUint32(0x10 + bar * 4, spec ? (base | flags) >>> 0 : 0, true);
      this.barBases[bar] = base;
      return;
    }
    for (let i = 0; i < size; i++) {
      const at = offset + i;
      const mask = at >= 0x40 ? 0xff : (CONFIG_WRITABLE[at] ?? 0);
      if (mask !== 0) config.setUint8(at, (config.getUint8(at) & ~mask) | ((value >>> (8 * i)) & mask));
    }
  }
}

/** Devices by slot; the firmware's part (BAR and interrupt line assignment) is done when one is plugged. */
export class PciBus {
  private readonly slots = new Map<number, PciDevice>();
  private nextMemory = 0xfe000000;
  private nextIo = 0x2000;

  /** Plugs a device into `devfn`, assigns its BARs and tells it which interrupt line (irq number) it drives. */
  plug(device: PciDevice, devfn: number, irq: number, setLine: (irq: number, asserted: boolean) => void): void {
    if (this.slots.has(devfn)) throw new Error(`pci: slot ${devfn >> 3}.${devfn & 7} is taken`);
    this.slots.set(devfn, device);
    device.identity.bars.forEach((bar, i) => {
      const size = Math.max(bar.size, bar.kind === "io" ? 4 : 4096);
      if (bar.kind === "io") {
        this.nextIo = Math.ceil(this.nextIo / size) * size;
        device.writeConfig(0x10 + i * 4, 4, this.nextIo);
        this.nextIo += size;
      } else {
        this.nextMemory = Math.ceil(this.nextMemory / size) * size;
        device.writeConfig(0x10 + i * 4, 4, this.nextMemory);
        this.nextMemory += size;
      }
    });
    device.config.setUint8(0x3c, irq);
    device.onInterruptLine = (asserted) => setLine(irq, asserted);
  }

  device(devfn: number): PciDevice | undefined {
    return this.slots.get(devfn);
  }

  get devices(): IterableIterator<[number, PciDevice]> {
    return this.slots.entries();
  }
}
