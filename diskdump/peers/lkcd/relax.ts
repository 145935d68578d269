// How a loop of the dump waits that has nothing to do but look again.
//
// LKCD's loops look without a pause. A look that finds nothing changes nothing, so here one look stands for many: the pause between
// two grows while none finds anything, up to a tick, and an interrupt ends it at once. That keeps the host's time out of the
// dump's waiting; what the dump could see changes by interrupts (its own end_io), by other CPUs, and by timers.
import { DELAY, STOPPED, cpu, takeInterrupts } from "../../../emulator/cpu/cpu.ts";
import type { Lkcd } from "./lkcd.ts";

const FIRST_NS = 500;
const LONGEST_NS = 1_000_000;

/** The wait begins: the next pauses are short again. */
export function waitBegins(lkcd: Lkcd): void {
  lkcd.relaxNs = FIRST_NS;
}

/** No other CPU will do anything: what there is to see comes by an interrupt here, which ends a pause of any length. */
const othersAreStopped = (lkcd: Lkcd): boolean =>
  lkcd.kernel.machine.cpus.every((other) => other === cpu || other.state === STOPPED);

/** cpu_relax(), as often as need be. Interrupts are taken if they are on. */
export function* relax(lkcd: Lkcd): Generator<void, void, void> {
  const c = cpu;
  const ns = c.interruptsEnabled && othersAreStopped(lkcd) ? LONGEST_NS : lkcd.relaxNs || FIRST_NS;
  lkcd.relaxNs = Math.min(LONGEST_NS, ns * 2);
  if (!(c.attention && c.interruptsEnabled && c.apic.pending(c.clock))) {
    c.state = DELAY;
    c.until = c.clock + ns;
    yield;
  }
  if (c.attention && c.interruptsEnabled) yield* takeInterrupts(c);
}
