// Before the suites: forget old records. After them: the matrix.
import { matrixText } from "./matrix.ts";
import { clearRecords, readRecords } from "./record.ts";

export function setup(): void {
  clearRecords();
}

export function teardown(): void {
  console.log(`\n${matrixText(readRecords())}\n`);
}
