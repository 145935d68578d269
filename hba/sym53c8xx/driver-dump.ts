// The diskdump hooks of the driver, as RHEL4's sym53c8xx_2 has them (facts hba/sym53c8xx.md section 9).
//
// There is no dump_quiesce: the dumper calls eh_host_reset_handler, which resets bus and chip without sleeping.
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kquick } from "../../kernel-sim/core/kfunc.ts";
import { del_timer, mod_timer } from "../../kernel-sim/core/timer.ts";
import type { scsi_device } from "../../kernel-sim/scsi/host.ts";
import type { SYM_HCB } from "./driver-hcb.ts";
import { serveChip } from "./driver-interrupt.ts";
import { kfuncOf } from "./driver-kfunc.ts";
import { timerInterval } from "./driver-reset.ts";

const ENXIO = 6;

/**
 * Can I/O be issued? The driver has no lock but the host's, which the dumper looks at itself. Its timer, which ends the settle
 * time after a reset, moves to this CPU: another one's wheel does not turn any more.
 * Returns: 0; -ENXIO without an adapter. Locks: none taken. Context: dump, irqs off.
 */
export const sym53c8xx_sanity_check = kfuncOf("sym53c8xx_sanity_check", function* (sdev: scsi_device) {
  const np = sdev.host.hostdata as SYM_HCB | undefined;
  if (!np) return -ENXIO;
  yield* del_timer(np.timer);
  yield* mod_timer(np.timer, K.time.jiffies + timerInterval());
  return 0;
});

/** Returns: nothing. Locks: none taken; host_lock may belong to the dumper. Context: dump, irqs off. Must not: sleep, allocate, enable irqs. */
export const sym53c8xx_poll = kquick(
  "sym53c8xx_poll",
  (sdev: scsi_device): Running<unknown> => {
    const np = sdev.host.hostdata as SYM_HCB | undefined;
    return np ? serveChip(np) : finished();
  },
  "sym53c8xx",
);
