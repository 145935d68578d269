// The crash's registers in the sub-header: pt_regs, as the kernel keeps them, to elf_regs, as a core file names them.
import { step } from "../../emulator/cpu/cpu.ts";
import { M, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { pt_regs } from "../../kernel-sim/abi/structs/registers.ts";
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import { this_cpu } from "../../kernel-sim/core/kernel.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import type { DiskDump } from "./disk-dump.ts";

/** elf_regs field <- pt_regs field, where the names differ. */
const NAMES: Readonly<Record<DataModel["name"], Readonly<Record<string, string>>>> = {
  x86_64: {},
  i386: {},
  ia64: { ip: "cr_iip", psr: "cr_ipsr", cfm: "cr_ifs" },
  ppc64: {},
};
/** __KERNEL_DS of 2.6.9 x86_64. */
const KERNEL_DS = 0x18;

/** The register `name` of an ELF core as pt_regs has it; undefined when it does not. */
function savedRegister(saved: StructBytes, known: ReadonlyMap<string, unknown>, name: string): bigint | undefined {
  // ppc64 keeps its general registers in an array.
  const general = /^gpr(\d+)$/.exec(name);
  if (general && known.has("gpr")) return saved.getBig("gpr", Number(general[1]));
  const from = NAMES[saved.model.name][name] ?? name;
  return known.has(from) ? saved.getBig(from) : undefined;
}

/** platform_fix_regs: fills dump_sub_header from the pt_regs at `regs` (0: none were saved, all zero). */
export function fillSubHeader(dd: DiskDump, regs: number): void {
  const { model } = dd.kernel.map;
  const bytes = M.u8.subarray(dd.subHeaderAt, dd.subHeaderAt + layoutOf(dd.subHeaderType, model).size);
  step(100);
  bytes.fill(0);
  fillElfRegisters(new StructBytes(dd.subHeaderType, model, bytes).inner("elf_regs"), regs);
}

/** The registers of an ELF core, which are all zero, from the pt_regs at `regs` (0: none were saved). */
export function fillElfRegisters(elf: StructBytes, regs: number): void {
  const { model } = elf;
  if (regs !== 0) {
    const type = pt_regs[model.name];
    const { size, fields } = layoutOf(type, model);
    const saved = new StructBytes(type, model, M.u8.subarray(regs, regs + size));
    for (const { name, type: kind } of layoutOf(elf.type, model).fields.values()) {
      const value = kind.kind === "scalar" ? savedRegister(saved, fields, name) : undefined;
      if (value !== undefined) elf.setBig(name, value);
    }
  }
  if (model.name === "x86_64") {
    elf.setBig("gs_base", virtualOf(this_cpu().pda.addr));
    for (const name of ["ds", "es"]) elf.set(name, KERNEL_DS);
  }
}
