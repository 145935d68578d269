// DWARF 2 entries (DIEs) and their encoding into .debug_info and .debug_abbrev: one compile unit, strings in line.
import { ByteWriter } from "./byte-writer.ts";

/** The tags, attributes and forms that C data needs (DWARF 2, section 7.5). */
export const TAG = {
  array: 0x01,
  enumeration: 0x04,
  member: 0x0d,
  pointer: 0x0f,
  compileUnit: 0x11,
  structure: 0x13,
  subroutine: 0x15,
  typedef: 0x16,
  union: 0x17,
  subrange: 0x21,
  base: 0x24,
  enumerator: 0x28,
  subprogram: 0x2e,
  variable: 0x34,
} as const;
export const AT = {
  location: 0x02,
  name: 0x03,
  byteSize: 0x0b,
  lowPc: 0x11,
  highPc: 0x12,
  language: 0x13,
  compDir: 0x1b,
  constValue: 0x1c,
  producer: 0x25,
  prototyped: 0x27,
  upperBound: 0x2f,
  dataMemberLocation: 0x38,
  encoding: 0x3e,
  external: 0x3f,
  type: 0x49,
} as const;
const FORM = {
  addr: 0x01,
  string: 0x08,
  block1: 0x0a,
  data1: 0x0b,
  flag: 0x0c,
  sdata: 0x0d,
  udata: 0x0f,
  ref4: 0x13,
} as const;
const OP_ADDR = 0x03;
const OP_PLUS_UCONST = 0x23;

export type Value =
  | { readonly form: "string"; readonly text: string }
  | { readonly form: "data1" | "flag" | "sdata" | "udata"; readonly number: number }
  | { readonly form: "ref4"; readonly to: Die }
  /** A code address. */
  | { readonly form: "addr"; readonly address: bigint }
  /** A location expression: the address of a static object. */
  | { readonly form: "address"; readonly address: bigint }
  /** A location expression: so many bytes behind the start of the struct. */
  | { readonly form: "plus"; readonly offset: number };

export interface Die {
  readonly tag: number;
  readonly attributes: (readonly [attribute: number, value: Value])[];
  readonly children: Die[];
}

const formCode = (value: Value): number =>
  value.form === "address" || value.form === "plus" ? FORM.block1 : FORM[value.form];

/** The shape of an entry: entries of one shape share an abbreviation. */
const shapeOf = (die: Die): string =>
  `${die.tag}:${die.children.length > 0}:${die.attributes.map(([at, value]) => `${at}/${formCode(value)}`).join(",")}`;

/** Gives each shape its code in order of appearance. */
class Abbreviations {
  private readonly codes = new Map<string, number>();
  private readonly out: ByteWriter;
  constructor(out: ByteWriter) {
    this.out = out;
  }
  codeOf(die: Die): number {
    const shape = shapeOf(die);
    const known = this.codes.get(shape);
    if (known !== undefined) return known;
    const code = this.codes.size + 1;
    this.codes.set(shape, code);
    this.out.uleb(code);
    this.out.uleb(die.tag);
    this.out.u8(die.children.length > 0 ? 1 : 0);
    for (const [attribute, value] of die.attributes) {
      this.out.uleb(attribute);
      this.out.uleb(formCode(value));
    }
    this.out.uleb(0);
    this.out.uleb(0);
    return code;
  }
}

/**
 * Encodes a compile unit.
 * @throws when an entry refers to one that is not in the tree of `unit`
 */
export function encodeUnit(
  unit: Die,
  littleEndian: boolean,
  wordBytes: 4 | 8,
): { readonly info: Uint8Array; readonly abbrev: Uint8Array } {
  const info = new ByteWriter(littleEndian, wordBytes);
  const abbrev = new ByteWriter(littleEndian, wordBytes);
  const abbreviations = new Abbreviations(abbrev);
  const offsets = new Map<Die, number>();
  const references: { readonly at: number; readonly to: Die; readonly from: Die }[] = [];
  const block = (write: (into: ByteWriter) => void): void => {
    const bytes = new ByteWriter(littleEndian, wordBytes);
    write(bytes);
    info.u8(bytes.length);
    info.bytes(bytes.finish());
  };
  const writeValue = (value: Value, from: Die): void => {
    switch (value.form) {
      case "string":
        return info.string(value.text);
      case "data1":
      case "flag":
        return info.u8(value.number);
      case "sdata":
        return info.sleb(value.number);
      case "udata":
        return info.uleb(value.number);
      case "ref4":
        references.push({ at: info.length, to: value.to, from });
        return info.u32(0);
      case "addr":
        return info.word(value.address);
      case "address":
        return block((into) => {
          into.u8(OP_ADDR);
          into.word(value.address);
        });
      case "plus":
        return block((into) => {
          into.u8(OP_PLUS_UCONST);
          into.uleb(value.offset);
        });
    }
  };
  const writeDie = (die: Die): void => {
    offsets.set(die, info.length);
    info.uleb(abbreviations.codeOf(die));
    for (const [, value] of die.attributes) writeValue(value, die);
    if (die.children.length === 0) return;
    for (const child of die.children) writeDie(child);
    info.u8(0);
  };
  info.u32(0); // unit_length, known at the end
  info.u16(2);
  info.u32(0); // offset in .debug_abbrev
  info.u8(wordBytes);
  writeDie(unit);
  info.patch32(0, info.length - 4);
  for (const { at, to, from } of references) {
    const offset = offsets.get(to);
    if (offset === undefined) throw new Error(`DWARF: entry with tag ${from.tag} refers to one outside the unit`);
    info.patch32(at, offset);
  }
  abbrev.uleb(0);
  return { info: info.finish(), abbrev: abbrev.finish() };
}
