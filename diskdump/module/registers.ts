// The crash's registers in the sub-header: pt_regs, as the kernel keeps them, to elf_regs, as a core file names them.
import { step } from "../../emulator/cpu/cpu.ts";
import { M, virtualOf } from "../../kernel-sim/abi/ram.ts";
import { pt_regs } from "../../kernel-sim/abi/structs/sched.ts";
import { layoutOf, type DataModel } from "../../kernel-sim/abi/types.ts";
import { this_cpu } from "../../kernel-sim/core/kernel.ts";
import { StructBytes } from "../format/struct-bytes.ts";
import type { DiskDump } from "./disk-dump.ts";

/** elf_regs field <- pt_regs field, where the names differ. The simulated CPU has x86_64's registers on every platform. */
const NAMES: Readonly<Record<DataModel["name"], Readonly<Record<string, string>>>> = {
  x86_64: {},
  i386: {
    ...{ ebx: "rbx", ecx: "rcx", edx: "rdx", esi: "rsi", edi: "rdi", ebp: "rbp", eax: "rax" },
    ...{ orig_eax: "orig_rax", eip: "rip", xcs: "cs", esp: "rsp", xss: "ss" },
  },
  ia64: { ip: "rip", r12: "rsp", psr: "eflags" },
  ppc64: { nip: "rip", gpr1: "rsp", msr: "eflags" },
};
/** __KERNEL_DS of 2.6.9 x86_64. */
const KERNEL_DS = 0x18;

/** platform_fix_regs: fills dump_sub_header from the pt_regs at `regs` (0: none were saved, all zero). */
export function fillSubHeader(dd: DiskDump, regs: number): void {
  const { model } = dd.kernel.map;
  const bytes = M.u8.subarray(dd.subHeaderAt, dd.subHeaderAt + layoutOf(dd.subHeaderType, model).size);
  step(100);
  bytes.fill(0);
  const elf = new StructBytes(dd.subHeaderType, model, bytes).inner("elf_regs");
  if (regs !== 0) {
    const size = layoutOf(pt_regs, model).size;
    const saved = new StructBytes(pt_regs, model, M.u8.subarray(regs, regs + size));
    const names = NAMES[model.name];
    const known = layoutOf(pt_regs, model).fields;
    for (const { name, type } of layoutOf(elf.type, model).fields.values()) {
      const from = names[name] ?? name;
      if (type.kind !== "scalar" || !known.has(from)) continue;
      // Where both architectures have an r8 they are not the same register.
      if (names[name] === undefined && model.name !== "x86_64" && name !== "eflags") continue;
      elf.setBig(name, saved.getBig(from));
    }
  }
  if (model.name === "x86_64") {
    elf.setBig("gs_base", virtualOf(this_cpu().pda.addr));
    for (const name of ["ds", "es"]) elf.set(name, KERNEL_DS);
  }
}
