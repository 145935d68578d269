// Two runs of one campaign: are they the same trials, whoever ran them and in what order?
import type { TrialRecord } from "../trial/types.ts";

export interface Difference {
  readonly seed: number;
  readonly dumper: string;
  /** "traceHash", "partitionDigest", "outcome", or "missing". */
  readonly what: string;
  readonly first: string;
  readonly second: string;
}

/** What must not depend on the worker, the order or the host. */
const COMPARED = [
  ...(["traceHash", "partitionDigest", "outcome", "cause", "virtualNs", "dumpedPages"] as const),
  ...(["dumpedBytes", "dumpVirtualNs", "blocked", "load"] as const),
];

/** A fact as one line; what is not a plain word is JSON. */
const textOf = (fact: unknown): string => (typeof fact === "object" ? JSON.stringify(fact) : String(fact));

/** The first difference of each trial. Records are matched by scenario, dumper and seed. */
export function differencesBetween(first: readonly TrialRecord[], second: readonly TrialRecord[]): Difference[] {
  const key = (r: TrialRecord): string => `${r.scenarioHash} ${r.seed}`;
  const others = new Map(second.map((record) => [key(record), record]));
  const differences: Difference[] = [];
  for (const record of first) {
    const { seed, dumper } = record;
    const other = others.get(key(record));
    if (!other) {
      differences.push({ seed, dumper, what: "missing", first: record.traceHash, second: "" });
      continue;
    }
    const what = COMPARED.find((field) => textOf(record[field]) !== textOf(other[field]));
    if (what) differences.push({ seed, dumper, what, first: textOf(record[what]), second: textOf(other[what]) });
  }
  return differences;
}

/** One line per difference, and one that sums up. */
export function comparisonText(compared: number, differences: readonly Difference[]): string {
  const lines = differences.map(
    ({ seed, dumper, what, first, second }) => `  ${dumper} seed ${seed}: ${what} ${first} / ${second}`,
  );
  const sum =
    differences.length === 0
      ? `${compared} trials run twice: no difference`
      : `${compared} trials run twice: ${differences.length} DIFFER`;
  return [sum, ...lines].join("\n") + "\n";
}
