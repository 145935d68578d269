// What a conformance suite leaves behind: one record per adapter and judge. The matrix is drawn from these files.
import { mkdirSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";

/** Who judges, in the order of the matrix's columns. */
export const JUDGES = {
  linux: "real Linux module on our chip",
  qemu: "our driver on QEMU's chip",
  diskdump: "dump trial on our chip",
} as const;
export type Judge = keyof typeof JUDGES;

export interface ConformanceRecord {
  /** The row: "mptspi", "mptsas", "ide", "sym53c8xx" ... */
  readonly adapter: string;
  readonly judge: Judge;
  /** "skipped" when nothing could run; "failed" when anything failed, whatever else passed. */
  readonly outcome: "passed" | "failed" | "skipped";
  /** What was shown to work, in the order it was shown: "probe", "abort", "error with sense" ... */
  readonly exercised: readonly string[];
  /** What failed: titles of tests. */
  readonly failures: readonly string[];
  /** Why something did not run, and the command that lets it run. */
  readonly skipped: readonly string[];
}

const root = join(import.meta.dirname, "..", "..");
/** Everything that the suites fetch, make or leave; ignored by git. */
export const OUTPUT_FOLDER = join(root, "out", "conformance");
const RECORDS_FOLDER = join(OUTPUT_FOLDER, "records");

/** Forgets the records of earlier runs. */
export function clearRecords(folder = RECORDS_FOLDER): void {
  rmSync(folder, { recursive: true, force: true });
}

export function writeRecord(record: ConformanceRecord, folder = RECORDS_FOLDER): void {
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, `${record.adapter}.${record.judge}.json`), `${JSON.stringify(record, null, 2)}\n`);
}

/** Every record of the last run, by adapter and judge. */
export function readRecords(folder = RECORDS_FOLDER): ConformanceRecord[] {
  let names: string[];
  try {
    names = readdirSync(folder);
  } catch {
    return [];
  }
  return names
    .filter((name) => name.endsWith(".json"))
    .sort()
    .map((name) => JSON.parse(readFileSync(join(folder, name), "utf8")) as ConformanceRecord);
}
