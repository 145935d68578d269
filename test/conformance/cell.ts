// One cell of the matrix, kept by the suite that fills it. Call `conformanceCell` in a describe block; tests then say
// what they have shown, after they have shown it.
import { afterAll, afterEach, type TestContext } from "vitest";
import { writeRecord, type Judge } from "./record.ts";

export interface Cell {
  /** Something was shown to work; say it after the expectation that shows it. */
  exercised(...what: string[]): void;
  /** Skips the running test; `reason` also names the command that lets it run. */
  skip(context: TestContext, reason: string): never;
}

/** Opens the cell of an adapter and a judge for the tests of this describe block; its record is written after the last one. */
export function conformanceCell(adapter: string, judge: Judge): Cell {
  const exercised: string[] = [];
  const failures: string[] = [];
  const skipped: string[] = [];
  const addTo = (list: string[], text: string): void => {
    if (!list.includes(text)) list.push(text);
  };
  afterEach((context) => {
    if (context.task.result?.state === "fail") addTo(failures, context.task.name);
  });
  afterAll(() => {
    const outcome = failures.length > 0 ? "failed" : exercised.length > 0 ? "passed" : "skipped";
    writeRecord({ adapter, judge, outcome, exercised, failures, skipped });
  });
  return {
    exercised: (...what) => {
      for (const text of what) addTo(exercised, text);
    },
    skip: (context, reason) => {
      addTo(skipped, reason);
      return context.skip(reason) as never;
    },
  };
}
