// The PCI bus: configuration space, BARs, INTx, and loud answers to accesses that no device expects.
import type { EventQueue } from "../time/events.ts";
import type { PhysicalMemory } from "../memory/memory.ts";

export interface BarSpec {
  readonly kind: "io" | "memory";
  readonly size: number;
}

/**
 * I/O ports that a function decodes where the PC/AT had them, without a base address register: an IDE function in
 * compatibility mode. They stand for the BAR of that number. [PCI IDE controller specification 1.0, 2.1]
 */
export interface LegacyPorts {
  readonly bar: number;
  readonly base: number;
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
  /** By number; undefined for one that the function does not have. */
  readonly bars: readonly (BarSpec | undefined)[];
  /** 1 (INTA#) by default; 0 for a function without an INTx pin. */
  readonly interruptPin?: number;
  readonly legacyPorts?: readonly LegacyPorts[];
  /** The ISA interrupts (edge-triggered) that it drives beside or instead of INTx. */
  readonly legacyIrqs?: readonly number[];
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

/**
 * How a function reaches memory when it cannot see the machine's RAM itself: an adapter that another program emulates. The
 * kernel's DMA mapping calls end here; addresses are physical, in bytes.
 */
export interface DmaPort {
  /** Memory that driver and device share for good: each sees what the other wrote at the next register access. Below 4 GiB, in the flat window. */
  share(address: number, bytes: number): void;
  /** What was written to shared memory before this, the device sees before what is written after it. */
  order(): void;
  /** A buffer is the device's until it is given back; it sees what RAM holds now. */
  lend(address: number, bytes: number): void;
  /** The device is done with a lent buffer; `filled` when it may have written there. */
  giveBack(address: number, bytes: number, filled: boolean): void;
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
  /** Set before a driver probes, on a device that does not see the machine's RAM. */
  dmaPort: DmaPort | undefined;
  /** Set by the bus: drives one of `identity.legacyIrqs`. */
  onLegacyLine: (irq: number, asserted: boolean) => void = () => {};
  private lineAsserted = false;

  constructor(host: DeviceHost, name: string, identity: PciIdentity) {
    this.host = host;
    this.name = name;
    this.identity = identity;
    for (const bar of identity.bars) {
      if (!bar) continue;
      const { kind, size } = bar;
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
    config.setUint8(0x3d, identity.interruptPin ?? 1);
    // The flags of a BAR are wired: an I/O BAR says so also before it has an address (Linux goes by them).
    identity.bars.forEach((bar, i) => config.setUint32(0x10 + i * 4, bar?.kind === "io" ? 1 : 0, true));
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

  /** The BAR (or the legacy ports that stand for one) and the offset that an I/O port decodes to; undefined when it is not ours. */
  decodePort(port: number): { readonly bar: number; readonly offset: number } | undefined {
    if ((this.config.getUint16(0x04, true) & 0x1) === 0) return undefined;
    for (const { bar, base, size } of this.identity.legacyPorts ?? []) {
      if (port >= base && port < base + size) return { bar, offset: port - base };
    }
    for (const [bar, spec] of this.identity.bars.entries()) {
      const base = this.barBases[bar] ?? 0;
      if (spec?.kind === "io" && base !== 0 && port >= base && port < base + spec.size)
        return { bar, offset: port - base };
    }
    return undefined;
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
  /** By line: how many devices assert it. INTx is level-triggered and wired together (PCI 2.2, 2.2.6): it falls with the last. */
  private readonly asserting: number[] = [];

  /**
   * Plugs a device into `devfn`, assigns its BARs and tells it which interrupt line (irq number) it drives. Devices may share one:
   * `setLine` is called when the line as a whole changes.
   */
  plug(device: PciDevice, devfn: number, irq: number, setLine: (irq: number, asserted: boolean) => void): void {
    if (this.slots.has(devfn)) throw new Error(`pci: slot ${devfn >> 3}.${devfn & 7} is taken`);
    this.slots.set(devfn, device);
    device.identity.bars.forEach((bar, i) => {
      if (!bar) return;
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
    device.onInterruptLine = (asserted) => {
      const before = this.asserting[irq] ?? 0;
      const now = (this.asserting[irq] = before + (asserted ? 1 : -1));
      if (now === 0 || before === 0) setLine(irq, asserted);
    };
    device.onLegacyLine = setLine;
  }

  /** An I/O read cycle of `size` bytes, as a CPU's `in` makes it. All ones when nobody answers. */
  portRead(port: number, size: number): number {
    for (const device of this.slots.values()) {
      const at = device.decodePort(port);
      if (at) return device.read(at.bar, at.offset, size);
    }
    return 2 ** (8 * size) - 1;
  }

  /** An I/O write cycle; lost when nobody answers. */
  portWrite(port: number, size: number, value: number): void {
    for (const device of this.slots.values()) {
      const at = device.decodePort(port);
      if (!at) continue;
      device.write(at.bar, at.offset, size, value);
      return;
    }
  }

  device(devfn: number): PciDevice | undefined {
    return this.slots.get(devfn);
  }

  get devices(): IterableIterator<[number, PciDevice]> {
    return this.slots.entries();
  }
}
