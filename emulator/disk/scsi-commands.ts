// The commands a disk knows, as data, and how their descriptor blocks are read. [SPC-3, SBC-2]
//
// What is not in the table is answered with CHECK CONDITION 05/20/00.

export type CommandKind =
  | "read"
  | "write"
  | "verify"
  | "synchronize"
  | "test unit ready"
  | "request sense"
  | "inquiry"
  | "read capacity"
  | "service action in"
  | "mode sense"
  | "mode select"
  | "start stop"
  | "accept"
  | "report luns"
  | "write buffer"
  | "read buffer";

export interface CommandSpec {
  readonly opcode: number;
  readonly name: string;
  /** Bytes of the descriptor block. */
  readonly length: number;
  readonly kind: CommandKind;
  /** Fails with 02/04 while the disk is not ready. */
  readonly needsReady: boolean;
  /** A pending unit attention fails the command (all but INQUIRY, REPORT LUNS, REQUEST SENSE). */
  readonly reportsAttention: boolean;
  /** Names sectors: 6-, 10-, 12- or 16-byte form of LBA and length. */
  readonly hasExtent: boolean;
}

const command = (
  opcode: number,
  name: string,
  kind: CommandKind,
  needsReady = false,
  hasExtent = false,
): CommandSpec => ({
  opcode,
  name,
  // The group code gives the length. [SPC-3 4.3.4.1]
  length: opcode < 0x20 ? 6 : opcode < 0x60 ? 10 : opcode < 0xa0 ? 16 : 12,
  kind,
  needsReady,
  reportsAttention: kind !== "inquiry" && kind !== "report luns" && kind !== "request sense",
  hasExtent,
});

export const COMMANDS: readonly CommandSpec[] = [
  command(0x00, "TEST UNIT READY", "test unit ready", true),
  command(0x03, "REQUEST SENSE", "request sense"),
  command(0x08, "READ(6)", "read", true, true),
  command(0x0a, "WRITE(6)", "write", true, true),
  command(0x12, "INQUIRY", "inquiry"),
  command(0x15, "MODE SELECT(6)", "mode select"),
  command(0x16, "RESERVE(6)", "accept"),
  command(0x17, "RELEASE(6)", "accept"),
  command(0x1a, "MODE SENSE(6)", "mode sense"),
  command(0x1b, "START STOP UNIT", "start stop"),
  command(0x1e, "PREVENT ALLOW MEDIUM REMOVAL", "accept", true),
  command(0x25, "READ CAPACITY(10)", "read capacity", true),
  command(0x28, "READ(10)", "read", true, true),
  command(0x2a, "WRITE(10)", "write", true, true),
  command(0x2e, "WRITE AND VERIFY(10)", "write", true, true),
  command(0x2f, "VERIFY(10)", "verify", true, true),
  command(0x35, "SYNCHRONIZE CACHE(10)", "synchronize", true, true),
  command(0x3b, "WRITE BUFFER", "write buffer"),
  command(0x3c, "READ BUFFER", "read buffer"),
  command(0x55, "MODE SELECT(10)", "mode select"),
  command(0x56, "RESERVE(10)", "accept"),
  command(0x57, "RELEASE(10)", "accept"),
  command(0x5a, "MODE SENSE(10)", "mode sense"),
  command(0x88, "READ(16)", "read", true, true),
  command(0x8a, "WRITE(16)", "write", true, true),
  command(0x8e, "WRITE AND VERIFY(16)", "write", true, true),
  command(0x8f, "VERIFY(16)", "verify", true, true),
  command(0x91, "SYNCHRONIZE CACHE(16)", "synchronize", true, true),
  command(0x9e, "SERVICE ACTION IN(16)", "service action in", true),
  command(0xa0, "REPORT LUNS", "report luns"),
  command(0xa8, "READ(12)", "read", true, true),
  command(0xaa, "WRITE(12)", "write", true, true),
];

const BY_OPCODE: (CommandSpec | undefined)[] = new Array<CommandSpec | undefined>(256).fill(undefined);
for (const spec of COMMANDS) BY_OPCODE[spec.opcode] = spec;

export const commandByOpcode = (opcode: number): CommandSpec | undefined => BY_OPCODE[opcode];

/** The sectors a command names. */
export interface Extent {
  lba: number;
  sectors: number;
  /** Force unit access: past the cache, to the platters. */
  forceUnitAccess: boolean;
}

const u32 = (cdb: Uint8Array, at: number): number =>
  ((cdb[at]! << 24) | (cdb[at + 1]! << 16) | (cdb[at + 2]! << 8) | cdb[at + 3]!) >>> 0;

/** Reads LBA and length of a command that has them. An LBA beyond 2^53 loses digits, never its being out of range. */
export function readExtent(spec: CommandSpec, cdb: Uint8Array, into: Extent): void {
  switch (spec.length) {
    case 6:
      into.lba = ((cdb[1]! & 0x1f) << 16) | (cdb[2]! << 8) | cdb[3]!;
      into.sectors = cdb[4] === 0 ? 256 : cdb[4]!;
      into.forceUnitAccess = false;
      return;
    case 10:
      into.lba = u32(cdb, 2);
      into.sectors = (cdb[7]! << 8) | cdb[8]!;
      break;
    case 12:
      into.lba = u32(cdb, 2);
      into.sectors = u32(cdb, 6);
      break;
    default:
      into.lba = u32(cdb, 2) * 4294967296 + u32(cdb, 6);
      into.sectors = u32(cdb, 10);
  }
  // WRITE AND VERIFY has BYTCHK where the others have FUA; it goes to the platters anyhow.
  into.forceUnitAccess = (cdb[1]! & 0x08) !== 0 || spec.opcode === 0x2e || spec.opcode === 0x8e;
}

/** True for commands with data from the initiator. */
export const takesData = ({ kind }: CommandSpec): boolean =>
  kind === "write" || kind === "mode select" || kind === "write buffer";

const u24 = (cdb: Uint8Array, at: number): number => (cdb[at]! << 16) | (cdb[at + 1]! << 8) | cdb[at + 2]!;

/**
 * How many bytes a command without sectors may send or wants to have: its allocation or parameter list length.
 * A length that the standard fixes (READ CAPACITY) is no field and counts as it is.
 */
export function lengthField({ kind, opcode }: CommandSpec, cdb: Uint8Array): number {
  switch (kind) {
    case "inquiry":
      return (cdb[3]! << 8) | cdb[4]!;
    case "request sense":
      return cdb[4]!;
    case "mode sense":
    case "mode select":
      return opcode >= 0x40 ? (cdb[7]! << 8) | cdb[8]! : cdb[4]!;
    case "read capacity":
      return 8;
    case "service action in":
      return u32(cdb, 10);
    case "report luns":
      return u32(cdb, 6);
    case "write buffer":
    case "read buffer":
      return u24(cdb, 6);
    default:
      return 0;
  }
}

/** True when a bit is set that we do not honour: NACA or link in the control byte, RelAdr, BYTCHK, protection. */
export function hasUnsupportedBits(spec: CommandSpec, cdb: Uint8Array): boolean {
  if ((cdb[spec.length - 1]! & 0x07) !== 0) return true;
  if (!spec.hasExtent || spec.length === 6) return false;
  const flags = cdb[1]!;
  if (spec.kind === "synchronize") return (flags & 0x01) !== 0;
  if ((flags & 0xe0) !== 0 || (spec.length !== 16 && (flags & 0x01) !== 0)) return true;
  return (spec.kind === "verify" || spec.opcode === 0x2e || spec.opcode === 0x8e) && (flags & 0x06) !== 0;
}
