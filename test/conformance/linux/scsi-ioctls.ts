// The two ioctls of Linux's SCSI disks that the suites use: a command by hand, and a reset by hand.
// Source: include/scsi/sg.h of the kernel, 32-bit layout.
import { IOCTL_ARGUMENT } from "./ioctl-program.ts";
import type { LinuxLab } from "./lab.ts";

const SG_IO = 0x2285;
const SG_SCSI_RESET = 0x2284;
const HEADER_BYTES = 64;
const CDB_OFFSET = HEADER_BYTES;
const SENSE_OFFSET = CDB_OFFSET + 16;
const SENSE_BYTES = 32;
const DATA_OFFSET = SENSE_OFFSET + SENSE_BYTES;
const FROM_DEVICE = -3;
const TIMEOUT_MS = 20_000;

/** INQUIRY that asks for more than there is. */
export const INQUIRY_255: readonly number[] = [0x12, 0, 0, 0, 255, 0];

export interface ScsiAnswer {
  readonly status: number;
  readonly hostStatus: number;
  /** As Linux tells it: bytes asked for less bytes that came. */
  readonly residual: number;
  readonly sense: Uint8Array;
  readonly data: Uint8Array;
}

/** Sends a command that reads up to `length` bytes. Throws when the ioctl itself fails. */
export function readByCommand(lab: LinuxLab, cdb: readonly number[], length: number): ScsiAnswer {
  const argument = new Uint8Array(DATA_OFFSET + length);
  const view = new DataView(argument.buffer);
  view.setInt32(0, "S".charCodeAt(0), true);
  view.setInt32(4, FROM_DEVICE, true);
  view.setUint8(8, cdb.length);
  view.setUint8(9, SENSE_BYTES);
  view.setUint32(12, length, true);
  view.setUint32(16, IOCTL_ARGUMENT + DATA_OFFSET, true);
  view.setUint32(20, IOCTL_ARGUMENT + CDB_OFFSET, true);
  view.setUint32(24, IOCTL_ARGUMENT + SENSE_OFFSET, true);
  view.setUint32(28, TIMEOUT_MS, true);
  argument.set(cdb, CDB_OFFSET);
  const { status, result } = lab.ioctl(SG_IO, argument);
  if (status !== 0) throw new Error(`guest: SG_IO failed with errno ${status}`);
  const answer = new DataView(result.buffer);
  return {
    status: answer.getUint8(44),
    hostStatus: answer.getUint16(48, true),
    residual: answer.getInt32(52, true),
    sense: result.slice(SENSE_OFFSET, SENSE_OFFSET + answer.getUint8(47)),
    data: result.slice(DATA_OFFSET),
  };
}

const RESETS = { device: 1, bus: 2, host: 3, target: 4 } as const;

/** Asks the driver for a reset; the errno (0 when it did it). */
export function resetByHand(lab: LinuxLab, what: keyof typeof RESETS): number {
  const argument = new Uint8Array(4);
  argument[0] = RESETS[what];
  return lab.ioctl(SG_SCSI_RESET, argument).status;
}
