// A dump that waits for what never comes is stopped here: the machine looks now and then whether anything was written.
import { makeEvent } from "../../../emulator/time/events.ts";
import { HALT, STOPPED } from "../../../emulator/cpu/cpu.ts";
import type { Machine } from "../../../emulator/cpu/machine.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";

/**
 * Longer than a SCSI command's timeout (30 s), so that the kernel's own ways out have had their chance. It is not much work: a dump
 * that waits looks again once a tick.
 */
export const NO_PROGRESS_SECONDS = 35;
const LOOK_NS = 1e9;

/** Stops the machine when `progress` has stood still for `limitSeconds`, or the dumping CPU has gone for good. */
export function watchProgress(machine: Machine, progress: () => number, limitSeconds = NO_PROGRESS_SECONDS): void {
  // The kernel that runs may be another one later.
  const c = machine.cpus[K.crash?.cpu ?? 0]!;
  let last = progress();
  let stoodFor = 0;
  const event = makeEvent("dump.progress", (fired) => {
    if (K.restarted !== undefined) return;
    const gone = c.state === STOPPED || (c.state === HALT && !c.interruptsEnabled);
    const now = progress();
    stoodFor = now === last ? stoodFor + 1 : 0;
    last = now;
    if (gone || stoodFor >= limitSeconds) {
      machine.stopReason = gone ? "the dumping CPU stands still" : "the dump makes no progress";
      return;
    }
    machine.events.arm(fired, fired.at + LOOK_NS);
  });
  machine.events.arm(event, machine.now() + LOOK_NS);
}
