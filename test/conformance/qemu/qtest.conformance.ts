// Goal: no QEMU outlives the test that started it, however that ends. Method: a process of its own starts one through our client
// and is killed; QEMU's process must go away.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { setTimeout } from "node:timers/promises";
import { build } from "esbuild";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import { diesWithParent, QEMU_PACKAGE, qemuInstalled, Qtest } from "./qtest.ts";
import { removeLeftBehind } from "./temporary.ts";

/** Whether a process runs; one that has ended and that nobody has waited for yet does not. */
function runs(pid: number): boolean {
  try {
    return !/^\d+ \(.*\) Z/.test(readFileSync(`/proc/${pid}/stat`, "latin1"));
  } catch {
    return false;
  }
}

async function gone(pid: number, withinMs: number): Promise<boolean> {
  for (const end = Date.now() + withinMs; runs(pid) && Date.now() < end;) await setTimeout(20);
  return !runs(pid);
}

describe("QEMU ends", () => {
  const folder = mkdtempSync(join(tmpdir(), "dumplab-qemu-ends-"));
  const program = join(folder, "child.mjs");
  beforeAll(async () => {
    const contents = `
      import { Qtest } from "./qtest.ts";
      const qtest = await Qtest.start(["-machine", "pc,accel=tcg", "-m", "16"]);
      process.on("SIGUSR2", () => process.exit(3));
      setInterval(() => qtest.sync(), 50);
      console.log(qtest.pid);`;
    await build({
      stdin: { contents, resolveDir: import.meta.dirname, loader: "ts" },
      ...{ bundle: true, platform: "node", format: "esm", outfile: program, logLevel: "error" },
    });
  });
  const started: number[] = [];
  afterAll(() => {
    for (const pid of started) if (runs(pid)) process.kill(pid, "SIGKILL");
    rmSync(folder, { recursive: true, force: true });
  });
  beforeEach((context) => {
    if (!qemuInstalled()) context.skip(`QEMU is missing; "apt-get install -y ${QEMU_PACKAGE}" lets this run`);
  });

  /** Another process with a QEMU of its own, both running. */
  async function startChild(): Promise<{
    readonly kill: (signal: NodeJS.Signals) => Promise<void>;
    readonly qemu: number;
  }> {
    const child = spawn(process.execPath, [program], {
      stdio: ["ignore", "pipe", "inherit"],
      env: { ...process.env, TMPDIR: folder },
    });
    const exited = once(child, "exit");
    const [said] = (await Promise.race([once(child.stdout, "data"), exited])) as unknown[];
    const qemu = Number(String(said));
    started.push(qemu);
    expect(runs(qemu), `the child said ${String(said)}`).toBe(true);
    return {
      qemu,
      kill: async (signal) => {
        child.kill(signal);
        await exited;
      },
    };
  }

  test("when the process that started it is killed, and the next run takes its files away", async (context) => {
    if (!diesWithParent()) context.skip(`setpriv is missing; "apt-get install -y util-linux" lets this run`);
    const { kill, qemu } = await startChild();
    await kill("SIGKILL");
    expect(await gone(qemu, 10_000)).toBe(true);
    const ours = (): string[] => readdirSync(folder).filter((name) => name.startsWith("dumplab-"));
    expect(ours()).toHaveLength(1);
    removeLeftBehind([folder]);
    expect(ours()).toEqual([]);
  });

  test("when the process that started it exits without a word", async () => {
    const { kill, qemu } = await startChild();
    await kill("SIGUSR2");
    expect(await gone(qemu, 10_000)).toBe(true);
  });

  test("when it is told to, and leaves no file", async () => {
    const before = readdirSync(tmpdir());
    const qtest = await Qtest.start(["-machine", "pc,accel=tcg", "-m", "16"]);
    const { pid } = qtest;
    const mine = readdirSync(tmpdir()).filter(
      (name) => name.startsWith(`dumplab-qtest-${process.pid}-`) && !before.includes(name),
    );
    expect(mine).toHaveLength(1);
    await qtest.stop();
    expect([runs(pid), existsSync(join(tmpdir(), mine[0]!))]).toEqual([false, false]);
  });

  test("when it does not start: what it said is told, and no file is left", async () => {
    await expect(Qtest.start(["-machine", "no-such-machine"])).rejects.toThrow(
      /did not start: .*unsupported machine type/s,
    );
    expect(readdirSync(tmpdir()).filter((name) => name.startsWith(`dumplab-qtest-${process.pid}-`))).toEqual([]);
  });
});
