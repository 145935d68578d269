// SCRIPTS' transfer control: JUMP, CALL, RETURN and INT, when carry, phase and data compare as they want. [manual 5.6]
import { signed24 } from "./chip-decoder.ts";
import type { Scripts } from "./chip-scripts.ts";
import { meansPhase } from "./chip-data-phases.ts";
import { DSTAT_SIR, SYM } from "./registers.ts";

// Registers as indices of dwords.
const DSP = SYM.DSP >>> 2;
const TEMP = SYM.TEMP >>> 2;

const JUMP = 0;
const CALL = 1;
const RETURN = 2;
const INT = 3;

export class TransferControl {
  private readonly scripts: Scripts;

  constructor(scripts: Scripts) {
    this.scripts = scripts;
  }

  /** The instruction has been fetched. */
  readonly run = (): boolean => {
    const { scripts } = this;
    const { w0 } = scripts;
    const { regs, words, bus } = scripts.parts;
    if ((w0 & 0x00010000) !== 0 && !scripts.requestValid(this.run)) return false;
    let holds = true;
    if ((w0 & 0x00200000) !== 0) holds = scripts.carry;
    else {
      if ((w0 & 0x00020000) !== 0)
        holds = bus.connected !== undefined && meansPhase(scripts.parts, (w0 >>> 24) & 7, scripts.latchedPhase);
      if ((w0 & 0x00040000) !== 0) {
        const care = ~(w0 >>> 8) & 0xff;
        holds = holds && (regs[SYM.SFBR]! & care) === (w0 & care);
      }
    }
    if (holds !== ((w0 & 0x00080000) !== 0)) return true;
    switch ((w0 >>> 27) & 7) {
      case JUMP:
        scripts.dsp = this.target;
        return true;
      case CALL:
        words[TEMP] = scripts.at + 8;
        scripts.dsp = this.target;
        return true;
      case RETURN:
        words[DSP] = words[TEMP]!;
        return true;
      case INT:
        return this.interrupt();
      default:
        return scripts.illegal("no such transfer control operation");
    }
  };

  private get target(): number {
    const { w0, w1, at } = this.scripts;
    return (w0 & 0x800000) !== 0 ? at + 8 + signed24(w1) : w1;
  }

  private readonly interrupt = (): boolean => {
    const { scripts } = this;
    if (!scripts.atItsTime(this.interrupt)) return false;
    const { interrupts, trace } = scripts.parts;
    if ((scripts.w0 & 0x00100000) !== 0) {
      interrupts.raiseOnTheFly();
      return true;
    }
    trace("INT", scripts.w1 >>> 0, 0);
    interrupts.raiseDma(DSTAT_SIR);
    return false;
  };
}
