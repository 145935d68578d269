// Goal: a kernel function with a plain body is one like any other. Method: let it give way in its middle, and look at its frames.
import { afterEach, expect, test } from "vitest";
import { busyFor, cpu, finished, isFinished, valueOf, type Running } from "../../emulator/cpu/cpu.ts";
import { runKernel } from "./boot.ts";
import { armProbe, disarmAllProbes, kfunc, kquick } from "./kfunc.ts";
import { stackFunctions } from "./panic.ts";
import { bootTestMachine } from "./testing.ts";

afterEach(disarmAllProbes);

const seen: string[] = [];
const look = (): void => {
  seen.push(stackFunctions(cpu.fp).slice(0, 2).join(" < "));
};

function* rest(value: number): Generator<void, number, void> {
  look();
  yield* busyFor(5000);
  look();
  return value * 2;
}
const quick = kquick("test_quick", (wait: boolean): Running<number> => (wait ? rest(21) : finished(7)));
const caller = kfunc("test_quick_caller", function* () {
  const before = [cpu.sp, cpu.fp, cpu.functionId];
  const values = [yield* quick(false), yield* quick(true)];
  return { values, restored: before.every((register, i) => register === [cpu.sp, cpu.fp, cpu.functionId][i]) };
});

test("a plain body that gives way keeps its frame until its rest is done, then leaves the caller's as it was", () => {
  seen.length = 0;
  const k = bootTestMachine();
  let result: { values: number[]; restored: boolean } | undefined;
  runKernel(k, function* () {
    result = yield* caller();
  });
  expect(result).toEqual({ values: [7, 42], restored: true });
  expect(seen).toEqual(["test_quick < test_quick_caller", "test_quick < test_quick_caller"]);
});

test("another plain body may go on at once only when it is over", () => {
  const k = bootTestMachine();
  const answers: [boolean, number | undefined][] = [];
  runKernel(k, function* () {
    yield* busyFor(1);
    const short = quick(false);
    answers.push([isFinished(short), valueOf(short)]);
    const long = quick(true);
    answers.push([isFinished(long), undefined]);
    yield* long;
  });
  expect(answers).toEqual([
    [true, 7],
    [false, undefined],
  ]);
});

test("it is a probe point", () => {
  const k = bootTestMachine();
  let hits = 0;
  expect(
    armProbe("test_quick", 2, () => {
      hits++;
      return finished();
    }),
  ).toBe(true);
  runKernel(k, function* () {
    yield* quick(false);
    expect(hits).toBe(0);
    yield* quick(false);
  });
  expect(hits).toBe(1);
});
