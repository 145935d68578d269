// Goal: a struct described in the DSL lies in RAM as a C compiler of the platform lays it out.
// Method: gcc compiles the same types, generated ones and the kernel's own, and says sizes and offsets.
import { spawnSync } from "node:child_process";
import { readdirSync } from "node:fs";
import { join } from "node:path";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { STRUCT_FILES, namedTypes } from "./structs/index.ts";
import * as c from "./types.ts";
import { cSource } from "./vmlinux/c-source.ts";

const gccFor = (flag: string): boolean =>
  spawnSync("gcc", [flag, "-S", "-o", "-", "-x", "c", "-"], { input: "int x;" }).status === 0;
const COMPILED = [
  { model: c.X86_64, flag: "-m64", found: gccFor("-m64") },
  { model: c.I386, flag: "-m32", found: gccFor("-m32") },
] as const;

/** What is compared: one line per struct and per field. */
function questions(
  structs: readonly c.StructType[],
): { text: string; c: string; layout: c.StructType; field?: string }[] {
  return structs.flatMap((layout) => {
    const tag = `${layout.union ? "union" : "struct"} ${layout.name}`;
    return [
      { text: `sizeof ${tag}`, c: `sizeof(${tag})`, layout },
      ...Object.keys(layout.fields).map((field) => ({
        ...{ text: `${tag}.${field}`, c: `__builtin_offsetof(${tag}, ${field})`, layout, field },
      })),
    ];
  });
}

/** The numbers as gcc puts them into a table; one is added to each because the assembler has another word for zeroes. */
function gccSays(structs: readonly c.StructType[], source: string, flag: string): string[] {
  const asked = questions(structs);
  const table = `unsigned int layout_table[] = {\n${asked.map((q) => `1 + ${q.c}`).join(",\n")}\n};\n`;
  const gcc = spawnSync("gcc", [flag, "-w", "-S", "-o", "-", "-x", "c", "-"], {
    input: `${source}\n${table}`,
    encoding: "utf8",
    maxBuffer: 64 << 20,
  });
  expect(gcc.stderr).toBe("");
  const numbers = [...gcc.stdout.matchAll(/^\s*\.long\s+(\d+)$/gm)].map((match) => Number(match[1]) - 1);
  expect(numbers).toHaveLength(asked.length);
  return asked.map((q, i) => `${q.text} = ${numbers[i]}`);
}

const weSay = (structs: readonly c.StructType[], model: c.DataModel): string[] =>
  questions(structs).map(({ text, layout, field }) => {
    const { size, fields } = c.layoutOf(layout, model);
    return `${text} = ${field === undefined ? size : fields.get(field)!.offset}`;
  });

// ---- generated structs -----------------------------------------------------------------------------------------------

const SCALARS = [c.char, c.u8, c.s8, c.u16, c.s16, c.uint, c.int, c.u64, c.s64, c.ulong, c.long];
type Nameless = (name: () => string) => c.CType;
const { field: anyField } = fc.letrec<{ field: Nameless; fields: Nameless; leaf: Nameless }>((tie) => ({
  leaf: fc.oneof(
    fc.constantFrom(...SCALARS).map(
      (type): Nameless =>
        () =>
          type,
    ),
    fc.constantFrom(c.voidPtr, c.funcPtr, c.charPtr).map(
      (type): Nameless =>
        () =>
          type,
    ),
    fc.constantFrom(...SCALARS).map(
      (type): Nameless =>
        (name) =>
          c.typedef(name(), type),
    ),
    fc.nat(9).map(
      (value): Nameless =>
        (name) =>
          c.enumeration(name(), { [name()]: value, [name()]: -value }),
    ),
  ),
  fields: fc
    .record({
      fields: fc.array(tie("field"), { minLength: 1, maxLength: 7 }),
      form: fc.constantFrom("plain", "packed", "union", "anonymous", "typedef", "pointer"),
    })
    .map(({ fields, form }): Nameless => (name) => {
      const members = Object.fromEntries(fields.map((field) => [name(), field(name)]));
      const tag = form === "anonymous" ? "" : name();
      const made = c.struct(tag, members, { packed: form === "packed", union: form === "union" });
      if (form === "typedef") return c.typedef(name(), made);
      return form === "pointer" ? c.ptr(() => made) : made;
    }),
  field: fc.oneof(
    { depthSize: "medium", withCrossShrink: true },
    tie("leaf"),
    fc.tuple(tie("field"), fc.nat(4)).map(
      ([of, length]): Nameless =>
        (name) =>
          c.array(of(name), length),
    ),
    tie("fields"),
  ),
}));
const structSet = fc
  .array(fc.tuple(fc.array(anyField, { minLength: 1, maxLength: 12 }), fc.boolean(), fc.boolean()), {
    minLength: 1,
    maxLength: 25,
  })
  .map((described) => {
    let names = 0;
    const name = (): string => `n${names++}`;
    return described.map(([fields, packed, union]) =>
      c.struct(name(), Object.fromEntries(fields.map((field) => [name(), field(name)])), { packed, union }),
    );
  });

describe.each(COMPILED)("on $model.name", ({ model, flag, found }) => {
  test.skipIf(!found)("any set of structs has gcc's sizes and offsets (needs: apt-get install gcc)", () => {
    fc.assert(
      fc.property(structSet, (structs) => {
        expect(weSay(structs, model)).toEqual(gccSays(structs, cSource(structs), flag));
      }),
      { numRuns: 25, interruptAfterTimeLimit: 20_000 },
    );
  });

  test.skipIf(!found)("the kernel's own structs have gcc's sizes and offsets (needs: apt-get install gcc)", () => {
    const structs = namedTypes(model.name)
      .map((type) => (type.kind === "typedef" ? type.type : type))
      .filter((type): type is c.StructType => type.kind === "struct");
    expect(structs.length).toBeGreaterThan(30);
    const unique = [...new Set(structs)];
    expect(weSay(unique, model)).toEqual(gccSays(unique, cSource(namedTypes(model.name)), flag));
  });
});

test("the 64-bit platforms agree on every layout: they differ in byte order and pages only", () => {
  fc.assert(
    fc.property(structSet, (structs) => {
      expect(weSay(structs, c.IA64)).toEqual(weSay(structs, c.X86_64));
      expect(weSay(structs, c.PPC64)).toEqual(weSay(structs, c.X86_64));
    }),
  );
});

describe("the registry of structs", () => {
  test("has every file of the folder", () => {
    const files = readdirSync(join(import.meta.dirname, "structs"))
      .filter((file) => file.endsWith(".ts") && file !== "index.ts" && !file.endsWith(".spec.ts"))
      .map((file) => file.replace(/\.ts$/, ""));
    expect(Object.keys(STRUCT_FILES).sort()).toEqual(files.sort());
  });

  test("knows each tag and each typedef once: two meanings of one name would confuse every debugger", () => {
    const names = namedTypes("x86_64").map((type) => `${type.kind === "typedef" ? "typedef" : "tag"} ${type.name}`);
    expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
  });
});
