// The header of a reply, in RAM: what netdump's client sends, and LKCD's.
import { step } from "../../../../emulator/cpu/cpu.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";

const PUT_NS = 20;

/** Lays `version`, and the reply's number, code and info in network byte order, at `at` in the buffer. */
export function put_reply_header(at: number, version: number, nr: number, code: number, info: number): void {
  const { view } = M;
  step(PUT_NS);
  view.setUint8(at, version);
  view.setUint32(at + 1, nr);
  view.setUint32(at + 5, code);
  view.setUint32(at + 9, info);
}
