// Busy waits that look at a device again and again: the rounds that cannot find anything are passed over at once.
import { accessTriggers } from "../../emulator/bus/mmio.ts";
import { cpu } from "../../emulator/cpu/cpu.ts";
import { K } from "./kernel.ts";
import { probesArmed } from "./kfunc.ts";

/**
 * A round of polling that began at `start` (this CPU's clock) has found nothing. Until something is due the next rounds find
 * nothing either, each in the same time: lets the time of those that end before it pass at once. Same clock, same trace as one by one.
 * For CPUs with interrupts off only.
 * @param dueNs when the caller itself has something to do; Infinity for never
 * Returns: how many rounds were passed over.
 */
export function passIdleRounds(start: number, dueNs: number): number {
  const c = cpu;
  const { events } = K.machine;
  // What happened since `start` may have changed what the next poll finds, and triggers count calls and accesses.
  if (events.lastFiredAt >= start || accessTriggers.armed > 0 || probesArmed()) return 0;
  // Another CPU that still runs comes first when its time has come.
  const due = Math.min(events.nextAt, dueNs, c.landAt, c.horizon);
  const round = c.clock - start;
  const rounds = Math.ceil((due - c.clock) / round) - 1;
  if (!(rounds > 0) || due === Infinity) return 0;
  c.clock += rounds * round;
  return rounds;
}

/**
 * The same, when no whole round fits any more: of the next one the poll, which takes `pollNs`, can find nothing either when it
 * ends before anything is due. Lets its time pass; the caller goes on with what follows the poll. Returns: whether it did.
 */
export function passIdlePoll(start: number, pollNs: number): boolean {
  const c = cpu;
  const { events } = K.machine;
  if (events.lastFiredAt >= start || accessTriggers.armed > 0 || probesArmed()) return false;
  const end = c.clock + pollNs;
  if (!(end < events.nextAt && end < c.landAt && end < c.horizon)) return false;
  c.clock = end;
  return true;
}
