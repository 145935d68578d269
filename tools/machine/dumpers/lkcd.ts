// LKCD on a trial's machine: `lkcd config`, and what `lkcd save` finds after the reboot.
import { lkcdCore } from "../../../diskdump/cores/lkcd-core.ts";
import { lkcdOnPartition, saveLkcd } from "../../../diskdump/cores/lkcd-partition.ts";
import { blockedLkcd } from "../../../diskdump/peers/lkcd/blocked.ts";
import { init_lkcd } from "../../../diskdump/peers/lkcd/init-lkcd.ts";
import type { Lkcd } from "../../../diskdump/peers/lkcd/lkcd.ts";
import type { CoreSink } from "../../../diskdump/userspace/core-sink.ts";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import type { ByteStore } from "../../../emulator/memory/store.ts";
import { lookup_bdev } from "../../../kernel-sim/block/gendisk.ts";
import { kfunc } from "../../../kernel-sim/core/kfunc.ts";
import { compareCore, type PageVerdict } from "../../trial/oracle.ts";
import type { RamSnapshot } from "../../trial/snapshot.ts";
import type { Blocked, DumpReport, DumperKind, DumperRun } from "../dumper.ts";
import type { Lab } from "../lab.ts";
import { PageWitness } from "./page-witness.ts";
import { watchProgress } from "./progress.ts";

const kind = (modified: boolean): DumperKind => ({ start: (lab) => start_lkcd(lab, modified) });
export const lkcd = kind(false);
/** "modified LKCD 4.1.1": it unlocks key resources first (diskdump/peers/lkcd/unlock.ts). */
export const lkcdModified = kind(true);

const start_lkcd = kfunc("start_lkcd_service", function* (lab: Lab, modified: boolean) {
  const { dump } = lab.scenario;
  const { compress, level, version, ipiWaitNs, initSlaves } = dump.lkcd;
  // One device: DUMPDEV of /etc/sysconfig/dump.
  const device = dump.devices[0]!;
  const bdev = lookup_bdev(device.replace("/dev/", ""));
  if (!bdev) throw new UsageError(`dump.devices: the kernel has found no ${device}`);
  const made = yield* init_lkcd(bdev, {
    ...{ compress, level, version, modified },
    ipiWaitMs: ipiWaitNs === null ? Infinity : ipiWaitNs / 1e6,
    slavesAnswer: initSlaves === "answer",
  });
  if (typeof made === "string") throw new UsageError(`dump.dumper: LKCD cannot be configured: ${made}`);
  return new LkcdRun(lab, made);
});

class LkcdRun implements DumperRun {
  private readonly lab: Lab;
  private readonly lkcd: Lkcd;
  private witness: PageWitness | undefined;

  constructor(lab: Lab, dump: Lkcd) {
    this.lab = lab;
    this.lkcd = dump;
    const { outcome } = dump;
    const { machine } = lab.hardware;
    outcome.onStage = (stage) => {
      lab.onDumpStage(stage);
      if (stage === "configure header") watchProgress(machine, () => outcome.writesEnded);
      // Nothing is frozen that does not stand still by itself: other I/O goes on.
      if (stage === "header") lab.onFreeze("anything");
    };
    outcome.onPage = (pfn) => {
      this.witness ??= new PageWitness(machine.memory);
      this.witness.see(pfn, dump.pageSize);
    };
  }

  report(): DumpReport {
    const { lab } = this;
    const { outcome, bdev } = this.lkcd;
    let { result, reason, endedAtNs } = outcome;
    const { secondCrash } = lab.kernel;
    if (result === "running" && secondCrash && lab.kernel.restarted !== undefined) {
      result = outcome.touched ? "incomplete" : "refused";
      endedAtNs = secondCrash.ns;
      reason = `a second crash in ${secondCrash.functionName}: ${secondCrash.reason}`;
    }
    return {
      ...{ result, reason, stage: outcome.stage, pagesWritten: outcome.pagesWritten },
      bytesWritten: outcome.bytesWritten,
      ...(endedAtNs === undefined ? {} : { endedAtNs }),
      device: `/dev/${bdev.name}`,
      handedTo: undefined,
    };
  }

  blockedOn(): Blocked | undefined {
    return blockedLkcd(this.lkcd);
  }

  private store(): ByteStore {
    const name = `/dev/${this.lkcd.bdev.name}`;
    return this.lab.dumpPartitions.find(({ device }) => device === name)!.store();
  }

  judge(snapshot: RamSnapshot): PageVerdict | string {
    const core = this.core();
    if (core.shortcomings.length > 0) return core.shortcomings.join("; ");
    const { witness } = this;
    const verdict = compareCore(core, snapshot, (frame) => witness?.changed(frame, snapshot) ?? false);
    return witness?.contradiction(core, snapshot) ?? verdict;
  }

  core(): ReturnType<DumperRun["core"]> {
    const store = this.store();
    const dump = lkcdOnPartition(store);
    if (!dump) throw new UsageError(`${store.name}: holds no LKCD dump`);
    return lkcdCore(dump);
  }

  writeCore(sink: CoreSink): void {
    saveLkcd(this.store(), sink);
  }
}
