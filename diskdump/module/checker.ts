// The run-time checker of white paper 4.3: what a driver must not call while the machine dumps.
//
// It reports function, rule and stack once per function and rule: as a finding of the simulator (K.reports) at once, and as a
// kernel warning at the dump's next chance to print.
import { cpu } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { stackFunctions } from "../../kernel-sim/core/panic.ts";

const NO_ALLOCATION =
  "no memory can be allocated while dumping: the allocator's locks and lists may be broken (white paper 2.2)";

/** The rule behind each forbidden call. */
const RULES: Readonly<Record<string, string>> = {
  schedule: "schedule() can't be used in diskdump functions: nothing would ever switch back (white paper 4.3, 5)",
  tasklet_hi_schedule:
    "tasklet_hi_schedule() can't be used in diskdump functions: only tasklet_schedule() is emulated (white paper 4.3, 5)",
  mdelay:
    "use diskdump_mdelay() instead of mdelay() in diskdump functions: nmi_watchdog would strike (white paper 4.3, 4)",
  local_irq_enable: "don't enable the interrupt in diskdump functions (white paper 4.3, 3)",
  sleep: "you can't use a function with possibility of sleeping (white paper 4.3, 5)",
  alloc_pages: NO_ALLOCATION,
  kmem_cache_alloc: NO_ALLOCATION,
  kmalloc: NO_ALLOCATION,
};
const UNKNOWN_RULE = "not to be called in diskdump functions (white paper 4.3)";

/** Functions that sleep by calling schedule(): the caller broke the rule on sleeping, not the one on schedule(). */
const SLEEPERS = new Set([
  "wait_event",
  "wait_event_timeout",
  "down",
  "wait_for_completion",
  "wait_for_completion_timeout",
  "msleep",
  "schedule_timeout",
]);

const STACK_DEPTH = 16;

export interface DumpModeFinding {
  /** The function that made the call. */
  readonly functionName: string;
  /** What it called. */
  readonly called: string;
  readonly rule: string;
  /** Innermost first. */
  readonly stack: readonly string[];
}

export class DumpModeChecker {
  readonly findings: DumpModeFinding[] = [];
  /** Findings that have not been printed yet. */
  readonly unprinted: DumpModeFinding[] = [];
  private readonly seen = new Set<string>();
  private dumpingCpu = -1;

  /** From now on, calls on this CPU are checked. */
  start(dumpingCpu: number): void {
    this.dumpingCpu = dumpingCpu;
    K.onSchedule = () => this.forbid("schedule");
    K.onIrqEnable = () => this.forbid("local_irq_enable");
  }

  stop(): void {
    this.dumpingCpu = -1;
    K.onSchedule = undefined;
    K.onIrqEnable = undefined;
  }

  forbid(what: string): void {
    const c = cpu;
    if (c.id !== this.dumpingCpu) return;
    const stack = stackFunctions(c.fp);
    let called = what;
    let at = 0;
    while (at < stack.length - 1 && (stack[at] === what || SLEEPERS.has(stack[at]!))) {
      if (SLEEPERS.has(stack[at]!)) called = stack[at]!;
      at++;
    }
    const functionName = stack[at] ?? "?";
    const key = `${functionName} ${called}`;
    if (this.seen.has(key)) return;
    this.seen.add(key);
    const rule = RULES[SLEEPERS.has(called) ? "sleep" : what] ?? UNKNOWN_RULE;
    const finding = { functionName, called, rule, stack: stack.slice(0, STACK_DEPTH) };
    this.findings.push(finding);
    this.unprinted.push(finding);
    K.reports.push(`dump mode: ${functionName} called ${called}(): ${rule}; stack: ${finding.stack.join(" < ")}`);
  }
}
