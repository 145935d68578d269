// An assembler for SCRIPTS: instructions in the order in which they are written, labels, and addresses put in when linked.
// Encodings: LSI53C895A technical manual, chapter 5; facts hba/sym53c8xx.md section 3.

/** Where an instruction points: a label, a symbol given when linking, or a number; with an offset behind it. */
export type Place = string | number | { readonly at: string; readonly plus: number };

/** When a transfer control instruction acts. */
export interface Condition {
  readonly bits: number;
}

const TRUE_SENSE = 0x00080000;
const phaseBits = (phase: number): number => (phase << 24) | 0x00020000;

export const always: Condition = { bits: TRUE_SENSE };
/** Waits for REQ, then compares the phase. */
export const when = (phase: number): Condition => ({ bits: phaseBits(phase) | 0x00010000 | TRUE_SENSE });
/** Compares the phase of the last REQ that was waited for. */
export const ifPhase = (phase: number): Condition => ({ bits: phaseBits(phase) | TRUE_SENSE });
/** SFBR equals `value` in the bits of `care`. */
export const sfbrIs = (value: number, care = 0xff): Condition => ({
  bits: 0x00040000 | TRUE_SENSE | ((~care & 0xff) << 8) | (value & care),
});
export const carrySet: Condition = { bits: 0x00200000 | TRUE_SENSE };
export const unless = ({ bits }: Condition): Condition => ({ bits: bits & ~TRUE_SENSE });

export const SCRIPT_ACK = 0x40;
export const SCRIPT_ATN = 0x08;
export const SCRIPT_CARRY = 0x400;

/** Register operations. */
export const OPERATOR = { load: 0, shl: 1, or: 2, xor: 3, and: 4, shr: 5, add: 6, addc: 7 } as const;
export type Operator = keyof typeof OPERATOR;

const MOVE = 0x08000000;
const TABLE = 0x10000000;
const dsaOffset = (offset: number): number => offset & 0xffffff;
const registerField = (register: number): number => ((register & 0x7f) << 16) | (register & 0x80);

export class ScriptAssembler {
  private readonly words: number[] = [];
  private readonly labels = new Map<string, number>();
  private readonly places: { readonly word: number; readonly place: Place }[] = [];

  get bytes(): number {
    return this.words.length * 4;
  }

  /** Names the next instruction. Throws when the name is taken. */
  label(name: string): this {
    if (this.labels.has(name)) throw new Error(`SCRIPTS label ${name} is there twice`);
    this.labels.set(name, this.bytes);
    return this;
  }

  private emit(w0: number, w1: Place = 0): this {
    this.words.push(w0 >>> 0);
    if (typeof w1 !== "number") this.places.push({ word: this.words.length, place: w1 });
    this.words.push(typeof w1 === "number" ? w1 >>> 0 : 0);
    return this;
  }

  /** A dword of data. */
  data(value: Place = 0): this {
    if (typeof value !== "number") this.places.push({ word: this.words.length, place: value });
    this.words.push(typeof value === "number" ? value >>> 0 : 0);
    return this;
  }

  // Block moves.
  move(phase: number, count: number, place: Place): this {
    return this.emit(MOVE | (phase << 24) | count, place);
  }
  moveTable(phase: number, offset: number): this {
    return this.emit(MOVE | TABLE | (phase << 24), dsaOffset(offset));
  }
  /** Chained: an odd byte of a wide transfer waits for the next one. */
  chainedMove(phase: number, count: number, place: Place): this {
    return this.emit((phase << 24) | count, place);
  }
  chainedMoveTable(phase: number, offset: number): this {
    return this.emit(TABLE | (phase << 24), dsaOffset(offset));
  }

  // I/O.
  selectTable(offset: number, alternate: Place): this {
    return this.emit(0x43000000 | dsaOffset(offset), alternate);
  }
  select(id: number, alternate: Place): this {
    return this.emit(0x41000000 | (id << 16), alternate);
  }
  waitDisconnect(): this {
    return this.emit(0x48000000);
  }
  waitReselect(alternate: Place): this {
    return this.emit(0x50000000, alternate);
  }
  set(bits: number): this {
    return this.emit(0x58000000 | bits);
  }
  clear(bits: number): this {
    return this.emit(0x60000000 | bits);
  }

  // Registers.
  /** register = register op value. */
  register(register: number, operator: Operator, value: number): this {
    return this.emit(0x78000000 | (OPERATOR[operator] << 24) | registerField(register) | (value << 8));
  }
  /** SFBR = register op value. */
  toSfbr(register: number, operator: Operator = "or", value = 0): this {
    return this.emit(0x70000000 | (OPERATOR[operator] << 24) | registerField(register) | (value << 8));
  }
  /** register = SFBR op value. */
  fromSfbr(register: number, operator: Operator = "or", value = 0): this {
    return this.emit(0x68000000 | (OPERATOR[operator] << 24) | registerField(register) | (value << 8));
  }

  // Transfer control.
  jump(place: Place, condition = always): this {
    return this.emit(0x80000000 | condition.bits, place);
  }
  call(place: Place, condition = always): this {
    return this.emit(0x88000000 | condition.bits, place);
  }
  return(condition = always): this {
    return this.emit(0x90000000 | condition.bits);
  }
  interrupt(code: number, condition = always): this {
    return this.emit(0x98000000 | condition.bits, code);
  }
  interruptOnTheFly(): this {
    return this.emit(0x98100000 | TRUE_SENSE);
  }

  // Memory.
  loadTable(register: number, count: number, offset: number): this {
    return this.emit(0xf1000000 | (register << 16) | count, dsaOffset(offset));
  }
  storeTable(register: number, count: number, offset: number): this {
    return this.emit(0xf0000000 | (register << 16) | count, dsaOffset(offset));
  }
  load(register: number, count: number, place: Place): this {
    return this.emit(0xe1000000 | (register << 16) | count, place);
  }
  store(register: number, count: number, place: Place): this {
    return this.emit(0xe0000000 | (register << 16) | count, place);
  }
  memoryMove(count: number, from: Place, to: Place): this {
    return this.emit(0xc0000000 | count, from).data(to);
  }

  /** The program for a place in bus address space. Throws naming a label or symbol that does not exist. */
  link(base: number, symbols: Readonly<Record<string, number>> = {}): LinkedScript {
    const words = Uint32Array.from(this.words);
    const addressOf = (name: string): number => {
      const offset = this.labels.get(name);
      const address = offset === undefined ? symbols[name] : base + offset;
      if (address === undefined) throw new Error(`SCRIPTS: there is no label or symbol ${name}`);
      return address;
    };
    for (const { word, place } of this.places) {
      if (typeof place === "string") words[word] = addressOf(place);
      else if (typeof place === "object") words[word] = addressOf(place.at) + place.plus;
    }
    return { words, base, addressOf };
  }
}

export interface LinkedScript {
  /** To be stored as little-endian dwords from `base` on. */
  readonly words: Uint32Array;
  readonly base: number;
  /** Bus address of a label. Throws when there is none. */
  addressOf(label: string): number;
}
