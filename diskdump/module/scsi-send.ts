// One command to the adapter and back by polling (send_command of scsi_dump.c, with the time limits of its RHEL3 version).
import { cpu, finished, isFinished, valueOf, type Running } from "../../emulator/cpu/cpu.ts";
import { kleaf, moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_lock, spin_unlock } from "../../kernel-sim/core/spinlock.ts";
import { del_timer, delayNs } from "../../kernel-sim/core/timer.ts";
import { scsi_device_online } from "../../kernel-sim/scsi/disposition.ts";
import type { scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import type { DumpCommand } from "./scsi-command.ts";
import { diskdump_update, type DumpLibrary } from "./dump-library.ts";
import { EIO } from "./errno.ts";
import { cmd_result } from "./scsi-result.ts";

const kfunc = moduleFunctions("scsi_dump");

/** Between two polls. */
export const POLL_INTERVAL_NS = 100_000;
/** How long a driver may go on refusing a command. */
export const QUEUECOMMAND_TIMEOUT_NS = 5e9;
/** How long one I/O may take. */
export const IO_TIMEOUT_NS = 30e9;
/** How long a command may take with all its retries. */
export const COMMAND_TIMEOUT_NS = 60e9;

/** The command's end, called by the driver. */
export const rw_intr = kleaf(
  "rw_intr",
  (scmd: scsi_cmnd): Running => {
    scmd.s.done = 0;
    scmd.done = undefined;
    return scmd.eh_timeout.base === undefined ? finished() : stop_timer(scmd);
  },
  "scsi_dump",
);

/** Some drivers arm the command's timer. */
const stop_timer = kfunc("rw_intr_del_timer", function* (scmd: scsi_cmnd) {
  yield* del_timer(scmd.eh_timeout);
});

/** What a timer does that a driver armed for a command of ours: nothing. */
export const eh_timeout = kfunc("eh_timeout", function* (_addr: number): Generator<void, void, void> {});

/**
 * Sends the command and polls until it has ended.
 * Returns: 0 done, -EIO failed or out of time. Locks: host_lock inside, by a plain spin_lock. Context: dump, interrupts off.
 */
export const send_command = kfunc("send_command", function* (library: DumpLibrary, command: DumpCommand) {
  const scmd = command.cmd;
  const { device } = scmd;
  const { host } = device;
  const { host_lock, hostt } = host;
  const poll = hostt.dump_poll!;
  for (let total = 0; total < COMMAND_TIMEOUT_NS;) {
    if (!scsi_device_online(device)) {
      yield* printk("scsi_dump: Scsi disk is not online\n", 3);
      return -EIO;
    }
    if (device.s.changed !== 0) {
      yield* printk("scsi_dump: SCSI disk has been changed. Prohibiting further I/O\n", 3);
      return -EIO;
    }
    for (let waited = 0; ; waited += POLL_INTERVAL_NS, total += POLL_INTERVAL_NS) {
      const locking = spin_lock(host_lock);
      if (!isFinished(locking)) yield* locking;
      const queueing = hostt.queuecommand(scmd, rw_intr);
      const ret = isFinished(queueing) ? valueOf(queueing) : yield* queueing;
      spin_unlock(host_lock);
      if (ret === 0) break;
      if (waited >= QUEUECOMMAND_TIMEOUT_NS || total >= COMMAND_TIMEOUT_NS) {
        yield* printk("scsi_dump: the driver does not take the command\n", 3);
        return -EIO;
      }
      yield* poll(device);
      yield* delayNs(POLL_INTERVAL_NS);
      if (!library.nothingDue()) yield* diskdump_update(library);
    }
    const limit = Math.min(COMMAND_TIMEOUT_NS, total + IO_TIMEOUT_NS);
    let pollNs = 0;
    let passed = false;
    for (; scmd.done !== undefined; total += POLL_INTERVAL_NS) {
      if (total >= limit) {
        yield* printk("scsi_dump: the command timed out\n", 3);
        return -EIO;
      }
      let start = cpu.clock;
      if (passed) start -= pollNs;
      else {
        const polling = poll(device);
        if (!isFinished(polling)) yield* polling;
        pollNs = cpu.clock - start;
      }
      const delay = delayNs(POLL_INTERVAL_NS);
      if (!isFinished(delay)) yield* delay;
      passed = false;
      if (!library.nothingDue()) yield* diskdump_update(library);
      else if (scmd.done !== undefined) {
        // The time limit counts rounds: it is so many of this one away.
        const left = (limit - total) / POLL_INTERVAL_NS;
        total += library.skipIdleRounds(start, cpu.clock + left * (cpu.clock - start)) * POLL_INTERVAL_NS;
        passed = total + POLL_INTERVAL_NS < limit && library.skipIdlePoll(start, pollNs);
      }
    }
    // The whole result is 0 for nearly every command: nothing to decide.
    const ret = scmd.s.result === 0 ? 0 : yield* cmd_result(scmd);
    if (ret <= 0) return ret;
    yield* delayNs(POLL_INTERVAL_NS);
    if (!library.nothingDue()) yield* diskdump_update(library);
    total += POLL_INTERVAL_NS;
    command.again();
  }
  yield* printk("scsi_dump: the command was retried for too long\n", 3);
  return -EIO;
});
