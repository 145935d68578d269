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
  /**
   * Pages in the dump that were no more as at the freeze when their turn came, and had a right to it: the dumper's own, those that
   * a kernel that is not frozen, or a device, wrote. null when nothing was compared.
   */
  readonly changedPages: number | null;
  /** Bytes that the dump put on its device or wire, headers and all; null when the dumper does not count them. */
  readonly dumpedBytes: number | null;
  /** Virtual time from the crash to the end of the dump, or of the trial when the dump has no end; null when there was no crash. */
  readonly dumpVirtualNs: number | null;
  /** What a dump that hangs waits for; null when it does not hang, or what it waits for is not known. */
  readonly blocked: BlockedRecord | null;
  /** The load from its start to the crash, as measured; null without a load or a crash. */
  readonly load: LoadRecord | null;
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
  /** Virtual time from the start of the load to the crash, or to the INIT or NMI that led to it; null for a crash before it. */
  readonly sinceLoadNs: number | null;
  readonly trigger: string;
}

export interface BlockedRecord {
  /** The lock, or whatever else it waits for: "scsi0.host_lock", "completion of the dump's bio". */
  readonly on: string;
  /** Why that does not come, with the holder: "held by cpu 2, which is frozen". */
  readonly because: string;
  /** The kernel function that holds it, or was abandoned in the middle of it; null when there is none to name. */
  readonly function: string | null;
}

/** The disks are those that the load works on. */
export interface LoadRecord {
  /** How long it lasted. */
  readonly ns: number;
  /** System calls that returned. */
  readonly calls: number;
  /** Between hosts and disks, both ways, all disks together. */
  readonly bytesPerS: number;
  /** Commands that a disk had at a time, mean over time and disks. */
  readonly meanQueueDepth: number;
  /** Share of the CPUs' time that was not spent in the idle task's halt: 0 to 1. */
  readonly cpuBusyShare: number;
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
