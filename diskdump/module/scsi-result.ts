// How a command of the SCSI dump ended: done, again, or failed (cmd_result of scsi_dump.c).
import { M } from "../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { scsi_decide_disposition, sense_asc, sense_ascq, sense_key } from "../../kernel-sim/scsi/disposition.ts";
import { FAILED, SUCCESS, type scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import {
  ADD_TO_MLQUEUE,
  DID_OK,
  DID_RESET,
  NEEDS_RETRY,
  RECOVERED_ERROR,
  SAM_STAT_CHECK_CONDITION,
  SAM_STAT_CONDITION_MET,
  SAM_STAT_GOOD,
  SAM_STAT_INTERMEDIATE,
  UNIT_ATTENTION,
  host_byte,
  status_byte,
} from "../../kernel-sim/scsi/status.ts";
import { EIO } from "./errno.ts";

const kfunc = moduleFunctions("scsi_dump");

const INTERMEDIATE_CONDITION_MET = 0x14;
const GOOD_STATUSES: readonly number[] = [
  SAM_STAT_GOOD,
  SAM_STAT_CONDITION_MET,
  SAM_STAT_INTERMEDIATE,
  INTERMEDIATE_CONDITION_MET,
];

const err = (text: string) => printk(`scsi_dump: ${text}\n`, 3);

/** Returns: 0 done, 1 try again, -EIO failed. */
export const cmd_result = kfunc("cmd_result", function* (scmd: scsi_cmnd) {
  const disposition = scsi_decide_disposition(scmd);
  if (disposition === NEEDS_RETRY || disposition === ADD_TO_MLQUEUE) return 1;
  const { result } = scmd.s;
  const status = status_byte(result);
  const checked = status === SAM_STAT_CHECK_CONDITION;
  let failed = disposition === FAILED;
  if (disposition === SUCCESS) {
    if (host_byte(result) === DID_RESET) {
      yield* err("host_byte(scmd->result) set to : DID_RESET");
      return 1;
    }
    if (checked && sense_key(scmd) === UNIT_ATTENTION) {
      yield* err("CHECK_CONDITION and UNIT_ATTENTION");
      // A reset of our own makes the disk say so once: no news.
      if (scmd.device.s.expecting_cc_ua !== 0) {
        yield* err("expecting_cc_ua is set. setting it to zero");
        scmd.device.s.expecting_cc_ua = 0;
        return 1;
      }
    } else if (host_byte(result) !== DID_OK) {
      yield* err("some undefined error");
      yield* err(`host_byte(scmd->result) : ${host_byte(result)}`);
      failed = true;
    }
    if (checked && sense_asc(scmd) === 0x04 && sense_ascq(scmd) === 0x01) {
      yield* err("device is in the process of becoming ready..");
      return 1;
    }
  } else if (!failed) {
    yield* err(`bad disposition: ${result}`);
    return -EIO;
  }
  if (!failed) {
    if (GOOD_STATUSES.includes(status)) return 0;
    if (checked && sense_key(scmd) === RECOVERED_ERROR) return 0;
  }
  yield* err(`command ${M.u8[scmd.cmnd]!.toString(16)} failed with 0x${(result >>> 0).toString(16)}`);
  return -EIO;
});
