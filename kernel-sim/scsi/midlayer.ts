// What the SCSI mid-layer has per kernel: hosts, devices, the per-CPU done queues, and the objects behind RAM addresses.
import { list_head } from "../abi/structs/base.ts";
import { class_struct } from "../abi/structs/devices.ts";
import { struct } from "../abi/types.ts";
import type { ViewOf } from "../abi/view.ts";
import { kernelString } from "../core/irq.ts";
import { K } from "../core/kernel.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import type { Scsi_Host, scsi_cmnd, scsi_device } from "./host.ts";

/** scsi_mod's variables. */
export const scsi_mod_data = struct("scsi_mod_data", { shost_class: class_struct });
export const SCSI_EXPORTS = [
  "scsi_add_host",
  "scsi_adjust_queue_depth",
  "scsi_allocate_request",
  "scsi_io_completion",
  "scsi_scan_host",
  "scsi_wait_req",
] as const;

export class ScsiMidlayer {
  readonly hosts: Scsi_Host[] = [];
  /** In the order of their discovery. */
  readonly devices: scsi_device[] = [];
  /** Commands by the address of their eh_entry: what RAM lists lead to. */
  readonly byEntry = new Map<number, scsi_cmnd>();
  /** Commands by address: what timers carry. */
  readonly byAddress = new Map<number, scsi_cmnd>();
  /** Devices by the address of their starved_entry. */
  readonly byStarvedEntry = new Map<number, scsi_device>();
  /** scsi_done_q of each CPU (list heads). */
  readonly doneQueues: readonly number[];
  /** Every host that was added hangs on its `children`. */
  readonly shostClass: ViewOf<typeof class_struct>;
  serialNumber = 0;
  pid = 0;

  constructor() {
    const size = K.sizeOf(list_head);
    this.shostClass = K.view(class_struct, K.symbol("shost_class"));
    this.shostClass.name = kernelString("scsi_host");
    INIT_LIST_HEAD(this.shostClass.children.addr);
    INIT_LIST_HEAD(this.shostClass.interfaces.addr);
    this.doneQueues = K.machine.cpus.map(() => {
      const head = K.bootmem(size);
      INIT_LIST_HEAD(head);
      return head;
    });
  }

  know(cmd: scsi_cmnd): void {
    this.byEntry.set(cmd.eh_entry, cmd);
    this.byAddress.set(cmd.addr, cmd);
  }
}
