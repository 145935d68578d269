// The SCSI mid-layer's objects: host template (what a driver supplies), host, device, command.
//
// The state is in RAM structs (`s` is the view on each); the classes here hold the views, the locks and the callbacks.
// Hooks that may give way return Running and are called with `yield*`; hooks that cannot are plain functions.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M, poke32, pokePtr } from "../abi/ram.ts";
import {
  struct_Scsi_Host,
  struct_scatterlist,
  struct_scsi_cmnd,
  struct_scsi_device,
  struct_scsi_request,
} from "../abi/structs/scsi.ts";
import type { ViewOf } from "../abi/view.ts";
import type { RequestQueue } from "../block/queue.ts";
import type { Request } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { INIT_LIST_HEAD } from "../core/list.ts";
import { Spinlock } from "../core/spinlock.ts";
import type { Task } from "../core/task.ts";
import { init_timer, type Timer } from "../core/timer.ts";
import { Semaphore, WaitQueue } from "../core/wait.ts";

/** What queuecommand returns when it cannot take the command now. */
export const SCSI_MLQUEUE_HOST_BUSY = 0x1055;
export const SCSI_MLQUEUE_DEVICE_BUSY = 0x1056;
export const SCSI_MLQUEUE_EH_RETRY = 0x1057;
/** What error handlers return. */
export const SUCCESS = 0x2002;
export const FAILED = 0x2003;

/** enum dma_data_direction */
export const DMA_BIDIRECTIONAL = 0;
export const DMA_TO_DEVICE = 1;
export const DMA_FROM_DEVICE = 2;
export const DMA_NONE = 3;

/** scsi_device.sdev_state (enum scsi_device_state). */
export const SDEV_CREATED = 1;
export const SDEV_RUNNING = 2;
export const SDEV_CANCEL = 3;
export const SDEV_DEL = 4;
export const SDEV_QUIESCE = 5;
export const SDEV_OFFLINE = 6;
export const SDEV_BLOCK = 7;

/** What the mid-layer gives queuecommand to call at the command's end. */
export type ScsiDone = (cmd: scsi_cmnd) => Running;

/**
 * struct scsi_host_template: a low-level driver, as the mid-layer and diskdump see it. Each hook says
 * *Returns / Locks held / Calling context / Must not*.
 */
export interface scsi_host_template {
  readonly name: string;
  readonly proc_name: string;
  /** Commands the adapter takes at a time. */
  readonly can_queue: number;
  /** The adapter's own id on the bus, -1: the driver sets it later. */
  readonly this_id: number;
  readonly sg_tablesize: number;
  /** Largest transfer, in 512-byte sectors. */
  readonly max_sectors: number;
  /** Queue depth of a device without tags or before slave_configure chose one. */
  readonly cmd_per_lun: number;
  readonly use_clustering: boolean;

  /**
   * Starts a command; `done` is called (perhaps before this returns) when it has ended, with cmd.result set.
   * Returns: 0 when taken; SCSI_MLQUEUE_HOST_BUSY / _DEVICE_BUSY (or any non-zero) when not, and then never calls done.
   * Locks held: host_lock. Context: any, interrupts off. Must not: sleep, enable interrupts, allocate with GFP_KERNEL.
   */
  readonly queuecommand: (cmd: scsi_cmnd, done: ScsiDone) => Running<number>;
  /**
   * Takes one command back from the adapter.
   * Returns: SUCCESS when the adapter will never touch it again, else FAILED. Locks held: host_lock (may be dropped and
   * retaken inside). Context: error handler thread, interrupts off. Must not: call done for this command after SUCCESS.
   */
  readonly eh_abort_handler?: (cmd: scsi_cmnd) => Running<number>;
  /** Resets the command's target. Returns, locks, context: as eh_abort_handler. Must not: leave commands of the target running. */
  readonly eh_device_reset_handler?: (cmd: scsi_cmnd) => Running<number>;
  /** Resets the command's bus. Returns, locks, context: as eh_abort_handler; also the dump path, where host_lock is held by a plain spin_lock. Must not (dump): enable interrupts, sleep. */
  readonly eh_bus_reset_handler?: (cmd: scsi_cmnd) => Running<number>;
  /** Resets the adapter. Returns, locks, context: as eh_bus_reset_handler. Must not (dump): enable interrupts, sleep, allocate. */
  readonly eh_host_reset_handler?: (cmd: scsi_cmnd) => Running<number>;

  /** A device is about to be scanned. Returns: 0, or -ENOMEM/-ENXIO to skip it. Locks held: none. Context: process. Must not: send commands. */
  readonly slave_alloc?: (sdev: scsi_device) => Running<number>;
  /** The device answered INQUIRY: set its queue depth. Returns: 0, or an error to drop it. Locks held: none. Context: process. Must not: hold locks on return. */
  readonly slave_configure?: (sdev: scsi_device) => Running<number>;
  /** The device goes. Returns: nothing. Locks held: none. Context: process. Must not: send commands. */
  readonly slave_destroy?: (sdev: scsi_device) => Running;
  /** Text for the boot message. Returns: it. Locks held: none. Context: process. Must not: give way. */
  readonly info?: (host: Scsi_Host) => string;
  /** Geometry for old partition tools. Returns: heads, sectors, cylinders. Locks held: none. Context: process. Must not: give way. */
  readonly bios_param?: (sdev: scsi_device, capacitySectors: number) => readonly [number, number, number];

  /**
   * diskdump: can I/O be issued through this device?
   * Returns: 0, or a negative errno (-EBUSY: a lock of the driver is held; -ENXIO: no adapter). Locks held: none.
   * Context: dump, interrupts off, other CPUs stopped. Must not: take locks, sleep, allocate, enable interrupts.
   */
  readonly dump_sanity_check?: (sdev: scsi_device) => Running<number>;
  /** diskdump: the device was chosen; release the driver's locks, drain. Returns: 0 or a negative errno. Locks held: none. Context: dump. Must not: sleep, allocate, enable interrupts. */
  readonly dump_quiesce?: (sdev: scsi_device) => Running<number>;
  /** diskdump: the dump is done. Returns: 0 or a negative errno. Locks held: none. Context: dump. Must not: sleep, allocate, enable interrupts. */
  readonly dump_shutdown?: (sdev: scsi_device) => Running<number>;
  /** diskdump (mandatory for it): does what the interrupt handler would do now. Returns: nothing. Locks held: host_lock may belong to the dumper. Context: dump, interrupts off. Must not: sleep, allocate, enable interrupts. */
  readonly dump_poll?: (sdev: scsi_device) => Running<unknown>;
}

/** struct Scsi_Host: one adapter. */
export class Scsi_Host {
  readonly s: ViewOf<typeof struct_Scsi_Host>;
  readonly addr: number;
  readonly hostt: scsi_host_template;
  readonly host_no: number;
  /** Protects the host's and its devices' counters, and is each device's queue_lock. */
  readonly host_lock: Spinlock;
  /** The driver's own part (its RAM struct is `s.hostdata`); the driver knows the type. */
  hostdata: unknown = undefined;
  readonly devices: scsi_device[] = [];
  /** Addresses of list heads in RAM. */
  readonly __devices: number;
  readonly starved_list: number;
  readonly eh_cmd_q: number;
  readonly free_list: number;
  readonly free_list_lock: Spinlock;
  readonly scan_mutex: Semaphore;
  /** The error handler sleeps on this; up()ed when every busy command has failed. */
  readonly eh_wait: Semaphore;
  /** Held while the error handler waits for a command that it sent itself. */
  eh_action: Semaphore | undefined;
  /** Processes that must wait until error handling is over. */
  readonly host_wait: WaitQueue;
  ehandler: Task | undefined;
  /** eh_work_q and eh_done_q of the error handler: list heads (on its stack in C). */
  readonly eh_work_q: number;
  readonly eh_done_q: number;
  readonly maxId: number;
  readonly maxLun: number;
  /**
   * What the driver and its adapter write while they work, queues and control blocks: it changes while a dump goes through
   * them, and may look untouched afterwards. For oracles; kernel code does not read it.
   */
  readonly workingMemory: { readonly start: number; readonly end: number; readonly what: string }[] = [];

  constructor(hostt: scsi_host_template, host_no: number, addr: number, limits: { maxId: number; maxLun: number }) {
    const s = K.view(struct_Scsi_Host, addr);
    this.s = s;
    this.addr = addr;
    this.hostt = hostt;
    this.host_no = host_no;
    this.maxId = limits.maxId;
    this.maxLun = limits.maxLun;
    const at = (field: keyof typeof struct_Scsi_Host.fields): number => addr + K.offsetOf(struct_Scsi_Host, field);
    this.__devices = at("__devices");
    this.starved_list = at("starved_list");
    this.eh_cmd_q = at("eh_cmd_q");
    this.free_list = at("free_list");
    this.eh_work_q = K.bootmem(64);
    this.eh_done_q = this.eh_work_q + 32;
    for (const head of [
      this.__devices,
      this.starved_list,
      this.eh_cmd_q,
      this.free_list,
      this.eh_work_q,
      this.eh_done_q,
    ]) {
      INIT_LIST_HEAD(head);
    }
    const { scsi } = K.flavour;
    this.free_list_lock = scsi.commandLock(at("free_list_lock"), `scsi${host_no}.free_list_lock`);
    this.host_lock = scsi.hostLock(at("default_lock"), `scsi${host_no}.host_lock`);
    s.host_lock = this.host_lock.addr;
    this.scan_mutex = new Semaphore(at("scan_mutex"), `scsi${host_no}.scan_mutex`, 1);
    this.eh_wait = new Semaphore(K.bootmem(64), `scsi${host_no}.eh_wait`, 0);
    s.eh_wait = this.eh_wait.addr;
    this.host_wait = new WaitQueue(at("host_wait"), `scsi${host_no}.host_wait`);
    s.host_no = host_no;
    s.this_id = hostt.this_id;
    s.can_queue = hostt.can_queue;
    s.cmd_per_lun = hostt.cmd_per_lun;
    s.sg_tablesize = hostt.sg_tablesize;
    s.max_sectors = hostt.max_sectors;
    s.use_clustering = hostt.use_clustering ? 1 : 0;
    s.max_id = limits.maxId;
    s.max_lun = limits.maxLun;
    s.max_cmd_len = 12;
    s.max_host_blocked = 7;
    s.last_reset = K.time.jiffies;
  }
}

/** struct scsi_device: one logical unit. */
export class scsi_device {
  readonly s: ViewOf<typeof struct_scsi_device>;
  readonly addr: number;
  readonly host: Scsi_Host;
  readonly id: number;
  readonly lun: number;
  readonly channel: number;
  readonly siblings: number;
  /** List head of the commands that are out. */
  readonly cmd_list: number;
  readonly starved_entry: number;
  readonly sdev_lock: Spinlock;
  /** vendor, model, revision from INQUIRY. */
  vendor = "";
  model = "";
  rev = "";
  /** Its block queue; made by scsi_alloc_queue. */
  request_queue!: RequestQueue;
  /** Its upper-level driver's object (sd's scsi_disk). */
  driver: ScsiDriver | undefined;

  constructor(host: Scsi_Host, channel: number, id: number, lun: number, addr: number) {
    const s = K.view(struct_scsi_device, addr);
    this.s = s;
    this.addr = addr;
    this.host = host;
    this.channel = channel;
    this.id = id;
    this.lun = lun;
    const at = (field: keyof typeof struct_scsi_device.fields): number => addr + K.offsetOf(struct_scsi_device, field);
    this.siblings = at("siblings");
    this.cmd_list = at("cmd_list");
    this.starved_entry = at("starved_entry");
    for (const field of ["siblings", "same_target_siblings", "cmd_list", "starved_entry"] as const) {
      INIT_LIST_HEAD(at(field));
    }
    const name = `${host.host_no}:${channel}:${id}:${lun}`;
    this.sdev_lock = new Spinlock(at("sdev_lock"), `sdev ${name}.sdev_lock`);
    new Spinlock(at("list_lock"), `sdev ${name}.list_lock`);
    s.host = host.addr;
    s.channel = channel;
    s.id = id;
    s.lun = lun;
    s.queue_depth = host.hostt.cmd_per_lun;
    s.writeable = 1;
    s.max_device_blocked = 3;
    s.sdev_state = SDEV_CREATED;
  }

  /** "0:0:3:0": host, channel, id, lun. */
  get bus_id(): string {
    return `${this.host.host_no}:${this.channel}:${this.id}:${this.lun}`;
  }
}

const timedOut = (): Running => {
  throw new Error("a scsi_cmnd timed out whose timer was added without scsi_add_timer");
};

/** struct scsi_cmnd: one command. Also what a dumper makes its own of (one, at registration time). */
export class scsi_cmnd {
  readonly s: ViewOf<typeof struct_scsi_cmnd>;
  readonly addr: number;
  device: scsi_device;
  /** Address of the 16 bytes of CDB. */
  readonly cmnd: number;
  /** Address of SCSI_SENSE_BUFFERSIZE bytes of sense data. */
  readonly sense_buffer: number;
  readonly eh_entry: number;
  /** Its entry in the device's cmd_list. */
  readonly list: number;
  /** The command's timer. Must have been initialised in dump mode too: some drivers add it. */
  readonly eh_timeout: Timer;
  /** Whom the driver tells; set by queuecommand. */
  scsi_done: ScsiDone | undefined;
  /** The upper level's end of the command (sd's, or the requester's). Softirq context. */
  done: ((cmd: scsi_cmnd) => Running) | undefined;
  /** The block request it carries out; a dumper's own command has none. */
  request: Request | undefined;
  /** The request of the kernel's own that it carries out (scsi_wait_req). */
  sc_request: scsi_request | undefined;
  /** Its scatter-gather table in RAM: room for the host's sg_tablesize entries; 0 when it has none. */
  sgTable = 0;
  /** 2.4: SCpnt->request, the copy of the block request; made with the first one. */
  ownRequest: Request | undefined;
  /** 2.4: the first of the table's sectors of the DMA pool, -1 while it has none. */
  sglist = -1;

  /** @param addr zeroed memory for a struct scsi_cmnd in the flat window */
  constructor(device: scsi_device, addr: number) {
    const s = K.view(struct_scsi_cmnd, addr);
    this.s = s;
    this.addr = addr;
    this.device = device;
    const at = (field: keyof typeof struct_scsi_cmnd.fields): number => addr + K.offsetOf(struct_scsi_cmnd, field);
    this.cmnd = at("cmnd");
    this.sense_buffer = at("sense_buffer");
    this.eh_entry = at("eh_entry");
    this.list = at("list");
    INIT_LIST_HEAD(this.list);
    INIT_LIST_HEAD(this.eh_entry);
    s.device = device.addr;
    this.eh_timeout = init_timer(at("eh_timeout"), "scsi_times_out", timedOut, addr);
  }
}

/** A command that the kernel itself sends through a device's queue, and waits for. */
export class scsi_request {
  readonly s: ViewOf<typeof struct_scsi_request>;
  readonly addr: number;
  readonly sr_device: scsi_device;
  readonly sr_request: Request;
  sr_command: scsi_cmnd | undefined;
  sr_done: ((cmd: scsi_cmnd) => Running) | undefined;

  constructor(device: scsi_device, addr: number, request: Request) {
    const s = K.view(struct_scsi_request, addr);
    this.s = s;
    this.addr = addr;
    this.sr_device = device;
    this.sr_request = request;
    s.sr_device = device.addr;
    s.sr_host = device.host.addr;
    s.sr_request = request.addr;
  }
}

/** An upper-level driver (sd): builds commands for block requests. */
export interface ScsiDriver {
  /** Fills in the command for cmd.request. Returns: 1 when it can be sent, 0 when the request must fail. Locks held: queue_lock. Context: any. Must not: sleep. */
  readonly init_command: (cmd: scsi_cmnd) => number;
}

/** Bytes of one struct scatterlist on the running kernel's platform. */
export const scatterlistBytes = (): number => K.sizeOf(struct_scatterlist);

/** Writes entry `index` of a scatter-gather table: `length` bytes from physical `address` (may lie above 4 GiB). Pays nothing. */
export function sg_set(table: number, index: number, address: number, length: number): void {
  const at = table + index * (M.word8 ? 32 : 24);
  const base = at + (M.word8 ? 8 : 4);
  pokePtr(at, address - (address % K.map.model.pageSize));
  poke32(base, address % K.map.model.pageSize);
  poke32(base + 4, length);
  const dma = base + 8;
  const high = Math.floor(address / 4294967296);
  if (M.little) {
    poke32(dma, address >>> 0);
    poke32(dma + 4, high);
  } else {
    poke32(dma, high);
    poke32(dma + 4, address >>> 0);
  }
  poke32(dma + 8, length);
}

/** Address and length of entry `index` as the adapter is to use them. */
export function sg_dma_address(table: number, index: number): number {
  const at = table + index * (M.word8 ? 32 : 24) + (M.word8 ? 16 : 12);
  return M.little
    ? M.u32[at >>> 2]! + M.u32[(at >>> 2) + 1]! * 4294967296
    : M.view.getUint32(at + 4, false) + M.view.getUint32(at, false) * 4294967296;
}
export function sg_dma_len(table: number, index: number): number {
  const at = table + index * (M.word8 ? 32 : 24) + (M.word8 ? 24 : 20);
  return M.little ? M.u32[at >>> 2]! : M.view.getUint32(at, false);
}
