// One worker thread as the campaign sees it: a call that always settles, also when the thread dies or hangs.
import { Worker } from "node:worker_threads";
import { releaseProxy, wrap, type Remote } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";
import type { CampaignWorker, Chunk, ChunkReply } from "./chunk.ts";

/** The thread is gone; it may have run some of the chunk's trials. */
export class WorkerGone extends Error {
  override readonly name = "WorkerGone";
}

export class PoolWorker {
  private readonly thread: Worker;
  /** Kept for the thread's life: comlink drops the answer when the proxy is collected during a call. */
  private readonly remote: Remote<CampaignWorker>;
  private readonly gone: Promise<never>;
  private closed: Promise<unknown> | undefined;

  constructor(file: string | URL) {
    this.thread = new Worker(file);
    this.remote = wrap<CampaignWorker>(nodeEndpoint(this.thread));
    this.gone = new Promise((_resolve, reject) => {
      this.thread.once("error", (error) => reject(new WorkerGone(`the worker failed: ${error.message}`)));
      this.thread.once("exit", (code) => reject(new WorkerGone(`the worker exited with code ${code}`)));
    });
    // Nobody may be listening when an idle worker dies; the next call will be told.
    this.gone.catch(() => undefined);
  }

  /** Throws WorkerGone when the thread ends, or does not answer within `timeoutMs`: comlink alone would wait for ever. */
  async run(chunk: Chunk, timeoutMs: number): Promise<ChunkReply> {
    let timer: NodeJS.Timeout | undefined;
    const late = new Promise<never>((_resolve, reject) => {
      timer = setTimeout(() => reject(new WorkerGone(`no answer within ${timeoutMs / 1000} s`)), timeoutMs);
    });
    try {
      return await Promise.race([this.remote.runChunk(chunk), this.gone, late]);
    } finally {
      clearTimeout(timer);
    }
  }

  /** Ends the thread, whatever it is doing; a second call waits for the first. */
  close(): Promise<unknown> {
    this.closed ??= this.release();
    return this.closed;
  }

  private release(): Promise<unknown> {
    this.remote[releaseProxy]();
    return this.thread.terminate();
  }
}
