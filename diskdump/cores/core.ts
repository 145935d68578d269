// What every format of a saved memory has in common: facts about the machine, and pages by page frame number. Each format has a
// reader that answers in these words and a writer that asks in them, so that any of them can become any other.
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import type { ByteStore } from "../../emulator/memory/store.ts";
import type { PageRange } from "../format/bitmap.ts";
import type { Problem, SystemName } from "../format/header.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import { elf_gregset } from "../format/structs.ts";

/** A CPU of the machine that died. */
export interface CoreCpu {
  /** Address of the task_struct that ran there; 0 when the file does not say. */
  readonly task: bigint;
  /** pid of that task, where it is known. */
  readonly pid?: number;
  /** elf_gregset_t of the machine; absent when nobody saved the registers of this CPU. */
  readonly registers?: Uint8Array;
}

/** What a file says about the machine. A format that has no place for a fact leaves it empty: "", 0, undefined. */
export interface CoreFacts {
  readonly model: DataModel;
  /** Bytes of a page: the unit of everything below. */
  readonly pageSize: number;
  readonly systemName: SystemName;
  /** When the system died: seconds since 1970 and nanoseconds. */
  readonly timestampSeconds: number;
  readonly timestampNs: number;
  /** VMCOREINFO, lines of KEY=value; "" when there is none. */
  readonly vmcoreinfo: string;
  /** Why it died, as the kernel said it. */
  readonly panicText: string;
  /** Index into `cpus` of the one that dumped. */
  readonly currentCpu: number | undefined;
  /** False when the file knows one CPU only, and not its number. */
  readonly cpusNumbered: boolean;
  readonly cpus: readonly CoreCpu[];
  /** ia64: where the dumping CPU's switch_stack lies; 0 elsewhere. */
  readonly switchStack: bigint;
  /** The highest page frame number of RAM plus one. */
  readonly maxMapnr: number;
  readonly ram: readonly PageRange[];
  /** What was left out on purpose, by kind: makedumpfile's bits (page-filter.ts). */
  readonly dumpLevel: number;
  /** The dump broke off here: RAM from this page frame on is lost, not left out. `maxMapnr` when it is whole. */
  readonly endPfn: number;
}

/** Raw pages one behind the other in a store. */
export interface RawRun {
  readonly store: ByteStore;
  /** Bytes from the store's beginning. */
  readonly offset: number;
  readonly pages: number;
}

export interface CoreReader {
  readonly name: string;
  /** What it is, for people: "an ELF core", "a KDUMP core, zlib". */
  readonly kind: string;
  readonly facts: CoreFacts;
  /** RAM whose contents are in the file, ascending by page frame number. */
  readonly saved: readonly PageRange[];
  /** Why the file is not whole; empty when it is. */
  readonly shortcomings: readonly string[];
  readonly problems: readonly Problem[];
  /** Fills `into` with `count` pages from page frame `pfn` on, all of them saved. Throws a UsageError for contents that cannot be had. */
  readPages(pfn: number, count: number, into: Uint8Array): void;
  /** A saved page's bytes, valid until the next call: for a reader that need not copy all of them to show them. */
  pageBytes?(pfn: number): Uint8Array;
  /** The first page frame at or above `pfn` that may hold anything but zeroes, or `end`. Frames in between read as zeroes. */
  nextData(pfn: number, end: number): number;
  /** Where the contents of a saved page, and of those behind it, stand raw; undefined when they do not. */
  rawRun(pfn: number): RawRun | undefined;
}

export interface CoreProgress {
  readonly donePages: number;
  readonly allPages: number;
}

/** Registers by name, with a view to set or get them. `bytes`: an elf_gregset_t of the model. */
export const registerView = (model: DataModel, bytes?: Uint8Array): StructBytes =>
  new StructBytes(elf_gregset[model.name], model, bytes);

/** Bytes of the register set. */
export const registerBytes = (model: DataModel): number => layoutOf(elf_gregset[model.name], model).size;

/** A register set as a reader hands it out: all zeroes is how the formats say that they were not saved. */
export const registersOrNone = (bytes: Uint8Array): { registers?: Uint8Array } =>
  bytes.some((byte) => byte !== 0) ? { registers: bytes } : {};

export const NO_NAME: SystemName = {
  ...{ sysname: "", nodename: "", release: "", version: "", machine: "", domainname: "" },
};

/** What `uname -m` says on each machine; an i386 core that does not say gets the commonest. */
export const machineOf = (model: DataModel): string => (model.name === "i386" ? "i686" : model.name);

/** RAM pages below `endPfn` that are not in the file: left out. */
export const leftOutPages = (core: CoreReader): number => {
  const below = core.facts.ram.reduce(
    (sum, { first, count }) => sum + Math.max(0, Math.min(first + count, core.facts.endPfn) - first),
    0,
  );
  return below - core.saved.reduce((sum, { count }) => sum + count, 0);
};
