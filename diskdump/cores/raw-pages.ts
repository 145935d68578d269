// Reading pages that stand raw in a store.
import type { RawRun } from "./core.ts";

interface RawPages {
  readonly pageSize: number;
  rawRun(pfn: number): RawRun | undefined;
}

/** As CoreReader.readPages. */
export function readRawPages(core: RawPages, pfn: number, count: number, into: Uint8Array): void {
  const { pageSize } = core;
  for (let done = 0; done < count;) {
    const run = core.rawRun(pfn + done);
    if (!run) throw new RangeError(`page ${pfn + done} is not saved`);
    const pages = Math.min(run.pages, count - done);
    run.store.read(run.offset, into.subarray(done * pageSize, (done + pages) * pageSize));
    done += pages;
  }
}

/** As CoreReader.nextData, within the run that holds `pfn`: a hole in the store is a run of zero pages. */
export function nextRawData(core: RawPages, pfn: number, end: number): number {
  const run = core.rawRun(pfn);
  if (!run) return pfn;
  const skipped = Math.floor((run.store.nextData(run.offset) - run.offset) / core.pageSize);
  return Math.min(end, pfn + Math.min(skipped, run.pages));
}
