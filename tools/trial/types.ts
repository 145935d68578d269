// What goes into a trial and what comes out. `runTrial` in run.ts is the one function of this shape.
import type { Scenario } from "../scenario/scenario.ts";

/**
 * How a trial ended, decided by the oracles from the state of the machine.
 *
 * complete: every page equals RAM at the freeze, and nothing was written outside the dump partition.
 * refused: no dump device was sane, and nothing was written. fell-back: diskdump gave up and handed over to a fallback,
 * whose own end is in the cause.
 * incomplete: the dump stopped half-way, and says so. corrupt: it says it is complete, and a page is wrong.
 * wrote-outside: a sector outside the dump partition changed after the crash. hang: no CPU can make progress, or a limit
 * was reached. no-crash: the crash point was never reached. simulator-error: an assertion of the simulator failed.
 */
export const TRIAL_OUTCOMES = [
  "complete",
  "refused",
  "fell-back",
  "incomplete",
  "corrupt",
  "wrote-outside",
  "hang",
  "no-crash",
  "simulator-error",
] as const;
export type TrialOutcome = (typeof TRIAL_OUTCOMES)[number];

/** One trial as data: a line of NDJSON, and with it everything needed to run the trial again. */
export interface TrialRecord {
  /** The scenario's name. */
  readonly scenario: string;
  /** What to give to the CLI to get that scenario: a built-in name or a path, and the `--set` arguments. */
  readonly scenarioRef: string;
  readonly overrides: readonly string[];
  /** Identity of the resolved scenario (identity.ts): replay refuses to compare across a changed one. */
  readonly scenarioHash: string;
  readonly dumper: string;
  /** The adapter of the dump device: "mptfusion". */
  readonly adapter: string;
  readonly seed: number;
  readonly outcome: TrialOutcome;
  /** One sentence: why it is not complete; null when it is. Same cause, same sentence: the campaign counts by it. */
  readonly cause: string | null;
  readonly traceHash: string;
  /** Virtual time from power-on to the end of the trial. */
  readonly virtualNs: number;
  /** Wall-clock time on the host; the only field that may differ between two runs. */
  readonly hostMs: number;
  /** null when there was no crash. */
  readonly crash: CrashRecord | null;
  /** What the run-time checker saw: forbidden calls in dump mode, lock misuse, ...; each names function, rule and stack. */
  readonly findings: readonly string[];
  /** Pages of RAM saved. */
  readonly dumpedPages: number;
  /** Digest of the dump partition after the dump, when asked for. */
  readonly partitionDigest?: string;
  /** Code version (tools/version.ts). */
  readonly version: string;
  /** The one command that runs this trial again. */
  readonly command: string;
}

export interface CrashRecord {
  readonly cpu: number;
  /** The kernel function that was running there. */
  readonly function: string;
  readonly virtualNs: number;
  readonly trigger: string;
}

export interface ConsoleLine {
  /** Virtual time. */
  readonly ns: number;
  readonly cpu: number;
  readonly text: string;
}

export interface TrialOptions {
  /** Computes `partitionDigest`; costs a pass over the written part of the partition. */
  readonly digest?: boolean;
  /** Called with each console line as it is printed. */
  readonly onConsole?: (line: ConsoleLine) => void;
  /** Called as the trial enters a phase: "built", "load", "crash", "dump <stage>", "judged". For measuring. */
  readonly onPhase?: (phase: string) => void;
  /** Keeps the trace for `writeTrace`; the trace hash is there without it. */
  readonly trace?: boolean;
  /** Keeps the frames on the network for `writePcap`. */
  readonly pcap?: boolean;
}

/**
 * The writers create `path` and throw a UsageError when something already has that name; they leave nothing half-written
 * under it. They are valid until the next `runTrial` of this thread, because trials share pooled memory.
 */
export interface TrialResult {
  readonly record: TrialRecord;
  readonly console: readonly ConsoleLine[];
  /** /proc/diskdump when the load started. */
  readonly procDiskdump: string;
  /** Raw image of the disk that holds the dump partition, sparse. */
  readonly writeDisk: (path: string) => void;
  /** What savecore makes of the dump partition. Throws a UsageError when there is no dump on it. */
  readonly writeVmcore: (path: string) => void;
  readonly writeVmlinux: (path: string) => void;
  readonly writeTrace: (path: string) => void;
  /** The frames as pcapng. Throws a UsageError for a machine without a network, and for a trial without `pcap`. */
  readonly writePcap: (path: string) => void;
}

export type RunTrial = (scenario: Scenario, seed: number, options: TrialOptions) => TrialResult;
