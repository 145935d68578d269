// SCRIPTS that run often, as a function: the instructions in on-chip RAM that can be come to from those that are hot.
//
// The function does what the processor's loop would do with the same instructions, at the same times, and is left where that is
// not certain any more. What is interpreted in the loop is interpreted in the function too, in its place. A write to a dword of
// a translated instruction forgets it.
import type { ChipMemory, RegisterBytes } from "./chip-memory.ts";
import type { ScsiBus } from "../../emulator/disk/scsi-bus.ts";
import type { ScriptsDecoder } from "./chip-decoder.ts";
import { isCompilable, ProgramText } from "./chip-program-text.ts";

/**
 * Carries SCRIPTS out from the start of a block on, `ahead` ns after the slice's start; no instruction begins `slice` ns after it
 * or later. Returns how it was left (LEFT).
 */
export type Program = (block: number, i32: Int32Array, flatBytes: number, ahead: number, slice: number) => number;

/** What it works on. `scripts` is the processor. */
export interface ProgramParts {
  readonly scripts: {
    readonly sliceStart: number;
    readonly slice: number;
    readonly ahead: number;
    latchedPhase: number;
    readonly ackHeld: boolean;
    compute(operator: number, source: number, data: number): number;
    clear(bits: number, time: number): boolean;
    interpretHere(at: number, w0: number, w1: number, ahead: number, count: number): number;
    leave(count: number, ahead: number, last: number, next: number): number;
  };
  readonly regs: Uint8Array;
  readonly words: Int32Array;
  readonly memory: ChipMemory;
  readonly registers: RegisterBytes;
  readonly bus: ScsiBus;
  /** Whether an instruction's phase is the one on the bus (chip-data-phases.ts). */
  readonly meansPhase: (wanted: number, actual: number) => boolean;
  readonly doubleTransition: boolean;
  readonly move: { takeOne(w0: number, w1: number, near: number, time: number, fits: boolean): boolean };
}

type Factory = (parts: ProgramParts, ram32: Int32Array, entries: Uint16Array) => Program;

/** An instruction that the loop has carried out so often is worth a function. */
const HOT = 256;
/** A program that changes itself all the time is left to the loop. */
const MAXIMUM_FORGETTINGS = 64;
/** So is what comes to be hot when the function has been made anew so often. */
const MAXIMUM_ROOTS = 64;
/** Functions are alike in every machine whose driver and addresses are: made once. */
const factories = new Map<string, Factory>();
const MAXIMUM_FACTORIES = 256;

const none: Program = () => {
  throw new Error("no block of SCRIPTS is translated");
};

export class ScriptsTranslator {
  /** By the number of the first dword: the block that begins there; 0 for none. */
  readonly entries: Uint16Array;
  program = none;
  /** How often each instruction has been carried out by the loop. */
  private readonly heat: Uint16Array;
  /** Instructions that were hot when they were not part of the function. */
  private readonly roots: number[] = [];
  private readonly parts: ProgramParts;
  private readonly decoder: ScriptsDecoder;
  private readonly ram32: Int32Array;
  private readonly fetchNs: number;

  constructor(parts: ProgramParts, fetchNs: number) {
    const { ram32, decoder } = parts.memory;
    this.parts = parts;
    this.decoder = decoder;
    this.ram32 = ram32;
    this.fetchNs = fetchNs;
    this.entries = new Uint16Array(ram32.length);
    this.heat = new Uint16Array(ram32.length);
    decoder.onTranslatedWritten = () => this.forget();
  }

  private forget(): void {
    this.entries.fill(0);
    this.heat.fill(0);
    this.roots.length = 0;
    this.program = none;
  }

  /** The loop carries out instruction number `at`. */
  warm(at: number, base: number): void {
    if (++this.heat[at]! !== HOT) return;
    const { ram32, decoder, fetchNs, entries, roots } = this;
    const known = decoder.translated[at] !== 0 && decoder.translated[at + 1] !== 0;
    if (known || !isCompilable(decoder.ops[at]!, ram32[at]!)) return;
    if (decoder.forgettings > MAXIMUM_FORGETTINGS || roots.length >= MAXIMUM_ROOTS) return;
    // In order: the text does not depend on what was hot first.
    roots.push(at);
    roots.sort((a, b) => a - b);
    const { doubleTransition } = this.parts;
    const text = new ProgramText({ ram32, decoder, fetchNs, base, doubleTransition }, roots);
    for (const dword of text.dwords) decoder.translated[dword] = 1;
    for (const [first, block] of text.blocks) entries[first] = block;
    this.program = factoryOf(text.body)(this.parts, ram32, entries);
  }
}

function factoryOf(body: string): Factory {
  let factory = factories.get(body);
  if (factory !== undefined) return factory;
  if (factories.size >= MAXIMUM_FACTORIES) factories.clear();
  factory = new Function(
    "parts",
    "ram32",
    "entries",
    `const { scripts, regs, words, memory, registers, bus, meansPhase, move } = parts;
    const { decoder } = memory;
    return (block, i32, flatBytes, ahead, slice) => {
      let count = 0, last = -1, to = 0, due = 0.5;
      for (;;) {
        switch (block) {
          ${body}
          default:
            throw new Error("no such block of SCRIPTS");
        }
      }
    };`,
  ) as Factory;
  factories.set(body, factory);
  return factory;
}
