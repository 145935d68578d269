// The IDE subsystem's objects: drives, channels (hwif) and the groups that serve one request at a time (include/linux/ide.h
// of 2.6.9).
//
// The state is in RAM structs (`s` is the view on each); the classes hold the views, the ports, the timer and the functions.
import type { PciFunction, PortWindow } from "../../emulator/bus/mmio.ts";
import type { Segment } from "../../emulator/memory/memory.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../abi/ram.ts";
import { spinlock_t } from "../abi/structs/base.ts";
import { hd_driveid, struct_ide_drive, struct_ide_hwgroup, struct_ide_hwif } from "../abi/structs/ide.ts";
import type { ViewOf } from "../abi/view.ts";
import type { Gendisk } from "../block/gendisk.ts";
import type { RequestQueue } from "../block/queue.ts";
import type { Request } from "../block/request.ts";
import { K } from "../core/kernel.ts";
import { textAddressOf } from "../core/kfunc.ts";
import { Spinlock } from "../core/spinlock.ts";
import { init_timer, type Timer } from "../core/timer.ts";

/** ide_startstop_t: whether the drive will interrupt (or its timer run) for what was begun. */
export const ide_stopped = 0;
export const ide_started = 1;
export type ide_startstop_t = typeof ide_stopped | typeof ide_started;

/** Status register (hdreg.h). */
export const ERR_STAT = 0x01;
export const DRQ_STAT = 0x08;
export const SEEK_STAT = 0x10;
export const WRERR_STAT = 0x20;
export const READY_STAT = 0x40;
export const BUSY_STAT = 0x80;
export const BAD_R_STAT = BUSY_STAT | ERR_STAT;
export const BAD_W_STAT = BAD_R_STAT | WRERR_STAT;
export const BAD_STAT = BAD_R_STAT | DRQ_STAT;
export const DRIVE_READY = READY_STAT | SEEK_STAT;
/** Error register. */
export const ICRC_ERR = 0x80;
export const ECC_ERR = 0x40;
export const ABRT_ERR = 0x04;
/** All of `good` and none of `bad`. */
export const OK_STAT = (stat: number, good: number, bad: number): boolean => (stat & (good | bad)) === good;

/** Registers of the command block, and the control block's one. */
export const IDE_DATA = 0;
export const IDE_ERROR = 1;
export const IDE_FEATURE = 1;
export const IDE_NSECTOR = 2;
export const IDE_SECTOR = 3;
export const IDE_LCYL = 4;
export const IDE_HCYL = 5;
export const IDE_SELECT = 6;
export const IDE_STATUS = 7;
export const IDE_COMMAND = 7;
export const IDE_CONTROL = 2;
export const IDE_ALTSTATUS = 2;
/** Bus master registers, from dma_base. */
export const DMA_COMMAND = 0;
export const DMA_STATUS = 2;
export const DMA_PRDTABLE = 4;

/** Commands (hdreg.h). */
export const WIN_READ = 0x20;
export const WIN_READ_EXT = 0x24;
export const WIN_READDMA_EXT = 0x25;
export const WIN_MULTREAD_EXT = 0x29;
export const WIN_WRITE = 0x30;
export const WIN_WRITE_EXT = 0x34;
export const WIN_WRITEDMA_EXT = 0x35;
export const WIN_MULTWRITE_EXT = 0x39;
export const WIN_RESTORE = 0x10;
export const WIN_MULTREAD = 0xc4;
export const WIN_MULTWRITE = 0xc5;
export const WIN_SETMULT = 0xc6;
export const WIN_READDMA = 0xc8;
export const WIN_WRITEDMA = 0xca;
export const WIN_FLUSH_CACHE = 0xe7;
export const WIN_FLUSH_CACHE_EXT = 0xea;
export const WIN_IDENTIFY = 0xec;
export const WIN_SETFEATURES = 0xef;
export const SETFEATURES_EN_WCACHE = 0x02;
export const SETFEATURES_DIS_WCACHE = 0x82;
export const SETFEATURES_XFER = 0x03;

/** drive.special: what has to be done before the next request. */
export const SPECIAL_RECALIBRATE = 0x02;
export const SPECIAL_SET_MULTMODE = 0x04;
/** drive.state */
export const DMA_PIO_RETRY = 1;
/** drive.media */
export const ide_disk = 0x20;
export const MAX_DRIVES = 2;
/** Bytes of a page that PRDs fill: 256 entries of 8. */
export const PRD_ENTRIES = 256;

/** rq.errors: counts, and asks for more at these bits. */
export const ERROR_MAX = 8;
export const ERROR_RESET = 3;
export const ERROR_RECAL = 1;

/** Waits, in seconds. */
export const WAIT_DRQ_S = 0.1;
export const WAIT_READY_S = 5;
export const WAIT_CMD_S = 10;
export const WAIT_WORSTCASE_S = 30;
export const ticks = (seconds: number): number => Math.ceil(seconds * K.hz);

/**
 * What ide_intr calls when the drive has interrupted. Returns: ide_started when a new handler was set, else ide_stopped.
 * Locks: none held; may take ide_lock. Context: hardirq or timer. Must not: sleep.
 */
export type ide_handler_t = (drive: ide_drive_t) => Running<ide_startstop_t>;
/** Asked when the timer runs out. Returns: ticks to wait on, 0 or less to give up. Locks: ide_lock held. */
export type ide_expiry_t = (drive: ide_drive_t) => Running<number>;

const idOf = (f: unknown): number => textAddressOf((f as { id?: number } | undefined)?.id ?? 0);

/** What a chipset's driver supplies for its channels (members of hwif_s in C). */
export interface ide_chipset_ops {
  /** Sets the PIO mode (255: the best one) in drive and chipset. Context: process, or the dump. Must not (dump): sleep. */
  readonly tuneproc: (drive: ide_drive_t, pio: number) => Running;
  /** Decides about DMA and sets it up. Returns: 0 when it is on. Context: process. */
  readonly ide_dma_check: (drive: ide_drive_t) => Running<number>;
}

/** struct ide_drive_s */
export class ide_drive_t {
  readonly s: ViewOf<typeof struct_ide_drive>;
  readonly addr: number;
  readonly hwif: ide_hwif_t;
  readonly unit: number;
  readonly name: string;
  /** struct hd_driveid behind `s.id`. */
  readonly id: ViewOf<typeof hd_driveid>;
  queue: RequestQueue | undefined;
  disk: Gendisk | undefined;

  constructor(hwif: ide_hwif_t, unit: number) {
    this.addr = K.bootmem(K.sizeOf(struct_ide_drive));
    const s = (this.s = K.view(struct_ide_drive, this.addr));
    this.hwif = hwif;
    this.unit = unit;
    this.name = `hd${String.fromCharCode(97 + hwif.index * MAX_DRIVES + unit)}`;
    this.id = K.view(hd_driveid, K.bootmem(512));
    for (let i = 0; i < this.name.length; i++) M.u8[s.name + i] = this.name.charCodeAt(i);
    s.hwif = hwif.addr;
    s.id = this.id.addr;
    s.select = 0xa0 | (unit << 4);
    s.ctl = 0x08;
    s.ready_stat = READY_STAT;
    s.bad_wstat = BAD_W_STAT;
    s.max_failures = 1;
    s.dn = hwif.channel * 2 + unit;
  }

  /** What stands for it in lists of devices: &drive->gendev in C. */
  get device(): ide_drive_t {
    return this;
  }
}

/** struct hwif_s */
export class ide_hwif_t {
  readonly s: ViewOf<typeof struct_ide_hwif>;
  readonly addr: number;
  readonly index: number;
  readonly channel: number;
  readonly name: string;
  readonly irq: number;
  readonly pdev: PciFunction;
  /** Command block, control block, and the bus master's registers from `dmaBase` on. */
  readonly io: PortWindow;
  readonly ctl: PortWindow;
  readonly bm: PortWindow;
  readonly dmaBase: number;
  readonly ops: ide_chipset_ops;
  readonly drives: readonly ide_drive_t[];
  /** Physical address of the PRD table; 0: no DMA. */
  dmatable = 0;
  /** The request's data in memory; reused. */
  readonly segments: Segment[] = [];
  sg_nents = 0;
  hwgroup!: ide_hwgroup_t;

  constructor(
    index: number,
    pdev: PciFunction,
    ports: { io: PortWindow; ctl: PortWindow; bm: PortWindow; dmaBase: number; ioBase: number; ctlBase: number },
    irq: number,
    ops: ide_chipset_ops,
  ) {
    this.addr = K.bootmem(K.sizeOf(struct_ide_hwif));
    const s = (this.s = K.view(struct_ide_hwif, this.addr));
    this.index = index;
    this.channel = index & 1;
    this.name = `ide${index}`;
    this.irq = irq;
    this.pdev = pdev;
    this.io = ports.io;
    this.ctl = ports.ctl;
    this.bm = ports.bm;
    this.dmaBase = ports.dmaBase;
    this.ops = ops;
    for (let i = 0; i < this.name.length; i++) M.u8[s.name + i] = this.name.charCodeAt(i);
    s.index = index;
    s.channel = this.channel;
    s.major = index === 0 ? 3 : 22;
    s.irq = irq;
    s.tuneproc = idOf(ops.tuneproc);
    s.ide_dma_check = idOf(ops.ide_dma_check);
    s.rqsize = 65536;
    s.autodma = 1;
    const word = M.word8 ? 8 : 4;
    for (let i = 0; i < 8; i++) K.machine.memory.write32(s.io_ports + i * word, ports.ioBase + i);
    K.machine.memory.write32(s.io_ports + 8 * word, ports.ctlBase + IDE_CONTROL);
    this.drives = [new ide_drive_t(this, 0), new ide_drive_t(this, 1)];
    K.ide!.hwifs.push(this);
  }
}

/** struct hwgroup_s: at most one request is under way in it, and only its holder (busy) may touch the ports. */
export class ide_hwgroup_t {
  readonly s: ViewOf<typeof struct_ide_hwgroup>;
  readonly addr: number;
  readonly timer: Timer;
  readonly drives: ide_drive_t[] = [];
  private handlerFunction: ide_handler_t | undefined;
  private expiryFunction: ide_expiry_t | undefined;
  private request: Request | undefined;
  drive: ide_drive_t | undefined;

  constructor(hwif: ide_hwif_t, expired: (hwgroup: ide_hwgroup_t) => Running) {
    this.addr = K.bootmem(K.sizeOf(struct_ide_hwgroup));
    this.s = K.view(struct_ide_hwgroup, this.addr);
    this.s.hwif = hwif.addr;
    const at = this.addr + K.offsetOf(struct_ide_hwgroup, "timer");
    this.timer = init_timer(at, `${hwif.name}.timer`, () => expired(this), this.addr);
    hwif.hwgroup = this;
    hwif.s.hwgroup = this.addr;
  }

  get handler(): ide_handler_t | undefined {
    return this.handlerFunction;
  }
  set handler(handler: ide_handler_t | undefined) {
    this.handlerFunction = handler;
    this.s.handler = idOf(handler);
  }

  get expiry(): ide_expiry_t | undefined {
    return this.expiryFunction;
  }
  set expiry(expiry: ide_expiry_t | undefined) {
    this.expiryFunction = expiry;
    this.s.expiry = idOf(expiry);
  }

  get rq(): Request | undefined {
    return this.request;
  }
  set rq(rq: Request | undefined) {
    this.request = rq;
    this.s.rq = rq?.addr ?? 0;
  }

  select(drive: ide_drive_t): void {
    this.drive = drive;
    this.s.drive = drive.addr;
    this.s.hwif = drive.hwif.addr;
  }
}

/** What the subsystem has per kernel. */
export class Ide {
  /** "Protects access to hwgroups and hwifs": every drive's queue_lock, too. */
  readonly ide_lock: Spinlock;
  readonly hwifs: ide_hwif_t[] = [];

  constructor() {
    this.ide_lock = new Spinlock(K.static("ide_lock", spinlock_t), "ide_lock");
  }
}

/** Sets the subsystem up. Called before any chipset's driver probes. Context: boot. */
export function init_ide(): Ide {
  return (K.ide ??= new Ide());
}

export const ide_lock = (): Spinlock => K.ide!.ide_lock;
export const HWGROUP = (drive: ide_drive_t): ide_hwgroup_t => drive.hwif.hwgroup;
