// What an ATA drive makes of the disk's answer: status and error bits for sense data. [SAT-2 clause 11, the other way round]
import { ATA_ABRT, ATA_DF, ATA_IDNF, ATA_UNC } from "./ata-task-file.ts";
import type { ScsiCommand } from "./scsi-command.ts";
import { SENSE, STATUS } from "./sense.ts";

/** A failure: bits of the error register, bits of the status register beside ERR, and the sector if it is known. */
export interface AtaOutcome {
  readonly error: number;
  readonly status: number;
  readonly lba?: number;
}

const ABORTED: AtaOutcome = { error: ATA_ABRT, status: 0 };

/**
 * undefined: the command went well. "try again": a unit attention, which ATA does not have, took the place of the answer.
 * "not ready": the disk spins up.
 */
export function outcomeOf(command: ScsiCommand): AtaOutcome | "try again" | "not ready" | undefined {
  if (command.status === STATUS.good) return undefined;
  if (command.status !== STATUS.checkCondition || command.senseLength === 0) return ABORTED;
  const { sense } = command;
  const code = ((sense[2]! & 0x0f) << 16) | (sense[12]! << 8) | sense[13]!;
  const lba =
    (sense[0]! & 0x80) !== 0 ? ((sense[3]! << 24) | (sense[4]! << 16) | (sense[5]! << 8) | sense[6]!) >>> 0 : undefined;
  const at = lba === undefined ? {} : { lba };
  switch (code) {
    case SENSE.becomingReady:
      return "not ready";
    case SENSE.mediumError:
      return { error: ATA_UNC, status: 0, ...at };
    case SENSE.writeError:
      return { error: 0, status: ATA_DF, ...at };
    case SENSE.lbaOutOfRange:
      return { error: ATA_IDNF, status: 0 };
    default:
      return code >> 16 === 0x06 ? "try again" : ABORTED;
  }
}
