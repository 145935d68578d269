// The SCRIPTS processor: fetches instructions and carries them out, in the chip's own events. [manual, chapter 5]
//
// Instructions run ahead of the calendar, by two microseconds at most, or for as long as neither a CPU nor another event
// acts; what starts a disk, moves data or interrupts the host happens at its very time. An instruction that has to wait
// leaves a continuation in `resume`, and the run event comes back to it, at once when nothing comes in between.
import type { ScsiBus } from "../../emulator/disk/scsi-bus.ts";
import { makeEvent, type EventQueue } from "../../emulator/time/events.ts";
import { BlockMove } from "./chip-block-move.ts";
import { BusInstructions } from "./chip-bus-instructions.ts";
import { meansPhase } from "./chip-data-phases.ts";
import { DataInstructions } from "./chip-data-instructions.ts";
import type { ScriptsDecoder } from "./chip-decoder.ts";
import type { Interrupts } from "./chip-interrupts.ts";
import { INSTRUCTION_NS, NEAR_FETCH_NS, type ChipMemory, type RegisterBytes } from "./chip-memory.ts";
import type { SymProfile } from "./chip-profile.ts";
import { LEFT } from "./chip-program-text.ts";
import { RamInstructions } from "./chip-ram-instructions.ts";
import { TransferControl } from "./chip-transfer-control.ts";
import { ScriptsTranslator } from "./chip-translator.ts";
import { DCNTL_SSM, DSTAT_ABRT, DSTAT_BF, DSTAT_IID, DSTAT_SSI, ISTAT_ABRT, SYM } from "./registers.ts";

/** How far SCRIPTS run ahead of the calendar when a CPU may look: as far as two CPUs may drift apart (MAX_SKEW_NS). */
const SLICE_NS = 2_000;
/** The same when nobody else acts before: then there is nobody to be ahead of. */
const MAXIMUM_SLICE_NS = 100_000;
/** From a write to DSP or DCNTL.STD to the first fetch. */
const START_NS = 200;
/** Instructions in a row without a wait for bus or host. Real SCRIPTS need some hundred at most. */
export const SCRIPTS_RUNAWAY_LIMIT = 1_000_000;

// Registers as indices of dwords.
const DSP = SYM.DSP >>> 2;
const DSA = SYM.DSA >>> 2;
const DBC_DCMD = SYM.DBC >>> 2;
const DSPS = SYM.DSPS >>> 2;

export interface ScriptsParts {
  readonly name: string;
  readonly profile: SymProfile;
  readonly events: EventQueue;
  readonly regs: Uint8Array;
  /** The registers as dwords, signed. The host of the simulator is little endian, like the chip. */
  readonly words: Int32Array;
  readonly registers: RegisterBytes;
  readonly memory: ChipMemory;
  /** Bus address of on-chip RAM, signed. */
  readonly ramBase: () => number;
  readonly bus: ScsiBus;
  readonly interrupts: Interrupts;
  readonly complain: (kind: "driver erred" | "not modelled", what: string) => void;
  readonly trace: (what: string, a: number, b: number) => void;
  /** Nothing answered a selection: the bus is held until the selection timer expires. */
  readonly selectionUnanswered: () => void;
}

/** A continuation: true when SCRIPTS go on at once. */
type Resume = () => boolean;

export class Scripts {
  readonly parts: ScriptsParts;
  private readonly move: BlockMove;
  private readonly bus: BusInstructions;
  private readonly data: DataInstructions;
  private readonly transfer: TransferControl;
  private readonly near: RamInstructions;
  running = false;
  carry = false;
  /** The last byte that came in over the bus (SIDL). */
  lastByte = 0;
  /** A message byte was taken and not acknowledged yet. */
  ackHeld = false;
  /** MSG, C/D and I/O at the last REQ that SCRIPTS looked at. */
  latchedPhase = 0;
  /** Arbitration and selection won, nothing has answered yet. */
  selecting = false;
  /** Where SCRIPTS are in time: the calendar's now, or up to a slice later. */
  time = 0;
  /** Where the calendar is: whole times are counted from here, because small numbers are cheaper. */
  sliceStart = 0;
  /** Its length as far as instructions may begin in it. */
  slice = 0;
  // Where the translated SCRIPTS were left: ns from the slice's start, the next instruction, and the last (-1: registers show it).
  ahead = 0;
  next = 0;
  last = -1;
  /** The instruction: its address and words, as signed numbers. */
  at = 0;
  w0 = 0;
  w1 = 0;
  // Copies of what the loop needs of `parts`.
  readonly words: Int32Array;
  readonly regs: Uint8Array;
  readonly memory: ChipMemory;
  readonly decoder: ScriptsDecoder;
  readonly translator: ScriptsTranslator;
  readonly events: EventQueue;
  private resume: Resume | undefined;
  /** Waits for the bus or for SIGP, not for a time. */
  private blocked = false;
  /** Instructions since the last wait. */
  inRow = 0;
  /** Within a turn: when the next one is to be; Infinity when the run event is armed already, or SCRIPTS wait for the bus or have stopped. */
  private runAt = Infinity;
  private readonly runEvent;

  constructor(parts: ScriptsParts) {
    this.parts = parts;
    this.words = parts.words;
    this.regs = parts.regs;
    this.memory = parts.memory;
    this.events = parts.events;
    this.runEvent = makeEvent(`${parts.name}.scripts`, () => this.run());
    this.move = new BlockMove(this);
    this.bus = new BusInstructions(this);
    this.data = new DataInstructions(this);
    this.transfer = new TransferControl(this);
    this.near = new RamInstructions(this);
    this.decoder = parts.memory.decoder;
    const means = (wanted: number, actual: number) => meansPhase(parts, wanted, actual);
    const { doubleTransition } = parts.profile;
    this.translator = new ScriptsTranslator(
      { ...parts, scripts: this, move: this.move, meansPhase: means, doubleTransition },
      NEAR_FETCH_NS,
    );
  }

  get dsp(): number {
    return this.words[DSP]! >>> 0;
  }
  set dsp(address: number) {
    this.words[DSP] = address;
  }
  get dsa(): number {
    return this.words[DSA]! >>> 0;
  }

  /** DSP or DCNTL.STD was written. */
  start(): void {
    const { events } = this.parts;
    this.running = true;
    this.resume = undefined;
    this.blocked = false;
    this.inRow = 0;
    events.arm(this.runEvent, events.now + START_NS);
  }

  /** A fatal condition, or a reset. */
  halt(): void {
    this.running = false;
    this.resume = undefined;
    this.blocked = false;
    this.runAt = Infinity;
    this.parts.events.cancel(this.runEvent);
  }

  /** The chip's reset: nothing is remembered. */
  forget(): void {
    this.halt();
    this.carry = this.ackHeld = this.selecting = false;
    this.latchedPhase = this.lastByte = 0;
  }

  /** SIGP or the bus has changed by an access: a waiting instruction looks again. */
  wake(): void {
    if (!this.blocked || !this.running) return;
    this.blocked = false;
    this.events.arm(this.runEvent, this.events.now);
  }

  /** A target has changed the bus, at the end of an event of its own: a waiting instruction looks again, at once if nothing else is due. */
  busChanged(): void {
    if (!this.blocked || !this.running) return;
    this.blocked = false;
    const { events, runEvent } = this;
    if (events.passTo(runEvent, events.now)) this.run();
    else events.arm(runEvent, events.now);
  }

  /** ISTAT0.ABRT was written: SCRIPTS stop at the next instruction, also when they wait. */
  abort(): void {
    if (!this.running) return;
    this.blocked = false;
    this.parts.events.arm(this.runEvent, this.parts.events.now);
  }

  /** Until when instructions may be carried out now: a slice, or as long as nobody acts but they. */
  get sliceEnd(): number {
    const { now, quietUntil, nextAt } = this.events;
    const end = nextAt < quietUntil ? nextAt : quietUntil;
    if (end <= now + SLICE_NS) return now + SLICE_NS;
    return end < now + MAXIMUM_SLICE_NS ? end : now + MAXIMUM_SLICE_NS;
  }

  /** The slice that begins now. Returns how far ahead of it SCRIPTS are. */
  beginSlice(): number {
    const { now } = this.events;
    this.sliceStart = now;
    this.slice = this.sliceEnd - now;
    return this.time - now;
  }

  /** Translated SCRIPTS are left, `count` instructions after they were entered or one of them was interpreted. */
  leave(count: number, ahead: number, last: number, next: number): number {
    this.inRow += count;
    this.ahead = ahead;
    this.last = last;
    this.next = next;
    return LEFT.goingOn;
  }

  /** In translated SCRIPTS, one instruction is interpreted, `ahead` ns after the slice's start. Returns how they are left (LEFT). */
  interpretHere(at: number, w0: number, w1: number, ahead: number, count: number): number {
    const { decoder } = this;
    const { forgettings } = decoder;
    this.time = this.sliceStart + ahead;
    this.inRow += count;
    if (!this.interpret(at, w0, w1) || !this.running) return LEFT.stopped;
    this.ahead = this.beginSlice();
    if (decoder.forgettings === forgettings) return LEFT.not;
    this.last = -1;
    this.next = this.words[DSP]!;
    return LEFT.goingOn;
  }

  /** True when `ns` more fit into this slice: then what happens at its end may happen now. */
  soon(ns: number): boolean {
    return this.time + ns < this.sliceEnd;
  }

  /** Goes on with `resume` at a time: at once when nothing comes in between. */
  waitUntil(at: number, resume: Resume): boolean {
    this.inRow = 0;
    if (this.events.passTo(this.runEvent, at)) {
      this.time = at;
      return resume.call(this);
    }
    return this.later(at, resume);
  }

  /** The run event comes back to `resume`: something comes in between. */
  private later(at: number, resume: Resume): false {
    this.resume = resume;
    this.events.arm(this.runEvent, at);
    return false;
  }

  /** Lets `ns` pass when nothing comes in between. Returns whether it did. */
  passBy(ns: number): boolean {
    if (!this.events.passTo(this.runEvent, this.time + ns)) return false;
    this.inRow = 0;
    this.time += ns;
    return true;
  }

  /** Goes on with `resume` when the bus changes. */
  waitForChange(resume: Resume): false {
    this.inRow = 0;
    this.resume = resume;
    this.blocked = true;
    return false;
  }

  /** True when the calendar has come up to SCRIPTS; otherwise `resume` is called when it has. */
  atItsTime(resume: Resume): boolean {
    const { events, time } = this;
    if (time <= events.now || events.passTo(this.runEvent, time)) return true;
    return this.later(time, resume);
  }

  /** The run event: a turn, and those that nothing can come between. */
  private run(): void {
    const { events, runEvent } = this;
    do {
      this.runAt = Infinity;
      this.turn();
      if (this.runAt === Infinity) return;
    } while (events.passTo(runEvent, this.runAt));
    events.arm(runEvent, this.runAt);
  }

  private turn(): void {
    const { events, regs } = this;
    if (!this.running) return;
    const { now } = events;
    this.time = now;
    const { resume } = this;
    if (resume && (regs[SYM.ISTAT0]! & ISTAT_ABRT) === 0) {
      this.resume = undefined;
      if (!resume.call(this)) return;
    }
    if ((regs[SYM.ISTAT0]! & ISTAT_ABRT) !== 0) {
      this.parts.interrupts.raiseDma(DSTAT_ABRT);
      return;
    }
    // No host access comes in between: what it may set is looked at once.
    const singleStep = (regs[SYM.DCNTL]! & DCNTL_SSM) !== 0;
    if (!singleStep && this.inRow < SCRIPTS_RUNAWAY_LIMIT - MAXIMUM_SLICE_NS / INSTRUCTION_NS) {
      if (this.near.execute()) this.runAt = this.time;
      return;
    }
    const end = now + SLICE_NS;
    while (this.running) {
      if (this.time >= end) {
        this.runAt = this.time;
        return;
      }
      if (!this.step()) return;
      if (singleStep) {
        this.parts.interrupts.raiseDma(DSTAT_SSI);
        return;
      }
    }
  }

  /** CLEAR of ACK, ATN and carry. False when that has stopped SCRIPTS. */
  clear(bits: number, time: number): boolean {
    const { bus } = this.parts;
    bus.actAt = time;
    if ((bits & 0x400) !== 0) this.carry = false;
    if ((bits & 0x08) !== 0) bus.attention = false;
    if ((bits & 0x40) === 0 || !this.ackHeld) return true;
    this.ackHeld = false;
    bus.connected?.acknowledge();
    return this.running;
  }

  /** The registers show where SCRIPTS go on, and the last instruction when it has a number. */
  show(last: number, dsp: number): void {
    const { words, memory } = this;
    words[DSP] = dsp;
    if (last < 0) return;
    words[DBC_DCMD] = memory.ram32[last]!;
    words[DSPS] = memory.ram32[last + 1]!;
  }

  /** Fetches and interprets one instruction, wherever it lies. */
  step(): boolean {
    const { memory, words } = this;
    if (++this.inRow > SCRIPTS_RUNAWAY_LIMIT) return this.runAway();
    const at = words[DSP]!;
    const index = (at - this.parts.ramBase()) >> 2;
    if (index >= 0 && index < memory.ram32.length - 1 && (at & 3) === 0) {
      this.time += NEAR_FETCH_NS;
      return this.interpret(at, memory.ram32[index]!, memory.ram32[index + 1]!);
    }
    memory.spentNs = 0;
    const w0 = memory.read32(at >>> 0);
    const w1 = memory.read32((at + 4) >>> 0);
    this.time += INSTRUCTION_NS + memory.spentNs;
    return memory.faulted ? this.fault() : this.interpret(at, w0, w1);
  }

  /** Carries out an instruction from its words. Its fetch has been paid for. */
  interpret(at: number, w0: number, w1: number): boolean {
    const { memory, words } = this;
    this.at = at;
    this.w0 = w0;
    this.w1 = w1;
    words[DSP] = at + 8;
    words[DBC_DCMD] = w0;
    words[DSPS] = w1;
    switch (w0 >>> 30) {
      case 0:
        return this.move.begin();
      case 1:
        return ((w0 >>> 27) & 7) < 5 ? this.bus.run() : this.data.register();
      case 2:
        return this.transfer.run();
      default: {
        memory.spentNs = 0;
        const goesOn = (w0 & 0x20000000) !== 0 ? this.data.loadStore() : this.data.memoryMove();
        this.time += memory.spentNs;
        return memory.faulted ? this.fault() : goesOn;
      }
    }
  }

  private runAway(): false {
    const where = `now at 0x${this.dsp.toString(16)} (SCRIPTS_RUNAWAY_LIMIT)`;
    this.parts.complain(
      "driver erred",
      `SCRIPTS run away: ${SCRIPTS_RUNAWAY_LIMIT} instructions in a row without a wait, ${where}`,
    );
    this.parts.interrupts.raiseDma(DSTAT_IID);
    return false;
  }

  /** A DMA access went nowhere. */
  fault(): false {
    this.parts.memory.faulted = false;
    this.parts.interrupts.raiseDma(DSTAT_BF);
    return false;
  }

  illegal(why: string): false {
    const words = `${hex(this.w0)} ${hex(this.w1)}`;
    this.parts.complain("driver erred", `SCRIPTS instruction ${words} at 0x${hex(this.at)}: ${why}`);
    this.parts.interrupts.raiseDma(DSTAT_IID);
    return false;
  }

  /** What a register instruction's operator makes of its operands. */
  compute(operator: number, source: number, data: number): number {
    switch (operator) {
      case 0:
        return data;
      case 1: {
        const shifted = (source << 1) | (this.carry ? 1 : 0);
        this.carry = (source & 0x80) !== 0;
        return shifted & 0xff;
      }
      case 2:
        return source | data;
      case 3:
        return source ^ data;
      case 4:
        return source & data;
      case 5: {
        const shifted = (source >> 1) | (this.carry ? 0x80 : 0);
        this.carry = (source & 1) !== 0;
        return shifted;
      }
      default: {
        const sum = source + data + (operator === 7 && this.carry ? 1 : 0);
        this.carry = sum > 0xff;
        return sum & 0xff;
      }
    }
  }

  /** True when REQ is there, and the phase latched; otherwise `resume` is called later. */
  requestValid(resume: Resume): boolean {
    const { bus } = this.parts;
    const { requestAt } = bus;
    if (!bus.connected || this.ackHeld || requestAt === Infinity) return this.waitForChange(resume);
    if (requestAt > this.time) {
      if (!this.soon(requestAt - this.time) && !this.events.passTo(this.runEvent, requestAt)) {
        this.inRow = 0;
        return this.later(requestAt, resume);
      }
      this.time = requestAt;
    }
    this.latchedPhase = bus.phase;
    return true;
  }
}

const hex = (word: number): string => (word >>> 0).toString(16).padStart(8, "0");
