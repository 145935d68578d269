// Busy waits that look at a device again and again: the rounds that cannot find anything are passed over at once.
import { accessTriggers } from "../../emulator/bus/mmio.ts";
import { cpu } from "../../emulator/cpu/cpu.ts";
import { K } from "./kernel.ts";
import { probesArmed } from "./kfunc.ts";

/** Nothing has happened since `start` that could have changed what the next poll finds, and no trigger counts accesses or calls. */
const quietSince = (start: number): boolean =>
  K.machine.events.lastFiredAt < start && accessTriggers.armed === 0 && !probesArmed();

/**
 * A round of polling that began at `start` (this CPU's clock) has found nothing. Until something is due the next rounds find
 * nothing either, each in the same time: lets the time of those that end before it pass at once. Same clock, same trace as one by one.
 * For CPUs with interrupts off only.
 * @param dueNs when the caller itself has something to do; Infinity for never
 * Returns: how many rounds were passed over.
 */
export function passIdleRounds(start: number, dueNs: number): number {
  if (!quietSince(start)) return 0;
  const c = cpu;
  // Another CPU that still runs comes first when its time has come.
  const due = Math.min(K.machine.events.nextAt, dueNs, c.landAt, c.horizon);
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
  if (!quietSince(start)) return false;
  const c = cpu;
  const end = c.clock + pollNs;
  if (!(end < K.machine.events.nextAt && end < c.landAt && end < c.horizon)) return false;
  c.clock = end;
  return true;
}
