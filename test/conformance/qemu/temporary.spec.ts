// Goal: killed test runs do not fill the temporary folder, and nobody takes away what a living one works with.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { removeLeftBehind, temporaryFolder } from "./temporary.ts";

const folder = mkdtempSync(join(tmpdir(), "dumplab-temporary-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

test("what a process that is gone has left is removed, with all that is in it; everything else stays", () => {
  const { pid: gone } = spawnSync(process.execPath, ["--version"]);
  const left = [`dumplab-qemu-${gone}-abcdef`, `dumplab-qtest-${gone}-abcdef`].map((name) => join(folder, name));
  for (const path of left) {
    mkdirSync(path);
    writeFileSync(join(path, "disk.img"), "x");
  }
  const memory = join(folder, `dumplab-guest-${gone}-0`);
  writeFileSync(memory, "x");
  const mine = temporaryFolder("qemu", folder);
  const others = join(folder, `somebody-qemu-${gone}-abcdef`);
  mkdirSync(others);
  expect(removeLeftBehind([folder]).sort()).toEqual([memory, ...left].sort());
  expect([...left, memory, mine, others].map((path) => existsSync(path))).toEqual([false, false, false, true, true]);
});
