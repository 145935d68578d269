// A campaign worker whose trials take no time and go wrong on demand. Plain JavaScript, because a worker thread of the
// test runner does not know TypeScript. The scenario's description says, as JSON, what it does at which seed.
import { closeSync, openSync } from "node:fs";
import { parentPort } from "node:worker_threads";
import { expose } from "comlink";
import nodeEndpoint from "comlink/dist/esm/node-adapter.mjs";

/** True for the first caller of all threads. */
function first(marker) {
  try {
    closeSync(openSync(marker, "wx"));
    return true;
  } catch {
    return false;
  }
}

expose(
  {
    runChunk({ scenario, seeds, options }) {
      const orders = JSON.parse(scenario.description || "{}");
      const records = [];
      for (const seed of seeds) {
        if (orders.exitAt === seed) process.exit(7);
        if (orders.exitOnceAt === seed && first(orders.marker)) process.exit(7);
        if (orders.throwAt === seed)
          setImmediate(() => {
            throw new Error("out of luck");
          });
        if (orders.throwAt === seed || orders.hangAt === seed) return new Promise(() => {});
        if (orders.usageAt === seed) return { records, usageError: "memory.image: cannot be read" };
        if (orders.sleepMs) Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, orders.sleepMs);
        const failed = (orders.failAt ?? []).includes(seed);
        records.push({
          scenario: scenario.name,
          scenarioRef: scenario.source.ref,
          overrides: scenario.source.overrides,
          scenarioHash: orders.hashes?.[scenario.dump.dumper] ?? orders.hash,
          dumper: scenario.dump.dumper,
          adapter: "mptfusion",
          seed,
          outcome: failed ? "hang" : "complete",
          cause: failed ? "cpu0 spins on host_lock" : null,
          traceHash: `trace-${seed}`,
          virtualNs: seed,
          hostMs: 1,
          crash: null,
          dumpedPages: 1,
          dumpedBytes: 4096,
          dumpVirtualNs: 1,
          blocked: failed ? { on: "host_lock", because: "held by cpu 1", function: "scsi_dispatch_cmd" } : null,
          load: null,
          ...(options.digest ? { partitionDigest: `digest-${seed}` } : {}),
          version: "0.1.0+source",
          command: `dumplab trial ${scenario.name} --seed ${seed}`,
        });
      }
      return { records };
    },
  },
  nodeEndpoint(parentPort),
);
