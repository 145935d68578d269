// Goal: a dump in memory is found again, page by page, whatever its size. Method: maps in the RAM of a test machine, up to the second
// indirect map.
import { beforeEach, describe, expect, test } from "vitest";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { bootTestMachine } from "../../../../kernel-sim/core/testing.ts";
import { PAGE_SIZE } from "../../../../kernel-sim/mm/page.ts";
import { addSpace, appendIndirectMap, framesOf, lookup, type Memdev } from "./map.ts";
import { dump_memdev } from "./structs.ts";

const ENTRIES = 512;
let dev: Memdev;
let root: number;

beforeEach(() => {
  bootTestMachine({ cpus: 1 });
  dev = K.view(dump_memdev, K.bootmem(K.sizeOf(dump_memdev))) as unknown as Memdev;
  root = K.bootmem(PAGE_SIZE, PAGE_SIZE);
  appendIndirectMap(dev, 0, root);
  dev.curr_map = dev.indirect_map_root;
});

const frame = (): number => K.bootmem(PAGE_SIZE, PAGE_SIZE) / PAGE_SIZE;

test("the first page that is given becomes a map, the others are space in their order", () => {
  const given = [frame(), frame(), frame()];
  for (const pfn of given) expect(addSpace(dev, pfn)).toBe(true);
  expect(dev.last_offset).toBe(2 * PAGE_SIZE);
  expect([0, 1, 2].map((loc) => lookup(dev, loc))).toEqual([given[1], given[2], undefined]);
});

test("a page that becomes a map forgets what was in it", () => {
  const pfn = frame();
  K.machine.memory.write64(pfn * PAGE_SIZE + 24, 0x1234);
  addSpace(dev, pfn);
  expect(lookup(dev, 3)).toBeUndefined();
});

test("every frame that the dump needs is known: indirect maps, maps, and pages up to its end", () => {
  const given = [frame(), frame(), frame(), frame()];
  for (const pfn of given) addSpace(dev, pfn);
  expect(framesOf(dev, 2)).toEqual([root / PAGE_SIZE, ...given.slice(0, 3)].sort((a, b) => a - b));
});

describe("beyond an indirect map", () => {
  const fill = (pages: number): number => {
    let added = 0;
    // Pages of space are only counted: nobody looks into them.
    for (let i = 0; added < pages; i++) {
      if (!addSpace(dev, i % (ENTRIES + 1) === 0 ? frame() : 0x100000 + added)) break;
      if (i % (ENTRIES + 1) !== 0) added++;
    }
    return added;
  };
  const whole = (ENTRIES - 1) * ENTRIES;

  test("there is no more space without another", () => {
    expect(fill(whole + 1)).toBe(whole);
    expect(addSpace(dev, 1)).toBe(false);
  });

  test("the next one goes on", () => {
    appendIndirectMap(dev, root, K.bootmem(PAGE_SIZE, PAGE_SIZE));
    expect(fill(whole + 600)).toBe(whole + 600);
    for (const loc of [0, ENTRIES - 1, ENTRIES, whole - 1, whole, whole + ENTRIES, whole + 599]) {
      expect(lookup(dev, loc)).toBe(0x100000 + loc);
    }
    expect(lookup(dev, whole + 600)).toBeUndefined();
  });
});
