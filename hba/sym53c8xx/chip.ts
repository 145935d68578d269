// An LSI 53C8xx SCSI controller at register level: 53C875, 53C895A and 53C1010.
//
// A register write records and schedules; SCRIPTS, timers and the bus go on in the chip's own events, whose times are
// counted from `host.events.now`. So whoever passes a CPU's access on must have moved that clock up to the CPU's time.
import { type DeviceHost, PciDevice } from "../../emulator/bus/pci.ts";
import { PhaseTarget } from "../../emulator/disk/phase-target.ts";
import { ScsiBus } from "../../emulator/disk/scsi-bus.ts";
import type { PullingTarget } from "../../emulator/disk/scsi-command.ts";
import type { TransferLimits } from "../../emulator/disk/transfer-agreement.ts";
import { type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import { Interrupts } from "./chip-interrupts.ts";
import { ChipMemory } from "./chip-memory.ts";
import { SYM_BUS_ID, SYM_PROFILES, type SymProfile, type SymVariant } from "./chip-profile.ts";
import { RegisterFile } from "./chip-registers.ts";
import { Scripts } from "./chip-scripts.ts";
import { ChipTimers } from "./chip-timers.ts";
import {
  ISTAT_SIGP,
  SCNTL1_RST,
  SCNTL2_SDU,
  SIST_GEN,
  SIST_RST,
  SIST_STO,
  SIST_UDC,
  SYM,
  SYM_RAM_BAR,
  SYM_REGISTER_BYTES,
} from "./registers.ts";

/** From the write of SCNTL1.RST until the chip sees the line and says so. */
const RESET_SEEN_NS = 200;

export interface SymOptions {
  readonly variant: SymVariant;
}

export class Sym53c8xxChip extends PciDevice {
  readonly profile: SymProfile;
  readonly bus: ScsiBus;
  readonly busId = SYM_BUS_ID;
  readonly scripts: Scripts;
  private readonly memory: ChipMemory;
  private readonly file: RegisterFile;
  private readonly interrupts: Interrupts;
  private readonly timers: ChipTimers;
  private readonly resetEvent: TimerEvent;
  private readonly outsideEvent: TimerEvent;
  private readonly outside: (() => void)[] = [];

  constructor(host: DeviceHost, name: string, options: SymOptions) {
    const profile = SYM_PROFILES[options.variant];
    super(host, name, profile.pci);
    this.profile = profile;
    const { events } = host;
    const regs = new Uint8Array(SYM_REGISTER_BYTES);
    const words = new Int32Array(regs.buffer);
    const complain = (kind: "driver erred" | "not modelled", what: string) => host.complain(name, kind, what);
    this.bus = new ScsiBus(events, this);
    this.interrupts = new Interrupts(
      regs,
      (asserted) => this.driveInterruptLine(asserted),
      () => this.scripts.halt(),
    );
    const registers = {
      readRegister: (offset: number) => this.file.read(offset),
      writeRegister: (offset: number, value: number) => this.file.write(offset, value),
    };
    this.memory = new ChipMemory(this, registers, profile.ramBytes);
    this.timers = new ChipTimers(name, profile, events, regs, {
      general: () => this.interrupts.raiseScsi(SIST_GEN),
      selection: () => this.selectionTimeout(),
    });
    this.scripts = new Scripts({
      ...{ name, profile, events, regs, words, registers, memory: this.memory, bus: this.bus },
      interrupts: this.interrupts,
      ramBase: () => this.barBases[SYM_RAM_BAR]! | 0,
      complain,
      trace: (what, a, b) => {
        if (host.tracing) host.trace(name, what, a, b);
      },
      selectionUnanswered: () => this.timers.startSelection(),
    });
    this.file = new RegisterFile({
      ...{ profile, events, regs, complain, bus: this.bus, interrupts: this.interrupts, scripts: this.scripts },
      timers: this.timers,
      softReset: () => this.softReset(),
      busReset: (asserted) => this.driveReset(asserted),
    });
    this.resetEvent = makeEvent(`${name}.bus-reset`, () => this.interrupts.raiseScsi(SIST_RST));
    this.outsideEvent = makeEvent(`${name}.bus`, () => {
      for (const happening of this.outside.splice(0)) happening();
    });
    this.file.reset();
  }

  /** Puts a target on the bus. Throws when the id cannot carry one. */
  attach(id: number, target: PullingTarget, limits?: TransferLimits): PhaseTarget {
    return new PhaseTarget(this.bus, this.host.memory.pool, id, target, limits);
  }

  // The bus, as its initiator.

  busChanged(): void {
    this.scripts.busChanged();
  }

  busFree(): void {
    const { scripts, file } = this;
    scripts.ackHeld = false;
    const unasked = (file.regs[SYM.SCNTL2]! & SCNTL2_SDU) !== 0;
    file.regs[SYM.SCNTL2]! &= ~SCNTL2_SDU;
    if (unasked) this.interrupts.raiseScsi(SIST_UDC);
    else scripts.wake();
  }

  private selectionTimeout(): void {
    this.scripts.selecting = false;
    this.bus.initiatorHolds = false;
    this.interrupts.raiseScsi(SIST_STO);
  }

  /** SCNTL1.RST was written. */
  private driveReset(asserted: boolean): void {
    const { bus, host, scripts, file } = this;
    if (asserted === bus.resetHeld) return;
    if (!asserted) {
      bus.resetHeld = false;
      scripts.wake();
      return;
    }
    scripts.ackHeld = scripts.selecting = false;
    this.timers.stopSelection();
    file.regs[SYM.SCNTL2]! &= ~SCNTL2_SDU;
    bus.reset();
    host.events.arm(this.resetEvent, host.events.now + RESET_SEEN_NS);
  }

  /** Another device resets the bus: a pulse. For fault scenarios. */
  externalBusReset(): void {
    this.fromOutside(() => {
      this.driveReset(true);
      this.driveReset(false);
    });
  }

  private fromOutside(happening: () => void): void {
    this.outside.push(happening);
    if (!this.outsideEvent.armed) this.host.events.arm(this.outsideEvent, this.host.events.now);
  }

  // The PCI function.

  override read(bar: number, offset: number, size: number): number {
    if (bar === SYM_RAM_BAR) return this.readRam(offset, size);
    const at = offset % SYM_REGISTER_BYTES;
    const value = this.file.readHost(at, size);
    if (this.host.tracing) this.host.trace(this.name, `read ${this.file.nameOf(at)}`, at, value);
    return value;
  }

  override write(bar: number, offset: number, size: number, value: number): void {
    if (bar === SYM_RAM_BAR) {
      for (let i = 0; i < size; i++) this.memory.ram[offset + i] = (value >>> (8 * i)) & 0xff;
      this.memory.decoder.written(offset, size);
      return;
    }
    const at = offset % SYM_REGISTER_BYTES;
    if (this.host.tracing) this.host.trace(this.name, `write ${this.file.nameOf(at)}`, at, value >>> 0);
    this.file.writeHost(at, size, value);
  }

  private readRam(offset: number, size: number): number {
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + (this.memory.ram[offset + i] ?? 0);
    return value;
  }

  /** Power on. */
  override reset(): void {
    this.memory.ram.fill(0);
    this.memory.decoder.written(0, this.memory.ram.length);
    this.outside.length = 0;
    this.host.events.cancel(this.outsideEvent);
    this.softReset();
  }

  /** ISTAT0.SRST: registers as after power-on. The devices on the bus do not notice. */
  private softReset(): void {
    const held = (this.file.regs[SYM.SCNTL1]! & SCNTL1_RST) !== 0;
    this.scripts.forget();
    this.timers.stop();
    this.host.events.cancel(this.resetEvent);
    this.bus.initiatorHolds = false;
    if (held) this.bus.resetHeld = false;
    this.file.reset();
    this.interrupts.clear();
  }

  /** SIGP is set: whoever waits for a reselection shall look for work. */
  get signalled(): boolean {
    return (this.file.regs[SYM.ISTAT0]! & ISTAT_SIGP) !== 0;
  }
}
