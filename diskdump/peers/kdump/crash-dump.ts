// A crash kernel that is loaded, and what became of it: the record beside RAM that reports read.
import type { Kernel } from "../../../kernel-sim/core/kernel.ts";
import { cpu, type Running } from "../../../emulator/cpu/cpu.ts";
import type { CrashImage } from "./crash-image.ts";

/** How the two second-kernel dumpers differ. */
export interface CrashKernelKind {
  readonly name: "kdump" | "mkdump";
  /** The purgatory copies the first 640 KiB away, and the capture kernel may use them. */
  readonly backup: boolean;
  /** The dump is written from where it lies, not through /proc/vmcore and a copy. */
  readonly direct: boolean;
  /** The capture kernel has the driver of the dump device and no other. */
  readonly oneDriver: boolean;
}

export class CrashDump {
  readonly kind: CrashKernelKind;
  readonly kernel: Kernel;
  /** The reserve as loaded; undefined when kexec could not load. */
  image: CrashImage | undefined;
  /** Address of the word that crash_kexec() takes (kexec_lock). */
  readonly lockAt: number;
  /** Address of each CPU's crash_notes. */
  readonly notes: readonly number[];
  readonly noteBytes: number;
  /** What the capture kernel does to find its disks: drivers and scan. */
  readonly probe: () => Running<unknown>;
  /** "sdb1" */
  readonly target: string;

  result: "not started" | "running" | "complete" | "refused" | "incomplete" = "not started";
  reason = "";
  stage = "idle";
  pagesWritten = 0;
  /** Bytes on the partition, headers and all. */
  bytesWritten = 0;
  /** Virtual time at which it ended, well or badly. */
  endedAtNs: number | undefined;
  /** CPUs that did not answer the NMI within its second. */
  leftBehind: number[] = [];
  /** CPUs that have answered: waiting_for_crash_ipi. */
  readonly stopped = new Set<number>();
  /** What the purgatory found wrong. */
  damaged: string | undefined;
  capture: Kernel | undefined;
  onStage: (stage: string) => void = () => {};
  /** Memory is as it is to be saved: the CPUs have stopped, the old kernel runs no more. */
  onFreeze: () => void = () => {};

  constructor(options: Pick<CrashDump, "kind" | "kernel" | "lockAt" | "notes" | "noteBytes" | "probe" | "target">) {
    this.kind = options.kind;
    this.kernel = options.kernel;
    this.lockAt = options.lockAt;
    this.notes = options.notes;
    this.noteBytes = options.noteBytes;
    this.probe = options.probe;
    this.target = options.target;
  }

  enter(stage: string): void {
    this.stage = stage;
    this.onStage(stage);
  }

  end(result: CrashDump["result"], reason = ""): void {
    this.result = result;
    this.reason = reason;
    this.endedAtNs = cpu.clock;
  }
}
