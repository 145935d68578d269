// Hosts and the devices on them (drivers/scsi/hosts.c, scsi_scan.c of 2.6.9).
import { M } from "../abi/ram.ts";
import { struct_Scsi_Host, struct_scsi_cmnd, struct_scsi_device } from "../abi/structs/scsi.ts";
import { kernel_thread } from "../core/fork.ts";
import { pokeString } from "../core/c-string.ts";
import { K } from "../core/kernel.ts";
import { moduleFunctions } from "../core/kfunc.ts";
import { list_add_tail } from "../core/list.ts";
import { printk } from "../core/printk.ts";
import { down, up } from "../core/wait.ts";
import { scsi_error_handler } from "./error-handler.ts";
import {
  DMA_FROM_DEVICE,
  SDEV_RUNNING,
  Scsi_Host,
  scatterlistBytes,
  scsi_cmnd,
  scsi_device,
  type scsi_host_template,
} from "./host.ts";
import { scsi_allocate_request, scsi_wait_req } from "./internal-request.ts";
import { scsi_alloc_queue } from "./queue.ts";
import { DRIVER_SENSE, INQUIRY, UNIT_ATTENTION, driver_byte, host_byte } from "./status.ts";

const kfunc = moduleFunctions("scsi_mod");

const INQUIRY_TIMEOUT_MS = 6500;
const INQUIRY_BYTES = 96;
/** Commands beyond can_queue: for what the kernel itself sends while the queue is full. */
const SPARE_COMMANDS = 4;
const TYPE_NO_DEVICE = 0x1f;
const TYPE_NAMES = [
  "Direct-Access    ",
  "Sequential-Access",
  "Printer          ",
  "Processor        ",
  "WORM             ",
  "CD-ROM           ",
];

/** Makes a host; it does nothing before scsi_add_host. Context: process. */
export function scsi_host_alloc(hostt: scsi_host_template, limits: { maxId: number; maxLun: number }): Scsi_Host {
  const host = new Scsi_Host(hostt, K.scsi.hosts.length, K.bootmem(K.sizeOf(struct_Scsi_Host)), limits);
  K.scsi.hosts.push(host);
  return host;
}

/** Starts the host's error handler and fills its command pool. Context: process. Returns 0. */
export const scsi_add_host = kfunc("scsi_add_host", function* (shost: Scsi_Host) {
  const placeholder = new scsi_device(shost, 0, 0, 0, K.bootmem(K.sizeOf(struct_scsi_device)));
  const size = K.sizeOf(struct_scsi_cmnd);
  for (let i = 0; i < shost.hostt.can_queue + SPARE_COMMANDS; i++) {
    const cmd = new scsi_cmnd(placeholder, K.bootmem(size));
    cmd.sgTable = K.bootmem(shost.hostt.sg_tablesize * scatterlistBytes());
    K.scsi.know(cmd);
    list_add_tail(cmd.eh_entry, shost.free_list);
  }
  const cpuId = K.cpus[shost.host_no % K.cpus.length]!.id;
  const thread = yield* kernel_thread(`scsi_eh_${shost.host_no}`, () => scsi_error_handler(shost), cpuId);
  shost.ehandler = thread;
  shost.s.ehandler = thread.addr;
  const { shost_classdev } = shost.s;
  shost_classdev.class = K.scsi.shostClass.addr;
  shost_classdev.class_data = shost.addr;
  pokeString(shost_classdev.class_id, `host${shost.host_no}`, 20);
  list_add_tail(shost_classdev.node.addr, K.scsi.shostClass.children.addr);
  const info = shost.hostt.info?.(shost) ?? shost.hostt.name;
  yield* printk(`scsi${shost.host_no} : ${info}\n`, 6);
  return 0;
});

const text = (at: number, length: number): string => {
  let result = "";
  for (let i = 0; i < length; i++) result += String.fromCharCode(M.u8[at + i]!);
  return result;
};

/** INQUIRY to one id and lun. Returns: the device, or undefined when nobody is there. Context: process. */
const scsi_probe_and_add_lun = kfunc("scsi_probe_and_add_lun", function* (shost: Scsi_Host, id: number, lun: number) {
  const sdev = new scsi_device(shost, 0, id, lun, K.bootmem(K.sizeOf(struct_scsi_device)));
  const q = scsi_alloc_queue(sdev);
  const { hostt } = shost;
  let present = !hostt.slave_alloc || (yield* hostt.slave_alloc(sdev)) === 0;
  const inquiry = K.bootmem(256);
  if (present) {
    const { sreq, waiting } = scsi_allocate_request(sdev);
    const timeout = Math.ceil((INQUIRY_TIMEOUT_MS * K.hz) / 1000);
    let result = 1;
    for (let tries = 0; tries < 3 && result !== 0; tries++) {
      result = yield* scsi_wait_req(
        sreq,
        waiting,
        [INQUIRY, lun << 5, 0, 0, INQUIRY_BYTES, 0],
        inquiry,
        INQUIRY_BYTES,
        DMA_FROM_DEVICE,
        timeout,
        3,
      );
      const attention = (M.u8[sreq.s.sr_sense_buffer + 2]! & 0xf) === UNIT_ATTENTION;
      if (host_byte(result) !== 0 || (driver_byte(result) & DRIVER_SENSE) === 0 || !attention) break;
    }
    const type = M.u8[inquiry]! & 0x1f;
    const qualifier = M.u8[inquiry]! >> 5;
    present = result === 0 && type !== TYPE_NO_DEVICE && qualifier === 0;
  }
  if (!present) {
    if (hostt.slave_destroy) yield* hostt.slave_destroy(sdev);
    const at = K.block.queues.indexOf(q);
    if (at >= 0) K.block.queues.splice(at, 1);
    K.scsi.byStarvedEntry.delete(sdev.starved_entry);
    return undefined;
  }
  yield* scsi_add_lun(sdev, inquiry);
  return sdev;
});

const scsi_add_lun = kfunc("scsi_add_lun", function* (sdev: scsi_device, inquiry: number) {
  const { s, host } = sdev;
  s.type = M.u8[inquiry]! & 0x1f;
  s.removable = M.u8[inquiry + 1]! >> 7;
  const version = M.u8[inquiry + 2]! & 7;
  s.scsi_level = version >= 2 ? version + 1 : version;
  s.inquiry = inquiry;
  s.inquiry_len = Math.min(INQUIRY_BYTES, 5 + M.u8[inquiry + 4]!);
  s.vendor = inquiry + 8;
  s.model = inquiry + 16;
  s.rev = inquiry + 32;
  s.tagged_supported = (M.u8[inquiry + 7]! & 2) !== 0 ? 1 : 0;
  s.simple_tags = s.tagged_supported;
  sdev.vendor = text(inquiry + 8, 8);
  sdev.model = text(inquiry + 16, 16);
  sdev.rev = text(inquiry + 32, 4);
  yield* printk(`  Vendor: ${sdev.vendor}  Model: ${sdev.model}  Rev: ${sdev.rev}\n`, 5);
  const type = TYPE_NAMES[s.type] ?? "Unknown          ";
  yield* printk(`  Type:   ${type}                  ANSI SCSI revision: ${version.toString(16).padStart(2, "0")}\n`, 5);
  if (host.hostt.slave_configure) yield* host.hostt.slave_configure(sdev);
  s.sdev_state = SDEV_RUNNING;
  list_add_tail(sdev.siblings, host.__devices);
  host.devices.push(sdev);
  K.scsi.devices.push(sdev);
});

/** Looks at every id but the adapter's own, and at further luns where lun 0 answers. Context: process. */
export const scsi_scan_host = kfunc("scsi_scan_host", function* (shost: Scsi_Host) {
  yield* down(shost.scan_mutex);
  for (let id = 0; id < shost.maxId; id++) {
    if (id === shost.s.this_id) continue;
    for (let lun = 0; lun < shost.maxLun; lun++) {
      if ((yield* scsi_probe_and_add_lun(shost, id, lun)) === undefined) break;
    }
  }
  yield* up(shost.scan_mutex);
});
