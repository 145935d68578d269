// Result codes of SCSI commands: status, sense keys, host and driver bytes (include/scsi/scsi.h of 2.6.9).

/** SAM status bytes, as they stand in the low byte of scsi_cmnd.result. */
export const SAM_STAT_GOOD = 0x00;
export const SAM_STAT_CHECK_CONDITION = 0x02;
export const SAM_STAT_CONDITION_MET = 0x04;
export const SAM_STAT_BUSY = 0x08;
export const SAM_STAT_INTERMEDIATE = 0x10;
export const SAM_STAT_RESERVATION_CONFLICT = 0x18;
export const SAM_STAT_COMMAND_TERMINATED = 0x22;
export const SAM_STAT_TASK_SET_FULL = 0x28;

export const NO_SENSE = 0x0;
export const RECOVERED_ERROR = 0x1;
export const NOT_READY = 0x2;
export const MEDIUM_ERROR = 0x3;
export const HARDWARE_ERROR = 0x4;
export const ILLEGAL_REQUEST = 0x5;
export const UNIT_ATTENTION = 0x6;
export const DATA_PROTECT = 0x7;
export const ABORTED_COMMAND = 0xb;
export const VOLUME_OVERFLOW = 0xd;

export const DID_OK = 0x00;
export const DID_NO_CONNECT = 0x01;
export const DID_BUS_BUSY = 0x02;
export const DID_TIME_OUT = 0x03;
export const DID_BAD_TARGET = 0x04;
export const DID_ABORT = 0x05;
export const DID_PARITY = 0x06;
export const DID_ERROR = 0x07;
export const DID_RESET = 0x08;
export const DID_BAD_INTR = 0x09;
export const DID_PASSTHROUGH = 0x0a;
export const DID_SOFT_ERROR = 0x0b;
export const DID_IMM_RETRY = 0x0c;

export const DRIVER_OK = 0x00;
export const DRIVER_ERROR = 0x04;
export const DRIVER_TIMEOUT = 0x06;
export const DRIVER_SENSE = 0x08;
export const COMMAND_COMPLETE = 0;

export const status_byte = (result: number): number => result & 0x3e;
export const msg_byte = (result: number): number => (result >> 8) & 0xff;
export const host_byte = (result: number): number => (result >> 16) & 0xff;
export const driver_byte = (result: number): number => (result >> 24) & 0xff;

/** What scsi_decide_disposition returns besides SUCCESS and FAILED. */
export const NEEDS_RETRY = 0x2001;
export const ADD_TO_MLQUEUE = 0x2006;

/** Opcodes the mid-layer and sd use. */
export const TEST_UNIT_READY = 0x00;
export const REQUEST_SENSE = 0x03;
export const INQUIRY = 0x12;
export const MODE_SENSE = 0x1a;
export const START_STOP = 0x1b;
export const READ_CAPACITY = 0x25;
export const READ_6 = 0x08;
export const WRITE_6 = 0x0a;
export const READ_10 = 0x28;
export const WRITE_10 = 0x2a;
export const SYNCHRONIZE_CACHE = 0x35;
export const READ_16 = 0x88;
export const WRITE_16 = 0x8a;
export const SERVICE_ACTION_IN = 0x9e;
export const REPORT_LUNS = 0xa0;

/** Length of a command block by its group code. */
export const COMMAND_SIZE = (opcode: number): number => [6, 10, 10, 12, 16, 12, 10, 10][(opcode >> 5) & 7]!;
