import { expect, test } from "vitest";
import { duration, Progress } from "./progress.ts";

function screen(isTTY: boolean, columns = 80) {
  const written: string[] = [];
  return { written, isTTY, columns, write: (text: string) => written.push(text) };
}

test("on a terminal the line is rewritten in place and fits into it", () => {
  const terminal = screen(true, 40);
  let now = 0;
  const progress = new Progress(terminal, 300, () => now);
  for (let trial = 1; trial <= 3; trial++) {
    now += 1000;
    progress.step(trial !== 2);
  }
  expect(terminal.written.at(-1)).toBe("\r3/300 trials, 2 complete, 1.00 s per tr\x1b[K");
});

test("elsewhere there is a line every five seconds, with the time that is left", () => {
  const log = screen(false);
  let now = 0;
  const progress = new Progress(log, 300, () => now);
  for (let trial = 1; trial <= 12; trial++) {
    now += 1000;
    progress.step(true);
  }
  expect(log.written).toEqual([
    "5/300 trials, 5 complete, 1.00 s per trial, 4 min 55 s left\n",
    "10/300 trials, 10 complete, 1.00 s per trial, 4 min 50 s left\n",
  ]);
});

test("durations are said in two units", () => {
  expect([900, 59_000, 192_000, 7_380_000].map(duration)).toEqual(["1 s", "59 s", "3 min 12 s", "2 h 3 min"]);
});
