// What can go wrong with a disk, on purpose.
//
// The fault model: a fault is laid over a healthy disk and can be lifted again. The media stay pristine, so a bad range
// reads back what was written there once its fault is gone. A fault applies to commands that match its operation
// and LBA range, from its time on, as often as its count says. It is looked at when a command starts; "device gone"
// and "bus hang" also silence commands under way. Matching is by state alone: no dice.
import type { SenseCode } from "./sense.ts";

export type FaultKind =
  /** CHECK CONDITION 03/11/00 (read) or 03/0C/00 (write), information field = first bad LBA; data before it moves. */
  | "media error"
  /** The command is swallowed: it stays in the task set, without data or answer, until an abort or a reset. */
  | "timeout"
  /** The command is carried out, its completion is lost. */
  | "lost completion"
  /** The unit attention `sense` is pending before this command. */
  | "unit attention"
  /** The status byte `status` is answered at once: BUSY 08, RESERVATION CONFLICT 18, TASK SET FULL 28. */
  | "status"
  /** The command takes `factor` times as long. */
  | "slow"
  /** Nothing answers selection. */
  | "device gone"
  /** Set off by a matching command: from then on nothing is answered until a bus reset or a power cycle. */
  | "bus hang";

export interface Fault {
  readonly kind: FaultKind;
  /** Which commands: reads, writes, or any at all (default). */
  readonly on?: "read" | "write" | "any";
  /** Virtual time from which it applies; default 0. */
  readonly fromNs?: number;
  /** How many commands it hits; default all. */
  readonly count?: number;
  /** Only commands that touch a sector in [firstLba, lastLba]; needed for "media error". */
  readonly firstLba?: number;
  readonly lastLba?: number;
  /** For "slow": at least 1. */
  readonly factor?: number;
  /** For "unit attention", packed 0xKKAAQQ: default 06/29/00. */
  readonly sense?: SenseCode;
  /** For "status": default BUSY. */
  readonly status?: number;
  /** For a "media error" on writes with the cache on: acknowledge, and report it with the next command (response code 71). */
  readonly deferred?: boolean;
}

/** A fault on a disk; keep it to lift it or to ask how often it hit. */
export interface LaidFault {
  readonly fault: Fault;
  hits: number;
}

export type Operation = "read" | "write" | "other";

const KINDS: readonly FaultKind[] = [
  "media error",
  "timeout",
  "lost completion",
  "unit attention",
  "status",
  "slow",
  "device gone",
  "bus hang",
];

/** Checks a fault from a scenario. Throws naming the field. */
export function checkFault(fault: Fault): void {
  const complain = (what: string): never => {
    throw new Error(`disk fault "${fault.kind}": ${what}`);
  };
  if (!KINDS.includes(fault.kind)) complain(`unknown kind; known are ${KINDS.join(", ")}`);
  if (fault.kind === "media error" && fault.firstLba === undefined)
    complain("needs firstLba (and lastLba for more than one sector)");
  if (fault.lastLba !== undefined && fault.firstLba === undefined) complain("lastLba without firstLba");
  if ((fault.lastLba ?? fault.firstLba ?? 0) < (fault.firstLba ?? 0)) complain("lastLba lies before firstLba");
  if (fault.kind === "slow" && !(fault.factor !== undefined && fault.factor >= 1))
    complain("needs a factor of at least 1");
  if (fault.count !== undefined && !(fault.count >= 1)) complain("count must be 1 or more");
  if (fault.fromNs !== undefined && !(fault.fromNs >= 0)) complain("fromNs must be 0 or more");
  if (fault.on !== undefined && !["read", "write", "any"].includes(fault.on)) complain("on must be read, write or any");
}

export class Faults {
  private readonly list: LaidFault[] = [];
  /** Called when faults are laid or lifted. */
  onChange: () => void = () => {};

  /** Lays a fault over the disk. Throws when it makes no sense. */
  lay(fault: Fault): LaidFault {
    checkFault(fault);
    const laid: LaidFault = { fault, hits: 0 };
    this.list.push(laid);
    this.onChange();
    return laid;
  }

  lift(laid: LaidFault): void {
    const at = this.list.indexOf(laid);
    if (at >= 0) this.list.splice(at, 1);
    this.onChange();
  }

  liftAll(): void {
    this.list.length = 0;
    this.onChange();
  }

  get any(): boolean {
    return this.list.length > 0;
  }

  /** True when a fault of this kind applies whatever the command: for states such as "device gone". */
  inForce(kind: FaultKind, now: number): boolean {
    for (const { fault, hits } of this.list) {
      if (fault.kind === kind && now >= (fault.fromNs ?? 0) && hits < (fault.count ?? Infinity)) return true;
    }
    return false;
  }

  /** The first fault of this kind that the command meets, in the order they were laid; counts the hit. */
  meet(kind: FaultKind, operation: Operation, lba: number, sectors: number, now: number): Fault | undefined {
    for (const laid of this.list) {
      const { fault } = laid;
      if (fault.kind !== kind || now < (fault.fromNs ?? 0) || laid.hits >= (fault.count ?? Infinity)) continue;
      if (fault.on !== undefined && fault.on !== "any" && fault.on !== operation) continue;
      if (fault.firstLba !== undefined) {
        if (operation === "other" && sectors === 0) continue;
        if (lba > (fault.lastLba ?? fault.firstLba) || lba + sectors <= fault.firstLba) continue;
      }
      laid.hits++;
      return fault;
    }
    return undefined;
  }
}
