// Reads the headers and notes of an ELF core, ours or another program's.
import { DATA_MODELS, layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { Problem } from "../format/header.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { elf_prstatus, NT_PRSTATUS } from "./core-notes.ts";
import { hex, UsageError } from "./errors.ts";
import { PLATFORMS } from "./platform.ts";

export interface CoreSegment {
  /** PT_NOTE, PT_LOAD, or the number. */
  readonly type: string;
  readonly fileOffset: number;
  readonly virtual: bigint;
  /** Physical addresses are below 2^53 on every machine that fits into a dump. */
  readonly physical: number;
  readonly fileBytes: number;
  readonly memoryBytes: number;
  readonly align: number;
}

export interface CoreNote {
  readonly name: string;
  readonly type: number;
  readonly typeName: string;
  readonly description: Uint8Array;
  /** Of an NT_PRSTATUS, by register name. */
  readonly registers?: ReadonlyMap<string, bigint>;
}

export interface ElfCore {
  readonly bits: 32 | 64;
  readonly littleEndian: boolean;
  readonly machine: number;
  readonly model: DataModel | undefined;
  readonly programHeaderOffset: number;
  readonly sections: number;
  readonly segments: readonly CoreSegment[];
  readonly notes: readonly CoreNote[];
  readonly problems: readonly Problem[];
}

const NOTE_NAMES: Readonly<Record<number, string>> = {
  1: "NT_PRSTATUS",
  2: "NT_FPREGSET",
  3: "NT_PRPSINFO",
  4: "NT_TASKSTRUCT",
  0x70000001: "NT_DISKDUMP",
};
/** More notes than this are not a core of ours or of anybody's. */
const MOST_NOTE_BYTES = 64 << 20;

export const isElf = (store: ByteStore): boolean => {
  if (store.sizeBytes < 64) return false;
  const ident = new Uint8Array(4);
  store.read(0, ident);
  return Buffer.from(ident).toString("latin1") === "\x7fELF";
};

/** Throws a UsageError when the store is not a readable ELF core. */
export function readElfCore(store: ByteStore): ElfCore {
  const fail = (offset: number, what: string): never => {
    throw new UsageError(`${store.name}: at offset ${hex(offset)}: ${what}`);
  };
  if (!isElf(store)) fail(0, 'no ELF file: "\\x7fELF" expected');
  const head = new Uint8Array(64);
  store.read(0, head);
  const view = new DataView(head.buffer);
  const bits = head[4] === 2 ? 64 : head[4] === 1 ? 32 : fail(4, `ELF class ${head[4]}, expected 1 or 2`);
  const little = head[5] === 1 ? true : head[5] === 2 ? false : fail(5, `ELF byte order ${head[5]}, expected 1 or 2`);
  const type = view.getUint16(16, little);
  if (type !== 4) fail(16, `ELF type ${type}, expected 4 (core)`);
  const is64 = bits === 64;
  const word = (from: DataView, at: number): bigint =>
    is64 ? from.getBigUint64(at, little) : BigInt(from.getUint32(at, little));
  const machine = view.getUint16(18, little);
  const model = Object.values(DATA_MODELS).find(({ name }) => PLATFORMS[name].elfMachine === machine);
  const programHeaderOffset = Number(word(view, is64 ? 32 : 28));
  const entryBytes = view.getUint16(is64 ? 54 : 42, little);
  const count = view.getUint16(is64 ? 56 : 44, little);
  if (entryBytes !== (is64 ? 56 : 32))
    fail(is64 ? 54 : 42, `program headers of ${entryBytes} bytes, expected ${is64 ? 56 : 32}`);
  if (programHeaderOffset + count * entryBytes > store.sizeBytes) {
    fail(programHeaderOffset, `${count} program headers do not fit into ${store.sizeBytes} bytes`);
  }
  const table = new Uint8Array(count * entryBytes);
  store.read(programHeaderOffset, table);
  const problems: Problem[] = [];
  const segments = Array.from({ length: count }, (_, index): CoreSegment => {
    const entry = new DataView(table.buffer, index * entryBytes, entryBytes);
    const [offset, virtual, physical, fileBytes, memoryBytes] = [0, 1, 2, 3, 4].map((field) =>
      word(entry, is64 ? 8 + field * 8 : 4 + field * 4),
    ) as [bigint, bigint, bigint, bigint, bigint];
    const kind = entry.getUint32(0, little);
    const segment = {
      type: kind === 1 ? "PT_LOAD" : kind === 4 ? "PT_NOTE" : hex(kind),
      ...{ fileOffset: Number(offset), virtual, physical: Number(physical) },
      ...{ fileBytes: Number(fileBytes), memoryBytes: Number(memoryBytes) },
      align: is64 ? Number(word(entry, 48)) : entry.getUint32(28, little),
    };
    const end = segment.fileOffset + segment.fileBytes;
    const at = programHeaderOffset + index * entryBytes;
    if (end > store.sizeBytes) {
      const what = `segment ${index} ends at offset ${hex(end)}, the file at ${hex(store.sizeBytes)}: it is truncated`;
      problems.push({ severity: "warning", offset: at, what });
    }
    if (segment.type === "PT_LOAD" && segment.fileBytes < segment.memoryBytes) {
      const missing = segment.memoryBytes - segment.fileBytes;
      problems.push({ severity: "warning", offset: at, what: `segment ${index} lacks its last ${missing} bytes` });
    }
    return segment;
  });
  const notes = segments
    .filter((segment) => segment.type === "PT_NOTE")
    .flatMap((segment) => readNotes(store, segment, little, model));
  const sections = view.getUint16(is64 ? 60 : 48, little);
  return {
    ...{ bits, littleEndian: little, machine, model, programHeaderOffset, sections },
    ...{ segments, notes, problems },
  };
}

function readNotes(store: ByteStore, segment: CoreSegment, little: boolean, model: DataModel | undefined): CoreNote[] {
  const length = Math.min(segment.fileBytes, MOST_NOTE_BYTES, Math.max(0, store.sizeBytes - segment.fileOffset));
  if (length === 0) return [];
  const bytes = new Uint8Array(length);
  store.read(segment.fileOffset, bytes);
  return parseNotes(bytes, little, model);
}

/** The notes in a PT_NOTE's bytes, up to the first that does not fit. */
export function parseNotes(bytes: Uint8Array, little: boolean, model: DataModel | undefined): CoreNote[] {
  const { length } = bytes;
  const view = new DataView(bytes.buffer, bytes.byteOffset, length);
  const notes: CoreNote[] = [];
  const padded = (size: number): number => Math.ceil(size / 4) * 4;
  for (let at = 0; at + 12 <= length;) {
    const nameBytes = view.getUint32(at, little);
    const descriptionBytes = view.getUint32(at + 4, little);
    const type = view.getUint32(at + 8, little);
    const descriptionAt = at + 12 + padded(nameBytes);
    if (descriptionAt + descriptionBytes > length) break;
    const name = Buffer.from(bytes.subarray(at + 12, at + 12 + nameBytes))
      .toString("latin1")
      .replace(/\0+$/, "");
    const description = bytes.subarray(descriptionAt, descriptionAt + descriptionBytes);
    const registers = model && type === NT_PRSTATUS && name === "CORE" ? registersOf(description, model) : undefined;
    const typeName = NOTE_NAMES[type] ?? hex(type);
    notes.push({ name, type, typeName, description, ...(registers ? { registers } : {}) });
    at = descriptionAt + padded(descriptionBytes);
  }
  return notes;
}

function registersOf(description: Uint8Array, model: DataModel): ReadonlyMap<string, bigint> | undefined {
  const type = elf_prstatus(model);
  if (description.length < layoutOf(type, model).size) return undefined;
  const set = new StructBytes(type, model, description).inner("pr_reg");
  const names = Object.entries(set.type.fields).filter(([, field]) => field.kind === "scalar");
  return new Map(names.map(([name]) => [name, set.getBig(name)]));
}
