// Goal: two suites never fetch or boot at the same time. Method: several at once, each of which looks whether it is alone.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { alone, clearLock } from "./lock.ts";

const folder = mkdtempSync(join(tmpdir(), "dumplab-lock-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("work under one lock happens one after the other, and each gets its result", async () => {
  const lock = join(folder, "made", "lock");
  let inside = 0;
  const work = async (n: number): Promise<number> => {
    expect(++inside).toBe(1);
    for (let turn = 0; turn < 5; turn++) await new Promise(setImmediate);
    inside--;
    return n * n;
  };
  expect(await Promise.all([1, 2, 3].map((n) => alone(() => work(n), lock)))).toEqual([1, 4, 9]);
});

test("work that fails lets the next one in", async () => {
  const lock = join(folder, "failing");
  await expect(alone(() => Promise.reject(new Error("no network")), lock)).rejects.toThrow("no network");
  expect(await alone(() => Promise.resolve("went on"), lock)).toBe("went on");
});

test("what a killed run has left is cleared before the next one", async () => {
  const lock = join(folder, "left");
  writeFileSync(lock, "1\n");
  clearLock(lock);
  expect(await alone(() => Promise.resolve(1), lock)).toBe(1);
});
