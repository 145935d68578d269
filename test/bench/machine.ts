// The whole machine's prices: the dump loop, savecore, a trial, memory. Peers are dd and cp in the same run.
import { spawnSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, statSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";
import { median, seconds, type Row } from "./measure.ts";

interface Timed {
  readonly result: TrialResult;
  /** Seconds of host time from entering one stage of the dump to entering another, or of the whole trial. */
  readonly between: (from: string, to: string) => number;
  readonly total: number;
}

/** A trial that must be complete, with the host times of its phases. Throws when it is not. */
export function timedTrial(ref: string, overrides: readonly string[], seed: number, adapter?: string): Timed {
  const at = new Map<string, number>();
  const start = performance.now();
  const scenario = loadScenario(ref, overrides, undefined, adapter);
  const result = runTrial(scenario, seed, { onPhase: (phase) => at.set(phase, performance.now()) });
  const total = (performance.now() - start) / 1000;
  if (result.record.outcome !== "complete") {
    throw new Error(`bench: ${ref} seed ${seed} is ${result.record.outcome} (${result.record.cause})`);
  }
  const when = (phase: string): number => {
    const time = at.get(phase);
    if (time === undefined) throw new Error(`bench: the trial had no phase "${phase}"`);
    return time;
  };
  return { result, total, between: (from, to) => (when(to) - when(from)) / 1000 };
}

function runProgram(program: string, args: readonly string[]): number {
  return seconds(() => {
    const { status, stderr } = spawnSync(program, [...args], { stdio: ["ignore", "ignore", "pipe"] });
    if (status !== 0) throw new Error(`bench: ${program} ${args.join(" ")}: ${String(stderr)}`);
  });
}

/** Rows for the paper machine (8 GiB), or in a smoke run for a small one. */
export function machineRows(smoke: boolean): Row[] {
  const ref = smoke ? "learn" : "paper";
  const runs = smoke ? 1 : 5;
  // In memory where the host offers that: what is compared is the work, not how the disk's write-back happens to feel.
  const base = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();
  const folder = mkdtempSync(join(base, "dumplab-bench-"));
  try {
    let seed = 0;
    // The artifacts of a trial are there until the next one: what they are measured on must come last.
    timedTrial(ref, [], ++seed);
    const verified = timedTrial(ref, ["dump.sampleRate=0"], ++seed);
    const trials = Array.from({ length: runs }, () => timedTrial(ref, [], ++seed));
    const middle = (values: number[]): number => values.sort((a, b) => a - b)[values.length >> 1]!;
    const dumpSeconds = middle(trials.map((t) => t.between("dump memory", "dump completion")));
    const byPort = Array.from({ length: smoke ? 1 : 3 }, () => timedTrial(ref, [], ++seed, "ide"));
    const portSeconds = middle(byPort.map((t) => t.between("dump memory", "dump completion")));
    // The artifacts below are those of the last trial that ran.
    const last = timedTrial(ref, [], ++seed);
    const blocks = Math.ceil(last.result.record.dumpedPages / 4);
    const ddZero = median(smoke ? 1 : 3, () =>
      runProgram("dd", ["if=/dev/zero", "of=/dev/null", "bs=16k", `count=${blocks}`]),
    );
    const vmcore = join(folder, "vmcore");
    const core = median(smoke ? 1 : 3, () => {
      rmSync(vmcore, { force: true });
      return seconds(() => last.result.writeVmcore(vmcore));
    });
    const copy = join(folder, "copy");
    const cp = median(smoke ? 1 : 3, () => {
      rmSync(copy, { force: true });
      return runProgram("cp", ["--sparse=always", vmcore, copy]);
    });
    rmSync(copy, { force: true });
    const dd = median(smoke ? 1 : 3, () => {
      rmSync(copy, { force: true });
      return runProgram("dd", [`if=${vmcore}`, `of=${copy}`, "bs=16k", "conv=sparse"]);
    });
    const touched = statSync(vmcore).blocks * 512;
    const rss = process.resourceUsage().maxRSS * 1024;
    const trial = middle(trials.map((t) => t.total));
    return [
      {
        name: "dump loop / dd zero to null, same blocks",
        ratio: dumpSeconds / ddZero,
        target: 2,
        detail: `${blocks} I/Os of 16 KiB in ${dumpSeconds.toFixed(2)} s; dd ${ddZero.toFixed(2)} s`,
      },
      {
        name: "dump loop over IDE ports / over mptfusion",
        ratio: portSeconds / dumpSeconds,
        ...(smoke ? {} : { target: 2 }),
        detail: `${portSeconds.toFixed(2)} s; a task file, two DRQ blocks and four waits per I/O`,
      },
      {
        name: "savecore / cp --sparse=always",
        ratio: core / cp,
        target: 1,
        detail: `${core.toFixed(2)} s, cp ${cp.toFixed(2)} s, ${(touched / 2 ** 20).toFixed(0)} MiB of data`,
      },
      {
        name: "dump + savecore / dd conv=sparse",
        ratio: (dumpSeconds + core) / dd,
        target: 0.6,
        detail: `dd ${dd.toFixed(2)} s`,
      },
      {
        name: "whole trial, seconds (sampled signatures)",
        ratio: trial,
        ...(smoke ? {} : { target: 1.5 }),
        detail: `dump ${dumpSeconds.toFixed(2)} s of it`,
        unit: "s",
      },
      {
        name: "whole trial, seconds (every signature)",
        ratio: verified.total,
        ...(smoke ? {} : { target: 3.5 }),
        detail: "dump.sampleRate=0",
        unit: "s",
      },
      {
        name: "peak memory / touched bytes",
        ratio: rss / touched,
        ...(smoke ? {} : { target: 1.3 }),
        detail: `${(rss / 2 ** 20).toFixed(0)} MiB of ${(touched / 2 ** 20).toFixed(0)} MiB; the process, node included`,
      },
    ];
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
