// The chip's timers: selection timeout and the general purpose timer, by which drivers measure the chip's clock.
import { type EventQueue, type TimerEvent, makeEvent } from "../../emulator/time/events.ts";
import type { SymProfile } from "./chip-profile.ts";
import { SCNTL3_CCF, STEST1_DBLEN, STEST1_DBLSEL, SYM } from "./registers.ts";

/** Code 1 of the timer fields, with the clock conversion factor set as the manual wants it. Each step doubles. [manual, STIME0] */
const SHORTEST_NS = 125_000;
/** Divisors of SCNTL3.CCF. 0 is "SCLK/3" by the manual; drivers find 3.47 (facts section 6, and sym_getfreq's constant). */
const CLOCK_DIVISORS = [3.472, 1, 1.5, 2, 3, 4, 6, 8] as const;
/** Divisor and clock for which the manual's times hold. */
const NOMINAL_DIVISOR = 2;
const NOMINAL_KHZ = 40_000;
/** From STEST1.DBLEN until the multiplier has locked. */
const LOCK_NS = 100_000;

export class ChipTimers {
  private readonly profile: SymProfile;
  private readonly events: EventQueue;
  private readonly regs: Uint8Array;
  private readonly general: TimerEvent;
  private readonly selection: TimerEvent;
  private lockedAt = Infinity;

  constructor(
    name: string,
    profile: SymProfile,
    events: EventQueue,
    regs: Uint8Array,
    expired: { readonly general: () => void; readonly selection: () => void },
  ) {
    this.profile = profile;
    this.events = events;
    this.regs = regs;
    this.general = makeEvent(`${name}.general-timer`, expired.general);
    this.selection = makeEvent(`${name}.selection-timeout`, expired.selection);
  }

  private periodNs(code: number): number {
    const { regs, profile } = this;
    if (!profile.timersFollowClock) return SHORTEST_NS * 2 ** (code - 1);
    const multiplied = (regs[SYM.STEST1]! & STEST1_DBLSEL) !== 0 && this.locked;
    const khz = profile.clockKhz * (multiplied ? profile.multiplier : 1);
    const divisor = CLOCK_DIVISORS[regs[SYM.SCNTL3]! & SCNTL3_CCF]!;
    return Math.round(SHORTEST_NS * 2 ** (code - 1) * (divisor / NOMINAL_DIVISOR) * (NOMINAL_KHZ / khz));
  }

  /** STIME1 was written: the general purpose timer starts, or stops with code 0. */
  writeGeneral(value: number): void {
    const code = value & 0x0f;
    if (code === 0) this.events.cancel(this.general);
    else this.events.arm(this.general, this.events.now + this.periodNs(code));
  }

  startSelection(): void {
    const code = this.regs[SYM.STIME0]! & 0x0f;
    // Without a timer the chip waits for ever.
    if (code !== 0) this.events.arm(this.selection, this.events.now + this.periodNs(code));
  }

  stopSelection(): void {
    this.events.cancel(this.selection);
  }

  /** STEST1 was written. */
  multiplierChanged(): void {
    if ((this.regs[SYM.STEST1]! & STEST1_DBLEN) === 0) this.lockedAt = Infinity;
    else if (this.lockedAt === Infinity) this.lockedAt = this.events.now + LOCK_NS;
  }

  get locked(): boolean {
    return this.events.now >= this.lockedAt;
  }

  stop(): void {
    this.events.cancel(this.general);
    this.events.cancel(this.selection);
    this.lockedAt = Infinity;
  }
}
