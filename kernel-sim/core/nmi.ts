// NMI and INIT: what cannot be masked (arch/x86_64/kernel/nmi.c, ia64's OS_INIT, with the diskdump patches of RHEL).
//
// Both land between the effects of any two accesses. Either the entry returns and the interrupted code goes on, or that
// code is abandoned and this CPU starts a fresh program on its NMI stack.
import { cpu, type Cpu, type Landing, type Program, type Running } from "../../emulator/cpu/cpu.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { nmi } from "./entry.ts";
import { K, per_cpu } from "./kernel.ts";
import { beginStack, kfunc, kleaf } from "./kfunc.ts";
import { die, panic } from "./panic.ts";
import { bust_spinlocks, printk } from "./printk.ts";
import { pushLandingRegisters } from "./registers.ts";
import { crash_nmi_callback, stop_this_cpu } from "./smp.ts";

/** Seconds without timer ticks after which the watchdog calls a CPU dead (2.6.9: 5). */
const LOCKUP_SECONDS = 5;

export function init_nmi(): void {
  for (const c of K.cpus) c.onLanding = land;
  if (K.boot.nmiWatchdog) start_watchdog();
}

/** One performance-counter NMI per CPU and second. */
function start_watchdog(): void {
  const { machine } = K;
  const { events } = machine;
  for (const c of K.cpus) {
    const event = makeEvent(`nmi-watchdog.cpu${c.id}`, (fired) => {
      // The counter's NMI comes through the local APIC.
      if (c.apic.isEnabled) machine.land(c, { kind: "nmi", reason: "watchdog" }, fired.at);
      events.arm(fired, fired.at + 1e9);
    });
    events.arm(event, events.now + 1e9 + c.id * 1e6);
  }
}

/** Says that this CPU is alive although it takes no timer ticks. */
export const touch_nmi_watchdog = kleaf("touch_nmi_watchdog", () => {
  K.watchdogTouches++;
});

/** Plain code: decides whether the interrupted context goes on (undefined) or is abandoned for a program. */
function land(c: Cpu, landing: Landing): Program | undefined {
  const p = per_cpu(c);
  // A handler that has not come back holds off what follows.
  if (p.inNmi) return undefined;
  p.pda.__nmi_count = p.pda.__nmi_count + 1;
  if (landing.reason === "watchdog") {
    if (p.timerTicks !== p.watchdogTicks || p.watchdogTouches !== K.watchdogTouches || K.dumpMode) {
      p.watchdogTicks = p.timerTicks;
      p.watchdogTouches = K.watchdogTouches;
      p.watchdogStale = 0;
      return undefined;
    }
    if (++p.watchdogStale < LOCKUP_SECONDS) return undefined;
    return abandonFor(c, () => die_nmi(`NMI Watchdog detected LOCKUP on CPU${c.id}, registers:`));
  }
  if (landing.reason === "dump") {
    // The callback runs on the NMI stack and returns; the interrupted code goes on.
    K.nmiCallback!(c, pushLandingRegisters(p.nmiStackTop));
    return undefined;
  }
  if (landing.reason === "freeze") return abandonFor(c, () => crash_nmi_callback(K.callFunction!), true);
  if (landing.kind === "init") {
    // The first CPU to get here is the monarch and dumps; the others wait for it where they are.
    K.initMonarch ??= c.id;
    if (K.initMonarch === c.id) return abandonFor(c, ia64_init_handler);
    const slave = abandonFor(c, () => crash_nmi_callback(stop_this_cpu));
    K.initSlaveCallback?.(c, p.nmiRegs);
    return slave;
  }
  return abandonFor(c, () => die_nmi("NMI: IOCK error (debug interrupt?) switch pressed"));
}

/** Registers go to the top of the NMI stack; the CPU is left with interrupts off and a fresh program. */
function abandonFor(c: Cpu, start: () => Running, quiet = false): Program {
  const p = per_cpu(c);
  p.interrupted = {
    ns: c.clock,
    functionName: K.functionName(c.functionId),
    sp: c.sp,
    fp: c.fp,
    functionId: c.functionId,
  };
  const regs = pushLandingRegisters(p.nmiStackTop);
  p.nmiRegs = regs;
  c.interruptsEnabled = false;
  beginStack(c, regs);
  c.functionId = nmi.id;
  if (!quiet) p.inNmi = true;
  return programOf(start);
}

function* programOf(start: () => Running): Generator<void, void, void> {
  yield* start();
}

/** NMI by switch or watchdog: an oops that ends in a dump or a panic. */
export const die_nmi = kfunc("die_nmi", function* (text: string) {
  bust_spinlocks(1);
  yield* printk(`${text}\n`, 0);
  yield* die("NMI", per_cpu(cpu).nmiRegs);
  yield* panic("nmi watchdog");
});

/** OS_INIT on the monarch (arch/ia64/kernel/mca.c with the osinit patch): straight to the dump. */
export const ia64_init_handler = kfunc("ia64_init_handler", function* () {
  bust_spinlocks(1);
  yield* printk("Entered OS INIT handler\n", 0);
  yield* die("OS_INIT", per_cpu(cpu).nmiRegs);
  yield* panic("OS_INIT");
});
