// What the pool and a worker say to each other: one call per chunk of seeds, answers as data.
import type { Scenario } from "../scenario/scenario.ts";
import type { TrialRecord } from "../trial/types.ts";

export interface Chunk {
  readonly scenario: Scenario;
  readonly seeds: readonly number[];
  readonly options: ChunkOptions;
}

/** The part of TrialOptions that can cross threads. */
export interface ChunkOptions {
  readonly digest?: boolean;
}

export interface ChunkReply {
  /** One per seed, in their order, up to a usage error. */
  readonly records: TrialRecord[];
  /** The scenario cannot be run at all: comlink would turn a thrown UsageError into a plain Error. */
  readonly usageError?: string;
}

/** What a worker exposes. */
export interface CampaignWorker {
  runChunk(chunk: Chunk): ChunkReply;
}
