// The ELF headers that kexec-tools lays into the reserve, and what /proc/vmcore makes of them.
//
// In RAM: a PT_NOTE for each CPU's crash_notes, a PT_LOAD for each range of memory, p_offset being a physical address (low memory's
// that of its copy). /proc/vmcore: one PT_NOTE that has all notes, and PT_LOADs whose p_offset is a place in the file.
import type { PhysicalMemory } from "../../../emulator/memory/memory.ts";

const PT_LOAD = 1;
const PT_NOTE = 4;
const EHDR_BYTES = 64;
const PHDR_BYTES = 56;
const EM_X86_64 = 62;
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

interface Header {
  readonly type: number;
  readonly offset: number;
  readonly virtual: bigint;
  readonly physical: number;
  readonly bytes: number;
}

function elfHeaders(headers: readonly Header[], room: number): Uint8Array {
  const bytes = new Uint8Array(room);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 2, 1, 1]);
  view.setUint16(16, 4, true);
  view.setUint16(18, EM_X86_64, true);
  view.setUint32(20, 1, true);
  view.setBigUint64(32, BigInt(EHDR_BYTES), true);
  view.setUint16(52, EHDR_BYTES, true);
  view.setUint16(54, PHDR_BYTES, true);
  view.setUint16(56, headers.length, true);
  headers.forEach((header, i) => {
    const at = EHDR_BYTES + i * PHDR_BYTES;
    view.setUint32(at, header.type, true);
    view.setUint32(at + 4, header.type === PT_LOAD ? 7 : 0, true);
    view.setBigUint64(at + 8, BigInt(header.offset), true);
    view.setBigUint64(at + 16, header.virtual, true);
    view.setBigUint64(at + 24, BigInt(header.physical), true);
    view.setBigUint64(at + 32, BigInt(header.bytes), true);
    view.setBigUint64(at + 40, BigInt(header.bytes), true);
  });
  return bytes;
}

/** The segment for the reserve. `pageOffset`: where the kernel's direct map starts. */
export const elfcorehdrOf = (notes: readonly Note[], loads: readonly Load[], pageOffset: bigint): Uint8Array =>
  elfHeaders(
    [
      ...notes.map(({ at, bytes }) => ({ type: PT_NOTE, offset: at, virtual: 0n, physical: at, bytes })),
      ...loads.map(({ physical, from, bytes }) => ({
        ...{ type: PT_LOAD, offset: from, virtual: pageOffset + BigInt(physical), physical, bytes },
      })),
    ],
    EHDR_BYTES + (notes.length + loads.length) * PHDR_BYTES,
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
    const entry = new Uint8Array(PHDR_BYTES);
    memory.readBytes(at + EHDR_BYTES + i * PHDR_BYTES, entry);
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
  const notesAt = EHDR_BYTES + (loads.length + 1) * PHDR_BYTES;
  const headBytes = Math.ceil((notesAt + noteBytes) / PAGE) * PAGE;
  let offset = headBytes;
  const headers: Header[] = [{ type: PT_NOTE, offset: notesAt, virtual: 0n, physical: 0, bytes: noteBytes }];
  for (const { physical, bytes, virtual } of loads) {
    headers.push({ type: PT_LOAD, offset, virtual, physical, bytes });
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
