// Goal: the white paper's own words and numbers. Method: its machine of chapter 5.2, and what its kernel prints.
import { expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";

test("chapter 5.2: the blocks required by that memory map, and the partition in /proc/diskdump", () => {
  const result = runTrial(loadScenario("chapter-5"), 1, {});
  const lines = result.console.map((line) => line.text);
  expect(lines).toContain("disk_dump: total blocks required: 261909 (header 3 + bitmap 8 + memory 261898)");
  expect(result.procDiskdump.split("\n")).toContain("/dev/sde1 514080 1012095");
  // sde1 is smaller than that memory, so the dump goes to the second device.
  expect(lines).toContain("disk_dump: dump partition is too small. Aborted");
  expect(result.record.outcome).toBe("complete");
});
