// Realtek RTL8139C: a Fast Ethernet controller with four transmit descriptors and one receive ring, register by register.
//
// A station of an Ethernet segment. A write to a register records and schedules; frames move in the chip's own events.
import { type DeviceHost, PciDevice, type PciIdentity } from "../../emulator/bus/pci.ts";
import type { EthernetSegment, Station } from "../../emulator/net/ethernet-segment.ts";
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import { Eeprom93c46 } from "./chip-eeprom.ts";
import { Receiver, type ReceiverHost } from "./chip-receiver.ts";
import {
  CONFIG_WRITE_ENABLE,
  BMSR_BITS,
  CR_BITS,
  CSCR_BITS,
  EEPROM_BITS,
  EEPROM_PROGRAM,
  ISR_BITS,
  MSR_BITS,
  RTL,
  RTL_DEVICE,
  RTL_NAMES,
  RTL_REGISTER_BYTES,
  RTL_REGISTERS,
  RTL_VENDOR,
  TSD_BITS,
  TX_DESCRIPTORS,
  type RtlRegister,
} from "./registers.ts";

const IDENTITY: PciIdentity = {
  ...{ vendorId: RTL_VENDOR, deviceId: RTL_DEVICE, classCode: 0x020000, revision: 0x10 },
  ...{ subsystemVendorId: RTL_VENDOR, subsystemId: RTL_DEVICE },
  bars: [
    { kind: "io", size: RTL_REGISTER_BYTES },
    { kind: "memory", size: RTL_REGISTER_BYTES },
  ],
};

/** A soft reset takes so long. [data sheet 6.4 gives no figure; drivers allow 10 ms] */
const RESET_NS = 20_000;
/** From the write of TSD to the first byte on the wire: reading up to the FIFO's threshold over PCI. */
const TX_START_NS = 1500;
/** The largest frame that SIZE may say. [data sheet 6.2] */
const MAX_TX_BYTES = 1792;
const TIMER_HZ = 33e6;

/** Registers whose value is kept in the table's own word: by offset, with size and mask. */
const PLAIN = Object.values(RTL_REGISTERS);

/** The register that a byte belongs to. */
const REGISTER_AT: readonly (RtlRegister | undefined)[] = Array.from({ length: RTL_REGISTER_BYTES }, (_, offset) =>
  (Object.keys(RTL_REGISTERS) as RtlRegister[]).find((name) => {
    const { offset: at, size } = RTL_REGISTERS[name];
    return offset >= at && offset < at + size;
  }),
);

export class Rtl8139Chip extends PciDevice implements Station, ReceiverHost {
  readonly address: Uint8Array;
  readonly receiver: Receiver;
  readonly eeprom: Eeprom93c46;
  readonly segment: EthernetSegment;
  /** Registers without a life of their own. */
  private readonly file = new DataView(new ArrayBuffer(RTL_REGISTER_BYTES));
  private isr = 0;
  private imr = 0;
  private txEnabled = false;
  /** Descriptor whose turn it is, and whether it is on its way. */
  private txNext = 0;
  private txBusy = false;
  private readonly txBytes = new Uint8Array(MAX_TX_BYTES);
  private readonly txStart: TimerEvent;
  private readonly txDone: TimerEvent;
  private readonly resetDone: TimerEvent;
  private readonly timer: TimerEvent;
  private timerStartedAt = 0;

  /** @param address six bytes, which the EEPROM holds */
  constructor(host: DeviceHost, name: string, segment: EthernetSegment, address: Uint8Array) {
    super(host, name, IDENTITY);
    this.segment = segment;
    this.address = address;
    this.eeprom = new Eeprom93c46(address);
    this.receiver = new Receiver(this, address);
    this.txStart = makeEvent(`${name}.tx-start`, () => this.transmit());
    this.txDone = makeEvent(`${name}.tx-done`, () => this.transmitted());
    this.resetDone = makeEvent(`${name}.reset`, () => this.put("CR", CR_BITS.BUFE));
    this.timer = makeEvent(`${name}.timer`, () => this.raise(ISR_BITS.TimeOut));
    segment.attach(this);
    this.reset();
  }

  override reset(): void {
    for (const { offset, size, reset } of PLAIN) this.poke(offset, size, reset);
    this.address.forEach((byte, i) => this.file.setUint8(i, byte));
    this.softReset();
    this.host.events.cancel(this.resetDone);
    this.put("CR", CR_BITS.BUFE);
  }

  /** RST: FIFOs empty, transmitter and receiver off, pointers and causes cleared; addresses and configuration stay. */
  private softReset(): void {
    const { events } = this.host;
    for (const event of [this.txStart, this.txDone, this.timer]) events.cancel(event);
    for (let i = 0; i < TX_DESCRIPTORS; i++) {
      this.poke(RTL.TSD0 + 4 * i, 4, RTL_REGISTERS.TSD0.reset);
      this.poke(RTL.TSAD0 + 4 * i, 4, 0);
    }
    for (const name of ["TCR", "RCR", "TimerInt"] as const) this.put(name, RTL_REGISTERS[name].reset);
    this.receiver.reset();
    this.txEnabled = this.txBusy = false;
    this.txNext = 0;
    this.isr = this.imr = 0;
    this.timerStartedAt = events.now;
    this.put("CR", CR_BITS.RST | CR_BITS.BUFE);
    events.arm(this.resetDone, events.now + RESET_NS);
    this.updateLine();
  }

  private poke(offset: number, size: number, value: number): void {
    if (size === 4) this.file.setUint32(offset, value, true);
    else if (size === 2) this.file.setUint16(offset, value, true);
    else this.file.setUint8(offset, value);
  }

  private put(name: RtlRegister, value: number): void {
    this.poke(RTL[name], RTL_REGISTERS[name].size, value);
  }

  /** Sets or clears bits of a register. */
  private change(name: RtlRegister, bits: number, on: boolean): void {
    const value = this.peek(RTL[name], RTL_REGISTERS[name].size);
    this.put(name, on ? value | bits : value & ~bits);
  }

  private peek(offset: number, size: number): number {
    if (size === 4) return this.file.getUint32(offset, true);
    return size === 2 ? this.file.getUint16(offset, true) : this.file.getUint8(offset);
  }

  raise(cause: number): void {
    this.isr |= cause;
    this.updateLine();
  }

  private updateLine(): void {
    this.driveInterruptLine((this.isr & this.imr) !== 0);
  }

  receive(frame: Uint8Array, ns: number): void {
    if (this.linkUp) this.receiver.receive(frame, ns);
  }

  get linkUp(): boolean {
    return (this.peek(RTL.MSR, 1) & MSR_BITS.LINKB) === 0;
  }

  /**
   * Pulls the cable, or plugs it in again. The PHY's registers tell it, and it is a cause. [data sheet 6.5, 6.12, 6.19]
   * LinkChange tells it from an underrun, which has the same cause bit; it goes when the cause is acknowledged. [8139too.c looks at it
   * before it acknowledges; the data sheet does not name it]
   */
  set linkUp(up: boolean) {
    if (up === this.linkUp) return;
    this.change("MSR", MSR_BITS.LINKB, !up);
    this.change("BMSR", BMSR_BITS.Link | BMSR_BITS.Negotiated, up);
    this.put("ANLPAR", up ? RTL_REGISTERS.ANLPAR.reset : 0);
    this.change("CSCR", CSCR_BITS.LinkOK, up);
    this.change("CSCR", CSCR_BITS.LinkChange, true);
    this.raise(ISR_BITS.PUN_LinkChg);
  }

  override read(bar: number, offset: number, size: number): number {
    const name = REGISTER_AT[offset];
    const whole = name !== undefined && RTL[name] === offset && RTL_REGISTERS[name].size === size;
    const value = whole ? this.readRegister(offset, size) : this.readBytes(offset, size);
    if (this.host.tracing) this.host.trace(this.name, `read ${name ?? "?"}`, offset, value);
    return value;
  }

  /** Wider or narrower than the register, or in its middle: each byte comes from the register that it belongs to. */
  private readBytes(offset: number, size: number): number {
    let value = 0;
    let known = false;
    for (let i = 0; i < size; i++) {
      const name = REGISTER_AT[offset + i];
      if (name === undefined) continue;
      known = true;
      const at = RTL[name];
      const byte = (this.readRegister(at, RTL_REGISTERS[name].size) >>> (8 * (offset + i - at))) & 0xff;
      value += byte * 2 ** (8 * i);
    }
    if (!known) this.host.complain(this.name, "not modelled", `read of ${size} bytes at 0x${offset.toString(16)}`);
    return value;
  }

  private readRegister(offset: number, size: number): number {
    switch (offset) {
      case RTL.CR:
        return (this.peek(RTL.CR, 1) & ~CR_BITS.BUFE) | (this.receiver.isEmpty ? CR_BITS.BUFE : 0);
      case RTL.CAPR:
        return this.receiver.readPointer;
      case RTL.CBR:
        return this.receiver.writePointer;
      case RTL.ISR:
        return this.isr;
      case RTL.IMR:
        return this.imr;
      case RTL.MPC:
        return this.receiver.missed;
      case RTL.TCTR:
        return Math.floor(((this.host.events.now - this.timerStartedAt) * TIMER_HZ) / 1e9) >>> 0;
      case RTL.TSAD:
        return this.descriptorSummary();
      case RTL.CR9346: {
        const value = this.peek(RTL.CR9346, 1) & ~EEPROM_BITS.EEDO;
        return value | (this.eeprom.output ? EEPROM_BITS.EEDO : 0);
      }
      default:
        return this.peek(offset, size);
    }
  }

  /** TOK, TUN, TABT and OWN of all four descriptors, four bits each. */
  private descriptorSummary(): number {
    let summary = 0;
    for (let i = 0; i < TX_DESCRIPTORS; i++) {
      const status = this.peek(RTL.TSD0 + 4 * i, 4);
      if ((status & TSD_BITS.OWN) !== 0) summary |= 1 << i;
      if ((status & TSD_BITS.TABT) !== 0) summary |= 1 << (4 + i);
      if ((status & TSD_BITS.TUN) !== 0) summary |= 1 << (8 + i);
      if ((status & TSD_BITS.TOK) !== 0) summary |= 1 << (12 + i);
    }
    return summary;
  }

  override write(bar: number, offset: number, size: number, value: number): void {
    if (this.host.tracing) this.host.trace(this.name, `write ${REGISTER_AT[offset] ?? "?"}`, offset, value >>> 0);
    // MAR and IDR are written four bytes at a time.
    if (offset < RTL.TSD0) {
      for (let i = 0; i < size; i++) this.writeRegister(offset + i, 1, (value >>> (8 * i)) & 0xff);
      return;
    }
    const name = RTL_NAMES.get(offset) as RtlRegister | undefined;
    if (name === undefined || RTL_REGISTERS[name].size !== size) {
      this.host.complain(this.name, "not modelled", `write of ${size} bytes at 0x${offset.toString(16)}`);
      return;
    }
    this.writeRegister(offset, size, value >>> 0);
  }

  private get configUnlocked(): boolean {
    return (this.peek(RTL.CR9346, 1) & EEPROM_BITS.EEM) === CONFIG_WRITE_ENABLE;
  }

  private writeRegister(offset: number, size: number, value: number): void {
    switch (offset) {
      case RTL.CR:
        this.writeCommand(value);
        return;
      case RTL.CAPR:
        this.receiver.readPointer = value;
        return;
      case RTL.IMR:
        this.imr = value & RTL_REGISTERS.IMR.writable;
        this.updateLine();
        return;
      case RTL.ISR:
        this.isr &= ~value;
        if ((value & ISR_BITS.PUN_LinkChg) !== 0) this.change("CSCR", CSCR_BITS.LinkChange, false);
        this.updateLine();
        return;
      case RTL.RBSTART:
        this.receiver.ringStart = value;
        break;
      case RTL.RCR:
        this.receiver.config = value & RTL_REGISTERS.RCR.writable;
        break;
      case RTL.TCR:
        // Only with TE on. [QEMU's rtl8139; 8139too.c: "Must enable Tx/Rx before setting transfer thresholds!"]
        if (!this.txEnabled) return;
        break;
      case RTL.MPC:
        this.receiver.missed = 0;
        return;
      case RTL.TCTR:
        this.timerStartedAt = this.host.events.now;
        this.armTimer();
        return;
      case RTL.TimerInt:
        this.poke(offset, size, value);
        this.armTimer();
        return;
      case RTL.CR9346: {
        this.poke(offset, size, value & RTL_REGISTERS.CR9346.writable);
        const bit = (mask: number): boolean => (value & mask) !== 0;
        if ((value & EEPROM_BITS.EEM) === EEPROM_PROGRAM)
          this.eeprom.drive(bit(EEPROM_BITS.EECS), bit(EEPROM_BITS.EESK), bit(EEPROM_BITS.EEDI));
        else this.eeprom.drive(false, false, false);
        return;
      }
      case RTL.TSD0:
      case RTL.TSD1:
      case RTL.TSD2:
      case RTL.TSD3:
        this.writeDescriptor((offset - RTL.TSD0) >> 2, value);
        return;
    }
    const name = RTL_NAMES.get(offset) as RtlRegister | undefined;
    // The two bytes behind IDR5 are reserved; drivers write four bytes from IDR4 on.
    if (name === undefined) return;
    // CONFIG0, 1, 3, 4, the PHY's control and the address are locked unless CR9346 says otherwise. [data sheet 6.9]
    const locked = offset < RTL.MAR0 || (name.startsWith("CONFIG") && name !== "CONFIG5") || offset === RTL.BMCR;
    if (locked && !this.configUnlocked) return;
    const { writable } = RTL_REGISTERS[name];
    this.poke(offset, size, ((this.peek(offset, size) & ~writable) | (value & writable)) >>> 0);
    if (offset >= RTL.MAR0 && offset < RTL.TSD0) this.receiver.multicast[offset - RTL.MAR0] = value;
    if (offset < RTL.MAR0) this.address[offset] = value;
  }

  private writeCommand(value: number): void {
    if ((value & CR_BITS.RST) !== 0) {
      this.softReset();
      return;
    }
    // In reset nothing else is heard.
    if (this.resetDone.armed) return;
    this.put("CR", value & (CR_BITS.RE | CR_BITS.TE));
    const receives = (value & CR_BITS.RE) !== 0;
    if (receives && !this.receiver.enabled) this.receiver.start();
    else if (!receives && this.receiver.enabled) this.receiver.stop();
    const sends = (value & CR_BITS.TE) !== 0;
    if (!sends && this.txEnabled) {
      this.host.events.cancel(this.txStart);
      this.host.events.cancel(this.txDone);
      this.txBusy = false;
      this.txNext = 0;
      for (let i = 0; i < TX_DESCRIPTORS; i++) this.poke(RTL.TSD0 + 4 * i, 4, RTL_REGISTERS.TSD0.reset);
    }
    this.txEnabled = sends;
  }

  private armTimer(): void {
    const count = this.peek(RTL.TimerInt, 4);
    const { events } = this.host;
    if (count === 0) events.cancel(this.timer);
    else events.arm(this.timer, this.timerStartedAt + Math.ceil((count * 1e9) / TIMER_HZ));
  }

  /** A descriptor is handed over by a write that leaves OWN clear. */
  private writeDescriptor(index: number, value: number): void {
    if (!this.txEnabled) {
      this.host.complain(this.name, "driver erred", `TSD${index} written while the transmitter is off`);
      return;
    }
    this.poke(
      RTL.TSD0 + 4 * index,
      4,
      value & (TSD_BITS.ERTXTH | TSD_BITS.SIZE | TSD_BITS.OWN) & RTL_REGISTERS.TSD0.writable,
    );
    this.startNext();
  }

  private startNext(): void {
    if (this.txBusy || !this.txEnabled) return;
    if ((this.peek(RTL.TSD0 + 4 * this.txNext, 4) & TSD_BITS.OWN) !== 0) return;
    this.txBusy = true;
    this.host.events.arm(this.txStart, this.host.events.now + TX_START_NS);
  }

  /** The frame is read from memory and goes onto the wire. */
  private transmit(): void {
    const at = RTL.TSD0 + 4 * this.txNext;
    const size = this.peek(at, 4) & TSD_BITS.SIZE;
    const address = this.peek(RTL.TSAD0 + 4 * this.txNext, 4);
    const { host, name } = this;
    if (!this.busMaster || size > MAX_TX_BYTES || size < 14 || address + size > host.memory.endOfRam) {
      host.complain(name, "driver erred", `transmit of ${size} bytes at 0x${address.toString(16)}`);
      this.poke(at, 4, this.peek(at, 4) | TSD_BITS.TABT);
      this.txBusy = false;
      this.raise(ISR_BITS.TER);
      return;
    }
    const frame = this.txBytes.subarray(0, size);
    host.memory.readBytes(address, frame);
    // Without a cable it goes nowhere.
    const gone = this.linkUp ? this.segment.transmit(this, frame) : host.events.now + this.segment.wireNs(size);
    host.events.arm(this.txDone, gone);
  }

  private transmitted(): void {
    const at = RTL.TSD0 + 4 * this.txNext;
    this.poke(at, 4, this.peek(at, 4) | TSD_BITS.TOK | TSD_BITS.OWN);
    if (this.host.tracing) this.host.trace(this.name, "sent", this.txNext, this.peek(at, 4) & TSD_BITS.SIZE);
    this.txNext = (this.txNext + 1) % TX_DESCRIPTORS;
    this.txBusy = false;
    this.raise(ISR_BITS.TOK);
    this.startNext();
  }
}
