import { ESLint } from "eslint";
import { dirname, join } from "node:path";
import { describe, expect, test } from "vitest";

// How: the project's own configuration judges a text as if it stood in a file of the given name.
const root = dirname(dirname(import.meta.dirname));
const eslint = new ESLint({ cwd: root });

async function judge(file: string, ...lines: string[]): Promise<string[]> {
  const [result] = await eslint.lintText(`${lines.join("\n")}\n`, { filePath: join(root, file) });
  return result!.messages.map(({ line, message }) => `${line}: ${message}`);
}

describe("a call with a preemption point", () => {
  const head = 'import { spin_lock, spin_lock_irqsave, type Spinlock } from "./spinlock.ts";';
  const lost = (name: string) => `contains a preemption point: call it as \`yield* ${name}(...)\`, at once.`;

  test("is fine under yield*, and when it is handed to the caller", async () => {
    const messages = await judge(
      "kernel-sim/core/sample.ts",
      head,
      "export function* take(lock: Spinlock) {",
      "  const flags: number = yield* spin_lock_irqsave(lock);",
      "  yield* flags ? spin_lock(lock) : spin_lock(lock);",
      "}",
      "export const later = (lock: Spinlock) => spin_lock(lock);",
      "export function handed(lock: Spinlock) { return spin_lock(lock); }",
    );
    expect(messages).toEqual([]);
  });

  test("is fine in a plain body that looks at once whether it is finished", async () => {
    const messages = await judge(
      "kernel-sim/core/sample.ts",
      'import { finished, isFinished, type Running } from "../../emulator/cpu/cpu.ts";',
      head,
      "export function both(lock: Spinlock): Running<unknown> {",
      "  const taking = spin_lock(lock);",
      "  if (!isFinished(taking)) return taking;",
      "  const again = spin_lock_irqsave(lock);",
      "  return isFinished(again) ? finished() : again;",
      "}",
    );
    expect(messages).toEqual([]);
  });

  test.each([
    ["forgotten", "spin_lock(lock);"],
    ["looked at too late", "const kept = spin_lock(lock); lock.report(); if (isFinished(kept)) return;"],
    ["stored while another is looked at", "const kept = spin_lock(lock); if (isFinished(other)) return kept;"],
    ["stored", "const kept = spin_lock(lock); yield* kept;"],
    ["yielded instead of delegated to", "yield spin_lock(lock);"],
    ["passed on", "[lock].map(() => 0).push(spin_lock(lock));"],
    ["asked for its truth", "if (spin_lock(lock)) return;"],
  ])("is an error when it is %s", async (_how, line) => {
    const body = ["export function* take(lock: Spinlock): Generator<unknown, void, void> {", line, "}"];
    const messages = await judge("kernel-sim/core/sample.ts", head.replace(", spin_lock_irqsave", ""), ...body);
    expect(messages).toEqual([`3: spin_lock ${lost("spin_lock")}`]);
  });

  test("is recognised when the file declares it itself; another function of that name is not", async () => {
    const messages = await judge(
      "kernel-sim/core/sample.ts",
      'import { kfunc } from "./kfunc.ts";',
      'export const flush = kfunc("flush", function* () {});',
      "export function* twice() { flush(); const spin_lock = () => 1; spin_lock(); }",
    );
    expect(messages).toEqual([`3: flush ${lost("flush")}`]);
  });
});

describe("the house rules", () => {
  test.each([
    ["kernel-sim/core/a.ts", "try { a(); } catch { b(); }", "no try, catch or finally in kernel code"],
    ["hba/mptfusion/driver-reset.ts", "try { a(); } finally { b(); }", "no try, catch or finally in kernel code"],
    ["diskdump/module/core.ts", "try { a(); } finally { b(); }", "no try, catch or finally in kernel code"],
    ["emulator/a.ts", "export const t = Date.now();", "No wall clock"],
    ["diskdump/userspace/a.ts", "export const t = new Date();", "No wall clock"],
    ["hba/x/chip.ts", "export const r = Math.random();", "Draw from a named stream"],
    ["emulator/a.ts", "export const f = async () => 1;", "everything is synchronous"],
    ["emulator/a.ts", "setTimeout(() => 1, 1);", "Unexpected use of 'setTimeout'"],
    ["emulator/a.ts", 'export { a } from "../kernel-sim/a.ts";', "this floor lies below kernel-sim/"],
    ["kernel-sim/block/a.ts", 'export { a } from "../../hba/a.ts";', "this floor lies below hba/"],
    ["hba/x/chip-fifo.ts", 'export { a } from "../../kernel-sim/a.ts";', "this floor lies below kernel-sim/"],
    ["hba/x/chip.ts", 'export { a } from "./driver.ts";', "A chip knows no driver"],
    ["diskdump/module/a.ts", 'export { a } from "../../tools/a.ts";', "this floor lies below tools/"],
    ["tools/a.ts", "export default 1;", "Export by name"],
    ["tools/a.ts", "export enum E { A }", "Use an `as const` table"],
    ["tools/a.ts", "export class C { constructor(readonly a: number) {} }", "Declare the field"],
  ])("%s may not say: %s", async (file, text, message) => {
    expect((await judge(file, text)).join("\n")).toContain(message);
  });

  test("what they allow", async () => {
    expect(await judge("hba/x/driver.ts", 'export { a } from "../../kernel-sim/a.ts";')).toEqual([]);
    expect(await judge("diskdump/userspace/a.ts", "export const day = new Date(5).toISOString();")).toEqual([]);
    expect(await judge("kernel-sim/core/a.spec.ts", "export const t = Date.now();")).toEqual([]);
    expect(await judge("tools/a.ts", "export const f = async () => Date.now();")).toEqual([]);
  });
});
