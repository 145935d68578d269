// C types as data: one definition of a struct serves its live view, its layout on each architecture, DWARF and the docs.

/** How a platform lays memory out. */
export interface DataModel {
  readonly name: "i386" | "x86_64" | "ia64" | "ppc64";
  readonly wordBytes: 4 | 8;
  readonly pageSize: number;
  readonly littleEndian: boolean;
  /** Alignment of 64-bit scalars inside structs: 4 on i386, else 8. */
  readonly align64: 4 | 8;
}

export interface Scalar {
  readonly kind: "scalar";
  /** C spelling, as DWARF shows it: "unsigned int". */
  readonly name: string;
  /** Bytes; "word" for long and pointers-sized integers. */
  readonly size: 1 | 2 | 4 | 8 | "word";
  readonly signed: boolean;
  readonly char?: boolean;
}
export interface Pointer {
  readonly kind: "pointer";
  /** undefined: void *. A thunk, because structs point at each other. */
  readonly to: (() => CType) | undefined;
  /** A pointer to code or to a static kernel object; informational. */
  readonly func?: boolean;
}
export interface ArrayOf {
  readonly kind: "array";
  readonly of: CType;
  readonly length: number;
}
export interface Typedef<T extends CType = CType> {
  readonly kind: "typedef";
  readonly name: string;
  readonly type: T;
}
export interface EnumType {
  readonly kind: "enum";
  readonly name: string;
  readonly values: Readonly<Record<string, number>>;
}
export type Fields = Readonly<Record<string, CType>>;
export interface StructType<F extends Fields = Fields> {
  readonly kind: "struct";
  readonly name: string;
  readonly fields: F;
  readonly packed?: boolean;
  readonly union?: boolean;
  /** What it is, for the docs: one line, with the kernel source it comes from. */
  readonly doc?: string;
}
export type CType = Scalar | Pointer | ArrayOf | Typedef | EnumType | StructType;

const scalar = (name: string, size: Scalar["size"], signed: boolean, char = false): Scalar =>
  char ? { kind: "scalar", name, size, signed, char } : { kind: "scalar", name, size, signed };

export const char = scalar("char", 1, true, true);
export const u8 = scalar("unsigned char", 1, false);
export const s8 = scalar("signed char", 1, true);
export const u16 = scalar("unsigned short", 2, false);
export const s16 = scalar("short", 2, true);
export const uint = scalar("unsigned int", 4, false);
export const int = scalar("int", 4, true);
export const u32 = uint;
export const s32 = int;
export const u64 = scalar("unsigned long long", 8, false);
export const s64 = scalar("long long", 8, true);
export const ulong = scalar("unsigned long", "word", false);
export const long = scalar("long", "word", true);

export const voidPtr: Pointer = { kind: "pointer", to: undefined };
export const funcPtr: Pointer = { kind: "pointer", to: undefined, func: true };
export const charPtr: Pointer = { kind: "pointer", to: () => char };
export const ptr = (to: () => CType): Pointer => ({ kind: "pointer", to });
export const array = (of: CType, length: number): ArrayOf => ({ kind: "array", of, length });
export const typedef = <T extends CType>(name: string, type: T): Typedef<T> => ({ kind: "typedef", name, type });
export const enumeration = (name: string, values: Record<string, number>): EnumType => ({ kind: "enum", name, values });

export const struct = <const F extends Fields>(
  name: string,
  fields: F,
  options: { packed?: boolean; union?: boolean; doc?: string } = {},
): StructType<F> => ({ kind: "struct", name, fields, ...options });

export interface FieldLayout {
  readonly name: string;
  readonly offset: number;
  readonly size: number;
  readonly type: CType;
}
export interface StructLayout {
  readonly size: number;
  readonly align: number;
  readonly fields: ReadonlyMap<string, FieldLayout>;
}

export function sizeOf(type: CType, model: DataModel): number {
  switch (type.kind) {
    case "scalar":
      return type.size === "word" ? model.wordBytes : type.size;
    case "pointer":
      return model.wordBytes;
    case "array":
      return sizeOf(type.of, model) * type.length;
    case "typedef":
      return sizeOf(type.type, model);
    case "enum":
      return 4;
    case "struct":
      return layoutOf(type, model).size;
  }
}

export function alignOf(type: CType, model: DataModel): number {
  switch (type.kind) {
    case "scalar": {
      const size = sizeOf(type, model);
      return size === 8 ? model.align64 : size;
    }
    case "pointer":
      return model.wordBytes;
    case "array":
      return alignOf(type.of, model);
    case "typedef":
      return alignOf(type.type, model);
    case "enum":
      return 4;
    case "struct":
      return layoutOf(type, model).align;
  }
}

const layouts = new WeakMap<StructType, Map<string, StructLayout>>();

/** The C layout of a struct on a platform: natural alignment, no bit fields. */
export function layoutOf(type: StructType, model: DataModel): StructLayout {
  let perModel = layouts.get(type);
  if (!perModel) layouts.set(type, (perModel = new Map()));
  const known = perModel.get(model.name);
  if (known) return known;
  const fields = new Map<string, FieldLayout>();
  let at = 0;
  let align = 1;
  let size = 0;
  for (const [name, fieldType] of Object.entries(type.fields)) {
    const fieldAlign = type.packed ? 1 : alignOf(fieldType, model);
    const fieldSize = sizeOf(fieldType, model);
    if (!type.union) at = Math.ceil(at / fieldAlign) * fieldAlign;
    fields.set(name, { name, offset: type.union ? 0 : at, size: fieldSize, type: fieldType });
    if (!type.union) at += fieldSize;
    align = Math.max(align, fieldAlign);
    size = Math.max(size, type.union ? fieldSize : at);
  }
  const layout: StructLayout = { size: Math.ceil(size / align) * align, align, fields };
  perModel.set(model.name, layout);
  return layout;
}

export const offsetOf = <F extends Fields>(type: StructType<F>, field: keyof F & string, model: DataModel): number =>
  layoutOf(type, model).fields.get(field)!.offset;

export const X86_64: DataModel = { name: "x86_64", wordBytes: 8, pageSize: 4096, littleEndian: true, align64: 8 };
export const I386: DataModel = { name: "i386", wordBytes: 4, pageSize: 4096, littleEndian: true, align64: 4 };
export const IA64: DataModel = { name: "ia64", wordBytes: 8, pageSize: 16384, littleEndian: true, align64: 8 };
export const PPC64: DataModel = { name: "ppc64", wordBytes: 8, pageSize: 4096, littleEndian: false, align64: 8 };
export const DATA_MODELS = { i386: I386, x86_64: X86_64, ia64: IA64, ppc64: PPC64 } as const;
