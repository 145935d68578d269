// Goal: objects of the slab allocator never overlap and all come back. Method: random kmalloc/kfree against a model.
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { M } from "../abi/ram.ts";
import { slab as slab_struct } from "../abi/structs/mm.ts";
import { runKernel } from "../core/boot.ts";
import { K } from "../core/kernel.ts";
import { kernel_thread } from "../core/fork.ts";
import { list_entries } from "../core/list.ts";
import { msleep } from "../core/timer.ts";
import { bootTestMachine } from "../core/testing.ts";
import { kfunc } from "../core/kfunc.ts";
import { GFP_KERNEL } from "./page-alloc.ts";
import { kfree, kmalloc, kmem_cache_alloc, kmem_cache_create, kmem_cache_free, type KmemCache } from "./slab.ts";

const inUse = (cache: KmemCache): number => {
  let objects = 0;
  for (const list of [cache.partial, cache.full, cache.free]) {
    for (const slab of list_entries(list)) {
      objects += K.view(slab_struct, slab).inuse;
    }
  }
  return objects - cache.arrays.reduce((n, ac) => n + ac.avail, 0);
};

/** Slabs of large objects are described by an object of a smaller cache. */
const slabsDescribedIn = (cache: KmemCache): number => {
  let slabs = 0;
  for (const other of K.pages.slabs.caches) {
    if (!other.offSlab || other.s.slabp_cache !== cache.addr) continue;
    for (const list of [other.partial, other.full, other.free]) slabs += list_entries(list).length;
  }
  return slabs;
};

describe("kmalloc", () => {
  test("gives disjoint memory that keeps its contents, and gets it back", () => {
    const action = fc.record({ bytes: fc.integer({ min: 1, max: 9000 }), free: fc.boolean(), pick: fc.nat() });
    fc.assert(
      fc.property(fc.array(action, { minLength: 1, maxLength: 150 }), (actions) => {
        const k = bootTestMachine({ cpus: 1 });
        const live: { at: number; bytes: number; mark: number }[] = [];
        let mark = 0;
        const check = (o: { at: number; bytes: number; mark: number }): void => {
          expect(M.u8[o.at]).toBe(o.mark);
          expect(M.u8[o.at + o.bytes - 1]).toBe(o.mark);
        };
        runKernel(k, function* () {
          for (const { bytes, free, pick } of actions) {
            if (free && live.length > 0) {
              const [object] = live.splice(pick % live.length, 1);
              check(object!);
              yield* kfree(object!.at);
              continue;
            }
            const at = yield* kmalloc(bytes, GFP_KERNEL);
            expect(at).toBeGreaterThan(0);
            for (const other of live) expect(at + bytes <= other.at || other.at + other.bytes <= at).toBe(true);
            mark = (mark + 1) & 0xff;
            M.u8.fill(mark, at, at + bytes);
            live.push({ at, bytes, mark });
          }
          for (const object of live) {
            check(object);
            yield* kfree(object.at);
          }
        });
        expect(k.reports).toEqual([]);
        for (const cache of K.pages.slabs.general) expect(inUse(cache)).toBe(slabsDescribedIn(cache));
      }),
      { numRuns: 20 },
    );
  });

  test("refuses what no cache can hold", () => {
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, function* () {
      expect(yield* kmalloc(1 << 20, GFP_KERNEL)).toBe(0);
    });
  });

  test("reports memory that is no slab object", () => {
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, function* () {
      yield* kfree(k.symbol("cache_chain"));
    });
    expect(k.reports[0]).toMatch(/does not belong to a slab/);
  });
});

describe("kmem_cache", () => {
  test("serves several CPUs at once without handing an object out twice", () => {
    const k = bootTestMachine({ cpus: 4 });
    const cache = kmem_cache_create("test_objects", 200);
    const live = new Set<number>();
    let doubles = 0;
    let ended = 0;
    const worker = kfunc("test_slab_worker", function* () {
      for (let round = 0; round < 20; round++) {
        const mine: number[] = [];
        for (let i = 0; i < 60; i++) {
          const at = yield* kmem_cache_alloc(cache, GFP_KERNEL);
          if (live.has(at)) doubles++;
          live.add(at);
          mine.push(at);
        }
        for (const at of mine) {
          live.delete(at);
          yield* kmem_cache_free(cache, at);
        }
        yield* msleep(1);
      }
      ended++;
    });
    runKernel(k, function* () {
      for (let i = 0; i < 4; i++) yield* kernel_thread(`w${i}`, () => worker(), i);
      while (ended < 4) yield* msleep(5);
    });
    expect(ended).toBe(4);
    expect(doubles).toBe(0);
    expect(inUse(cache)).toBe(0);
    expect(k.reports).toEqual([]);
  });
});
