// The text of a stretch: SCRIPTS' instructions as JavaScript (chip-translator.ts).
import { OP, type ScriptsDecoder, signed24, TRANSFER } from "./chip-decoder.ts";
import { HOST_READ_NS, HOST_WRITE_NS, NEAR_NS } from "./chip-memory.ts";
import { SYM } from "./registers.ts";

/** How a stretch was left. */
export const LEFT = {
  /** Nothing was carried out: its first instruction is the loop's. */
  atOnce: 0,
  /** SCRIPTS go on where `scripts.next` says, `scripts.ahead` ns after the slice's start. */
  goingOn: 1,
  /** SCRIPTS wait or have stopped; the registers show it. */
  stopped: 2,
} as const;

const MAXIMUM_INSTRUCTIONS = 64;
/** A branch that is taken so many times as often as not is part of the stretch. */
const MOSTLY = 4;
/** The end of the slice is looked at again when the next instruction begins so much after the last look. */
const LOOK_NS = 500;

export interface StretchSource {
  readonly ram32: Int32Array;
  readonly decoder: ScriptsDecoder;
  /** How often each instruction has been carried out by the loop. */
  readonly heat: Uint16Array;
  readonly fetchNs: number;
  /** The bus address of on-chip RAM, signed. */
  readonly base: number;
}

export class StretchText {
  /** From the first instruction's start to that of the last one before the text looks at the slice's end itself, in ns. */
  firstSpan = 0;
  private readonly source: StretchSource;
  private readonly lines: string[] = [];
  private readonly covered: number[] = [];
  /** Dwords of on-chip RAM that the stretch writes. */
  private readonly written: number[] = [];
  /** Time from where `ahead` stands in the text: it is moved by what waits, or is interpreted. */
  private ns = 0;
  /** Instructions since the last one that was interpreted: that one counts by itself. */
  private count = 0;
  /** The last instruction, -1 when the registers show it already. */
  private last = -1;
  /** The line at which the slice's end was looked at, -1 for the entry, and the time of that look. */
  private lookLine = -1;
  private lookNs = 0;
  private mustLook = false;

  constructor(source: StretchSource) {
    this.source = source;
  }

  get body(): string {
    return this.lines.join("\n");
  }

  /** The dwords whose being written ends the stretch's life. */
  get dwords(): number[] {
    return this.covered.flatMap((at) => [at, at + 1]);
  }

  /** Writes the stretch that begins with instruction `first`. False when there is none that is worth it. */
  write(first: number): boolean {
    let at = first;
    while (at >= 0) {
      if (!this.mayGoOn(at)) {
        this.lines.push(this.exit(at));
        break;
      }
      if (this.covered.length > 0) this.look(at);
      this.settleLook();
      const next = this.instruction(at);
      if (next === undefined) return false;
      at = next;
    }
    return this.covered.length >= 2 && !this.written.some((dword) => this.dwords.includes(dword));
  }

  private opOf(at: number): number {
    const { ram32, decoder } = this.source;
    return at + 1 < ram32.length ? decoder.ops[at] || decoder.decode(at) : OP.unknown;
  }

  private mayGoOn(at: number): boolean {
    const { covered } = this;
    return covered.length < MAXIMUM_INSTRUCTIONS && !covered.includes(at) && this.opOf(at) !== OP.unknown;
  }

  /** Leaves before instruction `to`, or where TEMP says. */
  private exit(to: number, returns = false): string {
    if (this.covered.length === 0) return `return ${LEFT.atOnce};`;
    const next = returns ? `words[${SYM.TEMP >>> 2}]` : `${this.address(to)}`;
    return `return scripts.leave(${this.count}, ahead + ${this.ns}, ${this.last}, ${next});`;
  }

  private address(at: number): number {
    return (this.source.base + 4 * at) | 0;
  }

  /** Number of the dword at a bus address, or -1. */
  private near(address: number): number {
    const { base, ram32 } = this.source;
    const offset = (address - base) | 0;
    return offset >= 0 && offset < 4 * ram32.length - 4 && (offset & 3) === 0 ? offset >> 2 : -1;
  }

  /** Before instruction `at`: looks at the slice's end when the last look was long ago. */
  private look(at: number): void {
    if (!this.mustLook && this.ns - this.lookNs < LOOK_NS) return;
    this.lookLine = this.lines.length;
    this.lookNs = this.ns;
    this.mustLook = false;
    this.lines.push(this.exit(at));
  }

  /** The last look goes as far as the instruction that begins now. */
  private settleLook(): void {
    if (this.lookLine < 0) this.firstSpan = this.ns;
    else {
      const line = this.lines[this.lookLine]!;
      const exit = line.slice(line.indexOf("return"));
      this.lines[this.lookLine] = `if (ahead + ${this.ns} >= slice) ${exit}`;
    }
  }

  /** Writes an instruction. Returns the one that comes next, -1 for none, undefined when the stretch cannot be. */
  private instruction(at: number): number | undefined {
    const { ram32, fetchNs } = this.source;
    const op = this.opOf(at);
    if (op === OP.general) return this.interpreted(at);
    if (op >= OP.transferOnSfbr && op <= OP.transferOnPhaseWhenRequested) return this.branch(at, op);
    const w0 = ram32[at]!;
    const w1 = ram32[at + 1]!;
    const before = this.exit(at);
    const { lines } = this;
    const after = this.ns + fetchNs;
    const place = `((words[${SYM.DSA >>> 2}] + ${signed24(w1)}) >>> 0)`;
    const table = (aligned: number): string =>
      `const a${at} = ${place}; if (a${at} >= flatBytes || (a${at} & 3) !== ${aligned}) ${before}`;
    const register = (w0 >>> 18) & 0x3f;
    let next = at + 2;
    let extra = 0;
    switch (op) {
      case OP.register:
      case OP.readWithEffects:
        lines.push(registerLine(w0, op === OP.readWithEffects));
        break;
      case OP.scntl2:
        lines.push(`registers.writeRegister(${SYM.SCNTL2}, ${registerValue(w0, false)});`);
        break;
      case OP.call:
        next = this.near(w1);
        if (next < 0) return undefined;
        lines.push(`words[${SYM.TEMP >>> 2}] = ${this.address(at + 2)};`);
        break;
      case OP.jump:
        next = this.near(w1);
        if (next < 0) return undefined;
        break;
      case OP.return:
        this.carriedOut(at, 0);
        lines.push(this.exit(0, true));
        return -1;
      case OP.loadNear:
        extra = NEAR_NS;
        lines.push(`words[${register}] = ram32[${(w1 - this.source.base) >> 2}];`);
        break;
      case OP.storeNear:
        extra = NEAR_NS;
        this.written.push((w1 - this.source.base) >> 2);
        lines.push(`memory.writeNear(${(w1 - this.source.base) >> 2}, words[${register}]);`);
        break;
      case OP.loadTable:
        extra = HOST_READ_NS;
        lines.push(table(0), `words[${register}] = i32[a${at} >>> 2];`);
        break;
      case OP.loadTableByte:
        extra = HOST_READ_NS;
        lines.push(table((w0 >>> 16) & 3), `regs[${(w0 >>> 16) & 0xff}] = memory.host.pool.u8[a${at}];`);
        break;
      case OP.storeTable:
        extra = HOST_WRITE_NS;
        lines.push(table(0), `memory.write32(a${at}, words[${register}]);`);
        break;
      case OP.clear:
        this.carriedOut(at, 0);
        lines.push(`if (!scripts.clear(${w0}, scripts.sliceStart + ahead + ${after})) ${this.exit(at + 2)}`);
        return next;
      case OP.waitDisconnect:
        lines.push(`if (bus.connected !== undefined) ${before}`, `bus.actAt = scripts.sliceStart + ahead + ${after};`);
        break;
      default:
        return undefined;
    }
    this.carriedOut(at, extra);
    return next;
  }

  private carriedOut(at: number, extraNs: number): void {
    this.covered.push(at);
    this.last = at;
    this.count++;
    this.ns += this.source.fetchNs + extraNs;
  }

  /** A transfer on SFBR or phase: taken, it leaves, or the stretch follows it when it is mostly taken. */
  private branch(at: number, op: number): number | undefined {
    const { ram32, heat, fetchNs } = this.source;
    const { lines } = this;
    const w0 = ram32[at]!;
    const transfer = (w0 >>> 27) & 7;
    const before = this.exit(at);
    if (op === OP.transferOnPhaseWhenRequested) {
      const after = this.ns + fetchNs;
      // The next REQ may be some time away: `ahead` moves there, if it is in this slice.
      lines.push(
        `if (bus.connected === undefined || scripts.ackHeld) ${before}`,
        `const r${at} = bus.requestAt - scripts.sliceStart;`,
        `if (r${at} > ahead + ${after}) { if (r${at} >= slice) ${before} ahead = (r${at} - ${after}) | 0; }`,
        "scripts.latchedPhase = bus.phase;",
      );
      this.mustLook = true;
    }
    const jumps = transfer === TRANSFER.jump;
    if (!jumps && transfer !== TRANSFER.return) {
      // An interrupt, a call: the loop interprets them.
      lines.push(`if (${conditionOf(op, w0)}) ${before}`);
      this.carriedOut(at, 0);
      return at + 2;
    }
    this.carriedOut(at, 0);
    const target = jumps ? this.near(ram32[at + 1]!) : -1;
    // A jump out of on-chip RAM is rare enough.
    if (jumps && target < 0) return undefined;
    if (jumps && heat[target]! > MOSTLY * heat[at + 2]! && this.mayGoOn(target)) {
      lines.push(`if (!(${conditionOf(op, w0)})) ${this.exit(at + 2)}`);
      return target;
    }
    lines.push(`if (${conditionOf(op, w0)}) ${this.exit(target, !jumps)}`);
    return at + 2;
  }

  /** What the loop interprets is interpreted here: it may let time pass, stop SCRIPTS or send them elsewhere. */
  private interpreted(at: number): number {
    const { ram32, fetchNs } = this.source;
    const { lines, count } = this;
    this.covered.push(at);
    this.count = 0;
    this.last = -1;
    lines.push(
      `scripts.time = scripts.sliceStart + ahead + ${this.ns + fetchNs}; scripts.inRow += ${count + 1};`,
      `const f${at} = decoder.forgettings;`,
      `if (!scripts.interpret(${this.address(at)}, ${ram32[at]!}, ${ram32[at + 1]!}) || !scripts.running) return ${LEFT.stopped};`,
      "ahead = scripts.beginSlice();",
      "slice = scripts.slice;",
      "i32 = memory.host.pool.i32;",
    );
    this.ns = 0;
    lines.push(
      `if (words[${SYM.DSP >>> 2}] !== ${this.address(at + 2)} || decoder.forgettings !== f${at}) return scripts.leave(0, ahead, -1, words[${SYM.DSP >>> 2}]);`,
    );
    this.mustLook = true;
    return at + 2;
  }
}

/** JavaScript's condition under which the transfer takes place. */
function conditionOf(op: number, w0: number): string {
  const wanted = (w0 & 0x00080000) !== 0 ? "===" : "!==";
  if (op === OP.transferOnSfbr) {
    const care = ~(w0 >>> 8) & 0xff;
    return `(regs[${SYM.SFBR}] & ${care}) ${wanted} ${w0 & care}`;
  }
  const holds = `scripts.latchedPhase ${wanted} ${(w0 >>> 24) & 7}`;
  if (op === OP.transferOnPhaseWhenRequested) return holds;
  return wanted === "===" ? `bus.connected !== undefined && ${holds}` : `bus.connected === undefined || ${holds}`;
}

function registerLine(w0: number, withEffects: boolean): string {
  const register = ((w0 >>> 16) & 0x7f) | (w0 & 0x80);
  return `regs[${((w0 >>> 27) & 7) === 6 ? SYM.SFBR : register}] = ${registerValue(w0, withEffects)};`;
}

function registerValue(w0: number, withEffects: boolean): string {
  const kind = (w0 >>> 27) & 7;
  const register = ((w0 >>> 16) & 0x7f) | (w0 & 0x80);
  const operator = (w0 >>> 24) & 7;
  const data = (w0 & 0x800000) !== 0 ? `regs[${SYM.SFBR}]` : `${(w0 >>> 8) & 0xff}`;
  const source = withEffects ? `registers.readRegister(${register})` : `regs[${kind === 5 ? SYM.SFBR : register}]`;
  const symbol = { 2: "|", 3: "^", 4: "&" }[operator];
  if (operator === 0 && !withEffects) return data;
  return symbol !== undefined ? `${source} ${symbol} ${data}` : `scripts.compute(${operator}, ${source}, ${data})`;
}
