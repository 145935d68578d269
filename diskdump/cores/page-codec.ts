// Single pages, compressed: zlib streams (DISKDUMP, KDUMP, LKCD's "gzip") and LKCD's run lengths.
import { deflateSync, inflateSync } from "node:zlib";

/** Returns the page as a zlib stream; undefined when that is not smaller. */
export function deflatePage(page: Uint8Array): Uint8Array | undefined {
  // A window of one page is all that a page can use, and a small one is quick to set up. Level 1 as makedumpfile and the kernel.
  const windowBits = Math.min(15, 31 - Math.clz32(page.length));
  const packed = deflateSync(page, { level: 1, windowBits, chunkSize: page.length + 64 });
  return packed.length < page.length ? packed : undefined;
}

/** Fills `into` from a zlib stream. Returns what is wrong with the stream, or undefined. */
export function inflatePage(packed: Uint8Array, into: Uint8Array): string | undefined {
  try {
    const page = inflateSync(packed, { maxOutputLength: into.length, chunkSize: into.length + 64 });
    if (page.length !== into.length) return `the zlib stream holds ${page.length} bytes, expected ${into.length}`;
    into.set(page);
    return undefined;
  } catch (error) {
    return `no zlib stream of a page: ${error instanceof Error ? error.message : String(error)}`;
  }
}

/**
 * LKCD's run lengths: 0 0 is one zero byte, 0 n v is n + 1 times v, any other byte is itself. (The rule of crash's lkcd_common.c.)
 * Returns undefined when that is not smaller than the page.
 */
export function encodeRuns(page: Uint8Array): Uint8Array | undefined {
  const { length } = page;
  const out = new Uint8Array(length);
  let to = 0;
  for (let at = 0; at < length;) {
    const value = page[at]!;
    let end = at + 1;
    if (value !== 0 && page[end] !== value) {
      // Most bytes of most pages: one by itself.
      if (to + 1 >= length) return undefined;
      out[to++] = value;
      at = end;
      continue;
    }
    while (end < length && page[end] === value && end - at < 256) end++;
    const run = end - at;
    // A run pays from four on; zeroes can only be written as runs or one by one.
    const asRun = value === 0 ? run >= 2 : run >= 4;
    const bytes = asRun ? 3 : value === 0 ? 2 * run : run;
    if (to + bytes >= length) return undefined;
    if (asRun) {
      out[to] = 0;
      out[to + 1] = run - 1;
      out[to + 2] = value;
    } else if (value !== 0) out.fill(value, to, to + bytes);
    to += bytes;
    at = end;
  }
  return out.subarray(0, to);
}

/** Fills `into` from run lengths. Returns what is wrong with them, or undefined. */
export function decodeRuns(packed: Uint8Array, into: Uint8Array): string | undefined {
  let to = 0;
  for (let at = 0; at < packed.length;) {
    const value = packed[at++]!;
    if (to >= into.length) return `run lengths of more than ${into.length} bytes`;
    if (value !== 0) {
      into[to++] = value;
      continue;
    }
    const more = packed[at++];
    if (more === undefined) return "run lengths that end within a run";
    if (more === 0) {
      into[to++] = 0;
      continue;
    }
    const filler = packed[at++];
    if (filler === undefined) return "run lengths that end within a run";
    if (to + more + 1 > into.length) return `run lengths of more than ${into.length} bytes`;
    into.fill(filler, to, to + more + 1);
    to += more + 1;
  }
  return to === into.length ? undefined : `run lengths of ${to} bytes, expected ${into.length}`;
}
