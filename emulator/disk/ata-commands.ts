// The commands an ATA drive knows, as data. [ATA/ATAPI-6 clause 8; opcodes as in Linux include/linux/ata.h]
//
// What is not in the table is aborted: status ERR, error ABRT.

/** How data moves: not at all, through the data port in either direction, or by DMA. */
export type AtaProtocol = "none" | "data in" | "data out" | "dma in" | "dma out";

export type AtaKind =
  | "read"
  | "write"
  | "verify"
  | "flush"
  | "identify"
  | "set features"
  | "set multiple"
  | "initialize parameters"
  | "native max"
  | "check power"
  | "standby"
  | "idle"
  | "sleep"
  | "diagnostic"
  /** Accepted, nothing to do. */
  | "accept";

export interface AtaCommandSpec {
  readonly opcode: number;
  readonly name: string;
  readonly kind: AtaKind;
  readonly protocol: AtaProtocol;
  /** 48-bit address and 16-bit count, from both halves of the task file. */
  readonly extended: boolean;
  /** DRQ blocks are as long as SET MULTIPLE MODE said. */
  readonly multiple: boolean;
  /** Past the write cache. */
  readonly forceUnitAccess: boolean;
}

const command = (
  opcode: number,
  name: string,
  kind: AtaKind,
  protocol: AtaProtocol = "none",
  options: Partial<AtaCommandSpec> = {},
): AtaCommandSpec => ({
  ...{ opcode, name, kind, protocol },
  ...{ extended: name.endsWith("EXT"), multiple: name.includes("MULTIPLE") && kind !== "set multiple" },
  forceUnitAccess: name.includes("FUA"),
  ...options,
});

export const ATA_COMMANDS: readonly AtaCommandSpec[] = [
  command(0x10, "RECALIBRATE", "accept"),
  command(0x20, "READ SECTORS", "read", "data in"),
  command(0x21, "READ SECTORS without retry", "read", "data in"),
  command(0x24, "READ SECTORS EXT", "read", "data in"),
  command(0x25, "READ DMA EXT", "read", "dma in"),
  command(0x27, "READ NATIVE MAX ADDRESS EXT", "native max"),
  command(0x29, "READ MULTIPLE EXT", "read", "data in"),
  command(0x30, "WRITE SECTORS", "write", "data out"),
  command(0x31, "WRITE SECTORS without retry", "write", "data out"),
  command(0x34, "WRITE SECTORS EXT", "write", "data out"),
  command(0x35, "WRITE DMA EXT", "write", "dma out"),
  command(0x39, "WRITE MULTIPLE EXT", "write", "data out"),
  command(0x3d, "WRITE DMA FUA EXT", "write", "dma out"),
  command(0x40, "READ VERIFY SECTORS", "verify"),
  command(0x42, "READ VERIFY SECTORS EXT", "verify"),
  command(0x70, "SEEK", "accept"),
  command(0x90, "EXECUTE DEVICE DIAGNOSTIC", "diagnostic"),
  command(0x91, "INITIALIZE DEVICE PARAMETERS", "initialize parameters"),
  command(0xc4, "READ MULTIPLE", "read", "data in"),
  command(0xc5, "WRITE MULTIPLE", "write", "data out"),
  command(0xc6, "SET MULTIPLE MODE", "set multiple"),
  command(0xc8, "READ DMA", "read", "dma in"),
  command(0xc9, "READ DMA without retry", "read", "dma in"),
  command(0xca, "WRITE DMA", "write", "dma out"),
  command(0xcb, "WRITE DMA without retry", "write", "dma out"),
  command(0xce, "WRITE MULTIPLE FUA EXT", "write", "data out"),
  command(0xe0, "STANDBY IMMEDIATE", "standby"),
  command(0xe1, "IDLE IMMEDIATE", "idle"),
  command(0xe2, "STANDBY", "standby"),
  command(0xe3, "IDLE", "idle"),
  command(0xe5, "CHECK POWER MODE", "check power"),
  command(0xe6, "SLEEP", "sleep"),
  command(0xe7, "FLUSH CACHE", "flush"),
  command(0xea, "FLUSH CACHE EXT", "flush"),
  command(0xec, "IDENTIFY DEVICE", "identify", "data in"),
  command(0xef, "SET FEATURES", "set features"),
  command(0xf8, "READ NATIVE MAX ADDRESS", "native max"),
];

const BY_OPCODE: (AtaCommandSpec | undefined)[] = new Array<AtaCommandSpec | undefined>(256).fill(undefined);
for (const spec of ATA_COMMANDS) BY_OPCODE[spec.opcode] = spec;

export const ataCommandByOpcode = (opcode: number): AtaCommandSpec | undefined => BY_OPCODE[opcode];
