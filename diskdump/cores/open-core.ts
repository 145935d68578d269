// Any of the formats, recognised by its first bytes, as a core of pages.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { hasDump, openDump } from "../userspace/dump-image.ts";
import { isElf } from "../userspace/elf-core.ts";
import { UsageError } from "../userspace/errors.ts";
import { compressedCore } from "./compressed-core.ts";
import { compressedFormatOf } from "./compressed-header.ts";
import type { CoreReader } from "./core.ts";
import { elfFileCore } from "./elf-file-core.ts";
import { lkcdCore } from "./lkcd-core.ts";
import { isLkcd } from "./lkcd-header.ts";
import { lkcdOnPartition } from "./lkcd-partition.ts";
import { partitionCore } from "./partition-core.ts";

/** makedumpfile -F writes this: pages in pieces, for a pipe. */
const isFlattened = (store: ByteStore): boolean => {
  if (store.sizeBytes < 16) return false;
  const bytes = new Uint8Array(12);
  store.read(0, bytes);
  return Buffer.from(bytes).toString("latin1") === "makedumpfile";
};

/** True when the store begins like a core file of some format, and not like a partition or a disk. */
export const isCoreFile = (store: ByteStore): boolean =>
  isElf(store) || compressedFormatOf(store) !== undefined || isLkcd(store) || isFlattened(store);

/** Opens a core file or the dump on a partition. Throws a UsageError that says what is wrong and where. */
export function openCore(store: ByteStore): CoreReader {
  if (isElf(store)) return elfFileCore(store);
  if (compressedFormatOf(store)) return compressedCore(store);
  if (isLkcd(store)) return lkcdCore(store);
  if (isFlattened(store)) {
    throw new UsageError(`${store.name}: is flattened; "makedumpfile -R FILE < ${store.name}" makes a core of it`);
  }
  if (hasDump(store)) return partitionCore(openDump(store));
  const lkcd = lkcdOnPartition(store);
  if (lkcd) return lkcdCore(lkcd);
  throw new UsageError(
    `${store.name}: is no core and holds no dump: none of "\\x7fELF", "DISKDUMP", "KDUMP   " and LKCD's magic number at offset 0, ` +
      `and no "DISKDUMP" (or LKCD's magic number) at offset 0x1000 (or 0x2000, 0x4000, 0x8000, 0x10000)`,
  );
}
