// What LKCD is configured with: /etc/sysconfig/dump, and what of its behaviour is not known for certain.
import type { LkcdCompression } from "../../cores/lkcd-header.ts";

/** Which pages a dump has (dump_level), each with all before it: the kernel's, those in use, all of RAM. One pass writes each. */
export const LKCD_LEVELS = ["kernel", "used", "all"] as const;
export type LkcdLevel = (typeof LKCD_LEVELS)[number];

export interface LkcdOptions {
  readonly level: LkcdLevel;
  readonly compress: LkcdCompression;
  readonly version: 8 | 9;
  /** How long the dumping CPU waits for the others to answer, in ms; Infinity: for ever, as in 2002. */
  readonly ipiWaitMs: number;
  /** CPUs that INIT put into the slaves' loop have answered there; otherwise they never do. */
  readonly slavesAnswer: boolean;
  /** The modified LKCD: key resources are unlocked before the first write. */
  readonly modified: boolean;
}

/** sysconfig.dump of the lkcd utilities: DUMP_LEVEL=8, DUMP_COMPRESS=0. */
export const DEFAULT_LKCD_OPTIONS: LkcdOptions = {
  level: "all",
  compress: "none",
  version: 8,
  ipiWaitMs: Infinity,
  slavesAnswer: true,
  modified: false,
};
