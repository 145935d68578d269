// Suites run side by side, each in a process of its own. What all of them need is fetched and made by the first one.
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { OUTPUT_FOLDER } from "../record.ts";

const LOCK = join(OUTPUT_FOLDER, "linux", "lock");
const POLL_MS = 100;

/** Before the suites: what a run that was killed has left. */
export function clearLock(lock = LOCK): void {
  rmSync(lock, { force: true });
}

function take(lock: string): boolean {
  try {
    writeFileSync(lock, `${process.pid}\n`, { flag: "wx" });
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === "EEXIST") return false;
    throw error;
  }
}

/** Does `work` while no other suite does any under the same lock. */
export async function alone<T>(work: () => Promise<T>, lock = LOCK): Promise<T> {
  mkdirSync(join(lock, ".."), { recursive: true });
  while (!take(lock)) await setTimeout(POLL_MS);
  try {
    return await work();
  } finally {
    clearLock(lock);
  }
}
