// Per-CPU variables (include/linux/percpu.h, setup_per_cpu_areas() of 2.6.9): a template in the kernel image, and a copy of it
// for each CPU. The symbol per_cpu__x is x's place in the template; adding a CPU's offset gives its copy.
import { virtualOf } from "../abi/ram.ts";
import { alignOf, array, sizeOf, ulong, type CType } from "../abi/types.ts";
import type { Kernel } from "./kernel.ts";
import { pokeWord } from "./words.ts";

/** Variables start at multiples of this, so that no two share a cache line. */
const LINE_BYTES = 64;
const PAGE_BYTES = 4096;

export interface PerCpuVariable {
  readonly name: string;
  readonly type: CType;
}

const defined = new Map<string, PerCpuVariable>();

/** Declares a variable that every CPU has a copy of; `name` without the prefix per_cpu__. At module level only. */
export function DEFINE_PER_CPU(name: string, type: CType): PerCpuVariable {
  if (defined.has(name)) throw new Error(`DEFINE_PER_CPU(${name}): defined twice`);
  const variable = { name, type };
  defined.set(name, variable);
  return variable;
}

/** Where the variables lie in the template and in each CPU's copy. */
export class PerCpuAreas {
  /** Physical address of the template (__per_cpu_start). */
  readonly template: number;
  /** Physical address of each CPU's copy. */
  readonly areas: readonly number[];
  private readonly offsets = new Map<string, number>();

  constructor(k: Kernel, cpus: number) {
    // In the order of their names: imports do not move them.
    const variables = [...defined.values()].sort((a, b) => (a.name < b.name ? -1 : 1));
    const { model } = k.map;
    let template = -1;
    let end = 0;
    for (const { name, type } of variables) {
      const align = template < 0 ? PAGE_BYTES : Math.max(LINE_BYTES, alignOf(type, model));
      const at = k.staticBytes(`per_cpu__${name}`, sizeOf(type, model), align, "data", type);
      if (template < 0) template = at;
      this.offsets.set(name, at - template);
      end = at + sizeOf(type, model);
    }
    this.template = template;
    this.areas = Array.from({ length: cpus }, () => k.bootmem(end - template, PAGE_BYTES));
  }

  /** Physical address of a CPU's copy of a variable. */
  addressOf(variable: PerCpuVariable, cpuId: number): number {
    const offset = this.offsets.get(variable.name);
    if (offset === undefined) throw new Error(`per_cpu(${variable.name}): the kernel was booted before it was defined`);
    return this.areas[cpuId]! + offset;
  }

  /** What the kernel adds to a template's virtual address to reach a CPU's copy, modulo the word size. */
  offsetOf(cpuId: number): bigint {
    return virtualOf(this.areas[cpuId]!) - virtualOf(this.template);
  }
}

/** Makes the areas. Where the architecture has no pda to keep the offsets in, they are in __per_cpu_offset[]. */
export function setup_per_cpu_areas(k: Kernel, nrCpus: number): PerCpuAreas {
  const areas = new PerCpuAreas(k, k.machine.cpus.length);
  if (k.map.model.name !== "x86_64") {
    const at = k.staticBytes(
      "__per_cpu_offset",
      nrCpus * k.map.model.wordBytes,
      LINE_BYTES,
      "data",
      array(ulong, nrCpus),
    );
    areas.areas.forEach((_, id) => pokeWord(at + id * k.map.model.wordBytes, areas.offsetOf(id)));
  }
  return areas;
}
