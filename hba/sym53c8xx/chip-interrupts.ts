// ISTAT, DSTAT and SIST: what the chip has to report, and how a second report waits behind the first. [manual 2.2.17]
import {
  DCNTL_IRQD,
  DSTAT_DFE,
  ISTAT1_SIRQD,
  ISTAT_DIP,
  ISTAT_INTF,
  ISTAT_SIP,
  SIST_CMP,
  SIST_GEN,
  SIST_HTH,
  SIST_RSL,
  SIST_SEL,
  SYM,
} from "./registers.ts";

/** Conditions that stop SCRIPTS only when they are enabled. */
const NOT_FATAL_WHEN_MASKED = SIST_CMP | SIST_SEL | SIST_RSL | SIST_GEN | SIST_HTH;

export class Interrupts {
  private readonly regs: Uint8Array;
  private readonly driveLine: (asserted: boolean) => void;
  private readonly halt: () => void;
  private dstat = 0;
  private sist = 0;
  /** Conditions that came while others had not been read yet. */
  private stackedDstat = 0;
  private stackedSist = 0;
  private intf = false;

  /** `halt` stops SCRIPTS: a fatal condition. */
  constructor(regs: Uint8Array, driveLine: (asserted: boolean) => void, halt: () => void) {
    this.regs = regs;
    this.driveLine = driveLine;
    this.halt = halt;
  }

  clear(): void {
    this.dstat = this.sist = this.stackedDstat = this.stackedSist = 0;
    this.intf = false;
    this.updateLine();
  }

  raiseDma(bits: number): void {
    if (this.dstat === 0) this.dstat = bits;
    else this.stackedDstat |= bits & ~this.dstat;
    this.halt();
    this.updateLine();
  }

  raiseScsi(bits: number): void {
    if (this.sist === 0) this.sist = bits;
    else this.stackedSist |= bits & ~this.sist;
    if ((bits & ~NOT_FATAL_WHEN_MASKED) !== 0 || (bits & this.enabledScsi) !== 0) this.halt();
    this.updateLine();
  }

  /** INT on the fly: SCRIPTS go on. */
  raiseOnTheFly(): void {
    this.intf = true;
    this.updateLine();
  }

  acknowledgeOnTheFly(): void {
    this.intf = false;
    this.updateLine();
  }

  private get enabledScsi(): number {
    return this.regs[SYM.SIEN0]! | (this.regs[SYM.SIEN1]! << 8);
  }

  /** The bits of ISTAT0 that tell what is pending. */
  get summary(): number {
    return (this.intf ? ISTAT_INTF : 0) | (this.sist !== 0 ? ISTAT_SIP : 0) | (this.dstat !== 0 ? ISTAT_DIP : 0);
  }

  /** A host read: clears what it returns; what was stacked comes forward. */
  readDstat(fifoEmpty: boolean): number {
    const value = this.dstat;
    this.dstat = this.stackedDstat;
    this.stackedDstat = 0;
    this.updateLine();
    return value | (fifoEmpty ? DSTAT_DFE : 0);
  }

  /** Byte 0 or 1 of SIST. */
  readSist(byte: 0 | 1): number {
    const value = (this.sist >> (8 * byte)) & 0xff;
    this.sist &= byte === 0 ? 0xff00 : 0x00ff;
    if (this.sist === 0) {
      this.sist = this.stackedSist;
      this.stackedSist = 0;
    }
    this.updateLine();
    return value;
  }

  /** Both bytes at once, as drivers read them. */
  readSistWord(): number {
    const value = this.sist;
    this.sist = this.stackedSist;
    this.stackedSist = 0;
    this.updateLine();
    return value;
  }

  updateLine(): void {
    const { regs } = this;
    const wanted = this.intf || (this.dstat & regs[SYM.DIEN]!) !== 0 || (this.sist & this.enabledScsi) !== 0;
    const off = (regs[SYM.DCNTL]! & DCNTL_IRQD) !== 0 || (regs[SYM.ISTAT1]! & ISTAT1_SIRQD) !== 0;
    this.driveLine(wanted && !off);
  }
}
