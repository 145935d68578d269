// The bus master of one channel: a list of memory regions (PRDs) between a drive's DMA and RAM. [82371AB datasheet 5.2.3]
import type { DeviceHost } from "../../emulator/bus/pci.ts";
import type { AtaDrive } from "../../emulator/disk/ata-drive.ts";
import type { ScsiCommand } from "../../emulator/disk/scsi-command.ts";
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import {
  BM,
  BM_ACTIVE,
  BM_DRIVES_CAPABLE,
  BM_ERROR,
  BM_INTERRUPT,
  BM_READ,
  BM_START,
  PIIX_BUS_MASTER,
} from "./registers.ts";

const PRD_BYTES = 8;
const PRD_EOT = 0x80000000;
const BOUNDARY = 0x10000;
/** The most descriptors that a table of 64 KiB holds. */
const MAX_PRDS = BOUNDARY / PRD_BYTES;
/** From start bit and DMARQ to the first descriptor. */
const FETCH_NS = 400;

export class BusMaster {
  private readonly host: DeviceHost;
  private readonly name: string;
  private readonly isMaster: () => boolean;
  private readonly drive: () => AtaDrive | undefined;
  private readonly event: TimerEvent;
  private command = 0;
  private status = 0;
  private table = 0;
  /** The data in memory ends exactly where the table does. */
  private exact = false;
  /** A transfer is under way. */
  private moving = false;

  constructor(host: DeviceHost, name: string, isMaster: () => boolean, drive: () => AtaDrive | undefined) {
    this.host = host;
    this.name = name;
    this.isMaster = isMaster;
    this.drive = drive;
    this.event = makeEvent(`${name}.dma`, () => this.begin());
  }

  reset(): void {
    this.host.events.cancel(this.event);
    this.command = this.status = this.table = 0;
    this.moving = false;
  }

  /** Reads one byte of the eight. */
  read(offset: number): number {
    switch (offset) {
      case BM.BMICX:
        return this.command;
      case BM.BMISX:
        return this.status;
      case BM.BMIDTPX:
      case BM.BMIDTPX + 1:
      case BM.BMIDTPX + 2:
      case BM.BMIDTPX + 3:
        return (this.table >>> (8 * (offset - BM.BMIDTPX))) & 0xff;
      default:
        return 0;
    }
  }

  write(offset: number, value: number): void {
    switch (offset) {
      case BM.BMICX:
        this.writeCommand(value & PIIX_BUS_MASTER.BMICX.writable);
        break;
      case BM.BMISX:
        this.status =
          (this.status & ~BM_DRIVES_CAPABLE & ~(value & (BM_ERROR | BM_INTERRUPT))) | (value & BM_DRIVES_CAPABLE);
        break;
      case BM.BMIDTPX:
      case BM.BMIDTPX + 1:
      case BM.BMIDTPX + 2:
      case BM.BMIDTPX + 3: {
        const shift = 8 * (offset - BM.BMIDTPX);
        this.table = (((this.table & ~(0xff << shift)) | (value << shift)) & PIIX_BUS_MASTER.BMIDTPX.writable) >>> 0;
      }
    }
  }

  private writeCommand(value: number): void {
    const started = (value & ~this.command & BM_START) !== 0;
    const stopped = (this.command & ~value & BM_START) !== 0;
    this.command = value;
    if (started) {
      this.status |= BM_ACTIVE;
      this.arm();
    }
    if (!stopped) return;
    this.status &= ~BM_ACTIVE;
    this.host.events.cancel(this.event);
    // Data that is still on its way is lost, and the drive waits for somebody to take the rest.
    if (this.moving) this.drive()?.abandonDma();
    this.moving = false;
  }

  /** The drive asserts DMARQ. */
  requested(): void {
    this.arm();
  }

  private arm(): void {
    const { events } = this.host;
    if ((this.status & BM_ACTIVE) !== 0 && !this.event.armed) events.arm(this.event, events.now + FETCH_NS);
  }

  /** INTRQ has risen. */
  interrupted(): void {
    this.status |= BM_INTERRUPT;
  }

  /** The drive has moved all that there was room for. */
  ended(): void {
    this.moving = false;
    if (this.exact) this.status &= ~BM_ACTIVE;
  }

  /** Both sides are ready: reads the table and lets the drive move its data. */
  private begin(): void {
    const drive = this.drive();
    const direction = drive?.dmaDirection;
    if (!drive || direction === undefined || (this.status & BM_ACTIVE) === 0) return;
    if (!this.isMaster()) {
      this.host.complain(this.name, "driver erred", "DMA started while bus mastering is off in PCICMD");
      return;
    }
    if (((this.command & BM_READ) !== 0) !== (direction === "in")) {
      this.host.complain(this.name, "driver erred", `the drive moves data ${direction}, BMICX says the other way`);
      return;
    }
    this.moving = true;
    drive.beginDma(this.host.memory, (request) => this.fill(request, drive.dmaBytes));
  }

  /** Copies the table into the command's segments, as far as `bytes` reach. Returns the bytes that it has room for. */
  private fill(request: ScsiCommand, bytes: number): number {
    const { memory } = this.host;
    const { segments } = request;
    let room = 0;
    let count = 0;
    let last = false;
    let left = 0;
    while (room < bytes && !last) {
      const at = this.table + count * PRD_BYTES;
      if (count === MAX_PRDS || Math.floor(at / BOUNDARY) !== Math.floor(this.table / BOUNDARY)) {
        this.host.complain(this.name, "driver erred", "the descriptor table crosses a 64 KiB boundary");
        break;
      }
      if (at + PRD_BYTES > memory.endOfRam) return this.masterAbort(`descriptor at 0x${at.toString(16)}`);
      const base = (memory.read32(at) & ~1) >>> 0;
      const word = memory.read32(at + 4);
      const size = word & 0xfffe || BOUNDARY;
      last = word >= PRD_EOT;
      if (Math.floor(base / BOUNDARY) !== Math.floor((base + size - 1) / BOUNDARY)) {
        this.host.complain(this.name, "driver erred", `the region 0x${base.toString(16)} crosses a 64 KiB boundary`);
      }
      if (base + size > memory.endOfRam) return this.masterAbort(`region at 0x${base.toString(16)}`);
      const used = Math.min(size, bytes - room);
      left = size - used;
      const segment = segments[count];
      if (segment) {
        segment.address = base;
        segment.length = used;
      } else segments.push({ address: base, length: used });
      room += used;
      count++;
    }
    request.segmentCount = count;
    this.exact = last && left === 0;
    return room;
  }

  /** Nobody answers at that address on PCI. */
  private masterAbort(what: string): number {
    this.status = (this.status | BM_ERROR) & ~BM_ACTIVE;
    this.moving = false;
    this.host.complain(this.name, "driver erred", `DMA beyond RAM: ${what}`);
    return 0;
  }
}
