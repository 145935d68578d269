// diskdump on a trial's machine: `service diskdump start`, and what savecore finds.
import { diskdumpOf, dumpOutcome, type DiskDump, type DumpTarget } from "../../../diskdump/module/disk-dump.ts";
import type { DumpOutcome } from "../../../diskdump/module/outcome.ts";
import { partitionCore } from "../../../diskdump/cores/partition-core.ts";
import { optionsFor, start } from "../../../diskdump/service/service.ts";
import { RootFiles, installFiles, type DiskdumpSystem } from "../../../diskdump/service/system.ts";
import { PageStoreSink } from "../../../diskdump/userspace/core-sink.ts";
import { writeCore } from "../../../diskdump/userspace/core-writer.ts";
import { hasDump, openDump, type DumpImage } from "../../../diskdump/userspace/dump-image.ts";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import { DATA_MODELS } from "../../../kernel-sim/abi/types.ts";
import { lookup_bdev } from "../../../kernel-sim/block/gendisk.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../../kernel-sim/core/kfunc.ts";
import { comparePages, type PageVerdict } from "../../trial/oracle.ts";
import type { RamSnapshot } from "../../trial/snapshot.ts";
import type { DumperKind, DumperRun, DumpReport } from "../dumper.ts";
import type { DumpPartitionPlace, Lab } from "../lab.ts";
import { start_netdump } from "./netdump.ts";

export const diskdump: DumperKind = { start: (lab) => start_dump(lab) };

/** `service diskdump start`, with /etc as the scenario has it. */
const start_dump = kfunc("start_diskdump_service", function* (lab: Lab): Generator<void, DumperRun, void> {
  const { dump } = lab.scenario;
  const root = new RootFiles();
  installFiles(root, dump.devices, [
    `options diskdump block_order=${dump.blockOrder} sample_rate=${dump.sampleRate}`,
    `options diskdump fallback_on_err=${Number(dump.fallbackOnErr)} allow_risky_dumps=${Number(dump.allowRiskyDumps)}`,
  ]);
  const system: DiskdumpSystem = {
    ...{ kernel: K, root, crashDirectory: "/var/crash" },
    partitions: lab.dumpPartitions.map((place) => ({
      path: place.device,
      target: dumpTargetOf(place),
      store: place.store(),
    })),
  };
  const { preserved } = lab.hardware;
  const options = {
    ...({ formula: dump.signature, procStyle: "paper", freeze: dump.freeze } as const),
    ...(preserved ? { preserved } : {}),
  };
  const failed = yield* start(system, optionsFor(system, options));
  for (const { device, errno } of failed) {
    throw new UsageError(`dump.devices: ${device} cannot be registered as a dump device (error ${errno})`);
  }
  const dd = diskdumpOf(K);
  if (dd) {
    dd.outcome.onStage = (stage) => {
      lab.onDumpStage(stage);
      // The CPUs are frozen and the adapter is quiet: a second device may follow when the first one fails half-way.
      const { device } = dd.outcome;
      if (stage === "header" && device !== undefined) lab.onFreeze({ device });
    };
  }
  if (dump.fallback === "none") return new DiskdumpRun(lab, undefined);
  const behind = yield* start_netdump(lab);
  behind.touchedByOthers = () => dd?.touchedRanges() ?? [];
  return new DiskdumpRun(lab, behind);
});

function dumpTargetOf(place: DumpPartitionPlace): DumpTarget {
  const name = place.device.replace("/dev/", "");
  const bdev = lookup_bdev(name);
  if (!bdev) throw new UsageError(`dump.devices: the kernel has found no ${place.device}`);
  return {
    name,
    device: (bdev.disk.privateData as { device: unknown }).device,
    ...{ start_sect: place.startSector, nr_sects: place.sectors, bdev: bdev.addr },
  };
}

class DiskdumpRun implements DumperRun {
  private readonly lab: Lab;
  private readonly dd: DiskDump | undefined;
  readonly fallback?: DumperRun;

  constructor(lab: Lab, fallback: DumperRun | undefined) {
    this.lab = lab;
    if (fallback) this.fallback = fallback;
    this.dd = diskdumpOf(lab.kernel);
  }

  report(): DumpReport {
    const dump = dumpOutcome(this.lab.kernel);
    const { result, device, stage, pagesWritten, blocksWritten, fallback, endedAtNs } = dump;
    return {
      ...{ result, device, stage, pagesWritten },
      // A block is a page of the platform.
      bytesWritten: blocksWritten * DATA_MODELS[this.lab.scenario.platform].pageSize,
      ...(endedAtNs === undefined ? {} : { endedAtNs }),
      reason: reasonText(dump),
      handedTo: fallback === "netdump" ? "netdump" : undefined,
    };
  }

  judge(snapshot: RamSnapshot): PageVerdict | string {
    const { lab, dd } = this;
    const { device } = dumpOutcome(lab.kernel);
    const partition = lab.dumpPartitions.find((p) => p.device === device);
    if (!dd || !partition) return `the dump says it went to ${device}, which is no dump device`;
    const store = partition.store();
    if (!hasDump(store)) return `${partition.device} holds no dump header`;
    const image = openDump(store);
    if (image.shortcomings.length > 0) return image.shortcomings.join("; ");
    // savecore, in memory: pages go from the disk to the core by reference.
    const sink = new PageStoreSink(lab.hardware.machine.memory.pool);
    const layout = writeCore(image, sink);
    const verdict = comparePages(sink.store, layout, snapshot, dd.touchedRanges(), dd.biasBytes);
    sink.store.clear();
    return verdict;
  }

  /** The dump on the partition that holds one. */
  private image(): DumpImage {
    const { dumpPartitions } = this.lab;
    const found = dumpPartitions.find((p) => hasDump(p.store())) ?? dumpPartitions[0];
    if (!found) throw new UsageError("the scenario has no dump device (dump.devices is empty)");
    return openDump(found.store());
  }

  core(): ReturnType<DumperRun["core"]> {
    return partitionCore(this.image());
  }

  writeCore(sink: Parameters<DumperRun["writeCore"]>[0]): void {
    writeCore(this.image(), sink);
  }
}

function reasonText(dump: DumpOutcome): string {
  const rejected = dump.rejected.map((r) => `${r.device}: ${r.reason}`).join("; ");
  const reason = dump.reason ?? "unknown";
  const text = rejected === "" ? reason : rejected;
  return dump.fallback ? `${text} (${dump.fallback})` : text;
}
