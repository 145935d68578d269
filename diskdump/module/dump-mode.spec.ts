// Goal: in dump mode the calls that white paper 4.3 allows work by polling, and those it forbids are named.
// Method: a driver hook that makes the calls while the dump runs.
import { describe, expect, test } from "vitest";
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { tasklet_struct, timer_list, work_struct } from "../../kernel-sim/abi/structs/base.ts";
import { diskdump_mdelay, crashdump_mode } from "../../kernel-sim/core/dump-mode.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { panic } from "../../kernel-sim/core/panic.ts";
import { schedule } from "../../kernel-sim/core/sched.ts";
import { tasklet_hi_schedule, tasklet_init, tasklet_schedule } from "../../kernel-sim/core/softirq.ts";
import { local_irq_enable, local_irq_disable } from "../../kernel-sim/core/spinlock.ts";
import {
  add_timer,
  del_timer,
  init_timer,
  jiffies,
  mdelay,
  mod_timer,
  msleep,
  schedule_timeout,
} from "../../kernel-sim/core/timer.ts";
import { init_work, schedule_work } from "../../kernel-sim/core/workqueue.ts";
import { dumpOutcome } from "./disk-dump.ts";
import { consoleText, crash, dumpMachine, run } from "./spec-machine.ts";

/** A machine whose adapter's dump_quiesce is `body`, crashed. */
function crashWith(body: () => Running) {
  const dump_quiesce = kfunc("test_quiesce", function* () {
    yield* body();
    return 0;
  });
  const machine = dumpMachine({ adapters: [{ hooks: { dump_quiesce: () => dump_quiesce() } }] });
  crash(machine.k);
  return machine;
}

describe("allowed calls", () => {
  test("timers, tasklets and work run by polling, in time, with interrupts off", () => {
    const log: string[] = [];
    const note = kfunc("test_note", function* (text: string): Generator<void, void, void> {
      log.push(text);
    });
    let start = 0;
    const { k } = crashWith(function* () {
      start = jiffies();
      const at = K.bootmem(K.sizeOf(timer_list) * 3);
      const size = K.sizeOf(timer_list);
      const timer = init_timer(at, "a", () => note(`timer after ${jiffies() - start}`));
      yield* add_timer(timer, start + 300);
      const moved = init_timer(at + size, "b", () => note(`moved after ${jiffies() - start}`));
      yield* add_timer(moved, start + 100);
      yield* mod_timer(moved, start + 700);
      const deleted = init_timer(at + 2 * size, "c", () => note("deleted"));
      yield* add_timer(deleted, start + 5);
      yield* del_timer(deleted);
      const tasklet = tasklet_init(K.bootmem(K.sizeOf(tasklet_struct)), "t", () => note("tasklet"), 0);
      yield* tasklet_schedule(tasklet);
      yield* tasklet_schedule(tasklet);
      const work = init_work(K.bootmem(K.sizeOf(work_struct)), "w", () => note("work"));
      yield* schedule_work(work);
      yield* schedule_work(work);
    });
    // They run in the settle time behind the hook.
    expect(log).toEqual(["tasklet", "work", "timer after 300", "moved after 700"]);
    expect(dumpOutcome(k).result).toBe("complete");
    expect(k.reports).toEqual([]);
  });

  test.each([
    ["of commands that end", 2_345_678, "complete"],
    ["of one that takes too long", 100e9, "refused"],
  ] as const)("passing over idle polls %s changes neither the clock nor the trace", (_which, latencyNs, result) => {
    const ends = [false, true].map((stepIdlePolls) => {
      const m = dumpMachine({ ramMiB: 24, flatMiB: 12, adapters: [{ latencyNs }] });
      m.dd.library.stepIdlePolls = stepIdlePolls;
      let polls = 0;
      const { nothingDue } = m.dd.library;
      m.dd.library.nothingDue = function (this: typeof m.dd.library) {
        polls++;
        return nothingDue.call(this);
      };
      crash(m.k);
      const outcome = dumpOutcome(m.k);
      return { polls, seen: [outcome.result, outcome.endedAtNs, m.k.machine.traceHash] };
    });
    expect(ends[0]!.seen).toEqual(ends[1]!.seen);
    expect(ends[0]!.seen[0]).toBe(result);
    expect(ends[0]!.polls).toBeLessThan(ends[1]!.polls / 2);
  });

  test("delays pass the time they say, and mean no harm to the watchdog", () => {
    const waits: number[] = [];
    let mode = false;
    const { k } = crashWith(function* () {
      mode = crashdump_mode();
      for (const wait of [() => diskdump_mdelay(20), () => msleep(30), () => schedule_timeout(40)]) {
        const from = K.machine.now();
        yield* wait();
        waits.push(Math.round((K.machine.now() - from) / 1e6));
      }
    });
    expect(mode).toBe(true);
    expect(waits).toEqual([20, 30, 40]);
    expect(k.reports).toEqual([]);
  });

  test("timers that were armed before the crash never fire in the dump", () => {
    let fired = 0;
    const late = kfunc("test_late", function* (): Generator<void, void, void> {
      fired++;
    });
    const { k } = dumpMachine({ cpus: 1 });
    run(k, function* () {
      // Due in the middle of the adapter's settle time.
      yield* add_timer(
        init_timer(K.bootmem(K.sizeOf(timer_list)), "late", () => late()),
        jiffies() + 3000,
      );
      yield* panic("test");
    });
    expect(dumpOutcome(k).result).toBe("complete");
    expect(fired).toBe(0);
  });
});

describe("forbidden calls", () => {
  const forbidden: readonly [string, () => Running, RegExp][] = [
    ["schedule", () => schedule(), /schedule\(\) can't be used/],
    ["mdelay", () => mdelay(1), /use diskdump_mdelay\(\) instead of mdelay\(\)/],
    [
      "tasklet_hi_schedule",
      () => tasklet_hi_schedule(tasklet_init(K.bootmem(64), "hi", () => finished(), 0)),
      /tasklet_hi_schedule\(\) can't be used/,
    ],
    [
      "local_irq_enable",
      function* () {
        yield* local_irq_enable();
        local_irq_disable();
      },
      /don't enable the interrupt/,
    ],
    ["kmalloc", () => (K.dumpMode!.forbid("kmalloc"), finished()), /no memory can be allocated/],
  ];
  test.each(forbidden)("%s is reported with function, rule and stack", (called, call, rule) => {
    const { k } = crashWith(function* () {
      yield* call();
    });
    const report = k.reports.find((text) => text.startsWith("dump mode:"));
    expect(report).toMatch(new RegExp(`^dump mode: test_quiesce called ${called}\\(\\): `));
    expect(report).toMatch(rule);
    expect(report).toMatch(/test_quiesce < scsi_dump_quiesce < dump_to_partition < disk_dump/);
    if (called !== "schedule") {
      expect(consoleText(k)).toContain(`disk_dump: test_quiesce called ${called}() while dumping: `);
      expect(dumpOutcome(k).result).toBe("complete");
    }
  });

  test("a kernel that is not dumping may make them", () => {
    const { k } = dumpMachine();
    expect(k.reports).toEqual([]);
    expect(k.onSchedule).toBeUndefined();
  });
});
