// netdump on a trial's machine: the module with its interface, and what the server on the trial's network got.
import type { Running } from "../../../emulator/cpu/cpu.ts";
import { ipBytes } from "../../../emulator/net/udp.ts";
import { FRAME_SIZE } from "../../../emulator/memory/pool.ts";
import type { TouchedRange } from "../../../diskdump/module/disk-dump.ts";
import { openCore } from "../../../diskdump/cores/open-core.ts";
import type { CoreSink } from "../../../diskdump/userspace/core-sink.ts";
import { UsageError } from "../../../diskdump/userspace/errors.ts";
import { pagesIn } from "../../../diskdump/format/bitmap.ts";
import { init_netdump } from "../../../diskdump/peers/netdump/module/init-netdump.ts";
import type { Netdump } from "../../../diskdump/peers/netdump/module/netdump.ts";
import { DEFAULT_NETDUMP } from "../../../diskdump/peers/netdump/module/parameters.ts";
import type { EndedDump } from "../../../diskdump/peers/netdump/server.ts";
import type { SessionOutcome } from "../../../diskdump/peers/netdump/session.ts";
import { loadRtl8139, rtl8139_init_module } from "../../../hba/rtl8139/driver.ts";
import { K, type Kernel } from "../../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../../kernel-sim/core/kfunc.ts";
import { inet_insert_ifa } from "../../../kernel-sim/net/netdevice.ts";
import { compareCore, type PageVerdict } from "../../trial/oracle.ts";
import type { RamSnapshot } from "../../trial/snapshot.ts";
import type { Blocked, DumperKind, DumperRun, DumpReport } from "../dumper.ts";
import type { Lab } from "../lab.ts";
import { CLIENT_IP, SERVER_IP, SERVER_MAC, type Network } from "../network.ts";

export const netdump: DumperKind = { start: (lab) => start_netdump(lab) };

/** The NIC's driver, and the address. */
export function* bring_up_nic({ scenario }: Lab): Running {
  loadRtl8139();
  const [device] = yield* rtl8139_init_module(scenario.network.driverIrqs);
  if (!device) throw new UsageError(`${scenario.dump.dumper}: the kernel has found no network interface`);
  inet_insert_ifa(K, device.s, [...ipBytes(CLIENT_IP)], 24);
}

/** `service netdump start`: the NIC's driver, the address, the module. */
export const start_netdump = kfunc("start_netdump_service", function* (lab: Lab): Generator<void, NetdumpRun, void> {
  const { network } = lab.hardware;
  if (!network) throw new UsageError("netdump: the machine is on no network");
  const { scenario } = lab;
  yield* bring_up_nic(lab);
  const nd = yield* init_netdump({
    ...DEFAULT_NETDUMP,
    ...{ localIp: CLIENT_IP, remoteIp: SERVER_IP, remoteMac: SERVER_MAC },
    ...{ magic: BigInt(scenario.netdump.magic), checksMagic: scenario.netdump.checksMagic },
    ...{ netconsole: scenario.netdump.netconsole, freeze: scenario.dump.freeze },
  });
  if (!nd) throw new UsageError("netdump: the module cannot be loaded");
  nd.record.onStage = (stage) => {
    lab.onDumpStage(`netdump ${stage}`);
    // The others are frozen. The disks are left alone, and what they have been told they go on doing.
    if (stage === "handshake") lab.onFreeze("anything");
  };
  return new NetdumpRun(lab, nd, network);
});

/** How the server saw a dump end that is not whole; without numbers. */
const ENDINGS: Readonly<Record<Exclude<SessionOutcome, "complete">, string>> = {
  silent: "the server heard nothing more of the client and gave it up",
  "not written": "the server could not write the core",
  "bad client": "the server did not understand the client",
};

/** The struct pages: the slab takes pages for the packets while the machine dumps. They lie above the flat window. */
function memMapOf({ pages }: Kernel): TouchedRange {
  const start = Math.floor(pages.memMap / FRAME_SIZE) * FRAME_SIZE;
  return { start, end: pages.reservedEnd, what: "mem_map and the free lists' bitmaps" };
}

export class NetdumpRun implements DumperRun {
  private readonly lab: Lab;
  private readonly nd: Netdump;
  private readonly network: Network;
  /** RAM that others write while this dump runs. */
  touchedByOthers: () => readonly TouchedRange[] = () => [];

  constructor(lab: Lab, nd: Netdump, network: Network) {
    this.lab = lab;
    this.nd = nd;
    this.network = network;
  }

  private get ended(): EndedDump | undefined {
    return this.network.host.server.ended[0];
  }

  report(): DumpReport {
    const { record } = this.nd;
    const { ended } = this;
    const common = {
      ...{ device: SERVER_IP, stage: record.stage, handedTo: undefined },
      pagesWritten: ended?.pagesSaved ?? record.pages,
      bytesWritten: record.bytes,
      ...(record.endedAtNs === undefined ? {} : { endedAtNs: record.endedAtNs }),
    };
    if (record.startedAtNs === undefined) return { ...common, result: "not started", reason: "" };
    if (record.refused !== undefined) return { ...common, result: "refused", reason: record.refused };
    if (ended?.outcome === "complete") return { ...common, result: "complete", reason: "" };
    if (ended) return { ...common, result: "incomplete", reason: ENDINGS[ended.outcome] };
    if (record.recursive) return { ...common, result: "incomplete", reason: "crashed again while it dumped" };
    if (record.endedBy !== undefined) {
      return {
        ...common,
        result: "incomplete",
        reason: `the client obeyed a ${record.endedBy} that the server did not send`,
      };
    }
    return { ...common, result: "running", reason: "" };
  }

  blockedOn(): Blocked | undefined {
    const { stage } = this.nd.record;
    const { alive, messages } = this.network.host;
    if (stage === "handshake") {
      const refusal = messages.find((line) => line.includes("not served"));
      const because = !alive
        ? `the server ${SERVER_IP} does not answer, and the client calls it for ever`
        : (refusal?.replace(/^[^:]*/, `the server ${SERVER_IP} says`) ?? "no acknowledgement has got through");
      return { on: "START_NETDUMP_ACK", because, function: "netdump_startup_handshake" };
    }
    if (stage !== "listening") return undefined;
    return { on: "a request of the server", because: "none comes any more", function: "netpoll_netdump" };
  }

  judge(snapshot: RamSnapshot): PageVerdict | string {
    const core = this.core();
    const { memory } = this.lab.hardware.machine;
    const saved = pagesIn(core.saved);
    const expected = pagesIn(this.nd.ram);
    if (saved !== expected) return `the core has ${saved} of ${expected} pages of RAM`;
    const flatFrames = memory.flatBytes / FRAME_SIZE;
    const within = (frame: number, ranges: readonly TouchedRange[]): boolean =>
      ranges.some(({ start, end }) => frame * FRAME_SIZE >= start && frame * FRAME_SIZE < end);
    const own = [memMapOf(this.lab.kernel)];
    const others = this.touchedByOthers();
    // What the dump changes is in the core as it was when its turn came.
    return compareCore(
      core,
      snapshot,
      (frame) => ((frame < flatFrames || within(frame, own)) && !snapshot.isUntouched(frame)) || within(frame, others),
    );
  }

  private coreFile(): NonNullable<ReturnType<Network["host"]["file"]>> {
    const { host } = this.network;
    const file = host.file("vmcore") ?? host.file("vmcore-incomplete");
    if (!file) throw new UsageError("the netdump server has received no dump");
    return file;
  }

  core(): ReturnType<DumperRun["core"]> {
    return openCore(this.coreFile());
  }

  writeCore(sink: CoreSink): void {
    this.coreFile().copyTo(sink);
  }
}
