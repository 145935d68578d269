// A campaign: many seeds of one or more scenarios over a pool of workers. Trials are pure functions of scenario and
// seed, so who runs which, in what order, and how often, changes nothing in the result.
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { replayCommand, scenarioHash } from "../scenario/identity.ts";
import type { Scenario } from "../scenario/scenario.ts";
import type { TrialRecord } from "../trial/types.ts";
import type { ChunkOptions } from "./chunk.ts";
import { PoolWorker, WorkerGone } from "./pool-worker.ts";

/** A chunk should take about this long: a kill loses no more, and its call costs nothing beside it. */
const CHUNK_TARGET_MS = 500;
const MAX_CHUNK = 64;

/** One cell of the final table. */
export interface CampaignCell {
  readonly scenario: Scenario;
  readonly seeds: readonly number[];
}

export interface CampaignPlan {
  /** Their scenarios differ in dumper, or in anything else. They are run in this order. */
  readonly cells: readonly CampaignCell[];
  readonly options: ChunkOptions;
}

export interface CampaignSettings {
  readonly workers: number;
  readonly workerFile: string | URL;
  /** Records from an earlier run; their trials are not run again. Those of other scenarios or seeds are ignored. */
  readonly previous: readonly TrialRecord[];
  /** In order of completion. */
  readonly onRecord: (record: TrialRecord) => void;
  readonly onLost: (trial: LostTrial) => void;
  /**
   * A scenario turned out to be impossible when its first trial was to begin, and why: its trials are passed over as long as another
   * scenario can be run. Without it the campaign ends there.
   */
  readonly onImpossible?: (scenario: Scenario, reason: string) => void;
  /** A worker that takes longer for one trial is ended. */
  readonly trialTimeoutMs: number;
  readonly signal?: AbortSignal;
}

/** A trial that took its worker down, twice. It is no record: it may not happen on another host. */
export interface LostTrial {
  readonly scenario: string;
  readonly scenarioHash: string;
  readonly dumper: string;
  readonly seed: number;
  readonly cause: string;
  readonly command: string;
}

export interface CampaignResult {
  /** By scenario as planned, then by seed: the same whatever the workers did. */
  readonly records: TrialRecord[];
  readonly lost: LostTrial[];
  readonly interrupted: boolean;
}

interface Work extends CampaignCell {
  /** The worker died under it once already. */
  readonly retry: boolean;
}

/** Throws a UsageError when a scenario cannot be run at all. */
export async function runCampaign(plan: CampaignPlan, settings: CampaignSettings): Promise<CampaignResult> {
  const done = new Map(plan.cells.map(({ scenario }) => [scenarioHash(scenario), new Map<number, TrialRecord>()]));
  for (const record of settings.previous) done.get(record.scenarioHash)?.set(record.seed, record);
  const queue = new WorkQueue(plan, done, settings.workers);
  const lost: LostTrial[] = [];
  let usageError: string | undefined;
  const stopped = () => usageError !== undefined || settings.signal?.aborted === true;

  const finish = (record: TrialRecord) => {
    done.get(record.scenarioHash)?.set(record.seed, record);
    queue.learn(record.hostMs);
    settings.onRecord(record);
  };

  const refused = new Map<Scenario, string>();
  const refuse = (scenario: Scenario, reason: string) => {
    if (refused.has(scenario)) return;
    refused.set(scenario, reason);
    queue.drop(scenario);
    if (!settings.onImpossible || refused.size === plan.cells.length) usageError ??= [...refused.values()][0];
    else settings.onImpossible(scenario, reason);
  };

  const giveBack = ({ scenario, seeds, retry }: Work, cause: string) => {
    if (!retry) return queue.putBack(scenario, seeds);
    for (const seed of seeds) {
      const { name, dump } = scenario;
      const trial = {
        ...{ scenario: name, scenarioHash: scenarioHash(scenario), dumper: dump.dumper, seed, cause },
        command: replayCommand(scenario, seed),
      };
      lost.push(trial);
      settings.onLost(trial);
    }
  };

  const drive = async () => {
    let worker: PoolWorker | undefined;
    const abort = () => void worker?.close();
    settings.signal?.addEventListener("abort", abort);
    for (let work = queue.take(); work && !stopped(); work = queue.take()) {
      worker ??= new PoolWorker(settings.workerFile);
      try {
        const chunk = { scenario: work.scenario, seeds: work.seeds, options: plan.options };
        const reply = await worker.run(chunk, settings.trialTimeoutMs * work.seeds.length);
        reply.records.forEach(finish);
        if (reply.usageError !== undefined) refuse(work.scenario, reply.usageError);
      } catch (error) {
        if (!(error instanceof WorkerGone)) throw error;
        if (!stopped()) giveBack(work, error.message);
        await worker.close();
        worker = undefined;
      }
    }
    settings.signal?.removeEventListener("abort", abort);
    await worker?.close();
  };

  await Promise.all(Array.from({ length: Math.min(settings.workers, queue.length) }, drive));
  if (usageError !== undefined) throw new UsageError(usageError);
  const records = plan.cells
    .filter(({ scenario }) => !refused.has(scenario))
    .flatMap(({ scenario, seeds }) => {
      const planned = new Set(seeds);
      const bySeed = done.get(scenarioHash(scenario))!;
      return [...bySeed.values()].filter(({ seed }) => planned.has(seed)).sort((a, b) => a.seed - b.seed);
    });
  lost.sort((a, b) => a.seed - b.seed);
  return { records, lost, interrupted: settings.signal?.aborted === true };
}

/** Seeds not yet handed out, cut into chunks as the workers ask. */
class WorkQueue {
  private readonly fresh: { scenario: Scenario; seeds: readonly number[]; next: number }[];
  private retries: Work[] = [];
  private readonly workers: number;
  private meanMs: number | undefined;

  constructor(plan: CampaignPlan, done: ReadonlyMap<string, ReadonlyMap<number, unknown>>, workers: number) {
    this.workers = workers;
    this.fresh = plan.cells.map(({ scenario, seeds }) => {
      const finished = done.get(scenarioHash(scenario));
      return { scenario, seeds: seeds.filter((seed) => !finished?.has(seed)), next: 0 };
    });
  }

  get length(): number {
    return this.fresh.reduce((sum, cell) => sum + cell.seeds.length - cell.next, 0);
  }

  /** A trial took that long. */
  learn(hostMs: number): void {
    this.meanMs = this.meanMs === undefined ? hostMs : this.meanMs * 0.9 + hostMs * 0.1;
  }

  take(): Work | undefined {
    const retry = this.retries.shift();
    if (retry) return retry;
    const cell = this.fresh.find(({ seeds, next }) => next < seeds.length);
    if (!cell) return undefined;
    const fair = Math.ceil((cell.seeds.length - cell.next) / (2 * this.workers));
    const quick = this.meanMs === undefined ? 1 : Math.floor(CHUNK_TARGET_MS / Math.max(this.meanMs, 1));
    const seeds = cell.seeds.slice(cell.next, cell.next + Math.max(1, Math.min(MAX_CHUNK, fair, quick)));
    cell.next += seeds.length;
    return { scenario: cell.scenario, seeds, retry: false };
  }

  /** Nothing more of this scenario. */
  drop(scenario: Scenario): void {
    this.retries = this.retries.filter((work) => work.scenario !== scenario);
    const cell = this.fresh.find((one) => one.scenario === scenario);
    if (cell) cell.next = cell.seeds.length;
  }

  /** One by one, so that only the trial that kills its worker is lost. */
  putBack(scenario: Scenario, seeds: readonly number[]): void {
    for (const seed of seeds) this.retries.push({ scenario, seeds: [seed], retry: true });
  }
}
