// Sense data: why a command was not done, in the fixed format that every initiator of the time reads.
// Codes: SPC-3 annex D (ASC/ASCQ) and table 27 (sense keys).
import type { ScsiCommand } from "./scsi-command.ts";

/** Sense key, additional sense code and qualifier, packed as 0xKKAAQQ. */
export type SenseCode = number;

export const SENSE = {
  noSense: 0x00_00_00,
  becomingReady: 0x02_04_01,
  startRequired: 0x02_04_02,
  mediumError: 0x03_11_00,
  writeError: 0x03_0c_00,
  parameterListLength: 0x05_1a_00,
  invalidOpcode: 0x05_20_00,
  lbaOutOfRange: 0x05_21_00,
  invalidFieldInCdb: 0x05_24_00,
  lunNotSupported: 0x05_25_00,
  invalidFieldInParameters: 0x05_26_00,
  powerOn: 0x06_29_01,
  busReset: 0x06_29_02,
  targetReset: 0x06_29_03,
  modeParametersChanged: 0x06_2a_01,
  capacityChanged: 0x06_2a_09,
  writeProtected: 0x07_27_00,
  dataPhaseError: 0x0b_4b_00,
  overlappedCommands: 0x0b_4e_00,
  miscompare: 0x0e_1d_00,
} as const;

export const STATUS = {
  good: 0x00,
  checkCondition: 0x02,
  busy: 0x08,
  reservationConflict: 0x18,
  taskSetFull: 0x28,
} as const;

export const SENSE_LENGTH = 18;

/** Fills `into` with 18 bytes of fixed-format sense. `lba` < 0: the information field is not valid. */
export function fillSense(into: Uint8Array, code: SenseCode, lba = -1, deferred = false): void {
  into.fill(0, 0, SENSE_LENGTH);
  into[0] = deferred ? 0x71 : 0x70;
  into[2] = code >> 16;
  into[7] = SENSE_LENGTH - 8;
  into[12] = (code >> 8) & 0xff;
  into[13] = code & 0xff;
  // The information field has 32 bits; a larger LBA cannot be reported in fixed format.
  if (lba >= 0 && lba < 2 ** 32) {
    into[0] |= 0x80;
    into[3] = lba >>> 24;
    into[4] = (lba >>> 16) & 0xff;
    into[5] = (lba >>> 8) & 0xff;
    into[6] = lba & 0xff;
  }
}

/** Ends a command with CHECK CONDITION and autosense. */
export function fillCheckCondition(command: ScsiCommand, code: SenseCode, lba = -1, deferred = false): void {
  command.status = STATUS.checkCondition;
  fillSense(command.sense, code, lba, deferred);
  command.senseLength = SENSE_LENGTH;
}
