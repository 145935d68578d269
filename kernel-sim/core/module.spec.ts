// Goal: a loaded module is where an analyst looks for one: on the modules list, its functions in the module area.
import { describe, expect, test } from "vitest";
import { M, peek32, peekPtr, virtualOf } from "../abi/ram.ts";
import { list_head, module_struct } from "../abi/structs/base.ts";
import { Elf64_Sym } from "../abi/structs/module.ts";
import { struct, uint, ulong } from "../abi/types.ts";
import { peekString } from "./c-string.ts";
import { bootTestMachine } from "./testing.ts";
import { runKernel } from "./boot.ts";
import { moduleFunctions, textAddressOf } from "./kfunc.ts";
import { list_entries } from "./list.ts";
import { stackFunctions } from "./panic.ts";
import { cpu } from "../../emulator/cpu/cpu.ts";
import { udelay } from "./timer.ts";

const kfunc = moduleFunctions("test_module");
let stack: string[] = [];
const test_module_b = kfunc("test_module_b", function* () {
  stack = stackFunctions(cpu.fp);
  yield* udelay(1);
});
const test_module_a = kfunc("test_module_a", function* () {
  yield* test_module_b();
});

describe("a module", () => {
  test("is linked when it is loaded: text addresses, symbols, a struct module on the list", () => {
    const k = bootTestMachine();
    expect(textAddressOf(test_module_a.id)).toBe(0);
    const loaded = k.modules.load("test_module", 100);
    const { moduleStart, moduleEnd } = k.ranges;
    for (const f of [test_module_a, test_module_b]) {
      const at = textAddressOf(f.id);
      expect(at).toBeGreaterThanOrEqual(loaded.core);
      expect(at).toBeLessThan(loaded.core + loaded.textBytes);
      expect(k.symbol(f.symbol)).toBe(at);
      expect(k.functionAt(at + 20)).toBe(f.symbol);
    }
    expect(loaded.core).toBeGreaterThanOrEqual(moduleStart);
    expect(loaded.dataAt + 100).toBeLessThanOrEqual(moduleEnd);
    expect(list_entries(k.modules.head)).toEqual([loaded.addr + k.offsetOf(module_struct, "list")]);
    const name = loaded.addr + k.offsetOf(module_struct, "name");
    expect(Buffer.from(M.u8.subarray(name, name + 12)).toString()).toBe("test_module\0");
    expect(peekPtr(loaded.addr + k.offsetOf(module_struct, "module_core"))).toBe(loaded.core);
    expect(virtualOf(loaded.core)).toBeGreaterThanOrEqual(0xffffffffa0000000n);
  });

  test("carries the symbols of its functions and variables, as kallsyms keeps them, and those that it exports", () => {
    const k = bootTestMachine();
    const data = struct("", { test_module_mode: uint, test_module_list: list_head });
    const loaded = k.modules.load("test_module", {
      data,
      bss: struct("", { test_module_count: ulong }),
      exports: ["test_module_a"],
    });
    const s = k.view(module_struct, loaded.addr);
    const bytes = k.sizeOf(Elf64_Sym);
    const symbols = Array.from({ length: s.num_symtab }, (_, i) => {
      const at = s.symtab + i * bytes;
      const name = peekString(s.strtab + peek32(at));
      return [name, String.fromCharCode(M.u8[at + 4]!), peekPtr(at + 8), M.u8[at + 6]! > 0];
    });
    expect(symbols.slice(1)).toEqual([
      ["test_module_a", "T", k.symbol("test_module_a"), true],
      ["test_module_b", "t", k.symbol("test_module_b"), true],
      ["test_module_mode", "d", loaded.dataAt, true],
      ["test_module_list", "d", loaded.dataAt + 8, true],
      ["test_module_count", "b", loaded.bssAt, true],
    ]);
    expect([s.num_syms, peekPtr(s.syms)]).toEqual([1, k.symbol("test_module_a")]);
    expect(s.core_size).toBe(loaded.coreBytes);
    expect(s.strtab + peek32(s.symtab + 5 * bytes) + "test_module_count".length).toBeLessThan(
      loaded.core + s.core_size,
    );
  });

  test("is loaded once, and a second module lies behind it", () => {
    const k = bootTestMachine();
    const first = k.modules.load("test_module", 100);
    expect(k.modules.load("test_module", 500)).toBe(first);
    const second = k.modules.load("another", 100);
    expect(second.core).toBeGreaterThanOrEqual(first.core + first.coreBytes);
    expect(list_entries(k.modules.head)).toHaveLength(2);
  });

  test("has functions that show in a backtrace by name, like the kernel's own", () => {
    const k = bootTestMachine();
    k.modules.load("test_module", 0);
    runKernel(k, () => test_module_a());
    expect(stack.slice(0, 2)).toEqual(["test_module_b", "test_module_a"]);
  });

  test("that does not fit is refused by name", () => {
    const k = bootTestMachine();
    expect(() => k.modules.load("huge", 16 << 20)).toThrow(/^module area: no room for huge \(\d+ bytes\)$/);
  });
});
