// Options that several commands share, and how their values are read.
import { InvalidArgumentError, Option } from "commander";
import { ADAPTER_CHOICES } from "../machine/adapters.ts";
import type { Trials } from "../campaign/seeds.ts";
import { COMPRESSIONS, CORE_FORMATS } from "../../diskdump/cores/export-core.ts";
import { DUMPERS, type Dumper } from "../scenario/scenario.ts";

/** Reads a whole number of at least `least`; commander names the option in the message. */
export function count(least: number): (text: string) => number {
  return (text) => {
    const value = /^\d+$/.test(text) ? Number(text) : NaN;
    if (!(value >= least && Number.isSafeInteger(value))) {
      throw new InvalidArgumentError(`Expected a whole number of at least ${least}.`);
    }
    return value;
  };
}

/** `--trials 300` or `--trials paper`. */
export function trialsOption(): Option {
  const whole = count(1);
  return new Option("--trials <n>", "seeds 1 to n; or paper: of each dumper as many as the white paper's table has")
    .argParser((text): Trials => (text === "paper" ? text : whole(text)))
    .default(300);
}

/** `--set key=value`, as often as needed. */
export function setOption(): Option {
  return new Option("--set <key=value>", "change one key of the scenario (again for more): --set cpus=8")
    .argParser((text, before: string[] | undefined) => [...(before ?? []), text])
    .default([], "none");
}

/** `--adapter mptsas`; loadScenario checks the name. */
export function adapterOption(): Option {
  const names = Object.keys(ADAPTER_CHOICES).join(", ");
  return new Option("--adapter <name>", `put this in the place of every adapter of the scenario: ${names}`);
}

export function dumperOption(flags: string, description: string, extra: readonly string[] = []): Option {
  return new Option(flags, description).choices([...DUMPERS, ...extra]);
}

/** One dumper, several with commas between them, or all. */
export function dumpersOption(): Option {
  const known = [...DUMPERS, "all"].join(", ");
  return new Option(
    "--dumper <names>",
    `the dumper, or several with commas between them, or all: ${known}; default: the scenario's`,
  ).argParser((text): readonly Dumper[] => {
    if (text === "all") return DUMPERS;
    const names = text.split(",").map((name) => name.trim());
    const isDumper = (name: string): name is Dumper => (DUMPERS as readonly string[]).includes(name);
    const strange = names.find((name) => !isDumper(name));
    if (strange !== undefined) {
      throw new InvalidArgumentError(`There is no dumper "${strange}". Allowed choices are ${known}.`);
    }
    const twice = names.find((name, i) => names.indexOf(name) !== i);
    if (twice !== undefined) throw new InvalidArgumentError(`${twice} is there twice.`);
    return names.filter(isDumper);
  });
}

export function formatOption(flags: string, description: string): Option {
  return new Option(flags, description).choices([...CORE_FORMATS]);
}

export function compressOption(): Option {
  return new Option(
    "--compress <how>",
    "how pages are kept; zlib (diskdump, kdump) and gzip (lkcd) by default",
  ).choices([...COMPRESSIONS]);
}

/** The dump level of makedumpfile. */
export function levelOption(): Option {
  return new Option(
    "--level <n>",
    "pages to leave out: 1 zero, 2 cache, 4 cache with private data too, 8 user, 16 free; their sum",
  ).argParser(count(0));
}
