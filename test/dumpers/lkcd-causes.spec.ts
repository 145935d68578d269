// Goal: an LKCD dump fails for what the machine was stopped in, and the trial says for what. Method: INIT reaches the CPUs in the middle
// of a certain piece of work; the cause that is named must be that piece of work, and the modified LKCD must get past those that
// unlocking helps with, and no others.
import { describe, expect, test } from "vitest";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrial } from "../../tools/trial/run.ts";
import type { Dumper } from "../../tools/scenario/scenario.ts";

/** A small machine under load: two disks, the dump on the second one. */
const LOADED = ["cpus=4", "load.perDisk=12", "load.thinkTime=2us", "memory.size=32MiB"];
/** The same with one disk, so that the load works on the dump's queue. */
const ONE_DISK = [
  ...LOADED,
  "dump.devices=[/dev/sda1]",
  "adapters.0.disks=[{size: 1GiB, partitions: [{startSector: 64, sectors: 160000}, {startSector: 160064, sectors: 1800000}]}]",
];

/** Outcome and cause as one line: "complete", or "hang: the dumping CPU waits for ...". */
function trial(dumper: Dumper, sets: readonly string[], seed = 1): string {
  const { outcome, cause } = runTrial(loadScenario("learn", [...sets], dumper), seed, {}).record;
  return cause === null ? outcome : `${outcome}: ${cause}`;
}

const atLock = (name: string, count: number): string => `crash.at={lock: {name: "${name}", count: ${count}}}`;
const atFunction = (name: string, count: number): string => `crash.at={function: {name: ${name}, count: ${count}}}`;

interface Capsule {
  readonly title: string;
  readonly sets: readonly string[];
  /** Where the n-th time of a function or lock may or may not concern the dump: the ways to say when; the first that does counts. */
  readonly oneOf?: readonly string[];
  readonly stock: RegExp;
  /** What the modified LKCD makes of it. */
  readonly modified: RegExp;
}

/** tasklet_hi_action runs for TIMER_BH, too, and queue_task for either disk. */
const SOME_COUNTS = [20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31, 32, 33, 34, 35, 36, 37, 38, 39];

const SAME = "the dump waits for completion of the dump's write: ";

const ON_2_6: readonly Capsule[] = [
  {
    title: "a queue's lock that its holder does not give back",
    sets: [...LOADED, atLock("sdev 0:0:1:0.sdev_lock", 60)],
    stock:
      /^hang: the dumping CPU waits for sdev 0:0:1:0\.sdev_lock, taken in \w+ \(by a context that an NMI or INIT abandoned\)$/,
    modified: /^complete$/,
  },
  {
    title: "the host's lock",
    sets: [...LOADED, atLock("host_lock", 100)],
    stock: /^hang: the dumping CPU waits for scsi0\.host_lock, taken in scsi_run_queue /,
    modified: /^complete$/,
  },
  {
    title: "a timer wheel",
    sets: [...LOADED, atLock("tvec_bases.0.lock", 40)],
    stock: /^hang: the dumping CPU waits for tvec_bases\.lock, taken in run_timer_softirq /,
    modified: /^complete$/,
  },
  {
    title: "a driver's own lock, of which LKCD knows nothing",
    sets: [...LOADED, atLock("FreeQlock", 50)],
    stock: /^hang: the dumping CPU waits for ioc0\.FreeQlock, taken in mpt_free_msg_frame /,
    modified: /^hang: the dumping CPU waits for ioc0\.FreeQlock, taken in mpt_free_msg_frame /,
  },
  {
    title: "the queue of who waits for a page: opened or not, the wake-up stops there",
    sets: [...LOADED, atLock("runqueue_lock.0", 100)],
    stock: /^hang: the dumping CPU waits for runqueue_lock, taken in try_to_wake_up /,
    modified: /^hang: the dumping CPU waits for zone\[HighMem\]\.wait_table\[\]\.lock, taken in __wake_up /,
  },
  {
    title: "the adapter's line, in whose handler INIT struck",
    sets: [...LOADED, atFunction("mpt_interrupt", 20)],
    stock: new RegExp(
      `^hang: ${SAME}the adapter's line is IRQ_INPROGRESS: its handler was abandoned in mpt_interrupt$`,
    ),
    modified: /IRQ_INPROGRESS: its handler was abandoned in mpt_interrupt$/,
  },
  {
    title: "a host in error recovery, whose thread schedule() does not let run",
    sets: [
      ...["cpus=4", "load.processes=2", "load.thinkTime=40ms", "memory.size=32MiB"],
      "adapters.0.disks.0.faults=[{kind: lostCompletion, count: 1, from: 4600ms}]",
      atFunction("scsi_unjam_host", 1),
    ],
    stock: new RegExp(`^hang: ${SAME}the host is in error recovery, and its thread is never scheduled$`),
    modified: /^hang: .*error recovery/,
  },
  {
    title: "CPUs in INIT's slave loop that nobody has taught to answer",
    sets: [...LOADED, "dump.lkcd.initSlaves=silent"],
    stock:
      /^hang: the dump waits for the answer of the other CPUs: one stands in INIT's slave loop, which nothing ends$/,
    modified: /^hang: the dump waits for the answer of the other CPUs/,
  },
  {
    title: "an interrupt that a CPU had been given before it stopped, after two seconds of waiting for its answer",
    sets: [...LOADED, "dump.lkcd.initSlaves=silent", "dump.lkcd.ipiWait=2000ms"],
    stock: new RegExp(`^hang: ${SAME}the adapter's interrupt had gone to a CPU that stopped before it took it$`),
    modified: /the adapter's interrupt had gone to a CPU that stopped/,
  },
];

const ON_2_4: readonly Capsule[] = [
  {
    title: "io_request_lock",
    sets: [...LOADED, atLock("io_request_lock", 300)],
    stock: /^hang: the dumping CPU waits for io_request_lock, taken in __make_request /,
    modified: /^complete$/,
  },
  {
    title: "SCSI_BH: global_bh_lock first, and the tasklet that says RUN once that is open",
    sets: [...LOADED, atFunction("scsi_bottom_half_handler", 20)],
    stock: new RegExp(
      `^hang: ${SAME}global_bh_lock is held by a bottom half that was abandoned in scsi_bottom_half_handler$`,
    ),
    modified: new RegExp(`^hang: ${SAME}SCSI_BH's tasklet is marked RUN, and its CPU was stopped in it$`),
  },
  {
    title: "the bottom half in which the kernel crashed: it cannot end",
    sets: ["cpus=4", "memory.size=32MiB", "crash.trigger=oops", "crash.context=softirq"],
    stock: new RegExp(`^hang: ${SAME}global_bh_lock is held by the bottom half that crashed$`),
    modified: /^complete$/,
  },
  {
    title: "SCSI_BH on its way from the list to its tasklet",
    sets: LOADED,
    oneOf: SOME_COUNTS.map((count) => atFunction("tasklet_hi_action", count)),
    stock: /SCSI_BH's tasklet is marked SCHED, and is on no list: tasklet_hi_action was stopped with it$/,
    modified: /SCSI_BH's tasklet is marked SCHED/,
  },
  {
    title: "the plug of the dump's queue, queued by its own word and on no list",
    sets: LOADED,
    oneOf: SOME_COUNTS.map((count) => atLock("tqueue_lock", count)),
    stock: /^hang: the dumping CPU waits for io_request_lock, taken in __make_request /,
    modified: new RegExp(
      `^hang: ${SAME}its queue is plugged, and the plug was lost on its way to tq_disk or from there$`,
    ),
  },
  {
    title: "scsi_malloc's lock",
    sets: [...LOADED, atLock("allocator_request_lock", 40)],
    stock: /^hang: the dumping CPU waits for allocator_request_lock, taken in scsi_malloc /,
    modified: /^complete$/,
  },
];

describe.each([
  { kernel: "2.6.9", capsules: ON_2_6 },
  { kernel: "2.4.21", capsules: ON_2_4 },
] as const)("on $kernel a dump hangs on", ({ kernel, capsules }) => {
  for (const { title, sets, oneOf, stock, modified } of capsules) {
    const all = kernel === "2.6.9" ? sets : ["kernel=2.4.21", ...sets];
    test(
      title,
      () => {
        const ways = oneOf ? oneOf.map((way) => [...all, way]) : [all];
        const outcomes: string[][] = [];
        for (const way of ways) {
          const first = trial("lkcd", way);
          const hit = stock.test(first) || !oneOf;
          outcomes.push([first, hit ? trial("lkcd-modified", way) : ""]);
          if (hit && modified.test(outcomes.at(-1)![1]!)) break;
        }
        expect(outcomes.at(-1)![0]).toMatch(stock);
        expect(outcomes.at(-1)![1]).toMatch(modified);
      },
      60_000,
    );
  }
});

describe("what a forced lock guards stays as its holder left it", () => {
  /** INIT reaches another CPU first, and this one in the steps of its list updates in __elv_add_request. */
  function stepsOf(count: number): string[] {
    const crashAt = (...sets: string[]): { cpu: number; ns: number } => {
      const { crash } = runTrial(loadScenario("learn", [...ONE_DISK, ...sets], "lkcd"), 1, {}).record;
      return { cpu: crash!.cpu, ns: crash!.virtualNs };
    };
    const start = crashAt("crash.at={time: 0ns}", "crash.cpu=0");
    const there = crashAt(atFunction("__elv_add_request", 30));
    return Array.from({ length: count }, (_, i) =>
      trial("lkcd-modified", [
        ...ONE_DISK,
        `crash.at={time: ${there.ns - start.ns + 2 * i}ns}`,
        `crash.cpu=${(there.cpu + 1) % 4}`,
      ]),
    );
  }

  test("which list update INIT met decides: some steps do no harm, others lose the request or send the walk in a circle", () => {
    const outcomes = stepsOf(12);
    expect(outcomes).toContain("complete");
    expect(
      outcomes.filter((text) =>
        /the end of the sorted list of a request queue: .* the walk goes in a circle$/.test(text),
      ).length,
    ).toBeGreaterThan(0);
    expect(
      outcomes.filter((text) => /its queue's lists do not lead to it: they were left half linked$/.test(text)).length,
    ).toBeGreaterThan(0);
  }, 120_000);
});
