// The file of a campaign's results: one record a line, appended as trials end, so that a kill loses at most the line
// that was being written.
import { closeSync, ftruncateSync, openSync, readSync, writeSync } from "node:fs";
import { systemReason, UsageError } from "../../diskdump/userspace/errors.ts";
import type { TrialRecord } from "../trial/types.ts";

const CHUNK_BYTES = 1 << 20;
const NEWLINE = 0x0a;
/** How every record begins: what a torn one is recognised by. */
const RECORD_START = '{"scenario":"';

export interface ResultFile {
  readonly append: (record: TrialRecord) => void;
  readonly close: () => void;
}

export interface OpenedResults {
  readonly file: ResultFile;
  /** What it held already. */
  readonly previous: TrialRecord[];
}

/**
 * Opens `path` for appending. A file with records is continued only when `resume` is set; a torn last line is cut off.
 * Throws a UsageError when the file is not one of ours, or holds records of other code than `version`.
 */
export function openResults(path: string, resume: boolean, version: string): OpenedResults {
  const descriptor = open(path);
  const previous: TrialRecord[] = [];
  try {
    const { wholeBytes, rest } = eachLine(descriptor, (line, number) => {
      const record = recordIn(line, `${path}:${number}`);
      if (record.version !== version) {
        throw new UsageError(
          `${path}:${number}: made by version ${record.version}; this is ${version}: start a new file`,
        );
      }
      previous.push(record);
    });
    if (!resume && previous.length > 0) {
      throw new UsageError(`${path} has ${previous.length} records: --resume continues it, another name starts anew`);
    }
    // What a kill left of the first record is cut off; anything else without a newline is somebody's data.
    if (previous.length === 0 && !RECORD_START.startsWith(rest.toString("latin1", 0, RECORD_START.length))) {
      throw new UsageError(
        `${path}: is not a file of results: it ends at offset ${wholeBytes + rest.length} without a newline`,
      );
    }
    ftruncateSync(descriptor, wholeBytes);
    return { file: appender(descriptor, wholeBytes), previous };
  } catch (error) {
    closeSync(descriptor);
    throw error;
  }
}

/** All records of a results file, for reading only. Throws a UsageError as openResults does. */
export function readResults(path: string): TrialRecord[] {
  let descriptor: number;
  try {
    descriptor = openSync(path, "r");
  } catch (error) {
    throw new UsageError(`cannot read ${path}: ${systemReason(error)}`);
  }
  const records: TrialRecord[] = [];
  try {
    eachLine(descriptor, (line, number) => records.push(recordIn(line, `${path}:${number}`)));
  } finally {
    closeSync(descriptor);
  }
  return records;
}

function open(path: string): number {
  try {
    // Not "a": appending happens at a position that we know, behind the last whole line.
    return openSync(path, "r+");
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw unwritable(path, error);
  }
  try {
    return openSync(path, "wx+");
  } catch (error) {
    throw unwritable(path, error);
  }
}

function unwritable(path: string, error: unknown): UsageError {
  return new UsageError(`cannot write results to ${path}: ${systemReason(error)}`);
}

function appender(descriptor: number, startBytes: number): ResultFile {
  let position = startBytes;
  return {
    append(record) {
      const line = Buffer.from(`${JSON.stringify(record)}\n`);
      for (let written = 0; written < line.length;) {
        written += writeSync(descriptor, line, written, line.length - written, position + written);
      }
      position += line.length;
    },
    close: () => closeSync(descriptor),
  };
}

/** Calls `use` for every line that ends in a newline; returns the bytes that they take together, and what follows them. */
function eachLine(
  descriptor: number,
  use: (line: string, number: number) => void,
): { wholeBytes: number; rest: Buffer } {
  let rest: Buffer = Buffer.alloc(0);
  let wholeBytes = 0;
  let number = 0;
  for (let position = 0; ;) {
    const chunk = Buffer.alloc(CHUNK_BYTES);
    const count = readSync(descriptor, chunk, 0, CHUNK_BYTES, position);
    if (count === 0) return { wholeBytes, rest };
    position += count;
    rest = Buffer.concat([rest, chunk.subarray(0, count)]);
    let start = 0;
    for (let end = rest.indexOf(NEWLINE); end >= 0; end = rest.indexOf(NEWLINE, start)) {
      const line = rest.toString("utf8", start, end);
      wholeBytes += end + 1 - start;
      start = end + 1;
      number++;
      if (line.trim() !== "") use(line, number);
    }
    rest = rest.subarray(start);
  }
}

/** Throws a UsageError naming `where` unless the line is a trial record. */
export function recordIn(line: string, where: string): TrialRecord {
  let value: unknown;
  try {
    value = JSON.parse(line);
  } catch {
    throw new UsageError(`${where}: not a trial record: not JSON`);
  }
  const record = value as Partial<Record<keyof TrialRecord, unknown>> | null;
  const words = ["scenario", "scenarioRef", "scenarioHash", "dumper", "outcome", "traceHash", "version"] as const;
  const missing = words.find((key) => typeof record?.[key] !== "string");
  if (missing) throw new UsageError(`${where}: not a trial record: "${missing}" is missing`);
  if (!Number.isInteger(record?.seed)) throw new UsageError(`${where}: not a trial record: "seed" is missing`);
  if (!Array.isArray(record?.overrides) || record.overrides.some((override) => typeof override !== "string")) {
    throw new UsageError(`${where}: not a trial record: "overrides" is not a list of texts`);
  }
  checkFacts(record as Record<string, unknown>, where);
  return { ...ABSENT_BEFORE, ...(value as TrialRecord) };
}

/** Facts that records of earlier versions do not have: replay takes those records, too. */
const ABSENT_BEFORE = { dumpedBytes: null, dumpVirtualNs: null, blocked: null, load: null } as const;

/** Looks at those of them that a record has. Throws a UsageError for one that is not as it should be. */
function checkFacts(record: Record<string, unknown>, where: string): void {
  const expect = (holds: boolean, key: string, what: string): void => {
    if (!holds) throw new UsageError(`${where}: not a trial record: "${key}" is not ${what}`);
  };
  for (const key of ["dumpedBytes", "dumpVirtualNs"]) {
    const value = record[key] ?? null;
    expect(value === null || Number.isFinite(value), key, "a number or null");
  }
  const shapes = {
    blocked: { on: "string", because: "string" },
    load: { ns: "number", calls: "number", bytesPerS: "number", meanQueueDepth: "number", cpuBusyShare: "number" },
  } as const;
  for (const [key, shape] of Object.entries(shapes)) {
    const value = (record[key] ?? null) as Record<string, unknown> | null;
    if (value === null) continue;
    expect(typeof value === "object", key, "a map or null");
    for (const [name, type] of Object.entries(shape))
      expect(typeof value[name] === type, `${key}.${name}`, `a ${type}`);
  }
}
