// Single pages as zlib streams: DISKDUMP, KDUMP, LKCD's "gzip".
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
