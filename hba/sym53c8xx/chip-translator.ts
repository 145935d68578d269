// SCRIPTS that run often, as functions: a stretch of instructions in on-chip RAM, from one that is jumped to as far as the
// words alone tell what comes next.
//
// A function does what the processor's loop would do with the same instructions, at the same times, and leaves where that is
// not certain any more: its exit says how far it came. A write to a dword of a translated instruction forgets them all.
import { type ChipMemory, HOST_READ_NS, HOST_WRITE_NS, NEAR_NS, type RegisterBytes } from "./chip-memory.ts";
import type { ScsiBus } from "../../emulator/disk/scsi-bus.ts";
import { OP, type ScriptsDecoder, signed24, TRANSFER } from "./chip-decoder.ts";
import { SYM } from "./registers.ts";

/** Carries the stretch out, from `ahead` ns after the slice's start on. Returns the number of the exit. */
export type Stretch = (i32: Int32Array, flatBytes: number, ahead: number) => number;

/** What a stretch works on. `scripts` is the processor. */
export interface StretchParts {
  readonly scripts: {
    readonly sliceStart: number;
    latchedPhase: number;
    readonly ackHeld: boolean;
    compute(operator: number, source: number, data: number): number;
    clear(bits: number, time: number): boolean;
  };
  readonly regs: Uint8Array;
  readonly words: Int32Array;
  readonly memory: ChipMemory;
  readonly registers: RegisterBytes;
  readonly bus: ScsiBus;
}

type Factory = (parts: StretchParts, ram32: Int32Array, firstExit: number) => Stretch;

/** An instruction that has been carried out so often is worth a function. */
const HOT = 256;
const MAXIMUM_INSTRUCTIONS = 32;
const MAXIMUM_EXITS = 8192;
/** A program that changes itself all the time is left to the loop. */
const MAXIMUM_FORGETTINGS = 64;
/** Functions are alike in every machine whose driver and addresses are: made once. */
const factories = new Map<string, Factory>();
const MAXIMUM_FACTORIES = 4096;

export class ScriptsTranslator {
  /** By the number of the first dword; null where there is none. */
  readonly stretches: (Stretch | null)[];
  /** From the first instruction's start to the last one's, in ns, when nothing is skipped. */
  readonly spans: Int32Array;
  // By exit: where SCRIPTS go on, the time and instructions up to there, and the last instruction (-1: none).
  readonly exitDsp = new Int32Array(MAXIMUM_EXITS);
  readonly exitNs = new Int32Array(MAXIMUM_EXITS);
  readonly exitCount = new Int32Array(MAXIMUM_EXITS);
  readonly exitLast = new Int32Array(MAXIMUM_EXITS);
  /** 1: SCRIPTS go on where TEMP says. */
  readonly exitReturns = new Uint8Array(MAXIMUM_EXITS);
  private readonly heat: Uint16Array;
  private readonly parts: StretchParts;
  private readonly decoder: ScriptsDecoder;
  private readonly ram32: Int32Array;
  private readonly fetchNs: number;
  private exits = 0;
  private forgettings = 0;

  constructor(parts: StretchParts, fetchNs: number) {
    const { ram32, decoder } = parts.memory;
    this.parts = parts;
    this.decoder = decoder;
    this.ram32 = ram32;
    this.fetchNs = fetchNs;
    this.stretches = new Array<Stretch | null>(ram32.length).fill(null);
    this.spans = new Int32Array(ram32.length);
    this.heat = new Uint16Array(ram32.length);
    decoder.onTranslatedWritten = () => this.forget();
  }

  private forget(): void {
    this.stretches.fill(null);
    this.heat.fill(0);
    this.exits = 0;
    this.forgettings++;
  }

  /** The loop carries out instruction number `at`. */
  warm(at: number, base: number): void {
    if (++this.heat[at]! !== HOT || this.forgettings > MAXIMUM_FORGETTINGS) return;
    this.translate(at, base);
  }

  private translate(first: number, base: number): void {
    const { ram32, decoder, exits: firstExit } = this;
    if (firstExit + 2 * MAXIMUM_INSTRUCTIONS > MAXIMUM_EXITS) return;
    const lines: string[] = [];
    const covered: number[] = [];
    const written: number[] = [];
    let at = first;
    let ns = 0;
    let span = 0;
    let last = -1;
    let exits = 0;
    const exit = (to: number, isReturn = false): string => {
      const number = firstExit + exits;
      this.exitDsp[number] = (base + 4 * to) | 0;
      this.exitNs[number] = ns;
      this.exitCount[number] = covered.length;
      this.exitLast[number] = last;
      this.exitReturns[number] = isReturn ? 1 : 0;
      return `return exit + ${exits++};`;
    };
    /** Number of the dword at a bus address, or -1. */
    const near = (address: number): number => {
      const offset = (address - base) | 0;
      return offset >= 0 && offset < 4 * ram32.length - 4 && (offset & 3) === 0 ? offset >> 2 : -1;
    };
    for (;;) {
      const op = at + 1 < ram32.length ? decoder.ops[at] || decoder.decode(at) : OP.unknown;
      const w0 = ram32[at]!;
      const w1 = ram32[at + 1]!;
      const transfer = (w0 >>> 27) & 7;
      const isTransfer = op >= OP.transferOnSfbr && op <= OP.transferOnPhaseWhenRequested;
      const before = exit(at);
      if (op <= OP.general || covered.includes(at) || covered.length === MAXIMUM_INSTRUCTIONS) {
        lines.push(before);
        break;
      }
      const after = ns + this.fetchNs;
      if (op === OP.transferOnPhaseWhenRequested) {
        lines.push(
          `if (bus.connected === undefined || scripts.ackHeld || bus.requestAt > time + ${after}) ${before}`,
          "scripts.latchedPhase = bus.phase;",
        );
      }
      if (isTransfer) lines.push(`if (${conditionOf(op, w0)}) {`);
      const leaves = isTransfer && transfer !== TRANSFER.jump && transfer !== TRANSFER.return;
      if (leaves) lines.push(`${before} }`);
      span = ns;
      ns = after;
      covered.push(at);
      last = at;
      const place = `((words[${SYM.DSA >>> 2}] + ${signed24(w1)}) >>> 0)`;
      const outside = `const a${at} = ${place}; if (a${at} >= flatBytes || (a${at} & 3) !== 0) ${before}`;
      const register = (w0 >>> 18) & 0x3f;
      let next = at + 2;
      if (isTransfer && !leaves) {
        if (transfer === TRANSFER.return) lines.push(`${exit(0, true)} }`);
        else if (near(w1) >= 0) lines.push(`${exit(near(w1))} }`);
        // A jump out of on-chip RAM: rare enough.
        else return;
      }
      switch (op) {
        case OP.register:
        case OP.readWithEffects:
          lines.push(registerLine(w0, op === OP.readWithEffects));
          break;
        case OP.scntl2:
          lines.push(`registers.writeRegister(${SYM.SCNTL2}, ${registerValue(w0, false)});`);
          break;
        case OP.call:
          next = near(w1);
          if (next < 0) return;
          lines.push(`words[${SYM.TEMP >>> 2}] = ${(base + 4 * at + 8) | 0};`);
          break;
        case OP.loadTableByte:
          ns += HOST_READ_NS;
          lines.push(
            `const a${at} = ${place}; if (a${at} >= flatBytes || (a${at} & 3) !== ${(w0 >>> 16) & 3}) ${before}`,
            `regs[${(w0 >>> 16) & 0xff}] = memory.host.pool.u8[a${at}];`,
          );
          break;
        case OP.jump:
          next = near(w1);
          if (next < 0) return;
          break;
        case OP.return:
          next = -1;
          lines.push(exit(0, true));
          break;
        case OP.loadNear:
          ns += NEAR_NS;
          lines.push(`words[${register}] = ram32[${(w1 - base) >> 2}];`);
          break;
        case OP.storeNear:
          ns += NEAR_NS;
          written.push((w1 - base) >> 2);
          lines.push(`memory.writeNear(${(w1 - base) >> 2}, words[${register}]);`);
          break;
        case OP.loadTable:
          ns += HOST_READ_NS;
          lines.push(outside, `words[${register}] = i32[a${at} >>> 2];`);
          break;
        case OP.storeTable:
          ns += HOST_WRITE_NS;
          lines.push(outside, `memory.write32(a${at}, words[${register}]);`);
          break;
        case OP.clear:
          lines.push(`if (!scripts.clear(${w0}, time + ${after})) ${exit(at + 2)}`);
          break;
        case OP.waitDisconnect:
          lines.push(`if (bus.connected !== undefined) ${before}`, `bus.actAt = time + ${after};`);
          break;
        default:
      }
      if (next < 0) break;
      at = next;
    }
    const dwords = covered.flatMap((number) => [number, number + 1]);
    if (covered.length < 2 || written.some((number) => dwords.includes(number))) return;
    this.exits += exits;
    this.spans[first] = span;
    for (const number of dwords) decoder.translated[number] = 1;
    this.stretches[first] = factoryOf(lines.join("\n"))(this.parts, ram32, firstExit);
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

function factoryOf(body: string): Factory {
  let factory = factories.get(body);
  if (factory !== undefined) return factory;
  if (factories.size >= MAXIMUM_FACTORIES) factories.clear();
  factory = new Function(
    "parts",
    "ram32",
    "exit",
    `const { scripts, regs, words, memory, registers, bus } = parts;
    return (i32, flatBytes, ahead) => {
      const time = scripts.sliceStart + ahead;
      ${body}
    };`,
  ) as Factory;
  factories.set(body, factory);
  return factory;
}
