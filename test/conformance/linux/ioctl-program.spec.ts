// Goal: the program does the one ioctl it is told, and nothing else. Method: its file is loaded as a kernel would, and a processor that
// knows just the instructions it is made of runs it; system calls are looked at. (Real Linux runs it in the conformance suites.)
import { describe, expect, test } from "vitest";
import { ARGUMENT_BYTES, IOCTL_ARGUMENT, ioctlProgram, ioctlRequest } from "./ioctl-program.ts";

const [EAX, ECX, EDX, EBX, ESP] = [0, 1, 2, 3, 4];
const SYS = { exit: 1, read: 3, write: 4, open: 5, ioctl: 54 };
const ENOENT = 2;
const EIO = 5;
const O_RDWR = 2;
const DEVICE_FILE = 7;

interface Outside {
  /** What lies on standard input. */
  readonly input: Uint8Array;
  /** The device: changes the argument; returns 0 or a negative errno. */
  readonly ioctl: (number: number, argument: Uint8Array) => number;
  /** A negative errno when the device cannot be opened. */
  readonly open?: number;
}

interface Run {
  readonly calls: string[];
  readonly output: Uint8Array;
  readonly status: number;
}

/** The program's segment in memory, with what the file does not hold as zeroes. */
function load(file: Uint8Array): { memory: Map<number, number>; entry: number; start: number; end: number } {
  const view = new DataView(file.buffer, file.byteOffset, file.byteLength);
  expect([...file.subarray(0, 7)]).toEqual([0x7f, 0x45, 0x4c, 0x46, 1, 1, 1]);
  // ET_EXEC for the 386; one program header, PT_LOAD.
  expect([view.getUint16(16, true), view.getUint16(18, true), view.getUint16(44, true)]).toEqual([2, 3, 1]);
  const header = view.getUint32(28, true);
  const word = (n: number): number => view.getUint32(header + 4 * n, true);
  expect(word(0)).toBe(1);
  const [offset, start, fileBytes, memoryBytes, align] = [word(1), word(2), word(4), word(5), word(7)];
  expect(offset % align).toBe(start % align);
  expect(memoryBytes).toBeGreaterThanOrEqual(fileBytes);
  const memory = new Map<number, number>();
  for (let i = 0; i < memoryBytes; i++) memory.set(start + i, i < fileBytes ? file[offset + i]! : 0);
  return { memory, entry: view.getUint32(24, true), start, end: start + memoryBytes };
}

function run(device: string, outside: Outside): Run {
  const { memory, entry, start, end } = load(ioctlProgram());
  const get = (at: number): number => {
    const byte = memory.get(at);
    if (byte === undefined) throw new Error(`nothing is mapped at 0x${at.toString(16)}`);
    return byte;
  };
  const get32 = (at: number): number =>
    (get(at) | (get(at + 1) << 8) | (get(at + 2) << 16) | (get(at + 3) << 24)) >>> 0;
  const put = (at: number, bytes: Iterable<number>): void => {
    for (const byte of bytes) memory.set(at++, byte);
  };
  const put32 = (at: number, value: number): void =>
    put(
      at,
      [0, 8, 16, 24].map((shift) => (value >>> shift) & 0xff),
    );
  const name = 0xbfff0100;
  const stack = 0xbfff0000;
  put(name, new TextEncoder().encode(`${device}\0`));
  [2, 0xbfff00f0, name, 0].forEach((word, i) => put32(stack + 4 * i, word));

  const registers = new Uint32Array(8);
  registers[ESP] = stack;
  const calls: string[] = [];
  const output: number[] = [];
  let status: number | undefined;
  let flags = 0;

  const within = (at: number, length: number): void => {
    if (at < start || at + length > end) throw new Error("a buffer outside of the program");
  };
  const systemCall = (): number => {
    const [number, first, second, third] = [registers[EAX]!, registers[EBX]!, registers[ECX]!, registers[EDX]!];
    switch (number) {
      case SYS.open: {
        let path = "";
        for (let at = first; get(at) !== 0; at++) path += String.fromCharCode(get(at));
        calls.push(`open ${path} ${second & 3}`);
        return outside.open ?? DEVICE_FILE;
      }
      case SYS.read:
        within(second, third);
        calls.push(`read ${first}`);
        put(second, outside.input.subarray(0, third));
        return Math.min(third, outside.input.length);
      case SYS.write:
        within(second, third);
        calls.push(`write ${first} ${third}`);
        for (let i = 0; i < third; i++) output.push(get(second + i));
        return third;
      case SYS.ioctl: {
        within(third, ARGUMENT_BYTES);
        calls.push(`ioctl ${first} 0x${second.toString(16)} at 0x${third.toString(16)}`);
        const argument = Uint8Array.from({ length: ARGUMENT_BYTES }, (_, i) => get(third + i));
        const result = outside.ioctl(second, argument);
        put(third, argument);
        return result;
      }
      case SYS.exit:
        status = first & 0xff;
        return 0;
      default:
        throw new Error(`system call ${number}`);
    }
  };

  let at = entry;
  for (let steps = 0; status === undefined; steps++) {
    if (steps > 100) throw new Error("the program does not end");
    const opcode = get(at);
    const next = get(at + 1);
    if (opcode >= 0xb8 && opcode <= 0xbf) {
      registers[opcode - 0xb8] = get32(at + 1);
      at += 5;
    } else if (opcode === 0xcd && next === 0x80) {
      registers[EAX] = systemCall() >>> 0;
      at += 2;
    } else if (opcode === 0x89 && next >= 0xc0) {
      registers[next & 7] = registers[(next >> 3) & 7]!;
      at += 2;
    } else if (opcode === 0x8b && next === 0x5c && get(at + 2) === 0x24) {
      registers[EBX] = get32(registers[ESP]! + get(at + 3));
      at += 4;
    } else if (opcode === 0x8b && next === 0x0d) {
      registers[ECX] = get32(get32(at + 2));
      at += 6;
    } else if (opcode === 0x85 && next === 0xc0) {
      flags = registers[EAX]! | 0;
      at += 2;
    } else if (opcode === 0x78) at += 2 + (flags < 0 ? next : 0);
    else if (opcode === 0xf7 && next === 0xd8) {
      registers[EAX] = -registers[EAX]! >>> 0;
      at += 2;
    } else throw new Error(`instruction ${opcode.toString(16)} ${next.toString(16)} at 0x${at.toString(16)}`);
  }
  return { calls, output: Uint8Array.from(output), status };
}

describe("ioctl DEVICE", () => {
  test("hands the request to the device and prints the argument as the device left it", () => {
    const seen: number[][] = [];
    const input = ioctlRequest(0x2285, Uint8Array.of(1, 2, 3, 4));
    const { calls, output, status } = run("/dev/sda", {
      input,
      ioctl(number, argument) {
        seen.push([number, ...argument.subarray(0, 6)]);
        argument.set([9, 8], 1);
        argument[ARGUMENT_BYTES - 1] = 0x55;
        return 0;
      },
    });
    expect(seen).toEqual([[0x2285, 1, 2, 3, 4, 0, 0]]);
    expect([...output.subarray(0, 6)]).toEqual([1, 9, 8, 4, 0, 0]);
    expect(output).toHaveLength(ARGUMENT_BYTES);
    expect(output.at(-1)).toBe(0x55);
    expect(status).toBe(0);
    expect(calls).toEqual([
      `open /dev/sda ${O_RDWR}`,
      "read 0",
      `ioctl ${DEVICE_FILE} 0x2285 at 0x${IOCTL_ARGUMENT.toString(16)}`,
      `write 1 ${ARGUMENT_BYTES}`,
    ]);
  });

  test("takes an argument as long as it can be", () => {
    const argument = Uint8Array.from({ length: ARGUMENT_BYTES }, (_, i) => i & 0xff);
    const { output } = run("/dev/sda", { input: ioctlRequest(0x12345678, argument), ioctl: () => 0 });
    expect(output).toEqual(argument);
  });

  test("ends with the errno of an ioctl that failed, and prints the argument all the same", () => {
    const { status, output } = run("/dev/sda", { input: ioctlRequest(1, Uint8Array.of(5)), ioctl: () => -EIO });
    expect(status).toBe(EIO);
    expect(output[0]).toBe(5);
  });

  test("ends with the errno of a device that cannot be opened, without an ioctl", () => {
    const never = (): number => {
      throw new Error("an ioctl on nothing");
    };
    const { status, calls } = run("/dev/none", {
      input: ioctlRequest(1, new Uint8Array(4)),
      ioctl: never,
      open: -ENOENT,
    });
    expect(status).toBe(ENOENT);
    expect(calls).toEqual([`open /dev/none ${O_RDWR}`]);
  });
});
