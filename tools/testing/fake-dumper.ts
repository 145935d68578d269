// Dumpers that do what a test wants, on the real machine: for tests of what a trial sees of any dumper.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import type { Blocked, DumperKind, DumperRun, DumpReport } from "../machine/dumper.ts";
import { DUMPER_KINDS } from "../machine/dumpers.ts";
import type { Lab } from "../machine/lab.ts";
import type { Dumper, Scenario } from "../scenario/scenario.ts";

export interface FakeDumper {
  /** What its service does before the load. */
  readonly service?: () => Running<unknown>;
  /** What it does when the kernel has died; until it returns, the dump runs. */
  readonly dump?: (lab: Lab) => Running<unknown>;
  readonly blockedOn?: () => Blocked;
  readonly report?: (lab: Lab) => Partial<DumpReport>;
}

const nothing = (): never => {
  throw new UsageError("a fake dumper saves nothing");
};

const start_fake = kfunc("start_fake_dumper", function* (lab: Lab, fake: FakeDumper): Generator<void, DumperRun, void> {
  let result: DumpReport["result"] = "not started";
  K.crashdump.diskdump = kfunc("fake_dump", function* () {
    result = "running";
    if (fake.dump) yield* fake.dump(lab);
    result = "refused";
    return 0;
  });
  if (fake.service) yield* fake.service();
  const report = (): DumpReport => ({
    ...{ result, reason: "it is a fake", device: undefined, stage: "fake", pagesWritten: 0, handedTo: undefined },
    ...fake.report?.(lab),
  });
  const blockedOn = fake.blockedOn ? { blockedOn: fake.blockedOn } : {};
  return { report, judge: nothing, core: nothing, writeCore: nothing, ...blockedOn };
});

/** Runs `body` with the fake in the place of a dumper of that name. */
export function withFakeDumper<T>(name: Dumper, fake: FakeDumper, body: () => T): T {
  const kinds = DUMPER_KINDS as Partial<Record<Dumper, DumperKind>>;
  const before = kinds[name];
  kinds[name] = { start: (lab) => start_fake(lab, fake) };
  try {
    return body();
  } finally {
    if (before) kinds[name] = before;
    else delete kinds[name];
  }
}

/** The scenario with that dumper, whether or not this version has it. */
export const dumpedBy = (scenario: Scenario, dumper: Dumper): Scenario => ({
  ...scenario,
  dump: { ...scenario.dump, dumper },
});
