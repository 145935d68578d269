// Timing for benchmarks: everything is a ratio of two things measured in the same run.

export interface Row {
  readonly name: string;
  readonly ratio: number;
  /** The ratio that issue A allows; undefined when the row only informs. */
  readonly target?: number;
  readonly detail: string;
  readonly unit?: string;
}

/** ns per operation of `work`, which does `count` of them. */
export function nsPer(count: number, work: () => unknown): number {
  const start = process.hrtime.bigint();
  work();
  return Number(process.hrtime.bigint() - start) / count;
}

export function seconds(work: () => unknown): number {
  return nsPer(1, work) / 1e9;
}

/** Median of `runs` measurements after one that warms up. */
export function median(runs: number, measure: () => number): number {
  measure();
  const values = Array.from({ length: runs }, measure).sort((a, b) => a - b);
  return values[values.length >> 1]!;
}
