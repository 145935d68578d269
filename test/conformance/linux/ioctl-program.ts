// A program for the guest that does one ioctl, because busybox has none: 32-bit x86 code in an ELF file of one segment.
//
//   ioctl DEVICE < request > result
//
// `request` is the ioctl's number (4 bytes, little endian) and its argument, which lies at IOCTL_ARGUMENT when the call is
// made, so that pointers in it can be absolute. `result` is the argument afterwards (ARGUMENT_BYTES). The exit status is
// 0, or the errno.
import { EBX, ECX, EDX, LOAD_ADDRESS, little32, programFile, set, systemCall } from "./machine-code.ts";

/** Where the argument lies in the program's memory. */
export const IOCTL_ARGUMENT = 0x0804a004;
const REQUEST = IOCTL_ARGUMENT - 4;
export const ARGUMENT_BYTES = 4096;

const MEMORY_BYTES = REQUEST - LOAD_ADDRESS + 4 + ARGUMENT_BYTES;

const SYS = { exit: 1, read: 3, write: 4, open: 5, ioctl: 54 } as const;
const O_RDWR_NONBLOCK = 0x802;

/** After the open: the call itself, with its result in eax. */
const transfer = [
  ...[0x89, 0xc6], // mov esi, eax: the file
  ...set(EBX, 0),
  ...set(ECX, REQUEST),
  ...set(EDX, 4 + ARGUMENT_BYTES),
  ...systemCall(SYS.read),
  ...[0x89, 0xf3], // mov ebx, esi
  ...[0x8b, 0x0d, ...little32(REQUEST)], // mov ecx, [request]
  ...set(EDX, IOCTL_ARGUMENT),
  ...systemCall(SYS.ioctl),
  ...[0x89, 0xc6], // mov esi, eax: the result
  ...set(EBX, 1),
  ...set(ECX, IOCTL_ARGUMENT),
  ...set(EDX, ARGUMENT_BYTES),
  ...systemCall(SYS.write),
  ...[0x89, 0xf0], // mov eax, esi
];

const code = [
  ...[0x8b, 0x5c, 0x24, 0x08], // mov ebx, [esp+8]: argv[1]
  ...set(ECX, O_RDWR_NONBLOCK),
  ...systemCall(SYS.open),
  ...[0x85, 0xc0], // test eax, eax
  ...[0x78, transfer.length], // js over the transfer
  ...transfer,
  ...[0xf7, 0xd8], // neg eax
  ...[0x89, 0xc3], // mov ebx, eax: the exit status
  ...systemCall(SYS.exit),
];

/** The program as a file. */
export const ioctlProgram = (): Uint8Array => programFile(code, MEMORY_BYTES);

/** What the program reads: the ioctl's number and its argument. */
export function ioctlRequest(number: number, argument: Uint8Array): Uint8Array {
  const bytes = new Uint8Array(4 + argument.length);
  new DataView(bytes.buffer).setUint32(0, number, true);
  bytes.set(argument, 4);
  return bytes;
}
