// What a dumper is to a trial: something that is set up before the load, takes over when the kernel dies, and leaves a core.
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { CoreReader } from "../../diskdump/cores/core.ts";
import type { CoreSink } from "../../diskdump/userspace/core-sink.ts";
import type { PageVerdict } from "../trial/oracle.ts";
import type { RamSnapshot } from "../trial/snapshot.ts";
import type { Lab } from "./lab.ts";

/** How a dump ended, or where it stands: the same words for every dumper. */
export interface DumpReport {
  /**
   * "not started": no crash came this way. "running": it has begun and nothing has ended it (read after the machine stopped: it
   * hung). "complete": it says that all is saved. "refused": nothing was written. "incomplete": it failed half-way, and says so.
   */
  readonly result: "not started" | "running" | "complete" | "refused" | "incomplete";
  /** Why it was refused or broke off; no numbers that differ from trial to trial, because campaigns count by it. */
  readonly reason: string;
  /** The device or server written to, or tried last: "/dev/sde1". */
  readonly device: string | undefined;
  /** Where the dump is, or was when the machine stopped; the dumper's own word. */
  readonly stage: string;
  /** Pages of RAM saved. */
  readonly pagesWritten: number;
  /** Bytes put on the device or wire, headers and all; absent when the dumper does not count them. */
  readonly bytesWritten?: number;
  /** Virtual time at which the dump ended, well or badly; absent while it runs, or when the dumper does not note it. */
  readonly endedAtNs?: number;
  /** The dumper that took over after this one failed; undefined when none did. */
  readonly handedTo: string | undefined;
}

/** What a dump that stands still waits for, when it is no spin lock (those the machine itself sees). */
export interface Blocked {
  /** What it waits for: "completion of the dump's bio", "global_bh_lock", "a free request of sde". */
  readonly on: string;
  /** Why that does not come: "irq 16 is IRQ_INPROGRESS on cpu 2". */
  readonly because: string;
  /** The kernel function that holds it, or that was abandoned in the middle of it. */
  readonly function: string | undefined;
}

/** A dumper on one machine. */
export interface DumperRun {
  report(): DumpReport;
  /** The dumper that stands behind this one, and takes over when `report().handedTo` names it. */
  readonly fallback?: DumperRun;
  /** Why the dump stands still; undefined when it does not know. Read only after the machine stopped. */
  blockedOn?(): Blocked | undefined;
  /** Holds what was saved against RAM at the freeze. A string says why there was nothing to compare. */
  judge(snapshot: RamSnapshot): PageVerdict | string;
  /** What was saved, as savecore (or the dumper's like of it) finds it after the reboot. Throws a UsageError when there is nothing. */
  core(): CoreReader;
  /** Writes the core file that people get. Throws a UsageError when there is no dump. */
  writeCore(sink: CoreSink): void;
}

export interface DumperKind {
  /**
   * Its service: loads its modules, registers its devices and hooks. Runs as process 1 before the load. The dump then calls
   * `lab.onDumpStage` for each stage that it enters and `lab.onFreeze` when memory is as it is to be saved.
   * Throws a UsageError for a scenario that it cannot serve.
   */
  start(lab: Lab): Running<DumperRun>;
}

/**
 * Who may write to disks after the freeze: the partition of that name and nobody else; nobody ("nothing"); or anybody, because
 * the dumper lets I/O that was under way go on.
 */
export type MayWrite = { readonly device: string } | "nothing" | "anything";
