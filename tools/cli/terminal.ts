// What a command may use of the world: where data and logs go, and how it learns of Ctrl-C.
import type { ProgressStream } from "../campaign/progress.ts";

export interface Terminal {
  /** stdout: data only. */
  readonly out: { write(text: string): unknown };
  /** stderr: logs and progress. */
  readonly err: ProgressStream;
  /** Calls the listener on the first Ctrl-C; the second one ends the process as usual. */
  readonly interrupted: (listener: () => void) => void;
}

/** 0 as expected, 1 a trial failed (or was not reproduced), 2 usage. */
export type ExitCode = 0 | 1 | 2;
