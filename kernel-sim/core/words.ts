// An unsigned long in RAM: from numbers, which hold what fits a double, and from bigints.
import { M, peek32, poke32, poke64 } from "../abi/ram.ts";

export const pokeLong = (at: number, value: number): void => (M.word8 ? poke64(at, value) : poke32(at, value));
/** Stores an unsigned long that need not fit a double, modulo the platform's word. */
export function pokeWord(at: number, value: bigint): void {
  const low = Number(BigInt.asUintN(32, value));
  if (!M.word8) {
    poke32(at, low);
    return;
  }
  poke32(at + (M.little ? 0 : 4), low);
  poke32(at + (M.little ? 4 : 0), Number(BigInt.asUintN(32, value >> 32n)));
}
/** The word at `at` as an unsigned number; exact up to 2^53. */
export function peekLong(at: number): number {
  if (!M.word8) return peek32(at) >>> 0;
  const [low, high] = M.little ? [0, 4] : [4, 0];
  return (peek32(at + high) >>> 0) * 4294967296 + (peek32(at + low) >>> 0);
}
