// SCRIPTS' I/O instructions: selection, reselection, disconnection, ACK and ATN. [manual 5.4]
import { ARBITRATION_NS } from "../../emulator/disk/scsi-bus.ts";
import { signed24 } from "./chip-decoder.ts";
import type { Scripts } from "./chip-scripts.ts";
import { ISTAT_SIGP, SCNTL2_SDU, SSID_VAL, SYM } from "./registers.ts";

const SELECT = 0;
const WAIT_DISCONNECT = 1;
const WAIT_RESELECT = 2;
const SET = 3;

export class BusInstructions {
  private readonly scripts: Scripts;
  /** When the arbitration that is under way began. */
  private arbitratesFrom = 0;

  constructor(scripts: Scripts) {
    this.scripts = scripts;
  }

  /** The instruction has been fetched. */
  readonly run = (): boolean => {
    const { scripts } = this;
    const { bus } = scripts.parts;
    bus.actAt = scripts.time;
    switch ((scripts.w0 >>> 27) & 7) {
      case SELECT:
        return this.select();
      case WAIT_DISCONNECT:
        return this.waitDisconnect();
      case WAIT_RESELECT:
        return this.waitReselect();
      default:
        this.setOrClear(scripts.w0, ((scripts.w0 >>> 27) & 7) === SET);
        return true;
    }
  };

  private get alternate(): number {
    const { w0, w1, at } = this.scripts;
    return (w0 & 0x04000000) !== 0 ? (at + 8 + signed24(w1)) >>> 0 : w1;
  }

  private readonly select = (): boolean => {
    const { scripts } = this;
    const { bus, memory, regs, profile } = scripts.parts;
    if (bus.reselecting) {
      this.beReselected();
      scripts.dsp = this.alternate;
      return true;
    }
    if (!bus.free) return scripts.waitForChange(this.select);
    // Arbitration begins ahead of the calendar: nothing outside notices before it has ended.
    if ((scripts.w0 & 0x02000000) !== 0) {
      // Table indirect: SCNTL3, id, SXFER, SCNTL4 from the highest byte down.
      const entry = memory.read32((scripts.dsa + signed24(scripts.w0)) >>> 0);
      if (memory.faulted) return scripts.fault();
      regs[SYM.SCNTL3] = entry >>> 24;
      regs[SYM.SDID] = (entry >>> 16) & 0x0f;
      regs[SYM.SXFER] = (entry >>> 8) & 0xff;
      if (profile.doubleTransition) regs[SYM.SCNTL4] = entry & 0xff;
    } else regs[SYM.SDID] = (scripts.w0 >>> 16) & 0x0f;
    this.arbitratesFrom = scripts.time;
    return scripts.waitUntil(scripts.time + ARBITRATION_NS, this.arbitrated);
  };

  private readonly arbitrated = (): boolean => {
    const { scripts } = this;
    const { bus, regs, trace, selectionUnanswered } = scripts.parts;
    if (!bus.free) return this.select();
    // A target that had wanted the bus before arbitration began has won it.
    if (bus.reselecting && bus.wantedSince < this.arbitratesFrom) {
      scripts.time = this.arbitratesFrom;
      return this.select();
    }
    const id = regs[SYM.SDID]!;
    const attention = (scripts.w0 & 0x01000000) !== 0;
    trace("select", id, attention ? 1 : 0);
    if (bus.select(id, attention)) regs[SYM.SCNTL2]! |= SCNTL2_SDU;
    else {
      // SCRIPTS go on until they need the target; the selection timer tells when nobody comes.
      scripts.selecting = true;
      bus.initiatorHolds = true;
      selectionUnanswered();
    }
    return true;
  };

  private beReselected(): void {
    const { scripts } = this;
    const { bus, regs, trace } = scripts.parts;
    const id = bus.acceptReselection();
    trace("reselected", id, 0);
    regs[SYM.SSID] = SSID_VAL | id;
    regs[SYM.SCNTL2]! |= SCNTL2_SDU;
    scripts.time += ARBITRATION_NS;
    bus.requestAt = Math.max(bus.requestAt, scripts.time);
  }

  private readonly waitDisconnect = (): boolean =>
    this.scripts.parts.bus.connected ? this.scripts.waitForChange(this.waitDisconnect) : true;

  private readonly waitReselect = (): boolean => {
    const { scripts } = this;
    const { bus, regs } = scripts.parts;
    // Reselected already, in the middle of a selection: Linux's SCRIPTS come here from the selection's alternate address.
    if (bus.connected) return true;
    if (bus.reselecting) {
      this.beReselected();
      return true;
    }
    if ((regs[SYM.ISTAT0]! & ISTAT_SIGP) !== 0) {
      scripts.dsp = this.alternate;
      return true;
    }
    return scripts.waitForChange(this.waitReselect);
  };

  /** SET or CLEAR of the bits in `bits`. */
  setOrClear(bits: number, set: boolean): void {
    const { scripts } = this;
    const { bus, complain } = scripts.parts;
    if ((bits & 0x400) !== 0) scripts.carry = set;
    if (set && (bits & 0x200) !== 0) complain("not modelled", "target role (SET TARGET)");
    // ATN first: a target looks at it when ACK goes.
    if ((bits & 0x08) !== 0 && (bus.connected || !set)) bus.attention = set;
    if ((bits & 0x40) === 0) return;
    if (set) scripts.ackHeld = true;
    else if (scripts.ackHeld) {
      scripts.ackHeld = false;
      bus.connected?.acknowledge();
    }
  }
}
