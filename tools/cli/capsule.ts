// A capsule: what it takes to run a trial again and to see whether it is still the same trial.
import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { systemReason, UsageError } from "../../diskdump/userspace/errors.ts";
import { recordIn } from "../campaign/results.ts";
import { scenarioHash } from "../scenario/identity.ts";
import { isTree } from "../scenario/merge.ts";
import { loadScenario } from "../scenario/load.ts";
import type { Scenario } from "../scenario/scenario.ts";
import type { TrialRecord } from "../trial/types.ts";

/** The file form. An NDJSON line of a campaign is a capsule too, without the scenario. */
export interface Capsule {
  readonly record: TrialRecord;
  /** Resolved; absent when the record names it. */
  readonly scenario?: Scenario;
}

/** Throws a UsageError when the file exists or cannot be written. */
export function writeCapsule(path: string, record: TrialRecord, scenario: Scenario): void {
  const capsule: Capsule = { record, scenario };
  if (existsSync(path)) throw new UsageError(`cannot write the capsule ${path}: it exists already`);
  // Under another name until it is whole.
  const unfinished = `${path}.new-${process.pid}`;
  try {
    writeFileSync(unfinished, `${JSON.stringify(capsule, undefined, 2)}\n`, { flag: "wx" });
    renameSync(unfinished, path);
  } catch (error) {
    throw new UsageError(`cannot write the capsule ${path}: ${systemReason(error)}`);
  } finally {
    rmSync(unfinished, { force: true });
  }
}

/** Which of several records to take. */
export interface CapsuleChoice {
  readonly seed: number | undefined;
  readonly dumper: string | undefined;
}

/**
 * Reads a capsule file or a file of NDJSON records ("-" is stdin; text that begins with "{" is the capsule itself).
 * Of several records that fit `choice` the first that is not complete counts, else the first.
 */
export function readCapsule(ref: string, choice: CapsuleChoice): Capsule {
  const inline = ref.trimStart().startsWith("{");
  const name = inline ? "the capsule" : ref === "-" ? "stdin" : ref;
  const text = inline ? ref : readText(ref);
  const whole = wholeCapsule(text, name);
  if (whole) return whole;
  const lines = text.split("\n").flatMap((line, index) => (line.trim() === "" ? [] : [{ line, number: index + 1 }]));
  if (lines.length === 0) throw new UsageError(`${name}: is empty`);
  const records = lines.map(({ line, number }) => recordIn(line, `${name}:${number}`));
  const fitting = records.filter(
    ({ seed, dumper }) => (choice.seed ?? seed) === seed && (choice.dumper ?? dumper) === dumper,
  );
  const record = fitting.find(({ outcome }) => outcome !== "complete") ?? fitting[0];
  if (!record) throw new UsageError(`${name}: none of its ${records.length} records has that seed and dumper`);
  return { record };
}

/** The scenario to run. Throws a UsageError when it is not the one that the record is about. */
export function scenarioOf({ record, scenario }: Capsule): Scenario {
  const found = scenario ?? loadScenario(record.scenarioRef, record.overrides);
  const hash = scenarioHash(found);
  if (hash === record.scenarioHash) return found;
  throw new UsageError(
    scenario
      ? "the capsule's scenario was changed after it was written"
      : `scenario ${record.scenarioRef} has changed since: its hash is ${hash}; the record has ${record.scenarioHash}`,
  );
}

function wholeCapsule(text: string, name: string): Capsule | undefined {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return undefined; // several lines, or no JSON at all: the line reader says which
  }
  if (typeof value !== "object" || value === null) throw new UsageError(`${name}: is not a capsule`);
  if (!("record" in value)) return { record: recordIn(JSON.stringify(value), name) };
  const record = recordIn(JSON.stringify(value.record), name);
  if (!("scenario" in value)) return { record };
  if (!isTree(value.scenario)) throw new UsageError(`${name}: its scenario is not a map`);
  return { record, scenario: value.scenario as unknown as Scenario };
}

function readText(ref: string): string {
  try {
    return readFileSync(ref === "-" ? 0 : ref, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read the capsule ${ref}: ${systemReason(error)}`);
  }
}
