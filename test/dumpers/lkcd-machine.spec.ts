// Goal: what LKCD does to a machine before it writes: the other CPUs answer and run on until they would schedule, the lines come to the
// dumping CPU, the interrupt counters are cleared. Method: a whole machine, looked at when the dump is over.
import { beforeAll, describe, expect, test } from "vitest";
import { lkcdOf, type Lkcd } from "../../diskdump/peers/lkcd/lkcd.ts";
import { pointed, walks_for_ever } from "../../kernel-sim/core/fault.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import { bootTestMachine } from "../../kernel-sim/core/testing.ts";
import { peek32, peekPtr } from "../../kernel-sim/abi/ram.ts";
import { savedRegisters } from "../../kernel-sim/core/registers.ts";
import { buildHardware } from "../../tools/machine/hardware.ts";
import { bootLab, type Lab } from "../../tools/machine/lab.ts";
import { loadScenario } from "../../tools/scenario/load.ts";

const SMALL = ["cpus=4", "memory.size=32MiB", "load.perDisk=6"];

function dumped(sets: readonly string[]): { lab: Lab; lkcd: Lkcd } {
  const scenario = loadScenario("learn", [...SMALL, ...sets], "lkcd");
  const lab = bootLab(buildHardware(scenario, 3), scenario);
  lab.hardware.machine.run(scenario.limits.virtualTimeNs);
  return { lab, lkcd: lkcdOf(lab.kernel)! };
}

describe("INIT on one CPU", () => {
  let lab: Lab;
  let lkcd: Lkcd;
  beforeAll(() => void ({ lab, lkcd } = dumped(["crash.initTargets=monarch", "crash.cpu=2"])));

  test("the others have answered and stand in schedule(), alive; the dump is complete", () => {
    expect(lkcd.outcome.result).toBe("complete");
    expect(lkcd.data.waiting_for_dump_ipi).toBe(0);
    const { kernel, hardware } = lab;
    for (const c of hardware.machine.cpus) {
      if (c.id === 2) continue;
      expect(kernel.functionName(c.functionId)).toBe("dump_schedule");
      expect(c.interruptsEnabled).toBe(true);
      expect(c.abandoned).toEqual([]);
    }
  });

  test("each left its registers, its task and a copy of its stack as they were when it answered", () => {
    const { kernel } = lab;
    for (const { id } of lab.hardware.machine.cpus) {
      const task = kernel.tasks.get(peekPtr(lkcd.slot("dump_saved_task", id)));
      expect(task).toBeDefined();
      const { ip } = savedRegisters(peekPtr(lkcd.slot("dump_saved_regs", id)));
      if (!Number.isNaN(ip)) expect(kernel.functionAt(ip)).toBeDefined();
      expect(lkcd.machine().get("dha_dumping_cpu")).toBe(2);
    }
  });

  test("every line leads to the dumping CPU, which says that it is in no interrupt", () => {
    expect(lab.hardware.machine.ioApic.entries.every(({ destination }) => destination === 2)).toBe(true);
    // Before, all lines led to CPU 0.
    expect(peek32(lkcd.data.saved_affinity + 16 * 4)).toBe(1);
    expect(lab.kernel.percpu[2]!.softirqDepth).toBe(0);
  });
});

test("a crash in an interrupt is said to be one, and its counters are kept before they are cleared", () => {
  const { lab, lkcd } = dumped(["crash.trigger=sysrq_c", "crash.context=hardirq"]);
  expect(lkcd.outcome.result).toBe("complete");
  expect(lkcd.data.saved_irq_count).toBe(1);
  expect(lab.kernel.console.lines.map(({ text }) => text)).toContain(
    "Dumping from interrupt handler ! Uncertain scenario - but will try my best",
  );
});

test("INIT on all CPUs: those in the slaves' loop have answered from there, and none is asked again", () => {
  const { lab, lkcd } = dumped(["crash.cpu=1"]);
  expect(lkcd.outcome.result).toBe("complete");
  expect(lkcd.data.dump_init_slaves).toBe(0b1101);
  for (const c of lab.hardware.machine.cpus) if (c.id !== 1) expect(c.abandoned.length).toBe(1);
});

let cameBack = false;
const test_wild_pointer = kfunc("test_wild_pointer", function* () {
  pointed(undefined, 0x1234);
  cameBack = true;
});
const test_circle = kfunc("test_circle", function* () {
  walks_for_ever("a list of the test's");
});

describe("a list that was left half linked", () => {
  test("makes plain code fault that takes a pointer which leads nowhere: the kernel oopses and the CPU does not go on", () => {
    const k = bootTestMachine({ cpus: 1 });
    cameBack = false;
    runKernel(k, test_wild_pointer, 1e9);
    expect(cameBack).toBe(false);
    expect(k.crash?.reason).toBe("Oops: 0000 [1] SMP");
    expect(k.crash?.functionName).toBe("test_wild_pointer");
  });

  test("keeps a CPU for ever that walks it in a circle, and what it holds with it", () => {
    const k = bootTestMachine({ cpus: 1 });
    runKernel(k, test_circle, 1e9);
    expect(k.endlessWalks).toEqual([{ cpu: 0, list: "a list of the test's", functionName: "test_circle" }]);
    expect(k.machine.cpus[0]!.interruptsEnabled).toBe(false);
  });

  test("an object that is there is what the pointer leads to", () => {
    const found = { a: 1 };
    expect(pointed(found, 4)).toBe(found);
  });
});
