// Before the suites: forget what earlier runs left. After them: the matrix.
import { clearLock } from "./linux/lock.ts";
import { forgetUnavailable } from "./linux/packages.ts";
import { removeLeftBehind } from "./qemu/temporary.ts";
import { matrixText } from "./matrix.ts";
import { clearRecords, readRecords } from "./record.ts";

export function setup(): void {
  clearRecords();
  clearLock();
  forgetUnavailable();
  removeLeftBehind();
}

export function teardown(): void {
  console.log(`\n${matrixText(readRecords())}\n`);
}
