// Goal: going through a sparse core costs what its contents cost. Method: a core of a store that knows its holes, and counts reads.
import { expect, test } from "vitest";
import { PagePool } from "../../emulator/memory/pool.ts";
import { PageStore } from "../../emulator/memory/store.ts";
import { DATA_MODELS } from "../../kernel-sim/abi/types.ts";
import { partitionBytes, putDump } from "../userspace/dump-fixture.ts";
import { openDump } from "../userspace/dump-image.ts";
import type { CoreReader } from "./core.ts";
import { feedPages } from "./page-feed.ts";
import { partitionCore } from "./partition-core.ts";

const PAGE = 4096;
const ram = [{ first: 0, count: 64 }];
const DATA = [0, 1, 40];

/** A dump in which pages 0, 1 and 40 are anything but zero; `read` gets what is read of it. */
function sparseCore(read: number[]): CoreReader {
  const model = DATA_MODELS.x86_64;
  const store = new PageStore(new PagePool(0, 16 << 20), "partition", partitionBytes(model, ram, 4));
  putDump(store, { model, ram, fill: (frame, page) => (DATA.includes(frame) ? page.fill(frame + 1) : undefined) });
  const core = partitionCore(openDump(store));
  const next = (pfn: number, data: boolean): number => {
    while (pfn < 64 && DATA.includes(pfn) !== data) pfn++;
    return pfn;
  };
  const withHoles = Object.assign(Object.create(store) as PageStore, {
    nextHole: (offset: number) => next(offset / PAGE, false) * PAGE,
  });
  return {
    ...core,
    nextData: (pfn, end) => Math.min(end, next(pfn, true)),
    rawRun: (pfn) => ({ store: withHoles, offset: pfn * PAGE, pages: 64 - pfn }),
    readPages: (pfn, count, into) => {
      for (let i = 0; i < count; i++) read.push(pfn + i);
      core.readPages(pfn, count, into);
    },
  };
}

test("every page is visited in order, and only those with contents are read", () => {
  const read: number[] = [];
  const visited: (number | undefined)[] = [];
  feedPages(sparseCore(read), ram, (pfn, contents) => {
    expect(pfn).toBe(visited.length);
    visited.push(contents?.[0]);
  });
  expect(visited).toEqual(Array.from({ length: 64 }, (_, pfn) => (DATA.includes(pfn) ? pfn + 1 : undefined)));
  expect(read).toEqual(DATA);
});
