// What the commands need of the laboratory below them, so that tests can put another one in its place.
import type { RunTrial } from "../trial/types.ts";

export interface Lab {
  readonly runTrial: RunTrial;
  /** The bundle that campaign workers run. */
  readonly workerFile: string;
}
