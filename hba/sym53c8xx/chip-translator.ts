// SCRIPTS that run often, as functions: a stretch of instructions in on-chip RAM, from one that is jumped to as far as the
// words tell what comes next, and past a branch on the way that it has mostly taken.
//
// A function does what the processor's loop would do with the same instructions, at the same times, and leaves where that is
// not certain any more. What is interpreted in the loop is interpreted in a function too, in its place. A write to a dword of
// a translated instruction forgets them all.
import type { ChipMemory, RegisterBytes } from "./chip-memory.ts";
import type { ScsiBus } from "../../emulator/disk/scsi-bus.ts";
import type { ScriptsDecoder } from "./chip-decoder.ts";
import { StretchText } from "./chip-stretch.ts";

/** Carries the stretch out, from `ahead` ns after the slice's start on; no instruction begins `slice` ns after it or later. */
export type Stretch = (i32: Int32Array, flatBytes: number, ahead: number, slice: number) => number;

/** What a stretch works on. `scripts` is the processor. */
export interface StretchParts {
  readonly scripts: {
    readonly sliceStart: number;
    readonly slice: number;
    readonly running: boolean;
    latchedPhase: number;
    readonly ackHeld: boolean;
    time: number;
    inRow: number;
    compute(operator: number, source: number, data: number): number;
    clear(bits: number, time: number): boolean;
    interpret(at: number, w0: number, w1: number): boolean;
    beginSlice(): number;
    leave(count: number, ahead: number, last: number, next: number): number;
  };
  readonly regs: Uint8Array;
  readonly words: Int32Array;
  readonly memory: ChipMemory;
  readonly registers: RegisterBytes;
  readonly bus: ScsiBus;
}

type Factory = (parts: StretchParts, ram32: Int32Array) => Stretch;

/** An instruction that has been carried out so often is worth a function. */
const HOT = 256;
/** A program that changes itself all the time is left to the loop. */
const MAXIMUM_FORGETTINGS = 64;
/** Functions are alike in every machine whose driver and addresses are: made once. */
const factories = new Map<string, Factory>();
const MAXIMUM_FACTORIES = 4096;

export class ScriptsTranslator {
  /** By the number of the first dword; null where there is none. */
  readonly stretches: (Stretch | null)[];
  /** From the first instruction's start to that of the last one before the stretch looks at the slice's end itself, in ns. */
  readonly spans: Int32Array;
  private readonly heat: Uint16Array;
  private readonly parts: StretchParts;
  private readonly decoder: ScriptsDecoder;
  private readonly ram32: Int32Array;
  private readonly fetchNs: number;

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
  }

  /** The loop carries out instruction number `at`. */
  warm(at: number, base: number): void {
    if (++this.heat[at]! !== HOT || this.decoder.forgettings > MAXIMUM_FORGETTINGS) return;
    const { ram32, decoder, heat, fetchNs } = this;
    const text = new StretchText({ ram32, decoder, heat, fetchNs, base });
    if (!text.write(at)) return;
    this.spans[at] = text.firstSpan;
    for (const dword of text.dwords) decoder.translated[dword] = 1;
    this.stretches[at] = factoryOf(text.body)(this.parts, ram32);
  }
}

function factoryOf(body: string): Factory {
  let factory = factories.get(body);
  if (factory !== undefined) return factory;
  if (factories.size >= MAXIMUM_FACTORIES) factories.clear();
  factory = new Function(
    "parts",
    "ram32",
    `const { scripts, regs, words, memory, registers, bus } = parts;
    const { decoder } = memory;
    return (i32, flatBytes, ahead, slice) => {
      ${body}
    };`,
  ) as Factory;
  factories.set(body, factory);
  return factory;
}
