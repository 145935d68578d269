// The matrix: a row per adapter, a column per judge, in each cell what was exercised.
import { JUDGES, type ConformanceRecord, type Judge } from "./record.ts";

const judges = Object.keys(JUDGES) as Judge[];
const LEAST_COLUMN = 20;

/** Breaks a text into lines of at most `width` characters at ", " or " "; a longer word stays whole. */
function wrap(text: string, width: number): string[] {
  const lines: string[] = [];
  let line = "";
  for (const word of text.split(" ")) {
    if (line !== "" && line.length + 1 + word.length > width) {
      lines.push(line);
      line = word;
    } else line = line === "" ? word : `${line} ${word}`;
  }
  return line === "" ? lines : [...lines, line];
}

function cellText(record: ConformanceRecord | undefined): string {
  if (!record) return "-";
  const parts = [`${record.outcome}:`];
  if (record.failures.length > 0) parts.push(`${record.failures.join("; ")}.`);
  if (record.exercised.length > 0) parts.push(`${record.exercised.join(", ")}.`);
  if (record.skipped.length > 0) parts.push(`Not run: ${record.skipped.join("; ")}`);
  return parts.join(" ");
}

/** The matrix as text, `width` characters wide at most (a word that is longer stays whole). */
export function matrixText(records: readonly ConformanceRecord[], width = 120): string {
  const adapters = [...new Set(records.map((record) => record.adapter))].sort();
  const first = Math.max("adapter".length, ...adapters.map((adapter) => adapter.length));
  const column = Math.max(LEAST_COLUMN, Math.floor((width - first - 3 * judges.length) / judges.length));
  const row = (cells: readonly string[][]): string[] => {
    const height = Math.max(...cells.map((lines) => lines.length));
    return Array.from({ length: height }, (_, i) =>
      cells
        .map((lines, at) => (lines[i] ?? "").padEnd(at === 0 ? first : column))
        .join(" | ")
        .trimEnd(),
    );
  };
  const rule = [first, ...judges.map(() => column)].map((size) => "-".repeat(size)).join("-+-");
  return [
    ...row([["adapter"], ...judges.map((judge) => wrap(JUDGES[judge], column))]),
    ...adapters.flatMap((adapter) => [
      rule,
      ...row([
        [adapter],
        ...judges.map((judge) =>
          wrap(cellText(records.find((found) => found.adapter === adapter && found.judge === judge)), column),
        ),
      ]),
    ]),
  ].join("\n");
}
