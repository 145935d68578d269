// What makes two scenarios the same, and the command that runs a trial of one again.
import { createHash } from "node:crypto";
import type { Scenario } from "./scenario.ts";

const hashes = new WeakMap<Scenario, string>();

/** 16 hex digits over everything but the name, the description and where it came from. */
export function scenarioHash(scenario: Scenario): string {
  const known = hashes.get(scenario);
  if (known !== undefined) return known;
  const { name: _name, description: _description, source: _source, ...machine } = scenario;
  const hash = createHash("sha256").update(canonical(machine)).digest("hex").slice(0, 16);
  hashes.set(scenario, hash);
  return hash;
}

/** JSON with sorted keys, so that the order in which a resolver fills a map does not count. */
function canonical(value: unknown): string {
  if (Array.isArray(value)) return `[${value.map(canonical).join(",")}]`;
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  const entries = Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1));
  return `{${entries.map(([key, inner]) => `${JSON.stringify(key)}:${canonical(inner)}`).join(",")}}`;
}

/** A shell command: `dumplab trial paper --seed 7 --set dump.dumper=lkcd`. */
export function replayCommand(scenario: Scenario, seed: number): string {
  const { ref, overrides } = scenario.source;
  const sets = overrides.map((override) => ` --set ${quoted(override)}`).join("");
  return `dumplab trial ${quoted(ref)} --seed ${seed}${sets}`;
}

/** A word as a shell takes it. */
export function quoted(word: string): string {
  return /^[\w@%+=:,./-]+$/.test(word) ? word : `'${word.replaceAll("'", `'\\''`)}'`;
}
