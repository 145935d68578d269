// A program for the guest that sends back what it receives, frame for frame, below every protocol:
//
//   frames > received
//
// It takes the frames of ETHERTYPE on any interface, writes each to its output (length in 4 bytes, little endian, and the frame) and
// sends it back with its two addresses exchanged. A frame whose first byte behind the header is LAST_MARK is written, not sent back, and
// ends the program. The exit status is 0, or the errno of what failed.
// Source: packet(7); the calls' numbers: arch/x86/entry/syscalls/syscall_32.tbl of the kernel.
import {
  EAX,
  EBP,
  EBX,
  ECX,
  EDI,
  EDX,
  ESI,
  LOAD_ADDRESS,
  fetch,
  keep,
  little32,
  programFile,
  set,
  systemCall,
} from "./machine-code.ts";

/** For local experiments. [IEEE 802, 9.2.3] */
export const ETHERTYPE = 0x88b5;
export const LAST_MARK = 0xff;
export const HEADER_BYTES = 14;

const SYS = { exit: 1, write: 4, socket: 359, sendto: 369, recvfrom: 371 } as const;
const AF_PACKET = 17;
const SOCK_RAW = 3;
const MOST_BYTES = 2048;
/** struct sockaddr_ll */
const ADDRESS_BYTES = 20;

const SOCKET = LOAD_ADDRESS + 0x1000;
const ADDRESS_LENGTH = SOCKET + 4;
const ADDRESS = ADDRESS_LENGTH + 4;
/** The frame's length, and behind it the frame. */
const LENGTH = ADDRESS + ADDRESS_BYTES;
const FRAME = LENGTH + 4;
const MEMORY_BYTES = FRAME + MOST_BYTES - LOAD_ADDRESS;

const networkOrder = (value: number): number => ((value & 0xff) << 8) | (value >>> 8);
const OPERAND_16 = 0x66;

const open = [
  ...set(EBX, AF_PACKET),
  ...set(ECX, SOCK_RAW),
  ...set(EDX, networkOrder(ETHERTYPE)),
  ...systemCall(SYS.socket),
];
const start = keep(EAX, SOCKET);
const receive = [
  ...[0xc7, 0x05, ...little32(ADDRESS_LENGTH), ...little32(ADDRESS_BYTES)], // mov dword [ADDRESS_LENGTH], ADDRESS_BYTES
  ...fetch(EBX, SOCKET),
  ...set(ECX, FRAME),
  ...set(EDX, MOST_BYTES),
  ...set(ESI, 0),
  ...set(EDI, ADDRESS),
  ...set(EBP, ADDRESS_LENGTH),
  ...systemCall(SYS.recvfrom),
];
const report = [
  ...keep(EAX, LENGTH),
  ...[0x8d, 0x50, 0x04], // lea edx, [eax+4]
  ...set(EBX, 1),
  ...set(ECX, LENGTH),
  ...systemCall(SYS.write),
];
const isLast = [0x80, 0x3d, ...little32(FRAME + HEADER_BYTES), LAST_MARK]; // cmp byte [FRAME+14], LAST_MARK
const answer = [
  ...[...fetch(EAX, FRAME), ...fetch(ECX, FRAME + 6), ...keep(ECX, FRAME), ...keep(EAX, FRAME + 6)],
  ...[OPERAND_16, ...fetch(EAX, FRAME + 4), OPERAND_16, ...fetch(ECX, FRAME + 10)],
  ...[OPERAND_16, ...keep(ECX, FRAME + 4), OPERAND_16, ...keep(EAX, FRAME + 10)],
  ...fetch(EBX, SOCKET),
  ...set(ECX, FRAME),
  ...fetch(EDX, LENGTH),
  ...set(ESI, 0),
  ...set(EDI, ADDRESS),
  ...set(EBP, ADDRESS_BYTES),
  ...systemCall(SYS.sendto),
];
const exit = [0x89, 0xc3, ...systemCall(SYS.exit)]; // mov ebx, eax
const failed = [0xf7, 0xd8, ...exit]; // neg eax
const ended = [0x31, 0xc0, ...exit]; // xor eax, eax

/** test eax, eax; js and je with a distance of 32 bits; jmp. */
const TEST_BYTES = 2;
const CONDITIONAL_BYTES = 6;
const JUMP_BYTES = 5;
const LOOP_AT = open.length + TEST_BYTES + CONDITIONAL_BYTES + start.length;

/** The program's parts in their order, with the jumps between them. */
function assemble(): number[] {
  const guard = TEST_BYTES + CONDITIONAL_BYTES;
  const failedAt =
    LOOP_AT +
    receive.length +
    guard +
    report.length +
    isLast.length +
    CONDITIONAL_BYTES +
    answer.length +
    guard +
    JUMP_BYTES;
  const endedAt = failedAt + failed.length;
  const code: number[] = [];
  const jump = (opcode: readonly number[], to: number): void => {
    code.push(...opcode, ...little32(to - (code.length + opcode.length + 4)));
  };
  const failsIfNegative = (): void => {
    code.push(0x85, 0xc0);
    jump([0x0f, 0x88], failedAt);
  };
  code.push(...open);
  failsIfNegative();
  code.push(...start, ...receive);
  failsIfNegative();
  code.push(...report, ...isLast);
  jump([0x0f, 0x84], endedAt);
  code.push(...answer);
  failsIfNegative();
  jump([0xe9], LOOP_AT);
  code.push(...failed, ...ended);
  return code;
}

/** The program as a file. */
export const frameProgram = (): Uint8Array => programFile(assemble(), MEMORY_BYTES);
