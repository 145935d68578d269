// The scenarios of a campaign: every dumper at every value of what is swept, at the same instants.
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { loadScenario } from "../scenario/load.ts";
import type { Dumper, Scenario } from "../scenario/scenario.ts";
import type { PlannedCell, Sweep } from "./cells.ts";

/** Later than any dumper's service is up: from there the load is the same under all of them. */
export const COMPARED_LOAD_START = "load.start=10s";
/** What `--curve` stands for. */
export const LOAD_CURVE = "load.perDisk=1,2,4,8,16";

/** "load.perDisk=1,2,4": commas inside of brackets belong to a value. Throws a UsageError. */
export function parseSweep(text: string): Sweep {
  const equals = text.indexOf("=");
  const key = text.slice(0, Math.max(0, equals)).trim();
  const values = text
    .slice(equals + 1)
    .split(/,(?![^[{]*[\]}])/)
    .map((value) => value.trim());
  if (key === "" || values.some((value) => value === "")) {
    throw new UsageError(`--sweep: expected key=value,value,... like load.perDisk=1,2,4; got ${text}`);
  }
  const twice = values.find((value, i) => values.indexOf(value) !== i);
  if (twice !== undefined) throw new UsageError(`--sweep ${key}: the value ${twice} is there twice`);
  return { key, values };
}

export interface PlanOptions {
  readonly ref: string;
  readonly sets: readonly string[];
  readonly adapter: string | undefined;
  /** undefined: the scenario's own. */
  readonly dumpers: readonly (Dumper | undefined)[];
  readonly sweep: Sweep | undefined;
  /** Gives the load a stated start, unless the scenario has one. */
  readonly sameInstants: boolean;
}

/**
 * By value, then by dumper. A dumper that the scenario cannot have is a cell that says so, as long as another one can be had at that
 * value. Throws a UsageError for a value at which the scenario cannot be at all.
 */
export function planCells(options: PlanOptions): PlannedCell[] {
  return (options.sweep?.values ?? [null]).flatMap((value) => {
    const tries = options.dumpers.map((dumper) => tryCell(options, value, dumper));
    const possible = tries.find((cell) => "scenario" in cell);
    if (!possible) throw (tries[0] as Refused).error;
    return tries.map((cell): PlannedCell => {
      if ("scenario" in cell) return cell;
      const { scenario } = possible;
      const dump = { ...scenario.dump, dumper: cell.dumper ?? scenario.dump.dumper };
      return { scenario: { ...scenario, dump }, value, impossible: cell.error.message.replace(/^[^:]*: /, "") };
    });
  });
}

interface Refused {
  readonly dumper: Dumper | undefined;
  readonly error: UsageError;
}

function tryCell(options: PlanOptions, value: string | null, dumper: Dumper | undefined): PlannedCell | Refused {
  const { ref, sets, adapter, sweep, sameInstants } = options;
  const swept = value === null ? sets : [...sets, `${sweep!.key}=${value}`];
  const load = (more: readonly string[]): Scenario => loadScenario(ref, [...swept, ...more], dumper, adapter);
  try {
    const scenario = load([]);
    const stated = !sameInstants || scenario.load.startNs !== null;
    return { scenario: stated ? scenario : load([COMPARED_LOAD_START]), value };
  } catch (error) {
    if (error instanceof UsageError) return { dumper, error };
    throw error;
  }
}
