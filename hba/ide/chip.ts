// The IDE function of Intel's PIIX3 and PIIX4: two channels at the PC's own ports, with a bus master.
//
// Only BAR 4 exists in configuration space. The channels' ports lie where the PC/AT had them (identity.legacyPorts) and
// interrupt on IRQ 14 and 15; `read` and `write` know them as BARs 0 to 3, as a native-mode function would have them.
import { type DeviceHost, PciDevice, type PciIdentity } from "../../emulator/bus/pci.ts";
import { AtaDrive } from "../../emulator/disk/ata-drive.ts";
import type { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import type { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { IdeChannel } from "./chip-channel.ts";
import {
  ATA,
  ATA_ALT_STATUS,
  ATA_NAMES,
  BM_NAMES,
  BUS_MASTER_BAR,
  BUS_MASTER_STRIDE,
  IDETIM_DECODE,
  PIIX_CONFIG,
  PIIX_IRQS,
  PIIX_PORTS,
} from "./registers.ts";

export type PiixVariant = "piix3" | "piix4";

const identityOf = (deviceId: number, revision: number): PciIdentity => ({
  ...{ vendorId: 0x8086, deviceId, classCode: 0x010180, revision },
  bars: [undefined, undefined, undefined, undefined, { kind: "io", size: 16 }],
  interruptPin: 0,
  legacyPorts: PIIX_PORTS,
  legacyIrqs: PIIX_IRQS,
});

const IDENTITIES: Readonly<Record<PiixVariant, PciIdentity>> = {
  piix3: identityOf(0x7010, 0x00),
  piix4: identityOf(0x7111, 0x01),
};

export class PiixIdeChip extends PciDevice {
  readonly variant: PiixVariant;
  readonly channels: readonly [IdeChannel, IdeChannel];

  constructor(host: DeviceHost, name: string, variant: PiixVariant) {
    super(host, name, IDENTITIES[variant]);
    this.variant = variant;
    const channel = (index: 0 | 1): IdeChannel =>
      new IdeChannel(
        host,
        `${name}.${index}`,
        () => this.busMaster,
        (asserted) => {
          if (host.tracing) host.trace(name, "INTRQ", PIIX_IRQS[index], asserted ? 1 : 0);
          this.onLegacyLine(PIIX_IRQS[index], asserted);
        },
      );
    this.channels = [channel(0), channel(1)];
    this.reset();
  }

  /** Puts a disk on a cable: 0 and 1 are the primary master and slave, 2 and 3 the secondary ones. */
  attach(id: number, disk: ScsiDisk): void {
    if (!(Number.isInteger(id) && id >= 0 && id <= 3))
      throw new Error(`${this.name}: no drive can be number ${id} (0 to 3)`);
    const position = (id & 1) as 0 | 1;
    this.channels[id >> 1]!.attach(new AtaDrive(disk, this.host.events, position));
  }

  override reset(): void {
    for (const { offset, size, reset } of Object.values(PIIX_CONFIG)) {
      if (size === 2) this.config.setUint16(offset, reset, true);
      else this.config.setUint8(offset, reset);
    }
    for (const channel of this.channels) channel.reset();
  }

  override writeConfig(offset: number, size: number, value: number): void {
    if (offset < 0x40) {
      super.writeConfig(offset, size, value);
      return;
    }
    for (let i = 0; i < size; i++) this.writeConfigByte(offset + i, (value >>> (8 * i)) & 0xff);
  }

  /** Only what the table has can be written; a PIIX3 has no Ultra DMA registers. */
  private writeConfigByte(at: number, value: number): void {
    for (const [name, register] of Object.entries(PIIX_CONFIG)) {
      if (at < register.offset || at >= register.offset + register.size) continue;
      if (this.variant === "piix3" && name.startsWith("UDMA")) return;
      const mask = (register.writable >>> (8 * (at - register.offset))) & 0xff;
      this.config.setUint8(at, value & mask);
    }
  }

  /** The channel behind a BAR of ports, unless its decoding is switched off. */
  private channelOf(bar: number): IdeChannel | undefined {
    const index = bar >> 1;
    const timing = this.config.getUint16(PIIX_CONFIG.IDETIM_PRIMARY.offset + 2 * index, true);
    return (timing & IDETIM_DECODE) !== 0 ? this.channels[index] : undefined;
  }

  override read(bar: number, offset: number, size: number): number {
    let value: number;
    if (bar === BUS_MASTER_BAR) {
      value = 0;
      for (let i = size - 1; i >= 0; i--) value = value * 256 + this.readBusMaster(offset + i);
    } else value = this.readPort(bar, offset, size);
    if (this.host.tracing) this.host.trace(this.name, `read ${this.nameOf(bar, offset)}`, offset, value);
    return value;
  }

  private readBusMaster(offset: number): number {
    return this.channels[offset >= BUS_MASTER_STRIDE ? 1 : 0].busMaster.read(offset % BUS_MASTER_STRIDE);
  }

  private readPort(bar: number, offset: number, size: number): number {
    const channel = this.channelOf(bar);
    if (!channel) return 2 ** (8 * size) - 1;
    const control = (bar & 1) !== 0;
    if (!control && offset === ATA.Data && size > 1) return channel.readData(size);
    if (size !== 1 || offset === ATA.Data) return this.refuse("read", bar, offset, size);
    if (control) return offset === ATA_ALT_STATUS ? channel.readAltStatus() : 0xff;
    return offset === ATA.Status ? channel.readStatus() : channel.readRegister(offset);
  }

  override write(bar: number, offset: number, size: number, value: number): void {
    if (this.host.tracing) this.host.trace(this.name, `write ${this.nameOf(bar, offset)}`, offset, value >>> 0);
    if (bar === BUS_MASTER_BAR) {
      for (let i = 0; i < size; i++) {
        const at = offset + i;
        const { busMaster } = this.channels[at >= BUS_MASTER_STRIDE ? 1 : 0];
        busMaster.write(at % BUS_MASTER_STRIDE, (value >>> (8 * i)) & 0xff);
      }
      return;
    }
    const channel = this.channelOf(bar);
    if (!channel) return;
    const control = (bar & 1) !== 0;
    if (!control && offset === ATA.Data && size > 1) channel.writeData(size, value);
    else if (size !== 1 || (!control && offset === ATA.Data)) this.refuse("write", bar, offset, size);
    else if (control) channel.writeControl(offset, value);
    else channel.writeRegister(offset, value);
  }

  /** `bytes` bytes out of the data port into memory, as a string instruction reads them. */
  readString(bar: number, _offset: number, memory: PhysicalMemory, address: number, bytes: number): void {
    if (this.host.tracing) this.host.trace(this.name, "read Data", address, bytes);
    this.channelOf(bar)?.readString(memory, address, bytes);
  }

  writeString(bar: number, _offset: number, memory: PhysicalMemory, address: number, bytes: number): void {
    if (this.host.tracing) this.host.trace(this.name, "write Data", address, bytes);
    this.channelOf(bar)?.writeString(memory, address, bytes);
  }

  private nameOf(bar: number, offset: number): string {
    if (bar === BUS_MASTER_BAR) return BM_NAMES.get(offset % BUS_MASTER_STRIDE) ?? "bus master";
    return (bar & 1) !== 0 ? "AltStatus" : (ATA_NAMES.get(offset) ?? "?");
  }

  private refuse(access: "read" | "write", bar: number, offset: number, size: number): number {
    const where = `${access} of ${size} bytes at BAR ${bar} + 0x${offset.toString(16)}`;
    const rule = offset === ATA.Data ? "the data port takes 2 or 4 bytes" : "task file registers are one byte wide";
    this.host.complain(this.name, "driver erred", `${where}: ${rule}`);
    return 0;
  }
}
