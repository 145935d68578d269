// Real programs that judge our files. A missing one skips its tests and says how to get it.
import { spawnSync } from "node:child_process";
import type { TestContext } from "vitest";

/** Program -> Debian package. */
const PACKAGES = { readelf: "binutils", gdb: "gdb", makedumpfile: "makedumpfile", crash: "crash" } as const;
export type Program = keyof typeof PACKAGES;

const found = new Map<Program, boolean>();

/** Skips the running test when `program` is not installed. */
export function need(context: TestContext, program: Program): void {
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

export function run(program: Program, args: readonly string[]): RunResult {
  const result = spawnSync(program, [...args], {
    encoding: "utf8",
    input: "",
    maxBuffer: 64 << 20,
    // A user's own start-up files and language must not change what is compared.
    env: { PATH: process.env["PATH"] ?? "", LC_ALL: "C", HOME: "/nonexistent" },
  });
  return { code: result.status, stdout: result.stdout, stderr: result.stderr };
}
