// .debug_frame: where each kernel function keeps its caller's frame pointer and return address (DWARF 2, section 6.4).
//
// Debuggers can guess this from `push rbp; mov rbp,rsp`, but only in functions they know; and no guess gets past an
// interrupt, where the interrupted context lies in a pt_regs.
import { PPC64_FRAME_BYTES, PPC64_LINK_OFFSET } from "../../core/text.ts";
import { layoutOf, type DataModel } from "../types.ts";
import { pt_regs } from "../structs/registers.ts";
import { ByteWriter } from "./byte-writer.ts";

const CFA = {
  advance: 0x40,
  offset: 0x80,
  nop: 0x00,
  undefined: 0x07,
  sameValue: 0x08,
  offsetExtendedSigned: 0x11,
  restore: 0xc0,
  defCfa: 0x0c,
  defCfaRegister: 0x0d,
  defCfaOffset: 0x0e,
  defCfaExpression: 0x0f,
  expression: 0x10,
} as const;
const OP = { deref: 0x06, plusUconst: 0x23, breg0: 0x70 } as const;

/** How DWARF numbers an architecture's registers, and how its frames lie. */
interface Registers {
  readonly fp: number;
  readonly sp: number;
  /** The column of the return address. */
  readonly ip: number;
  readonly codeAlign: number;
  /** pt_regs field and index of the element -> number; the instruction pointer's field under `ip`. */
  readonly saved: readonly (readonly [field: string, index: number, number: number])[];
  /** From the stack pointer at an entry point up to what lies there: the pt_regs, or its address. */
  readonly entryOffset: number;
}

const named = (numbers: Readonly<Record<string, number>>): (readonly [string, number, number])[] =>
  Object.entries(numbers).map(([field, number]) => [field, 0, number]);

/** Sources: the AMD64, i386 and 64-bit PowerPC supplements of the System V ABI. */
const REGISTERS: Readonly<Partial<Record<DataModel["name"], Registers>>> = {
  x86_64: {
    ...{ fp: 6, sp: 7, ip: 16, codeAlign: 1, entryOffset: 0 },
    saved: named({
      ...{ rax: 0, rdx: 1, rcx: 2, rbx: 3, rsi: 4, rdi: 5, rbp: 6, rsp: 7, r8: 8, r9: 9 },
      ...{ r10: 10, r11: 11, r12: 12, r13: 13, r14: 14, r15: 15, rip: 16, eflags: 49 },
    }),
  },
  i386: {
    ...{ fp: 5, sp: 4, ip: 8, codeAlign: 1, entryOffset: 0 },
    saved: named({ eax: 0, ecx: 1, edx: 2, ebx: 3, esp: 4, ebp: 5, esi: 6, edi: 7, eip: 8, eflags: 9 }),
  },
  ppc64: {
    ...{ fp: 1, sp: 1, ip: 65, codeAlign: 4, entryOffset: PPC64_FRAME_BYTES },
    saved: [...Array.from({ length: 32 }, (_, i) => ["gpr", i, i] as const), ["nip", 0, 65]],
  },
};

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

/** The section; undefined for ia64, which unwinds by tables of its own. */
export function debugFrame(model: DataModel, ranges: readonly CodeRange[]): Uint8Array | undefined {
  const registers = REGISTERS[model.name];
  if (!registers) return undefined;
  const { wordBytes } = model;
  const out = new ByteWriter(model.littleEndian, wordBytes);

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
      out.uleb(registers.codeAlign);
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
  const { atEntry, inBody, through } = model.name === "ppc64" ? ppc64Frames(out) : x86Frames(out, model, registers);

  const functions = common("", atEntry);
  const bodies = common("", inBody);
  const outermost = common("", () => {
    out.bytes([CFA.defCfa, registers.sp, wordBytes, CFA.undefined, registers.ip]);
  });
  // "S": what was interrupted did not call, so its address is not that of a return.
  const { sp, entryOffset } = registers;
  const top = new ByteWriter(true, wordBytes);
  top.u8(OP.breg0 + sp);
  top.sleb(entryOffset);
  const above = [...top.finish()];
  const interrupts = common("zS", () => interruptRules(out, model, registers, [...above, OP.deref]));
  const entries = common("zS", () => interruptRules(out, model, registers, above));
  for (const range of ranges) {
    if (range.kind === "interrupt") describe(interrupts, range, true);
    else if (range.kind === "registers") describe(entries, range, true);
    else if (range.kind === "outermost") describe(outermost, range, false);
    else if (range.kind === "body") describe(bodies, range, false);
    else describe(functions, range, false, () => through(range));
  }
  return out.finish();
}

/** The rules of an architecture's functions: at their first instruction, where a frame is set up, and from end to end. */
interface FrameRules {
  readonly atEntry: () => void;
  readonly inBody: () => void;
  readonly through: (range: CodeRange) => void;
}

function x86Frames(out: ByteWriter, model: DataModel, { sp, fp, ip }: Registers): FrameRules {
  const { wordBytes } = model;
  const afterMove = model.name === "i386" ? MOVE_BYTES.i386 : MOVE_BYTES.x86_64;
  return {
    atEntry: () => out.bytes([CFA.defCfa, sp, wordBytes, CFA.offset | ip, 1]),
    inBody: () => out.bytes([CFA.defCfa, fp, 2 * wordBytes, CFA.offset | ip, 1, CFA.offset | fp, 2]),
    through: ({ bytes }) => {
      out.bytes([CFA.advance | AFTER_PUSH, CFA.defCfaOffset, 2 * wordBytes, CFA.offset | fp, 2]);
      out.bytes([CFA.advance | afterMove, CFA.defCfaRegister, fp]);
      // Behind `leave`: only the return address is left.
      out.bytes([CFA.advance | (bytes - 1 - AFTER_PUSH - afterMove)]);
      out.bytes([CFA.defCfa, sp, wordBytes, CFA.restore | fp]);
    },
  };
}

/** r1 points at the chain, so the caller's r1 is the word there; the return address lies in the caller's frame. */
function ppc64Frames(out: ByteWriter): FrameRules {
  const { sp, ip } = REGISTERS.ppc64!;
  const inBody = (): void => {
    out.bytes([CFA.defCfaExpression, 3, OP.breg0 + sp, 0, OP.deref, CFA.offsetExtendedSigned, ip]);
    out.sleb(-PPC64_LINK_OFFSET / 8);
  };
  return {
    atEntry: () => out.bytes([CFA.defCfa, sp, 0, CFA.sameValue, ip]),
    inBody,
    through: () => {
      // Behind stdu; then behind addi, and behind mtlr.
      out.bytes([CFA.advance | 3]);
      inBody();
      out.bytes([CFA.advance | 10, CFA.defCfa, sp, 0, CFA.advance | 2, CFA.sameValue, ip]);
    },
  };
}

/** Everything is in the pt_regs, whose address the expression `regs` gives. */
function interruptRules(out: ByteWriter, model: DataModel, registers: Registers, regs: readonly number[]): void {
  const layout = layoutOf(pt_regs[model.name], model);
  out.bytes([CFA.defCfaExpression, regs.length, ...regs]);
  for (const [name, index, number] of registers.saved) {
    const field = layout.fields.get(name);
    if (!field) continue;
    // The CFA itself is on the expression's stack when it starts.
    const where = new ByteWriter(true, model.wordBytes);
    where.u8(OP.plusUconst);
    where.uleb(field.offset + index * model.wordBytes);
    out.u8(CFA.expression);
    out.uleb(number);
    out.uleb(where.length);
    out.bytes(where.finish());
  }
}
