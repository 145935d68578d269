// A comparison: its cells are one dumper at one value of what is swept, each with its trials and what they have in common.
import { whitePaperRow, type PaperRow } from "../scenario/dumpers.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { scenarioHash } from "../scenario/identity.ts";
import type { TrialRecord } from "../trial/types.ts";
import type { LostTrial } from "./campaign.ts";
import { wilson, type Interval } from "./wilson.ts";

/** A scenario key that is swept, and its values as they were typed. */
export interface Sweep {
  readonly key: string;
  readonly values: readonly string[];
}

/** One scenario of a comparison. */
export interface PlannedCell {
  readonly scenario: Scenario;
  /** Of the sweep; null without one. */
  readonly value: string | null;
  /** Why this scenario cannot have this dumper; absent when it can. Such a cell has no trials. */
  readonly impossible?: string;
}

/** Medians over the trials that have the figure; null when none has. */
export interface CellLoad {
  readonly bytesPerS: number | null;
  readonly meanQueueDepth: number | null;
  readonly cpuBusyShare: number | null;
}

export interface Cell {
  readonly scenario: string;
  readonly dumper: string;
  readonly value: string | null;
  /** Why there can be no trials; null when there can. */
  readonly impossible: string | null;
  /** What the white paper measured of it; undefined when it did not. */
  readonly paper: PaperRow | undefined;
  /** With the lost ones, which count as trials without success. */
  readonly trials: number;
  readonly complete: number;
  readonly interval: Interval;
  /** Outcome and count, the most frequent first. */
  readonly outcomes: readonly (readonly [string, number])[];
  /** What failed trials were blocked on, or else their cause; the most frequent first. */
  readonly blockers: readonly Blocker[];
  readonly dumpVirtualNs: number | null;
  readonly dumpedBytes: number | null;
  readonly hostMs: number | null;
  readonly load: CellLoad;
  readonly records: readonly TrialRecord[];
}

export interface Blocker {
  /** The lock or resource; null when only a cause is known. */
  readonly on: string | null;
  readonly function: string | null;
  /** The holder, or the cause: of the first such trial. */
  readonly because: string;
  readonly count: number;
  /** Runs the first of them again. */
  readonly command: string;
}

/** In the order of the plan. `impossible`: what was found out when trials were to begin, by scenario hash. */
export function cellsOf(
  plan: readonly PlannedCell[],
  records: readonly TrialRecord[],
  lost: readonly LostTrial[],
  impossible: ReadonlyMap<string, string> = new Map(),
): Cell[] {
  return plan.map(({ scenario, value, impossible: reason }) => {
    const hash = scenarioHash(scenario);
    const own = records.filter((record) => record.scenarioHash === hash);
    const gone = lost.filter((trial) => trial.scenarioHash === hash);
    const trials = own.length + gone.length;
    const complete = own.filter(({ outcome }) => outcome === "complete").length;
    return {
      ...{ scenario: scenario.name, dumper: scenario.dump.dumper, value, trials, complete },
      impossible: reason ?? impossible.get(hash) ?? null,
      paper: whitePaperRow(scenario.dump),
      interval: wilson(complete, trials),
      outcomes: counted([...own.map(({ outcome }) => outcome), ...gone.map(() => "lost")]),
      blockers: blockersOf(own),
      dumpVirtualNs: median(own.map((record) => record.dumpVirtualNs)),
      dumpedBytes: median(own.map((record) => record.dumpedBytes)),
      hostMs: median(own.map((record) => record.hostMs)),
      load: {
        bytesPerS: median(own.map(({ load }) => load?.bytesPerS)),
        meanQueueDepth: median(own.map(({ load }) => load?.meanQueueDepth)),
        cpuBusyShare: median(own.map(({ load }) => load?.cpuBusyShare)),
      },
      records: own,
    };
  });
}

function blockersOf(records: readonly TrialRecord[]): Blocker[] {
  const rows = new Map<string, Blocker>();
  for (const { outcome, blocked, cause, command } of records) {
    if (outcome === "complete") continue;
    const on = blocked?.on ?? null;
    const where = blocked?.function ?? null;
    const key = JSON.stringify(blocked ? [on, where] : [outcome, cause]);
    const row = rows.get(key) ?? {
      ...{ on, function: where, count: 0, command },
      because: blocked?.because ?? `${outcome}: ${cause ?? "unknown"}`,
    };
    rows.set(key, { ...row, count: row.count + 1 });
  }
  return [...rows.values()].sort((a, b) => b.count - a.count);
}

function counted(words: readonly string[]): (readonly [string, number])[] {
  const counts = new Map<string, number>();
  for (const word of words) counts.set(word, (counts.get(word) ?? 0) + 1);
  return [...counts].sort((a, b) => b[1] - a[1]);
}

/** Of the values that are there; null when none is. The mean of the middle two for an even number. */
export function median(values: readonly (number | null | undefined)[]): number | null {
  const sorted = values.filter((value) => typeof value === "number").sort((a, b) => a - b);
  if (sorted.length === 0) return null;
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2;
}

/** Share of trials that were complete. */
export const rateOf = ({ complete, trials }: { complete: number; trials: number }): number =>
  trials === 0 ? 0 : complete / trials;
