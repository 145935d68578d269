// Loadable modules: text and data bytes in the module area of RAM, a struct module on the `modules` list.
import { M } from "../abi/ram.ts";
import { list_head, module_struct } from "../abi/structs/base.ts";
import { K } from "./kernel.ts";
import { FUNCTION_BYTES, linkModuleFunctions } from "./kfunc.ts";
import { map_module_area } from "../mm/page-tables.ts";
import { INIT_LIST_HEAD, list_add_tail } from "./list.ts";

export interface LoadedModule {
  readonly name: string;
  /** Physical address of struct module. */
  readonly addr: number;
  readonly core: number;
  readonly textBytes: number;
  readonly coreBytes: number;
  /** First byte of its data, behind the text. */
  readonly dataAt: number;
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
   * Links a module: its functions (defined with moduleFunctions(name)) get their addresses, its data section is zeroed.
   * Loading again returns the module that is there.
   */
  load(name: string, dataBytes: number): LoadedModule {
    const known = this.loaded.get(name);
    if (known) return known;
    const core = this.next;
    const textBytes = Math.max(FUNCTION_BYTES, linkModuleFunctions(K, name, core));
    const dataAt = core + Math.ceil(textBytes / 64) * 64;
    const structAt = dataAt + Math.ceil(dataBytes / 64) * 64;
    const coreBytes = structAt + Math.ceil(K.sizeOf(module_struct) / 64) * 64 - core;
    this.next = Math.ceil((core + coreBytes) / 4096) * 4096;
    if (this.next > K.ranges.moduleEnd) throw new Error(`module area: no room for ${name} (${coreBytes} bytes)`);
    const s = K.view(module_struct, structAt);
    const nameAt = structAt + K.offsetOf(module_struct, "name");
    for (let i = 0; i < name.length && i < 55; i++) M.u8[nameAt + i] = name.charCodeAt(i);
    s.module_core = core;
    s.core_size = coreBytes;
    s.core_text_size = textBytes;
    list_add_tail(structAt + K.offsetOf(module_struct, "list"), this.head);
    const module = { name, addr: structAt, core, textBytes, coreBytes, dataAt };
    this.loaded.set(name, module);
    map_module_area(core, this.next);
    return module;
  }
}

export function init_modules(): void {
  K.modules = new ModuleTable();
}
