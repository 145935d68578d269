// The diskdump hooks of the driver, as white paper chapter 4.4 gives them.
import { finished, type Running } from "../../emulator/cpu/cpu.ts";
import { kquick, moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { spin_is_locked } from "../../kernel-sim/core/spinlock.ts";
import type { scsi_device } from "../../kernel-sim/scsi/host.ts";
import { mpt_interrupt, mpt_poll_interrupt } from "./driver-interrupt.ts";
import type { MPT_SCSI_HOST } from "./driver-scsi-host.ts";

const kfunc = moduleFunctions("mptscsih");
const ENXIO = 6;
const EBUSY = 16;

/**
 * Can I/O be issued? A frame queue that was being changed when the machine died cannot be trusted, nor its lock waited for.
 * Returns: 0; -ENXIO without an adapter; -EBUSY when FreeQlock is held. Locks: none taken. Context: dump, irqs off.
 */
export const mptscsih_sanity_check = kfunc("mptscsih_sanity_check", function* (sdev: scsi_device) {
  const hd = sdev.host.hostdata as MPT_SCSI_HOST | undefined;
  if (!hd) return -ENXIO;
  if (spin_is_locked(hd.ioc.FreeQlock)) return -EBUSY;
  return 0;
});

/** Returns: nothing. Locks: none taken; host_lock may belong to the dumper. Context: dump, irqs off. Must not: sleep, allocate, enable irqs. */
export const mptscsih_poll = kquick(
  "mptscsih_poll",
  (sdev: scsi_device): Running<unknown> => {
    const hd = sdev.host.hostdata as MPT_SCSI_HOST | undefined;
    if (!hd || !mpt_poll_interrupt(hd.ioc)) return finished();
    return mpt_interrupt(hd.ioc);
  },
  "mptscsih",
);
