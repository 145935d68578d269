// Files that are there whole or not at all.
import { FileSink } from "../diskdump/userspace/core-sink.ts";
import { systemReason, UsageError } from "../diskdump/userspace/errors.ts";
import { nodeFiles } from "../diskdump/userspace/host-files.ts";

/** Writes under a temporary name and renames: nothing half-written under `path`, nothing overwritten. Returns the bytes that take up space. */
export function createFile(path: string, write: (sink: FileSink) => void): number {
  if (nodeFiles.exists(path)) throw new UsageError(`${path}: exists; give another name or remove it`);
  const temporary = `${path}.tmp-${process.pid}`;
  let created = false;
  try {
    const file = nodeFiles.create(temporary);
    created = true;
    const sink = new FileSink(file);
    try {
      write(sink);
    } finally {
      file.close();
    }
    nodeFiles.rename(temporary, path);
    return sink.writtenBytes;
  } catch (error) {
    if (created) nodeFiles.remove(temporary);
    if (error instanceof UsageError) throw error;
    throw new UsageError(`${path}: cannot be written: ${systemReason(error)}`, { cause: error });
  }
}
