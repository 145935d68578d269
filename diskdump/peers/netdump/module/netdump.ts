// The netdump module's state on one kernel: its variables in RAM, and the objects that belong to them.
import { ipBytes } from "../../../../emulator/net/udp.ts";
import type { ViewOf } from "../../../../kernel-sim/abi/view.ts";
import type { Kernel } from "../../../../kernel-sim/core/kernel.ts";
import { INIT_LIST_HEAD } from "../../../../kernel-sim/core/list.ts";
import type { LoadedModule } from "../../../../kernel-sim/core/module.ts";
import { Spinlock } from "../../../../kernel-sim/core/spinlock.ts";
import { Netpoll, ipNumber, type NetpollOptions } from "../../../../kernel-sim/net/netpoll.ts";
import type { PageRange } from "../../../format/bitmap.ts";
import { maxPfn, ramPageRanges } from "../../../module/ram-map.ts";
import { NETDUMP_VERSION } from "../protocol.ts";
import type { NetdumpOptions } from "./parameters.ts";
import { netdump_bss, type netdump_req } from "./structs.ts";

/** A fresh stack for the dump, as large as a task's. */
const NETDUMP_STACK_BYTES = 8192;

/** Where a netdump stands. */
export type NetdumpStage = "idle" | "freeze" | "handshake" | "log" | "listening" | "rebooting" | "ended";

export interface NetdumpRequestView {
  readonly s: ViewOf<typeof netdump_req>;
  readonly addr: number;
}

/** What became of it, for those who look on; kernel code does not read it. */
export class NetdumpRecord {
  private current: NetdumpStage = "idle";
  onStage: ((stage: NetdumpStage) => void) | undefined;
  startedAtNs: number | undefined;
  frozenCpus: number[] = [];
  /** START_NETDUMPs sent, requests answered, pages sent (each time), requests with a wrong magic that were dropped. */
  starts = 0;
  requests = 0;
  pages = 0;
  /** Bytes of datagrams, with their thirteen bytes of header and without UDP's and below. */
  bytes = 0;
  /** Virtual time at which it ended, well or badly. */
  endedAtNs: number | undefined;
  refusedRequests = 0;
  /** Why there can be no dump. */
  refused: string | undefined;
  recursive = false;
  /** What ended it: the server's command. */
  endedBy: "REBOOT" | "EXIT" | undefined;

  get stage(): NetdumpStage {
    return this.current;
  }
  set stage(stage: NetdumpStage) {
    this.current = stage;
    this.onStage?.(stage);
  }
}

export class Netdump {
  readonly kernel: Kernel;
  readonly options: NetdumpOptions;
  readonly module: LoadedModule;
  readonly bss: ViewOf<typeof netdump_bss>;
  readonly np: Netpoll;
  readonly requestsHead: number;
  readonly requests: NetdumpRequestView[] = [];
  readonly reqLock: Spinlock;
  readonly pageSize: number;
  readonly ram: readonly PageRange[];
  readonly maxPfn: number;
  readonly stackTop: number;
  readonly record = new NetdumpRecord();
  /** print_status(): the second of its last line, and which of the four strokes comes next. */
  statusSecond = 0;
  statusCount = 0;

  constructor(kernel: Kernel, module: LoadedModule, options: NetdumpOptions, rx_hook: NetpollOptions["rx_hook"]) {
    this.kernel = kernel;
    this.module = module;
    this.options = options;
    const bss = (this.bss = kernel.view(netdump_bss, module.bssAt));
    this.requestsHead = module.bssAt + kernel.offsetOf(netdump_bss, "request_list");
    INIT_LIST_HEAD(this.requestsHead);
    this.reqLock = new Spinlock(bss.req_lock.addr, "req_lock");
    bss.effective_version = NETDUMP_VERSION;
    this.pageSize = kernel.map.model.pageSize;
    this.ram = ramPageRanges(kernel.machine.memory.map, this.pageSize);
    this.maxPfn = maxPfn(this.ram);
    this.stackTop = kernel.bootmem(NETDUMP_STACK_BYTES, NETDUMP_STACK_BYTES) + NETDUMP_STACK_BYTES - 64;
    bss.netdump_stack = this.stackTop;
    this.np = new Netpoll({
      ...{ name: "netdump", devName: options.device, rx_hook },
      ...{ localIp: ipNumber(ipBytes(options.localIp)), remoteIp: ipNumber(ipBytes(options.remoteIp)) },
      ...{ localPort: options.localPort, remotePort: options.remotePort, remoteMac: options.remoteMac },
    });
  }

  /** netdump_mode: requests are heard, printk is not sent. */
  set mode(on: boolean) {
    this.bss.netdump_mode = on ? 1 : 0;
    this.kernel.netdumpMode = on;
  }
  get mode(): boolean {
    return this.kernel.netdumpMode;
  }
}

const loaded = new WeakMap<Kernel, Netdump>();

/** The module's state on a kernel; undefined when it is not loaded there. */
export const netdumpOf = (kernel: Kernel): Netdump | undefined => loaded.get(kernel);
export const setNetdump = (kernel: Kernel, netdump: Netdump): void => void loaded.set(kernel, netdump);
