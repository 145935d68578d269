// Text in RAM.
import { M } from "../abi/ram.ts";

/** Writes `text` into a char array of `room` bytes: cut to fit, NUL-terminated, the rest zeroed. Pays nothing. */
export function pokeString(at: number, text: string, room: number): void {
  for (let i = 0; i < room; i++) M.u8[at + i] = i < text.length && i < room - 1 ? text.charCodeAt(i) : 0;
}

/** The text at `at`, up to its NUL, at most `most` bytes. */
export function peekString(at: number, most = 256): string {
  let text = "";
  for (let i = 0; i < most && M.u8[at + i] !== 0; i++) text += String.fromCharCode(M.u8[at + i]!);
  return text;
}
