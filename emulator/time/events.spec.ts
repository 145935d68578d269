import fc from "fast-check";
import { expect, test } from "vitest";
import { EventQueue, makeEvent } from "./events.ts";

function drain(queue: EventQueue): void {
  while (queue.nextAt < Infinity) queue.fireNext();
}

test("events fire in order of time, equals in the order they were armed, whatever is cancelled or moved", () => {
  const step = fc.record({ event: fc.nat(11), at: fc.nat(5), cancel: fc.boolean() });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 60 }), (steps) => {
      const queue = new EventQueue();
      const fired: number[] = [];
      const events = Array.from({ length: 12 }, (_, i) => makeEvent(`e${i}`, (event) => fired.push(event.arg), i));
      let model: { event: number; at: number }[] = [];
      for (const { event, at, cancel } of steps) {
        model = model.filter((one) => one.event !== event);
        if (cancel) queue.cancel(events[event]!);
        else {
          queue.arm(events[event]!, at);
          model.push({ event, at });
        }
        expect(queue.nextAt).toBe(Math.min(Infinity, ...model.map((one) => one.at)));
        expect(queue.pending.length).toBe(model.length);
        expect(events[event]!.armed).toBe(!cancel);
      }
      drain(queue);
      // Array.sort is stable: first armed, first out.
      expect(fired).toEqual([...model].sort((a, b) => a.at - b.at).map((one) => one.event));
    }),
  );
});

test("an event armed for the past fires now, after those that were already due", () => {
  const queue = new EventQueue();
  const seen: string[] = [];
  const late = makeEvent("late", () => seen.push(`late at ${queue.now}`));
  queue.arm(
    makeEvent("a", () => queue.arm(late, 3)),
    10,
  );
  queue.arm(
    makeEvent("b", () => seen.push(`b at ${queue.now}`)),
    10,
  );
  drain(queue);
  expect(seen).toEqual(["b at 10", "late at 10"]);
});

test("an event can arm itself again while it fires", () => {
  const queue = new EventQueue();
  const times: number[] = [];
  queue.arm(
    makeEvent("tick", (event) => {
      times.push(queue.now);
      if (times.length < 4) queue.arm(event, queue.now + 10);
    }),
    10,
  );
  drain(queue);
  expect(times).toEqual([10, 20, 30, 40]);
});

test("onEarlier is told when the next event moved nearer, and only then", () => {
  const queue = new EventQueue();
  const told: number[] = [];
  queue.onEarlier = (at) => told.push(at);
  const event = makeEvent("e", () => {});
  queue.arm(
    makeEvent("f", () => {}),
    100,
  );
  queue.arm(event, 200);
  queue.arm(event, 50);
  expect(told).toEqual([100, 50]);
});

test("the hash tells runs apart by time and by label, and agrees for equal runs", () => {
  const run = (label: string, at: number): number => {
    const queue = new EventQueue();
    queue.arm(
      makeEvent(label, () => {}),
      at,
    );
    drain(queue);
    return queue.hash;
  };
  expect(run("disk", 5)).toBe(run("disk", 5));
  expect(new Set([run("disk", 5), run("disk", 6), run("disl", 5), run("disk", 5 + 2 ** 32)]).size).toBe(4);
});
