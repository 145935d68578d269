// An ELF executable from its sections and symbols (System V ABI, chapter 4), 32 or 64 bits, either byte order.
import type { DataModel } from "../types.ts";
import { ByteWriter } from "./byte-writer.ts";

const SHT = { null: 0, progbits: 1, symtab: 2, strtab: 3 } as const;
const SHF_WRITE = 1;
const SHF_ALLOC = 2;
const SHF_EXECINSTR = 4;
const STB_GLOBAL = 1;
const STT = { notype: 0, object: 1, func: 2, section: 3 } as const;
const PT_LOAD = 1;
const SHN_ABS = 0xfff1;

/** e_machine and e_flags of the platforms (their processor supplements). EF_IA_64_ABI64 says that pointers have 64 bits. */
const MACHINES: Readonly<Record<DataModel["name"], { readonly machine: number; readonly flags: number }>> = {
  i386: { machine: 3, flags: 0 },
  x86_64: { machine: 62, flags: 0 },
  ia64: { machine: 50, flags: 0x10 },
  ppc64: { machine: 21, flags: 0 },
};

export interface Section {
  readonly name: string;
  readonly bytes: Uint8Array;
  /** In memory when the program runs: text, read-only data or data. Undefined: for debuggers only. */
  readonly memory?: {
    readonly kind: "text" | "rodata" | "data";
    /** Virtual address; a multiple of the page size where the section starts a segment. */
    readonly address: bigint;
    readonly physical: bigint;
  };
}

export interface ElfSymbol {
  readonly name: string;
  readonly value: bigint;
  readonly size: number;
  readonly kind: "func" | "object" | "label";
}

export interface ElfImage {
  readonly model: DataModel;
  readonly entry: bigint;
  readonly sections: readonly Section[];
  readonly symbols: readonly ElfSymbol[];
}

interface SectionHeader {
  readonly name: string;
  readonly type: number;
  readonly flags: number;
  readonly address: bigint;
  offset: number;
  readonly size: number;
  readonly link: number;
  readonly info: number;
  readonly align: number;
  readonly entrySize: number;
}

/** Section headers count from 1; a symbol that lies in no section (a label at its end) belongs to the one that ends there. */
function sectionOf(image: ElfImage, value: bigint): number {
  let endsHere = SHN_ABS;
  for (const [i, { memory, bytes }] of image.sections.entries()) {
    if (!memory || value < memory.address) continue;
    const end = memory.address + BigInt(bytes.length);
    if (value < end) return i + 1;
    if (value === end) endsHere = i + 1;
  }
  return endsHere;
}

function symbolTable(image: ElfImage): { symtab: Uint8Array; strtab: Uint8Array; firstGlobal: number } {
  const { littleEndian, wordBytes } = image.model;
  const table = new ByteWriter(littleEndian, wordBytes);
  const names = new ByteWriter(littleEndian, wordBytes);
  names.u8(0);
  const add = (name: number, info: number, section: number, value: bigint, size: number): void => {
    table.u32(name);
    if (wordBytes === 8) {
      table.u8(info);
      table.u8(0);
      table.u16(section);
      table.u64(value);
      table.u64(BigInt(size));
    } else {
      table.word(value);
      table.u32(size);
      table.u8(info);
      table.u8(0);
      table.u16(section);
    }
  };
  add(0, 0, 0, 0n, 0);
  // Local symbols come first: one per section, which also lets crash find .rodata by name.
  image.sections.forEach((section, i) => add(0, STT.section, i + 1, section.memory?.address ?? 0n, 0));
  for (const symbol of image.symbols) {
    const type = symbol.kind === "func" ? STT.func : symbol.kind === "object" ? STT.object : STT.notype;
    add(names.length, (STB_GLOBAL << 4) | type, sectionOf(image, symbol.value), symbol.value, symbol.size);
    names.string(symbol.name);
  }
  return { symtab: table.finish(), strtab: names.finish(), firstGlobal: image.sections.length + 1 };
}

/** Flags, address and alignment of a section as its header says them. */
function header(section: Section, pageSize: number): SectionHeader {
  const { name, bytes, memory } = section;
  const flags =
    memory === undefined
      ? 0
      : SHF_ALLOC | (memory.kind === "text" ? SHF_EXECINSTR : 0) | (memory.kind === "data" ? SHF_WRITE : 0);
  // A section that does not start on a page claims only the alignment that its address has.
  const address = memory?.address ?? 0n;
  const align = memory === undefined ? 1 : Math.min(pageSize, Number(address & -address) || pageSize);
  return {
    ...{ name, type: SHT.progbits, flags, address, offset: 0, size: bytes.length },
    ...{ link: 0, info: 0, align, entrySize: 0 },
  };
}

function writeProgramHeader(out: ByteWriter, section: Section, offset: number, pageSize: number): void {
  const { kind, address, physical } = section.memory!;
  const flags = 4 | (kind === "text" ? 1 : 0) | (kind === "data" ? 2 : 0);
  const size = BigInt(section.bytes.length);
  out.u32(PT_LOAD);
  if (out.wordBytes === 8) out.u32(flags);
  for (const value of [BigInt(offset), address, physical, size, size]) out.word(value);
  if (out.wordBytes === 4) out.u32(flags);
  out.word(BigInt(pageSize));
}

function writeSectionHeader(out: ByteWriter, section: SectionHeader, name: number): void {
  out.u32(name);
  out.u32(section.type);
  out.word(BigInt(section.flags));
  out.word(section.address);
  out.word(BigInt(section.offset));
  out.word(BigInt(section.size));
  out.u32(section.link);
  out.u32(section.info);
  out.word(BigInt(section.align));
  out.word(BigInt(section.entrySize));
}

/** The file: header, program headers, sections (those in memory at offsets congruent to their addresses), section headers. */
export function elfFile(image: ElfImage): Uint8Array {
  const { littleEndian, wordBytes, pageSize } = image.model;
  const wide = wordBytes === 8;
  const { symtab, strtab, firstGlobal } = symbolTable(image);
  const symtabIndex = image.sections.length + 1;
  const plain = { type: SHT.strtab, flags: 0, address: 0n, offset: 0, link: 0, info: 0, align: 1, entrySize: 0 };
  const names = new ByteWriter(littleEndian, wordBytes);
  const nameOffsets: number[] = [];
  const headers: SectionHeader[] = [
    { ...plain, name: "", type: SHT.null, size: 0, align: 0 },
    ...image.sections.map((section) => header(section, pageSize)),
    {
      ...plain,
      ...{ name: ".symtab", type: SHT.symtab, size: symtab.length, link: symtabIndex + 1, info: firstGlobal },
      ...{ align: wordBytes, entrySize: wide ? 24 : 16 },
    },
    { ...plain, name: ".strtab", size: strtab.length },
  ];
  for (const name of [...headers.map((h) => h.name), ".shstrtab"]) {
    nameOffsets.push(names.length);
    names.string(name);
  }
  headers.push({ ...plain, name: ".shstrtab", size: names.length });
  const contents = [new Uint8Array(0), ...image.sections.map((s) => s.bytes), symtab, strtab, names.finish()];

  const elfHeaderBytes = wide ? 64 : 52;
  const programHeaderBytes = wide ? 56 : 32;
  const loaded = image.sections.filter((section) => section.memory && section.bytes.length > 0);
  let at = elfHeaderBytes + loaded.length * programHeaderBytes;
  for (const [i, section] of headers.entries()) {
    if (i === 0) continue;
    const grain = section.address === 0n ? Math.max(1, section.align) : pageSize;
    const wanted = section.address === 0n ? 0 : Number(section.address % BigInt(pageSize));
    at += (wanted - (at % grain) + grain) % grain;
    section.offset = at;
    at += section.size;
  }
  const sectionHeadersAt = Math.ceil(at / wordBytes) * wordBytes;

  const out = new ByteWriter(littleEndian, wordBytes);
  out.bytes([0x7f, 0x45, 0x4c, 0x46, wide ? 2 : 1, littleEndian ? 1 : 2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
  out.u16(2); // ET_EXEC
  out.u16(MACHINES[image.model.name].machine);
  out.u32(1);
  out.word(image.entry);
  out.word(BigInt(loaded.length > 0 ? elfHeaderBytes : 0));
  out.word(BigInt(sectionHeadersAt));
  out.u32(MACHINES[image.model.name].flags);
  for (const value of [elfHeaderBytes, programHeaderBytes, loaded.length, wide ? 64 : 40, headers.length])
    out.u16(value);
  out.u16(headers.length - 1);
  for (const section of loaded) {
    writeProgramHeader(out, section, headers[image.sections.indexOf(section) + 1]!.offset, pageSize);
  }
  for (const [i, section] of headers.entries()) {
    if (i === 0) continue;
    out.bytes(new Uint8Array(section.offset - out.length));
    out.bytes(contents[i]!);
  }
  out.align(wordBytes);
  for (const [i, section] of headers.entries()) writeSectionHeader(out, section, nameOffsets[i]!);
  return out.finish();
}
