// Which seeds a campaign runs: a range, and one of several shards of it.
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { WHITE_PAPER_DUMPERS, WHITE_PAPER_ROWS } from "../scenario/dumpers.ts";
import type { Dumper } from "../scenario/scenario.ts";

export interface SeedRange {
  readonly first: number;
  readonly last: number;
}

export interface Shard {
  /** From 1. */
  readonly index: number;
  readonly of: number;
}

/** So many, or of each dumper as many as the white paper's table has of it. */
export type Trials = number | "paper";

const MAX_SEED = 2 ** 32 - 1;
/** A campaign keeps its records in memory for the final table. */
const MAX_SEEDS = 10_000_000;

export function parseSeed(text: string): number {
  const seed = /^\d+$/.test(text) ? Number(text) : NaN;
  if (!(seed <= MAX_SEED)) throw new UsageError(`seed: expected a whole number from 0 to ${MAX_SEED}; got ${text}`);
  return seed;
}

/** "A..B", both included. */
export function parseSeedRange(text: string): SeedRange {
  const match = /^(\d+)\.\.(\d+)$/.exec(text);
  if (!match) throw new UsageError(`--seeds: expected a range like 1..300; got ${text}`);
  const range = { first: parseSeed(match[1]!), last: parseSeed(match[2]!) };
  if (range.first > range.last) throw new UsageError(`--seeds: the range ${text} is empty`);
  if (range.last - range.first >= MAX_SEEDS) throw new UsageError(`--seeds: at most ${MAX_SEEDS} seeds at a time`);
  return range;
}

/** "i/n", i from 1 to n. */
export function parseShard(text: string): Shard {
  const match = /^(\d+)\/(\d+)$/.exec(text);
  const shard = { index: Number(match?.[1]), of: Number(match?.[2]) };
  if (!(shard.index >= 1 && shard.index <= shard.of)) {
    throw new UsageError(`--shard: expected i/n with i from 1 to n, like 2/8; got ${text}`);
  }
  return shard;
}

/** Every n-th seed of the range, so that shards take equally long. The shards of a range together are the range. */
export function seedsOf(range: SeedRange, shard: Shard = { index: 1, of: 1 }): number[] {
  const seeds: number[] = [];
  for (let seed = range.first + shard.index - 1; seed <= range.last; seed += shard.of) seeds.push(seed);
  return seeds;
}

/** Seeds from 1. Throws a UsageError for a dumper that the white paper has no trials of, if it is to say how many. */
export function rangeOfTrials(trials: Trials, dumper: Dumper): SeedRange {
  const last = trials === "paper" ? WHITE_PAPER_ROWS[dumper]?.trials : trials;
  if (last !== undefined) return { first: 1, last };
  throw new UsageError(
    `--trials paper: the white paper has no trials of ${dumper}, only of ${WHITE_PAPER_DUMPERS.join(", ")}`,
  );
}
