// Goal: the load averages are those of a kernel that looks every five seconds at who runs.
import { expect, test } from "vitest";
import { userMode } from "../load/user-mode.ts";
import { runKernel } from "./boot.ts";
import { bootTestMachine } from "./testing.ts";
import { msleep } from "./timer.ts";
import { peekLong } from "./words.ts";

const averages = (k: ReturnType<typeof bootTestMachine>): number[] =>
  [0, 1, 2].map((i) => peekLong(k.symbol("avenrun") + i * 8) / 2048);

test("one task that runs all the time brings the averages towards one, the shortest first", () => {
  const k = bootTestMachine({ cpus: 1 });
  expect(runKernel(k, () => userMode(61e9), 70e9)).toBe(true);
  const [one, five, fifteen] = averages(k);
  // 1 - exp(-t / period) after 60 seconds.
  expect(one).toBeCloseTo(0.632, 1);
  expect(five).toBeCloseTo(0.181, 1);
  expect(fifteen).toBeCloseTo(0.064, 1);
});

test("a task that sleeps uninterruptibly counts, as one that waits for a disk does", () => {
  const k = bootTestMachine({ cpus: 1 });
  expect(runKernel(k, () => msleep(61_000), 70e9)).toBe(true);
  expect(averages(k)[0]).toBeGreaterThan(0.5);
});
