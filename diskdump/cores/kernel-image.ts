// A vmlinux: where its variables are, and how its structs are laid out.
import { DATA_MODELS, type DataModel } from "../../kernel-sim/abi/types.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { isElf } from "../userspace/elf-core.ts";
import { hex, UsageError } from "../userspace/errors.ts";
import { PLATFORMS } from "../userspace/platform.ts";
import { cString } from "./c-string.ts";
import { readStructs, type StructShape } from "./debug-info.ts";

const SHT_SYMTAB = 2;
const SHT_NOBITS = 8;
const SHF_COMPRESSED = 0x800;
/** Tables beyond this are not read into memory. */
const MOST_TABLE_BYTES = 1 << 30;

interface Section {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly offset: number;
  readonly size: number;
  readonly link: number;
}

export class KernelImage {
  readonly name: string;
  readonly model: DataModel;
  private readonly symbols: ReadonlyMap<string, bigint>;
  private readonly structs: ReadonlyMap<string, StructShape>;

  constructor(
    name: string,
    model: DataModel,
    symbols: ReadonlyMap<string, bigint>,
    structs: ReadonlyMap<string, StructShape>,
  ) {
    this.name = name;
    this.model = model;
    this.symbols = symbols;
    this.structs = structs;
  }

  /** Virtual address of a symbol; undefined when there is none. */
  symbol(name: string): bigint | undefined {
    return this.symbols.get(name);
  }

  /** A struct's layout; undefined when the debug information has none. */
  struct(name: string): StructShape | undefined {
    return this.structs.get(name);
  }

  /** As `symbol`. Throws a UsageError when there is none. */
  needSymbol(name: string): bigint {
    return this.symbol(name) ?? this.lacks(`symbol ${name}`);
  }

  /** Byte offset of a field. Throws a UsageError when the kernel has no such field. */
  needOffset(struct: string, field: string): number {
    return this.needStruct(struct).offsets.get(field) ?? this.lacks(`field ${field} in struct ${struct}`);
  }

  needStruct(name: string): StructShape {
    return this.structs.get(name) ?? this.lacks(`struct ${name} in its debug information`);
  }

  private lacks(what: string): never {
    throw new UsageError(`${this.name}: has no ${what}`);
  }
}

/** Reads symbols and structs of a vmlinux. Throws a UsageError that says what is wrong and where. */
export function readKernelImage(store: ByteStore): KernelImage {
  const fail = (offset: number, what: string): never => {
    throw new UsageError(`${store.name}: at offset ${hex(offset)}: ${what}`);
  };
  if (!isElf(store)) return fail(0, 'no ELF file: "\\x7fELF" expected of a vmlinux');
  const head = new Uint8Array(64);
  store.read(0, head);
  const view = new DataView(head.buffer);
  const is64 = head[4] === 2;
  const little = head[5] === 1;
  const machine = view.getUint16(18, little);
  const found = Object.values(DATA_MODELS).find(({ name }) => PLATFORMS[name].elfMachine === machine);
  const model = found ?? fail(18, `ELF machine ${machine}, expected 3, 21, 50 or 62`);
  if (view.getUint16(16, little) === 4) fail(16, "is a core, not a vmlinux");
  const sections = readSections(store, view, is64, little, fail);
  const bytesOf = (section: Section | undefined): Uint8Array => {
    if (!section || section.type === SHT_NOBITS) return new Uint8Array();
    if (section.offset + section.size > store.sizeBytes || section.size > MOST_TABLE_BYTES) {
      fail(section.offset, `section ${section.name} of ${section.size} bytes ends beyond the file`);
    }
    if ((section.flags & SHF_COMPRESSED) !== 0) {
      fail(section.offset, `section ${section.name} is compressed; objcopy --decompress-debug-sections makes it plain`);
    }
    const bytes = new Uint8Array(section.size);
    store.read(section.offset, bytes);
    return bytes;
  };
  const symtab = sections.find(({ type }) => type === SHT_SYMTAB);
  if (!symtab) throw new UsageError(`${store.name}: has no symbol table (it is stripped)`);
  const named = (name: string): Uint8Array => bytesOf(sections.find((section) => section.name === name));
  const symbols = readSymbols(bytesOf(symtab), bytesOf(sections[symtab.link]), is64, little);
  let structs: ReadonlyMap<string, StructShape>;
  try {
    structs = readStructs(
      {
        ...{ info: named(".debug_info"), abbrev: named(".debug_abbrev"), str: named(".debug_str") },
        lineStr: named(".debug_line_str"),
      },
      little,
    );
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`${store.name}: its debug information cannot be read: ${error.message}`, { cause: error });
  }
  return new KernelImage(store.name, model, symbols, structs);
}

function readSections(
  store: ByteStore,
  head: DataView,
  is64: boolean,
  little: boolean,
  fail: (offset: number, what: string) => never,
): Section[] {
  const word = (view: DataView, at: number): number =>
    is64 ? Number(view.getBigUint64(at, little)) : view.getUint32(at, little);
  const tableAt = word(head, is64 ? 40 : 32);
  const entryBytes = head.getUint16(is64 ? 58 : 46, little);
  const count = head.getUint16(is64 ? 60 : 48, little);
  const nameIndex = head.getUint16(is64 ? 62 : 50, little);
  if (count === 0 || entryBytes < (is64 ? 64 : 40) || tableAt + count * entryBytes > store.sizeBytes) {
    fail(tableAt, `a section table of ${count} entries of ${entryBytes} bytes does not fit into the file`);
  }
  const table = new Uint8Array(count * entryBytes);
  store.read(tableAt, table);
  const entries = Array.from({ length: count }, (_, index) => {
    const view = new DataView(table.buffer, index * entryBytes, entryBytes);
    const at = is64 ? { flags: 8, offset: 24, size: 32, link: 40 } : { flags: 8, offset: 16, size: 20, link: 24 };
    return {
      ...{ nameAt: view.getUint32(0, little), type: view.getUint32(4, little), flags: word(view, at.flags) },
      ...{ offset: word(view, at.offset), size: word(view, at.size), link: view.getUint32(at.link, little) },
    };
  });
  const names = entries[nameIndex];
  const text = new Uint8Array(
    names && names.offset + names.size <= store.sizeBytes ? Math.min(names.size, 1 << 20) : 0,
  );
  if (names) store.read(names.offset, text);
  return entries.map(({ nameAt, ...entry }) => ({ ...entry, name: cString(text, nameAt) }));
}

function readSymbols(table: Uint8Array, strings: Uint8Array, is64: boolean, little: boolean): Map<string, bigint> {
  const symbols = new Map<string, bigint>();
  const view = new DataView(table.buffer, table.byteOffset, table.length);
  const entryBytes = is64 ? 24 : 16;
  for (let at = 0; at + entryBytes <= table.length; at += entryBytes) {
    const name = cString(strings, view.getUint32(at, little));
    const value = is64 ? view.getBigUint64(at + 8, little) : BigInt(view.getUint32(at + 4, little));
    if (name !== "" && value !== 0n && !symbols.has(name)) symbols.set(name, value);
  }
  return symbols;
}
