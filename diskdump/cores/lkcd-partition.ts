// The LKCD dump on a partition, mostly a swap partition: one page behind its beginning stands what the dump file begins with.
// `lkcd save` copies from there to the mark of the end, before swapon writes over it.
import type { ByteStore } from "../../emulator/memory/store.ts";
import { PartitionStore } from "../userspace/partition-store.ts";
import type { CoreSink } from "../userspace/core-sink.ts";
import { UsageError } from "../userspace/errors.ts";
import { lkcdCore } from "./lkcd-core.ts";
import { isLkcd } from "./lkcd-header.ts";

/** Page sizes of the machines that LKCD ran on. */
const PAGE_SIZES = [4096, 8192, 16384, 65536];
const COPY_BYTES = 1 << 20;

/** The dump as the file that it will be; undefined when the partition holds none. It goes on to the partition's end. */
export function lkcdOnPartition(store: ByteStore): PartitionStore | undefined {
  for (const offset of PAGE_SIZES) {
    if (store.sizeBytes < offset + 8) return undefined;
    const dump = new PartitionStore(store, store.name, offset, store.sizeBytes - offset);
    if (isLkcd(dump)) return dump;
  }
  return undefined;
}

/** Copies the dump to a file, up to its end. Throws a UsageError when there is none, or it is damaged. */
export function saveLkcd(store: ByteStore, sink: CoreSink): void {
  const dump = lkcdOnPartition(store);
  if (!dump)
    throw new UsageError(`${store.name}: holds no LKCD dump: no header at offset 0x1000 (or 0x2000, 0x4000, 0x10000)`);
  const { fileBytes } = lkcdCore(dump);
  sink.begin(fileBytes);
  const piece = new Uint8Array(COPY_BYTES);
  for (let at = 0; at < fileBytes; at += COPY_BYTES) {
    const bytes = piece.subarray(0, Math.min(COPY_BYTES, fileBytes - at));
    dump.read(at, bytes);
    sink.bytes(at, bytes);
  }
  sink.end(fileBytes);
}

/** The dump is saved: its header goes, so that it is not saved again. The swap header before it stays. */
export function forgetLkcd(store: ByteStore): void {
  const dump = lkcdOnPartition(store);
  dump?.write(0, new Uint8Array(8));
}
