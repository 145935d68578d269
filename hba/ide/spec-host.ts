// A host for the specs: a machine with one PIIX function, driven by ports only, as a driver without a kernel would.
import { ScsiDisk, type ScsiDiskOptions } from "../../emulator/disk/scsi-disk.ts";
import { SpecMachine } from "../mptfusion/spec-host.ts";
import { PiixIdeChip, type PiixVariant } from "./chip.ts";
import { ATA, ATA_ALT_STATUS, BM, BM_READ, BM_START, BUS_MASTER_BAR, BUS_MASTER_STRIDE } from "./registers.ts";

export const DATA = 0x100000;
const PRD = 0x8000;
const PORT_NS = 700;
const MS = 1_000_000;

export interface TaskFileValues {
  readonly command: number;
  readonly lba?: number;
  readonly sectors?: number;
  readonly features?: number;
  /** 48-bit form: both halves are written. */
  readonly extended?: boolean;
}

export class SpecIde {
  readonly machine = new SpecMachine(4, 16);
  readonly chip: PiixIdeChip;
  readonly disks: ScsiDisk[] = [];
  /** Rising edges of IRQ 14 and 15. */
  readonly edges: number[] = [];
  readonly lines = new Map<number, boolean>();

  /** @param ids where drives are: 0 to 3 */
  constructor(ids: readonly number[] = [0], disk: Partial<ScsiDiskOptions> = {}, variant: PiixVariant = "piix4") {
    const { machine } = this;
    this.chip = new PiixIdeChip(machine, "ide0", variant);
    this.chip.onLegacyLine = (irq, asserted) => {
      this.lines.set(irq, asserted);
      if (asserted) this.edges.push(irq);
    };
    for (const id of ids) {
      const options = { name: `hd${"abcd"[id]}`, sizeBytes: 64 << 20, ...disk };
      const made = new ScsiDisk(machine.events, machine.memory.pool, options);
      this.disks.push(made);
      this.chip.attach(id, made);
    }
    this.chip.reset();
    this.chip.config.setUint16(0x04, 0x0005, true);
  }

  get now(): number {
    return this.machine.events.now;
  }

  advance(ns: number): void {
    const { events } = this.machine;
    const until = events.now + ns;
    while (events.nextAt <= until) events.fireNext();
    events.now = until;
  }

  inb(register: number, channel = 0): number {
    this.advance(PORT_NS);
    return this.chip.read(2 * channel, register, 1);
  }

  outb(value: number, register: number, channel = 0): void {
    this.advance(PORT_NS);
    this.chip.write(2 * channel, register, 1, value);
  }

  get altStatus(): number {
    this.advance(PORT_NS);
    return this.chip.read(1, ATA_ALT_STATUS, 1);
  }

  control(value: number): void {
    this.advance(PORT_NS);
    this.chip.write(1, ATA_ALT_STATUS, 1, value);
  }

  inBm(offset: number, size = 1, channel = 0): number {
    this.advance(PORT_NS);
    return this.chip.read(BUS_MASTER_BAR, offset + channel * BUS_MASTER_STRIDE, size);
  }

  outBm(value: number, offset: number, size = 1, channel = 0): void {
    this.advance(PORT_NS);
    this.chip.write(BUS_MASTER_BAR, offset + channel * BUS_MASTER_STRIDE, size, value);
  }

  select(position: 0 | 1): void {
    this.outb(0xe0 | (position << 4), ATA.Device);
  }

  /** Loads the task file for the selected master and writes the command. */
  issue({ command, lba = 0, sectors = 1, features = 0, extended = false }: TaskFileValues): void {
    if (extended) {
      this.outb(0, ATA.Error);
      this.outb((sectors >> 8) & 0xff, ATA.SectorCount);
      this.outb(Math.floor(lba / 2 ** 24) & 0xff, ATA.LbaLow);
      this.outb(Math.floor(lba / 2 ** 32) & 0xff, ATA.LbaMid);
      this.outb(Math.floor(lba / 2 ** 40) & 0xff, ATA.LbaHigh);
    }
    this.outb(features, ATA.Error);
    this.outb(sectors & 0xff, ATA.SectorCount);
    this.outb(lba & 0xff, ATA.LbaLow);
    this.outb((lba >>> 8) & 0xff, ATA.LbaMid);
    this.outb((lba >>> 16) & 0xff, ATA.LbaHigh);
    this.outb(0xe0 | (extended ? 0 : Math.floor(lba / 2 ** 24) & 0x0f), ATA.Device);
    this.outb(command, ATA.Status);
  }

  waitFor(what: string, condition: () => boolean, timeoutMs = 1000): void {
    for (const end = this.now + timeoutMs * MS; !condition(); this.advance(5000)) {
      if (this.now > end) throw new Error(`timeout: ${what}, status ${this.altStatus.toString(16)}`);
    }
  }

  /** Waits until BSY is clear; returns the status, read through the alternate register. */
  settle(timeoutMs = 1000): number {
    this.waitFor("BSY clear", () => (this.altStatus & 0x80) === 0, timeoutMs);
    return this.altStatus;
  }

  /** Reads `bytes` bytes of the data port, word by word. */
  readData(bytes: number): Uint8Array {
    const data = new Uint8Array(bytes);
    for (let i = 0; i < bytes; i += 2) {
      const word = this.chip.read(0, ATA.Data, 2);
      data[i] = word & 0xff;
      data[i + 1] = word >> 8;
    }
    return data;
  }

  writeData(bytes: Uint8Array): void {
    for (let i = 0; i < bytes.length; i += 4) {
      const view = new DataView(bytes.buffer, bytes.byteOffset + i, 4);
      this.chip.write(0, ATA.Data, 4, view.getUint32(0, true));
    }
  }

  /** A whole PIO-in command: waits for each DRQ block of `block` sectors. Returns what was read, and the final status. */
  pioIn(values: TaskFileValues, block = 1): { data: Uint8Array; status: number; interrupts: number } {
    const before = this.edges.length;
    this.issue(values);
    const sectors = values.sectors ?? 1;
    const data = new Uint8Array(sectors * 512);
    let done = 0;
    for (; done < sectors; done += block) {
      if ((this.settle() & 0x08) === 0) break;
      this.inb(ATA.Status);
      data.set(this.readData(Math.min(block, sectors - done) * 512), done * 512);
    }
    return { data, status: this.settle(), interrupts: this.edges.length - before };
  }

  pioOut(values: TaskFileValues, data: Uint8Array, block = 1): { status: number; interrupts: number } {
    const before = this.edges.length;
    this.issue(values);
    for (let done = 0; done < data.length; done += block * 512) {
      if ((this.settle() & 0x08) === 0) break;
      this.inb(ATA.Status);
      this.writeData(data.subarray(done, done + block * 512));
    }
    return { status: this.settle(), interrupts: this.edges.length - before };
  }

  /** Writes a descriptor table; the last one has EOT unless `open`. */
  prds(regions: readonly { address: number; bytes: number }[], open = false): void {
    const { memory } = this.machine;
    regions.forEach(({ address, bytes }, i) => {
      memory.write32(PRD + i * 8, address);
      const eot = i === regions.length - 1 && !open ? 0x80000000 : 0;
      memory.write32(PRD + i * 8 + 4, ((bytes & 0xffff) | eot) >>> 0);
    });
  }

  /** A DMA command as a driver issues it; ends when the interrupt has come or `waitMs` has passed. Returns BMISX and status. */
  dma(
    values: TaskFileValues,
    regions: readonly { address: number; bytes: number }[],
    read: boolean,
    waitMs = 1000,
  ): { bm: number; status: number } {
    this.prds(regions);
    this.outBm(PRD, BM.BMIDTPX, 4);
    this.outBm(read ? BM_READ : 0, BM.BMICX);
    this.outBm(this.inBm(BM.BMISX) | 0x06, BM.BMISX);
    const before = this.edges.length;
    this.issue(values);
    this.outBm((read ? BM_READ : 0) | BM_START, BM.BMICX);
    const end = this.now + waitMs * MS;
    while (this.edges.length === before && this.now < end) this.advance(10_000);
    const bm = this.inBm(BM.BMISX);
    const status = this.altStatus;
    this.outBm(read ? BM_READ : 0, BM.BMICX);
    this.inb(ATA.Status);
    return { bm, status };
  }
}

/** Bytes that tell their place. */
export const pattern = (bytes: number, seed: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + (i >> 9) * 31 + seed) & 0xff);
