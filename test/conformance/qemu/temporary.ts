// Temporary files of the tests with QEMU. Their names carry the process that made them, so that what a killed one could not
// take away is taken away before the next run.
import { existsSync, mkdtempSync, readdirSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";

/** Where a guest's memory lies: in memory, where there is such a place. */
export const memoryFolder = (): string => (existsSync("/dev/shm") ? "/dev/shm" : tmpdir());

const OURS = /^dumplab-(?:qemu|qtest|guest)-(\d+)-/;

/** Makes a folder of this process: "dumplab-qemu-123-x8Ad1k". Whoever asks for it removes it. */
export const temporaryFolder = (what: "qemu" | "qtest", under = tmpdir()): string =>
  mkdtempSync(join(under, `dumplab-${what}-${process.pid}-`));

let guests = 0;
/** A path for a guest's memory; there is no such file yet. */
export const guestMemoryPath = (): string => join(memoryFolder(), `dumplab-guest-${process.pid}-${guests++}`);

function lives(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    // Somebody else's process, which lives.
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

/** Removes what processes that are gone have left. Returns the paths. */
export function removeLeftBehind(folders: readonly string[] = [tmpdir(), memoryFolder()]): string[] {
  const removed: string[] = [];
  for (const folder of new Set(folders)) {
    for (const name of readdirSync(folder)) {
      const pid = OURS.exec(name)?.[1];
      if (pid === undefined || lives(Number(pid))) continue;
      rmSync(join(folder, name), { recursive: true, force: true });
      removed.push(join(folder, name));
    }
  }
  return removed;
}
