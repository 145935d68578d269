// Style is a test: what the house rules say of the sources as a whole. Rules about single lines are in eslint.config.js.
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize } from "node:path";
import { describe, expect, test } from "vitest";

const root = dirname(import.meta.dirname);
const MAX_LINES = 450;

/** Files that may be longer, and why. */
const LONG_FILES: Readonly<Record<string, string>> = {};

/** Lower floors first; a file imports from its own floor and those below. The two middle rooms do not know each other. */
const FLOORS: Readonly<Record<string, readonly string[]>> = {
  emulator: ["emulator"],
  "kernel-sim": ["kernel-sim", "emulator"],
  hba: ["hba", "kernel-sim", "emulator"],
  diskdump: ["diskdump", "kernel-sim", "emulator"],
  tools: ["tools", "diskdump", "hba", "kernel-sim", "emulator"],
};

function filesIn(folder: string, ending: RegExp): string[] {
  if (!existsSync(join(root, folder))) return [];
  return readdirSync(join(root, folder), { recursive: true, encoding: "utf8" })
    .filter((file) => ending.test(file))
    .map((file) => join(folder, file))
    .sort();
}

/** Of a statement of its own, not of a text that looks like one. */
const importPattern = /^(?:import|export|\})[^"\n]*"(\.[^"]+)"/gm;

const read = (file: string) => readFileSync(join(root, file), "utf8");
const sources = [...Object.keys(FLOORS), "test"].flatMap((folder) => filesIn(folder, /\.(ts|mjs)$/));
const specs = sources.filter((file) => file.endsWith(".spec.ts"));
const own = "test/tidy.spec.ts";

/** What `find` says of each file; the offenders, so that a failure names them all. */
function offenders(files: readonly string[], find: (text: string, file: string) => readonly string[]): string[] {
  return files.flatMap((file) => find(read(file), file).map((what) => `${file}: ${what}`));
}

describe("sources", () => {
  test("there are some", () => {
    expect(sources.length).toBeGreaterThan(50);
    expect(specs.length).toBeGreaterThan(10);
  });

  test(`a file is one noun: no more than ${MAX_LINES} lines without a reason`, () => {
    const tooLong = offenders(sources, (text, file) => {
      const lines = text.split("\n").length - 1;
      return lines > MAX_LINES && !(file in LONG_FILES) && !file.endsWith(".spec.ts") ? [`${lines} lines`] : [];
    });
    expect(tooLong).toEqual([]);
    const needless = Object.keys(LONG_FILES).filter((file) => read(file).split("\n").length - 1 <= MAX_LINES);
    expect(needless, "allowed to be long, but short").toEqual([]);
  });

  test("imports only go down", () => {
    const upward = offenders(sources, (text, file) => {
      const allowed = FLOORS[file.split("/")[0]!];
      if (!allowed) return [];
      return [...text.matchAll(importPattern)]
        .map((match) => normalize(join(dirname(file), match[1]!)))
        .filter((target) => !allowed.includes(target.split("/")[0]!));
    });
    expect(upward).toEqual([]);
  });

  test("every relative import names a file that is there, with its extension", () => {
    const missing = offenders(sources, (text, file) =>
      [...text.matchAll(importPattern)]
        .map((match) => match[1]!)
        .filter((target) => !existsSync(join(root, dirname(file), target))),
    );
    expect(missing).toEqual([]);
  });

  test("there is no folder of leftovers", () => {
    const leftovers = sources.filter((file) => /(^|\/)(utils?|helpers?|misc|common)(\/|\.ts$)/.test(file));
    expect(leftovers).toEqual([]);
  });

  test("no file knows the machine or the session that it was written on", () => {
    const traces = offenders(
      sources.filter((file) => file !== own),
      (text) => [...text.matchAll(/(?<![\w.])\/(work|home|root)\/[\w.-]+/g)].map((match) => match[0]),
    );
    expect(traces).toEqual([]);
  });
});

describe("tests", () => {
  test("none is left out: no only, and skip only on a condition, saying what it needs", () => {
    const found = offenders(
      specs.filter((file) => file !== own),
      (text) =>
        [...text.matchAll(/\b(?:it|test|describe)\.(only|skip|todo|skipIf|runIf)\b[^]{0,200}/g)]
          // "sfdisk reads the same partitions (needs: apt-get install fdisk)"
          .filter(([call, kind]) => !(/If$/.test(kind!) && /needs: /.test(call)))
          .map(([call]) => call.split("\n", 1)[0]!),
    );
    expect(found).toEqual([]);
  });

  test("none is empty of expectations", () => {
    const empty = specs.filter((file) => !/\b(expect|assert)\b/.test(read(file)));
    expect(empty).toEqual([]);
    const vacuous = offenders(
      specs.filter((file) => file !== own),
      (text) => [...text.matchAll(/expect\((true|1)\)\.toBe\(\1\)/g)].map((match) => match[0]),
    );
    expect(vacuous).toEqual([]);
  });
});

describe("the README", () => {
  const readme = read("README.md");
  const scripts = (JSON.parse(read("package.json")) as { scripts: Record<string, string> }).scripts;

  test("names only npm scripts that exist", () => {
    const named = [...readme.matchAll(/npm (?:run )?(start|test|(?<=run )[\w:-]+)/g)].map((match) => match[1]!);
    expect(named).toEqual(expect.arrayContaining(["start", "test", "build", "lint", "bench"]));
    expect(named.filter((name) => !(name in scripts))).toEqual([]);
  });

  test("names only commands that exist", () => {
    const commands = [...readme.matchAll(/bin\/dumplab\.mjs ([\w-]+)/g)].map((match) => match[1]!);
    expect(commands.length).toBeGreaterThan(3);
    const missing = commands.filter((name) => !existsSync(join(root, "tools", "cli", "commands", `${name}.ts`)));
    expect(missing).toEqual([]);
  });

  test("links only to what is there", () => {
    const targets = [...readme.matchAll(/\]\(([^)#]+)\)/g)].map((match) => match[1]!);
    expect(targets.length).toBeGreaterThan(2);
    expect(targets.filter((target) => !existsSync(join(root, target)))).toEqual([]);
  });
});
