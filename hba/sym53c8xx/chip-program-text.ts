// SCRIPTS as the text of one JavaScript function (chip-translator.ts): blocks of instructions, and jumps among them.
//
// In a block everything is known from the words: which instruction comes next, and how long each takes. A block begins wherever
// SCRIPTS may come to from elsewhere, and behind what may let time pass. What the text cannot do is the processor's loop's: then
// the function is left before that instruction.
import { OP, type ScriptsDecoder, signed24, TRANSFER } from "./chip-decoder.ts";
import { isDataPhase } from "../../emulator/disk/scsi-phases.ts";
import { ASYNCHRONOUS_NS } from "../../emulator/disk/transfer-agreement.ts";
import { HOST_READ_NS, HOST_WRITE_NS, NEAR_NS } from "./chip-memory.ts";
import { SYM } from "./registers.ts";

/** How the function was left, and what it is told to go on with after an instruction that was interpreted. */
export const LEFT = {
  /** Not left: it goes on. */
  not: 0,
  /** SCRIPTS go on with an instruction of the loop's, which `scripts.next` names, `scripts.ahead` ns after the slice's start. */
  goingOn: 1,
  /** SCRIPTS wait or have stopped; the registers show it. */
  stopped: 2,
} as const;

/** More than any driver's SCRIPTS have; a function must not become too large for the engine's optimiser. */
const MAXIMUM_INSTRUCTIONS = 768;
/** A block is split when its instructions begin further apart: no instruction may begin behind the slice's end, which is looked at once per block. */
const BLOCK_NS = 500;

const DSA_WORD = `words[${SYM.DSA >>> 2}]`;
const DSP_WORD = `words[${SYM.DSP >>> 2}]`;
const TEMP_WORD = `words[${SYM.TEMP >>> 2}]`;

/** Transfer control, operation INT, not on the fly, without a condition. */
const INT_MASK = 0xf83f0000;
const INT = 0x98080000;

/** Data block moves always wait: for them the function would be left anyway. A memory move is three dwords long. */
export function isCompilable(op: number, w0: number): boolean {
  if (op !== OP.general) return op !== OP.unknown;
  const dataMove = w0 >>> 30 === 0 && isDataPhase((w0 >>> 24) & 7);
  return !dataMove && w0 >>> 29 !== 6;
}

export interface ProgramSource {
  readonly ram32: Int32Array;
  readonly decoder: ScriptsDecoder;
  readonly fetchNs: number;
  /** The bus address of on-chip RAM, signed. */
  readonly base: number;
  /** There may be DT data phases. */
  readonly doubleTransition: boolean;
}

export class ProgramText {
  /** The numbers of the blocks, by the instruction that each begins with; from 1. */
  readonly blocks = new Map<number, number>();
  private readonly source: ProgramSource;
  private readonly lines: string[] = [];
  private readonly included: Set<number>;
  // Within a block: time from its start on, instructions, the last of them (-1: none yet).
  private ns = 0;
  private count = 0;
  private last = -1;

  /** @param roots instructions that are entered from elsewhere */
  constructor(source: ProgramSource, roots: readonly number[]) {
    this.source = source;
    this.included = this.reach(roots);
    const inOrder = [...this.included].sort((a, b) => a - b);
    const leaders = this.leaders(roots);
    inOrder.filter((at) => leaders.has(at)).forEach((at, i) => this.blocks.set(at, i + 1));
    for (const at of this.blocks.keys()) this.block(at);
  }

  get body(): string {
    return this.lines.join("\n");
  }

  /** The dwords whose being written ends the function's life. */
  get dwords(): number[] {
    return [...this.included].flatMap((at) => [at, at + 1]);
  }

  // What belongs to the program.

  /** What can be come to from the roots. A store into that is the loop's. */
  private reach(roots: readonly number[]): Set<number> {
    const excluded = new Set<number>();
    for (;;) {
      const found = new Set<number>();
      const open = roots.filter((at) => this.compilable(at));
      for (let at = open.pop(); at !== undefined; at = open.pop()) {
        if (found.has(at) || excluded.has(at) || found.size >= MAXIMUM_INSTRUCTIONS) continue;
        found.add(at);
        open.push(...this.successors(at).filter((next) => this.compilable(next)));
      }
      const before = excluded.size;
      for (const at of found) {
        const to = this.storesNear(at);
        if (to >= 0 && (found.has(to) || found.has(to - 1))) excluded.add(at);
      }
      if (excluded.size === before) return found;
    }
  }

  /** The dword of on-chip RAM that an instruction writes, or -1. */
  private storesNear(at: number): number {
    const op = this.opOf(at);
    return op === OP.storeNear || op === OP.takeByte ? (this.w1(at) - this.source.base) >> 2 : -1;
  }

  private w0(at: number): number {
    return this.source.ram32[at]!;
  }
  private w1(at: number): number {
    return this.source.ram32[at + 1]!;
  }

  private opOf(at: number): number {
    const { ram32, decoder } = this.source;
    return at >= 0 && at + 1 < ram32.length ? decoder.ops[at] || decoder.decode(at) : OP.unknown;
  }

  private compilable(at: number): boolean {
    return isCompilable(this.opOf(at), this.w0(at));
  }

  private fallsThrough(at: number): boolean {
    const op = this.opOf(at);
    return op !== OP.jump && op !== OP.return && op !== OP.call && !this.interrupts(at);
  }

  /** INT, whatever is so: where SCRIPTS go on is the host's affair. */
  private interrupts(at: number): boolean {
    return (this.w0(at) & INT_MASK) >>> 0 === INT;
  }

  private successors(at: number): number[] {
    const target = this.target(at);
    // Behind a call is where it returns to.
    const next = this.fallsThrough(at) || this.opOf(at) === OP.call ? [at + 2] : [];
    return target >= 0 ? [target, ...next] : next;
  }

  /** Where an instruction may lead besides the next one, as far as its words tell: the number of a dword, or -1. */
  private target(at: number): number {
    const op = this.opOf(at);
    const w0 = this.w0(at);
    const branches = op >= OP.transferOnSfbr && op <= OP.transferOnPhaseWhenRequested;
    if (op === OP.jump || op === OP.call || (branches && ((w0 >>> 27) & 7) === TRANSFER.jump)) {
      return this.near(this.w1(at));
    }
    // SELECT and WAIT RESELECT with an absolute alternate address.
    const waits = w0 >>> 30 === 1 && [0, 2].includes((w0 >>> 27) & 7) && (w0 & 0x04000000) === 0;
    return op === OP.general && waits ? this.near(this.w1(at)) : -1;
  }

  private leaders(roots: readonly number[]): Set<number> {
    const leaders = new Set(roots);
    for (const at of this.included) {
      const op = this.opOf(at);
      leaders.add(this.target(at));
      if (op === OP.general) leaders.add(at);
      if (op === OP.general || op === OP.call || op === OP.transferOnPhaseWhenRequested) leaders.add(at + 2);
      if (!this.included.has(at - 2) || !this.fallsThrough(at - 2)) leaders.add(at);
    }
    let ns = 0;
    for (const at of [...this.included].sort((a, b) => a - b)) {
      if (leaders.has(at)) ns = 0;
      else if (ns > BLOCK_NS) {
        leaders.add(at);
        ns = 0;
      }
      ns += this.source.fetchNs + this.extraNs(at);
    }
    return leaders;
  }

  private extraNs(at: number): number {
    switch (this.opOf(at)) {
      case OP.loadNear:
      case OP.storeNear:
        return NEAR_NS;
      case OP.loadTable:
      case OP.loadTableByte:
        return HOST_READ_NS;
      case OP.storeTable:
        return HOST_WRITE_NS;
      case OP.takeByte:
        return ASYNCHRONOUS_NS;
      default:
        return 0;
    }
  }

  // Text.

  private address(at: number): number {
    return (this.source.base + 4 * at) | 0;
  }

  /** Number of the dword at a bus address, or -1. */
  private near(address: number): number {
    const { base, ram32 } = this.source;
    const offset = (address - base) | 0;
    return offset >= 0 && offset < 4 * ram32.length - 4 && (offset & 3) === 0 ? offset >> 2 : -1;
  }

  /** Leaves before the instruction at `address`. */
  private exit(address: number | string): string {
    const last = this.last < 0 ? "last" : this.last;
    return `return scripts.leave(count + ${this.count}, ahead + ${this.ns}, ${last}, ${address});`;
  }

  /** To another block. */
  private settle(): string {
    if (this.count === 0) return "";
    return `ahead += ${this.ns}; count += ${this.count};${this.last < 0 ? "" : ` last = ${this.last};`}`;
  }

  private goTo(at: number): string {
    const block = this.blocks.get(at);
    return block === undefined ? this.exit(this.address(at)) : `${this.settle()} block = ${block}; continue;`;
  }

  /** To where a register says. */
  private goWhere(word: string): string {
    const { base, ram32 } = this.source;
    const outside = ~(4 * ram32.length - 1) | 3;
    return `${this.settle()} to = (${word} - ${base}) | 0; block = (to & ${outside}) === 0 ? entries[to >> 2] : 0;
      if (block === 0) return scripts.leave(count, ahead, last, ${word}); continue;`;
  }

  private block(first: number): void {
    const { lines } = this;
    this.ns = this.count = 0;
    this.last = -1;
    lines.push(`case ${this.blocks.get(first)}:`);
    const look = lines.push("") - 1;
    const leave = this.exit(this.address(first));
    for (let at = first; ;) {
      lines[look] = `if (ahead + ${this.ns} >= slice) ${leave}`;
      this.instruction(at);
      if (!this.fallsThrough(at)) return;
      at += 2;
      if (!this.included.has(at)) {
        lines.push(this.exit(this.address(at)));
        return;
      }
      if (this.blocks.has(at)) {
        // The next block in the text, unless instructions overlap.
        const follows = this.blocks.get(at) === this.blocks.get(first)! + 1;
        lines.push(follows ? this.settle() : this.goTo(at));
        return;
      }
    }
  }

  private instruction(at: number): void {
    const op = this.opOf(at);
    if (op === OP.general) this.interpreted(at);
    else if (op >= OP.transferOnSfbr && op <= OP.transferOnPhaseWhenRequested) this.branch(at, op);
    else this.plain(at, op);
  }

  private plain(at: number, op: number): void {
    const { lines } = this;
    const w0 = this.w0(at);
    const w1 = this.w1(at);
    const before = this.exit(this.address(at));
    const after = `scripts.sliceStart + ahead + ${this.ns + this.source.fetchNs}`;
    const place = `((${DSA_WORD} + ${signed24(w1)}) >>> 0)`;
    const table = (aligned: number): string =>
      `to = ${place}; if (to >= flatBytes || (to & 3) !== ${aligned}) ${before}`;
    const register = (w0 >>> 18) & 0x3f;
    if (op === OP.waitDisconnect) lines.push(`if (bus.connected !== undefined) ${before}`, `bus.actAt = ${after};`);
    if (op === OP.loadTable) lines.push(table(0), `words[${register}] = i32[to >>> 2];`);
    if (op === OP.loadTableByte) {
      lines.push(table((w0 >>> 16) & 3), `regs[${(w0 >>> 16) & 0xff}] = memory.host.pool.u8[to];`);
    }
    if (op === OP.storeTable) lines.push(table(0), `i32[to >>> 2] = words[${register}];`);
    if (op === OP.takeByte) {
      const fits = `ahead + ${this.ns + this.source.fetchNs + ASYNCHRONOUS_NS} < slice`;
      lines.push(`if (!move.takeOne(${w0}, ${w1}, ${(w1 - this.source.base) | 0}, ${after}, ${fits})) ${before}`);
    }
    this.carriedOut(at);
    switch (op) {
      case OP.takeByte:
        // Of this one the registers show what is left.
        this.last = -1;
        lines.push(`last = -1; words[${SYM.DSPS >>> 2}] = ${w1};`);
        break;
      case OP.register:
      case OP.readWithEffects:
        lines.push(registerLine(w0, op === OP.readWithEffects));
        break;
      case OP.scntl2:
        lines.push(`registers.writeRegister(${SYM.SCNTL2}, ${registerValue(w0, false)});`);
        break;
      case OP.call:
        lines.push(`${TEMP_WORD} = ${this.address(at + 2)};`, this.jumpTo(w1));
        break;
      case OP.jump:
        lines.push(this.jumpTo(w1));
        break;
      case OP.return:
        lines.push(this.goWhere(TEMP_WORD));
        break;
      case OP.loadNear:
        lines.push(`words[${register}] = ram32[${(w1 - this.source.base) >> 2}];`);
        break;
      case OP.storeNear:
        lines.push(this.storeNear((w1 - this.source.base) >> 2, register));
        break;
      case OP.clear:
        lines.push(`if (!scripts.clear(${w0}, ${after})) ${this.exit(this.address(at + 2))}`);
        break;
      default:
    }
  }

  /** Into a dword that is not translated; it may have been decoded, as the first or the second of an instruction. */
  private storeNear(to: number, register: number): string {
    const decoded = to > 0 ? `(decoder.ops[${to}] | decoder.ops[${to - 1}])` : "decoder.ops[0]";
    return `ram32[${to}] = words[${register}]; if (${decoded} !== 0) decoder.writtenDword(${to});`;
  }

  private jumpTo(address: number): string {
    const target = this.near(address);
    return target < 0 ? this.exit(address) : this.goTo(target);
  }

  private carriedOut(at: number): void {
    this.last = at;
    this.count++;
    this.ns += this.source.fetchNs + this.extraNs(at);
  }

  /** A transfer on SFBR or phase. */
  private branch(at: number, op: number): void {
    const { lines } = this;
    const w0 = this.w0(at);
    const transfer = (w0 >>> 27) & 7;
    const before = this.exit(this.address(at));
    if (op === OP.transferOnPhaseWhenRequested) {
      const after = this.ns + this.source.fetchNs;
      // The next REQ may be some time away: `ahead` moves there, if it is in this slice.
      lines.push(
        `if (bus.connected === undefined || scripts.ackHeld) ${before}`,
        "due = bus.requestAt - scripts.sliceStart;",
        `if (due > ahead + ${after}) { if (due >= slice) ${before} ahead = (due - ${after}) | 0; }`,
        "scripts.latchedPhase = bus.phase;",
      );
    }
    const condition = conditionOf(op, w0, this.source.doubleTransition);
    // An interrupt, a call: the loop interprets them.
    if (transfer !== TRANSFER.jump && transfer !== TRANSFER.return) lines.push(`if (${condition}) ${before}`);
    this.carriedOut(at);
    if (transfer === TRANSFER.jump) lines.push(`if (${condition}) { ${this.jumpTo(this.w1(at))} }`);
    if (transfer === TRANSFER.return) lines.push(`if (${condition}) { ${this.goWhere(TEMP_WORD)} }`);
  }

  /** What the loop interprets is interpreted here: it may let time pass, stop SCRIPTS or send them elsewhere. A block of its own. */
  private interpreted(at: number): void {
    const words = `${this.address(at)}, ${this.w0(at)}, ${this.w1(at)}`;
    this.lines.push(
      `to = scripts.interpretHere(${words}, ahead + ${this.source.fetchNs}, count + 1);`,
      `if (to !== ${LEFT.not}) return to;`,
      "ahead = scripts.ahead; slice = scripts.slice; i32 = memory.host.pool.i32; count = 0; last = -1;",
      `if (${DSP_WORD} !== ${this.address(at + 2)}) { ${this.goWhere(DSP_WORD)} }`,
    );
  }
}

/** JavaScript's condition under which the transfer takes place. */
function conditionOf(op: number, w0: number, doubleTransition: boolean): string {
  const wanted = (w0 & 0x00080000) !== 0 ? "===" : "!==";
  if (op === OP.transferOnSfbr) {
    const care = ~(w0 >>> 8) & 0xff;
    return `(regs[${SYM.SFBR}] & ${care}) ${wanted} ${w0 & care}`;
  }
  const phase = (w0 >>> 24) & 7;
  const either = `${wanted === "===" ? "" : "!"}meansPhase(${phase}, scripts.latchedPhase)`;
  const holds = doubleTransition && isDataPhase(phase) ? either : `scripts.latchedPhase ${wanted} ${phase}`;
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
