import { spawnSync } from "node:child_process";
import { fileURLToPath } from "node:url";
import { expect, test } from "vitest";

const tool = fileURLToPath(new URL("against.mjs", import.meta.url));

test.each([
  { args: [], says: "name one other checkout" },
  { args: ["a", "b"], says: "name one other checkout" },
  { args: ["a", "--rounds", "0"], says: "--rounds 0: not a number of rounds" },
  { args: ["a", "--round", "1"], says: "Unknown option '--round'" },
  { args: ["/nowhere"], says: "/nowhere is not built: run `npm run build` there" },
])("the comparison with another build refuses $args and says why", ({ args, says }) => {
  const { status, stderr } = spawnSync(process.execPath, [tool, ...args], { encoding: "utf8" });
  expect(status).toBe(2);
  expect(stderr).toContain(says);
  expect(stderr).toContain("usage: node test/bench/against.mjs");
});
