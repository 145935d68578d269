// The C types of abi/types.ts as DWARF entries, each type once.
import {
  layoutOf,
  sizeOf,
  type CType,
  type DataModel,
  type EnumType,
  type Pointer,
  type StructType,
} from "../types.ts";
import { AT, TAG, type Die, type Value } from "./dwarf.ts";

/** DW_ATE_* */
const ENCODING = { signed: 5, signedChar: 6, unsigned: 7, unsignedChar: 8 } as const;

const text = (value: string): Value => ({ form: "string", text: value });
const count = (value: number): Value => ({ form: "udata", number: value });
const reference = (to: Die): Value => ({ form: "ref4", to });

/** Collects entries for types and everything that they reach. */
export class TypeEntries {
  /** All entries, in the order in which they were first asked for. */
  readonly dies: Die[] = [];
  private readonly model: DataModel;
  private readonly byType = new Map<CType, Die>();
  /** Types that are equal without being one object: scalars by name, pointers and arrays by what they are made of. */
  private readonly byShape = new Map<string, Die>();
  private readonly pointers = new Map<Die, Die>();
  /** Struct entries whose members are still to be written: pointers may close circles. */
  private readonly pending: (() => void)[] = [];
  private filling = false;

  constructor(model: DataModel) {
    this.model = model;
  }

  /** The entry of a type. */
  of(type: CType): Die {
    const die = this.find(type);
    if (!this.filling) {
      this.filling = true;
      for (let fill = this.pending.shift(); fill; fill = this.pending.shift()) fill();
      this.filling = false;
    }
    return die;
  }

  private find(type: CType): Die {
    const known = this.byType.get(type);
    if (known) return known;
    const die = this.make(type);
    this.byType.set(type, die);
    return die;
  }

  private make(type: CType): Die {
    switch (type.kind) {
      case "scalar": {
        const encoding = type.char
          ? ENCODING[type.signed ? "signedChar" : "unsignedChar"]
          : type.size === 1
            ? ENCODING[type.signed ? "signedChar" : "unsignedChar"]
            : ENCODING[type.signed ? "signed" : "unsigned"];
        return this.shared(`scalar ${type.name}`, TAG.base, [
          [AT.name, text(type.name)],
          [AT.byteSize, count(sizeOf(type, this.model))],
          [AT.encoding, { form: "data1", number: encoding }],
        ]);
      }
      case "pointer":
        return this.pointer(type);
      case "array":
        return this.array(type.of, type.length);
      case "typedef":
        return this.add(TAG.typedef, [
          [AT.name, text(type.name)],
          [AT.type, reference(this.find(type.type))],
        ]);
      case "enum":
        return this.enumeration(type);
      case "struct":
        return this.struct(type);
    }
  }

  private add(tag: number, attributes: Die["attributes"], children: Die[] = []): Die {
    const die: Die = { tag, attributes, children };
    this.dies.push(die);
    return die;
  }

  private shared(shape: string, tag: number, attributes: Die["attributes"]): Die {
    let die = this.byShape.get(shape);
    if (!die) this.byShape.set(shape, (die = this.add(tag, attributes)));
    return die;
  }

  private pointer(type: Pointer): Die {
    const size: Die["attributes"][number] = [AT.byteSize, count(this.model.wordBytes)];
    if (type.func) {
      // void (*)(): the DSL does not say what functions take.
      const code = this.shared("code", TAG.subroutine, [[AT.prototyped, { form: "flag", number: 1 }]]);
      return this.shared("pointer to code", TAG.pointer, [size, [AT.type, reference(code)]]);
    }
    if (!type.to) return this.shared("void *", TAG.pointer, [size]);
    const target = this.find(type.to());
    let die = this.pointers.get(target);
    if (!die) this.pointers.set(target, (die = this.add(TAG.pointer, [size, [AT.type, reference(target)]])));
    return die;
  }

  private array(of: CType, length: number): Die {
    const index = this.find(INDEX);
    // An array of arrays is one entry with several dimensions.
    const dimensions = [length];
    let element = of;
    for (; element.kind === "array"; element = element.of) dimensions.push(element.length);
    const ranges = dimensions.map((n): Die => {
      const bound: Die["attributes"] = n > 0 ? [[AT.upperBound, count(n - 1)]] : [];
      return { tag: TAG.subrange, attributes: [[AT.type, reference(index)], ...bound], children: [] };
    });
    return this.add(TAG.array, [[AT.type, reference(this.find(element))]], ranges);
  }

  private enumeration(type: EnumType): Die {
    const values = Object.entries(type.values).map(([name, value]): Die => ({
      tag: TAG.enumerator,
      attributes: [
        [AT.name, text(name)],
        [AT.constValue, { form: "sdata", number: value }],
      ],
      children: [],
    }));
    return this.add(TAG.enumeration, [...named(type.name), [AT.byteSize, count(sizeOf(type, this.model))]], values);
  }

  private struct(type: StructType): Die {
    const layout = layoutOf(type, this.model);
    const die = this.add(type.union ? TAG.union : TAG.structure, [
      ...named(type.name),
      [AT.byteSize, count(layout.size)],
    ]);
    this.pending.push(() => {
      for (const field of layout.fields.values()) {
        die.children.push({
          tag: TAG.member,
          attributes: [
            [AT.name, text(field.name)],
            [AT.type, reference(this.find(field.type))],
            ...(type.union ? [] : [[AT.dataMemberLocation, { form: "plus", offset: field.offset }] as const]),
          ],
          children: [],
        });
      }
    });
    return die;
  }
}

/** What arrays are indexed by. */
const INDEX: CType = { kind: "scalar", name: "unsigned long", size: "word", signed: false };
const named = (name: string): Die["attributes"] => (name === "" ? [] : [[AT.name, text(name)]]);
