// Live views: a class per struct whose properties read and write RAM in the architecture's layout.
//
// The accessors are generated once per (struct, platform), so a field access is a typed-array access at a constant
// offset. A write is a micro-step of the current CPU; a read is free.
import { step } from "../../emulator/cpu/cpu.ts";
import { M, STORE_NS, peekPtr, poke64, pokePtr } from "./ram.ts";
import {
  layoutOf,
  sizeOf,
  type ArrayOf,
  type CType,
  type DataModel,
  type Fields,
  type StructType,
  type Typedef,
} from "./types.ts";

/** What a field of a C type looks like from JavaScript: numbers, views for structs, a base address for arrays. */
export type FieldView<T> = T extends { kind: "scalar" } | { kind: "pointer" } | { kind: "enum" }
  ? number
  : T extends StructType<infer F>
    ? View<F>
    : T extends Typedef<infer U>
      ? FieldView<U>
      : T extends ArrayOf
        ? number
        : never;

/** A struct in RAM. `addr` is its physical address. Assigning to a field stores it, at a price of STORE_NS. */
export type View<F extends Fields> = { readonly addr: number } & {
  -readonly [K in keyof F]: FieldView<F[K]>;
};
export type ViewOf<S> = S extends StructType<infer F> ? View<F> : never;

export interface ViewClass<F extends Fields> {
  new (addr: number): View<F>;
  readonly size: number;
  readonly offsets: Readonly<Record<keyof F & string, number>>;
}

const strip = (type: CType): CType => (type.kind === "typedef" ? strip(type.type) : type);

function accessorSource(owner: string, name: string, offset: number, raw: CType, model: DataModel): string {
  const type = strip(raw);
  const at = `this.addr + ${offset}`;
  const get = (body: string): string => `get ${name}() { ${body} }\n`;
  const set = (body: string): string => `set ${name}(v) { step(${STORE_NS}); ${body} }\n`;
  // Typed arrays address whole words; only a packed struct has fields between them.
  const aligned = offset % Math.min(4, sizeOf(type, model)) === 0;
  if (type.kind === "pointer" && !aligned) throw new Error(`${owner}.${name}: a pointer must be aligned`);
  if (type.kind === "pointer") return get(`return peekPtr(${at});`) + set(`pokePtr(${at}, v);`);
  if (type.kind === "array") return get(`return ${at};`);
  if (type.kind === "struct") return get(`return new (bind("${name}"))(${at});`);
  const size = sizeOf(type, model);
  const signed = type.kind === "scalar" && type.signed;
  const le = model.littleEndian;
  if (size === 1) return get(`return ${signed ? `M.u8[${at}] << 24 >> 24` : `M.u8[${at}]`};`) + set(`M.u8[${at}] = v;`);
  if (size === 2) {
    return (
      get(`return M.view.get${signed ? "Int" : "Uint"}16(${at}, ${le});`) + set(`M.view.setUint16(${at}, v, ${le});`)
    );
  }
  if (size === 4) {
    if (!le || !aligned)
      return (
        get(`return M.view.get${signed ? "Int" : "Uint"}32(${at}, ${le});`) + set(`M.view.setUint32(${at}, v, ${le});`)
      );
    return get(`return M.${signed ? "i32" : "u32"}[(${at}) >>> 2];`) + set(`M.u32[(${at}) >>> 2] = v;`);
  }
  const [lo, hi] = le ? [0, 4] : [4, 0];
  const high = `M.view.get${signed ? "Int" : "Uint"}32(${at} + ${hi}, ${le})`;
  const read = get(`return ${high} * 4294967296 + M.view.getUint32(${at} + ${lo}, ${le});`);
  if (aligned) return read + set(`poke64(${at}, v);`);
  return (
    read +
    set(
      `M.view.setUint32(${at} + ${lo}, v, ${le}); M.view.setUint32(${at} + ${hi}, Math.floor(v / 4294967296), ${le});`,
    )
  );
}

const classes = new WeakMap<StructType, Map<string, ViewClass<Fields>>>();

/** The view class of a struct on a platform. */
export function viewClass<F extends Fields>(type: StructType<F>, model: DataModel): ViewClass<F> {
  return untypedViewClass(type as unknown as StructType, model) as unknown as ViewClass<F>;
}

function untypedViewClass(type: StructType, model: DataModel): ViewClass<Fields> {
  let perModel = classes.get(type);
  if (!perModel) classes.set(type, (perModel = new Map()));
  const known = perModel.get(model.name);
  if (known) return known;
  const layout = layoutOf(type, model);
  let body = "";
  const offsets: Record<string, number> = {};
  for (const field of layout.fields.values()) {
    offsets[field.name] = field.offset;
    body += accessorSource(type.name, field.name, field.offset, field.type, model);
  }
  const bind = (name: string): ViewClass<Fields> => {
    const nested = strip(type.fields[name]!);
    if (nested.kind !== "struct") throw new Error(`${type.name}.${name} is not a struct`);
    return untypedViewClass(nested, model);
  };
  const make = new Function(
    "M",
    "step",
    "peekPtr",
    "pokePtr",
    "poke64",
    "bind",
    `return class struct_${type.name} { constructor(addr) { this.addr = addr; }\n${body} };`,
  ) as (...imports: unknown[]) => ViewClass<Fields>;
  const made = Object.assign(make(M, step, peekPtr, pokePtr, poke64, bind), { size: layout.size, offsets });
  perModel.set(model.name, made);
  return made;
}
