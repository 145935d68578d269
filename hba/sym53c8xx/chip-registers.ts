// The register file: storage by the table, and the registers that do something when they are read or written.
import type { ScsiBus } from "../../emulator/disk/scsi-bus.ts";
import type { EventQueue } from "../../emulator/time/events.ts";
import type { Interrupts } from "./chip-interrupts.ts";
import type { SymProfile } from "./chip-profile.ts";
import type { Scripts } from "./chip-scripts.ts";
import type { ChipTimers } from "./chip-timers.ts";
import {
  CTEST2_SIGP,
  CTEST3_CLF,
  CTEST5_DFS,
  DCNTL_STD,
  DMODE_MAN,
  ISTAT1_SCRUN,
  ISTAT_ABRT,
  ISTAT_CON,
  ISTAT_INTF,
  ISTAT_SIGP,
  ISTAT_SRST,
  SBCL_ACK,
  SBCL_ATN,
  SBCL_BSY,
  SBCL_REQ,
  SBCL_SEL,
  SCNTL1_CON,
  SCNTL1_RST,
  SCNTL2_WSR,
  SCNTL2_WSS,
  SSTAT0_RST,
  SSTAT2_LDSC,
  STEST3_CSF,
  STEST4_LCKFRQ,
  SYM,
  SYM_REGISTERS,
  SYM_REGISTER_BYTES,
  SYM_REGISTER_NAMES,
} from "./registers.ts";

export interface RegisterFileParts {
  readonly profile: SymProfile;
  readonly events: EventQueue;
  readonly regs: Uint8Array;
  readonly bus: ScsiBus;
  readonly interrupts: Interrupts;
  readonly scripts: Scripts;
  readonly timers: ChipTimers;
  readonly complain: (kind: "driver erred" | "not modelled", what: string) => void;
  readonly softReset: () => void;
  readonly busReset: (asserted: boolean) => void;
}

const DSP_TOP = SYM.DSP + 3;
const SIST1_ONLY_HTH = 0xf0;
/** GPIO lines as inputs are pulled up: nothing answers on the serial EEPROM's lines, so drivers find no NVRAM. */
const GPIO_LINES = 0x1f;

/** Reset value and writable bits of each byte; -1 where there is no register. */
const resetOf = new Int16Array(SYM_REGISTER_BYTES).fill(-1);
const writableOf = new Uint8Array(SYM_REGISTER_BYTES);
const nameOfByte: string[] = [];
for (const [name, { offset, size, reset, writable }] of Object.entries(SYM_REGISTERS)) {
  for (let i = 0; i < size; i++) {
    resetOf[offset + i] = (reset >>> (8 * i)) & 0xff;
    writableOf[offset + i] = (writable >>> (8 * i)) & 0xff;
    nameOfByte[offset + i] = i === 0 ? name : `${name}+${i}`;
  }
}

/** Bytes whose reading is more than the stored value. */
const SPECIAL_READS = new Set<number>([
  ...[SYM.SCNTL1, SYM.GPREG, SYM.SBCL, SYM.DSTAT, SYM.SSTAT0, SYM.SSTAT1, SYM.SSTAT2, SYM.ISTAT0, SYM.ISTAT1],
  ...[SYM.CTEST2, SYM.DFIFO, SYM.CTEST5, SYM.SIST0, SYM.SIST1, SYM.SIDL, SYM.STEST4],
]);
const SPECIAL_WRITES = new Set<number>([
  ...[SYM.SCNTL1, SYM.SCNTL2, SYM.ISTAT0, SYM.ISTAT1, SYM.CTEST3, DSP_TOP, SYM.DIEN, SYM.DCNTL, SYM.SIEN0],
  ...[SYM.SIEN1, SYM.STIME0, SYM.STIME1, SYM.STEST1, SYM.STEST3, SYM.SCNTL0],
]);
const specialRead = new Uint8Array(SYM_REGISTER_BYTES);
for (const at of SPECIAL_READS) specialRead[at] = 1;
const specialWrite = new Uint8Array(SYM_REGISTER_BYTES);
for (const at of SPECIAL_WRITES) specialWrite[at] = 1;

/** Reading this byte gives what is stored, and does nothing. */
export const readsAsStored = (offset: number): boolean => specialRead[offset] === 0;
/** So does writing: every bit is stored. */
export const isStorage = (offset: number): boolean =>
  readsAsStored(offset) && specialWrite[offset] === 0 && writableOf[offset] === 0xff;

export class RegisterFile {
  readonly regs: Uint8Array;
  private readonly parts: RegisterFileParts;

  constructor(parts: RegisterFileParts) {
    this.parts = parts;
    this.regs = parts.regs;
  }

  nameOf(offset: number): string {
    return SYM_REGISTER_NAMES.get(offset) ?? nameOfByte[offset] ?? "?";
  }

  reset(): void {
    for (let at = 0; at < SYM_REGISTER_BYTES; at++) this.regs[at] = Math.max(0, resetOf[at]!);
    this.regs[SYM.STEST4] = this.parts.profile.stest4 ?? 0;
  }

  private exists(offset: number): boolean {
    const { lastRegister, doubleTransition } = this.parts.profile;
    if (offset >= SYM.SCNTL4 && offset <= SYM.AIPCNTL1 && !doubleTransition) return false;
    return resetOf[offset]! >= 0 && offset <= lastRegister;
  }

  /** A host's read of 1, 2 or 4 bytes. */
  readHost(offset: number, size: number): number {
    if (size === 1) return offset === SYM.ISTAT0 ? this.istat0 : this.readByte(offset, 1);
    if (size === 2 && offset === SYM.SIST0) return this.parts.interrupts.readSistWord();
    let value = 0;
    for (let i = size - 1; i >= 0; i--) value = value * 256 + this.readByte(offset + i, size);
    return value;
  }

  private readByte(offset: number, size: number): number {
    if (!this.exists(offset)) {
      // A dword may span a gap; a byte must be meant.
      if (size === 1) {
        this.parts.complain(
          "driver erred",
          `read of 0x${offset.toString(16)}: the ${this.variant} has no such register`,
        );
      }
      return 0;
    }
    return this.read(offset);
  }

  private get variant(): string {
    return this.parts.profile.variant;
  }

  /** A host's write. */
  writeHost(offset: number, size: number, value: number): void {
    for (let i = 0; i < size; i++) {
      if (this.exists(offset + i)) this.write(offset + i, (value >>> (8 * i)) & 0xff);
      else if (size === 1) {
        this.parts.complain(
          "driver erred",
          `write of 0x${offset.toString(16)}: the ${this.variant} has no such register`,
        );
      }
    }
  }

  /** One byte, with what reading it does. */
  read(offset: number): number {
    if (specialRead[offset] === 0) return this.regs[offset]!;
    return offset === SYM.ISTAT0 ? this.istat0 : this.readSpecial(offset);
  }

  /** What is read most, by polls and by SCRIPTS alike. */
  private get istat0(): number {
    const { bus, interrupts } = this.parts;
    return (this.regs[SYM.ISTAT0]! & 0xf0) | (bus.connected ? ISTAT_CON : 0) | interrupts.summary;
  }

  private readSpecial(offset: number): number {
    const { regs } = this;
    const { bus, interrupts, scripts, timers, profile, events } = this.parts;
    switch (offset) {
      case SYM.SCNTL1:
        return regs[offset]! | (bus.connected ? SCNTL1_CON : 0);
      case SYM.GPREG:
        return (regs[offset]! & ~regs[SYM.GPCNTL]! & GPIO_LINES) | (regs[SYM.GPCNTL]! & GPIO_LINES);
      case SYM.SBCL: {
        const lines = bus.lines(events.now);
        return (
          lines.phase |
          (lines.req && !scripts.ackHeld ? SBCL_REQ : 0) |
          (scripts.ackHeld ? SBCL_ACK : 0) |
          (lines.bsy ? SBCL_BSY : 0) |
          (scripts.selecting ? SBCL_SEL : 0) |
          (lines.atn ? SBCL_ATN : 0)
        );
      }
      case SYM.DSTAT:
        return interrupts.readDstat(true);
      case SYM.SSTAT0:
        return bus.resetHeld ? SSTAT0_RST : 0;
      case SYM.SSTAT1:
        return scripts.latchedPhase;
      case SYM.SSTAT2:
        return bus.connected ? 0 : SSTAT2_LDSC;
      case SYM.ISTAT1:
        return regs[offset]! | (scripts.running ? ISTAT1_SCRUN : 0);
      case SYM.CTEST2: {
        const signalled = (regs[SYM.ISTAT0]! & ISTAT_SIGP) !== 0;
        regs[SYM.ISTAT0]! &= ~ISTAT_SIGP;
        return regs[offset]! | (signalled ? CTEST2_SIGP : 0);
      }
      case SYM.DFIFO:
        // The FIFO is empty between transfers: its counter equals the low bits of DBC.
        return regs[SYM.DBC]! & ((regs[SYM.CTEST5]! & CTEST5_DFS) !== 0 ? 0xff : 0x7f);
      case SYM.CTEST5:
        return (regs[offset]! & ~3) | ((regs[offset]! & CTEST5_DFS) !== 0 ? regs[SYM.DBC + 1]! & 3 : 0);
      case SYM.SIST0:
        return interrupts.readSist(0);
      case SYM.SIST1:
        return interrupts.readSist(1);
      case SYM.SIDL:
        return scripts.lastByte;
      case SYM.STEST4:
        return (profile.stest4 ?? 0) | (profile.showsLock && timers.locked ? STEST4_LCKFRQ : 0);
      default:
        return regs[offset]!;
    }
  }

  /** One byte, with what writing it does. */
  write(offset: number, value: number): void {
    const writable = writableOf[offset]!;
    if (specialWrite[offset] === 0) {
      if (writable === 0xff) this.regs[offset] = value;
      else this.store(offset, value);
    } else this.writeSpecial(offset, value);
  }

  private store(offset: number, value: number): void {
    const writable = writableOf[offset]!;
    this.regs[offset] = (this.regs[offset]! & ~writable) | (value & writable);
  }

  private writeSpecial(offset: number, value: number): void {
    const { regs } = this;
    const { scripts, interrupts, timers, complain } = this.parts;
    switch (offset) {
      case SYM.SCNTL0:
        this.store(offset, value);
        if ((value & 0x21) !== 0) complain("not modelled", "SCNTL0: low-level START, or target role");
        return;
      case SYM.SCNTL1: {
        const before = regs[offset]! & SCNTL1_RST;
        this.store(offset, value);
        if ((regs[offset]! & SCNTL1_RST) !== before) this.parts.busReset(before === 0);
        return;
      }
      case SYM.SCNTL2:
        this.store(offset, value);
        // Written as 1 they are cleared.
        if ((value & SCNTL2_WSR) !== 0) regs[offset]! &= ~SCNTL2_WSR;
        if ((value & SCNTL2_WSS) !== 0) regs[offset]! &= ~SCNTL2_WSS;
        return;
      case SYM.ISTAT0:
        this.store(offset, value);
        if ((value & ISTAT_INTF) !== 0) interrupts.acknowledgeOnTheFly();
        if ((value & ISTAT_SRST) !== 0) {
          this.parts.softReset();
          regs[offset] = value & ISTAT_SRST;
        } else if ((value & ISTAT_ABRT) !== 0) scripts.abort();
        else if ((value & ISTAT_SIGP) !== 0) scripts.wake();
        return;
      case SYM.CTEST3:
        this.store(offset, value & ~CTEST3_CLF);
        return;
      case DSP_TOP:
        regs[offset] = value;
        if ((regs[SYM.DMODE]! & DMODE_MAN) === 0) scripts.start();
        return;
      case SYM.DCNTL:
        this.store(offset, value & ~DCNTL_STD);
        if ((value & DCNTL_STD) !== 0) scripts.start();
        interrupts.updateLine();
        return;
      case SYM.DIEN:
      case SYM.SIEN0:
      case SYM.SIEN1:
      case SYM.ISTAT1:
        this.store(offset, value);
        interrupts.updateLine();
        return;
      case SYM.STIME0:
        this.store(offset, value);
        if ((value & SIST1_ONLY_HTH) !== 0) complain("not modelled", "STIME0: the handshake-to-handshake timer");
        return;
      case SYM.STIME1:
        this.store(offset, value);
        timers.writeGeneral(value);
        return;
      case SYM.STEST1:
        this.store(offset, value);
        timers.multiplierChanged();
        return;
      case SYM.STEST3:
        this.store(offset, value & ~STEST3_CSF);
        return;
      default:
        this.store(offset, value);
    }
  }
}
