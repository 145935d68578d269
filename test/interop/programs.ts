// Real programs that judge our files. A missing one skips its tests and says how to get it.
import { spawnSync } from "node:child_process";
import type { TestContext } from "vitest";

/** Program -> Debian package. */
const PACKAGES = {
  readelf: "binutils",
  nm: "binutils",
  "eu-readelf": "elfutils",
  "eu-elflint": "elfutils",
  gcc: "gcc",
  gdb: "gdb",
  "gdb-multiarch": "gdb-multiarch",
  makedumpfile: "makedumpfile",
  crash: "crash",
  tshark: "tshark",
} as const;
export type Program = keyof typeof PACKAGES;

const found = new Map<Program, boolean>();

declare module "vitest" {
  interface TaskMeta {
    /** The programs of other people that judge in this test: docs/tools.md is made from these (test/interop/table.mjs). */
    programs?: string[];
  }
}

/** Skips the running test when `program` is not installed. */
export function need(context: TestContext, program: Program): void {
  (context.task.meta.programs ??= []).push(program);
  if (!found.has(program))
    found.set(program, spawnSync(program, ["--version"], { stdio: "ignore" }).error === undefined);
  if (!found.get(program)) {
    context.skip(`${program} is not installed; "apt-get install -y ${PACKAGES[program]}" lets this test run`);
  }
}

export interface RunResult {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

/** Runs a program to its end; `input` is its stdin. */
export function run(program: Program, args: readonly string[], input = ""): RunResult {
  const result = spawnSync(program, [...args], {
    encoding: "utf8",
    input,
    maxBuffer: 64 << 20,
    // A user's own start-up files and language must not change what is compared.
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", HOME: "/nonexistent" },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}

/** What gdb looks at: a program (vmlinux, an object file), a core, or both. */
export interface GdbFiles {
  readonly program?: string;
  readonly core?: string;
}

/** gdb in batch mode, with nothing but what it is told: one command after the other. */
export const gdb = (files: GdbFiles, ...commands: readonly string[]): RunResult => runGdb("gdb", files, commands);

/** As gdb; knows every architecture. */
export const gdbMultiarch = (files: GdbFiles, ...commands: readonly string[]): RunResult =>
  runGdb("gdb-multiarch", files, commands);

function runGdb(which: Program, { program, core }: GdbFiles, commands: readonly string[]): RunResult {
  const args = ["-batch", "-nx", "-iex", "set debuginfod enabled off", "-iex", "set width 0"];
  if (program !== undefined) args.push(program);
  if (core !== undefined) args.push("-c", core);
  return run(which, [...args, ...commands.flatMap((command) => ["-ex", command])]);
}
