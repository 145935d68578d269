// Stack frames where x86_64's short way (kfunc.ts) is not taken: other platforms, the beginning of a stack, and reading frames back.
import type { Cpu } from "../../emulator/cpu/cpu.ts";
import { M, peekPtr, pokePtr } from "../abi/ram.ts";
import { PPC64_FRAME_BYTES, PPC64_LINK_OFFSET } from "./text.ts";

/** The frames of other platforms: i386's and ia64's like x86_64's, ppc64's as its ABI has them. */
export function pushFrame(c: Cpu, returns: number): void {
  const { fp } = c;
  if (!M.little) {
    // The link register goes into the caller's frame; r1 points at the chain, whatever lies below it.
    pokePtr(fp + PPC64_LINK_OFFSET, returns);
    c.sp -= PPC64_FRAME_BYTES;
    pokePtr(c.sp, fp);
  } else {
    const word = M.word8 ? 8 : 4;
    c.sp -= 2 * word;
    pokePtr(c.sp, fp);
    pokePtr(c.sp + word, returns);
  }
  c.fp = c.sp;
}

export function popFrame(c: Cpu): void {
  const { fp } = c;
  c.fp = peekPtr(fp);
  c.sp = fp + (M.little ? (M.word8 ? 16 : 8) : PPC64_FRAME_BYTES);
}

/**
 * A CPU or task is to begin on a stack whose free part ends at `top`: nobody called what it runs there. ppc64 keeps a
 * function's return address in its caller's frame, so that there must be one.
 */
export function beginStack(registers: { sp: number; fp: number }, top: number): void {
  registers.sp = top;
  registers.fp = 0;
  if (M.little) return;
  registers.sp -= PPC64_FRAME_BYTES;
  registers.fp = registers.sp;
  pokePtr(registers.sp, 0);
}

/** The frame whose chain word is at `frame`: where it returns to (physical), and its caller's frame (0: none). */
export function frameAt(frame: number): { readonly returns: number; readonly next: number } {
  const next = peekPtr(frame);
  if (!M.little) return { returns: next === 0 ? 0 : peekPtr(next + PPC64_LINK_OFFSET), next };
  return { returns: peekPtr(frame + (M.word8 ? 8 : 4)), next };
}
