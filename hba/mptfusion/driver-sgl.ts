// Scatter-gather lists of SCSI I/O requests (mptscsih_AddSGE, mptscsih.c of 2.6.9).
import { step } from "../../emulator/cpu/cpu.ts";
import { M, STORE_NS, poke32 } from "../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { list_add_tail, list_del, list_empty, list_next } from "../../kernel-sim/core/list.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../kernel-sim/core/spinlock.ts";
import { sg_dma_address, sg_dma_len, type scsi_cmnd } from "../../kernel-sim/scsi/host.ts";
import type { MPT_ADAPTER } from "./driver-ioc.ts";
import {
  MPI_SGE_CHAIN_OFFSET_SHIFT,
  MPI_SGE_FLAGS_64_BIT_ADDRESSING,
  MPI_SGE_FLAGS_CHAIN_ELEMENT,
  MPI_SGE_FLAGS_END_OF_BUFFER,
  MPI_SGE_FLAGS_END_OF_LIST,
  MPI_SGE_FLAGS_HOST_TO_IOC,
  MPI_SGE_FLAGS_LAST_ELEMENT,
  MPI_SGE_FLAGS_SIMPLE_ELEMENT,
  SCSIIORequest,
} from "./messages.ts";

const kfunc = moduleFunctions("mptscsih");

const FINAL = MPI_SGE_FLAGS_LAST_ELEMENT | MPI_SGE_FLAGS_END_OF_BUFFER | MPI_SGE_FLAGS_END_OF_LIST;
const TWO_32 = 4294967296;

/** Writes a simple element; returns where the next one goes. */
function addSimple(at: number, flagsLength: number, address: number, wide: boolean): number {
  const { u32 } = M;
  const word = at >>> 2;
  u32[word + 1] = address;
  if (!wide) {
    u32[word] = flagsLength;
    return at + 8;
  }
  u32[word] = flagsLength | MPI_SGE_FLAGS_64_BIT_ADDRESSING;
  u32[word + 2] = Math.floor(address / TWO_32);
  return at + 12;
}

/** One element without data: length 0, an address of all ones. */
export function addNullSge(mf: number, wide: boolean): void {
  const word = (mf + SCSIIORequest.SGL) >>> 2;
  M.u32[word] = FINAL | MPI_SGE_FLAGS_SIMPLE_ELEMENT | (wide ? MPI_SGE_FLAGS_64_BIT_ADDRESSING : 0);
  M.u32[word + 1] = 0xffffffff;
  if (wide) M.u32[word + 2] = 0xffffffff;
}

/** One contiguous buffer: what the dump writes. Pays for its stores with the frame. */
export function addSingleSge(mf: number, bytes: number, address: number, toDevice: boolean, wide: boolean): void {
  const direction = toDevice ? MPI_SGE_FLAGS_HOST_TO_IOC : 0;
  addSimple(mf + SCSIIORequest.SGL, FINAL | MPI_SGE_FLAGS_SIMPLE_ELEMENT | direction | bytes, address, wide);
}

/** Takes a chain buffer. Returns its address, or 0. Locks: FreeQlock inside. */
const getFreeChainBuffer = kfunc("mptscsih_getFreeChainBuffer", function* (ioc: MPT_ADAPTER) {
  const flags = yield* spin_lock_irqsave(ioc.FreeQlock);
  let buffer = 0;
  if (!list_empty(ioc.FreeChainQ)) {
    buffer = list_next(ioc.FreeChainQ);
    list_del(buffer);
  }
  yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
  return buffer;
});

/**
 * Writes the command's scatter-gather table as MPI elements into the request frame and, where that is full, into chain
 * buffers. Returns: true, or false when chain buffers ran out. Locks: FreeQlock inside. Context: queuecommand's.
 */
export const mptscsih_AddSGE = kfunc(
  "mptscsih_AddSGE",
  function* (ioc: MPT_ADAPTER, cmd: scsi_cmnd, mf: number, index: number, toDevice: boolean) {
    const wide = ioc.wideAddresses;
    const element = wide ? 12 : 8;
    const direction = toDevice ? MPI_SGE_FLAGS_HOST_TO_IOC : 0;
    const simple = MPI_SGE_FLAGS_SIMPLE_ELEMENT | direction;
    const count = cmd.s.use_sg;
    const table = cmd.s.request_buffer;
    let at = mf + SCSIIORequest.SGL;
    // Elements that fit before the frame ends; the last place is a chain element's when more follow.
    let room = Math.floor((ioc.req_sz - SCSIIORequest.SGL) / element);
    /** Where the frame or chain buffer that is being filled says how far its chain element is. */
    let owner = mf;
    let inRequest = true;
    /** The chain element that points to the buffer being filled. */
    let pointer = 0;
    let used = 0;
    step(count * 3 * STORE_NS);
    for (let i = 0; i < count;) {
      const left = count - i;
      const here = left <= room ? left : room - 1;
      for (let n = 0; n < here; n++, i++) {
        const final = i === count - 1 ? FINAL : n === here - 1 ? MPI_SGE_FLAGS_LAST_ELEMENT : 0;
        at = addSimple(at, final | simple | sg_dma_len(table, i), sg_dma_address(table, i), wide);
      }
      used = at - owner;
      if (!inRequest) setChainLength(pointer, i < count ? used + element : used, i < count ? used >>> 2 : 0);
      if (i === count) break;
      const buffer = yield* getFreeChainBuffer(ioc);
      if (buffer === 0) return false;
      if (inRequest) M.u8[mf + SCSIIORequest.ChainOffset] = (at - mf) >>> 2;
      // ReqToChain and ChainToChain: which buffers to free at the end.
      rememberChain(ioc, index, owner, buffer, inRequest);
      pointer = at;
      M.u32[at >>> 2] = MPI_SGE_FLAGS_CHAIN_ELEMENT | (wide ? MPI_SGE_FLAGS_64_BIT_ADDRESSING : 0);
      M.u32[(at >>> 2) + 1] = buffer;
      if (wide) M.u32[(at >>> 2) + 2] = 0;
      owner = buffer;
      at = buffer;
      inRequest = false;
      room = Math.floor(ioc.req_sz / element);
    }
    return true;
  },
);

function setChainLength(element: number, bytes: number, nextOffset: number): void {
  const word = element >>> 2;
  M.u32[word] = (M.u32[word]! & 0xff000000) | (nextOffset << MPI_SGE_CHAIN_OFFSET_SHIFT) | bytes;
}

const chainIndex = (ioc: MPT_ADAPTER, buffer: number): number => Math.floor((buffer - ioc.chainBuffers) / ioc.req_sz);

function rememberChain(ioc: MPT_ADAPTER, index: number, owner: number, buffer: number, first: boolean): void {
  if (first) poke32(ioc.ReqToChain + index * 4, chainIndex(ioc, buffer) + 1);
  else poke32(ioc.s.ChainToChain + chainIndex(ioc, owner) * 4, chainIndex(ioc, buffer) + 1);
  poke32(ioc.s.ChainToChain + chainIndex(ioc, buffer) * 4, 0);
}

/** True when the request has chain buffers. */
export const hasChain = (ioc: MPT_ADAPTER, index: number): boolean => M.u32[(ioc.ReqToChain >>> 2) + index] !== 0;

/** Frees the chain buffers of a request. Locks: FreeQlock inside. */
export const mptscsih_freeChainBuffers = kfunc(
  "mptscsih_freeChainBuffers",
  function* (ioc: MPT_ADAPTER, index: number) {
    const flags = yield* spin_lock_irqsave(ioc.FreeQlock);
    let next = M.view.getUint32(ioc.ReqToChain + index * 4, M.little);
    poke32(ioc.ReqToChain + index * 4, 0);
    while (next !== 0) {
      const chain = next - 1;
      next = M.view.getUint32(ioc.s.ChainToChain + chain * 4, M.little);
      list_add_tail(ioc.chainBuffers + chain * ioc.req_sz, ioc.FreeChainQ);
    }
    yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
  },
);
