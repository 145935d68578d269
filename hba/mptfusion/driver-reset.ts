// Making the IOC ready, and resetting it (MakeIocReady, KickStart, mpt_diag_reset, mpt_HardResetHandler; mptbase.c of 2.6.9).
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../kernel-sim/core/spinlock.ts";
import { mpt_do_ioc_recovery } from "./driver-bringup.ts";
import { SendIocReset, callResetHandlers, mpt_GetIocState } from "./driver-doorbell.ts";
import {
  CAN_SLEEP,
  MPT_IOC_PRE_RESET,
  MPT_IOC_SETUP_RESET,
  MPT_MDELAY,
  mpt_delay,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import {
  MPI,
  MPI_DIAG_DISABLE_ARM,
  MPI_DIAG_DRWE,
  MPI_DIAG_FLASH_BAD_SIG,
  MPI_DIAG_RESET_ADAPTER,
  MPI_DIAG_RESET_HISTORY,
  MPI_DOORBELL_ACTIVE,
  MPI_DOORBELL_DATA_MASK,
  MPI_DOORBELL_WHO_INIT_MASK,
  MPI_DOORBELL_WHO_INIT_SHIFT,
  MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET,
  MPI_FUNCTION_IO_UNIT_RESET,
  MPI_IOC_STATE_FAULT,
  MPI_IOC_STATE_MASK,
  MPI_IOC_STATE_OPERATIONAL,
  MPI_IOC_STATE_READY,
  MPI_IOC_STATE_RESET,
  MPI_WRSEQ_FLUSH,
  MPI_WRSEQ_KEYS,
} from "./registers.ts";

const kfunc = moduleFunctions("mptbase");

export const MPT_HOSTEVENT_IOC_BRINGUP = 0x91;
export const MPT_HOSTEVENT_IOC_RECOVER = 0x92;
const MPI_WHOINIT_PCI_PEER = 0x03;
const KEY_TRIES = 20;

/** Opens the diagnostic register. Returns its contents, or -1 when it does not open. */
const openDiagnostic = kfunc("mpt_diag_open", function* (ioc: MPT_ADAPTER, sleepFlag: number) {
  const { chip } = ioc;
  let diag = chip.readl(MPI.Diagnostic);
  for (let tries = 0; (diag & MPI_DIAG_DRWE) === 0; tries++) {
    if (tries > KEY_TRIES) {
      yield* printk(`mptbase: ${ioc.name}: ERROR - Enable Diagnostic mode FAILED! (${diag.toString(16)}h)\n`, 3);
      return -1;
    }
    if (tries > 0) yield* mpt_delay(100, sleepFlag);
    chip.writel(MPI_WRSEQ_FLUSH, MPI.WriteSequence);
    for (const key of MPI_WRSEQ_KEYS) chip.writel(key, MPI.WriteSequence);
    diag = chip.readl(MPI.Diagnostic);
  }
  return diag;
});

/**
 * Diagnostic reset: the hardest there is. When the IOC has a reset behind it already and `ignore` is not set: nothing.
 * Returns 1 when it was reset, 0 when not, negative when it did not come back. Context: process with CAN_SLEEP, else any.
 */
export const mpt_diag_reset = kfunc("mpt_diag_reset", function* (ioc: MPT_ADAPTER, ignore: number, sleepFlag: number) {
  const { chip } = ioc;
  chip.writel(0, MPI.IntStatus);
  let diag = chip.readl(MPI.Diagnostic);
  if (ignore === 0 && (diag & MPI_DIAG_RESET_HISTORY) !== 0) return 0;
  diag = yield* openDiagnostic(ioc, sleepFlag);
  if (diag < 0) return -2;
  // The ARM must stand still while the adapter is being reset.
  chip.writel(diag | MPI_DIAG_DISABLE_ARM, MPI.Diagnostic);
  yield* MPT_MDELAY(1);
  chip.writel(diag | MPI_DIAG_RESET_ADAPTER, MPI.Diagnostic);
  yield* callResetHandlers(ioc, MPT_IOC_PRE_RESET);
  // Firmware starts from flash: up to a minute.
  for (let count = 0; count < 60_000; count++) {
    if ((chip.readl(MPI.Doorbell) & MPI_IOC_STATE_MASK) === MPI_IOC_STATE_READY) break;
    yield* mpt_delay(1, sleepFlag);
  }
  diag = yield* openDiagnostic(ioc, sleepFlag);
  if (diag < 0) return -2;
  chip.writel(diag & ~MPI_DIAG_RESET_HISTORY, MPI.Diagnostic);
  chip.writel(MPI_WRSEQ_FLUSH, MPI.WriteSequence);
  diag = chip.readl(MPI.Diagnostic);
  if ((diag & (MPI_DIAG_FLASH_BAD_SIG | MPI_DIAG_RESET_ADAPTER | MPI_DIAG_DISABLE_ARM)) !== 0) {
    yield* printk(`mptbase: ${ioc.name}: ERROR - Diagnostic reset FAILED! (${diag.toString(16)}h)\n`, 3);
    return -3;
  }
  return 1;
});

/** Message unit reset, a second's rest, then a diagnostic reset. Returns as mpt_diag_reset. */
export const KickStart = kfunc("KickStart", function* (ioc: MPT_ADAPTER, force: number, sleepFlag: number) {
  // A message unit reset first clears some SCSI bus hangs.
  yield* SendIocReset(ioc, MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET, sleepFlag);
  yield* mpt_delay(1000, sleepFlag);
  const reset = yield* mpt_diag_reset(ioc, force, sleepFlag);
  if (reset < 0) return reset;
  for (let count = (sleepFlag === CAN_SLEEP ? K.hz : 1000) * 10; count > 0; count--) {
    const state = mpt_GetIocState(ioc, 1);
    if (state === MPI_IOC_STATE_READY || state === MPI_IOC_STATE_OPERATIONAL) return reset;
    yield* mpt_delay(1, sleepFlag);
  }
  yield* printk(`mptbase: ${ioc.name}: ERROR - Failed to come READY after reset!\n`, 3);
  return -1;
});

/**
 * Brings the IOC to READY, by force if asked to or if it hangs.
 * Returns 0 when a soft reset or none was enough, 1 after a hard reset, negative when it failed.
 */
export const MakeIocReady = kfunc("MakeIocReady", function* (ioc: MPT_ADAPTER, force: number, sleepFlag: number) {
  let fault = 0;
  const state = mpt_GetIocState(ioc, 0);
  if ((state & MPI_DOORBELL_ACTIVE) !== 0) {
    // Somebody left it in the middle of a handshake.
    fault = 1;
    yield* printk(`mptbase: ${ioc.name}: WARNING - Unexpected doorbell active!\n`, 4);
  }
  const cooked = (state & MPI_IOC_STATE_MASK) >>> 0;
  if (fault === 0 && cooked === MPI_IOC_STATE_READY) return 0;
  if (cooked === MPI_IOC_STATE_FAULT) {
    fault = 2;
    const code = (state & MPI_DOORBELL_DATA_MASK).toString(16).padStart(4, "0");
    yield* printk(`mptbase: ${ioc.name}: WARNING - IOC is in FAULT state!!!\n           FAULT code = ${code}h\n`, 4);
  }
  if (cooked === MPI_IOC_STATE_OPERATIONAL) {
    const who = (state & MPI_DOORBELL_WHO_INIT_MASK) >>> MPI_DOORBELL_WHO_INIT_SHIFT;
    if (who === MPI_WHOINIT_PCI_PEER) return -4;
    if (fault === 0 && force === 0) {
      if ((yield* SendIocReset(ioc, MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET, sleepFlag)) === 0) return 0;
    }
    fault = 3;
  }
  const reset = yield* KickStart(ioc, fault !== 0 || force !== 0 ? 1 : 0, sleepFlag);
  if (reset < 0) return -1;
  for (let left = (sleepFlag === CAN_SLEEP ? K.hz : 1000) * 15; ; left--) {
    const now = mpt_GetIocState(ioc, 1);
    if (now === MPI_IOC_STATE_READY) break;
    if (now === MPI_IOC_STATE_OPERATIONAL) {
      if ((yield* SendIocReset(ioc, MPI_FUNCTION_IOC_MESSAGE_UNIT_RESET, sleepFlag)) !== 0) return -2;
    } else if (now === MPI_IOC_STATE_RESET) {
      if ((yield* SendIocReset(ioc, MPI_FUNCTION_IO_UNIT_RESET, sleepFlag)) !== 0) return -3;
    }
    if (left <= 0) {
      yield* printk(`mptbase: ${ioc.name}: ERROR - Wait IOC_READY state timeout(15)!\n`, 3);
      return -62;
    }
    yield* mpt_delay(1, sleepFlag);
  }
  if (fault > 0 && fault < 3) {
    yield* printk(`mptbase: ${ioc.name}: Recovered from ${fault === 1 ? "stuck handshake" : "IOC FAULT"}\n`, 6);
  }
  return reset;
});

/**
 * Resets the adapter and brings it up again; one at a time: a second call while one is under way returns 0 at once.
 * Returns 0, or negative. Locks: diagLock inside; the caller holds none. Context: process with CAN_SLEEP; the dump with NO_SLEEP.
 */
export const mpt_HardResetHandler = kfunc("mpt_HardResetHandler", function* (ioc: MPT_ADAPTER, sleepFlag: number) {
  let flags = yield* spin_lock_irqsave(ioc.diagLock);
  if (ioc.s.diagPending !== 0) {
    yield* spin_unlock_irqrestore(ioc.diagLock, flags);
    return 0;
  }
  ioc.s.diagPending = 1;
  yield* spin_unlock_irqrestore(ioc.diagLock, flags);
  yield* callResetHandlers(ioc, MPT_IOC_SETUP_RESET);
  const rc = yield* mpt_do_ioc_recovery(ioc, MPT_HOSTEVENT_IOC_RECOVER, sleepFlag);
  if (rc !== 0) yield* printk(`mptbase: WARNING - (${rc}) Cannot recover ${ioc.name}\n`, 4);
  flags = yield* spin_lock_irqsave(ioc.diagLock);
  ioc.s.diagPending = 0;
  yield* spin_unlock_irqrestore(ioc.diagLock, flags);
  return rc;
});
