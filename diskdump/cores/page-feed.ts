// Pages of a core, one after the other, each with the answer to "is it all zeroes?". Reads in large pieces and skips holes.
import { FRAME_SIZE, PagePool } from "../../emulator/memory/pool.ts";
import { PageSimd } from "../../emulator/memory/simd.ts";
import { pagesIn, type PageRange } from "../format/bitmap.ts";
import { nextHole } from "../userspace/partition-store.ts";
import type { CoreProgress, CoreReader } from "./core.ts";

const CHUNK_BYTES = 1 << 20;
/** Pages between two calls of `onProgress`. */
const PROGRESS_PAGES = 16384;

/** What happens to a page; undefined contents are zeroes. The bytes are valid during the call. */
export type PageVisitor = (pfn: number, contents: Uint8Array | undefined) => void;

/** Pages from `pfn` to the next hole of a store that knows its holes; at least one. */
function dataPages(core: CoreReader, pfn: number): number {
  const run = core.rawRun(pfn);
  if (!run) return Infinity;
  return Math.max(1, Math.ceil((nextHole(run.store, run.offset) - run.offset) / core.facts.pageSize));
}

/** Calls `visit` for every page of `ranges`, all of them saved, in their order. */
export function feedPages(
  core: CoreReader,
  ranges: readonly PageRange[],
  visit: PageVisitor,
  onProgress?: (progress: CoreProgress) => void,
): void {
  const { pageSize } = core.facts;
  // Frame 0 is the pool's flat window; the buffer is what lies behind it, in reach of SIMD.
  const pool = new PagePool(FRAME_SIZE, FRAME_SIZE + CHUNK_BYTES);
  const simd = new PageSimd(pool);
  const buffer = pool.u8.subarray(FRAME_SIZE, FRAME_SIZE + CHUNK_BYTES);
  const frames = pageSize / FRAME_SIZE;
  const isZero = (index: number): boolean => {
    for (let frame = 0; frame < frames; frame++) if (!simd.isZero(1 + index * frames + frame)) return false;
    return true;
  };
  const allPages = pagesIn(ranges);
  let donePages = 0;
  let nextReport = PROGRESS_PAGES;
  for (const { first, count } of ranges) {
    for (let pfn = first, end = first + count; pfn < end;) {
      const before = pfn;
      for (const data = core.nextData(pfn, end); pfn < data; pfn++) visit(pfn, undefined);
      const pages = Math.min(CHUNK_BYTES / pageSize, end - pfn, dataPages(core, pfn));
      if (pages > 0) {
        core.readPages(pfn, pages, buffer);
        for (let i = 0; i < pages; i++) {
          visit(pfn + i, isZero(i) ? undefined : buffer.subarray(i * pageSize, (i + 1) * pageSize));
        }
        pfn += pages;
      }
      donePages += pfn - before;
      if (onProgress && (donePages >= nextReport || donePages === allPages)) {
        onProgress({ donePages, allPages });
        nextReport = donePages + PROGRESS_PAGES;
      }
    }
  }
}
