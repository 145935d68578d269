// Structs out of DWARF 2 to 5: their sizes and where their fields are. All else in the debug information is passed over.
import { cString } from "./c-string.ts";

export interface StructShape {
  /** Bytes. */
  readonly size: number;
  readonly offsets: ReadonlyMap<string, number>;
  /** Elements of the fields that are arrays. */
  readonly lengths: ReadonlyMap<string, number>;
}

export interface DebugSections {
  readonly info: Uint8Array;
  readonly abbrev: Uint8Array;
  readonly str: Uint8Array;
  readonly lineStr: Uint8Array;
}

const TAG_ARRAY = 0x01;
const TAG_MEMBER = 0x0d;
const TAG_STRUCTURE = 0x13;
const TAG_SUBRANGE = 0x21;
const AT_NAME = 0x03;
const AT_BYTE_SIZE = 0x0b;
const AT_UPPER_BOUND = 0x2f;
const AT_COUNT = 0x37;
const AT_MEMBER_LOCATION = 0x38;
const AT_TYPE = 0x49;
const AT_SIBLING = 0x01;
const OP_PLUS_UCONST = 0x23;
const OP_CONSTU = 0x10;

interface Abbreviation {
  readonly tag: number;
  readonly hasChildren: boolean;
  readonly attributes: readonly { readonly name: number; readonly form: number; readonly constant: number }[];
}

/** Bytes read one behind the other; a RangeError beyond the end. */
class Cursor {
  readonly bytes: Uint8Array;
  private readonly view: DataView;
  private readonly little: boolean;
  at: number;

  constructor(bytes: Uint8Array, little: boolean, at = 0) {
    this.bytes = bytes;
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
    this.little = little;
    this.at = at;
  }

  unsigned(size: 1 | 2 | 3 | 4 | 8): number {
    const { view, little, at } = this;
    this.at += size;
    if (size === 1) return view.getUint8(at);
    if (size === 2) return view.getUint16(at, little);
    if (size === 4) return view.getUint32(at, little);
    if (size === 8) return Number(view.getBigUint64(at, little));
    const [a, b, c] = [view.getUint8(at), view.getUint8(at + 1), view.getUint8(at + 2)];
    return little ? a | (b << 8) | (c << 16) : (a << 16) | (b << 8) | c;
  }

  uleb(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.unsigned(1);
      value += (byte & 0x7f) * scale;
      if (byte < 0x80) return value;
      scale *= 128;
    }
  }

  sleb(): number {
    let value = 0;
    let scale = 1;
    for (;;) {
      const byte = this.unsigned(1);
      value += (byte & 0x7f) * scale;
      scale *= 128;
      if (byte < 0x80) return (byte & 0x40) !== 0 ? value - scale : value;
    }
  }

  skip(count: number): void {
    if (!(count >= 0) || this.at + count > this.bytes.length) {
      throw new RangeError(`${count} bytes at 0x${this.at.toString(16)} lie beyond its end`);
    }
    this.at += count;
  }
}

function readAbbreviations(bytes: Uint8Array, at: number, little: boolean): Map<number, Abbreviation> {
  const cursor = new Cursor(bytes, little, at);
  const table = new Map<number, Abbreviation>();
  for (let code = cursor.uleb(); code !== 0; code = cursor.uleb()) {
    const tag = cursor.uleb();
    const hasChildren = cursor.unsigned(1) !== 0;
    const attributes: { name: number; form: number; constant: number }[] = [];
    for (;;) {
      const name = cursor.uleb();
      const form = cursor.uleb();
      if (name === 0 && form === 0) break;
      attributes.push({ name, form, constant: form === FORM_IMPLICIT_CONST ? cursor.sleb() : 0 });
    }
    table.set(code, { tag, hasChildren, attributes });
  }
  return table;
}

const FORM_IMPLICIT_CONST = 0x21;

interface Unit {
  readonly start: number;
  readonly version: number;
  readonly addressBytes: 4 | 8;
  readonly offsetBytes: 4 | 8;
}

/** A value that matters: a number, a text, or the offset within a struct that a location says. */
type Value = number | string | undefined;

function readForm(cursor: Cursor, form: number, constant: number, unit: Unit, sections: DebugSections): Value {
  const { offsetBytes } = unit;
  const block = (size: number): Value => {
    const inner = new Cursor(cursor.bytes, true, cursor.at);
    cursor.skip(size);
    const op = size > 1 ? inner.unsigned(1) : 0;
    return op === OP_PLUS_UCONST || op === OP_CONSTU ? inner.uleb() : undefined;
  };
  const skipped = (size: number): undefined => void cursor.skip(size);
  switch (form) {
    case 0x01: // addr
      return skipped(unit.addressBytes);
    case 0x03: // block2
      return block(cursor.unsigned(2));
    case 0x04: // block4
      return block(cursor.unsigned(4));
    case 0x05: // data2
      return cursor.unsigned(2);
    case 0x06: // data4
      return cursor.unsigned(4);
    case 0x07: // data8
      return cursor.unsigned(8);
    case 0x08: {
      // string
      const text = cString(cursor.bytes, cursor.at);
      cursor.skip(text.length + 1);
      return text;
    }
    case 0x09: // block
    case 0x18: // exprloc
      return block(cursor.uleb());
    case 0x0a: // block1
      return block(cursor.unsigned(1));
    case 0x0b: // data1
    case 0x0c: // flag
      return cursor.unsigned(1);
    case 0x0d: // sdata
      return cursor.sleb();
    case 0x0e: // strp
      return cString(sections.str, cursor.unsigned(offsetBytes));
    case 0x1f: // line_strp
      return cString(sections.lineStr, cursor.unsigned(offsetBytes));
    case 0x0f: // udata
      return cursor.uleb();
    case 0x10: // ref_addr
      return cursor.unsigned(unit.version === 2 ? unit.addressBytes : offsetBytes);
    case 0x11: // ref1
      return unit.start + cursor.unsigned(1);
    case 0x12: // ref2
      return unit.start + cursor.unsigned(2);
    case 0x13: // ref4
      return unit.start + cursor.unsigned(4);
    case 0x14: // ref8
      return unit.start + cursor.unsigned(8);
    case 0x15: // ref_udata
      return unit.start + cursor.uleb();
    case 0x16: // indirect
      return readForm(cursor, cursor.uleb(), 0, unit, sections);
    case 0x17: // sec_offset
    case 0x1d: // strp_sup
      return skipped(offsetBytes);
    case 0x19: // flag_present
      return 1;
    case 0x1a: // strx
    case 0x1b: // addrx
    case 0x22: // loclistx
    case 0x23: // rnglistx
      return void cursor.uleb();
    case 0x1c: // ref_sup4
      return skipped(4);
    case 0x1e: // data16
      return skipped(16);
    case 0x20: // ref_sig8
    case 0x24: // ref_sup8
      return skipped(8);
    case FORM_IMPLICIT_CONST:
      return constant;
    case 0x25: // strx1
    case 0x29: // addrx1
      return skipped(1);
    case 0x26: // strx2
    case 0x2a: // addrx2
      return skipped(2);
    case 0x27: // strx3
    case 0x2b: // addrx3
      return skipped(3);
    case 0x28: // strx4
    case 0x2c: // addrx4
      return skipped(4);
    default:
      throw new RangeError(`DWARF form 0x${form.toString(16)} at 0x${cursor.at.toString(16)} is not known`);
  }
}

interface Pending {
  readonly size: number;
  readonly members: { readonly name: string; readonly offset: number; readonly type: number }[];
}

/** All structs with a name and a body; of several with one name, the first. Throws a RangeError for damaged information. */
export function readStructs(sections: DebugSections, little: boolean): ReadonlyMap<string, StructShape> {
  const structs = new Map<string, Pending>();
  /** Elements of an array type by the offset of its entry. */
  const lengths = new Map<number, number>();
  const { info } = sections;
  const tables = new Map<number, Map<number, Abbreviation>>();
  for (const cursor = new Cursor(info, little); cursor.at < info.length;) {
    const start = cursor.at;
    let length = cursor.unsigned(4);
    const offsetBytes = length === 0xffffffff ? 8 : 4;
    if (offsetBytes === 8) length = cursor.unsigned(8);
    const end = cursor.at + length;
    if (end > info.length) throw new RangeError(`the unit at 0x${start.toString(16)} ends beyond its section`);
    const version = cursor.unsigned(2);
    if (version < 2 || version > 5) throw new RangeError(`DWARF version ${version}, expected 2 to 5`);
    const unitType = version === 5 ? cursor.unsigned(1) : 1;
    const addressOf = (): 4 | 8 => (cursor.unsigned(1) === 4 ? 4 : 8);
    const early = version === 5 ? addressOf() : 8;
    const abbreviationsAt = cursor.unsigned(offsetBytes);
    const addressBytes = version === 5 ? early : addressOf();
    if (unitType === 2 || unitType === 6) cursor.skip(8 + offsetBytes);
    else if (unitType === 4 || unitType === 5) cursor.skip(8);
    let table = tables.get(abbreviationsAt);
    if (!table) tables.set(abbreviationsAt, (table = readAbbreviations(sections.abbrev, abbreviationsAt, little)));
    readUnit(cursor, end, table, { start, version, addressBytes, offsetBytes }, sections, structs, lengths);
    cursor.at = end;
  }
  return new Map(
    [...structs].map(([name, { size, members }]) => [
      name,
      {
        size,
        offsets: new Map(members.map((member) => [member.name, member.offset])),
        lengths: new Map(
          members.flatMap((member): [string, number][] => {
            const count = lengths.get(member.type);
            return count === undefined ? [] : [[member.name, count]];
          }),
        ),
      },
    ]),
  );
}

function readUnit(
  cursor: Cursor,
  end: number,
  table: ReadonlyMap<number, Abbreviation>,
  unit: Unit,
  sections: DebugSections,
  structs: Map<string, Pending>,
  lengths: Map<number, number>,
): void {
  /** What the entries around the current one are: members belong to a struct, subranges to an array. */
  const around: { struct?: Pending; array?: number }[] = [];
  while (cursor.at < end) {
    const entryAt = cursor.at;
    const code = cursor.uleb();
    if (code === 0) {
      around.pop();
      continue;
    }
    const shape = table.get(code);
    if (!shape) throw new RangeError(`abbreviation ${code} at 0x${entryAt.toString(16)} is not known`);
    const values = new Map<number, Value>();
    for (const { name, form, constant } of shape.attributes) {
      values.set(name, readForm(cursor, form, constant, unit, sections));
    }
    const numberOf = (attribute: number): number | undefined => {
      const value = values.get(attribute);
      return typeof value === "number" ? value : undefined;
    };
    const name = values.get(AT_NAME);
    const parent = around.at(-1);
    let here: { struct?: Pending; array?: number } = {};
    if (shape.tag === TAG_STRUCTURE) {
      const size = numberOf(AT_BYTE_SIZE);
      const struct = size === undefined ? undefined : { size, members: [] };
      if (struct) here = { struct };
      if (struct && typeof name === "string" && !structs.has(name)) structs.set(name, struct);
    } else if (shape.tag === TAG_ARRAY) here = { array: entryAt };
    else if (shape.tag === TAG_MEMBER && parent?.struct && typeof name === "string") {
      const offset = numberOf(AT_MEMBER_LOCATION) ?? 0;
      parent.struct.members.push({ name, offset, type: numberOf(AT_TYPE) ?? -1 });
    } else if (shape.tag === TAG_SUBRANGE && parent?.array !== undefined) {
      const upper = numberOf(AT_UPPER_BOUND);
      const count = numberOf(AT_COUNT) ?? (upper === undefined ? undefined : upper + 1);
      if (count !== undefined) lengths.set(parent.array, (lengths.get(parent.array) ?? 1) * count);
    }
    if (!shape.hasChildren) continue;
    // Functions and the like are stepped over where the information says where they end.
    const sibling = numberOf(AT_SIBLING);
    const skippable = shape.tag !== TAG_STRUCTURE && shape.tag !== TAG_ARRAY && around.length > 0;
    if (skippable && sibling !== undefined && sibling > cursor.at && sibling <= end) cursor.at = sibling;
    else around.push(here);
  }
}
