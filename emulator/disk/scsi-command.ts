// The seam between a host adapter and a SCSI target: a command at command level (no bus phases).
//
// An adapter that works at phase level (a SCSI bus with its messages) puts a port between itself and the target:
// phase-target.ts. It uses the two things that a command can ask for in addition: `wantData` and `autosense`.
import type { PhysicalMemory, Segment } from "../memory/memory.ts";

export interface ScsiCommand {
  lun: number;
  readonly cdb: Uint8Array;
  cdbLength: number;
  direction: "none" | "in" | "out";
  /** Bytes the initiator is ready to move; `segments` (the first `segmentCount`) say where in memory. */
  dataLength: number;
  readonly segments: Segment[];
  segmentCount: number;
  memory: PhysicalMemory;
  queueTag: "simple" | "head" | "ordered" | "untagged";
  /** SCSI status byte, set by the target: 00 GOOD, 02 CHECK CONDITION, 08 BUSY, 18 RESERVATION CONFLICT, 28 TASK SET FULL. */
  status: number;
  /** Fixed-format sense data, valid when `senseLength` > 0 (autosense). */
  readonly sense: Uint8Array;
  senseLength: number;
  /**
   * False: the target keeps the sense data of a CHECK CONDITION until REQUEST SENSE fetches it or another command
   * comes, as on a SCSI-2 bus. [SCSI-2 7.6]
   */
  autosense: boolean;
  /**
   * Set by a port that gets a command's data out only when the target asks for it: called in `submit` when the target has
   * accepted the command and wants its data; `dataReady` says that it is there. Never called for what is refused.
   */
  wantData: ((command: ScsiCommand) => void) | undefined;
  /** Bytes actually moved. */
  transferred: number;
  /** Called once, from an event, when status (and data) are complete. Never called for an aborted or lost command. */
  done: (command: ScsiCommand) => void;
  /** The initiator's own number for it, e.g. a message frame index. */
  tag: number;
}

export const makeScsiCommand = (memory: PhysicalMemory, maxSegments: number): ScsiCommand => ({
  lun: 0,
  cdb: new Uint8Array(16),
  cdbLength: 0,
  direction: "none",
  dataLength: 0,
  segments: Array.from({ length: maxSegments }, () => ({ address: 0, length: 0 })),
  segmentCount: 0,
  memory,
  queueTag: "simple",
  status: 0,
  sense: new Uint8Array(32),
  senseLength: 0,
  autosense: true,
  wantData: undefined,
  transferred: 0,
  done: () => {},
  tag: 0,
});

export type ResetKind = "power" | "bus" | "target" | "lun";

export interface ScsiTarget {
  readonly name: string;
  /** Takes a command; the answer comes later by `command.done`, from the target's own event. */
  submit(command: ScsiCommand): void;
  /** Drops a command without status; true when the target had it. */
  abort(command: ScsiCommand): boolean;
  /** Drops all commands without status, raises the unit attention that belongs to the reset. */
  reset(kind: ResetKind): void;
  /** False when nothing answers selection (device gone). */
  readonly present: boolean;
}

/** A target that asks for the data of a command when it is ready for it. */
export interface PullingTarget extends ScsiTarget {
  /** The data of a command that wanted it (`wantData`) is in its segments now. */
  dataReady(command: ScsiCommand): void;
  /** True while the target has the command. */
  holds(command: ScsiCommand): boolean;
  /** When the command will have been carried out; Infinity while that depends on the arm, on others, or on more data. */
  dueAt(command: ScsiCommand): number;
  /** How long the target may keep a bus that nothing moves on (mode page 02), Infinity for as long as it likes. */
  readonly busInactivityLimitNs: number;
  /**
   * Sets the rate of the link to the host, in bytes per second, for the commands that start from now on; Infinity when data
   * takes no time besides that on the port's own bus.
   */
  setLinkRate(bytesPerSecond: number): void;
}
