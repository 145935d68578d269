// .debug_frame: where each kernel function keeps its caller's frame pointer and return address (DWARF 2, section 6.4).
//
// Debuggers can guess this from `push rbp; mov rbp,rsp`, but only in functions they know; and no guess gets past an
// interrupt, where the interrupted context lies in a pt_regs.
import { layoutOf, type DataModel } from "../types.ts";
import { pt_regs } from "../structs/registers.ts";
import { ByteWriter } from "./byte-writer.ts";

const CFA = {
  advance: 0x40,
  offset: 0x80,
  nop: 0x00,
  undefined: 0x07,
  restore: 0xc0,
  defCfa: 0x0c,
  defCfaRegister: 0x0d,
  defCfaOffset: 0x0e,
  defCfaExpression: 0x0f,
  expression: 0x10,
} as const;
const OP = { deref: 0x06, plusUconst: 0x23, breg0: 0x70 } as const;

/** DWARF numbers of the frame pointer, the stack pointer and the return address, and the other registers of pt_regs. */
interface Registers {
  readonly fp: number;
  readonly sp: number;
  readonly ip: number;
  readonly saved: Readonly<Record<string, number>>;
}

const X86_64_REGISTERS: Registers = {
  fp: 6,
  sp: 7,
  ip: 16,
  saved: {
    ...{ rax: 0, rdx: 1, rcx: 2, rbx: 3, rsi: 4, rdi: 5, rbp: 6, rsp: 7, r8: 8, r9: 9 },
    ...{ r10: 10, r11: 11, r12: 12, r13: 13, r14: 14, r15: 15, rip: 16, eflags: 49 },
  },
};
const I386_REGISTERS: Registers = { fp: 5, sp: 4, ip: 8, saved: {} };

export interface CodeRange {
  readonly start: bigint;
  readonly bytes: number;
  /**
   * `function`: starts with push/mov, ends with leave/ret. `body`: a frame is always set up (text of which only the
   * extent is known). `interrupt`: entered by an interrupt; its stack pointer points at the address of the pt_regs.
   * `registers`: entered from elsewhere; its stack pointer points at the pt_regs.
   * `outermost`: nobody called it.
   */
  readonly kind: "function" | "body" | "interrupt" | "registers" | "outermost";
}

/** Bytes of `push rbp`, and of that and `mov rbp, rsp`; of `leave` and `ret` at the end. */
const AFTER_PUSH = 1;
const MOVE_BYTES: Readonly<Record<"i386" | "x86_64", number>> = { i386: 2, x86_64: 3 };

/** The section for x86 platforms; undefined on others, whose unwinding is not by frame pointer. */
export function debugFrame(model: DataModel, ranges: readonly CodeRange[]): Uint8Array | undefined {
  if (model.name !== "x86_64" && model.name !== "i386") return undefined;
  const registers = model.name === "x86_64" ? X86_64_REGISTERS : I386_REGISTERS;
  const { wordBytes } = model;
  const out = new ByteWriter(true, wordBytes);

  const entry = (write: () => void): number => {
    const start = out.length;
    out.u32(0);
    write();
    while ((out.length - start - 4) % wordBytes !== 0) out.u8(CFA.nop);
    out.patch32(start, out.length - start - 4);
    return start;
  };
  const common = (augmentation: string, rules: () => void): number =>
    entry(() => {
      out.u32(0xffffffff);
      out.u8(1);
      out.string(augmentation);
      out.uleb(1);
      out.sleb(-wordBytes);
      out.u8(registers.ip);
      if (augmentation !== "") out.uleb(0);
      rules();
    });
  const describe = (cie: number, range: CodeRange, augmented: boolean, rules: () => void = () => {}): void => {
    entry(() => {
      out.u32(cie);
      out.word(range.start);
      out.word(BigInt(range.bytes));
      if (augmented) out.uleb(0);
      rules();
    });
  };
  const atEntry = (): void => {
    out.bytes([CFA.defCfa, registers.sp, wordBytes, CFA.offset | registers.ip, 1]);
  };
  const afterMove = MOVE_BYTES[model.name];

  const functions = common("", atEntry);
  const bodies = common("", () => {
    out.bytes([CFA.defCfa, registers.fp, 2 * wordBytes, CFA.offset | registers.ip, 1, CFA.offset | registers.fp, 2]);
  });
  const outermost = common("", () => {
    out.bytes([CFA.defCfa, registers.sp, wordBytes, CFA.undefined, registers.ip]);
  });
  // "S": what was interrupted did not call, so its address is not that of a return.
  const interrupts = common("zS", () => interruptRules(out, model, registers, [OP.breg0 + registers.sp, 0, OP.deref]));
  const entries = common("zS", () => interruptRules(out, model, registers, [OP.breg0 + registers.sp, 0]));
  for (const range of ranges) {
    // pt_regs is x86_64's: on i386 an interrupt is where a backtrace ends.
    if (range.kind === "interrupt" && model.name === "x86_64") describe(interrupts, range, true);
    else if (range.kind === "registers" && model.name === "x86_64") describe(entries, range, true);
    else if (range.kind === "outermost") describe(outermost, range, false);
    else if (range.kind !== "function") describe(bodies, range, false);
    else {
      describe(functions, range, false, () => {
        out.bytes([CFA.advance | AFTER_PUSH, CFA.defCfaOffset, 2 * wordBytes, CFA.offset | registers.fp, 2]);
        out.bytes([CFA.advance | afterMove, CFA.defCfaRegister, registers.fp]);
        // Behind `leave`: only the return address is left.
        out.bytes([CFA.advance | (range.bytes - 1 - AFTER_PUSH - afterMove)]);
        out.bytes([CFA.defCfa, registers.sp, wordBytes, CFA.restore | registers.fp]);
      });
    }
  }
  return out.finish();
}

/** Everything is in the pt_regs, whose address the expression `regs` gives. */
function interruptRules(out: ByteWriter, model: DataModel, registers: Registers, regs: readonly number[]): void {
  const layout = layoutOf(pt_regs[model.name], model);
  out.bytes([CFA.defCfaExpression, regs.length, ...regs]);
  for (const [name, number] of Object.entries(registers.saved)) {
    const field = layout.fields.get(name);
    if (!field) continue;
    // The CFA itself is on the expression's stack when it starts.
    const where = new ByteWriter(true, model.wordBytes);
    where.u8(OP.plusUconst);
    where.uleb(field.offset);
    out.u8(CFA.expression);
    out.uleb(number);
    out.uleb(where.length);
    out.bytes(where.finish());
  }
}
