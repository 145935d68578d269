// Finds, reads, layers, checks and resolves scenarios.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { basename, dirname, isAbsolute, join, resolve } from "node:path";
import { parse as parseYaml, YAMLParseError } from "yaml";
import { systemReason, UsageError } from "../../diskdump/userspace/errors.ts";
import { scenarioFolder } from "../paths.ts";
import { ADAPTERS, ADAPTER_CHOICES, DEFAULT_ADAPTER_TYPE } from "../machine/adapters.ts";
import { complaintsAboutChoices, complaintsAboutMachine } from "./check.ts";
import type { ScenarioDocument } from "./document.ts";
import { DEFAULT_DUMPER } from "./dumpers.ts";
import { isTree, merge, setAt, type Tree } from "./merge.ts";
import { diskName, ideDiskName, resolveScenario } from "./resolve.ts";
import type { Dumper, Scenario } from "./scenario.ts";
import { complaintsAbout, nearest } from "./validate.ts";

/** The longest chain of `extends`. */
const MAX_LAYERS = 8;
const EXTENSIONS = [".yaml", ".yml", ".json"];

/**
 * The scenario for `ref`: a built-in name ("paper"), a path, or the text itself (JSON, or YAML of several lines).
 * `overrides` are `key=value` as after `--set`; a `dumper` other than the scenario's becomes one more, and an `adapter`
 * (a name of ADAPTER_CHOICES) two more for each adapter. Throws a UsageError that names every wrong key at once.
 */
export function loadScenario(
  ref: string,
  overrides: readonly string[] = [],
  dumper?: Dumper,
  adapter?: string,
): Scenario {
  const inline = ref.trimStart().startsWith("{") || ref.includes("\n");
  const layered = inline ? layersOf(ref, "the scenario", process.cwd(), []) : readLayers(ref, process.cwd(), []);
  const document = overrides.reduce(applyOverride, layered);
  const chosen = isTree(document["dump"]) ? document["dump"]["dumper"] : undefined;
  const more = adapter === undefined ? [] : adapterOverrides(document, adapter);
  if (dumper !== undefined && dumper !== (chosen ?? DEFAULT_DUMPER)) more.push(`dump.dumper=${dumper}`);
  return scenarioFrom(more.reduce(applyOverride, document), ref, [...overrides, ...more]);
}

/** What `--adapter` stands for: every adapter of the document becomes that one, with the disks it has. */
function adapterOverrides(document: Tree, name: string): string[] {
  const choice = Object.hasOwn(ADAPTER_CHOICES, name) ? ADAPTER_CHOICES[name] : undefined;
  if (!choice) {
    const known = Object.keys(ADAPTER_CHOICES);
    const near = nearest(name, known);
    const hint = near ? `; did you mean "${near}"?` : "";
    throw new UsageError(`--adapter: expected one of ${known.join(", ")}; got "${name}"${hint}`);
  }
  const { adapters } = document as ScenarioDocument;
  if (!Array.isArray(adapters)) return [];
  const chips = adapters.flatMap((_, place) => [
    `adapters.${place}.type=${choice.type}`,
    `adapters.${place}.model=${choice.model}`,
  ]);
  return [...chips, ...movedDisks(document as ScenarioDocument, choice.type, choice.model)];
}

/**
 * The disks of a document on adapters of another kind, where they have other names or do not all find a place: those with dump
 * devices come along, the others as long as there is room. Empty when nothing changes.
 */
function movedDisks(document: ScenarioDocument, type: string, model: string): string[] {
  const { adapters = [], dump = {}, load = {} } = document;
  const kind = ADAPTERS[type]!;
  const [first] = adapters;
  if (kind.diskNames === "sd" || adapters.length !== 1 || ADAPTERS[first!.type ?? DEFAULT_ADAPTER_TYPE] === kind)
    return [];
  const room = kind.models[model]!.maxId + 1;
  const disks = first!.disks ?? [];
  const dumped = disks.filter((_, i) => (dump.devices ?? []).some((device) => isOn(device, diskName(i))));
  const others = disks.filter((disk) => !dumped.includes(disk)).slice(0, Math.max(0, room - dumped.length));
  const kept = disks.filter((disk) => dumped.includes(disk) || others.includes(disk));
  const renamed = (device: string): string[] => {
    const from = disks.findIndex((_, i) => isOn(device, diskName(i)));
    const to = kept.indexOf(disks[from]!);
    if (from < 0) return [device];
    return to < 0 ? [] : [device.replace(diskName(from), ideDiskName(to))];
  };
  const places = kept.map(({ id: _scsiId, ...disk }) => disk);
  const sets = [`adapters.0.disks=${JSON.stringify(places)}`];
  if (dump.devices) sets.push(`dump.devices=${JSON.stringify(dump.devices.flatMap(renamed))}`);
  if (load.devices) sets.push(`load.devices=${JSON.stringify(load.devices.flatMap(renamed))}`);
  return sets;
}

const isOn = (device: string, disk: string): boolean =>
  device.startsWith(disk) && /^\d*$/.test(device.slice(disk.length));

/** The scenario that a document (already layered) describes. Throws a UsageError that names every wrong key. */
export function scenarioFrom(document: unknown, ref: string, overrides: readonly string[] = []): Scenario {
  const where = ref.includes("\n") ? "the scenario" : ref;
  refuse(where, complaintsAbout(document));
  const checked = document as ScenarioDocument;
  refuse(where, complaintsAboutChoices(checked));
  const scenario = resolveScenario(checked, { ref, overrides });
  refuse(where, [...complaintsAboutMachine(scenario), ...complaintsAboutHost(scenario)]);
  return scenario;
}

export interface ScenarioListing {
  readonly name: string;
  readonly description: string;
}

/** The scenarios that come with dumplab. */
export function builtInScenarios(): ScenarioListing[] {
  return builtInNames().map((name) => {
    const { description } = readTree(join(scenarioFolder, `${name}.yaml`)) as ScenarioDocument;
    return { name, description: description ?? "" };
  });
}

function builtInNames(): string[] {
  return readdirSync(scenarioFolder)
    .filter((file) => file.endsWith(".yaml"))
    .map((file) => basename(file, ".yaml"))
    .sort();
}

function refuse(where: string, complaints: readonly string[]): void {
  if (complaints.length === 0) return;
  if (complaints.length === 1) throw new UsageError(`${where}: ${complaints[0]}`);
  throw new UsageError(
    `${where} has ${complaints.length} mistakes:\n${complaints.map((line) => `  ${line}`).join("\n")}`,
  );
}

function readLayers(ref: string, folder: string, above: readonly string[]): Tree {
  const path = findFile(ref, folder);
  if (above.includes(path) || above.length >= MAX_LAYERS) {
    const chain = [...above, path].map((layer) => basename(layer)).join(" -> ");
    throw new UsageError(`${basename(path)}: extends goes in a circle or too deep: ${chain}`);
  }
  return layersOf(readText(path), path, dirname(path), [...above, path]);
}

/** Each layer is checked by itself, so that a complaint names the file it is about. */
function layersOf(text: string, where: string, folder: string, above: readonly string[]): Tree {
  const tree = parseTree(text, where);
  const shortName = basename(where);
  refuse(shortName, complaintsAbout(tree));
  const { extends: base, ...own } = tree;
  anchorPaths(own as ScenarioDocument, folder);
  if (above.length > 0) own["name"] ??= basename(where).replace(/\.\w+$/, "");
  return base === undefined ? own : merge(readLayers(base as string, folder, above), own);
}

function findFile(ref: string, folder: string): string {
  const looksLikePath = ref.includes("/") || EXTENSIONS.some((extension) => ref.endsWith(extension));
  const candidate = looksLikePath ? resolve(folder, ref) : join(scenarioFolder, `${ref}.yaml`);
  if (existsSync(candidate)) return candidate;
  if (looksLikePath) throw new UsageError(`no such scenario file: ${ref}`);
  const near = nearest(ref, builtInNames());
  const hint = near ? `did you mean "${near}"?` : `there are ${builtInNames().join(", ")}; a file needs its path`;
  throw new UsageError(`no such scenario: ${ref}; ${hint}`);
}

function readText(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw new UsageError(`cannot read the scenario ${path}: ${systemReason(error)}`);
  }
}

function readTree(path: string): Tree {
  return parseTree(readText(path), path);
}

function parseTree(text: string, where: string): Tree {
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    if (!(error instanceof YAMLParseError)) throw error;
    throw new UsageError(`${where} is not YAML: ${error.message}`);
  }
  if (!isTree(value)) throw new UsageError(`${where} is not a scenario: expected a map of keys at the top`);
  return value;
}

/** Image paths are relative to the file that names them. */
function anchorPaths(document: ScenarioDocument, folder: string): void {
  const anchor = (path: string) => (isAbsolute(path) ? path : resolve(folder, path));
  if (document.memory?.image !== undefined) document.memory.image = anchor(document.memory.image);
  for (const disk of (document.adapters ?? []).flatMap((adapter) => adapter.disks ?? [])) {
    if (disk.image !== undefined) disk.image = anchor(disk.image);
  }
}

function applyOverride(tree: Tree, override: string): Tree {
  const equals = override.indexOf("=");
  if (equals < 1) throw new UsageError(`--set ${override}: expected key=value, like cpus=8 or crash.at.time=50ms`);
  const [key, text] = [override.slice(0, equals), override.slice(equals + 1)];
  let value: unknown;
  try {
    value = parseYaml(text);
  } catch (error) {
    throw new UsageError(`--set ${override}: the value is not YAML: ${(error as Error).message}`);
  }
  try {
    return setAt(tree, key, value);
  } catch (error) {
    if (!(error instanceof RangeError)) throw error;
    throw new UsageError(`--set ${override}: ${error.message}`);
  }
}

function complaintsAboutHost(scenario: Scenario): string[] {
  const complaints: string[] = [];
  const images = scenario.adapters.flatMap((adapter) => adapter.disks).map((disk) => disk.imagePath);
  for (const path of [scenario.memory.imagePath, ...images]) {
    if (path !== null && !existsSync(path)) complaints.push(`image: no such file: ${path}`);
  }
  return complaints;
}
