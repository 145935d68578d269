// The text of a kernel function, per architecture: what unwinders and disassemblers expect to find at its symbol. Nothing
// executes it. Every function is FUNCTION_BYTES long: a prologue, the function's number (so that texts differ), one call of
// whatever it calls, a call each of schedule() and schedule_timeout(), an epilogue.
import type { DataModel } from "../abi/types.ts";

export const FUNCTION_BYTES = 64;
/** A return address points this far into its function: behind the call instruction. */
export const RETURN_OFFSET = 32;
/** Where a CPU that is inside a function is shown to be. */
export const BODY_OFFSET = 16;
/** Return addresses of the calls that have a place of their own: analysts' tools look for the caller of schedule(). */
export const CALL_SITES = { schedule: 41, schedule_timeout: 48 } as const;
export type CallSite = keyof typeof CALL_SITES;

/** push %rbp; mov %rsp,%rbp; nopl number; call; leave; ret (i386: the same with 32-bit registers). */
function x86Text(id: number, move: readonly number[]): Uint8Array {
  const text = new Uint8Array(FUNCTION_BYTES).fill(0x90);
  text.set([0x55, ...move]);
  text.set([0x0f, 0x1f, 0x80], 9);
  new DataView(text.buffer).setUint32(12, id, true);
  text.set([0xe8, 0, 0, 0, 0], RETURN_OFFSET - 5);
  text.set([0xc9, 0xc3], FUNCTION_BYTES - 2);
  return text;
}

/** The stack frame of a ppc64 function without locals: 48 bytes of links and 64 of parameters (64-bit PowerPC ELF ABI, 3.2.2). */
export const PPC64_FRAME_BYTES = 112;
/** The link register is saved this far up in the caller's frame. */
export const PPC64_LINK_OFFSET = 16;

/** mflr r0; std r0,16(r1); stdu r1,-112(r1); the number in r12; bl; addi r1,r1,112; ld r0,16(r1); mtlr r0; blr. */
function ppc64Text(id: number): Uint8Array {
  const text = new Uint8Array(FUNCTION_BYTES);
  const view = new DataView(text.buffer);
  const instructions = [
    ...[0x7c0802a6, 0xf8010010, 0xf821ff91, 0x3d800000 | (id >>> 16), 0x618c0000 | (id & 0xffff), 0x60000000],
    ...[0x60000000, 0x48000001, 0x60000000, 0x60000000, 0x60000000, 0x60000000],
    ...[0x38210070, 0xe8010010, 0x7c0803a6, 0x4e800020],
  ];
  instructions.forEach((instruction, i) => view.setUint32(i * 4, instruction >>> 0, false));
  return text;
}

/** Bundles of nop.m with the number, nop.i, nop.i; at the end br.ret. No unwind information: none of our judges reads ia64's. */
function ia64Text(id: number): Uint8Array {
  const text = new Uint8Array(FUNCTION_BYTES);
  const view = new DataView(text.buffer);
  const nop = 1n << 27n;
  const bundle = (template: bigint, slots: readonly [bigint, bigint, bigint]): bigint =>
    template | (slots[0] << 5n) | (slots[1] << 46n) | (slots[2] << 87n);
  const numbered = nop | (BigInt(id & 0xfffff) << 6n);
  // MIB, br.ret.sptk.few b0
  const last = bundle(0x11n, [nop, nop, 0x108000100n]);
  for (let i = 0; i < 4; i++) {
    const value = i < 3 ? bundle(0n, [numbered, nop, nop]) : last;
    view.setBigUint64(i * 16, BigInt.asUintN(64, value), true);
    view.setBigUint64(i * 16 + 8, value >> 64n, true);
  }
  return text;
}

const texts = new WeakMap<DataModel, Uint8Array[]>();

/** The text of function number `id`; its calls lead nowhere yet. The same bytes each time: not to be changed. */
export function functionText(model: DataModel, id: number): Uint8Array {
  let known = texts.get(model);
  if (!known) texts.set(model, (known = []));
  return (known[id] ??= makeText(model, id));
}

function makeText(model: DataModel, id: number): Uint8Array {
  switch (model.name) {
    case "x86_64":
      return x86Text(id, [0x48, 0x89, 0xe5]);
    case "i386":
      return x86Text(id, [0x89, 0xe5]);
    case "ppc64":
      return ppc64Text(id);
    case "ia64":
      return ia64Text(id);
  }
}
