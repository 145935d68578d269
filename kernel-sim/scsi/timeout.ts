// Command timeouts (drivers/scsi/scsi_error.c of 2.6.9).
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions, textAddressOf } from "../core/kfunc.ts";
import { list_add_tail } from "../core/list.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../core/spinlock.ts";
import { add_timer, del_timer } from "../core/timer.ts";
import { up } from "../core/wait.ts";
import type { Scsi_Host, scsi_cmnd } from "./host.ts";

const kfunc = moduleFunctions("scsi_mod");

export const SHOST_ADD = 0;
export const SHOST_DEL = 1;
export const SHOST_CANCEL = 2;
export const SHOST_RECOVERY = 3;
export const SCSI_EH_CANCEL_CMD = 0x0001;
export const SCSI_EH_REC_TIMEOUT = 0x0002;
export const SCSI_STATE_TIMEOUT = 0x1000;
export const SCSI_STATE_FINISHED = 0x1001;
export const SCSI_STATE_FAILED = 0x1002;
export const SCSI_STATE_QUEUED = 0x1003;
export const SCSI_STATE_BHQUEUE = 0x100a;
export const SCSI_STATE_MLQUEUE = 0x100b;
export const SCSI_OWNER_HIGHLEVEL = 0x100;
export const SCSI_OWNER_MIDLEVEL = 0x101;
export const SCSI_OWNER_LOWLEVEL = 0x102;
export const SCSI_OWNER_ERROR_HANDLER = 0x103;
export const SCSI_OWNER_BH_HANDLER = 0x104;

export const shost_in_recovery = (host: Scsi_Host): boolean => (host.s.shost_state & (1 << SHOST_RECOVERY)) !== 0;

/** Starts a command's timer: `complete` gets the command's address after `timeout` jiffies. Context: any. */
export const scsi_add_timer = kfunc(
  "scsi_add_timer",
  function* (scmd: scsi_cmnd, timeout: number, complete: (addr: number) => Running) {
    const timer = scmd.eh_timeout;
    if (timer.s.function !== 0) yield* del_timer(timer);
    timer.func = complete;
    timer.data = scmd.addr;
    timer.s.data = scmd.addr;
    timer.s.function = textAddressOf((complete as unknown as { id: number }).id);
    yield* add_timer(timer, K.time.jiffies + timeout);
  },
);

/** Stops a command's timer. Returns: 1 when it was running, 0 when it has expired (the command is the error handler's). */
export const scsi_delete_timer = kfunc("scsi_delete_timer", function* (scmd: scsi_cmnd) {
  const was = yield* del_timer(scmd.eh_timeout);
  scmd.eh_timeout.s.function = 0;
  return was;
});

/** The timer's function: the command goes to the error handler. Softirq. */
export const scsi_times_out = kfunc("scsi_times_out", function* (addr: number) {
  const scmd = K.scsi.byAddress.get(addr)!;
  yield* scsi_eh_scmd_add(scmd, SCSI_EH_CANCEL_CMD);
});

/** Wakes the error handler once every command of the host has either ended or failed. Locks: host_lock held. */
export const scsi_eh_wakeup = kfunc("scsi_eh_wakeup", function* (shost: Scsi_Host) {
  if (shost.s.host_busy === shost.s.host_failed) yield* up(shost.eh_wait);
});

/** Hands a command over to the error handler. Returns: 1, or 0 when the host has none. Locks: host_lock, inside. */
export const scsi_eh_scmd_add = kfunc("scsi_eh_scmd_add", function* (scmd: scsi_cmnd, eh_flag: number) {
  const shost = scmd.device.host;
  if (!shost.ehandler) return 0;
  const flags = yield* spin_lock_irqsave(shost.host_lock);
  scmd.s.eh_eflags = scmd.s.eh_eflags | eh_flag;
  scmd.s.owner = SCSI_OWNER_ERROR_HANDLER;
  scmd.s.state = SCSI_STATE_FAILED;
  scmd.s.serial_number_at_timeout = scmd.s.serial_number;
  list_add_tail(scmd.eh_entry, shost.eh_cmd_q);
  shost.s.shost_state = shost.s.shost_state | (1 << SHOST_RECOVERY);
  shost.s.host_failed = shost.s.host_failed + 1;
  yield* scsi_eh_wakeup(shost);
  yield* spin_unlock_irqrestore(shost.host_lock, flags);
  return 1;
});
