// SCRIPTS decoded once: what each instruction in on-chip RAM does, in a form that the processor's loop takes at a glance.
//
// An instruction is decoded when it is first met and forgotten when one of its dwords is written. What waits, touches a
// register with a will of its own, or is rare stays `general`: for those the words are interpreted. [manual, chapter 5]
import { PHASE } from "../../emulator/disk/scsi-phases.ts";
import { isStorage, readsAsStored } from "./chip-registers.ts";
import { SYM } from "./registers.ts";

/** What the loop does with an instruction: a byte per dword of on-chip RAM. The operands are in its words. */
export const OP = {
  /** Not met since its dwords were written. */
  unknown: 0,
  /** Interpreted from its words. */
  general: 1,
  /** A register that is nothing but storage, SFBR and a constant, into a register that is nothing but storage. */
  register: 2,
  /** Into SFBR, from a register whose reading does more than give what is stored. */
  readWithEffects: 3,
  /** Whatever is so: to an absolute address. */
  jump: 4,
  return: 5,
  /** JUMP, CALL, RETURN or INT when SFBR or the phase is, or is not, as the instruction says. */
  transferOnSfbr: 6,
  transferOnPhase: 7,
  transferOnPhaseWhenRequested: 8,
  /** A dword register from or to on-chip RAM. */
  loadNear: 9,
  storeNear: 10,
  /** A dword register from or to DSA plus a displacement. */
  loadTable: 11,
  storeTable: 12,
  waitDisconnect: 13,
  /** ACK, ATN, carry. */
  clear: 14,
  /** Whatever is so: an absolute address, and the next one into TEMP. */
  call: 15,
  /** As `register`, into SCNTL2: its write-one-to-clear bits. */
  scntl2: 16,
  /** A byte register that is nothing but storage, from DSA plus a displacement. */
  loadTableByte: 17,
  /** Block move of one byte, of STATUS or MESSAGE IN, into on-chip RAM. */
  takeByte: 18,
} as const;

export const TRANSFER = { jump: 0, call: 1, return: 2, interrupt: 3 } as const;

export class ScriptsDecoder {
  private readonly ram32: Int32Array;
  /** By the number of the instruction's first dword. */
  readonly ops: Uint8Array;
  /** 1 for the dwords of translated instructions (chip-translator.ts). */
  readonly translated: Uint8Array;
  /** One of those has been written. */
  onTranslatedWritten: () => void = () => {};
  /** How often that was so. */
  forgettings = 0;
  /** The bus address for which `ops` hold. */
  private base = 0;

  constructor(ram32: Int32Array) {
    this.ram32 = ram32;
    this.ops = new Uint8Array(ram32.length);
    this.translated = new Uint8Array(ram32.length);
    this.forgetAll();
  }

  private forgetAll(): void {
    this.ops.fill(OP.unknown);
    if (this.translated.includes(1)) this.forgetTranslated();
  }

  private forgetTranslated(): void {
    this.translated.fill(0);
    this.forgettings++;
    this.onTranslatedWritten();
  }

  /** On-chip RAM lies at `base` (signed) now. */
  moveTo(base: number): void {
    if (base === this.base) return;
    this.base = base;
    this.forgetAll();
  }

  /** Dword number `at` of on-chip RAM has been written. */
  writtenDword(at: number): void {
    this.ops[at] = OP.unknown;
    // An instruction is two dwords: the one before may end here.
    if (at > 0) this.ops[at - 1] = OP.unknown;
    if (this.translated[at] !== 0) this.forgetTranslated();
  }

  /** `bytes` at `offset` of on-chip RAM have been written. */
  written(offset: number, bytes: number): void {
    const end = (offset + bytes + 3) >> 2;
    this.ops.fill(OP.unknown, Math.max(0, (offset >> 2) - 1), end);
    for (let at = offset >> 2; at < end; at++) {
      if (this.translated[at] === 0) continue;
      this.forgetTranslated();
      return;
    }
  }

  /** Decodes the instruction whose first dword is number `at`. Behind the last one nothing is: unknown. */
  decode(at: number): number {
    const { ram32 } = this;
    if (at + 1 >= ram32.length) return OP.unknown;
    return (this.ops[at] = this.opOf(at, ram32[at]!, ram32[at + 1]!));
  }

  private opOf(at: number, w0: number, w1: number): number {
    const kind = (w0 >>> 27) & 7;
    switch (w0 >>> 30) {
      case 1:
        if (kind >= 5) return registerOp(w0, kind);
        return kind === 1 ? OP.waitDisconnect : kind === 4 ? OP.clear : OP.general;
      case 2:
        return transferOp(w0, kind);
      case 3:
        return (w0 & 0x20000000) !== 0 ? this.loadStoreOp(at, w0, w1) : OP.general;
      default:
        return this.blockMoveOp(w0, w1);
    }
  }

  private blockMoveOp(w0: number, w1: number): number {
    const phase = (w0 >>> 24) & 7;
    // Neither indirect nor by table.
    const oneByte = (w0 & 0x30ffffff) === 1 && (phase === PHASE.status || phase === PHASE.messageIn);
    return oneByte && ((w1 - this.base) & ~(4 * this.ram32.length - 1)) === 0 ? OP.takeByte : OP.general;
  }

  private loadStoreOp(at: number, w0: number, w1: number): number {
    if ((w0 & 0x11000007) === 0x11000001 && isStorage((w0 >>> 16) & 0xff)) return OP.loadTableByte;
    if ((w0 & 7) !== 4 || (w1 & 3) !== 0 || DWORD_STORAGE[(w0 >>> 16) & 0xff] === 0) return OP.general;
    const load = (w0 & 0x01000000) !== 0;
    if ((w0 & 0x10000000) !== 0) return load ? OP.loadTable : OP.storeTable;
    const offset = (w1 - this.base) | 0;
    if (offset < 0 || offset >= 4 * this.ram32.length) return OP.general;
    if (load) return OP.loadNear;
    // One that overwrites itself is left to its words.
    return offset >> 2 === at || offset >> 2 === at + 1 ? OP.general : OP.storeNear;
  }
}

function registerOp(w0: number, kind: number): number {
  const register = ((w0 >>> 16) & 0x7f) | (w0 & 0x80);
  // A constant does not read the register.
  const reads = kind !== 5 && ((w0 >>> 24) & 7) !== 0;
  const writes = kind !== 6;
  if (followsInstruction(register)) return OP.general;
  if ((!reads || readsAsStored(register)) && (!writes || isStorage(register))) return OP.register;
  if (register === SYM.SCNTL2 && writes) return OP.scntl2;
  return reads && !writes && !ofTheLoop(register) ? OP.readWithEffects : OP.general;
}

function transferOp(w0: number, transfer: number): number {
  // Neither carry nor a relative address.
  if (transfer > TRANSFER.interrupt || (w0 & 0x00a00000) !== 0) return OP.general;
  switch ((w0 >>> 16) & 7) {
    case 0:
      if ((w0 & 0x00080000) === 0 || transfer === TRANSFER.interrupt) return OP.general;
      return transfer === TRANSFER.jump ? OP.jump : transfer === TRANSFER.return ? OP.return : OP.call;
    case 2:
      return OP.transferOnPhase;
    case 3:
      return OP.transferOnPhaseWhenRequested;
    case 4:
      return OP.transferOnSfbr;
    default:
      return OP.general;
  }
}

/** Registers that every instruction changes (DBC to DSPS): the loop writes them only when it is left. */
const followsInstruction = (register: number): boolean => register >= SYM.DBC && register < SYM.DSPS + 4;

/** Registers whose reading shows one of those, or the time on the bus. */
const ofTheLoop = (register: number): boolean =>
  register === SYM.DFIFO || register === SYM.CTEST5 || register === SYM.SBCL || register === SYM.STEST4;

export const signed24 = (word: number): number => (word << 8) >> 8;

/** Dword registers that are nothing but storage. */
export const DWORD_STORAGE = new Uint8Array(256);
for (const register of [SYM.DSA, SYM.TEMP, SYM.SCRATCHA]) DWORD_STORAGE[register] = 1;
for (let register: number = SYM.SCRATCHB; register <= SYM.CSBC; register += 4) {
  // SCNTL4 and its neighbours are bytes.
  if (register !== SYM.SCNTL4) DWORD_STORAGE[register] = 1;
}
