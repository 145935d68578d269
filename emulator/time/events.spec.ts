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

test("passing straight to the next time of an event comes to the same as arming it and firing it", () => {
  const plan = fc.array(fc.record({ event: fc.nat(3), after: fc.nat(4) }), { maxLength: 40 });
  fc.assert(
    fc.property(plan, fc.nat(12), (steps, quiet) => {
      const runs = [true, false].map((mayPass) => {
        const queue = new EventQueue();
        const seen: string[] = [];
        let passed = 0;
        let next = 0;
        // Each handler takes the plan's next step: either its own next time or another event's.
        const events = Array.from({ length: 4 }, (_, i) =>
          makeEvent(
            `e${i}`,
            (event) => {
              for (;;) {
                seen.push(`${event.arg}@${queue.now}`);
                const step = steps[next++];
                if (step === undefined) return;
                const at = queue.now + step.after;
                if (mayPass && step.event === event.arg && !event.armed && queue.passTo(event, at)) passed++;
                else {
                  queue.arm(events[step.event]!, at);
                  return;
                }
              }
            },
            i,
          ),
        );
        events.forEach((event, i) => queue.arm(event, i));
        while (queue.nextAt < Infinity) {
          queue.quietUntil = quiet;
          queue.fireNext();
        }
        return { passed, outcome: { seen, now: queue.now, fired: queue.fired, hash: queue.hash } };
      });
      expect(runs[0]!.outcome).toEqual(runs[1]!.outcome);
      fc.pre(runs[0]!.passed > 0);
    }),
  );
});

test("nothing is passed while it is not known that the CPUs are quiet, nor over another event", () => {
  const queue = new EventQueue();
  const results: boolean[] = [];
  const event = makeEvent("e", () => {
    results.push(queue.passTo(event, 20));
    queue.quietUntil = 30;
    results.push(queue.passTo(event, 31), queue.passTo(event, 20));
    queue.arm(
      makeEvent("other", () => {}),
      25,
    );
    results.push(queue.passTo(event, 25), queue.passTo(event, 24));
  });
  queue.arm(event, 10);
  queue.fireNext();
  expect(results).toEqual([false, false, true, false, true]);
  expect(queue.now).toBe(24);
});
