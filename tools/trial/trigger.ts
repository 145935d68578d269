// How and when a trial's machine is made to die. Everything here strikes through a mechanism of the machine: an event that
// sends INIT or NMI, a probe on a kernel function, a process, timer or interrupt handler that runs into the fault.
import { cpu, finished, type Cpu, type Running } from "../../emulator/cpu/cpu.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { timer_list } from "../../kernel-sim/abi/structs/base.ts";
import { common_interrupt } from "../../kernel-sim/core/entry.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { kernelFunctions } from "../../kernel-sim/core/function-table.ts";
import { armProbe, kfunc } from "../../kernel-sim/core/kfunc.ts";
import { BUG, page_fault, handle_sysrq, panic } from "../../kernel-sim/core/panic.ts";
import { local_irq_disable, spin_lock_irqsave, type Spinlock } from "../../kernel-sim/core/spinlock.ts";
import { delayNs, init_timer, mod_timer } from "../../kernel-sim/core/timer.ts";
import { schedule, set_current_state, try_to_wake_up } from "../../kernel-sim/core/sched.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import type { CrashScenario, CrashTrigger } from "../scenario/scenario.ts";
import { nearest } from "../scenario/validate.ts";
import type { PluggedAdapter } from "../machine/hardware.ts";

/** The keyboard's vector: where SysRq comes in when it comes from an interrupt. */
const KEYBOARD_VECTOR = 0x39;

/** INIT and NMI land between two accesses; the others are things that kernel code runs into. */
const isLanding = (trigger: CrashTrigger): boolean => trigger === "os_init" || trigger === "nmi_switch";

/** Runs into the fault, in whatever context the caller is. */
export const crash_here = kfunc("lkdtm_do_action", function* (trigger: CrashTrigger) {
  switch (trigger) {
    case "panic":
      yield* panic("dumplab: crash injected");
      break;
    case "oops":
      yield* page_fault(0);
      break;
    case "bug":
      yield* BUG("drivers/misc/lkdtm.c:280!");
      break;
    case "sysrq_c":
      yield* handle_sysrq("c");
      break;
    case "nmi_watchdog":
      // A CPU that loops with interrupts off; the watchdog finds it after five seconds.
      local_irq_disable();
      for (;;) yield* delayNs(1e6);
    case "os_init":
    case "nmi_switch":
      land(cpu, trigger, cpu.clock);
  }
});

function land(c: Cpu, trigger: CrashTrigger, at: number): void {
  K.machine.land(
    c,
    trigger === "os_init" ? { kind: "init", reason: "os_init" } : { kind: "nmi", reason: "switch" },
    at,
  );
}

/** Delivers an INIT or NMI: to one CPU, or to all at the same instant. */
function strike(crash: CrashScenario, at: number): void {
  const { cpus, random } = K.machine;
  const monarch = crash.cpu ?? random.stream("crash.cpu").between(0, cpus.length - 1);
  if (crash.trigger === "os_init" && crash.initTargets === "all") {
    // The monarch is whoever gets there first: the INIT reaches it first, although another CPU may be simulated before it.
    K.initMonarch = monarch;
    land(cpus[monarch]!, crash.trigger, at);
    for (const c of cpus) if (c.id !== monarch) land(c, crash.trigger, at + 1);
  } else land(cpus[monarch]!, crash.trigger, at);
}

/** A process that sleeps until the moment and then crashes, with a lock taken if it must hold one. */
const crasher = kfunc("crasher", function* (crash: CrashScenario, afterNs: number) {
  yield* sleepExactly(afterNs);
  if (crash.holding !== null) yield* spin_lock_irqsave(lockNamed(crash.holding));
  yield* crash_here(crash.trigger);
});

/** Sleeps in whole jiffies, then spins for the rest: the moment is the scenario's, not the tick's. */
export const sleepExactly = kfunc("crasher_sleep", function* (ns: number) {
  const until = cpu.clock + ns;
  const task = K.percpu[cpu.id]!.current;
  while (until - cpu.clock > 2 * K.time.tickNs) {
    const timer = init_timer(task.stack + 1024, "crasher", wakeCrasher, task.addr);
    timer.data = task.addr;
    yield* mod_timer(timer, K.time.jiffies + Math.floor((until - cpu.clock) / K.time.tickNs) - 1);
    set_current_state(2);
    yield* schedule();
  }
  if (until > cpu.clock) yield* delayNs(until - cpu.clock);
});

const wakeCrasher = kfunc("crasher_timeout", function* (addr: number) {
  yield* try_to_wake_up(K.tasks.get(addr)!);
});

function suggestion(name: string, known: readonly string[]): string {
  const near = nearest(name, known);
  return near === undefined ? "" : `; did you mean "${near}"?`;
}

function lockNamed(name: string): Spinlock {
  const { locks } = K;
  // "host_lock" is the first adapter's "scsi0.host_lock".
  const lock = locks.get(name) ?? [...locks.values()].find((l) => l.name.endsWith(`.${name}`));
  if (lock) return lock;
  const known = [...locks.keys()].flatMap((full) => [full, full.slice(full.indexOf(".") + 1)]);
  throw new UsageError(`crash: the kernel has no lock named "${name}"${suggestion(name, known)}`);
}

type Adapters = readonly PluggedAdapter[];

/**
 * Arms the crash; called by init when the load starts. Context: process.
 * `loadStart`: the instant from which its moment counts, when that is not this one.
 * Throws a UsageError for a function, lock or adapter that does not exist.
 */
export const arm_crash = kfunc("arm_crash", function* (crash: CrashScenario, adapters: Adapters, loadStart?: number) {
  const { at } = crash;
  const start = loadStart ?? cpu.clock;
  switch (at.kind) {
    case "time":
      yield* armAtTime(crash, start + at.timeNs);
      break;
    case "random": {
      const after = K.machine.random.stream("crash.moment").between(at.fromNs, at.toNs);
      yield* armAtTime(crash, start + after);
      break;
    }
    case "function":
      if (!armProbe(at.name, at.count, () => crash_here(crash.trigger))) {
        const known = kernelFunctions().map((f) => f.name);
        throw new UsageError(
          `crash.at.function: there is no kernel function "${at.name}"${suggestion(at.name, known)}`,
        );
      }
      break;
    case "access": {
      const adapter = adapters.find((a) => a.scenario.name === at.adapter);
      if (!adapter) throw new UsageError(`crash.at.access: there is no adapter "${at.adapter}"`);
      armAtAccess(crash, adapter, at.count);
      break;
    }
    case "lock": {
      const lock = lockNamed(at.name);
      let left = at.count;
      lock.onTaken = (_, c) => {
        if (--left > 0) return;
        lock.onTaken = undefined;
        interruptWith(crash, c);
      };
    }
  }
});

/**
 * At an instant of a running CPU: INIT and NMI land there, or on the CPU that the scenario names (and then, an INIT for all, on
 * every other); other faults strike in an interrupt, as soon as one can come.
 */
function interruptWith(crash: CrashScenario, c: Cpu): void {
  if (isLanding(crash.trigger) && crash.cpu !== null && crash.cpu !== c.id) strike(crash, c.clock);
  else if (isLanding(crash.trigger)) land(c, crash.trigger, c.clock);
  else c.apic.request(KEYBOARD_VECTOR, c.clock);
}

function armAtAccess(crash: CrashScenario, adapter: PluggedAdapter, count: number): void {
  K.irq.setVector(KEYBOARD_VECTOR, common_interrupt, () => crash_here(crash.trigger));
  accessHook(adapter.devfn, count, () => interruptWith(crash, cpu));
}

/** Set by the machine builder: calls `hit` at the count-th register access of the adapter in a slot. */
let accessHook: (devfn: number, count: number, hit: () => void) => void = () => {};
export const setAccessHook = (hook: typeof accessHook): void => {
  accessHook = hook;
};

function armAtTime(crash: CrashScenario, at: number): Running<unknown> {
  const afterNs = Math.max(0, at - cpu.clock);
  K.irq.setVector(KEYBOARD_VECTOR, common_interrupt, () => crash_here(crash.trigger));
  const { events, cpus } = K.machine;
  if (
    isLanding(crash.trigger) &&
    crash.holding === null &&
    crash.context !== "hardirq" &&
    crash.context !== "softirq"
  ) {
    events.arm(
      makeEvent(`crash.${crash.trigger}`, (event) => strike(crash, event.at)),
      at,
    );
    return finished();
  }
  switch (crash.context) {
    case "softirq": {
      const timer = init_timer(K.bootmem(K.sizeOf(timer_list), 64), "crasher", () => crash_here(crash.trigger));
      return mod_timer(timer, K.time.jiffies + Math.max(1, Math.round(afterNs / K.time.tickNs)));
    }
    case "hardirq": {
      const target = cpus[crash.cpu ?? K.machine.random.stream("crash.cpu").between(0, cpus.length - 1)]!;
      events.arm(
        makeEvent("crash.keyboard", (event) => {
          target.apic.request(KEYBOARD_VECTOR, event.at);
          K.machine.ioApic.onRequest(target, event.at);
        }),
        at,
      );
      return finished();
    }
    default:
      return do_fork("crasher", () => crasher(crash, afterNs), crash.cpu ?? 0);
  }
}
