// What became of a dump, for machines to read; the kernel's messages say the same to people.

/** Why a device or the whole dump was refused or failed. */
export type DumpReason =
  | "mutex held"
  | "module damaged"
  | "scsi_dump module damaged"
  | "ide_dump module damaged"
  | "no dump device registered"
  | "no more dump devices"
  | "device offline"
  | "media changed"
  | "adapter not sane"
  | "adapter risky"
  | "host_lock held"
  | "quiesce failed"
  | "adapter reset failed"
  | "request sense failed"
  | "device too small"
  | "bad signature"
  | "read error"
  | "write error"
  | "double panic";

/** One device that was looked at and not (or not wholly) used. */
export interface RejectedDevice {
  readonly device: string;
  readonly reason: DumpReason;
  /** As the kernel has it: negative. */
  readonly errno: number;
  /** The block at which it failed, counted on the partition. */
  readonly block: number | undefined;
}

export interface DumpOutcome {
  /**
   * "not started": no crash came this way. "running": the dump has begun and nothing has ended it yet (read after the machine
   * stopped: it hung). "complete": header completed, cache flushed. "refused": nothing was written. "incomplete": a header was
   * written, and the dump failed after it.
   */
  readonly result: "not started" | "running" | "complete" | "refused" | "incomplete";
  readonly reason: DumpReason | undefined;
  /** The device written to, or tried last: "/dev/sde1". */
  readonly device: string | undefined;
  /** Where the dump is, or was when the machine stopped. */
  readonly stage: DumpStage;
  readonly rejected: readonly RejectedDevice[];
  /** Blocks written to `device`. */
  readonly blocksWritten: number;
  /** Pages of memory among them. */
  readonly pagesWritten: number;
  readonly errno: number;
  /** CPUs that froze in time, and those that did not; the dumping CPU is in neither. */
  readonly frozenCpus: readonly number[];
  readonly unfrozenCpus: readonly number[];
  readonly dumpingCpu: number | undefined;
  /** Who takes over after a failure; undefined while there was none. */
  readonly fallback: "netdump" | "no fallback registered" | "fallback_on_err is 0" | undefined;
  readonly startedAtNs: number | undefined;
  readonly endedAtNs: number | undefined;
}

export type DumpStage =
  | "idle"
  | "module check"
  | "freeze"
  | "select"
  | "quiesce"
  | "signature check"
  | "header"
  | "bitmap"
  | "memory"
  | "completion"
  | "shutdown"
  | "ended";

/** The outcome while it forms. */
export class OutcomeRecord {
  result: DumpOutcome["result"] = "not started";
  reason: DumpReason | undefined;
  device: string | undefined;
  private currentStage: DumpStage = "idle";
  /** Told of each stage as the dump enters it: how an observer finds the moments that matter. */
  onStage: ((stage: DumpStage) => void) | undefined;
  readonly rejected: RejectedDevice[] = [];
  blocksWritten = 0;
  pagesWritten = 0;
  errno = 0;
  frozenCpus: number[] = [];
  unfrozenCpus: number[] = [];
  dumpingCpu: number | undefined;
  fallback: DumpOutcome["fallback"];
  startedAtNs: number | undefined;
  endedAtNs: number | undefined;
  /** A header has been written to some device. */
  touched = false;
  /** netdump's hook stood behind this dump when it began. */
  netdumpBehind = false;

  get stage(): DumpStage {
    return this.currentStage;
  }
  set stage(stage: DumpStage) {
    this.currentStage = stage;
    this.onStage?.(stage);
  }

  /** As it stands now. */
  snapshot(): DumpOutcome {
    const { result, reason, device, stage, blocksWritten, pagesWritten, errno } = this;
    const { dumpingCpu, fallback, startedAtNs, endedAtNs } = this;
    return {
      ...{ result, reason, device, stage, blocksWritten, pagesWritten, errno },
      rejected: [...this.rejected],
      frozenCpus: [...this.frozenCpus],
      unfrozenCpus: [...this.unfrozenCpus],
      ...{ dumpingCpu, fallback, startedAtNs, endedAtNs },
    };
  }

  reject(device: string, reason: DumpReason, errno: number, block?: number): void {
    this.rejected.push({ device, reason, errno, block });
    this.reason = reason;
    this.errno = errno;
    this.device = device;
  }

  fail(reason: DumpReason, errno: number): void {
    this.reason = reason;
    this.errno = errno;
  }

  end(ns: number, ok: boolean): void {
    this.endedAtNs = ns;
    this.stage = "ended";
    this.result = ok ? "complete" : this.touched ? "incomplete" : "refused";
    if (ok) {
      this.reason = undefined;
      this.errno = 0;
    }
  }
}
