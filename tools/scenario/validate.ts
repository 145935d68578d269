// Checks a scenario document against schema.json and says what is wrong in sentences that name the key.
import { Ajv, type ErrorObject, type ValidateFunction } from "ajv";
import type { ScenarioDocument } from "./document.ts";
import schema from "./schema.json" with { type: "json" };
import { parseSize, parseTime, SIZE_EXPECTED, TIME_EXPECTED } from "./units.ts";

let compiled: ValidateFunction | undefined;

function validator(): ValidateFunction {
  if (compiled) return compiled;
  // Every command compiles the schema to check one small document with it: code that is made fast is code that is ready
  // late, and whether the schema itself is one is asked by a test.
  const ready = { code: { optimize: false }, validateSchema: false } as const;
  const ajv = new Ajv({ allErrors: true, verbose: true, discriminator: true, allowUnionTypes: true, ...ready });
  ajv.addFormat("size", (text: string) => parseSize(text) !== undefined);
  ajv.addFormat("time-span", (text: string) => parseTime(text) !== undefined);
  return (compiled = ajv.compile(schema));
}

/** Every complaint about the document, one sentence each; empty when it is a scenario document. */
export function complaintsAbout(document: unknown): string[] {
  const validate = validator();
  if (validate(document)) return [];
  const sentences = new Set((validate.errors ?? []).map(sentenceOf));
  return [...sentences];
}

/** Type guard in the same words. */
export function isScenarioDocument(document: unknown): document is ScenarioDocument {
  return validator()(document) === true;
}

function sentenceOf(error: ErrorObject): string {
  const where = pathOf(error.instancePath);
  const params = error.params as Record<string, unknown>;
  switch (error.keyword) {
    case "additionalProperties": {
      const key = String(params["additionalProperty"]);
      const near = nearest(key, Object.keys((error.parentSchema?.["properties"] as object | undefined) ?? {}));
      return `${join(where, key)}: unknown key${near ? `; did you mean "${near}"?` : ""}`;
    }
    case "required":
      return `${join(where, String(params["missingProperty"]))}: missing`;
    case "enum": {
      const allowed = params["allowedValues"] as unknown[];
      const near = typeof error.data === "string" ? nearest(error.data, allowed.map(String)) : undefined;
      const hint = near ? `; did you mean "${near}"?` : "";
      return `${where}: expected one of ${allowed.map(String).join(", ")}; got ${show(error.data)}${hint}`;
    }
    case "discriminator": {
      const kinds = (error.parentSchema?.["oneOf"] as { properties: { kind: { const: string } } }[]).map(
        (option) => option.properties.kind.const,
      );
      return `${join(where, "kind")}: expected one of ${kinds.join(", ")}; got ${show(params["tagValue"])}`;
    }
    case "format":
      return `${where}: expected ${error.params["format"] === "size" ? SIZE_EXPECTED : TIME_EXPECTED}; got ${show(error.data)}`;
    case "type": {
      const format = error.parentSchema?.["format"];
      if (format === "size") return `${where}: expected ${SIZE_EXPECTED}; got ${show(error.data)}`;
      if (format === "time-span") return `${where}: expected ${TIME_EXPECTED}; got ${show(error.data)}`;
      return `${where || "the scenario"}: expected ${article(String(params["type"]))}; got ${show(error.data)}`;
    }
    case "minimum":
    case "maximum":
    case "exclusiveMinimum":
      return `${where}: expected ${rangeOf(error.parentSchema ?? {})}; got ${show(error.data)}`;
    case "pattern":
      return `${where}: expected ${where.includes("evices") ? 'a device like "/dev/sda1"' : "letters, digits, dots, dashes and underscores"}; got ${show(error.data)}`;
    default:
      return `${where || "the scenario"}: ${error.message ?? error.keyword}; got ${show(error.data)}`;
  }
}

/** "/adapters/0/disks/1/size" -> "adapters[0].disks[1].size" */
function pathOf(instancePath: string): string {
  return instancePath
    .split("/")
    .slice(1)
    .map((part) => part.replaceAll("~1", "/").replaceAll("~0", "~"))
    .reduce((path, part) => (/^\d+$/.test(part) ? `${path}[${part}]` : join(path, part)), "");
}

function join(path: string, key: string): string {
  return path === "" ? key : `${path}.${key}`;
}

function show(value: unknown): string {
  const text = JSON.stringify(value) ?? "nothing";
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

function article(type: string): string {
  const names: Readonly<Record<string, string>> = { object: "a map", array: "a list", boolean: "true or false" };
  return names[type] ?? (/^[aeiou]/.test(type) ? `an ${type}` : `a ${type}`);
}

function rangeOf(parent: Readonly<Record<string, unknown>>): string {
  if (parent["format"] === "size") return SIZE_EXPECTED;
  const low = parent["minimum"] ?? parent["exclusiveMinimum"];
  const high = parent["maximum"];
  const noun = parent["type"] === "integer" ? "a whole number" : "a number";
  if (low !== undefined && high !== undefined) return `${noun} from ${String(low)} to ${String(high)}`;
  if (parent["exclusiveMinimum"] !== undefined) return `${noun} above ${String(low)}`;
  return `${noun} of at least ${String(low)}`;
}

/** The candidate that the word is most likely a slip of: at most a third of its letters differ. */
export function nearest(word: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let bestDistance = Math.max(1, Math.floor(word.length / 3)) + 1;
  for (const candidate of candidates) {
    const distance = editDistance(word.toLowerCase(), candidate.toLowerCase());
    if (distance < bestDistance) [best, bestDistance] = [candidate, distance];
  }
  return best;
}

/** Insertions, deletions, replacements and swaps of neighbours (restricted Damerau-Levenshtein). */
function editDistance(a: string, b: string): number {
  let beforePrevious: number[] = [];
  let previous = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const same = a[row - 1] === b[column - 1];
      let cost = Math.min(previous[column]! + 1, current[column - 1]! + 1, previous[column - 1]! + (same ? 0 : 1));
      const swapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      if (swapped) cost = Math.min(cost, beforePrevious[column - 2]! + 1);
      current.push(cost);
    }
    [beforePrevious, previous] = [previous, current];
  }
  return previous[b.length]!;
}
