// ELF headers of a core, of either class and byte order.
export const PT_LOAD = 1;
export const PT_NOTE = 4;
const FLAGS_RWX = 7;

/** Bytes of the headers by class: Elf64_Ehdr, Elf64_Phdr, Elf64_Shdr and their 32-bit sisters. */
export const ELF_BYTES = {
  32: { headerBytes: 52, programBytes: 32, sectionBytes: 40 },
  64: { headerBytes: 64, programBytes: 56, sectionBytes: 64 },
} as const;

export interface ProgramHeader {
  type: number;
  offset: number;
  virtual: bigint;
  physical: number;
  fileBytes: number;
  memoryBytes: number;
  align: number;
}

export class ElfWriter {
  private readonly view: DataView;
  private readonly bytes: Uint8Array;
  private readonly is64: boolean;
  private readonly little: boolean;

  constructor(bytes: Uint8Array, is64: boolean, little: boolean) {
    this.view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    this.bytes = bytes;
    this.is64 = is64;
    this.little = little;
  }

  /** Writes values of the given sizes one after the other; "word" is 4 or 8 bytes. */
  private put(at: number, values: readonly (readonly [2 | 4 | "word", number | bigint])[]): void {
    for (const [size, value] of values) {
      if (size === 2) this.view.setUint16(at, Number(value), this.little);
      else if (size === 4 || !this.is64) this.view.setUint32(at, Number(BigInt(value) & 0xffffffffn), this.little);
      else this.view.setBigUint64(at, BigInt(value), this.little);
      at += size === "word" ? (this.is64 ? 8 : 4) : size;
    }
  }

  /** The file header, with `count` program headers right behind it. `sectionsAt`: a table of two, names in the second; absent: none. */
  header({ machine, count, sectionsAt }: { machine: number; count: number; sectionsAt?: number }): void {
    const { headerBytes, programBytes, sectionBytes } = ELF_BYTES[this.is64 ? 64 : 32];
    this.bytes.set([0x7f, 0x45, 0x4c, 0x46, this.is64 ? 2 : 1, this.little ? 1 : 2, 1]);
    this.put(16, [
      ...([
        [2, 4],
        [2, machine],
        [4, 1],
      ] as const), // ET_CORE, machine, EV_CURRENT
      ...([
        ["word", 0],
        ["word", headerBytes],
        ["word", sectionsAt ?? 0],
      ] as const), // entry, phoff, shoff
      ...([
        [4, 0],
        [2, headerBytes],
        [2, programBytes],
        [2, count],
      ] as const),
      ...([
        [2, sectionsAt === undefined ? 0 : sectionBytes],
        [2, sectionsAt === undefined ? 0 : 2],
        [2, sectionsAt === undefined ? 0 : 1],
      ] as const), // shentsize, shnum, shstrndx
    ]);
  }

  programHeader(at: number, s: ProgramHeader): void {
    const flags = s.type === PT_LOAD ? FLAGS_RWX : 0;
    const places = [
      ["word", s.offset],
      ["word", s.virtual],
      ["word", s.physical],
      ["word", s.fileBytes],
      ["word", s.memoryBytes],
    ] as const;
    if (this.is64) this.put(at, [[4, s.type], [4, flags], ...places, ["word", s.align]]);
    else this.put(at, [[4, s.type], ...places, [4, flags], [4, s.align]]);
  }

  /** The entry of .shstrtab; entry 0 of a section table is all zeroes. */
  stringSection(at: number, offset: number, bytes: number): void {
    this.put(at, [
      ...([
        [4, 1],
        [4, 3],
        ["word", 0],
        ["word", 0],
      ] as const), // name ".shstrtab", SHT_STRTAB, flags, address
      ...([
        ["word", offset],
        ["word", bytes],
        [4, 0],
        [4, 0],
        ["word", 1],
        ["word", 0],
      ] as const),
    ]);
  }
}
