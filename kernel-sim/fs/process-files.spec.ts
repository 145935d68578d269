// Goal: descriptors, paths and mounts behave as POSIX says, and a process that ends leaves no file, no page and no area behind.
import { expect, test } from "vitest";
import { peekPtr } from "../abi/ram.ts";
import { S_IFDIR, S_IFREG, file } from "../abi/structs/fs.ts";
import { mm_struct } from "../abi/structs/vm.ts";
import { runKernel } from "../core/boot.ts";
import { do_fork } from "../core/fork.ts";
import { K, current, type Kernel } from "../core/kernel.ts";
import { bootTestMachine } from "../core/testing.ts";
import { msleep } from "../core/timer.ts";
import { GFP_HIGHUSER, alloc_page } from "../mm/page-alloc.ts";
import { entryTarget, tableIndex } from "../mm/page-tables.ts";
import { page_to_phys } from "../mm/page.ts";
import { mmap_pages } from "../mm/process-memory.ts";
import type { KmemCache } from "../mm/slab.ts";
import { fget_light, filesOf, sys_close } from "./files.ts";
import { O_RDWR, path_lookup, sys_dup, sys_open, vfs_create } from "./open.ts";

/** Objects of a cache that are in use: handed out and not at hand on a CPU. */
function inUse(k: Kernel, cache: KmemCache): number {
  const { num, lists } = cache;
  const slabs = (head: number): number => {
    let count = 0;
    for (let at = peekPtr(head); at !== head; at = peekPtr(at)) count++;
    return count;
  };
  const total = (slabs(cache.partial) + slabs(cache.full) + slabs(cache.free)) * num;
  return total - lists.free_objects - cache.arrays.reduce((sum, ac) => sum + ac.avail, 0);
}

/** Runs a user process to its end. */
const inProcess = (k: Kernel, comm: string, body: () => Generator<void, void, void>): void => {
  let ended = false;
  runKernel(k, function* () {
    yield* do_fork(
      comm,
      function* () {
        yield* body();
        ended = true;
      },
      0,
    );
    yield* msleep(50);
  });
  expect(ended).toBe(true);
};

test("a process starts with process 1's console as its first three descriptors, and opens the lowest one that is free", () => {
  const k = bootTestMachine();
  const seen: number[] = [];
  inProcess(k, "opener", function* () {
    const console = fget_light(0);
    expect([fget_light(1), fget_light(2)]).toEqual([console, console]);
    const dentry = K.vfs.dentries.get(K.view(file, console).f_dentry)!;
    expect([dentry.name, dentry.parent.name]).toEqual(["console", "dev"]);
    expect(yield* vfs_create("/dev/log", { mode: S_IFREG | 0o600 })).toBe(0);
    expect(yield* vfs_create("/dev/log", { mode: S_IFREG | 0o600 })).toBe(-17);
    seen.push(yield* sys_open("/dev/log", O_RDWR), yield* sys_open("/dev/null", O_RDWR));
    expect(yield* sys_close(3)).toBe(0);
    expect(yield* sys_close(3)).toBe(-9);
    seen.push(yield* sys_dup(fget_light(4)), yield* sys_open("/nowhere/at/all", O_RDWR));
    expect(fget_light(3)).toBe(fget_light(4));
  });
  expect(seen).toEqual([3, 4, 3, -2]);
});

test("a directory with a long name is found by it, and a file in it by its path", () => {
  const k = bootTestMachine();
  const long = "d".repeat(50);
  inProcess(k, "namer", function* () {
    expect(yield* vfs_create(`/${long}`, { mode: S_IFDIR | 0o755 })).toBe(0);
    expect(yield* vfs_create(`/${long}/x`, { mode: S_IFREG | 0o644 })).toBe(0);
    const found = (yield* path_lookup(`//${long}/x`))!;
    expect([found.dentry.name, found.dentry.parent.name, found.dentry.parent.s.d_name.len]).toEqual(["x", long, 50]);
  });
});

test("a child has its parent's files; closing them is its own affair", () => {
  const k = bootTestMachine();
  let shared = 0;
  let child: number[] = [];
  inProcess(k, "parent", function* () {
    const fd = yield* sys_open("/dev/null", O_RDWR);
    shared = fget_light(fd);
    yield* do_fork(
      "child",
      function* () {
        child = [fget_light(fd), K.view(file, shared).f_count.counter];
        yield* sys_close(fd);
      },
      0,
    );
    yield* msleep(10);
    expect([fget_light(fd), K.view(file, shared).f_count.counter]).toEqual([shared, 1]);
  });
  expect(child).toEqual([shared, 2]);
});

test("a process's page tables lead to its buffer, and all that it had is given back when it ends", () => {
  const k = bootTestMachine({ cpus: 1 });
  inProcess(k, "first", function* () {});
  const caches = [
    k.processMemory.mmCache,
    k.processMemory.areaCache,
    k.vfs.fileCache,
    k.vfs.filesCache,
    k.sighandCache,
  ];
  const before = caches.map((cache) => inUse(k, cache));
  const free = k.pages.freePages;
  inProcess(k, "user", function* () {
    const pages: number[] = [];
    for (let i = 0; i < 5; i++) pages.push(page_to_phys(yield* alloc_page(GFP_HIGHUSER)));
    const start = yield* mmap_pages(current(), pages);
    const mm = K.view(mm_struct, current().s.mm);
    // Text, stack and the buffer are there; two more pages of the stack and one each of text and data are not.
    expect([mm.rss, mm.total_vm, mm.map_count]).toEqual([7, 11, 4]);
    const walk = (address: number): number =>
      ([3, 2, 1] as const).reduce((table, level) => entryTarget(table, tableIndex(BigInt(address), level)), mm.pgd);
    expect(pages.map((_, i) => walk(start + i * 4096))).toEqual(pages);
    expect(walk(start + 5 * 4096)).toBeNaN();
    expect(filesOf(current()).count.counter).toBe(1);
  });
  expect(caches.map((cache) => inUse(k, cache))).toEqual(before);
  // Slabs stay with their caches.
  expect(free - k.pages.freePages).toBeLessThanOrEqual(2);
});
