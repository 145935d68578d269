// The receiving half: address filter, FIFO, and the ring in memory. [RTL8139C(L) data sheet 5.1, 6.8]
import type { DeviceHost } from "../../emulator/bus/pci.ts";
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import { ISR_BITS, RCR_BITS, RX_STATUS } from "./registers.ts";

/** On the chip. */
const FIFO_BYTES = 2048;
/** 32 bits at 33 MHz, bursts and arbitration: about 60 MB/s. */
const DMA_NS_PER_BYTE = 16;
const DMA_START_NS = 500;
const HEADER_BYTES = 4;
const CRC_BYTES = 4;

/** The check sequence, bit by bit from a table. [IEEE 802.3 3.2.9] */
const CRC_TABLE = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte;
  for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ ((crc & 1) * 0xedb88320);
  return crc >>> 0;
});

function crc32(bytes: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < bytes.length; i++) crc = (crc >>> 8) ^ CRC_TABLE[(crc ^ bytes[i]!) & 0xff]!;
  return ~crc >>> 0;
}

/** The upper six bits of the CRC over an address, which pick a bit of MAR0-7. */
function multicastHash(address: Uint8Array): number {
  let crc = 0xffffffff;
  for (let i = 0; i < 6; i++) {
    for (let bit = 0; bit < 8; bit++) {
      const top = (crc >>> 31) ^ ((address[i]! >> bit) & 1);
      crc = (crc << 1) ^ (top * 0x04c11db7);
    }
  }
  return crc >>> 26;
}

/** What the receiver needs of the rest of the chip. */
export interface ReceiverHost {
  readonly host: DeviceHost;
  readonly name: string;
  readonly busMaster: boolean;
  raise(cause: number): void;
}

export class Receiver {
  enabled = false;
  config = 0;
  ringStart = 0;
  /** CAPR as the driver wrote it: its read pointer less 16. */
  readPointer = 0xfff0;
  /** CBR. */
  writePointer = 0;
  missed = 0;
  readonly multicast = new Uint8Array(8);
  private readonly chip: ReceiverHost;
  private readonly address: Uint8Array;
  private readonly fifo: { readonly frame: Uint8Array; readonly status: number }[] = [];
  private fifoBytes = 0;
  private readonly event: TimerEvent;

  constructor(chip: ReceiverHost, address: Uint8Array) {
    this.chip = chip;
    this.address = address;
    this.event = makeEvent(`${chip.name}.rx`, () => this.store());
  }

  reset(): void {
    this.enabled = false;
    this.config = this.ringStart = this.writePointer = this.missed = 0;
    this.readPointer = 0xfff0;
    this.empty();
  }

  /** RE went from 0 to 1: the ring begins anew, as on the real chip, where drivers count on it. */
  start(): void {
    this.enabled = true;
    this.writePointer = 0;
    this.readPointer = 0xfff0;
  }

  stop(): void {
    this.enabled = false;
    this.empty();
  }

  private empty(): void {
    this.chip.host.events.cancel(this.event);
    this.fifo.length = 0;
    this.fifoBytes = 0;
  }

  get ringBytes(): number {
    return 8192 << ((this.config >>> 11) & 3);
  }

  private get readAt(): number {
    return ((this.readPointer + 16) & 0xffff) % this.ringBytes;
  }

  get isEmpty(): boolean {
    return this.readAt === this.writePointer;
  }

  /** The status bits that say for whom the frame is, or undefined for one that is not let in. */
  private accept(frame: Uint8Array): number | undefined {
    const { config } = this;
    if ((frame[0]! & 1) === 0) {
      const mine = this.address.every((byte, i) => frame[i] === byte);
      if (mine && (config & RCR_BITS.APM) !== 0) return RX_STATUS.PAM;
      return (config & RCR_BITS.AAP) !== 0 ? 0 : undefined;
    }
    const broadcast = frame.subarray(0, 6).every((byte) => byte === 0xff);
    if (broadcast) return (config & (RCR_BITS.AB | RCR_BITS.AAP)) !== 0 ? RX_STATUS.BAR : undefined;
    if ((config & RCR_BITS.AAP) !== 0) return RX_STATUS.MAR;
    const hash = multicastHash(frame);
    const wanted = (this.multicast[hash >> 3]! & (1 << (hash & 7))) !== 0;
    return wanted && (config & RCR_BITS.AM) !== 0 ? RX_STATUS.MAR : undefined;
  }

  /** A frame is on the chip as a whole. It goes on to memory when the bus is had. */
  receive(frame: Uint8Array, ns: number): void {
    if (!this.enabled) return;
    const addressed = this.accept(frame);
    if (addressed === undefined) return;
    if (this.fifoBytes + frame.length > FIFO_BYTES) {
      this.missed = Math.min(0xffffff, this.missed + 1);
      this.chip.raise(ISR_BITS.FOVW);
      return;
    }
    this.fifo.push({ frame: frame.slice(), status: RX_STATUS.ROK | addressed });
    this.fifoBytes += frame.length;
    if (!this.event.armed) this.chip.host.events.arm(this.event, ns + dmaNs(frame.length));
  }

  /** The oldest frame of the FIFO goes into the ring: header, bytes, check sequence; then the pointer moves, then the cause shows. */
  private store(): void {
    const { chip, ringBytes } = this;
    const { host } = chip;
    const { frame, status } = this.fifo.shift()!;
    this.fifoBytes -= frame.length;
    const [next] = this.fifo;
    if (next) host.events.arm(this.event, host.events.now + dmaNs(next.frame.length));
    if (!chip.busMaster) {
      host.complain(chip.name, "driver erred", "receiver enabled while bus mastering is off in PCICMD");
      return;
    }
    const bytes = HEADER_BYTES + frame.length + CRC_BYTES;
    const padded = (bytes + 3) & ~3;
    const free = this.isEmpty ? ringBytes : (this.readAt - this.writePointer + ringBytes) % ringBytes;
    // Full and empty must differ.
    if (padded >= free) {
      this.missed = Math.min(0xffffff, this.missed + 1);
      chip.raise(ISR_BITS.RXOVW);
      return;
    }
    const packet = new Uint8Array(bytes);
    const view = new DataView(packet.buffer);
    view.setUint16(0, status, true);
    view.setUint16(2, frame.length + CRC_BYTES, true);
    packet.set(frame, HEADER_BYTES);
    view.setUint32(bytes - CRC_BYTES, crc32(frame), true);
    this.write(packet);
    this.writePointer = (this.writePointer + padded) % ringBytes;
    if (host.tracing) host.trace(chip.name, "received", frame.length, this.writePointer);
    chip.raise(ISR_BITS.ROK);
  }

  /** With WRAP the chip writes on behind the ring's end (the driver has room there); without, it goes on at the start. */
  private write(packet: Uint8Array): void {
    const { memory } = this.chip.host;
    const toEnd = this.ringBytes - this.writePointer;
    const runsOver = (this.config & RCR_BITS.WRAP) !== 0 && this.ringBytes < 65536;
    if (runsOver || packet.length <= toEnd) {
      this.put(memory.endOfRam, this.ringStart + this.writePointer, packet);
      return;
    }
    this.put(memory.endOfRam, this.ringStart + this.writePointer, packet.subarray(0, toEnd));
    this.put(memory.endOfRam, this.ringStart, packet.subarray(toEnd));
  }

  private put(endOfRam: number, at: number, bytes: Uint8Array): void {
    const { host, name } = this.chip;
    if (at + bytes.length > endOfRam) {
      host.complain(name, "driver erred", `receive ring beyond RAM: 0x${at.toString(16)}`);
      this.chip.raise(ISR_BITS.SERR);
    } else host.memory.writeBytes(at, bytes);
  }
}

const dmaNs = (bytes: number): number => DMA_START_NS + bytes * DMA_NS_PER_BYTE;
