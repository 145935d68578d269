// An adapter as the driver keeps it: registers, SCRIPTS, queues, targets, commands (struct sym_hcb, sym_hipd.c of 2.6.9).
import { step } from "../../emulator/cpu/cpu.ts";
import type { MmioWindow, PciFunction } from "../../emulator/bus/mmio.ts";
import { M, STORE_NS } from "../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { pci_alloc_consistent, wmb } from "../../kernel-sim/core/pci-dma.ts";
import { init_timer, type Timer } from "../../kernel-sim/core/timer.ts";
import { Completion } from "../../kernel-sim/core/wait.ts";
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { Scsi_Host, scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import { get32le, put32le, put8 } from "./driver-memory.ts";
import { scriptOffsets, symScripts, type ScriptOffsets } from "./driver-scripts.ts";
import {
  SYM_CONF_MAX_LUN,
  SYM_CONF_MAX_TARGET,
  SYM_CONF_MAX_TASK,
  struct_sym_hcb,
  sym_ccb,
  sym_lcb,
  sym_tcb,
} from "./driver-structs.ts";
import type { LinkedScript } from "./scripts-assembler.ts";

/** Commands of an adapter at a time: can_queue. */
export const SYM_CONF_MAX_START = 127;
/** Queue entries: one more than commands, so that full and empty differ. */
export const MAX_QUEUE = SYM_CONF_MAX_START + 1;
const ENTRY_BYTES = 8;
/** Tables that SCRIPTS index by replacing the lowest byte of their address. */
const TABLE_ALIGN = 256;

/** A command's control block. */
export class SYM_CCB {
  readonly s: ViewOf<typeof sym_ccb>;
  readonly addr: number;
  cmd: scsi_cmnd | undefined;
  lcb: SYM_LCB | undefined;
  /** The error handler waits for its end. */
  waiter: Completion | undefined;

  constructor(addr: number) {
    this.addr = addr;
    this.s = K.view(sym_ccb, addr);
    this.s.ccb_ba = addr;
  }
}

export class SYM_LCB {
  readonly s: ViewOf<typeof sym_lcb>;
  readonly addr: number;
  readonly itlq: number;
  constructor(addr: number, itlq: number) {
    this.addr = addr;
    this.itlq = itlq;
    this.s = K.view(sym_lcb, addr);
    // A tag is its place in the table of tasks, in bytes.
    for (let i = 0; i < SYM_CONF_MAX_TASK; i++) M.u8[this.s.cb_tags + i] = 4 * i;
  }
}

export class SYM_TCB {
  readonly s: ViewOf<typeof sym_tcb>;
  readonly addr: number;
  readonly luntbl: number;
  readonly lcbs: (SYM_LCB | undefined)[] = new Array<undefined>(SYM_CONF_MAX_LUN).fill(undefined);
  /** The command that carries a negotiation. */
  nego_cp: SYM_CCB | undefined;
  constructor(addr: number, luntbl: number) {
    this.addr = addr;
    this.luntbl = luntbl;
    this.s = K.view(sym_tcb, addr);
  }
}

const ENTRIES = [
  ...(["select", "resel_dsa", "resel_tag", "data_in", "data_out"] as const),
  ...(["data_in_goal", "data_out_goal"] as const),
] as const;

export class SYM_HCB {
  readonly s: ViewOf<typeof struct_sym_hcb>;
  readonly addr: number;
  readonly name: string;
  readonly pcidev: PciFunction;
  readonly chip: MmioWindow;
  readonly ram: MmioWindow;
  readonly offsets: ScriptOffsets;
  readonly script: LinkedScript;
  host!: Scsi_Host;
  readonly targets: SYM_TCB[] = [];
  readonly ccbs: SYM_CCB[] = [];
  readonly ccbAt = new Map<number, SYM_CCB>();
  readonly free_ccbq: SYM_CCB[] = [];
  readonly timer: Timer;
  /** What the error handler, of which there is one, waits on. */
  readonly eh_done: Completion;
  /** Start queue and done queue: rings of {ccb, next} in memory. */
  readonly squeue: number;
  readonly dqueue: number;
  readonly idletask: SYM_CCB;
  readonly bad_itl: SYM_CCB;
  readonly bad_itlq: SYM_CCB;
  readonly bad_lcb: SYM_LCB;
  readonly badluntbl: number;
  private readonly labels = new Map<string, number>();
  /** The labels that every command needs. */
  readonly entries: Readonly<Record<(typeof ENTRIES)[number], number>>;
  private readonly startposAt: number;
  /** All that was allocated lies between `addr` and here. */
  readonly memoryEnd: number;

  constructor(
    unit: number,
    pcidev: PciFunction,
    chip: MmioWindow,
    ram: MmioWindow,
    ramBa: number,
    addr: number,
    c10: boolean,
    onTimer: (np: SYM_HCB) => Running,
  ) {
    this.addr = addr;
    this.s = K.view(struct_sym_hcb, addr);
    this.name = `sym${unit}`;
    this.pcidev = pcidev;
    this.chip = chip;
    this.ram = ram;
    this.s.unit = unit;
    this.s.ram_ba = ramBa;
    this.offsets = scriptOffsets(K.map.model);
    this.script = symScripts(this.offsets, c10).link(ramBa);
    const addresses = ENTRIES.map((label) => [label, this.ba(label)]);
    this.entries = Object.fromEntries(addresses) as Record<(typeof ENTRIES)[number], number>;
    this.startposAt = this.ramOffset("startpos");
    this.timer = init_timer(addr + K.offsetOf(struct_sym_hcb, "timer"), `${this.name}.timer`, () => onTimer(this));
    this.eh_done = new Completion(K.bootmem(64), `${this.name}.eh_done`);
    // All that the chip reads and writes.
    const shared = (bytes: number, align = 64): number => pci_alloc_consistent(pcidev, bytes, align);
    this.squeue = shared(MAX_QUEUE * ENTRY_BYTES, TABLE_ALIGN);
    this.dqueue = shared(MAX_QUEUE * ENTRY_BYTES, TABLE_ALIGN);
    this.s.squeue_ba = this.squeue;
    this.s.dqueue_ba = this.dqueue;
    const ccbBytes = Math.ceil(K.sizeOf(sym_ccb) / 64) * 64;
    let nextCcb = shared(ccbBytes * (SYM_CONF_MAX_START + 3));
    const ccb = (): SYM_CCB => {
      const made = new SYM_CCB(nextCcb);
      nextCcb += ccbBytes;
      return made;
    };
    this.idletask = ccb();
    this.bad_itl = ccb();
    this.bad_itlq = ccb();
    this.bad_lcb = new SYM_LCB(shared(K.sizeOf(sym_lcb)), 0);
    const targtbl = shared(SYM_CONF_MAX_TARGET * 4, TABLE_ALIGN);
    this.s.targtbl = targtbl;
    this.badluntbl = shared(SYM_CONF_MAX_LUN * 4, TABLE_ALIGN);
    for (let lun = 0; lun < SYM_CONF_MAX_LUN; lun++) put32le(this.badluntbl + 4 * lun, this.bad_lcb.addr);
    for (let id = 0; id < SYM_CONF_MAX_TARGET; id++) {
      const target = new SYM_TCB(shared(K.sizeOf(sym_tcb)), shared(SYM_CONF_MAX_LUN * 4, TABLE_ALIGN));
      for (let lun = 0; lun < SYM_CONF_MAX_LUN; lun++) put32le(target.luntbl + 4 * lun, this.bad_lcb.addr);
      put32le(target.addr + this.offsets.tcb.luntbl_sa, target.luntbl);
      put32le(target.addr + this.offsets.tcb.lun0_sa, this.bad_lcb.addr);
      put32le(targtbl + 4 * id, target.addr);
      this.targets.push(target);
    }
    for (let i = 0; i < SYM_CONF_MAX_START; i++) {
      const cp = ccb();
      this.ccbs.push(cp);
      this.ccbAt.set(cp.addr, cp);
      this.free_ccbq.push(cp);
    }
    this.setCcb(this.idletask, "go_start", this.ba("idle"));
    this.setCcb(this.bad_itl, "go_restart", this.ba("bad_i_t_l"));
    this.setCcb(this.bad_itlq, "go_restart", this.ba("bad_i_t_l_q"));
    put32le(this.bad_lcb.addr + this.offsets.lcb.resel_sa, this.ba("resel_bad_lun"));
    this.memoryEnd = K.bootmem(64);
  }

  /** Bus address of a label of the SCRIPTS. */
  ba(label: string): number {
    let address = this.labels.get(label);
    if (address === undefined) this.labels.set(label, (address = this.script.addressOf(label)));
    return address;
  }

  /** Offset of a label in on-chip RAM. */
  ramOffset(label: string): number {
    return this.ba(label) - this.script.base;
  }

  /** A dword of a command that SCRIPTS read. Pays for the store. */
  setCcb(cp: SYM_CCB, field: keyof ScriptOffsets["ccb"], value: number): void {
    step(STORE_NS);
    put32le(cp.addr + this.offsets.ccb[field], value);
  }
  getCcb(cp: SYM_CCB, field: keyof ScriptOffsets["ccb"]): number {
    return get32le(cp.addr + this.offsets.ccb[field]);
  }

  /** The status bytes of a command in memory: 1 host status, 2 SCSI status, 3 host flags. */
  statusAt(cp: SYM_CCB): number {
    return cp.addr + this.offsets.ccb.status;
  }

  /** Both queues empty: every place leads to the next one. Registers are not touched. */
  initQueues(): void {
    step(2 * MAX_QUEUE);
    for (let i = 0; i < MAX_QUEUE; i++) {
      const next = (i + 1) % MAX_QUEUE;
      put32le(this.squeue + ENTRY_BYTES * i, this.idletask.addr);
      put32le(this.squeue + ENTRY_BYTES * i + 4, this.squeue + ENTRY_BYTES * next);
      put32le(this.dqueue + ENTRY_BYTES * i, 0);
      put32le(this.dqueue + ENTRY_BYTES * i + 4, this.dqueue + ENTRY_BYTES * next);
    }
    this.s.squeueput = 0;
    this.s.dqueueget = 0;
  }

  /** The next place of the start queue; the chip sees it when it comes there. */
  putStartQueue(cp: SYM_CCB): void {
    const at = this.s.squeueput;
    const next = at + 1 < MAX_QUEUE ? at + 1 : 0;
    step(2 * STORE_NS);
    put32le(this.squeue + ENTRY_BYTES * next, this.idletask.addr);
    // MEMORY_WRITE_BARRIER(): the chip reads the queue by itself, and must not find a command that is not all there.
    wmb(this.pcidev);
    put32le(this.squeue + ENTRY_BYTES * at, cp.addr);
    this.s.squeueput = next;
  }

  /** Where the chip is in the start queue. Only while SCRIPTS are stopped. */
  get startpos(): number {
    return this.ram.readl(this.startposAt);
  }
  set startpos(address: number) {
    this.ram.writel(address, this.startposAt);
  }

  /** Takes commands out of the part of the start queue that the chip has not reached. Only while SCRIPTS are stopped. */
  dequeue(match: (cp: SYM_CCB) => boolean): SYM_CCB[] {
    const taken: SYM_CCB[] = [];
    const kept: number[] = [];
    const position = this.startpos;
    // A command that was put before all others is not in the ring: the ring goes on behind it.
    const inRing = (address: number): boolean =>
      address >= this.squeue && address < this.squeue + MAX_QUEUE * ENTRY_BYTES;
    let place = position;
    for (let guard = 0; !inRing(place) && guard < MAX_QUEUE; guard++) place = get32le(place + 4);
    const first = (place - this.squeue) / ENTRY_BYTES;
    const end = this.s.squeueput;
    for (let i = first; i !== end; i = (i + 1) % MAX_QUEUE) {
      const cp = this.ccbAt.get(get32le(this.squeue + ENTRY_BYTES * i));
      if (cp && match(cp)) taken.push(cp);
      else kept.push(get32le(this.squeue + ENTRY_BYTES * i));
    }
    let at = first;
    for (const address of kept) {
      put32le(this.squeue + ENTRY_BYTES * at, address);
      at = (at + 1) % MAX_QUEUE;
    }
    for (let i = at; i !== end; i = (i + 1) % MAX_QUEUE) put32le(this.squeue + ENTRY_BYTES * i, this.idletask.addr);
    put32le(this.squeue + ENTRY_BYTES * end, this.idletask.addr);
    this.s.squeueput = at;
    step((kept.length + taken.length + 1) * STORE_NS);
    return taken;
  }

  /** Puts a command before all others. Only while SCRIPTS are stopped. */
  putFirst(cp: SYM_CCB): void {
    const entry = cp.addr + this.offsets.ccb.first_job;
    step(2 * STORE_NS);
    put32le(entry, cp.addr);
    put32le(entry + 4, this.startpos);
    this.startpos = entry;
  }

  /** The next command that the chip has put into the done queue, or undefined. */
  takeDone(): SYM_CCB | undefined {
    const at = this.dqueue + ENTRY_BYTES * this.s.dqueueget;
    const address = get32le(at);
    if (address === 0) return undefined;
    step(STORE_NS);
    put32le(at, 0);
    this.s.dqueueget = this.s.dqueueget + 1 < MAX_QUEUE ? this.s.dqueueget + 1 : 0;
    return this.ccbAt.get(address);
  }

  /** Notes in RAM whose command a control block carries. */
  setCommand(cp: SYM_CCB, cmd: scsi_cmnd | undefined): void {
    cp.cmd = cmd;
    cp.s.scmd = cmd?.addr ?? 0;
  }

  /** A byte of a target's or command's part that SCRIPTS read. */
  setByte(at: number, value: number): void {
    step(STORE_NS);
    put8(at, value);
  }
}
