// Goal: who walks the kernel's page tables finds what the address map says: the direct map, the image, each loaded module.
import { describe, expect, test } from "vitest";
import { virtualOf } from "../abi/ram.ts";
import { K } from "../core/kernel.ts";
import { bootTestMachine } from "../core/testing.ts";
import { walkKernelTables } from "./page-tables.ts";

const MIB = 1 << 20;

describe("the kernel's page tables", () => {
  test("lead from the direct map to every part of RAM, and to nothing behind it", () => {
    const k = bootTestMachine({ ramMiB: 64 });
    for (const at of [1, 0x9f123, 5 * MIB, 33 * MIB + 77, 64 * MIB - 1]) {
      expect(walkKernelTables(k.map.pageOffset + BigInt(at))).toBe(at);
    }
    expect(walkKernelTables(k.map.pageOffset + BigInt(64 * MIB))).toBeNaN();
  });

  test("lead from the kernel map to the image", () => {
    const k = bootTestMachine();
    for (const name of ["jiffies", "init_level4_pgt", "schedule"]) {
      expect(walkKernelTables(virtualOf(k.symbol(name)))).toBe(k.symbol(name));
    }
  });

  test("get a module's pages when it is loaded, and no others", () => {
    const k = bootTestMachine();
    const { moduleBase } = k.map;
    expect(walkKernelTables(moduleBase)).toBeNaN();
    const module = K.modules.load("page_table_test", 9000);
    const last = module.core + module.coreBytes - 1;
    expect(walkKernelTables(virtualOf(module.core))).toBe(module.core);
    expect(walkKernelTables(virtualOf(last))).toBe(last);
    expect(walkKernelTables((virtualOf(last) | 0xfffn) + 1n)).toBeNaN();
  });
});
