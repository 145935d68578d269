// Goal: the ring keeps the newest records, and says how many it lost.
import { expect, test } from "vitest";
import { TraceRecorder } from "./trace.ts";

test("records nothing until it is started", () => {
  const trace = new TraceRecorder();
  trace.record(1, "cpu0", "irq", 1, 2);
  expect([...trace.records()]).toEqual([]);
  expect(trace.dropped).toBe(0);
});

test("keeps the newest records, oldest first, and counts the others", () => {
  const trace = new TraceRecorder();
  trace.start(3);
  for (let i = 0; i < 5; i++) trace.record(i * 10, `cpu${i % 2}`, "irq", i, 2 ** 40 + i);
  expect(trace.dropped).toBe(2);
  expect([...trace.records()]).toEqual(
    [2, 3, 4].map((i) => ({ at: i * 10, who: `cpu${i % 2}`, what: "irq", a: i, b: 2 ** 40 + i })),
  );
});

test("started again, forgets", () => {
  const trace = new TraceRecorder();
  trace.start(3);
  trace.record(1, "cpu0", "irq", 1, 2);
  trace.start(3);
  expect([...trace.records()]).toEqual([]);
});
