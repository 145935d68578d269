// A host for the specs: a machine with one 53C8xx and disks on its bus, driven by registers and by the specs' own SCRIPTS.
import type { DeviceHost } from "../../emulator/bus/pci.ts";
import type { PhaseTarget } from "../../emulator/disk/phase-target.ts";
import { ScsiDisk, type ScsiDiskOptions } from "../../emulator/disk/scsi-disk.ts";
import { MESSAGE, PHASE } from "../../emulator/disk/scsi-phases.ts";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { PagePool } from "../../emulator/memory/pool.ts";
import { EventQueue } from "../../emulator/time/events.ts";
import { Sym53c8xxChip } from "./chip.ts";
import type { SymVariant } from "./chip-profile.ts";
import { SYM, SYM_MEMORY_BAR } from "./registers.ts";
import { ScriptAssembler, SCRIPT_ACK, SCRIPT_ATN, sfbrIs, unless, when } from "./scripts-assembler.ts";

const MIB = 2 ** 20;
const REGISTER_ACCESS_NS = 200;
export const SCRIPT = 0x10000;
export const TABLE = 0x20000;
export const DATA = 0x100000;

// The table that DSA points to, in the specs' SCRIPTS.
const T = { select: 0, message: 8, command: 16, data: 24, messageIn: 0x100, status: 0x110 } as const;
/** What the specs' script stops with. */
export const STOP = { noMessageOut: 1, complete: 2, message: 3, overrun: 4, phase: 5 } as const;

export interface Outcome {
  /** DSPS of the interrupt that ended it; 0 when SIST did. */
  readonly code: number;
  readonly sist: number;
  readonly status: number;
  readonly data: Uint8Array;
  /** Messages from the target, first bytes. */
  readonly disconnects: number;
  readonly savedPointers: number;
  readonly tookNs: number;
}

export class SymSpecHost implements DeviceHost {
  readonly events = new EventQueue();
  readonly memory = new PhysicalMemory(new PagePool(4 * MIB, 64 * MIB), [{ start: 0, end: 16 * MIB, type: "ram" }]);
  readonly complaints: string[] = [];
  readonly traces: string[] = [];
  strict = true;
  tracing = false;
  readonly chip: Sym53c8xxChip;
  readonly disks = new Map<number, ScsiDisk>();
  readonly targets = new Map<number, PhaseTarget>();
  /** Edges of the interrupt line, true for asserted. */
  readonly lineEdges: boolean[] = [];

  constructor(variant: SymVariant = "53c895a", ids: readonly number[] = [0], disk: Partial<ScsiDiskOptions> = {}) {
    this.chip = new Sym53c8xxChip(this, "sym0", { variant });
    this.chip.onInterruptLine = (asserted) => this.lineEdges.push(asserted);
    this.chip.config.setUint16(0x04, 0x6, true);
    this.chip.writeConfig(0x10, 4, 0x2000);
    this.chip.writeConfig(0x14, 4, 0xfe000000);
    this.chip.writeConfig(0x18, 4, 0xfe010000);
    for (const id of ids) {
      const made = new ScsiDisk(this.events, this.memory.pool, { name: `disk${id}`, sizeBytes: 64 * MIB, ...disk });
      made.takeAttention();
      this.disks.set(id, made);
      this.targets.set(id, this.chip.attach(id, made));
    }
    this.setUp();
  }

  /** The registers that every driver sets before it starts SCRIPTS. */
  setUp(): void {
    this.writeb(SYM.SCNTL0, 0xca);
    this.writeb(SYM.SCNTL3, 0x03);
    this.writeb(SYM.SCID, 0x47);
    this.writeb(SYM.STIME0, 0x0c);
    this.writeb(SYM.SIEN0, 0x8f);
    this.writeb(SYM.SIEN1, 0x14);
    this.writeb(SYM.DIEN, 0x7d);
  }

  complain(device: string, kind: "driver erred" | "not modelled", what: string): void {
    if (this.strict) throw new Error(`${device}: ${kind}: ${what}`);
    this.complaints.push(`${kind}: ${what}`);
  }
  trace(_device: string, what: string): void {
    this.traces.push(what);
  }

  // Registers; an access takes its time, in which the chip goes on.
  private pay(): void {
    this.wait(REGISTER_ACCESS_NS);
  }
  readb(at: number): number {
    this.pay();
    return this.chip.read(SYM_MEMORY_BAR, at, 1);
  }
  readw(at: number): number {
    this.pay();
    return this.chip.read(SYM_MEMORY_BAR, at, 2);
  }
  readl(at: number): number {
    this.pay();
    return this.chip.read(SYM_MEMORY_BAR, at, 4);
  }
  writeb(at: number, value: number): void {
    this.pay();
    this.chip.write(SYM_MEMORY_BAR, at, 1, value);
  }
  writel(at: number, value: number): void {
    this.pay();
    this.chip.write(SYM_MEMORY_BAR, at, 4, value);
  }

  /** Lets virtual time pass. */
  wait(ns: number): void {
    const until = this.events.now + ns;
    while (this.events.nextAt <= until) this.events.fireNext();
    this.events.now = until;
  }

  /** Runs events until the line is up or nothing is left; true when it is up. */
  runToInterrupt(limit = 200_000): boolean {
    for (let i = 0; i < limit && !this.chip.interruptLine && this.events.nextAt < Infinity; i++) this.events.fireNext();
    return this.chip.interruptLine;
  }

  /** Puts a program into memory and starts it at `label`. */
  start(program: ScriptAssembler, label = "start", symbols: Readonly<Record<string, number>> = {}): void {
    const linked = program.link(SCRIPT, symbols);
    linked.words.forEach((word, i) => this.memory.write32(SCRIPT + 4 * i, word));
    this.writel(SYM.DSA, TABLE);
    this.writel(SYM.DSP, linked.addressOf(label));
  }

  /** Runs a program to its interrupt and returns DSPS. Throws when none comes. */
  run(program: ScriptAssembler, label?: string): number {
    this.start(program, label);
    if (!this.runToInterrupt()) throw new Error("the program raised no interrupt");
    return this.readl(SYM.DSPS);
  }

  entry(offset: number, bytes: readonly number[], at: number): void {
    this.memory.writeBytes(at, Uint8Array.from(bytes));
    this.memory.write32(TABLE + offset, bytes.length);
    this.memory.write32(TABLE + offset + 4, at);
  }

  /** Sets up the table for a command. `message` begins with IDENTIFY. */
  prepare(id: number, cdb: readonly number[], message: readonly number[], scntl3 = 0x03, sxfer = 0, scntl4 = 0): void {
    this.memory.write32(TABLE + T.select, ((scntl3 << 24) | (id << 16) | (sxfer << 8) | scntl4) >>> 0);
    this.entry(T.message, message, TABLE + 0x200);
    this.entry(T.command, cdb, TABLE + 0x300);
    for (const at of [T.messageIn, T.status]) this.memory.write32(TABLE + at, 0);
    this.memory.write32(TABLE + 0x120, 0);
    this.memory.write32(TABLE + 0x124, 0);
  }

  /** One command from selection to COMMAND COMPLETE; data in one table entry of `bytes`. */
  command(
    cdb: readonly number[],
    options: {
      readonly id?: number;
      readonly out?: Uint8Array;
      readonly bytes?: number;
      readonly message?: readonly number[];
      readonly scntl3?: number;
      readonly sxfer?: number;
      readonly scntl4?: number;
    } = {},
  ): Outcome {
    const { out } = options;
    const bytes = out?.length ?? options.bytes ?? 0;
    const { id = 0, message = [0xc0], scntl3, sxfer, scntl4 } = options;
    this.prepare(id, cdb, message, scntl3, sxfer, scntl4);
    this.memory.write32(TABLE + T.data, bytes);
    this.memory.write32(TABLE + T.data + 4, DATA);
    if (out) this.memory.writeBytes(DATA, out);
    const began = this.events.now;
    this.start(commandScript(bytes > 0));
    if (!this.runToInterrupt()) throw new Error("the command raised no interrupt");
    const istat = this.readb(SYM.ISTAT0);
    const sist = (istat & 0x02) !== 0 ? this.readw(SYM.SIST0) : 0;
    const code = (istat & 0x01) !== 0 ? this.readl(SYM.DSPS) : 0;
    if ((istat & 0x01) !== 0) this.readb(SYM.DSTAT);
    const left = this.memory.read32(TABLE + T.data) & 0xffffff;
    const data = new Uint8Array(bytes - left);
    this.memory.readBytes(DATA, data);
    return {
      ...{ code, sist, data, status: this.memory.read8(TABLE + T.status), tookNs: this.events.now - began },
      disconnects: this.memory.read8(TABLE + 0x120),
      savedPointers: this.memory.read8(TABLE + 0x124),
    };
  }
}

/**
 * A whole command in SCRIPTS. A target that goes away in the middle of the data finds the rest in the table again: the
 * chip's phase mismatch jump leads to `rest`, which stores what RBC and UA say.
 */
export function commandScript(data: boolean): ScriptAssembler {
  const count = (a: ScriptAssembler, at: number) =>
    a
      .load(SYM.SCRATCHA, 1, TABLE + at)
      .register(SYM.SCRATCHA, "add", 1)
      .store(SYM.SCRATCHA, 1, TABLE + at);
  const a = new ScriptAssembler();
  a.label("start")
    // The chip jumps here when a data phase ends early.
    .load(SYM.PMJAD1, 4, "rest-address")
    .load(SYM.PMJAD2, 4, "rest-address")
    .register(SYM.CCNTL0, "load", 0x80)
    .selectTable(T.select, "reselected")
    .interrupt(STOP.noMessageOut, unless(when(PHASE.messageOut)))
    .moveTable(PHASE.messageOut, T.message)
    .label("dispatch")
    .jump("message", when(PHASE.messageIn))
    .jump("command", when(PHASE.command))
    .jump("in", when(PHASE.dataIn))
    .jump("out", when(PHASE.dataOut))
    .jump("status", when(PHASE.status))
    .interrupt(STOP.phase)
    .label("command")
    .moveTable(PHASE.command, T.command)
    .jump("dispatch")
    .label("in");
  if (data) a.chainedMoveTable(PHASE.dataIn, T.data).call("all-moved").jump("dispatch");
  else a.interrupt(STOP.overrun);
  a.label("out");
  if (data) a.chainedMoveTable(PHASE.dataOut, T.data).call("all-moved").jump("dispatch");
  else a.interrupt(STOP.overrun);
  a.label("all-moved")
    .load(SYM.SCRATCHA, 4, "zero")
    .storeTable(SYM.SCRATCHA, 4, T.data)
    .return()
    .label("rest")
    .storeTable(SYM.RBC, 4, T.data)
    .storeTable(SYM.UA, 4, T.data + 4)
    .jump("dispatch")
    .label("status")
    .move(PHASE.status, 1, TABLE + T.status)
    .jump("dispatch")
    .label("message")
    .move(PHASE.messageIn, 1, TABLE + T.messageIn)
    .jump("complete", sfbrIs(MESSAGE.commandComplete))
    .jump("disconnect", sfbrIs(MESSAGE.disconnect))
    .jump("save", sfbrIs(MESSAGE.saveDataPointer))
    .interrupt(STOP.message)
    .clear(SCRIPT_ACK)
    .jump("dispatch")
    .label("save");
  count(a, 0x124)
    .clear(SCRIPT_ACK)
    .jump("dispatch")
    .label("complete")
    .register(SYM.SCNTL2, "and", 0x7f)
    .clear(SCRIPT_ACK | SCRIPT_ATN)
    .waitDisconnect()
    .interrupt(STOP.complete)
    .label("disconnect");
  count(a, 0x120)
    .register(SYM.SCNTL2, "and", 0x7f)
    .clear(SCRIPT_ACK | SCRIPT_ATN)
    .waitDisconnect()
    .label("wait")
    .waitReselect("wait")
    .label("reselected")
    // IDENTIFY, and a queue tag where there is one.
    .interrupt(STOP.phase, unless(when(PHASE.messageIn)))
    .move(PHASE.messageIn, 1, TABLE + T.messageIn)
    .clear(SCRIPT_ACK)
    .jump("dispatch", unless(when(PHASE.messageIn)))
    .move(PHASE.messageIn, 1, TABLE + T.messageIn)
    .jump("tagged", sfbrIs(MESSAGE.simpleQueueTag))
    .jump("complete", sfbrIs(MESSAGE.commandComplete))
    .interrupt(STOP.message)
    .label("tagged")
    .clear(SCRIPT_ACK)
    .move(PHASE.messageIn, 1, TABLE + T.messageIn + 1)
    .clear(SCRIPT_ACK)
    .jump("dispatch")
    .label("zero")
    .data(0)
    .label("rest-address")
    .data("rest");
  return a;
}
