// Did the same seed strike the same instant under each dumper? The comparison checks what it takes for granted.
import type { TrialRecord } from "../trial/types.ts";
import type { Cell } from "./cells.ts";

export interface Instants {
  readonly dumpers: number;
  /** Seeds, per value of the sweep, that ran under every dumper. */
  readonly compared: number;
  /** Of those: same CPU, function and time since the start of the load. */
  readonly same: number;
  /** Of those: and the same number of calls and bytes before it. */
  readonly sameLoad: number;
  /** The first that differ, told in words. */
  readonly examples: readonly string[];
}

const EXAMPLES = 3;

export function instantsOf(all: readonly Cell[]): Instants {
  const cells = all.filter(({ trials }) => trials > 0);
  const values = [...new Set(cells.map(({ value }) => value))];
  const dumpers = new Set(cells.map(({ dumper }) => dumper)).size;
  let [compared, same, sameLoad] = [0, 0, 0];
  const examples: string[] = [];
  for (const value of values) {
    const group = cells.filter((cell) => cell.value === value);
    const bySeed = group.map(({ records }) => new Map(records.map((record) => [record.seed, record])));
    for (const [seed, first] of bySeed[0] ?? []) {
      const trials = bySeed.map((map) => map.get(seed));
      if (trials.some((trial) => trial === undefined)) continue;
      compared++;
      const places = trials.map((trial) => placeOf(trial!));
      const odd = places.findIndex((place) => place !== places[0]);
      if (odd < 0) {
        same++;
        if (trials.every((trial) => loadOf(trial!) === loadOf(first))) sameLoad++;
      } else if (examples.length < EXAMPLES) {
        examples.push(`seed ${seed}: ${places[0]} (${group[0]!.dumper}), ${places[odd]} (${group[odd]!.dumper})`);
      }
    }
  }
  return { dumpers, compared, same, sameLoad, examples };
}

const placeOf = ({ crash }: TrialRecord): string =>
  crash ? `cpu ${crash.cpu} in ${crash.function} at ${crash.sinceLoadNs ?? "?"} ns` : "no crash";

const loadOf = ({ load }: TrialRecord): string =>
  load ? `${load.calls} ${Math.round((load.bytesPerS * load.ns) / 1e9 / 512)}` : "none";

/** One line, and one for each example. */
export function instantsText({ dumpers, compared, same, sameLoad, examples }: Instants): string {
  const lines = [
    `same instants: ${same} of ${compared} seeds crashed on the same CPU, in the same function, at the same time of the load under all ` +
      `${dumpers} dumpers; ${sameLoad} after the same calls and bytes`,
    ...examples.map((example) => `  ${example}`),
  ];
  return `${lines.join("\n")}\n`;
}
