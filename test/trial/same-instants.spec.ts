// Goal: the same seed is the same instant, whichever dumper is there. Method: one machine with diskdump, one with a dumper whose
// service takes its time, memory and a process; the load must not notice.
import { describe, expect, test } from "vitest";
import { K } from "../../kernel-sim/core/kernel.ts";
import { do_fork } from "../../kernel-sim/core/fork.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { schedule, set_current_state } from "../../kernel-sim/core/sched.ts";
import { GFP_HIGHUSER, GFP_KERNEL, alloc_page } from "../../kernel-sim/mm/page-alloc.ts";
import { kmalloc } from "../../kernel-sim/mm/slab.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { dumpedBy, withFakeDumper } from "../../tools/testing/fake-dumper.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { sleepExactly } from "../../tools/trial/trigger.ts";

const sleeper = kfunc("peer_thread", function* () {
  set_current_state(2);
  yield* schedule();
});

/** A service that is in everybody's way. */
const service = kfunc("peer_service", function* () {
  for (const bytes of [32, 100, 500, 2000, 5000]) for (let i = 0; i < 7; i++) yield* kmalloc(bytes, GFP_KERNEL);
  for (let i = 0; i < 33; i++) yield* alloc_page(GFP_KERNEL);
  for (let i = 0; i < 101; i++) yield* alloc_page(GFP_HIGHUSER);
  yield* do_fork("peer", () => sleeper(), K.machine.cpus.length - 1);
  yield* sleepExactly(123_456_789);
});

const instantOf = ({ crash, load }: TrialRecord) => ({
  cpu: crash!.cpu,
  function: crash!.function,
  ns: crash!.virtualNs,
  calls: load!.calls,
  bytes: Math.round((load!.bytesPerS * load!.ns) / 1e9 / 512),
});

function instants(overrides: readonly string[], seeds: readonly number[]) {
  const scenario = loadScenario("learn", overrides);
  const ours = seeds.map((seed) => runTrial(scenario, seed, {}).record);
  // lkcd's name: the machine is the same for it, while kdump's keeps memory for its second kernel.
  const theirs = withFakeDumper("lkcd", { service }, () =>
    seeds.map((seed) => runTrial(dumpedBy(scenario, "lkcd"), seed, {}).record),
  );
  return { ours: ours.map(instantOf), theirs: theirs.map(instantOf) };
}

describe("with load.start, another dumper's service moves nothing", () => {
  test("random moments: the same CPU, function and nanosecond, after the same calls and bytes", () => {
    const { ours, theirs } = instants(["load.start=10s"], [1, 2, 3, 4, 5, 6]);
    expect(theirs).toEqual(ours);
    expect(ours[0]!.ns).toBeGreaterThan(10e9);
  });

  test("moments in the driver's own code: the same, but for what other free memory costs the allocators", () => {
    const at = ["crash.at.function.name=mptscsih_qcmd", "crash.at.function.count=40"];
    const { ours, theirs } = instants(["load.start=10s", ...at], [1, 2, 3]);
    expect(theirs.map((one, i) => ({ ...one, ns: ours[i]!.ns }))).toEqual(ours);
    for (const [i, { ns }] of theirs.entries()) expect(Math.abs(ns - ours[i]!.ns)).toBeLessThan(1000);
    expect(ours[0]!.function).toBe("mptscsih_qcmd");
  });
});

test("without load.start the service decides when the load begins, and with it where the disks' arms are", () => {
  const { ours, theirs } = instants([], [1, 2, 3]);
  expect(theirs.map(({ ns }) => ns)).not.toEqual(ours.map(({ ns }) => ns));
  expect(theirs.map(({ bytes }) => bytes)).not.toEqual(ours.map(({ bytes }) => bytes));
});

test("a service that is not up at load.start is waited for", () => {
  const { ours, theirs } = instants(["load.start=1ms"], [1]);
  expect(theirs[0]!.ns - ours[0]!.ns).toBeGreaterThan(120e6);
});
