// An image file on the host, and the partition of it that a command is about.
import { hasDump } from "../../diskdump/userspace/dump-image.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { openPartition, readPartitions } from "../../diskdump/userspace/partition-table.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";

/** What the help of the image commands says about their argument. */
export const IMAGE_ARGUMENT = "raw image of a disk or of a partition";

/**
 * Calls `use` with the image, or with partition `number` of it, and closes it afterwards. Throws a UsageError when the file
 * cannot be opened, or has no such partition.
 */
export function withImage<T>(path: string, writable: boolean, use: (image: FileStore) => T): T {
  const image = FileStore.open(path, { writable });
  try {
    return use(image);
  } finally {
    image.close();
  }
}

/** Partition `number`, or the image itself when it has no partition table. A disk with partitions needs a number. */
export function partitionOf(image: FileStore, number: number | undefined): ByteStore {
  if (number !== undefined) return openPartition(image, number);
  const partitions = hasDump(image) ? [] : (readPartitions(image) ?? []);
  if (partitions.length === 0) return image;
  const numbers = partitions.map((partition) => partition.number).join(", ");
  throw new UsageError(`${image.name} is a disk with partitions: choose one with --partition (${numbers})`);
}
