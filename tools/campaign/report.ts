// The tables at the end of a campaign: success rates beside the white paper's, and the causes of everything else.
import type { PaperRow } from "../scenario/dumpers.ts";
import type { TrialRecord } from "../trial/types.ts";
import type { LostTrial } from "./campaign.ts";
import { percent, range } from "./percent.ts";
import { wilson, type Interval } from "./wilson.ts";

/** One row: all trials of one dumper in one scenario. */
export interface RateRow {
  readonly scenario: string;
  readonly dumper: string;
  readonly trials: number;
  readonly complete: number;
  readonly interval: Interval;
}

/** Trials that ended in the same way for the same reason. */
export interface CauseRow {
  readonly scenario: string;
  readonly dumper: string;
  readonly outcome: string;
  readonly cause: string;
  readonly count: number;
  /** Runs the one with the lowest seed again. */
  readonly command: string;
}

/** In order of first appearance. Lost trials count as trials without success. */
export function rateRows(records: readonly TrialRecord[], lost: readonly LostTrial[]): RateRow[] {
  const cells = new Map<string, { scenario: string; dumper: string; trials: number; complete: number }>();
  for (const trial of [...records, ...lost]) {
    const { scenario, dumper } = trial;
    const key = JSON.stringify([scenario, dumper]);
    const cell = cells.get(key) ?? { scenario, dumper, trials: 0, complete: 0 };
    cells.set(key, cell);
    cell.trials++;
    if ("outcome" in trial && trial.outcome === "complete") cell.complete++;
  }
  return [...cells.values()].map((cell) => ({ ...cell, interval: wilson(cell.complete, cell.trials) }));
}

/** The most frequent first; equals in order of appearance. */
export function causeRows(records: readonly TrialRecord[], lost: readonly LostTrial[]): CauseRow[] {
  const rows = new Map<string, CauseRow>();
  const failed = records.filter(({ outcome }) => outcome !== "complete");
  for (const trial of [...failed, ...lost.map((one) => ({ ...one, outcome: "lost" }))]) {
    const { scenario, dumper, outcome, command } = trial;
    const cause = trial.cause ?? "";
    const key = JSON.stringify([scenario, dumper, outcome, cause]);
    const row = rows.get(key) ?? { scenario, dumper, outcome, cause, count: 0, command };
    rows.set(key, { ...row, count: row.count + 1 });
  }
  return [...rows.values()].sort((a, b) => b.count - a.count);
}

/** Both tables as text, of one dumper. `paper`: what the white paper measured of it. */
export function campaignReport(
  records: readonly TrialRecord[],
  lost: readonly LostTrial[],
  paper: PaperRow | undefined,
): string {
  const rates = rateRows(records, lost);
  const causes = causeRows(records, lost);
  const header = ["scenario", "dumper", "trials", "complete", "rate", "95 % interval", "white paper"];
  const body = rates.map((row) => [
    row.scenario,
    row.dumper,
    String(row.trials),
    String(row.complete),
    percent(row.trials === 0 ? 0 : row.complete / row.trials),
    range(row.interval),
    paperCell(paper),
  ]);
  const sections = [table([header, ...body], [2, 3, 4])];
  if (causes.length > 0) {
    const lines = causes.map(({ dumper, outcome, cause, count, command }) => [
      String(count),
      dumper,
      outcome,
      `${cause}\n${command}`,
    ]);
    sections.push(
      `Not complete:\n${table([["trials", "dumper", "outcome", "cause, and one to run again"], ...lines], [0])}`,
    );
  }
  return `${sections.join("\n\n")}\n`;
}

function paperCell(row: PaperRow | undefined): string {
  if (!row) return "-";
  const { title, successes, trials } = row;
  return `${title}: ${successes}/${trials}, ${range(wilson(successes, trials))}`;
}

/** Columns padded to their widest cell; a newline in the last cell goes on below it. */
export function table(rows: readonly (readonly string[])[], rightAligned: readonly number[] = []): string {
  const widths = (rows[0] ?? []).map((_, column) =>
    Math.max(...rows.map((row) => Math.max(...row[column]!.split("\n").map((line) => line.length)))),
  );
  const indent = widths.slice(0, -1).reduce((sum, width) => sum + width + 2, 0);
  return rows
    .map((row) =>
      row
        .map((cell, column) => {
          if (column === row.length - 1) return cell.replaceAll("\n", `\n${" ".repeat(indent)}`);
          return rightAligned.includes(column) ? cell.padStart(widths[column]!) : cell.padEnd(widths[column]!);
        })
        .join("  ")
        .trimEnd(),
    )
    .join("\n");
}
