// Loadable modules: text, data and symbol table in the module area of RAM, a struct module on the `modules` list
// (kernel/module.c of 2.6.9). An analyst takes a module's functions and variables from here: vmlinux has none of them.
import { M, poke32, pokePtr } from "../abi/ram.ts";
import { list_head, module_struct } from "../abi/structs/base.ts";
import { Elf32_Sym, Elf64_Sym, kernel_symbol } from "../abi/structs/module.ts";
import { layoutOf, type StructType } from "../abi/types.ts";
import { map_module_area } from "../mm/page-tables.ts";
import { pokeString } from "./c-string.ts";
import { K, type KernelSymbol } from "./kernel.ts";
import { FUNCTION_BYTES, linkModuleFunctions } from "./kfunc.ts";
import { INIT_LIST_HEAD, list_add_tail } from "./list.ts";
import { pokeLong } from "./words.ts";

export interface LoadedModule {
  readonly name: string;
  /** Physical address of struct module. */
  readonly addr: number;
  readonly core: number;
  readonly textBytes: number;
  readonly coreBytes: number;
  /** First byte of its data, behind the text. */
  readonly dataAt: number;
  /** First byte of its zeroed data, behind struct module. */
  readonly bssAt: number;
}

/** A section of variables: so many bytes, or a struct whose fields are the variables, each with a symbol. */
export type ModuleSection = number | StructType;

export interface ModuleSections {
  readonly data?: ModuleSection;
  readonly bss?: ModuleSection;
  /** Functions that other modules call (EXPORT_SYMBOL). */
  readonly exports?: readonly string[];
}

/** Section numbers in st_shndx; any that is not 0 (undefined) does. */
const SECTION = { text: 1, data: 2, bss: 3 } as const;
const LINE = 64;
const lines = (bytes: number): number => Math.ceil(bytes / LINE) * LINE;
const PAGE_BYTES = 4096;

interface ModuleSymbol {
  readonly symbol: KernelSymbol;
  readonly section: number;
  /** add_kallsyms() puts the letter that nm would print into st_info. */
  readonly letter: string;
}

export class ModuleTable {
  readonly loaded = new Map<string, LoadedModule>();
  readonly head: number;
  private next: number;

  constructor() {
    this.head = K.static("modules", list_head);
    INIT_LIST_HEAD(this.head);
    this.next = K.ranges.moduleStart;
  }

  /**
   * Links a module: its functions (defined with moduleFunctions(name)) get their addresses, its data sections are zeroed, its
   * symbol table is made. Loading again returns the module that is there.
   */
  load(name: string, sections: ModuleSections | number = {}): LoadedModule {
    const known = this.loaded.get(name);
    if (known) return known;
    const { data = 0, bss = 0, exports = [] } = typeof sections === "number" ? { data: sections } : sections;
    const core = this.next;
    const functions = linkModuleFunctions(K, name, core);
    const textBytes = Math.max(FUNCTION_BYTES, functions.length * FUNCTION_BYTES);
    const dataAt = core + lines(textBytes);
    const structAt = dataAt + lines(bytesOf(data));
    const bssAt = structAt + lines(K.sizeOf(module_struct));
    const symbols: ModuleSymbol[] = [
      ...functions.map((symbol) => ({
        symbol,
        section: SECTION.text,
        letter: exports.includes(symbol.name) ? "T" : "t",
      })),
      ...nameVariables(data, dataAt).map((symbol) => ({ symbol, section: SECTION.data, letter: "d" })),
      ...nameVariables(bss, bssAt).map((symbol) => ({ symbol, section: SECTION.bss, letter: "b" })),
    ];
    const tables = new SymbolTables(bssAt + lines(bytesOf(bss)), symbols, exports);
    const coreBytes = tables.end - core;
    this.next = Math.ceil(tables.end / PAGE_BYTES) * PAGE_BYTES;
    if (this.next > K.ranges.moduleEnd) throw new Error(`module area: no room for ${name} (${coreBytes} bytes)`);
    tables.write();
    const s = K.view(module_struct, structAt);
    pokeString(structAt + K.offsetOf(module_struct, "name"), name, 56);
    s.module_core = core;
    s.core_size = coreBytes;
    s.core_text_size = textBytes;
    s.symtab = tables.symtab;
    s.num_symtab = 1 + symbols.length;
    s.strtab = tables.strtab;
    s.syms = tables.syms;
    s.num_syms = tables.exported.length;
    list_add_tail(structAt + K.offsetOf(module_struct, "list"), this.head);
    const module = { name, addr: structAt, core, textBytes, coreBytes, dataAt, bssAt };
    this.loaded.set(name, module);
    map_module_area(core, this.next);
    return module;
  }
}

const bytesOf = (section: ModuleSection): number => (typeof section === "number" ? section : K.sizeOf(section));

/** Each field of a section's struct becomes a symbol of its own. */
function nameVariables(section: ModuleSection, at: number): KernelSymbol[] {
  if (typeof section === "number") return [];
  return [...layoutOf(section, K.map.model).fields.values()].map((field) => {
    const symbol = {
      name: field.name,
      addr: at + field.offset,
      size: field.size,
      letter: "D" as const,
      type: field.type,
    };
    K.symbols.set(field.name, symbol);
    return symbol;
  });
}

/** What kallsyms keeps of a module, laid out from `start` on: .symtab, the exported symbols, .strtab. */
class SymbolTables {
  readonly symtab: number;
  readonly syms: number;
  readonly strtab: number;
  readonly end: number;
  readonly exported: readonly KernelSymbol[];
  private readonly symbols: readonly ModuleSymbol[];
  private readonly entry: StructType;

  constructor(start: number, symbols: readonly ModuleSymbol[], exports: readonly string[]) {
    this.symbols = symbols;
    this.exported = symbols.map(({ symbol }) => symbol).filter(({ name }) => exports.includes(name));
    this.entry = (M.word8 ? Elf64_Sym : Elf32_Sym).type as StructType;
    this.symtab = start;
    this.syms = start + (1 + symbols.length) * K.sizeOf(this.entry);
    this.strtab = this.syms + this.exported.length * K.sizeOf(kernel_symbol);
    this.end = this.strtab + symbols.reduce((bytes, { symbol }) => bytes + symbol.name.length + 1, 1);
  }

  /** Entry 0 stays empty, as in every ELF symbol table. */
  write(): void {
    const { symtab, syms, strtab, entry, symbols } = this;
    const at = (field: string): number => K.offsetOf(entry, field);
    const fields = {
      name: at("st_name"),
      info: at("st_info"),
      section: at("st_shndx"),
      value: at("st_value"),
      size: at("st_size"),
    };
    const bytes = K.sizeOf(entry);
    const names = new Map<string, number>();
    let text = strtab + 1;
    symbols.forEach(({ symbol, section, letter }, i) => {
      const to = symtab + (i + 1) * bytes;
      poke32(to + fields.name, text - strtab);
      M.u8[to + fields.info] = letter.charCodeAt(0);
      M.view.setUint16(to + fields.section, section, M.little);
      pokePtr(to + fields.value, symbol.addr);
      pokeLong(to + fields.size, symbol.size);
      names.set(symbol.name, text);
      pokeString(text, symbol.name, symbol.name.length + 1);
      text += symbol.name.length + 1;
    });
    this.exported.forEach((symbol, i) => {
      const s = K.view(kernel_symbol, syms + i * K.sizeOf(kernel_symbol));
      pokePtr(s.addr + K.offsetOf(kernel_symbol, "value"), symbol.addr);
      s.name = names.get(symbol.name)!;
    });
  }
}

export function init_modules(): void {
  K.modules = new ModuleTable();
}
