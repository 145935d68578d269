// The white paper's rates against a curve: on it or not, and where.
import type { PaperRow } from "../scenario/dumpers.ts";
import { rateOf, type Cell } from "./cells.ts";
import { percent, range } from "./percent.ts";
import { wilson, type Interval } from "./wilson.ts";

export interface PaperMark extends PaperRow {
  readonly dumper: string;
  readonly rate: number;
  readonly interval: Interval;
}

/** The white paper's rows of the dumpers that have trials, one per dumper. */
export function paperMarks(cells: readonly Cell[]): PaperMark[] {
  const rows = new Map<string, PaperRow>();
  for (const { dumper, trials, paper } of cells) if (trials > 0 && paper) rows.set(dumper, paper);
  return [...rows].map(([dumper, row]) => {
    const { successes, trials } = row;
    return { ...row, dumper, rate: successes / trials, interval: wilson(successes, trials) };
  });
}

const overlaps = (a: Interval, b: Interval): boolean => a.low <= b.high && b.low <= a.high;

/** One sentence per dumper of the paper: at which values the intervals overlap, and where the curve crosses the rate. */
export function verdicts(cells: readonly Cell[], key: string | null): string[] {
  const measured = cells.filter(({ trials, paper }) => trials > 0 && paper);
  return paperMarks(cells).map((mark) => {
    const curve = measured.filter((cell) => cell.dumper === mark.dumper);
    const paper = `${mark.dumper}: the white paper's ${percent(mark.rate)} % [${range(mark.interval)}]`;
    const named = (cell: Cell): string =>
      `${key === null ? "" : `${key}=${cell.value}, `}${cell.complete}/${cell.trials} (${percent(rateOf(cell))} %)`;
    const meets = curve.filter((cell) => overlaps(cell.interval, mark.interval));
    const crossings = curve.slice(1).flatMap((cell, i) => {
      const [before, after] = [rateOf(curve[i]!) - mark.rate, rateOf(cell) - mark.rate];
      return before * after < 0 ? [`${curve[i]!.value} and ${cell.value}`] : [];
    });
    const where =
      meets.length > 0
        ? `its interval meets ours at ${meets.map(named).join("; ")}`
        : "its interval meets ours nowhere";
    const crossed =
      crossings.length > 0 ? `; the curve crosses that rate between ${crossings.join(", and between ")}` : "";
    return `${paper}: ${where}${crossed}`;
  });
}
