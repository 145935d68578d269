// A comparison on a terminal: a row per cell, what they ended as, what stopped them, and the curve drawn in characters.
import { rateOf, type Cell } from "./cells.ts";
import { paperMarks } from "./paper-verdict.ts";
import { percent, range } from "./percent.ts";
import { table } from "./report.ts";

/** One letter per dumper, in plots. */
const LETTERS: Readonly<Record<string, string>> = {
  ...{ diskdump: "D", lkcd: "L", "lkcd-modified": "U", netdump: "N", kdump: "K", mkdump: "M" },
};
export const letterOf = (dumper: string): string => LETTERS[dumper] ?? dumper.charAt(0).toUpperCase();

/** Numbers of a cell as people read them; "-" for what is not known. */
export function figuresOf(
  cell: Cell,
): Record<"dumpS" | "megabytes" | "hostS" | "loadMbPerS" | "queue" | "cpu", string> {
  const shown = (value: number | null, scale: number, digits: number): string =>
    value === null ? "-" : (value / scale).toFixed(digits);
  const { load } = cell;
  return {
    dumpS: shown(cell.dumpVirtualNs, 1e9, 2),
    megabytes: shown(cell.dumpedBytes, 1e6, 1),
    hostS: shown(cell.hostMs, 1e3, 2),
    loadMbPerS: shown(load.bytesPerS, 1e6, 1),
    queue: shown(load.meanQueueDepth, 1, 2),
    cpu: load.cpuBusyShare === null ? "-" : percent(load.cpuBusyShare),
  };
}

/** "hang 3, refused 1" */
export const outcomesText = (cell: Cell): string => cell.outcomes.map(([outcome, n]) => `${outcome} ${n}`).join(", ");

export function cellTable(cells: readonly Cell[], key: string | null): string {
  const first = key === null ? [] : [key];
  const header = [
    ...first,
    ...["dumper", "trials", "complete", "rate", "95 % interval"],
    ...["dump s", "MB", "host s", "load MB/s", "queue", "CPU %", "outcomes"],
  ];
  const body = cells.map((cell) => {
    if (cell.impossible !== null) return notPossible(cell, key, header.length);
    const f = figuresOf(cell);
    return [
      ...(key === null ? [] : [cell.value ?? "-"]),
      ...[cell.dumper, String(cell.trials), String(cell.complete), percent(rateOf(cell)), range(cell.interval)],
      ...[f.dumpS, f.megabytes, f.hostS, f.loadMbPerS, f.queue, f.cpu, outcomesText(cell)],
    ];
  });
  const right = [1, 2, 3, 5, 6, 7, 8, 9, 10].map((column) => column + first.length);
  return `${table([header, ...body], key === null ? right : [0, ...right])}\n`;
}

/** A row without figures: why there are none stands where the outcomes would. */
function notPossible({ dumper, value, impossible }: Cell, key: string | null, columns: number): string[] {
  const first = key === null ? [dumper] : [value ?? "-", dumper];
  return [...first, ...Array<string>(columns - first.length - 1).fill("-"), `not possible here: ${impossible}`];
}

/** How many rows of blockers a cell shows. */
const TOP_BLOCKERS = 3;

/** Empty when every trial was complete. */
export function blockerTable(cells: readonly Cell[], key: string | null): string {
  const rows = cells.flatMap((cell) =>
    cell.blockers
      .slice(0, TOP_BLOCKERS)
      .map(({ on, function: where, because, count, command }) => [
        String(count),
        cell.dumper,
        ...(key === null ? [] : [cell.value ?? "-"]),
        on ?? "-",
        where ?? "-",
        `${because}\n${command}`,
      ]),
  );
  if (rows.length === 0) return "";
  const header = [
    "trials",
    "dumper",
    ...(key === null ? [] : [key]),
    "blocked on",
    "in",
    "holder or cause, and one to run again",
  ];
  return `What stopped the others (the ${TOP_BLOCKERS} most frequent per cell):\n${table([header, ...rows], [0])}\n`;
}

/** Rows of the plot: 5 % each. */
const ROWS = 20;
const rowOf = (share: number): number => Math.round(share * ROWS);

/** Success by value: a column per dumper and value, its interval as bars; behind them the white paper's. */
export function curveText(cells: readonly Cell[], key: string | null): string {
  const dumpers = [...new Set(cells.map(({ dumper }) => dumper))];
  const values = [...new Set(cells.map(({ value }) => value))];
  const marks = paperMarks(cells);
  const width = Math.max(dumpers.length * 2, ...values.map((value) => (value ?? "").length)) + 2;
  const cellAt = (value: string | null, dumper: string): Cell | undefined =>
    cells.find((cell) => cell.value === value && cell.dumper === dumper);
  const symbol = (row: number, rate: number, { low, high }: Cell["interval"], letter: string): string =>
    row === rowOf(rate) ? letter : row >= rowOf(low) && row <= rowOf(high) ? "|" : " ";
  const lines: string[] = ["complete, %"];
  for (let row = ROWS; row >= 0; row--) {
    const label = row % 2 === 0 ? String((row * 100) / ROWS).padStart(4) : "    ";
    const columns = values.map((value) =>
      dumpers
        .map((dumper) => {
          const cell = cellAt(value, dumper);
          return ` ${cell && cell.trials > 0 ? symbol(row, rateOf(cell), cell.interval, letterOf(dumper)) : " "}`;
        })
        .join("")
        .padEnd(width),
    );
    const paper = marks.map((mark) => ` ${symbol(row, mark.rate, mark.interval, letterOf(mark.dumper))}`).join("");
    lines.push(`${label} +${columns.join("")}:${paper}`.trimEnd());
  }
  const axis = values.map((value) => ` ${value ?? ""}`.padEnd(width)).join("");
  lines.push(`      ${axis}: white paper`);
  if (key !== null) lines.push(`      ${key}`);
  lines.push(`      ${dumpers.map((dumper) => `${letterOf(dumper)} ${dumper}`).join(", ")}; | 95 % interval`);
  return `${lines.join("\n")}\n`;
}
