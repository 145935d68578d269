// SCRIPTS' register and memory instructions, from their words: MOVE and its operators, memory move, LOAD and STORE. [manual 5.5, 5.7, 5.8]
import { DWORD_STORAGE, signed24 } from "./chip-decoder.ts";
import type { Scripts } from "./chip-scripts.ts";
import { SYM } from "./registers.ts";

const MEMORY_MOVE_NS_PER_DWORD = 40;

export class DataInstructions {
  private readonly scripts: Scripts;

  constructor(scripts: Scripts) {
    this.scripts = scripts;
  }

  register(): boolean {
    const { scripts } = this;
    const { w0 } = scripts;
    const { registers, regs } = scripts.parts;
    const register = ((w0 >>> 16) & 0x7f) | (w0 & 0x80);
    const kind = (w0 >>> 27) & 7;
    const operator = (w0 >>> 24) & 7;
    // Only data8 or SFBR as the second operand; SFBR itself is register 08.
    const data = (w0 & 0x800000) !== 0 ? regs[SYM.SFBR]! : (w0 >>> 8) & 0xff;
    const source = kind === 5 ? regs[SYM.SFBR]! : operator === 0 ? 0 : registers.readRegister(register);
    const value = scripts.compute(operator, source, data);
    if (kind === 6) regs[SYM.SFBR] = value;
    else registers.writeRegister(register, value);
    return true;
  }

  memoryMove(): boolean {
    const { scripts } = this;
    const { memory } = scripts.parts;
    const length = scripts.w0 & 0xffffff;
    let to = memory.read32((scripts.at + 8) >>> 0) >>> 0;
    scripts.dsp = scripts.at + 12;
    let from = scripts.w1 >>> 0;
    if (length === 0) return scripts.illegal("a memory move of 0 bytes");
    if ((from & 3) !== (to & 3))
      return scripts.illegal("source and destination of a memory move are not aligned alike");
    const spent = memory.spentNs;
    let left = length;
    while (left > 0 && !memory.faulted) {
      if ((from & 3) === 0 && left >= 4) {
        memory.write32(to, memory.read32(from));
        from += 4;
        to += 4;
        left -= 4;
      } else {
        memory.write8(to++, memory.read8(from++));
        left--;
      }
    }
    // Bursts: the accesses of one move overlap.
    memory.spentNs = Math.min(memory.spentNs, spent + 300 + (length >>> 2) * MEMORY_MOVE_NS_PER_DWORD);
    return true;
  }

  loadStore(): boolean {
    const { scripts } = this;
    const { w0, w1 } = scripts;
    const { memory, words } = scripts.parts;
    const count = w0 & 7;
    const register = (w0 >>> 16) & 0xff;
    if (count < 1 || count > 4 || (register & 3) + count > 4) return scripts.illegal("LOAD/STORE crosses a dword");
    const address = ((w0 & 0x10000000) !== 0 ? words[SYM.DSA >>> 2]! + signed24(w1) : w1) >>> 0;
    if ((address & 3) !== (register & 3)) return scripts.illegal("LOAD/STORE not aligned like its register");
    const load = (w0 & 0x01000000) !== 0;
    if (count === 4 && DWORD_STORAGE[register] !== 0) {
      if (load) words[register >>> 2] = memory.read32(address);
      else memory.write32(address, words[register >>> 2]!);
      return true;
    }
    const { registers } = scripts.parts;
    for (let i = 0; i < count; i++) {
      if (load) registers.writeRegister(register + i, memory.read8(address + i));
      else memory.write8(address + i, registers.readRegister(register + i));
    }
    return true;
  }
}
