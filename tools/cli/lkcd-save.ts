// `lkcd save` for `dumplab savecore`: an LKCD dump leaves its swap partition as it is, header and pages, for a file.
import { existsSync, mkdirSync, rmSync } from "node:fs";
import { join } from "node:path";
import { lkcdCore } from "../../diskdump/cores/lkcd-core.ts";
import { forgetLkcd, lkcdOnPartition, saveLkcd } from "../../diskdump/cores/lkcd-partition.ts";
import { pagesIn } from "../../diskdump/format/bitmap.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { crashDirectoryName, type SavecoreResult } from "../../diskdump/userspace/savecore.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import { createFile } from "../whole-file.ts";

export interface LkcdSaveOptions {
  readonly directory: string;
  /** The dump is no longer on the partition afterwards. */
  readonly forget: boolean;
  /** Replace a file that is there. */
  readonly force: boolean;
}

/**
 * Saves the dump; undefined when the partition holds none of LKCD's. Throws a UsageError for a damaged dump and for a target that
 * exists; then nothing has been written.
 */
export function lkcdSave(partition: ByteStore, options: LkcdSaveOptions): SavecoreResult | undefined {
  const dump = lkcdOnPartition(partition);
  if (!dump) return undefined;
  const core = lkcdCore(dump);
  const { shortcomings } = core;
  const directory = join(options.directory, crashDirectoryName(core.facts));
  const whole = shortcomings.length === 0;
  const path = join(directory, whole ? "vmcore" : "vmcore-incomplete");
  if (existsSync(path)) {
    if (!options.force) throw new UsageError(`${path} exists; --force replaces it`);
    rmSync(path);
  }
  mkdirSync(directory, { recursive: true });
  const writtenBytes = createFile(path, (sink) => saveLkcd(partition, sink));
  if (options.forget) forgetLkcd(partition);
  return {
    outcome: whole ? "saved" : "incomplete",
    ...{ path, writtenBytes, shortcomings, savedPages: pagesIn(core.saved), resigned: false },
  };
}

/** -X: the dump goes without being saved. Returns false when there is none. */
export function lkcdDiscard(partition: ByteStore): boolean {
  if (!lkcdOnPartition(partition)) return false;
  forgetLkcd(partition);
  return true;
}
