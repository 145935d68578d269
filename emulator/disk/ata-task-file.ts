// An ATA device's task file: the registers of the command block, each two deep for 48-bit commands. [ATA/ATAPI-6 clause 7]

/** Status register. */
export const ATA_BSY = 0x80;
export const ATA_DRDY = 0x40;
export const ATA_DF = 0x20;
export const ATA_DSC = 0x10;
export const ATA_DRQ = 0x08;
export const ATA_ERR = 0x01;
/** Error register. */
export const ATA_UNC = 0x40;
export const ATA_IDNF = 0x10;
export const ATA_ABRT = 0x04;
/** Device register. */
export const ATA_LBA = 0x40;
export const ATA_DEV = 0x10;
/** Device control register. */
export const ATA_NIEN = 0x02;
export const ATA_SRST = 0x04;
export const ATA_HOB = 0x80;

/** Register numbers in the command block. 1 is Error when read, 7 Status when read. */
export const ATA_REG = {
  data: 0,
  features: 1,
  count: 2,
  lbaLow: 3,
  lbaMid: 4,
  lbaHigh: 5,
  device: 6,
  command: 7,
} as const;

const LBA_28 = 2 ** 28;
const LBA_24 = 2 ** 24;

/** How CHS addresses are counted: what INITIALIZE DEVICE PARAMETERS last said. */
export interface Geometry {
  readonly cylinders: number;
  readonly heads: number;
  readonly sectors: number;
}

/** The geometry a drive of so many sectors starts with. [ATA/ATAPI-6 annex; at most 16383 x 16 x 63] */
export function defaultGeometry(sectors: number, heads = 16, perTrack = 63): Geometry {
  return {
    cylinders: Math.min(heads === 16 && perTrack === 63 ? 16383 : 65535, Math.floor(sectors / (heads * perTrack))),
    ...{ heads, sectors: perTrack },
  };
}

export class TaskFile {
  /** What was written last, by register number 1 to 5. */
  private readonly current = new Uint8Array(6);
  /** What was written before that. */
  private readonly previous = new Uint8Array(6);
  device = 0;

  write(register: number, value: number): void {
    if (register === ATA_REG.device) {
      this.device = value & 0xff;
      return;
    }
    this.previous[register] = this.current[register]!;
    this.current[register] = value;
  }

  /** Count and LBA registers; `previous` with HOB set. */
  read(register: number, previous: boolean): number {
    if (register === ATA_REG.device) return this.device | 0xa0;
    return previous ? this.previous[register]! : this.current[register]!;
  }

  get features(): number {
    return this.current[ATA_REG.features]!;
  }

  /** Sectors that a command names: 0 stands for the most there can be. */
  sectors(extended: boolean): number {
    const low = this.current[ATA_REG.count]!;
    if (!extended) return low === 0 ? 256 : low;
    return low + this.previous[ATA_REG.count]! * 256 || 65536;
  }

  /** The first sector that a command names; -1 for a CHS address that does not exist. */
  lba(extended: boolean, geometry: Geometry): number {
    const { current, previous, device } = this;
    const low = current[ATA_REG.lbaLow]!;
    const mid = current[ATA_REG.lbaMid]!;
    const high = current[ATA_REG.lbaHigh]!;
    if (extended) {
      const upper = previous[ATA_REG.lbaLow]! + previous[ATA_REG.lbaMid]! * 256 + previous[ATA_REG.lbaHigh]! * 65536;
      return low + mid * 256 + high * 65536 + upper * LBA_24;
    }
    if ((device & ATA_LBA) !== 0) return low + mid * 256 + high * 65536 + (device & 0x0f) * LBA_24;
    const head = device & 0x0f;
    const cylinder = mid + high * 256;
    if (low === 0 || low > geometry.sectors || head >= geometry.heads || cylinder >= geometry.cylinders) return -1;
    return (cylinder * geometry.heads + head) * geometry.sectors + low - 1;
  }

  setCount(sectors: number, extended: boolean): void {
    this.current[ATA_REG.count] = sectors & 0xff;
    if (extended) this.previous[ATA_REG.count] = (sectors >> 8) & 0xff;
  }

  /** Leaves the address `lba` in the form in which the command gave it. */
  setLba(lba: number, extended: boolean, geometry: Geometry): void {
    const { current, previous } = this;
    if (!extended && (this.device & ATA_LBA) === 0) {
      const { heads, sectors } = geometry;
      const cylinder = Math.floor(lba / (heads * sectors));
      current[ATA_REG.lbaLow] = (lba % sectors) + 1;
      current[ATA_REG.lbaMid] = cylinder & 0xff;
      current[ATA_REG.lbaHigh] = (cylinder >> 8) & 0xff;
      this.device = (this.device & 0xf0) | (Math.floor(lba / sectors) % heads);
      return;
    }
    current[ATA_REG.lbaLow] = lba & 0xff;
    current[ATA_REG.lbaMid] = (lba >>> 8) & 0xff;
    current[ATA_REG.lbaHigh] = (lba >>> 16) & 0xff;
    const upper = Math.floor(lba / LBA_24);
    if (extended) {
      previous[ATA_REG.lbaLow] = upper & 0xff;
      previous[ATA_REG.lbaMid] = (upper >>> 8) & 0xff;
      previous[ATA_REG.lbaHigh] = (upper >>> 16) & 0xff;
    } else this.device = (this.device & 0xf0) | (Math.floor((lba % LBA_28) / LBA_24) & 0x0f);
  }

  /** What a reset leaves: the signature of a device without the packet command set. [ATA/ATAPI-6 9.12] */
  putSignature(): void {
    this.current.fill(0);
    this.previous.fill(0);
    this.current[ATA_REG.count] = 1;
    this.current[ATA_REG.lbaLow] = 1;
    this.device = 0;
  }
}
