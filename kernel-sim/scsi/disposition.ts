// What to do with a command that a driver has ended (scsi_decide_disposition and its kin, scsi_error.c of 2.6.9).
import { M, poke32 } from "../abi/ram.ts";
import { SCSI_SENSE_BUFFERSIZE } from "../abi/structs/scsi.ts";
import { REQ_FAILFAST } from "../block/request.ts";
import { moduleLeaves } from "../core/kfunc.ts";
import { FAILED, SDEV_OFFLINE, SUCCESS, type scsi_cmnd, type scsi_device } from "./host.ts";
import {
  ABORTED_COMMAND,
  ADD_TO_MLQUEUE,
  COMMAND_COMPLETE,
  DID_ABORT,
  DID_BAD_TARGET,
  DID_BUS_BUSY,
  DID_ERROR,
  DID_IMM_RETRY,
  DID_NO_CONNECT,
  DID_OK,
  DID_PARITY,
  DID_PASSTHROUGH,
  DID_RESET,
  DID_SOFT_ERROR,
  DID_TIME_OUT,
  INQUIRY,
  MEDIUM_ERROR,
  NEEDS_RETRY,
  NOT_READY,
  SAM_STAT_BUSY,
  SAM_STAT_CHECK_CONDITION,
  SAM_STAT_RESERVATION_CONFLICT,
  SAM_STAT_TASK_SET_FULL,
  TEST_UNIT_READY,
  UNIT_ATTENTION,
  host_byte,
  msg_byte,
} from "./status.ts";

const kleaf = moduleLeaves("scsi_mod");

export const scsi_device_online = (sdev: scsi_device): boolean => sdev.s.sdev_state !== SDEV_OFFLINE;
export const blk_noretry_request = (scmd: scsi_cmnd): boolean =>
  scmd.request !== undefined && (scmd.request.s.flags & REQ_FAILFAST) !== 0;

/** SCSI_SENSE_VALID */
export const scsi_sense_valid = (scmd: scsi_cmnd): boolean => (M.u8[scmd.sense_buffer]! & 0x70) === 0x70;
export const sense_key = (scmd: scsi_cmnd): number => M.u8[scmd.sense_buffer + 2]! & 0xf;
export const sense_asc = (scmd: scsi_cmnd): number => M.u8[scmd.sense_buffer + 12]!;
export const sense_ascq = (scmd: scsi_cmnd): number => M.u8[scmd.sense_buffer + 13]!;

export function clear_sense(scmd: scsi_cmnd): void {
  for (let i = 0; i < SCSI_SENSE_BUFFERSIZE; i += 4) poke32(scmd.sense_buffer + i, 0);
}

/** Returns SUCCESS (pass it up), NEEDS_RETRY, or FAILED (there is no sense data: the error handler must fetch it). */
export const scsi_check_sense = kleaf("scsi_check_sense", (scmd: scsi_cmnd): number => {
  if (!scsi_sense_valid(scmd)) return FAILED;
  if ((M.u8[scmd.sense_buffer + 2]! & 0xe0) !== 0) return SUCCESS;
  switch (sense_key(scmd)) {
    case ABORTED_COMMAND:
    case MEDIUM_ERROR:
      return NEEDS_RETRY;
    case NOT_READY:
    case UNIT_ATTENTION:
      // A reset of our own makes every device say so once: just ask again.
      if (scmd.device.s.expecting_cc_ua !== 0) {
        scmd.device.s.expecting_cc_ua = 0;
        return NEEDS_RETRY;
      }
      // Becoming ready.
      if (sense_asc(scmd) === 0x04 && sense_ascq(scmd) === 0x01) return NEEDS_RETRY;
      return SUCCESS;
    default:
      return SUCCESS;
  }
});

function maybeRetry(scmd: scsi_cmnd): number {
  scmd.s.retries = scmd.s.retries + 1;
  return scmd.s.retries < scmd.s.allowed && !blk_noretry_request(scmd) ? NEEDS_RETRY : SUCCESS;
}

/** Returns SUCCESS (finish it), NEEDS_RETRY, ADD_TO_MLQUEUE (again later), or FAILED (error handler). */
export const scsi_decide_disposition = kleaf("scsi_decide_disposition", (scmd: scsi_cmnd): number => {
  if (!scsi_device_online(scmd.device)) return SUCCESS;
  const result = scmd.s.result;
  const status = result & 0xff;
  switch (host_byte(result)) {
    case DID_PASSTHROUGH:
      scmd.s.result = result & 0xff00ffff;
      return SUCCESS;
    case DID_OK:
      break;
    case DID_NO_CONNECT:
    case DID_BAD_TARGET:
    case DID_ABORT:
    case DID_RESET:
      return SUCCESS;
    case DID_IMM_RETRY:
      return NEEDS_RETRY;
    case DID_ERROR:
      if (status === SAM_STAT_RESERVATION_CONFLICT) break;
      return maybeRetry(scmd);
    case DID_SOFT_ERROR:
    case DID_BUS_BUSY:
    case DID_PARITY:
      return maybeRetry(scmd);
    case DID_TIME_OUT: {
      // While scanning, an empty id may look like this.
      const opcode = M.u8[scmd.cmnd]!;
      return opcode === TEST_UNIT_READY || opcode === INQUIRY ? SUCCESS : FAILED;
    }
    default:
      return FAILED;
  }
  if (msg_byte(result) !== COMMAND_COMPLETE) return FAILED;
  switch (status & 0x3e) {
    case SAM_STAT_TASK_SET_FULL:
    case SAM_STAT_BUSY:
      return ADD_TO_MLQUEUE;
    case SAM_STAT_CHECK_CONDITION: {
      const checked = scsi_check_sense(scmd);
      return checked === NEEDS_RETRY ? maybeRetry(scmd) : checked;
    }
    default:
      return SUCCESS;
  }
});
