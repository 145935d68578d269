// C types as C: what a compiler, or a reader of the docs, sees of a struct.
import { type CType, type StructType } from "../types.ts";

/** Structs and unions by tag; pointers to them need no definition. */
const tagOf = (type: StructType): string => `${type.union ? "union" : "struct"} ${type.name}`;

/** `int *(*x)[3]` and the like: a declaration of `name`. */
export function declaration(type: CType, name: string): string {
  switch (type.kind) {
    case "scalar":
      return `${type.name} ${name}`;
    case "typedef":
      return `${type.name} ${name}`;
    case "enum":
      return `enum ${type.name} ${name}`;
    case "struct":
      return type.name === "" ? `${body(type)} ${name}` : `${tagOf(type)} ${name}`;
    case "array":
      return declaration(type.of, `${name.startsWith("*") ? `(${name})` : name}[${type.length}]`);
    case "pointer":
      if (type.func) return `void (*${name})(void)`;
      return type.to ? declaration(type.to(), `*${name}`) : `void *${name}`;
  }
}

function body(type: StructType): string {
  const fields = Object.entries(type.fields).map(([name, field]) => `  ${declaration(field, name)};\n`);
  const keyword = type.union ? "union" : "struct";
  const tag = type.name === "" ? keyword : `${keyword} ${type.name}`;
  return `${tag} {\n${fields.join("")}}${type.packed ? " __attribute__((packed))" : ""}`;
}

/** Definitions of `types` and of everything that they need, in an order that compiles. Each tag and typedef once. */
export function cSource(types: readonly CType[]): string {
  const done = new Set<CType>();
  const out: string[] = [];
  /** `whole`: the size is needed, not only the tag. */
  const define = (type: CType, whole: boolean): void => {
    if (type.kind === "pointer") {
      // A pointer to a typedef needs the typedef; a pointer to a struct needs its tag at most.
      const to = type.to?.();
      if (to && to.kind !== "struct") define(to, false);
      return;
    }
    if (type.kind === "array") return define(type.of, true);
    // A typedef that only a pointer needed may stand there already, without what it names.
    if (type.kind === "typedef" && (whole || type.type.kind !== "struct" || type.type.name === "")) {
      define(type.type, true);
    }
    if (type.kind === "scalar" || done.has(type)) return;
    done.add(type);
    if (type.kind === "enum") {
      const values = Object.entries(type.values).map(([name, value]) => `  ${name} = ${value},\n`);
      out.push(`enum ${type.name} {\n${values.join("")}};\n`);
    } else if (type.kind === "typedef") {
      out.push(`typedef ${declaration(type.type, type.name)};\n`);
    } else {
      for (const field of Object.values(type.fields)) define(field, true);
      if (type.name !== "") out.push(`${body(type)};\n`);
    }
  };
  for (const type of types) define(type, true);
  return out.join("\n");
}
