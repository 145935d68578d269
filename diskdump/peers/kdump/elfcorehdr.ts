// The ELF headers that kexec-tools lays into the reserve, and what /proc/vmcore makes of them.
//
// In RAM: a PT_NOTE for each CPU's crash_notes, a PT_LOAD for each range of memory, p_offset being a physical address (low memory's
// that of its copy). /proc/vmcore: one PT_NOTE that has all notes, and PT_LOADs whose p_offset is a place in the file.
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";
import { ELF_BYTES, ElfWriter, PT_LOAD, PT_NOTE, type ProgramHeader } from "../../userspace/elf-writer.ts";
import { PLATFORMS } from "../../userspace/platform.ts";

const { headerBytes, programBytes } = ELF_BYTES[64];
const PAGE = 4096;

export interface Load {
  /** Physical address of the dead kernel's memory. */
  readonly physical: number;
  /** Where its bytes are now. */
  readonly from: number;
  readonly bytes: number;
}
export interface Note {
  readonly at: number;
  readonly bytes: number;
}

/** All of a range is in the file: one length for both. */
const header = (type: number, offset: number, virtual: bigint, physical: number, bytes: number): ProgramHeader => ({
  ...{ type, offset, virtual, physical, fileBytes: bytes, memoryBytes: bytes, align: 0 },
});

function elfHeaders(headers: readonly ProgramHeader[], room: number): Uint8Array {
  const bytes = new Uint8Array(room);
  const writer = new ElfWriter(bytes, true, true);
  writer.header({ machine: PLATFORMS.x86_64.elfMachine, count: headers.length });
  headers.forEach((entry, i) => writer.programHeader(headerBytes + i * programBytes, entry));
  return bytes;
}

/** The segment for the reserve. `pageOffset`: where the kernel's direct map starts. */
export const elfcorehdrOf = (notes: readonly Note[], loads: readonly Load[], pageOffset: bigint): Uint8Array =>
  elfHeaders(
    [
      ...notes.map(({ at, bytes }) => header(PT_NOTE, at, 0n, at, bytes)),
      ...loads.map(({ physical, from, bytes }) =>
        header(PT_LOAD, from, pageOffset + BigInt(physical), physical, bytes),
      ),
    ],
    headerBytes + (notes.length + loads.length) * programBytes,
  );

/** /proc/vmcore: what stands before memory, a multiple of a page, and the memory behind it in order. */
export interface Vmcore {
  readonly head: Uint8Array;
  readonly loads: readonly Load[];
  readonly bytes: number;
}

/** parse_crash_elf_headers() and merge_note_headers(): reads the headers at `at` in RAM. */
export function openVmcore(memory: PhysicalMemory, at: number): Vmcore {
  const count = memory.read16(at + 56);
  const notes: Uint8Array[] = [];
  const loads: (Load & { readonly virtual: bigint })[] = [];
  for (let i = 0; i < count; i++) {
    const entry = new Uint8Array(programBytes);
    memory.readBytes(at + headerBytes + i * programBytes, entry);
    const view = new DataView(entry.buffer);
    const [from, physical, bytes] = [8, 24, 32].map((field) => Number(view.getBigUint64(field, true))) as [
      number,
      number,
      number,
    ];
    if (view.getUint32(0, true) === PT_LOAD) {
      loads.push({ physical, from, bytes, virtual: view.getBigUint64(16, true) });
      continue;
    }
    const note = new Uint8Array(bytes);
    memory.readBytes(from, note);
    // A note whose name has no length is the end of a CPU's notes: one that saved nothing has none.
    if (note.some((byte) => byte !== 0)) notes.push(note);
  }
  const noteBytes = notes.reduce((sum, note) => sum + note.length, 0);
  const notesAt = headerBytes + (loads.length + 1) * programBytes;
  const headBytes = Math.ceil((notesAt + noteBytes) / PAGE) * PAGE;
  let offset = headBytes;
  const headers = [header(PT_NOTE, notesAt, 0n, 0, noteBytes)];
  for (const { physical, bytes, virtual } of loads) {
    headers.push(header(PT_LOAD, offset, virtual, physical, bytes));
    offset += bytes;
  }
  const head = elfHeaders(headers, headBytes);
  let to = notesAt;
  for (const note of notes) {
    head.set(note, to);
    to += note.length;
  }
  return { head, loads, bytes: offset };
}
