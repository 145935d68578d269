// LKCD on a trial's machine: `lkcd config`, and what `lkcd save` finds after the reboot.
import { lkcdCore } from "../../../diskdump/cores/lkcd-core.ts";
import { lkcdOnPartition, saveLkcd } from "../../../diskdump/cores/lkcd-partition.ts";
import { blockedLkcd } from "../../../diskdump/peers/lkcd/blocked.ts";
import { init_lkcd } from "../../../diskdump/peers/lkcd/init-lkcd.ts";
import { dump_block_open } from "../../../diskdump/peers/lkcd/blockdev.ts";
import type { Lkcd } from "../../../diskdump/peers/lkcd/lkcd.ts";
import { HANDSHAKE_FAILURE, LONGEST_SILENCE_SECONDS } from "../../../diskdump/peers/lkcd/net/limits.ts";
import type { SoftBootRecord } from "../../../diskdump/peers/lkcd/mem/soft-boot.ts";
import type { LkcdOutcomeAtServer } from "../../../diskdump/peers/lkcd-server/session.ts";
import type { CoreSink } from "../../../diskdump/userspace/core-sink.ts";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import type { Running } from "../../../emulator/cpu/cpu.ts";
import type { ByteStore } from "../../../emulator/memory/store.ts";
import { lookup_bdev } from "../../../kernel-sim/block/gendisk.ts";
import { kfunc } from "../../../kernel-sim/core/kfunc.ts";
import { compareCore, type PageVerdict } from "../../trial/oracle.ts";
import type { RamSnapshot } from "../../trial/snapshot.ts";
import type { CrashFile } from "../crash-files.ts";
import type { Blocked, DumpReport, DumperKind, DumperRun } from "../dumper.ts";
import type { Lab } from "../lab.ts";
import { SERVER_IP } from "../network.ts";
import { PageWitness } from "./page-witness.ts";
import { watchProgress } from "./progress.ts";

/** What `lkcd config` opens. */
export type OpenDevice = Parameters<typeof init_lkcd>[0];

/** For each method but the disk: brings up what it needs. Returns: what opens its device. */
export type LkcdMethods = Readonly<Record<"network" | "memory", (lab: Lab) => Running<OpenDevice>>>;

/** @param modified "modified LKCD 4.1.1": it unlocks key resources first (diskdump/peers/lkcd/unlock.ts) */
export const lkcdKind = (modified: boolean, methods: LkcdMethods): DumperKind => ({
  start: (lab) => start_lkcd(lab, modified, methods),
});

const start_lkcd = kfunc("start_lkcd_service", function* (lab: Lab, modified: boolean, methods: LkcdMethods) {
  const { dump } = lab.scenario;
  const { method } = dump.lkcd;
  const open = method === undefined ? disk_of(lab) : yield* methods[method](lab);
  const { compress, level, version, ipiWaitNs, initSlaves } = dump.lkcd;
  const made = yield* init_lkcd(open, {
    ...{ compress, level, version, modified },
    ipiWaitMs: ipiWaitNs === null ? Infinity : ipiWaitNs / 1e6,
    slavesAnswer: initSlaves === "answer",
  });
  if (typeof made === "string") throw new UsageError(`dump.dumper: LKCD cannot be configured: ${made}`);
  return new LkcdRun(lab, made);
});

/** One device: DUMPDEV of /etc/sysconfig/dump. */
function disk_of(lab: Lab): OpenDevice {
  const device = lab.scenario.dump.devices[0]!;
  const bdev = lookup_bdev(device.replace("/dev/", ""));
  if (!bdev) throw new UsageError(`dump.devices: the kernel has found no ${device}`);
  return () => dump_block_open(bdev);
}

/** How the server saw a dump end that is not whole; without numbers. */
const ENDINGS: Readonly<Record<Exclude<LkcdOutcomeAtServer, "complete">, string>> = {
  "pages lost": "the client went on from a page before the server had it",
  "broken off": "the client gave up in the middle of a page",
  silent: "the server heard nothing more of the client and gave it up",
  "not written": "the server could not write the dump",
};

class LkcdRun implements DumperRun {
  private readonly lab: Lab;
  private readonly lkcd: Lkcd;
  private witness: PageWitness | undefined;
  /** Where the kernel stands that was booted over the dump. */
  private laterStage = "boot";

  constructor(lab: Lab, dump: Lkcd) {
    this.lab = lab;
    this.lkcd = dump;
    const { outcome } = dump;
    const { machine } = lab.hardware;
    outcome.onStage = (stage) => {
      lab.onDumpStage(stage);
      if (stage === "configure header") {
        // A dump to the network has limits of its own, and ends by itself.
        const limit = lab.hardware.network ? LONGEST_SILENCE_SECONDS : undefined;
        const later = (): number => dump.device.softBoot?.second?.outcome.writesEnded ?? 0;
        watchProgress(machine, () => outcome.writesEnded + later(), limit);
      }
      // Nothing is frozen that does not stand still by itself: other I/O goes on.
      if (stage === "header") lab.onFreeze("anything");
    };
    const { softBoot } = dump.device;
    if (softBoot) {
      softBoot.onStage = (stage) => {
        this.laterStage = stage;
        lab.onDumpStage(stage);
      };
    }
    outcome.onPage = (pfn) => {
      this.witness ??= new PageWitness(machine.memory);
      this.witness.see(pfn, dump.pageSize);
    };
  }

  report(): DumpReport {
    const { lab } = this;
    const { outcome, device } = this.lkcd;
    let { result, reason, endedAtNs } = outcome;
    const { secondCrash } = lab.kernel;
    if (result === "running" && secondCrash && lab.kernel.restarted !== undefined) {
      result = outcome.touched ? "incomplete" : "refused";
      endedAtNs = secondCrash.ns;
      reason = `a second crash in ${secondCrash.functionName}: ${secondCrash.reason}`;
    }
    const { softBoot } = device;
    if (softBoot?.kernel) ({ result, reason } = this.afterSoftBoot(softBoot));
    if (reason === HANDSHAKE_FAILURE) reason = this.whyNoHandshake();
    const atServer = lab.hardware.network?.host.lkcd.ended[0]?.outcome;
    if (result === "complete" && atServer !== undefined && atServer !== "complete") {
      result = "incomplete";
      reason = ENDINGS[atServer];
    }
    return {
      ...{ result, reason, stage: softBoot?.kernel ? this.laterStage : outcome.stage },
      pagesWritten: softBoot?.kernel ? softBoot.pagesWritten : outcome.pagesWritten,
      device: device.name,
      bytesWritten: (softBoot?.second?.outcome ?? outcome).bytesWritten,
      ...(endedAtNs === undefined ? {} : { endedAtNs }),
      handedTo: undefined,
    };
  }

  /** What the kernel that was booted over the dump made of it. */
  private afterSoftBoot({ kernel, result, reason }: SoftBootRecord): Pick<DumpReport, "result" | "reason"> {
    if (result !== "none") return { result, reason };
    if (!kernel?.crash) return { result: "running", reason: "" };
    return {
      result: "incomplete",
      reason: `the next kernel died in stage "${this.laterStage}": ${kernel.crash.reason}`,
    };
  }

  /** The client only knows that it was not asked. */
  private whyNoHandshake(): string {
    const { np } = this.lkcd.device.network!;
    const { host } = this.lab.hardware.network!;
    if (!host.alive) return `${HANDSHAKE_FAILURE}: the server ${SERVER_IP} does not answer`;
    const polled = np.dev?.npinfo?.poll_lock;
    if (polled?.isHeld)
      return `${HANDSHAKE_FAILURE}: ${polled.name} is held by a CPU that stopped in the interface's poll()`;
    return HANDSHAKE_FAILURE;
  }

  blockedOn(): Blocked | undefined {
    return blockedLkcd(this.lkcd);
  }

  /** What the server got. */
  private received(): CrashFile {
    const { host } = this.lab.hardware.network!;
    const file = host.file("dump") ?? host.file("dump-incomplete");
    if (!file) throw new UsageError("LKCD's server has received no dump");
    return file;
  }

  private store(): ByteStore {
    const { name } = this.lkcd.device;
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
    if (this.lab.hardware.network) return lkcdCore(this.received());
    const store = this.store();
    const dump = lkcdOnPartition(store);
    if (!dump) throw new UsageError(`${store.name}: holds no LKCD dump`);
    return lkcdCore(dump);
  }

  writeCore(sink: CoreSink): void {
    if (this.lab.hardware.network) {
      this.received().copyTo(sink);
      return;
    }
    saveLkcd(this.store(), sink);
  }
}
