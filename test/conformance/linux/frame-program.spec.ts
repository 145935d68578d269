// Goal: the program keeps what it receives, sends it back, and ends at the mark or with the errno. Method: a processor that knows just the
// instructions it is made of runs it; system calls are looked at. (Real Linux runs it in the conformance suites.)
import { describe, expect, test } from "vitest";
import { ETHERTYPE, HEADER_BYTES, LAST_MARK, frameProgram } from "./frame-program.ts";
import { LOAD_ADDRESS } from "./machine-code.ts";

const [EAX, ECX, EDX, EBX, EBP, ESI, EDI] = [0, 1, 2, 3, 5, 6, 7];
const SYS = { exit: 1, write: 4, socket: 359, sendto: 369, recvfrom: 371 };
const ENETDOWN = 100;
const EPERM = 1;
const SOCKET_FILE = 3;
const ADDRESS = Uint8Array.from({ length: 20 }, (_, i) => 0xa0 + i);

interface Outside {
  /** Frames that come in; behind the last one the call fails. */
  readonly frames: readonly Uint8Array[];
  readonly socket?: number;
  readonly send?: number;
}

function run({ frames, socket = SOCKET_FILE, send }: Outside): {
  output: number[];
  sent: Uint8Array[];
  status: number;
} {
  const file = frameProgram();
  const header = new DataView(file.buffer);
  const memory = new Uint8Array(header.getUint32(header.getUint32(28, true) + 20, true));
  memory.set(file);
  const view = new DataView(memory.buffer);
  const at = (address: number): number => address - LOAD_ADDRESS;
  const registers = new Int32Array(8);
  const output: number[] = [];
  const sent: Uint8Array[] = [];
  const waiting = [...frames];
  let status: number | undefined;

  const systemCall = (): number => {
    const [first, second, third] = [registers[EBX]!, registers[ECX]!, registers[EDX]!];
    switch (registers[EAX]) {
      case SYS.socket:
        // AF_PACKET, SOCK_RAW, the type as it goes over the wire.
        expect([first, second, third]).toEqual([17, 3, ((ETHERTYPE & 0xff) << 8) | (ETHERTYPE >> 8)]);
        return socket;
      case SYS.recvfrom: {
        expect([first, registers[ESI], view.getUint32(at(registers[EBP]!), true)]).toEqual([SOCKET_FILE, 0, 20]);
        const frame = waiting.shift();
        if (!frame) return -ENETDOWN;
        expect(third).toBeGreaterThanOrEqual(1514);
        memory.set(frame, at(second));
        memory.set(ADDRESS, at(registers[EDI]!));
        return frame.length;
      }
      case SYS.sendto: {
        expect([first, registers[ESI], registers[EBP]]).toEqual([SOCKET_FILE, 0, 20]);
        const address = at(registers[EDI]!);
        expect(memory.slice(address, address + 20)).toEqual(ADDRESS);
        sent.push(memory.slice(at(second), at(second) + third));
        return send ?? third;
      }
      case SYS.write:
        expect(first).toBe(1);
        output.push(...memory.subarray(at(second), at(second) + third));
        return third;
      case SYS.exit:
        status = first;
        return 0;
      default:
        throw new Error(`system call ${registers[EAX]}`);
    }
  };

  let ip = at(header.getUint32(24, true));
  let [zero, negative] = [false, false];
  const next32 = (): number => view.getInt32((ip += 4) - 4, true);
  for (let steps = 0; status === undefined; steps++) {
    if (steps > 1000) throw new Error("the program does not end");
    const narrow = memory[ip] === 0x66;
    if (narrow) ip++;
    const opcode = memory[ip++]!;
    const operand = memory[ip]!;
    const register = (operand >> 3) & 7;
    if (opcode >= 0xb8 && opcode <= 0xbf) registers[opcode - 0xb8] = next32();
    else if (opcode === 0xcd) {
      ip++;
      registers[EAX] = systemCall();
    } else if ((opcode === 0x8b || opcode === 0x89) && (operand & 0xc7) === 5) {
      ip++;
      const address = at(next32());
      if (opcode === 0x89 && narrow) view.setUint16(address, registers[register]!, true);
      else if (opcode === 0x89) view.setInt32(address, registers[register]!, true);
      else if (narrow) registers[register] = (registers[register]! & ~0xffff) | view.getUint16(address, true);
      else registers[register] = view.getInt32(address, true);
    } else if (opcode === 0x89 && operand === 0xc3) registers[EBX] = [ip++, registers[EAX]!][1]!;
    else if (opcode === 0x8d && operand === 0x50) registers[EDX] = registers[EAX]! + memory[(ip += 2) - 1]!;
    else if (opcode === 0xc7 && operand === 5) {
      ip++;
      const address = at(next32());
      view.setInt32(address, next32(), true);
    } else if (opcode === 0x80 && operand === 0x3d) {
      ip++;
      const address = at(next32());
      zero = memory[address] === memory[ip++];
    } else if (opcode === 0x85 && operand === 0xc0) [negative, ip] = [registers[EAX]! < 0, ip + 1];
    else if (opcode === 0x0f && (operand === 0x88 || operand === 0x84)) {
      ip++;
      const distance = next32();
      if (operand === 0x88 ? negative : zero) ip += distance;
    } else if (opcode === 0xe9) {
      const distance = next32();
      ip += distance;
    } else if (opcode === 0xf7 && operand === 0xd8) registers[EAX] = [ip++, -registers[EAX]!][1]!;
    else if (opcode === 0x31 && operand === 0xc0) registers[EAX] = [ip++, 0][1]!;
    else throw new Error(`instruction 0x${opcode.toString(16)} 0x${operand.toString(16)}`);
  }
  return { output, sent, status };
}

const frameOf = (bytes: number, mark: number): Uint8Array =>
  Uint8Array.from({ length: bytes }, (_, i) => (i === HEADER_BYTES ? mark : (i * 3 + bytes) & 0xff));
const record = (frame: Uint8Array): number[] => [frame.length & 0xff, frame.length >> 8, 0, 0, ...frame];

describe("the program that sends frames back", () => {
  test("writes each frame behind its length and returns it with its addresses exchanged, until the mark", () => {
    const frames = [frameOf(60, 1), frameOf(1514, 2), frameOf(61, LAST_MARK), frameOf(62, 3)];
    const { output, sent, status } = run({ frames });
    expect(status).toBe(0);
    expect(output).toEqual(frames.slice(0, 3).flatMap(record));
    expect(sent).toEqual(
      frames
        .slice(0, 2)
        .map((frame) => Uint8Array.of(...frame.slice(6, 12), ...frame.slice(0, 6), ...frame.slice(HEADER_BYTES - 2))),
    );
  });

  test.each([
    ["the socket cannot be had", { frames: [], socket: -EPERM }, EPERM],
    ["nothing can be received", { frames: [frameOf(60, 1)] }, ENETDOWN],
    ["a frame cannot be sent", { frames: [frameOf(60, 1)], send: -ENETDOWN }, ENETDOWN],
  ])("ends with the errno when %s", (_what, outside, errno) => {
    expect(run(outside).status).toBe(errno);
  });
});
