// One session of crash(8) on a trial's vmlinux and vmcore: commands in, their answers out.
import { expect, type TestContext } from "vitest";
import { need, run } from "./programs.ts";

export interface CrashSession {
  /** What crash printed before its prompt: nothing, when all is well (it runs with -s). */
  readonly greeting: string;
  /** The answer to each command, in order, without blank lines at either end. */
  readonly answers: readonly string[];
  readonly code: number | null;
}

/** Printed between two commands; crash runs it as a shell command. */
const MARK = "=====next command=====";

/** Runs `commands` in one session. The files keep the names that they have: crash shows them. */
export function crash(
  vmlinux: string,
  vmcore: string,
  commands: readonly string[],
  options: readonly string[] = ["-s"],
): CrashSession {
  const input = commands.map((command) => `!echo ${MARK}\n${command}\n`).join("");
  const { stdout, stderr, code } = run("crash", [...options, vmlinux, vmcore], `${input}quit\n`);
  const [greeting = "", ...answers] = `${stdout}${stderr}`.split(`${MARK}\n`);
  return { greeting: greeting.trim(), answers: answers.map((answer) => answer.replace(/^\s*\n|\s+$/g, "")), code };
}

/** The answers of a session that must begin without a word and end well; skips the test where there is no crash. */
export function askCrash(
  context: TestContext,
  vmlinux: string,
  vmcore: string,
  commands: readonly string[],
): readonly string[] {
  need(context, "crash");
  const { greeting, answers, code } = crash(vmlinux, vmcore, commands);
  expect(greeting, "crash has something to complain about").toBe("");
  expect(code).toBe(0);
  expect(answers).toHaveLength(commands.length);
  return answers;
}

/** A task's back trace as bt prints it: the functions, innermost first, with `<stack>` where it changes stacks. */
export function functionsOf(backtrace: string): string[] {
  const names: string[] = [];
  for (const line of backtrace.split("\n")) {
    const frame = /^ *#\d+ \[\s*[0-9a-f]+\] (\w+)(?: \(\w+\))? at [0-9a-f]+/.exec(line);
    const stack = /^--- <(.*) stack> ---$/.exec(line);
    if (frame) names.push(frame[1]!);
    else if (stack) names.push(`<${stack[1]}>`);
  }
  return names;
}

/** `bt -a` by CPU. */
export function backtraces(answer: string): Map<number, { readonly pid: number; readonly text: string }> {
  const found = new Map<number, { pid: number; text: string }>();
  for (const text of answer.split(/\n(?=PID: )/)) {
    const head = /^PID: (\d+) +TASK: [0-9a-f]+ +CPU: (\d+)/.exec(text);
    if (head) found.set(Number(head[2]), { pid: Number(head[1]), text });
  }
  return found;
}
