// vmlinux: the kernel image as an ELF executable with symbols, C types and call frames, written without a compiler.
import { INTERRUPT_ENTRIES } from "../../core/entry.ts";
import { FUNCTION_BYTES, RETURN_OFFSET } from "../../core/kfunc.ts";
import type { Kernel, KernelSymbol } from "../../core/kernel.ts";
import { namedTypes } from "../structs/index.ts";
import type { CType } from "../types.ts";
import { debugFrame, type CodeRange } from "./call-frames.ts";
import { AT, TAG, encodeUnit, type Die } from "./dwarf.ts";
import { elfFile, type ElfSymbol, type Section } from "./elf-file.ts";
import { TypeEntries } from "./type-entries.ts";

export interface VmlinuxOptions {
  /** C types beside those of kernel-sim/abi/structs: a driver's, say. */
  readonly types?: readonly CType[];
  /**
   * Also describe the functions and variables of loaded modules in DWARF, with a section at the module area. A real vmlinux has
   * none of them; gdb, which knows no modules, then names their frames, and crash knows their variables' types. They are
   * not in the symbol table: crash takes module symbols from the dump, and would have each of them twice.
   */
  readonly modules?: boolean;
}

/** The function at e_entry: gdb ends a backtrace in it. */
const ENTRY_FUNCTION = "startup_64";
/** Functions that nobody calls: how their caller is found. */
const FRAME_KINDS: ReadonlyMap<string, CodeRange["kind"]> = new Map<string, CodeRange["kind"]>([
  [ENTRY_FUNCTION, "outermost"],
  ["child_rip", "outermost"],
  ...INTERRUPT_ENTRIES.map((name) => [name, "interrupt"] as const),
  ["nmi", "registers"],
  ["error_entry", "registers"],
  ["system_call", "outermost"],
]);
/** Where a task that sleeps goes on inside schedule(): behind every return address, so that it hides none. */
const THREAD_RETURN_OFFSET = 52;
/** crash compares banners in .rodata only when so much follows the banner (crash 8.0.2). */
const RODATA_LEAST_BYTES = 4096;
/** Variables with this prefix are the template of each CPU's area. */
const PER_CPU_PREFIX = "per_cpu__";

/**
 * The image's symbols, sorted by address; those of modules apart: text and data in the module area, and variables in memory
 * that boot handed out, which lies behind it.
 */
function imageSymbols(kernel: Kernel): { own: KernelSymbol[]; modules: KernelSymbol[] } {
  const { imageStart, imageEnd, moduleStart, moduleEnd } = kernel.ranges;
  const sorted = [...kernel.symbols.values()].sort((a, b) => a.addr - b.addr || (a.name < b.name ? -1 : 1));
  const inImage = (s: KernelSymbol): boolean => s.addr >= imageStart && s.addr + s.size <= imageEnd;
  const inModules = (s: KernelSymbol): boolean =>
    s.addr >= moduleEnd || (s.addr >= moduleStart && s.addr + s.size <= moduleEnd);
  const stray = sorted.find((s) => !inImage(s) && !inModules(s));
  if (stray) throw new Error(`vmlinux: ${stray.name} (0x${stray.addr.toString(16)}) lies outside the kernel image`);
  return { own: sorted.filter(inImage), modules: sorted.filter(inModules) };
}

interface Area {
  readonly name: string;
  readonly kind: "text" | "rodata" | "data";
  readonly start: number;
  readonly end: number;
}

/** How far the used part of a section goes, in whole pages (at least one: debuggers refuse an image without contents). */
function usedEnd(symbols: readonly KernelSymbol[], start: number, limit: number, grain: number): number {
  let end = start + 1;
  for (const s of symbols) if (s.addr >= start && s.addr < limit) end = Math.max(end, s.addr + s.size);
  return Math.min(limit, Math.ceil(end / grain) * grain);
}

/** The per-CPU template: its variables lie together, or labels around it would cover others. */
function perCpuArea(data: readonly KernelSymbol[]): { start: number; end: number } | undefined {
  const first = data.findIndex((s) => s.name.startsWith(PER_CPU_PREFIX));
  if (first < 0) return undefined;
  const last = data.findLastIndex((s) => s.name.startsWith(PER_CPU_PREFIX));
  const stranger = data.slice(first, last + 1).find((s) => !s.name.startsWith(PER_CPU_PREFIX));
  if (stranger) throw new Error(`vmlinux: ${stranger.name} lies between per-CPU variables`);
  return { start: data[first]!.addr, end: data[last]!.addr + data[last]!.size };
}

function imageAreas(kernel: Kernel, own: readonly KernelSymbol[]): Area[] {
  const { text, rodata, data } = kernel.sections;
  const { imageEnd } = kernel.ranges;
  const { pageSize } = kernel.map.model;
  const dataEnd = usedEnd(own, data, imageEnd, pageSize);
  const perCpu = perCpuArea(own.filter((s) => s.addr >= data));
  const dataAreas: Area[] = perCpu
    ? [
        { name: ".data", kind: "data", start: data, end: perCpu.start },
        { name: ".data.percpu", kind: "data", ...perCpu },
        { name: ".data.page_aligned", kind: "data", start: perCpu.end, end: dataEnd },
      ]
    : [{ name: ".data", kind: "data", start: data, end: dataEnd }];
  const textEnd = usedEnd(own, text, rodata, pageSize);
  const areas: Area[] = [
    { name: ".text", kind: "text", start: text, end: textEnd },
    // Functions that only a boot needs: none is simulated, but tools ask where they were.
    { name: ".init.text", kind: "text", start: textEnd, end: Math.min(rodata, textEnd + pageSize) },
    { name: ".rodata", kind: "rodata", start: rodata, end: usedEnd(own, rodata, data, RODATA_LEAST_BYTES) },
    ...dataAreas,
  ];
  return areas.filter((area) => area.end > area.start);
}

/** A symbol of a module, and its virtual address. */
type PlacedSymbol = KernelSymbol & { readonly value: bigint };

function dataEntries(
  kernel: Kernel,
  symbols: readonly KernelSymbol[],
  types: readonly CType[],
  modules: readonly PlacedSymbol[],
): Die {
  const entries = new TypeEntries(kernel.map.model);
  for (const type of types) entries.of(type);
  const variables: Die[] = [];
  const placed = symbols.map((s) => ({ ...s, value: kernel.map.kernelMap + BigInt(s.addr) }));
  for (const { name, value, type } of [...placed, ...modules]) {
    if (!type) continue;
    variables.push({
      tag: TAG.variable,
      attributes: [
        [AT.name, { form: "string", text: name }],
        [AT.type, { form: "ref4", to: entries.of(type) }],
        [AT.external, { form: "flag", number: 1 }],
        [AT.location, { form: "address", address: value }],
      ],
      children: [],
    });
  }
  return {
    tag: TAG.compileUnit,
    attributes: [
      [AT.producer, { form: "string", text: "dumplab" }],
      [AT.language, { form: "data1", number: 1 }],
      [AT.name, { form: "string", text: "kernel.c" }],
      [AT.compDir, { form: "string", text: `/usr/src/linux-${kernel.release}` }],
    ],
    children: [...entries.dies, ...variables, ...modules.filter((s) => s.letter === "T").map(functionEntry)],
  };
}

const functionEntry = ({ name, value, size }: PlacedSymbol): Die => ({
  tag: TAG.subprogram,
  attributes: [
    [AT.name, { form: "string", text: name }],
    [AT.external, { form: "flag", number: 1 }],
    [AT.lowPc, { form: "addr", address: value }],
    [AT.highPc, { form: "addr", address: value + BigInt(size) }],
  ],
  children: [],
});

/** Labels that the linker script of a kernel defines. */
function labels(kernel: Kernel, areas: readonly Area[]): ElfSymbol[] {
  const at = (name: string, addr: number): ElfSymbol => ({
    name,
    value: kernel.map.kernelMap + BigInt(addr),
    size: 0,
    kind: "label",
  });
  const area = (name: string): Area | undefined => areas.find((a) => a.name === name);
  const text = area(".text")!;
  const initText = area(".init.text");
  const perCpu = area(".data.percpu");
  const inside = (label: string, name: string, offset: number): ElfSymbol[] => {
    const symbol = kernel.symbols.get(name);
    return symbol ? [at(label, symbol.addr + offset)] : [];
  };
  const end = areas[areas.length - 1]!.end;
  return [
    ...[at("_text", text.start), at("_stext", text.start), at("_etext", text.end)],
    ...(initText ? [at("_sinittext", initText.start), at("_einittext", initText.end)] : []),
    ...inside("thread_return", "schedule", THREAD_RETURN_OFFSET),
    // What an exception's handler returns to.
    ...inside("error_exit", "error_entry", RETURN_OFFSET),
    // The template is given back after the boot, with the rest of the init sections.
    ...(perCpu
      ? [
          ...[at("__init_begin", perCpu.start), at("__per_cpu_start", perCpu.start)],
          ...[at("__per_cpu_end", perCpu.end), at("__init_end", perCpu.end)],
        ]
      : []),
    ...[at("_edata", end), at("_end", end)],
  ];
}

/**
 * The kernel as an ELF executable: .text as it is in RAM now, .rodata likewise, .data zeroed (its contents are the
 * dump's), symbols at their virtual addresses, DWARF 2 for all types and typed variables, call frames on x86.
 * Write it before the crash: a kernel whose text was damaged would give a damaged vmlinux.
 * @throws when a symbol lies outside the image, or between the per-CPU variables
 */
export function writeVmlinux(kernel: Kernel, options: VmlinuxOptions = {}): Uint8Array {
  const { map, ranges, machine } = kernel;
  const { model } = map;
  const { own, modules } = imageSymbols(kernel);
  const areas = imageAreas(kernel, own);
  const moduleAddress = (addr: number): bigint =>
    addr < ranges.moduleEnd ? map.moduleBase + BigInt(addr - ranges.moduleStart) : map.pageOffset + BigInt(addr);
  const contents = (start: number, end: number): Uint8Array => {
    const bytes = new Uint8Array(end - start);
    machine.memory.readBytes(start, bytes);
    return bytes;
  };

  const sections: Section[] = areas.map(({ name, kind, start, end }) => ({
    name,
    bytes: kind === "data" ? new Uint8Array(end - start) : contents(start, end),
    memory: { kind, address: map.kernelMap + BigInt(start), physical: BigInt(start) },
  }));
  const withModules = options.modules === true && modules.length > 0;
  const modulesEnd = withModules ? usedEnd(modules, ranges.moduleStart, ranges.moduleEnd, model.pageSize) : 0;
  if (withModules) {
    sections.push({
      name: ".text.modules",
      bytes: contents(ranges.moduleStart, modulesEnd),
      memory: { kind: "text", address: map.moduleBase, physical: BigInt(ranges.moduleStart) },
    });
  }

  const named = (symbol: KernelSymbol, value: bigint): ElfSymbol => ({
    ...{ name: symbol.name, value, size: symbol.size },
    kind: symbol.letter === "T" ? "func" : "object",
  });
  const symbols: ElfSymbol[] = [...labels(kernel, areas), ...own.map((s) => named(s, map.kernelMap + BigInt(s.addr)))];

  const placed = withModules ? modules.map((s) => ({ ...s, value: moduleAddress(s.addr) })) : [];
  const unit = dataEntries(kernel, own, [...namedTypes(model.name), ...(options.types ?? [])], placed);
  const { info, abbrev } = encodeUnit(unit, model.littleEndian, model.wordBytes);
  sections.push({ name: ".debug_info", bytes: info }, { name: ".debug_abbrev", bytes: abbrev });
  const frames = debugFrame(model, codeRanges(kernel, own));
  if (frames) sections.push({ name: ".debug_frame", bytes: frames });

  const entry = kernel.symbols.get(ENTRY_FUNCTION);
  if (!entry) throw new Error(`vmlinux: the kernel has no ${ENTRY_FUNCTION}`);
  return elfFile({ model, entry: map.kernelMap + BigInt(entry.addr), sections, symbols });
}

/** Every function of the kernel, and the module area as a whole: its functions always have their frame set up. */
function codeRanges(kernel: Kernel, own: readonly KernelSymbol[]): CodeRange[] {
  const { moduleStart, moduleEnd } = kernel.ranges;
  const ranges: CodeRange[] = own
    .filter((symbol) => symbol.letter === "T")
    .map((symbol) => ({
      start: kernel.map.kernelMap + BigInt(symbol.addr),
      bytes: FUNCTION_BYTES,
      kind: FRAME_KINDS.get(symbol.name) ?? "function",
    }));
  return [...ranges, { start: kernel.map.moduleBase, bytes: moduleEnd - moduleStart, kind: "body" }];
}
