// Block moves: bytes between memory and the SCSI bus, and what happens when the target changes the phase. [manual 5.3, 4 (PMJAD1 ff.)]
import { isDataInPhase, isDataPhase, PHASE } from "../../emulator/disk/scsi-phases.ts";
import type { PhaseTarget } from "../../emulator/disk/phase-target.ts";
import { ASYNCHRONOUS_NS } from "../../emulator/disk/transfer-agreement.ts";
import { DT_BIT, isSetToDt, meansPhase } from "./chip-data-phases.ts";
import { signed24 } from "./chip-decoder.ts";
import type { Scripts } from "./chip-scripts.ts";
import {
  CCNTL0_ENNDJ,
  CCNTL0_ENPMJ,
  CCNTL0_PMJCTL,
  CCNTL1_EXTIBMV,
  CCNTL1_XTIMOD,
  SCNTL2_WSR,
  SCNTL3_EWS,
  SIST_MA,
  SYM,
} from "./registers.ts";

const U32 = 4294967296;
const INDIRECT = 0x20000000;
const TABLE = 0x10000000;
/** Bit 27: MOVE, else CHMOV (chained). */
const SXFER_OFFSET = 0x1f;
/** The same with DT clocking. */
const SXFER_OFFSET_6_BITS = 0x3f;

export class BlockMove {
  private readonly scripts: Scripts;
  /** The instruction's; from the first REQ on the one on the bus, which may be its DT twin. */
  private phase = 0;
  private address = 0;
  private left = 0;
  /** Bytes of this instruction that are through. */
  private through = 0;
  /** What the top byte of RBC shows. */
  private topByte = 0;
  private entry = 0;
  private planned = 0;

  constructor(scripts: Scripts) {
    this.scripts = scripts;
  }

  /** The instruction has been fetched. */
  begin(): boolean {
    const { scripts } = this;
    const { memory, words, regs } = scripts.parts;
    const { w0, w1 } = scripts;
    this.phase = (w0 >>> 24) & 7;
    this.through = 0;
    this.entry = 0;
    this.topByte = w0 >>> 24;
    this.address = w1 >>> 0;
    this.left = w0 & 0xffffff;
    if ((w0 & (INDIRECT | TABLE | 0xffffff)) === 1) {
      const near = memory.ramOffset(this.address);
      if (near >= 0 && this.takeOne(w0, w1, near, scripts.time, scripts.soon(ASYNCHRONOUS_NS))) {
        scripts.time += ASYNCHRONOUS_NS;
        this.through = 1;
        return true;
      }
    }
    memory.spentNs = 0;
    if ((w0 & TABLE) !== 0) {
      this.entry = (words[SYM.DSA >>> 2]! + signed24(w1)) >>> 0;
      const size = memory.readEntry(this.entry);
      const top = size >>> 24;
      this.address = memory.entryAddress >>> 0;
      const ccntl1 = regs[SYM.CCNTL1]!;
      if ((ccntl1 & CCNTL1_EXTIBMV) !== 0) this.address += this.highAddress(top, ccntl1);
      this.left = size & 0xffffff;
      this.topByte = size >>> 24;
    } else if ((w0 & INDIRECT) !== 0) this.address = memory.read32(w1 >>> 0) >>> 0;
    scripts.time += memory.spentNs;
    if (memory.faulted) return scripts.fault();
    if (this.left > 0 && this.sendAll() && this.left === 0) return true;
    this.showCounters();
    if (this.left === 0) return scripts.illegal("a block move of 0 bytes");
    return this.go();
  }

  /** What a table entry's address has above bit 31, with EXTIBMV set: in the entry's top byte, or where that byte points. */
  private highAddress(top: number, ccntl1: number): number {
    if ((ccntl1 & CCNTL1_XTIMOD) !== 0) return top * U32;
    // A segment register, SCRATCHC to SCRATCHR, holds the upper dword.
    return (this.scripts.parts.words[(SYM.SCRATCHC >>> 2) + (top & 0x0f)]! >>> 0) * U32;
  }

  private readonly go = (): boolean => {
    const { scripts } = this;
    const { bus, regs, profile } = scripts.parts;
    if (isDataInPhase(this.phase) && (regs[SYM.SCNTL2]! & SCNTL2_WSR) !== 0) {
      this.storeResidue();
      if (this.left === 0) return true;
    }
    if (!scripts.requestValid(this.go)) return false;
    if (!meansPhase(scripts.parts, this.phase, bus.phase)) return this.mismatch();
    if (bus.phase !== this.phase) {
      this.phase = bus.phase;
      this.showCounters();
    }
    const target = bus.connected!;
    const data = isDataPhase(this.phase);
    if (data && (this.phase & DT_BIT) !== 0 && !profile.doubleTransition)
      return scripts.illegal(`the ${profile.variant} has no phase ${this.phase}`);
    this.planned = data ? Math.min(this.left, target.dataWanted) : this.left;
    if (data) this.checkAgreement(target);
    const perByte = data ? target.agreement.nsPerByte : ASYNCHRONOUS_NS;
    const took = Math.ceil(this.planned * perByte);
    // Status and messages from the target start nothing outside the chip.
    if (!data && (this.phase & 1) !== 0 && scripts.soon(took)) {
      scripts.time += took;
      return this.finish();
    }
    return scripts.waitUntil(scripts.time + took, this.finish);
  };

  /** The byte that a wide DATA IN phase left in SWIDE goes first. */
  private storeResidue(): void {
    const { memory, regs } = this.scripts.parts;
    memory.write8(this.address, regs[SYM.SWIDE]!);
    regs[SYM.SCNTL2]! &= ~SCNTL2_WSR;
    this.advance(1);
  }

  private advance(bytes: number): void {
    this.left -= bytes;
    this.address += bytes;
    this.through += bytes;
    this.scripts.parts.words[SYM.CSBC >>> 2]! += bytes;
    this.showCounters();
  }

  private showCounters(): void {
    const { scripts } = this;
    const { words } = scripts.parts;
    words[SYM.DBC >>> 2] = (scripts.w0 & 0xf8000000) | (this.phase << 24) | this.left;
    words[SYM.DNAD >>> 2] = this.address;
  }

  /** What the chip is set to must be what the target has agreed to, but for the period: on a real bus data would be lost. */
  private checkAgreement(target: PhaseTarget): void {
    const { parts } = this.scripts;
    const { regs, profile, complain } = parts;
    const { width, offset, doubleTransition } = target.agreement;
    const ours = (regs[SYM.SCNTL3]! & SCNTL3_EWS) !== 0 ? 1 : 0;
    const ourOffset = regs[SYM.SXFER]! & (profile.doubleTransition ? SXFER_OFFSET_6_BITS : SXFER_OFFSET);
    const double = isSetToDt(parts);
    if (ours === width && ourOffset === offset && double === doubleTransition) return;
    const words = (wide: number, depth: number, dt: boolean) => `${8 << wide} bits, offset ${depth}${dt ? ", DT" : ""}`;
    complain(
      "driver erred",
      `data phase with target ${target.id}: the chip is set to ${words(ours, ourOffset, double)}; the target to ${words(width, offset, doubleTransition)}`,
    );
  }

  /** The time of the transfer is over: now the bytes are there. */
  private readonly finish = (): boolean => {
    const { scripts } = this;
    const { bus, memory } = scripts.parts;
    const target = bus.connected;
    if (!target || bus.phase !== this.phase) return this.go();
    memory.spentNs = 0;
    bus.actAt = scripts.time;
    if (isDataPhase(this.phase)) this.moveData(target);
    else if (this.phase === PHASE.messageIn || this.phase === PHASE.status) this.takeBytes(target);
    else this.sendBytes(target);
    if (memory.faulted) return scripts.fault();
    scripts.parts.trace("moved", this.phase, this.through);
    if (this.left === 0) return true;
    return this.go();
  };

  /**
   * The usual STATUS or MESSAGE IN: one byte that is there, to offset `near` of on-chip RAM, from `time` on, if it fits into this
   * slice. True when it is through, ASYNCHRONOUS_NS later.
   */
  takeOne(w0: number, w1: number, near: number, time: number, fits: boolean): boolean {
    const { scripts } = this;
    const { bus, memory, regs, words } = scripts.parts;
    const phase = (w0 >>> 24) & 7;
    const target = bus.connected;
    if ((phase !== PHASE.messageIn && phase !== PHASE.status) || target === undefined || bus.phase !== phase)
      return false;
    if (!fits || scripts.ackHeld || bus.requestAt > time) return false;
    scripts.latchedPhase = phase;
    bus.actAt = time + ASYNCHRONOUS_NS;
    const { byte } = target;
    memory.ram[near] = byte;
    memory.decoder.writtenDword(near >>> 2);
    regs[SYM.SFBR] = byte;
    scripts.lastByte = byte;
    // After a MESSAGE IN move ACK stays, so that ATN can still reject the message.
    if (phase === PHASE.messageIn) scripts.ackHeld = true;
    else target.acknowledge();
    words[SYM.CSBC >>> 2]! += 1;
    words[SYM.DBC >>> 2] = w0 & 0xff000000;
    words[SYM.DNAD >>> 2] = w1 + 1;
    scripts.parts.trace("moved", phase, 1);
    return true;
  }

  private takeBytes(target: PhaseTarget): void {
    const { scripts, phase, left, address } = this;
    const { memory, bus, regs } = scripts.parts;
    let moved = 0;
    while (moved < left && bus.connected === target && bus.phase === phase && !scripts.ackHeld) {
      const { byte } = target;
      memory.write8(address + moved, byte);
      if (moved === 0) regs[SYM.SFBR] = byte;
      scripts.lastByte = byte;
      moved++;
      // After the last byte of a MESSAGE IN move ACK stays, so that ATN can still reject the message.
      if (moved === left && phase === PHASE.messageIn) scripts.ackHeld = true;
      else target.acknowledge();
    }
    this.advance(moved);
  }

  /** The usual COMMAND or MESSAGE OUT: bytes in RAM, REQ is there, and nothing comes in between. True when some of them are through. */
  private sendAll(): boolean {
    const { scripts, phase, left, address } = this;
    const { memory, bus } = scripts.parts;
    const target = bus.connected;
    if ((phase !== PHASE.command && phase !== PHASE.messageOut) || target === undefined || bus.phase !== phase)
      return false;
    if (scripts.ackHeld || bus.requestAt > scripts.time) return false;
    const bytes = memory.flat(address, left);
    if (bytes === undefined || !scripts.passBy(left * ASYNCHRONOUS_NS)) return false;
    scripts.latchedPhase = phase;
    bus.actAt = scripts.time;
    let moved = 0;
    if (phase === PHASE.command) moved = target.takeDescriptor(bytes, address, left);
    else {
      for (; moved < left && bus.connected === target && bus.phase === phase; moved++) {
        if (moved === left - 1) bus.attention = false;
        target.take(bytes[address + moved]!);
      }
    }
    this.advance(moved);
    scripts.parts.trace("moved", phase, moved);
    return true;
  }

  private sendBytes(target: PhaseTarget): void {
    const { phase, left, address } = this;
    const { memory, bus } = this.scripts.parts;
    let moved = 0;
    while (moved < left && bus.connected === target && bus.phase === phase) {
      // The chip drops ATN before the last byte of a message.
      if (moved === left - 1 && phase === PHASE.messageOut) bus.attention = false;
      target.take(memory.read8(address + moved++));
    }
    this.advance(moved);
  }

  private moveData(target: PhaseTarget): void {
    const { memory, regs } = this.scripts.parts;
    const bytes = Math.min(this.planned, target.dataWanted);
    const { dataBuffer, dataOffset } = target;
    const inward = isDataInPhase(this.phase);
    const near = memory.ramOffset(this.address);
    if (near >= 0) {
      const ram = memory.ram.subarray(near, near + bytes);
      if (inward) {
        dataBuffer.readBytes(dataOffset, ram);
        memory.decoder.written(near, bytes);
      } else dataBuffer.writeBytes(dataOffset, ram);
    } else if (!memory.reaches(this.address, bytes, inward ? "DATA IN" : "DATA OUT")) return;
    else if (inward) memory.host.copyFromStore(dataBuffer.pages, dataOffset, this.address, bytes);
    else memory.host.copyToStore(this.address, dataBuffer.pages, dataOffset, bytes);
    this.advance(bytes);
    if (!target.dataMoved(bytes) || !inward) return;
    // The pad byte of a wide transfer: into the buffer when there is room, else it waits in SWIDE.
    if (this.left > 0) {
      memory.write8(this.address, 0);
      this.advance(1);
    } else {
      regs[SYM.SWIDE] = 0;
      regs[SYM.SCNTL2]! |= SCNTL2_WSR;
    }
  }

  /** The target wants another phase than the instruction. */
  private mismatch(): boolean {
    const { scripts } = this;
    const { profile, regs, words, interrupts, trace } = scripts.parts;
    const ccntl0 = regs[SYM.CCNTL0]!;
    trace("phase mismatch", this.phase, this.left);
    const data = isDataPhase(this.phase);
    const jumps = profile.phaseMismatchJump && (ccntl0 & CCNTL0_ENPMJ) !== 0 && (data || (ccntl0 & CCNTL0_ENNDJ) !== 0);
    if (!jumps) {
      if (!scripts.atItsTime(this.go)) return false;
      interrupts.raiseScsi(SIST_MA);
      return false;
    }
    words[SYM.RBC >>> 2] = this.left | (this.topByte << 24);
    words[SYM.UA >>> 2] = this.address;
    words[SYM.ESA >>> 2] = this.entry;
    words[SYM.IA >>> 2] = scripts.at;
    words[SYM.SBC >>> 2] = this.through;
    const residue = (regs[SYM.SCNTL2]! & SCNTL2_WSR) !== 0;
    const second = (ccntl0 & CCNTL0_PMJCTL) !== 0 ? isDataInPhase(this.phase) : residue;
    scripts.dsp = words[(second ? SYM.PMJAD2 : SYM.PMJAD1) >>> 2]!;
    return true;
  }
}
