// SCRIPTS in on-chip RAM, where a driver's own lie: decoded once, run in one loop that keeps its state in local variables.
import { meansPhase } from "./chip-data-phases.ts";
import { OP, signed24, TRANSFER } from "./chip-decoder.ts";
import { HOST_READ_NS, HOST_WRITE_NS, NEAR_FETCH_NS, NEAR_NS } from "./chip-memory.ts";
import { LEFT } from "./chip-program-text.ts";
import type { Scripts } from "./chip-scripts.ts";
import { SYM } from "./registers.ts";

// Registers as indices of dwords.
const DSP = SYM.DSP >>> 2;
const DSA = SYM.DSA >>> 2;
const TEMP = SYM.TEMP >>> 2;

export class RamInstructions {
  private readonly scripts: Scripts;

  constructor(scripts: Scripts) {
    this.scripts = scripts;
  }

  /** Carries out instructions. Returns true at the end of the slice, false when SCRIPTS wait or have stopped. */
  execute(): boolean {
    const { scripts } = this;
    const { memory, words, decoder, translator } = scripts;
    const { entries } = translator;
    const { ram32 } = memory;
    const base = scripts.parts.ramBase();
    const outside = ~(4 * ram32.length - 1) | 3;
    decoder.moveTo(base);
    let ahead = scripts.beginSlice();
    let offset = (words[DSP]! - base) | 0;
    while ((offset & outside) === 0 && entries[offset >> 2] !== 0) {
      const { pool } = memory.host;
      const left = translator.program(entries[offset >> 2]!, pool.i32, memory.flatBytes, ahead, scripts.slice);
      if (left === LEFT.stopped) return false;
      const { next, last } = scripts;
      if (!scripts.running) {
        scripts.show(last, next);
        return false;
      }
      // Mostly it is left for a data block move, or for one that has to wait: interpreted at once.
      offset = (next - base) | 0;
      const at = offset >> 2;
      const ours = (offset & outside) === 0 && scripts.ahead < scripts.slice && decoder.ops[at] !== OP.unknown;
      if (!ours) return this.loop(base, scripts.ahead, last, next, true);
      if (entries[at] === 0) translator.warm(at, base);
      const after = scripts.ahead + NEAR_FETCH_NS;
      if (scripts.interpretHere(next, ram32[at]!, ram32[at + 1]!, after, 1) === LEFT.stopped) return false;
      ({ ahead } = scripts);
      offset = (words[DSP]! - base) | 0;
    }
    return this.loop(base, ahead, -1, words[DSP]!, false);
  }

  /**
   * Instructions one by one: decoded ones from on-chip RAM, in local variables, the others from their words; what is translated
   * by its function. `own`: the first one is not the function's.
   */
  private loop(base: number, startsAhead: number, lastOne: number, startsAt: number, own: boolean): boolean {
    const { scripts } = this;
    const { memory, words, regs, decoder, translator } = scripts;
    const { ops } = decoder;
    const { entries } = translator;
    const { ram32, flatBytes } = memory;
    const { parts } = scripts;
    const { bus, registers } = parts;
    const outside = ~(4 * ram32.length - 1) | 3;
    let { i32 } = memory.host.pool;
    let ahead = startsAhead;
    let { slice, sliceStart: now } = scripts;
    let dsp = startsAt;
    let count = 0;
    /** Number of the last instruction, while the registers do not show it yet. */
    let last = lastOne;
    let single = own;
    while (ahead < slice) {
      const offset = (dsp - base) | 0;
      const at = offset >> 2;
      const inRam = (offset & outside) === 0;
      const block = inRam && !single ? entries[at]! : 0;
      if (block !== 0) {
        scripts.show(last, dsp);
        scripts.inRow += count;
        count = 0;
        if (translator.program(block, i32, flatBytes, ahead, slice) === LEFT.stopped) return false;
        ({ ahead, slice, last, next: dsp, sliceStart: now } = scripts);
        if (scripts.running) {
          ({ i32 } = memory.host.pool);
          single = true;
          continue;
        }
        scripts.show(last, dsp);
        return false;
      }
      const op = inRam ? ops[at] || decoder.decode(at) : OP.unknown;
      if (op === OP.unknown) {
        scripts.show(last, dsp);
        scripts.time = now + ahead;
        scripts.inRow += count;
        if (!scripts.step() || !scripts.running) return false;
      } else {
        const w0 = ram32[at]!;
        const before = last;
        last = at;
        dsp = (dsp + 8) | 0;
        ahead += NEAR_FETCH_NS;
        count++;
        if (entries[at] === 0) translator.warm(at, base);
        single = false;
        switch (op) {
          case OP.register: {
            const kind = (w0 >>> 27) & 7;
            const register = ((w0 >>> 16) & 0x7f) | (w0 & 0x80);
            const operator = (w0 >>> 24) & 7;
            let value = (w0 & 0x800000) !== 0 ? regs[SYM.SFBR]! : (w0 >>> 8) & 0xff;
            if (operator !== 0) value = scripts.compute(operator, regs[kind === 5 ? SYM.SFBR : register]!, value);
            regs[kind === 6 ? SYM.SFBR : register] = value;
            continue;
          }
          case OP.readWithEffects: {
            const register = ((w0 >>> 16) & 0x7f) | (w0 & 0x80);
            const data = (w0 & 0x800000) !== 0 ? regs[SYM.SFBR]! : (w0 >>> 8) & 0xff;
            regs[SYM.SFBR] = scripts.compute((w0 >>> 24) & 7, registers.readRegister(register), data);
            continue;
          }
          case OP.scntl2: {
            const kind = (w0 >>> 27) & 7;
            const operator = (w0 >>> 24) & 7;
            const data = (w0 & 0x800000) !== 0 ? regs[SYM.SFBR]! : (w0 >>> 8) & 0xff;
            const value = scripts.compute(operator, regs[kind === 5 ? SYM.SFBR : SYM.SCNTL2]!, data);
            registers.writeRegister(SYM.SCNTL2, value);
            continue;
          }
          case OP.call:
            words[TEMP] = dsp;
            dsp = ram32[at + 1]!;
            continue;
          case OP.jump:
            dsp = ram32[at + 1]!;
            continue;
          case OP.return:
            dsp = words[TEMP]!;
            continue;
          case OP.transferOnSfbr: {
            const care = ~(w0 >>> 8) & 0xff;
            const holds = (regs[SYM.SFBR]! & care) === (w0 & care);
            if (holds !== ((w0 & 0x00080000) !== 0)) continue;
            break;
          }
          case OP.transferOnPhaseWhenRequested: {
            const { requestAt } = bus;
            if (bus.connected === undefined || scripts.ackHeld || requestAt >= now + slice) {
              last = before;
              break;
            }
            if (requestAt > now + ahead) ahead = requestAt - now;
            scripts.latchedPhase = bus.phase;
            if (meansPhase(parts, (w0 >>> 24) & 7, bus.phase) !== ((w0 & 0x00080000) !== 0)) continue;
            break;
          }
          case OP.transferOnPhase: {
            const holds = bus.connected !== undefined && meansPhase(parts, (w0 >>> 24) & 7, scripts.latchedPhase);
            if (holds !== ((w0 & 0x00080000) !== 0)) continue;
            break;
          }
          case OP.loadNear:
            words[(w0 >>> 18) & 0x3f] = ram32[(ram32[at + 1]! - base) >> 2]!;
            ahead += NEAR_NS;
            continue;
          case OP.storeNear:
            memory.writeNear((ram32[at + 1]! - base) >> 2, words[(w0 >>> 18) & 0x3f]!);
            ahead += NEAR_NS;
            continue;
          case OP.loadTable: {
            const address = (words[DSA]! + signed24(ram32[at + 1]!)) >>> 0;
            if (address >= flatBytes || (address & 3) !== 0) break;
            words[(w0 >>> 18) & 0x3f] = i32[address >>> 2]!;
            ahead += HOST_READ_NS;
            continue;
          }
          case OP.loadTableByte: {
            const register = (w0 >>> 16) & 0xff;
            const address = (words[DSA]! + signed24(ram32[at + 1]!)) >>> 0;
            if (address >= flatBytes || (address & 3) !== (register & 3)) break;
            regs[register] = memory.host.pool.u8[address]!;
            ahead += HOST_READ_NS;
            continue;
          }
          case OP.storeTable: {
            const address = (words[DSA]! + signed24(ram32[at + 1]!)) >>> 0;
            if (address >= flatBytes || (address & 3) !== 0) break;
            memory.write32(address, words[(w0 >>> 18) & 0x3f]!);
            ahead += HOST_WRITE_NS;
            continue;
          }
          case OP.clear:
            if (scripts.clear(w0, now + ahead)) continue;
            // The target has gone to bus free where it should not have.
            scripts.show(last, dsp);
            return false;
          case OP.waitDisconnect:
            if (bus.connected !== undefined) break;
            bus.actAt = now + ahead;
            continue;
          default:
        }
        if (op >= OP.transferOnSfbr && op <= OP.transferOnPhaseWhenRequested && last === at) {
          // The condition came out as the instruction wants it.
          const transfer = (w0 >>> 27) & 7;
          if (transfer === TRANSFER.jump) {
            dsp = ram32[at + 1]!;
            continue;
          }
          if (transfer === TRANSFER.return) {
            dsp = words[TEMP]!;
            continue;
          }
        }
        scripts.time = now + ahead;
        scripts.inRow += count;
        if (!scripts.interpret((dsp - 8) | 0, w0, ram32[at + 1]!) || !scripts.running) return false;
      }
      last = -1;
      count = 0;
      ahead = scripts.beginSlice();
      ({ slice, sliceStart: now } = scripts);
      dsp = words[DSP]!;
      ({ i32 } = memory.host.pool);
    }
    scripts.show(last, dsp);
    scripts.time = now + ahead;
    scripts.inRow += count;
    return true;
  }
}
