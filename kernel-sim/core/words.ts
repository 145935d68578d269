// An unsigned long in RAM, from JavaScript numbers: what fits a double.
import { M, peek32, poke32, poke64 } from "../abi/ram.ts";

export const pokeLong = (at: number, value: number): void => (M.word8 ? poke64(at, value) : poke32(at, value));
/** The word at `at` as an unsigned number; exact up to 2^53. */
export function peekLong(at: number): number {
  if (!M.word8) return peek32(at) >>> 0;
  const [low, high] = M.little ? [0, 4] : [4, 0];
  return (peek32(at + high) >>> 0) * 4294967296 + (peek32(at + low) >>> 0);
}
