// What a soft boot is told, and what became of it: beside RAM, for reports.
import type { Running } from "../../../../emulator/cpu/cpu.ts";
import type { Kernel } from "../../../../kernel-sim/core/kernel.ts";
import type { OpenedDevice } from "../init-lkcd.ts";
import type { Lkcd } from "../lkcd.ts";

export interface SoftBootPlan {
  /** The next kernel's drivers find their disks. */
  readonly probe: () => Running<unknown>;
  /** It opens the disk that the dump is for. */
  readonly open: () => Running<OpenedDevice | "no memory" | "no device">;
  /** "/dev/sdb1" */
  readonly target: string;
}

export class SoftBootRecord {
  /** Pages of space that there were before the crash. */
  bootstrapPages = 0;
  /** The second kernel, and LKCD on it. */
  kernel: Kernel | undefined;
  second: Lkcd | undefined;
  /** Pages of memory in what the second stage has written. */
  pagesWritten = 0;
  result: "none" | "complete" | "incomplete" = "none";
  reason = "";
  onStage: (stage: string) => void = () => {};

  end(result: "complete" | "incomplete", reason = ""): void {
    if (this.result !== "none") return;
    this.result = result;
    this.reason = reason;
  }
}
