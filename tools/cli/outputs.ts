// Files that a command is asked to write: what can be said against them before any work is done.
import { accessSync, constants, existsSync, statSync } from "node:fs";
import { dirname, resolve } from "node:path";
import { systemReason, UsageError } from "../../diskdump/userspace/errors.ts";

/**
 * Refuses outputs that could not be written afterwards: a name that is taken, or given twice, or in a folder that is not
 * there. Throws a UsageError that names it.
 */
export function refuseOutputs(paths: readonly (string | undefined)[]): void {
  const seen = new Set<string>();
  for (const path of paths) {
    if (path === undefined) continue;
    if (existsSync(path)) throw new UsageError(`${path} exists already; it is not overwritten`);
    const folder = dirname(resolve(path));
    const found = statSync(folder, { throwIfNoEntry: false });
    if (!found) throw new UsageError(`${path}: there is no folder ${dirname(path)}`);
    if (!found.isDirectory()) throw new UsageError(`${path}: ${dirname(path)} is not a folder`);
    try {
      accessSync(folder, constants.W_OK);
    } catch (error) {
      throw new UsageError(`${path}: cannot be written: ${systemReason(error)}`);
    }
    if (seen.has(resolve(path))) throw new UsageError(`${path}: is asked for twice`);
    seen.add(resolve(path));
  }
}
