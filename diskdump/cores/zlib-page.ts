// Single pages as zlib streams: DISKDUMP, KDUMP, LKCD's "gzip".
import { deflateSync, inflateSync } from "node:zlib";

/** Returns the page as a zlib stream; undefined when that is not smaller. */
export function deflatePage(page: Uint8Array): Uint8Array | undefined {
  // A window of one page is all that a page can use, and a small one is quick to set up. Level 1 as makedumpfile and the kernel.
  const windowBits = Math.min(15, 31 - Math.clz32(page.length));
  const packed = deflateSync(page, { level: 1, windowBits, chunkSize: page.length + 64 });
  return packed.length < page.length ? packed : undefined;
}

/** Returns the page of `pageBytes` that a zlib stream holds, or what is wrong with the stream. */
export function inflatePage(packed: Uint8Array, pageBytes: number): Uint8Array | string {
  try {
    const page = inflateSync(packed, { maxOutputLength: pageBytes, chunkSize: pageBytes + 64 });
    return page.length === pageBytes ? page : `the zlib stream holds ${page.length} bytes, expected ${pageBytes}`;
  } catch (error) {
    return `no zlib stream of a page: ${error instanceof Error ? error.message : String(error)}`;
  }
}
