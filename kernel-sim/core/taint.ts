// What makes a kernel less trustworthy: tainted_mask and its letters (kernel/panic.c; the mask is that of later kernels, whose
// form crash reads, the bits are 2.6.9's).
import { tnt } from "../abi/structs/system.ts";
import { array, ulong } from "../abi/types.ts";
import { K, type Kernel } from "./kernel.ts";
import { peekLong, pokeLong } from "./words.ts";

export const TAINT_PROPRIETARY_MODULE = 0;
export const TAINT_FORCED_MODULE = 1;
export const TAINT_UNSAFE_SMP = 2;
export const TAINT_FORCED_RMMOD = 3;
export const TAINT_MACHINE_CHECK = 4;
export const TAINT_BAD_PAGE = 5;

/** Letter when the bit is set, and when it is not. */
const LETTERS: readonly (readonly [bit: number, set: string, clear: string])[] = [
  [TAINT_PROPRIETARY_MODULE, "P", "G"],
  [TAINT_FORCED_MODULE, "F", " "],
  [TAINT_UNSAFE_SMP, "S", " "],
  [TAINT_FORCED_RMMOD, "R", " "],
  [TAINT_MACHINE_CHECK, "M", " "],
  [TAINT_BAD_PAGE, "B", " "],
];

export function init_taint(k: Kernel): void {
  k.static("tainted_mask", ulong);
  const table = k.static("tnts", array(tnt, LETTERS.length));
  LETTERS.forEach(([bit, set, clear], i) => {
    const entry = k.view(tnt, table + i * k.sizeOf(tnt));
    entry.bit = bit;
    entry.true = set.charCodeAt(0);
    entry.false = clear.charCodeAt(0);
  });
}

/** Context: any. */
export function add_taint(bit: number): void {
  const at = K.symbol("tainted_mask");
  pokeLong(at, peekLong(at) | (1 << bit));
}

/** "Not tainted", or "Tainted: " and the letters: what an oops prints. */
export function print_tainted(): string {
  const mask = peekLong(K.symbol("tainted_mask"));
  if (mask === 0) return "Not tainted";
  return `Tainted: ${LETTERS.map(([bit, set, clear]) => (mask & (1 << bit) ? set : clear)).join("")}`;
}
