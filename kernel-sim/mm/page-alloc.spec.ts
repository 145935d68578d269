// Goal: the allocator never hands a page out twice, and loses none. Method: random allocations on a booted machine, RAM lists walked.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ADDRESS_MAPS } from "../abi/address-maps.ts";
import { finished } from "../../emulator/cpu/cpu.ts";
import { runKernel } from "../core/boot.ts";
import { K } from "../core/kernel.ts";
import { bootTestMachine } from "../core/testing.ts";
import {
  GFP_ATOMIC,
  GFP_HIGHUSER,
  GFP_KERNEL,
  ZONE_HIGHMEM,
  ZONE_NORMAL,
  __free_pages,
  __get_free_pages,
  alloc_pages,
  free_pages,
} from "./page-alloc.ts";
import { PG_reserved, far_peekPtr, page_count, page_to_pfn, pfn_to_page, test_page_flag } from "./page.ts";
import { MAX_ORDER } from "../abi/structs/mm.ts";

/** Free frames by walking the buddy lists. */
function freeFrames(zoneIndex: number): Set<number> {
  const zone = K.pages.zones[zoneIndex]!;
  const frames = new Set<number>();
  for (let order = 0; order < MAX_ORDER; order++) {
    for (const pfn of zone.freeBlocks(order)) {
      expect((pfn - zone.startPfn) % 2 ** order, `block of order ${order} at ${pfn} is aligned`).toBe(0);
      for (let i = 0; i < 2 ** order; i++) {
        expect(frames.has(pfn + i), `frame ${pfn + i} is free once`).toBe(false);
        frames.add(pfn + i);
      }
    }
  }
  return frames;
}

describe("after boot", () => {
  test.each(Object.entries(ADDRESS_MAPS))(
    "%s: no frame is free twice, and counters agree with the lists",
    (_name, map) => {
      const k = bootTestMachine({ boot: { map } });
      for (const zone of [ZONE_NORMAL, ZONE_HIGHMEM])
        expect(freeFrames(zone).size).toBe(k.pages.zones[zone]!.freePages);
      expect(far_peekPtr(k.symbol("mem_map"))).toBe(k.pages.memMap);
    },
  );

  test("every frame is reserved or free, zones do not overlap, and the symbols say so", () => {
    const k = bootTestMachine();
    const normal = freeFrames(ZONE_NORMAL);
    const high = freeFrames(ZONE_HIGHMEM);
    expect(normal.size).toBe(k.pages.zones[ZONE_NORMAL]!.freePages);
    expect(high.size).toBe(k.pages.zones[ZONE_HIGHMEM]!.freePages);
    expect(Math.min(...normal) * 4096).toBeGreaterThanOrEqual(k.bootAt);
    expect(Math.max(...normal) * 4096).toBeLessThan(k.machine.memory.flatBytes);
    expect(Math.min(...high) * 4096).toBeGreaterThanOrEqual(k.pages.reservedEnd);
    expect(test_page_flag(pfn_to_page(0x100), PG_reserved)).toBe(true);
    expect(far_peekPtr(k.symbol("mem_map"))).toBe(k.pages.memMap);
    expect(k.pages.maxPfn).toBe(16384);
  });

  test("boot memory cannot run into the allocator's pages", () => {
    const k = bootTestMachine();
    expect(() => k.bootmem(k.bootLimit - k.bootAt + 4096)).toThrow(/do not fit below/);
    expect(k.bootLimit).toBeLessThan(k.machine.memory.flatBytes);
  });

  test("a preserved range is never handed out", () => {
    const k = bootTestMachine();
    const start = 40 << 20;
    const end = start + 5 * 4096 * 7;
    const before = k.pages.zones[ZONE_HIGHMEM]!.freePages;
    expect(k.pages.reserveRange(start, end)).toBe(35);
    const high = freeFrames(ZONE_HIGHMEM);
    expect(high.size).toBe(before - 35);
    for (let pfn = start / 4096; pfn < end / 4096; pfn++) expect(high.has(pfn)).toBe(false);
  });

  test("mem_map is sparse: an untouched frame's struct page takes no memory", () => {
    const k = bootTestMachine({ ramMiB: 512 });
    const first = Math.floor(k.pages.memMap / 4096);
    const frames = Math.floor((k.pages.maxPfn * k.pages.pageStructBytes) / 4096);
    let holes = 0;
    for (let i = 0; i < frames; i++) if (k.machine.memory.pages.isHole(first + i)) holes++;
    expect(holes).toBeGreaterThan(frames / 2);
  });
});

describe("alloc_pages", () => {
  test("hands out disjoint aligned blocks and gets every page back, whatever the order of frees", () => {
    const step = fc.record({
      order: fc.integer({ min: 0, max: 6 }),
      high: fc.boolean(),
      free: fc.boolean(),
      pick: fc.nat(),
    });
    fc.assert(
      fc.property(fc.array(step, { minLength: 1, maxLength: 60 }), (steps) => {
        const k = bootTestMachine({ cpus: 1 });
        // What process 1 needs for itself is gone by now.
        runKernel(k, () => finished());
        const total = k.pages.freePages;
        const used = new Map<number, number>();
        const owner = new Set<number>();
        const done = runKernel(k, function* () {
          for (const { order, high, free, pick } of steps) {
            if (free && used.size > 0) {
              const pages = [...used.keys()];
              const page = pages[pick % pages.length]!;
              const blockOrder = used.get(page)!;
              for (let i = 0; i < 2 ** blockOrder; i++) owner.delete(page_to_pfn(page) + i);
              used.delete(page);
              yield* __free_pages(page, blockOrder);
              continue;
            }
            const page = yield* alloc_pages(high ? GFP_HIGHUSER : GFP_KERNEL, order);
            if (page === 0) continue;
            const pfn = page_to_pfn(page);
            expect(page_count(page)).toBe(1);
            expect((pfn - K.pages.zoneOf(page).startPfn) % 2 ** order).toBe(0);
            for (let i = 0; i < 2 ** order; i++) {
              expect(owner.has(pfn + i)).toBe(false);
              owner.add(pfn + i);
            }
            used.set(page, order);
          }
          for (const [page, order] of used) yield* __free_pages(page, order);
        });
        expect(done).toBe(true);
        expect(k.reports).toEqual([]);
        expect(k.pages.freePages).toBe(total);
        freeFrames(ZONE_NORMAL);
        freeFrames(ZONE_HIGHMEM);
      }),
      { numRuns: 25 },
    );
  });

  test("buddies merge again: after frees, blocks of the largest size are whole", () => {
    const k = bootTestMachine({ cpus: 1 });
    const zone = k.pages.zones[ZONE_HIGHMEM]!;
    const before = zone.freeBlocks(MAX_ORDER - 1).length;
    runKernel(k, function* () {
      const pages: number[] = [];
      for (let i = 0; i < 100; i++) pages.push(yield* alloc_pages(GFP_HIGHUSER, 3));
      for (const page of pages.reverse()) yield* __free_pages(page, 3);
    });
    expect(zone.freeBlocks(MAX_ORDER - 1).length).toBe(before);
  });

  test("refuses below the watermark, lets atomic callers go deeper, and comes back when pages are freed", () => {
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, function* () {
      const taken: number[] = [];
      for (;;) {
        const at = yield* __get_free_pages(GFP_KERNEL, 0);
        if (at === 0) break;
        taken.push(at);
      }
      const zone = K.pages.zones[ZONE_NORMAL]!;
      expect(zone.freePages).toBeLessThan(zone.s.pages_min + 2);
      const atomic = yield* __get_free_pages(GFP_ATOMIC, 0);
      expect(atomic).toBeGreaterThan(0);
      for (const at of taken) yield* free_pages(at, 0);
      expect(yield* __get_free_pages(GFP_KERNEL, 0)).toBeGreaterThan(0);
    });
    expect(k.reports).toEqual([]);
  });

  test("is refused in dump mode", () => {
    const k = bootTestMachine({ cpus: 1 });
    const forbidden: string[] = [];
    runKernel(k, function* () {
      // Only `forbid` is asked here; the rest of dump mode is the dumper's.
      K.dumpMode = { forbid: (what: string) => forbidden.push(what) } as unknown as NonNullable<typeof K.dumpMode>;
      yield* alloc_pages(GFP_KERNEL, 0);
      K.dumpMode = undefined;
    });
    expect(forbidden).toContain("alloc_pages");
  });

  test("freeing a page twice is reported", () => {
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, function* () {
      const page = yield* alloc_pages(GFP_KERNEL, 0);
      yield* __free_pages(page, 0);
      yield* __free_pages(page, 0);
    });
    expect(k.reports[0]).toMatch(/is free already/);
  });
});
