// A parallel SCSI bus with one initiator: who is connected, which phase, when the next REQ comes. [SPI-3 10]
//
// Nothing here runs by itself. The initiator calls from its own events; a target that must come back on its own (a
// reselection, a REQ that took its time) says so with `busChanged`. A REQ that is merely some nanoseconds away has a time,
// `requestAt`, so that a phase change costs no event of its own.
import type { EventQueue } from "../time/events.ts";
import type { PhaseTarget } from "./phase-target.ts";
import { PHASE } from "./scsi-phases.ts";

/** Bus settle, bus free and arbitration delays together. [SPI-3 table 34] */
export const ARBITRATION_NS = 4_000;
/** From the end of arbitration until a selected device has taken the bus over. */
export const SELECTION_NS = 600;
/** From the end of one phase to the first REQ of the next one. */
export const PHASE_CHANGE_NS = 400;
const WIDE_IDS = 16;

export interface BusInitiator {
  /** Its id on the bus. */
  readonly busId: number;
  /** A target wants the bus, or a REQ that had no time has one now. */
  busChanged(): void;
  /** The connected target has let go of the bus. Both may be called in the initiator's own calls. */
  busFree(): void;
}

/** The lines as a logic analyser shows them, in the order of the chips' control line registers. */
export interface BusLines {
  readonly req: boolean;
  readonly bsy: boolean;
  readonly atn: boolean;
  /** MSG, C/D and I/O: see PHASE. */
  readonly phase: number;
  readonly rst: boolean;
}

export class ScsiBus {
  readonly events: EventQueue;
  private readonly initiator: BusInitiator;
  private readonly targets: (PhaseTarget | undefined)[] = new Array<undefined>(WIDE_IDS).fill(undefined);
  /** Targets that wait to reselect the initiator, first come first. */
  private readonly wanting: PhaseTarget[] = [];
  /** Since when each of them waits. */
  private readonly wantingSince: number[] = [];
  /** The target that has the bus. */
  connected: PhaseTarget | undefined;
  phase: number = PHASE.dataOut;
  /** When REQ of this phase is asserted; Infinity while the target has nothing to ask for. */
  requestAt = Infinity;
  /** ATN: the initiator has a message. */
  attention = false;
  /** The initiator holds the bus for a selection that nothing has answered. */
  initiatorHolds = false;
  /** When the initiator does what it is doing: it may be some microseconds ahead of the calendar. */
  actAt = 0;
  /** RST is held. */
  resetHeld = false;

  constructor(events: EventQueue, initiator: BusInitiator) {
    this.events = events;
    this.initiator = initiator;
  }

  /** Called by a target that is being put on the bus. Throws when its id is taken or no id of a wide bus. */
  add(target: PhaseTarget): void {
    const { id } = target;
    if (!(id >= 0 && id < WIDE_IDS) || id === this.initiator.busId || this.targets[id]) {
      throw new Error(
        `no target can have SCSI id ${id} (0 to ${WIDE_IDS - 1}, not ${this.initiator.busId}, each once)`,
      );
    }
    this.targets[id] = target;
  }

  get free(): boolean {
    return this.connected === undefined && !this.initiatorHolds && !this.resetHeld;
  }

  /** Time on the bus: the calendar's, or the initiator's when that is ahead. */
  get now(): number {
    const { now } = this.events;
    return this.actAt > now ? this.actAt : now;
  }

  lines(now: number): BusLines {
    const { connected } = this;
    return {
      req: connected !== undefined && this.requestAt <= now,
      bsy: connected !== undefined || this.initiatorHolds,
      atn: this.attention,
      phase: connected ? this.phase : 0,
      rst: this.resetHeld,
    };
  }

  /** The initiator has won arbitration and selects `id`. False when nothing answers. */
  select(id: number, attention: boolean): boolean {
    const target = this.targets[id];
    if (!target?.present) return false;
    this.connected = target;
    this.attention = attention;
    target.selected(attention);
    return true;
  }

  /** A target asks to reselect the initiator. */
  want(target: PhaseTarget): void {
    if (this.wanting.includes(target)) return;
    this.wanting.push(target);
    // By the calendar, not the time on the bus: the initiator may be ahead with something that is none of this target's business.
    this.wantingSince.push(this.events.now);
    if (this.free) this.initiator.busChanged();
  }

  unwant(target: PhaseTarget): void {
    const { wanting, wantingSince } = this;
    const at = wanting.indexOf(target);
    if (at < 0) return;
    if (wanting.length === 1) {
      wanting.pop();
      wantingSince.pop();
    } else {
      wanting.splice(at, 1);
      wantingSince.splice(at, 1);
    }
  }

  /** True when the bus is free and a target arbitrates for it. */
  get reselecting(): boolean {
    return this.free && this.wanting.length > 0;
  }

  /** Since when the first of the targets that wait has wanted the bus; Infinity when none does. */
  get wantedSince(): number {
    return this.wantingSince[0] ?? Infinity;
  }

  /** The initiator answers the reselection of the target that wins arbitration. Returns its id. */
  acceptReselection(): number {
    let winner = this.wanting[0]!;
    for (const target of this.wanting) if (priority(target.id) > priority(winner.id)) winner = target;
    this.unwant(winner);
    this.connected = winner;
    this.attention = false;
    winner.reselected();
    return winner.id;
  }

  /** The connected target lets go of the bus. */
  release(): void {
    this.connected = undefined;
    this.attention = false;
    this.requestAt = Infinity;
    this.initiator.busFree();
  }

  /** A target that kept the initiator waiting goes on. */
  changed(): void {
    this.initiator.busChanged();
  }

  /** RST is asserted (and held until `resetHeld` is false again): every device forgets what it was doing. */
  reset(): void {
    this.resetHeld = true;
    this.initiatorHolds = false;
    this.connected = undefined;
    this.attention = false;
    this.requestAt = Infinity;
    this.wanting.length = this.wantingSince.length = 0;
    for (const target of this.targets) target?.busReset();
  }
}

/** 7 is the highest, then down to 0, then 15 down to 8. [SPI-3 10.2] */
const priority = (id: number): number => (id < 8 ? id + 8 : id - 8);
