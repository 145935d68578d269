// An adapter that QEMU emulates, plugged into the simulated machine's PCI bus: the driver's side cannot tell.
//
// QEMU works in host time, the kernel in virtual time. While the adapter may owe something (a buffer is lent, a register was
// written a moment ago) a calendar event asks it for news, and virtual time is not let run ahead of host time. So a time limit of the
// kernel's is one of the host's, and never strikes only because the simulation idles faster than a disk works.
import { PciDevice, type DeviceHost } from "../../../emulator/bus/pci.ts";
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { makeEvent } from "../../../emulator/time/events.ts";
import type { QemuMachine } from "./qemu-machine.ts";

/** Between two questions for news, virtual and host time. */
const NEWS_INTERVAL_NS = 100_000;
/** What a disk may need. */
const EXPECT_NS = 20e6;
/** When nothing has come for so long (host time), virtual time runs free: what waits is the kernel's time limits' business. */
export const DEFAULT_PATIENCE_MS = 5000;
const FREE_INTERVAL_NS = 10e6;

/** A deliberate mistake on the way between driver and chip: what a broken driver or bus would do. */
export interface Mischief {
  /** Called when shared memory is up to date, before a register write reaches the chip. Returns the value to write, null for none. */
  beforeWrite?(bar: number, offset: number, value: number): number | null;
  /** Called for each edge of the interrupt line. Returns false to lose it. */
  interrupt?(raised: boolean): boolean;
  /** Called when a buffer is lent or given back. Returns false to forget about it. */
  lend?(): boolean;
  giveBack?(): boolean;
}

/** True for a register write that resets the chip: whatever it had been given, it will not touch any more. */
export type Forgets = (bar: number, offset: number, value: number) => boolean;

export class QemuFunction extends PciDevice {
  readonly qemu: QemuMachine;
  readonly devfn: number;
  mischief: Mischief = {};
  patienceMs = DEFAULT_PATIENCE_MS;
  /** How long after a register write, or a frame, an answer is expected: virtual time. */
  expectNs = EXPECT_NS;
  /** Called when QEMU has had a turn: what its device sent by another way than memory is there now. */
  afterTurn: () => void = () => {};
  /** Times that the adapter raised its line. */
  interrupts = 0;
  /** What was waited for in vain. */
  readonly disappointments: string[] = [];
  private readonly cell = new Int32Array(new SharedArrayBuffer(4));
  private readonly news = makeEvent("qemu.news", () => this.askForNews());
  /** Buffers that are lent, but the chip has forgotten them in a reset. */
  private forgotten = 0;
  private readonly forgets: Forgets;
  private expectUntil = 0;
  private lastWrite = "nothing yet";
  private asked = false;
  private lastNewsAt = 0;
  private hostThen = 0;

  /** @param gsi the input of QEMU's I/O APIC that the adapter drives */
  constructor(
    host: DeviceHost,
    name: string,
    qemu: QemuMachine,
    place: { readonly devfn: number; readonly gsi: number; readonly forgets: Forgets },
  ) {
    const { devfn, gsi } = place;
    super(host, name, qemu.identify(devfn));
    this.forgets = place.forgets;
    this.qemu = qemu;
    this.devfn = devfn;
    const { ram } = qemu;
    this.dmaPort = {
      share: (address, bytes) => ram.share(address, bytes),
      order: () => ram.push(),
      lend: (address, bytes) => {
        if (this.mischief.lend?.() !== false) ram.lend(address, bytes);
        else ram.lentBuffers++;
        this.expectNews();
      },
      giveBack: (address, bytes, filled) => {
        ram.giveBack(address, bytes, filled && this.mischief.giveBack?.() !== false);
        this.forgotten = Math.min(this.forgotten, ram.lentBuffers);
        this.lastNewsAt = performance.now();
      },
    };
    qemu.qtest.onIrq = (line, raised) => {
      if (line !== gsi) return;
      if (this.mischief.interrupt?.(raised) === false) return;
      if (raised) this.interrupts++;
      this.lastNewsAt = performance.now();
      this.driveInterruptLine(raised);
    };
  }

  read(bar: number, offset: number, size: number): number {
    const base = this.barBases[bar]!;
    const { qtest, ram } = this.qemu;
    const value =
      this.identity.bars[bar]!.kind === "io" ? qtest.in(base + offset, size) : qtest.read(base + offset, size);
    this.asked = true;
    this.afterTurn();
    ram.pull();
    if (!this.news.armed && this.owing) this.expectNews();
    if (this.host.tracing) this.host.trace(this.name, `read bar${bar}`, offset, value);
    return value;
  }

  /** A data port's string instruction, 32 bits wide as far as possible: many accesses in one piece. */
  readString(bar: number, offset: number, memory: PhysicalMemory, address: number, bytes: number): void {
    const { qtest, ram } = this.qemu;
    const port = this.barBases[bar]! + offset;
    const into = Buffer.alloc(bytes);
    qtest.inString(port, 4, bytes >> 2).forEach((value, i) => into.writeUInt32LE(value, i * 4));
    if ((bytes & 2) !== 0) into.writeUInt16LE(qtest.in(port, 2), bytes - 2);
    this.asked = true;
    ram.pull();
    memory.writeBytes(address, into);
    if (!this.news.armed && this.owing) this.expectNews();
  }

  writeString(bar: number, offset: number, memory: PhysicalMemory, address: number, bytes: number): void {
    const { qtest, ram } = this.qemu;
    const port = this.barBases[bar]! + offset;
    const from = Buffer.alloc(bytes);
    memory.readBytes(address, from);
    ram.push();
    const sent = (value: number): number => this.mischief.beforeWrite?.(bar, offset, value) ?? value;
    qtest.outString(
      port,
      4,
      Array.from({ length: bytes >> 2 }, (_, i) => sent(from.readUInt32LE(i * 4))),
    );
    if ((bytes & 2) !== 0) qtest.out(port, 2, sent(from.readUInt16LE(bytes - 2)));
    this.asked = true;
    this.lastWrite = `${bytes} bytes to BAR ${bar} + 0x${offset.toString(16)}`;
    this.expectAnswer();
  }

  write(bar: number, offset: number, size: number, value: number): void {
    const base = this.barBases[bar]!;
    const { qtest, ram } = this.qemu;
    ram.push();
    const sent = this.mischief.beforeWrite ? this.mischief.beforeWrite(bar, offset, value >>> 0) : value;
    if (sent === null) return;
    if (this.identity.bars[bar]!.kind === "io") qtest.out(base + offset, size, sent);
    else qtest.write(base + offset, size, sent);
    this.asked = true;
    this.afterTurn();
    if (this.forgets(bar, offset, value >>> 0)) this.forgotten = ram.lentBuffers;
    this.lastWrite = `BAR ${bar} + 0x${offset.toString(16)} = 0x${(value >>> 0).toString(16)}`;
    this.expectAnswer();
    if (this.host.tracing) this.host.trace(this.name, `write bar${bar}`, offset, value);
  }

  reset(): void {
    this.qemu.qtest.sync();
  }

  override readConfig(offset: number, size: number): number {
    return this.qemu.readConfig(this.devfn, offset, size);
  }

  override writeConfig(offset: number, size: number, value: number): void {
    super.writeConfig(offset, size, value);
    this.qemu.writeConfig(this.devfn, offset, size, value);
  }

  /** The device was given something a moment ago: a register's new value, a frame. */
  expectAnswer(): void {
    this.expectUntil = this.host.events.now + this.expectNs;
    this.expectNews();
  }

  private expectNews(): void {
    if (this.news.armed) return;
    this.hostThen = this.lastNewsAt = performance.now();
    this.host.events.arm(this.news, this.host.events.now + NEWS_INTERVAL_NS);
  }

  /** A chip whose line is raised has said what it had to say: who does not listen (a frozen CPU) is not waited for. */
  private get owing(): boolean {
    const works = this.qemu.ram.lentBuffers > this.forgotten && !this.interruptLine;
    return works || this.host.events.now < this.expectUntil;
  }

  private askForNews(): void {
    if (!this.asked) this.qemu.qtest.sync();
    this.asked = false;
    this.afterTurn();
    if (!this.owing) return;
    const waited = performance.now() - this.lastNewsAt;
    let interval = NEWS_INTERVAL_NS;
    if (waited > this.patienceMs) {
      interval = FREE_INTERVAL_NS;
      this.complainOnce();
    } else {
      const ahead = NEWS_INTERVAL_NS / 1e6 - (performance.now() - this.hostThen);
      if (ahead > 0) Atomics.wait(this.cell, 0, 0, ahead);
    }
    this.hostThen = performance.now();
    this.host.events.arm(this.news, this.host.events.now + interval);
  }

  private complainOnce(): void {
    const text = `no news from ${this.name} within ${this.patienceMs} ms: ${this.qemu.ram.lentBuffers} buffers lent, last write ${this.lastWrite}`;
    if (this.disappointments.at(-1) !== text) this.disappointments.push(text);
  }
}
