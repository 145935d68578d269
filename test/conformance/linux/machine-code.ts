// What the programs for the guest are made of: 32-bit x86 code in an ELF file of one segment, readable, writable and executable.
// Sources: Intel 64 and IA-32 Architectures Software Developer's Manual, volume 2; System V ABI, chapter 4.

export const LOAD_ADDRESS = 0x08048000;
const ELF_HEADER_BYTES = 52;
const PROGRAM_HEADER_BYTES = 32;
const CODE_OFFSET = ELF_HEADER_BYTES + PROGRAM_HEADER_BYTES;

export const EAX = 0;
export const ECX = 1;
export const EDX = 2;
export const EBX = 3;
export const EBP = 5;
export const ESI = 6;
export const EDI = 7;

export const little32 = (value: number): number[] => [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff);
/** mov register, value */
export const set = (register: number, value: number): number[] => [0xb8 + register, ...little32(value)];
/** mov register, [address] and mov [address], register */
export const fetch = (register: number, address: number): number[] => [
  0x8b,
  0x05 | (register << 3),
  ...little32(address),
];
export const keep = (register: number, address: number): number[] => [
  0x89,
  0x05 | (register << 3),
  ...little32(address),
];
/** int 80h: what is called, and its arguments but for those that are in their registers already. */
export const systemCall = (number: number): number[] => [...set(EAX, number), 0xcd, 0x80];

/** A program as a file: `code` from its first byte on, `memoryBytes` of memory from LOAD_ADDRESS on. */
export function programFile(code: readonly number[], memoryBytes: number): Uint8Array {
  const bytes = new Uint8Array(CODE_OFFSET + code.length);
  const view = new DataView(bytes.buffer);
  bytes.set([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  view.setUint16(16, 2, true); // ET_EXEC
  view.setUint16(18, 3, true); // EM_386
  view.setUint32(20, 1, true);
  view.setUint32(24, LOAD_ADDRESS + CODE_OFFSET, true);
  view.setUint32(28, ELF_HEADER_BYTES, true);
  view.setUint16(40, ELF_HEADER_BYTES, true);
  view.setUint16(42, PROGRAM_HEADER_BYTES, true);
  view.setUint16(44, 1, true);
  const segment = [1, 0, LOAD_ADDRESS, LOAD_ADDRESS, bytes.length, memoryBytes, 7, 0x1000];
  segment.forEach((word, i) => view.setUint32(ELF_HEADER_BYTES + 4 * i, word, true));
  bytes.set(code, CODE_OFFSET);
  return bytes;
}
