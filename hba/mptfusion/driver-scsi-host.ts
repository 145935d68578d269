// What mptscsih keeps per host: commands by frame number, targets, task management (mptscsih.h of 2.6.9).
import { M, pokePtr, storePtr } from "../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { init_timer, type Timer } from "../../kernel-sim/core/timer.ts";
import { WaitQueue } from "../../kernel-sim/core/wait.ts";
import type { Scsi_Host, scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { storeDirect, type MPT_ADAPTER } from "./driver-ioc.ts";
import { VirtDevice, struct_MPT_SCSI_HOST } from "./driver-structs.ts";

export const TM_STATE_NONE = 0;
export const TM_STATE_IN_PROGRESS = 1;
export const TM_STATE_ERROR = 2;

export class MPT_SCSI_HOST {
  readonly s: ViewOf<typeof struct_MPT_SCSI_HOST>;
  readonly addr: number;
  readonly ioc: MPT_ADAPTER;
  readonly host: Scsi_Host;
  /** The command behind each request frame; ScsiLookup in RAM holds the same as pointers. */
  readonly lookup: (scsi_cmnd | undefined)[];
  readonly ScsiLookup: number;
  private readonly pointerBytes: number;
  readonly targets: ViewOf<typeof VirtDevice>[] = [];
  readonly TMtimer: Timer;
  readonly TM_wait_q: WaitQueue;

  constructor(ioc: MPT_ADAPTER, host: Scsi_Host, addr: number, onTmTimeout: (hd: MPT_SCSI_HOST) => Running) {
    const s = K.view(struct_MPT_SCSI_HOST, addr);
    const at = (field: keyof typeof struct_MPT_SCSI_HOST.fields): number =>
      addr + K.offsetOf(struct_MPT_SCSI_HOST, field);
    this.s = s;
    this.addr = addr;
    this.ioc = ioc;
    this.host = host;
    this.pointerBytes = M.word8 ? 8 : 4;
    this.lookup = new Array<undefined>(ioc.req_depth).fill(undefined);
    this.ScsiLookup = K.bootmem(ioc.req_depth * this.pointerBytes);
    s.ioc = ioc.addr;
    s.ScsiLookup = this.ScsiLookup;
    const table = K.bootmem(host.maxId * this.pointerBytes);
    const size = K.sizeOf(VirtDevice);
    for (let id = 0; id < host.maxId; id++) {
      const target = K.view(VirtDevice, K.bootmem(size, 16));
      target.target_id = id;
      target.ioc_id = ioc.s.id;
      pokePtr(table + id * this.pointerBytes, target.addr);
      this.targets.push(target);
    }
    s.Targets = table;
    this.TMtimer = init_timer(at("TMtimer"), `${ioc.name}.TMtimer`, () => onTmTimeout(this));
    this.TM_wait_q = new WaitQueue(at("TM_wait_q"), `${ioc.name}.TM_wait_q`);
  }

  /** Notes whose frame `index` is; undefined: nobody's. */
  setLookup(index: number, cmd: scsi_cmnd | undefined): void {
    this.lookup[index] = cmd;
    const at = this.ScsiLookup + index * this.pointerBytes;
    if (cmd === undefined) storePtr(at, 0);
    else storeDirect(at, cmd.addr);
  }
}
