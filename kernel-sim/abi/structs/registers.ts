// pt_regs of each architecture: what its interrupts and exceptions leave on the stack (asm-*/ptrace.h of 2.6.9).
import { array, int, long, struct, ulong, type CType, type DataModel, type StructType } from "../types.ts";

const words = (type: CType, names: string): Record<string, CType> =>
  Object.fromEntries(names.split(" ").map((name) => [name, type]));
const numbered = (prefix: string, first: number, last: number): string =>
  Array.from({ length: last - first + 1 }, (_, i) => `${prefix}${first + i}`).join(" ");

const ia64_fpreg = struct("ia64_fpreg", { bits: array(ulong, 2) });

export const pt_regs: Readonly<Record<DataModel["name"], StructType>> = {
  i386: struct("pt_regs", {
    ...words(long, "ebx ecx edx esi edi ebp eax"),
    ...words(int, "xds xes"),
    ...words(long, "orig_eax eip"),
    xcs: int,
    ...words(long, "eflags esp"),
    xss: int,
  }),
  x86_64: struct(
    "pt_regs",
    words(ulong, "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss"),
  ),
  ia64: struct("pt_regs", {
    ...words(ulong, `b6 b7 ar_csd ar_ssd ${numbered("r", 8, 11)} cr_ipsr cr_iip cr_ifs ar_unat ar_pfs ar_rsc ar_rnat`),
    ...words(ulong, `ar_bspstore pr b0 loadrs r1 r12 r13 ar_fpsr r15 r14 r2 r3 ${numbered("r", 16, 31)} ar_ccv`),
    ...Object.fromEntries(["f6", "f7", "f8", "f9", "f10", "f11"].map((name) => [name, ia64_fpreg])),
  }),
  ppc64: struct("pt_regs", {
    gpr: array(ulong, 32),
    ...words(ulong, "nip msr orig_gpr3 ctr link xer ccr softe trap dar dsisr result"),
  }),
};

/** How a saved context is told on an architecture: which fields of pt_regs hold it, and what else is constant there. */
export interface ContextRegisters {
  /** The instruction pointer. */
  readonly ip: string;
  /** The stack pointer; an array's field with the index of the element. */
  readonly sp: string;
  readonly spIndex?: number;
  /** The frame pointer; where the architecture has none, `sp` or a register that nothing else uses. */
  readonly fp: string;
  readonly fpIndex?: number;
  /** Processor state; kernel's and user's values, and the bit that says that interrupts are on. */
  readonly state: string;
  readonly kernelState: bigint;
  readonly userState: bigint;
  readonly interruptsOn: bigint;
  /** Segment selectors in the kernel and in a process. */
  readonly selectors: Readonly<Record<string, readonly [kernel: number, user: number]>>;
}

/** Sources: asm-*\/segment.h, processor.h, kregs.h of 2.6.9. Zero and parity flags of x86 as they happen to be. */
export const CONTEXT_REGISTERS: Readonly<Record<DataModel["name"], ContextRegisters>> = {
  i386: {
    ...{ ip: "eip", sp: "esp", fp: "ebp", state: "eflags" },
    ...{ kernelState: 0x46n, userState: 0x46n, interruptsOn: 0x200n },
    selectors: { xcs: [0x60, 0x73], xss: [0x68, 0x7b], xds: [0x7b, 0x7b], xes: [0x7b, 0x7b] },
  },
  x86_64: {
    ...{ ip: "rip", sp: "rsp", fp: "rbp", state: "eflags" },
    ...{ kernelState: 0x46n, userState: 0x46n, interruptsOn: 0x200n },
    selectors: { cs: [0x10, 0x33], ss: [0x18, 0x2b] },
  },
  ia64: {
    // ia64 returns through its register stack; the frames that the simulated CPU keeps hang on r3 instead.
    ...{ ip: "cr_iip", sp: "r12", fp: "r3", state: "cr_ipsr" },
    // ac dt dfh rt it bn ic; user: cpl 3.
    ...{ kernelState: 0x101008022018n, userState: 0x101308022018n, interruptsOn: 1n << 14n },
    selectors: {},
  },
  ppc64: {
    ...{ ip: "nip", sp: "gpr", spIndex: 1, fp: "gpr", fpIndex: 1, state: "msr" },
    // SF ME IR DR RI; user: PR.
    ...{ kernelState: 0x8000000000001032n, userState: 0x8000000000005032n, interruptsOn: 0x8000n },
    selectors: {},
  },
};
