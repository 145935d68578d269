// An adapter as mptbase keeps it, and its message frames (drivers/message/fusion/mptbase.c of 2.6.9).
import { finished, isFinished, step, type Running } from "../../emulator/cpu/cpu.ts";
import type { MmioWindow, PciFunction } from "../../emulator/bus/mmio.ts";
import { M, STORE_NS, storePtr } from "../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../kernel-sim/abi/view.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kquick } from "../../kernel-sim/core/kfunc.ts";
import { INIT_LIST_HEAD, list_next } from "../../kernel-sim/core/list.ts";
import {
  Spinlock,
  local_irq_restore,
  local_irq_save,
  spin_lock,
  spin_trylock,
  spin_unlock,
} from "../../kernel-sim/core/spinlock.ts";
import { mdelay, msleep } from "../../kernel-sim/core/timer.ts";
import type { MPT_SCSI_HOST } from "./driver-scsi-host.ts";
import { struct_MPT_ADAPTER } from "./driver-structs.ts";
import { MPI } from "./registers.ts";

export const CAN_SLEEP = 1;
export const NO_SLEEP = 0;

/** Callback indices: what a protocol driver gets from mpt_register, and the third byte of a MsgContext. */
export const MPT_BASE_CTX = 14;
export const MPT_SCSI_DONE_CTX = 13;
export const MPT_SCSI_TASK_CTX = 12;
export const MPT_SCSI_SCAN_DV_CTX = 11;
export const MPT_MAX_PROTOCOL_DRIVERS = 16;

export const MPT_IOC_SETUP_RESET = 2;
export const MPT_IOC_PRE_RESET = 0;
export const MPT_IOC_POST_RESET = 1;

/** Request frame: what the hardware takes, capped by the driver. */
export const MPT_REQ_FRAME_BYTES = 128;
export const MPT_REPLY_FRAME_BYTES = 80;
export const MPT_DEFAULT_REQ_DEPTH = 256;
export const MPT_MAX_REPLY_DEPTH = 128;
export const MPT_SENSE_BUFFER_ALLOC = 64;
/** Chain buffers per adapter: enough for every request to need one. */
export const MPT_CHAINS_PER_REQUEST = 2;

/**
 * A protocol driver's end of a request. `mr` is the reply frame's address, 0 for a turbo reply.
 * Returns: 1 when the request frame may be freed. Locks: none. Context: hardirq or the dump's poll.
 */
export type MptCallback = (ioc: MPT_ADAPTER, mf: number, mr: number) => Running<number>;
export type MptResetHandler = (ioc: MPT_ADAPTER, phase: number) => Running;

export class MPT_ADAPTER {
  readonly s: ViewOf<typeof struct_MPT_ADAPTER>;
  readonly addr: number;
  readonly name: string;
  readonly chip: MmioWindow;
  readonly pcidev: PciFunction;
  readonly FreeQlock: Spinlock;
  readonly diagLock: Spinlock;
  readonly callbacks: (MptCallback | undefined)[] = new Array<undefined>(MPT_MAX_PROTOCOL_DRIVERS).fill(undefined);
  readonly resetHandlers: (MptResetHandler | undefined)[] = new Array<undefined>(MPT_MAX_PROTOCOL_DRIVERS).fill(
    undefined,
  );
  hd: MPT_SCSI_HOST | undefined;
  // Copies of what the I/O path needs of the RAM struct; they change only at bring-up.
  readonly FreeQ: number;
  readonly FreeChainQ: number;
  req_frames = 0;
  req_sz = MPT_REQ_FRAME_BYTES;
  req_depth = 0;
  reply_frames = 0;
  reply_sz = MPT_REPLY_FRAME_BYTES;
  sense_buf_pool = 0;
  chainBuffers = 0;
  /** log2 of req_sz. */
  req_shift = 7;
  /** First chain buffer of each request, 0 when none: ReqToChain in RAM. */
  ReqToChain = 0;
  /** Addresses are 64 bits wide in scatter-gather elements (dma_addr_t). */
  readonly wideAddresses: boolean;

  constructor(id: number, pcidev: PciFunction, chip: MmioWindow, addr: number) {
    const s = K.view(struct_MPT_ADAPTER, addr);
    const at = (field: keyof typeof struct_MPT_ADAPTER.fields): number => addr + K.offsetOf(struct_MPT_ADAPTER, field);
    this.s = s;
    this.addr = addr;
    this.name = `ioc${id}`;
    this.chip = chip;
    this.pcidev = pcidev;
    s.id = id;
    for (let i = 0; i < this.name.length; i++) M.u8[s.name + i] = this.name.charCodeAt(i);
    this.FreeQlock = new Spinlock(at("FreeQlock"), `${this.name}.FreeQlock`);
    this.diagLock = new Spinlock(at("diagLock"), `${this.name}.diagLock`);
    this.FreeQ = at("FreeQ");
    this.FreeChainQ = at("FreeChainQ");
    INIT_LIST_HEAD(this.FreeQ);
    INIT_LIST_HEAD(this.FreeChainQ);
    INIT_LIST_HEAD(at("list"));
    this.wideAddresses = K.map.model.wordBytes === 8;
  }
}

/** MPT_MDELAY: in crash dump mode the delay that the dumper provides (white paper 4.3, rule 4), else mdelay. */
export function MPT_MDELAY(ms: number): Running {
  return K.dumpMode ? K.dumpMode.mdelay(ms) : mdelay(ms);
}

/** Waits `ms` milliseconds as the caller may. */
export const mpt_delay = (ms: number, sleepFlag: number): Running =>
  sleepFlag === CAN_SLEEP ? msleep(ms) : MPT_MDELAY(ms);

/** A pointer store for the hot path: a micro-step like storePtr, for addresses that lie in the direct map (frames, adapters do). */
export function storeDirect(at: number, address: number): void {
  if (!M.word8 || !M.little) {
    storePtr(at, address);
    return;
  }
  step(STORE_NS);
  const { u32 } = M;
  const word = at >>> 2;
  u32[word] = M.pageOffsetLo + address;
  u32[word + 1] = M.pageOffsetHi;
}
const readDirect = (at: number): number => (M.little ? M.u32[at >>> 2]! - M.pageOffsetLo : list_next(at));

/** list_del of a queue's first entry, with the same stores. Returns it, or 0 when the queue is empty. */
function takeFirst(queue: number): number {
  const first = readDirect(queue);
  if (first === queue) return 0;
  const next = readDirect(first);
  storeDirect(next + (M.word8 ? 8 : 4), queue);
  storeDirect(queue, next);
  return first;
}

/** list_add_tail, with the same stores. */
function putLast(entry: number, queue: number): void {
  const back = M.word8 ? 8 : 4;
  const last = readDirect(queue + back);
  storeDirect(queue + back, entry);
  storeDirect(entry, queue);
  storeDirect(entry + back, last);
  storeDirect(last, entry);
}

/**
 * Takes a free request frame and puts the callback's number into its context.
 * Returns: its address, or 0 when there is none or the adapter is not up. Locks: FreeQlock inside. Context: any.
 */
export const mpt_get_msg_frame = kquick(
  "mpt_get_msg_frame",
  (handle: number, ioc: MPT_ADAPTER): Running<number> => {
    if (ioc.s.active === 0) return finished(0);
    // spin_lock_irqsave, plain while the lock is free.
    const flags = local_irq_save();
    if (!spin_trylock(ioc.FreeQlock)) return getFrameLater(handle, ioc, flags);
    const mf = takeFrame(handle, ioc);
    return flags === 0 ? finished(mf) : restoreThen(flags, mf);
  },
  "mptbase",
);

function* getFrameLater(handle: number, ioc: MPT_ADAPTER, flags: number): Generator<void, number, void> {
  yield* spin_lock(ioc.FreeQlock);
  const mf = takeFrame(handle, ioc);
  yield* local_irq_restore(flags);
  return mf;
}

/** Under FreeQlock, which is freed. */
function takeFrame(handle: number, ioc: MPT_ADAPTER): number {
  const mf = takeFirst(ioc.FreeQ);
  if (mf !== 0) {
    // MsgContext: frame number, callback.
    step(STORE_NS);
    M.u32[(mf + 8) >>> 2] = ((mf - ioc.req_frames) >>> ioc.req_shift) | (handle << 16);
  }
  spin_unlock(ioc.FreeQlock);
  return mf;
}

/** local_irq_restore with something to return. */
function restoreThen(flags: number, value: number): Running<number> {
  const restored = local_irq_restore(flags);
  return isFinished(restored) ? finished(value) : afterwards(restored, value);
}
function* afterwards(restored: Running, value: number): Generator<void, number, void> {
  yield* restored;
  return value;
}

/** Posts a request frame to the adapter. Context: any. */
export function mpt_put_msg_frame(ioc: MPT_ADAPTER, mf: number): void {
  ioc.chip.writel(mf, MPI.RequestFifo);
}

/** Puts a request frame back. Locks: FreeQlock inside. Context: any. */
export const mpt_free_msg_frame = kquick(
  "mpt_free_msg_frame",
  (ioc: MPT_ADAPTER, mf: number): Running => {
    const flags = local_irq_save();
    if (!spin_trylock(ioc.FreeQlock)) return freeFrameLater(ioc, mf, flags);
    putLast(mf, ioc.FreeQ);
    spin_unlock(ioc.FreeQlock);
    return flags === 0 ? finished() : local_irq_restore(flags);
  },
  "mptbase",
);

function* freeFrameLater(ioc: MPT_ADAPTER, mf: number, flags: number): Generator<void, void, void> {
  yield* spin_lock(ioc.FreeQlock);
  putLast(mf, ioc.FreeQ);
  spin_unlock(ioc.FreeQlock);
  yield* local_irq_restore(flags);
}

/** Bytes 8..11 of a frame: its number and callback. */
export const frameContext = (mf: number): number => M.u32[(mf + 8) >>> 2]!;

/** Clears a message frame but for its context. Pays for the stores at once: nobody sees the frame before it is posted. */
export function clearFrame(mf: number, bytes: number): void {
  step((bytes >>> 3) * STORE_NS);
  const { u32 } = M;
  const from = mf >>> 2;
  const to = from + (bytes >>> 2);
  for (let i = from; i < to; i++) if (i !== from + 2) u32[i] = 0;
}

export const put8 = (at: number, value: number): void => {
  M.u8[at] = value;
};
/** MPI words are little endian on every platform. */
export const put16le = (at: number, value: number): void => M.view.setUint16(at, value, true);
export const put32le = (at: number, value: number): void => {
  M.u32[at >>> 2] = value;
};
export const get16le = (at: number): number => M.u16[at >>> 1]!;
export const get32le = (at: number): number => M.u32[at >>> 2]!;
