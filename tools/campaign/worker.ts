// A campaign's worker thread: lives as long as the campaign, so that its memory pool and its compiled code stay warm.
import { parentPort } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { simulatorErrorRecord } from "./error-record.ts";
import { runTrial } from "../trial/run.ts";
import type { TrialRecord } from "../trial/types.ts";
import type { CampaignWorker, Chunk, ChunkReply } from "./chunk.ts";

const worker: CampaignWorker = {
  runChunk({ scenario, seeds, options }: Chunk): ChunkReply {
    const records: TrialRecord[] = [];
    for (const seed of seeds) {
      try {
        records.push(runTrial(scenario, seed, options).record);
      } catch (error) {
        if (error instanceof UsageError) return { records, usageError: error.message };
        records.push(simulatorErrorRecord(scenario, seed, error));
      }
    }
    return { records };
  },
};

if (!parentPort) throw new Error("worker.ts runs as a worker thread of a campaign");
expose(worker, nodeEndpoint(parentPort));
