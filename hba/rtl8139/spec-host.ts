// A host for the specs: a machine with one RTL8139 on a segment, driven by registers only, and another station that listens.
import { EthernetSegment, type SegmentOptions, type Station } from "../../emulator/net/ethernet-segment.ts";
import { RandomSource } from "../../emulator/time/random.ts";
import { SpecMachine } from "../mptfusion/spec-host.ts";
import { Rtl8139Chip } from "./chip.ts";
import { CR_BITS, EEPROM_BITS, EEPROM_PROGRAM, RTL, RTL_MEMORY_BAR } from "./registers.ts";

export const RING = 0x100000;
export const TX_BUFFERS = 0x80000;
const ACCESS_NS = 200;

export const OWN_ADDRESS = Uint8Array.of(0x00, 0xe0, 0x4c, 0x12, 0x34, 0x56);
export const PEER_ADDRESS = Uint8Array.of(0x02, 0, 0, 0, 0, 1);

export class SpecNic {
  readonly machine = new SpecMachine(4, 8);
  readonly segment: EthernetSegment;
  readonly chip: Rtl8139Chip;
  /** What the other station has received. */
  readonly heard: { readonly frame: Uint8Array; readonly ns: number }[] = [];
  readonly peer: Station = {
    address: PEER_ADDRESS,
    receive: (frame, ns) => this.heard.push({ frame: frame.slice(), ns }),
  };
  /** Read pointer of the driver that the spec is. */
  private at = 0;

  constructor(options: Partial<SegmentOptions> = {}) {
    const { machine } = this;
    this.segment = new EthernetSegment(machine.events, new RandomSource(1), "net", options);
    this.segment.attach(this.peer);
    this.chip = new Rtl8139Chip(machine, "eth", this.segment, OWN_ADDRESS.slice());
    this.chip.config.setUint16(0x04, 0x0007, true);
  }

  advance(ns: number): void {
    const { events } = this.machine;
    const until = events.now + ns;
    while (events.nextAt <= until) events.fireNext();
    events.now = until;
  }

  read(offset: number, size = 4): number {
    this.advance(ACCESS_NS);
    return this.chip.read(RTL_MEMORY_BAR, offset, size);
  }

  write(value: number, offset: number, size = 4): void {
    this.advance(ACCESS_NS);
    this.chip.write(RTL_MEMORY_BAR, offset, size, value);
  }

  /** Reset, ring of 8 KiB << order, both halves on. */
  start(receive: number, order = 0): void {
    this.write(CR_BITS.RST, RTL.CR, 1);
    this.advance(1e6);
    this.write(RING, RTL.RBSTART);
    this.write(CR_BITS.RE | CR_BITS.TE, RTL.CR, 1);
    this.write(receive | (order << 11), RTL.RCR);
    this.at = 0;
  }

  send(descriptor: number, frame: Uint8Array): void {
    const address = TX_BUFFERS + descriptor * 2048;
    this.machine.memory.writeBytes(address, frame);
    this.write(address, RTL.TSAD0 + 4 * descriptor);
    this.write(frame.length, RTL.TSD0 + 4 * descriptor);
  }

  /** Takes the oldest packet out of the ring as a driver does; undefined when CR says that it is empty. */
  take(ringBytes = 8192): { readonly status: number; readonly frame: Uint8Array; readonly crc: number } | undefined {
    if ((this.read(RTL.CR, 1) & CR_BITS.BUFE) !== 0) return undefined;
    const { memory } = this.machine;
    const header = memory.read32(RING + this.at);
    const length = header >>> 16;
    const bytes = new Uint8Array(length);
    memory.readBytes(RING + this.at + 4, bytes);
    this.at = (this.at + 4 + length + 3) & ~3;
    this.write((this.at - 16) & 0xffff, RTL.CAPR, 2);
    this.at %= ringBytes;
    const crc = new DataView(bytes.buffer).getUint32(length - 4, true);
    return { status: header & 0xffff, frame: bytes.subarray(0, length - 4), crc };
  }

  /** A word of the EEPROM, clocked as drivers do it. */
  eepromWord(location: number): number {
    const drive = (bits: number): void => this.write(EEPROM_PROGRAM | bits, RTL.CR9346, 1);
    const { EECS, EESK, EEDI, EEDO } = EEPROM_BITS;
    drive(0);
    drive(EECS);
    for (let bit = 10; bit >= 0; bit--) {
      const data = (((6 << 6) | location) & (1 << bit)) !== 0 ? EEDI : 0;
      drive(EECS | data);
      drive(EECS | data | EESK);
    }
    drive(EECS);
    let word = 0;
    for (let bit = 0; bit < 16; bit++) {
      drive(EECS | EESK);
      word = (word << 1) | (this.read(RTL.CR9346, 1) & EEDO);
      drive(EECS);
    }
    drive(0);
    this.write(0, RTL.CR9346, 1);
    return word;
  }
}

/** A frame that tells its place in every byte. */
export function frameOf(target: Uint8Array, bytes: number, mark: number): Uint8Array {
  const frame = Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + mark * 31 + (i >> 8)) & 0xff);
  frame.set(target, 0);
  frame.set(PEER_ADDRESS, 6);
  return frame;
}
