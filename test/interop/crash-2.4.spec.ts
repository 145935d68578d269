// Goal: crash(8) opens the dump of a 2.4 machine, and finds in it what 2.4 alone has. Method: an INIT at an instant at which a bottom
// half runs; what crash says is compared with the kernel's own state, which is still there in this process.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { K } from "../../kernel-sim/core/kernel.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import { backtraces, crash, functionsOf } from "./crash-session.ts";
import { need } from "./programs.ts";

const folder = mkdtempSync(join(tmpdir(), "crash-2.4-"));
afterAll(() => rmSync(folder, { recursive: true }));

test("crash lists a 2.4 machine's tasks, and shows that global_bh_lock is held, by whom, in which bottom half", (context) => {
  need(context, "crash");
  const at = 'crash.at={"lock":{"name":"global_bh_lock","count":30}}';
  const result = runTrial(loadScenario("learn", ["kernel=2.4.21", "linux24.hostLock=own", at]), 1, {});
  expect(result.record.outcome).toBe("complete");
  const [vmlinux, vmcore] = [join(folder, "vmlinux"), join(folder, "vmcore")];
  result.writeVmlinux(vmlinux);
  result.writeVmcore(vmcore);
  const tasks = [...K.tasks.values()].map(({ pid, comm }) => ({ pid, comm }));
  const session = crash(vmlinux, vmcore, [
    "ps",
    "bt -a",
    "struct spinlock_t global_bh_lock",
    "struct spinlock_t io_request_lock",
    "sym bh_action",
  ]);
  // By its release crash takes the kernel for one with 2.4's page flags, which this one has not (docs/kernel-flavours.md).
  expect(session.greeting).toBe("crash: cannot determine PG_slab bit value");
  const [ps, bt, held, free, symbol] = session.answers;
  const listed = ps!
    .split("\n")
    .slice(1)
    .map((line) => {
      const [, pid, comm] = /^[> ] +(\d+) .* \[?([^\s\]]+)\]?$/.exec(line)!;
      return { pid: Number(pid), comm };
    });
  expect(listed.filter(({ pid }) => pid > 0)).toEqual(tasks.filter(({ pid }) => pid > 0));
  expect(listed.map(({ comm }) => comm)).toContain("ksoftirqd_CPU1");
  expect(held).toContain("lock = 0");
  expect(free).toContain("lock = 1");
  expect(symbol).toMatch(/^[0-9a-f]+ \(T\) bh_action/);
  const holder = K.locks.get("global_bh_lock")!.owner!.id;
  const names = functionsOf(backtraces(bt!).get(holder)!.text);
  expect(names).toEqual(expect.arrayContaining(["bh_action", "tasklet_hi_action", "do_softirq"]));
});
