// Goal: machines of one slab can share what their processes keep in memory, and none notices the other. Method: two machines' lives
// on one slab, one of them in a slab that has served before.
import { describe, expect, test } from "vitest";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { FRAME_SIZE, PagePool } from "../../emulator/memory/pool.ts";
import { RandomStream } from "../../emulator/time/random.ts";
import { CLUSTER_PAGES, ProcessPages } from "./process-pages.ts";

const CLUSTERS = 24;

/** What a machine finds in its clusters, each frame as a string of its bytes. */
function contents(pool: PagePool, seed: number): string[] {
  const pages = new ProcessPages(pool, new RandomStream(seed, "memory"));
  return Array.from({ length: CLUSTERS }, () => pages.next()).flatMap((first) =>
    Array.from({ length: CLUSTER_PAGES }, (_, i) => Buffer.from(pool.bytes(first + i)).toString("latin1")),
  );
}

describe("the pages of processes", () => {
  test("are all different, and none is all zeroes", () => {
    const pages = contents(new PagePool(FRAME_SIZE), 1);
    expect(new Set(pages).size).toBe(CLUSTERS * CLUSTER_PAGES);
    expect(pages.includes("\0".repeat(FRAME_SIZE))).toBe(false);
  });

  test("depend on the seed alone, not on the machines that the slab served before", () => {
    const used = new PagePool(FRAME_SIZE);
    const other = contents(used, 2);
    used.reset();
    const again = contents(used, 1);
    expect(again).toEqual(contents(new PagePool(FRAME_SIZE), 1));
    expect(again).not.toEqual(other);
  });

  test("are made again when the slab has given them up", () => {
    const pool = new PagePool(FRAME_SIZE);
    const before = contents(pool, 1);
    pool.reset(0);
    pool.u8.fill(0xaa, pool.u8.length - CLUSTERS * CLUSTER_PAGES * FRAME_SIZE);
    expect(contents(pool, 1)).toEqual(before);
  });

  test("are as they were for the next machine, whatever the last one wrote into its own", () => {
    const pool = new PagePool(FRAME_SIZE);
    const before = contents(pool, 1);
    const memory = new PhysicalMemory(pool, [{ start: 0, end: (CLUSTER_PAGES + 1) * FRAME_SIZE, type: "ram" }]);
    const first = new ProcessPages(pool, new RandomStream(1, "memory")).next();
    for (let i = 0; i < CLUSTER_PAGES; i++) memory.pages.setShared(1 + i, first + i);
    memory.write32(FRAME_SIZE, 0xdeadbeef);
    expect(memory.read32(FRAME_SIZE)).toBe(0xdeadbeef);
    pool.reset();
    expect(contents(pool, 1)).toEqual(before);
  });
});
