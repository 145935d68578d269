// The dump mechanisms by name, and what the white paper measured of them (chapter 3.6).
import type { Dumper, DumpScenario, LkcdMethod } from "./scenario.ts";

/** LKCD as it was, or with the tester's changes. */
export const isLkcdDumper = (dumper: Dumper): boolean => dumper === "lkcd" || dumper === "lkcd-modified";

/** Whether the dumper is an LKCD that uses this method. */
export const dumpsLkcdTo = ({ dumper, lkcd }: DumpScenario, method: LkcdMethod): boolean =>
  isLkcdDumper(dumper) && (lkcd.method ?? "disk") === method;

export const DEFAULT_DUMPER: Dumper = "diskdump";

export interface PaperRow {
  readonly title: string;
  readonly successes: number;
  readonly trials: number;
}

/** "Successful dump write ratio": OS_INIT at random under high disk load, IPF, 4 CPUs, 8 GB, mptfusion. */
export const WHITE_PAPER_ROWS: Readonly<Partial<Record<Dumper, PaperRow>>> = {
  diskdump: { title: "diskdump (RHEL3)", successes: 300, trials: 300 },
  lkcd: { title: "LKCD 4.1.1", successes: 49, trials: 71 },
  "lkcd-modified": { title: "modified LKCD 4.1.1", successes: 131, trials: 143 },
};

/** What the white paper measured of such a dump; undefined when it did not. Its LKCD wrote to a disk. */
export const whitePaperRow = (dump: DumpScenario): PaperRow | undefined =>
  isLkcdDumper(dump.dumper) && !dumpsLkcdTo(dump, "disk") ? undefined : WHITE_PAPER_ROWS[dump.dumper];

/** In the order of its table. */
export const WHITE_PAPER_DUMPERS = Object.keys(WHITE_PAPER_ROWS) as readonly Dumper[];
