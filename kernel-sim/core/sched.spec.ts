// Goal: no wake-up is lost on any number of CPUs, and a task goes on where it stopped. Method: tasks that wake each other.
import { describe, expect, test } from "vitest";
import { busyFor, cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { wait_queue_head_t } from "../abi/structs/base.ts";
import { userMode } from "../load/user-mode.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { kernel_thread, kernel_thread_on } from "./fork.ts";
import { K, current } from "./kernel.ts";
import { kfunc } from "./kfunc.ts";
import { list_entries } from "./list.ts";
import { stackFunctions } from "./panic.ts";
import { schedule, try_to_wake_up } from "./sched.ts";
import { raise_softirq, tasklet_init, tasklet_kill, tasklet_schedule, type Tasklet } from "./softirq.ts";
import { local_irq_restore, local_irq_save } from "./spinlock.ts";
import { msleep, udelay } from "./timer.ts";
import {
  Completion,
  Semaphore,
  WaitQueue,
  complete,
  down,
  finish_wait,
  prepare_to_wait,
  up,
  wait_event,
  wait_event_timeout,
  wait_for_completion,
  wake_up,
} from "./wait.ts";
import { init_work, schedule_work } from "./workqueue.ts";

const newQueue = (name = "test_queue"): WaitQueue => new WaitQueue(K.bootmem(K.sizeOf(wait_queue_head_t)), name);

describe("tasks", () => {
  test("share a CPU by slices of 100 ms", () => {
    const k = bootTestMachine({ cpus: 1 });
    const spent = new Map<string, number>();
    runKernel(
      k,
      function* () {
        for (const name of ["a", "b"]) {
          yield* kernel_thread(
            name,
            function* () {
              for (;;) {
                yield* userMode(1e6);
                spent.set(name, (spent.get(name) ?? 0) + 1);
              }
            },
            0,
          );
        }
        yield* msleep(1000);
      },
      1e9,
    );
    const [a, b] = [spent.get("a")!, spent.get("b")!];
    expect(a + b).toBeGreaterThan(900);
    expect(Math.abs(a - b)).toBeLessThanOrEqual(110);
  });

  test("that hand a token back and forth between CPUs never lose a wake-up", () => {
    const k = bootTestMachine({ cpus: 3 });
    let rounds = 0;
    const player = kfunc("test_player", function* (mine: Completion, other: Completion): Generator<void, void, void> {
      const random = K.machine.random.stream(`player${mine.addr}`);
      for (let i = 0; i < 1000; i++) {
        yield* wait_for_completion(mine);
        rounds++;
        yield* busyFor(random.between(0, 700));
        yield* complete(other);
      }
    });
    const ended = runKernel(
      k,
      function* () {
        const ball = [0, 1].map((i) => new Completion(K.bootmem(64), `ball${i}`)) as [Completion, Completion];
        yield* kernel_thread("p0", () => player(ball[0], ball[1]), 1);
        yield* kernel_thread("p1", () => player(ball[1], ball[0]), 2);
        yield* complete(ball[0]);
        while (rounds < 2000) yield* msleep(1);
      },
      1e9,
    );
    expect(ended).toBe(true);
    expect(rounds).toBe(2000);
  });

  test("go on after a sleep with the stack, frame and function they had, on whatever CPU, and at no earlier time", () => {
    const seen = new Map<string, Set<string>>();
    const places = new Set<number>();
    let backwards = 0;
    const inner = kfunc("test_inner", function* (name: string): Generator<void, void, void> {
      let last = 0;
      for (let i = 0; i < 60; i++) {
        const stacks = seen.get(name) ?? new Set();
        seen.set(name, stacks.add(`${cpu.sp} ${cpu.fp} ${stackFunctions(cpu.fp).join(" < ")}`));
        places.add(cpu.id);
        if (cpu.clock < last) backwards++;
        last = cpu.clock;
        yield* msleep(1);
        yield* udelay(400);
      }
    });
    const outer = kfunc("test_outer", function* (name: string): Generator<void, void, void> {
      yield* inner(name);
    });
    const k = bootTestMachine({ cpus: 3 });
    runKernel(k, function* () {
      for (let i = 0; i < 5; i++) yield* kernel_thread(`t${i}`, () => outer(`t${i}`), 0);
      yield* msleep(300);
    });
    expect(seen.size).toBe(5);
    for (const stacks of seen.values()) {
      expect(stacks.size).toBe(1);
      expect([...stacks][0]).toMatch(/test_inner < test_outer < child_rip$/);
    }
    expect(places.size).toBe(3);
    expect(backwards).toBe(0);
  });

  test("that have ended are not brought back by a late wake-up", () => {
    const k = bootTestMachine();
    let runs = 0;
    const ended = runKernel(k, function* () {
      const task = yield* kernel_thread(
        "short",
        function* () {
          runs++;
        },
        1,
      );
      yield* msleep(2);
      expect(yield* try_to_wake_up(task)).toBe(0);
      yield* msleep(2);
      expect(k.tasks.has(task.addr)).toBe(false);
    });
    expect(ended).toBe(true);
    expect(runs).toBe(1);
    expect(k.percpu[1]!.cpu.program).toBeDefined();
  });

  test("bound to a CPU that is frozen wait there; others go to CPUs that work", () => {
    const k = bootTestMachine({ cpus: 2 });
    const ran: string[] = [];
    runKernel(k, function* () {
      yield* msleep(2);
      k.machine.stop(k.machine.cpus[1]!);
      const note = (name: string): Running => (ran.push(`${name} on ${cpu.id}`), busyFor(0));
      yield* kernel_thread_on("bound", () => note("bound"), 1);
      yield* kernel_thread("free", () => note("free"), 0);
      yield* msleep(5);
    });
    expect(ran).toEqual(["free on 0"]);
    expect(k.percpu[1]!.rq.nr_running).toBe(1);
  });

  test("that schedule in a softirq are reported", () => {
    const k = bootTestMachine();
    runKernel(
      k,
      function* () {
        yield* raise_softirq(0);
        const tasklet = tasklet_init(K.bootmem(64), "tl", () => schedule(), 0);
        yield* tasklet_schedule(tasklet);
        yield* msleep(5);
      },
      1e8,
    );
    expect(k.reports[0]).toMatch(/^bad: scheduling while atomic: .* on cpu \d$/);
  });
});

describe("a wait queue", () => {
  test("of exclusive sleepers: two wake-ups before the first sleeper runs wake two", () => {
    const k = bootTestMachine({ cpus: 1 });
    const order: string[] = [];
    runKernel(k, function* () {
      const sem = new Semaphore(K.bootmem(64), "sem", 0);
      for (const name of ["a", "b", "c"]) {
        yield* kernel_thread(
          name,
          function* () {
            yield* down(sem);
            order.push(name);
          },
          0,
        );
        yield* msleep(1);
      }
      const flags = local_irq_save();
      yield* up(sem);
      yield* up(sem);
      yield* local_irq_restore(flags);
      yield* msleep(2);
      expect(order).toEqual(["a", "b"]);
      yield* up(sem);
      yield* msleep(2);
    });
    expect(order).toEqual(["a", "b", "c"]);
  });

  test("may be slept on while the task is linked into another one: neither list breaks", () => {
    const k = bootTestMachine({ cpus: 1 });
    let woken = "";
    runKernel(k, function* () {
      const outer = newQueue("outer");
      const inner = newQueue("inner");
      let ready = false;
      yield* kernel_thread(
        "sleeper",
        function* () {
          const entry = yield* prepare_to_wait(outer, 2, false);
          yield* wait_event(inner, () => ready);
          woken += "inner ";
          expect(list_entries(outer.list)).toEqual([entry]);
          expect(list_entries(inner.list)).toEqual([]);
          yield* prepare_to_wait(outer, 2, false);
          yield* schedule();
          yield* finish_wait(outer, entry);
          woken += "outer";
        },
        0,
      );
      yield* msleep(2);
      expect([outer, inner].map(({ list }) => list_entries(list).length)).toEqual([1, 1]);
      ready = true;
      yield* wake_up(inner);
      yield* msleep(2);
      yield* wake_up(outer);
      yield* msleep(2);
      expect([outer, inner].map(({ list }) => list_entries(list).length)).toEqual([0, 0]);
    });
    expect(woken).toBe("inner outer");
  });

  test("with a timeout says how much was left, or that time ran out", () => {
    const k = bootTestMachine();
    const left: number[] = [];
    runKernel(k, function* () {
      const queue = newQueue();
      let ready = false;
      left.push(yield* wait_event_timeout(queue, () => ready, 5));
      yield* kernel_thread(
        "waker",
        function* () {
          yield* msleep(10);
          ready = true;
          yield* wake_up(queue);
        },
        1,
      );
      left.push(yield* wait_event_timeout(queue, () => ready, 100));
    });
    expect(left[0]).toBe(0);
    expect(left[1]).toBeGreaterThan(80);
    expect(left[1]).toBeLessThan(92);
  });

  test("completions and semaphores put tasks to sleep and wake them", () => {
    const k = bootTestMachine();
    const order: string[] = [];
    const other = kfunc("test_other", function* (done: Completion, sem: Semaphore): Generator<void, void, void> {
      yield* down(sem);
      order.push("b has it");
      yield* complete(done);
    });
    runKernel(k, function* () {
      const done = new Completion(K.bootmem(64), "done");
      const sem = new Semaphore(K.bootmem(64), "sem", 1);
      yield* down(sem);
      yield* kernel_thread("b", () => other(done, sem), 1);
      yield* msleep(3);
      order.push("a ups");
      yield* up(sem);
      yield* wait_for_completion(done);
      order.push("a done");
    });
    expect(order).toEqual(["a ups", "b has it", "a done"]);
  });
});

describe("deferred work", () => {
  test("runs in keventd of the CPU that scheduled it, once however often it was scheduled", () => {
    const k = bootTestMachine({ cpus: 4 });
    const ran: string[] = [];
    runKernel(k, function* () {
      for (let id = 0; id < 4; id++) {
        yield* kernel_thread_on(
          `t${id}`,
          function* () {
            const work = init_work(K.bootmem(128), "w", function* () {
              ran.push(`${current().comm} on cpu${cpu.id}`);
            });
            expect(yield* schedule_work(work)).toBe(1);
            expect(yield* schedule_work(work)).toBe(0);
          },
          id,
        );
      }
      yield* msleep(20);
    });
    expect(ran.sort()).toEqual([0, 1, 2, 3].map((id) => `events/${id} on cpu${id}`));
  });

  test("a tasklet runs once per schedule; one that schedules itself leaves room for everybody else", () => {
    const k = bootTestMachine({ cpus: 1 });
    let once = 0;
    let forever = 0;
    const ended = runKernel(
      k,
      function* () {
        const one = tasklet_init(
          K.bootmem(64),
          "one",
          function* () {
            once++;
          },
          0,
        );
        yield* tasklet_schedule(one);
        yield* tasklet_schedule(one);
        const self: Tasklet = tasklet_init(
          K.bootmem(64),
          "self",
          function* () {
            forever++;
            yield* tasklet_schedule(self);
          },
          0,
        );
        yield* tasklet_schedule(self);
        yield* msleep(20);
      },
      1e9,
    );
    expect(ended).toBe(true);
    expect(once).toBe(1);
    // Ten rounds, then the next interrupt.
    expect(forever).toBeGreaterThan(100);
    expect(forever).toBeLessThan(400);
  });

  test("tasklet_kill waits for a tasklet that runs on another CPU", () => {
    const k = bootTestMachine();
    const log: string[] = [];
    runKernel(k, function* () {
      const slow = tasklet_init(
        K.bootmem(64),
        "slow",
        function* () {
          log.push("begins");
          yield* udelay(3000);
          log.push("ends");
        },
        0,
      );
      yield* kernel_thread_on("t", () => tasklet_schedule(slow), 1);
      while (log.length === 0) yield* udelay(10);
      yield* tasklet_kill(slow);
      log.push("killed");
    });
    expect(log).toEqual(["begins", "ends", "killed"]);
  });
});
