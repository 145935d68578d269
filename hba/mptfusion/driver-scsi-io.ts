// SCSI commands to messages and back (mptscsih_qcmd, mptscsih_io_done; mptscsih.c of 2.6.9). The dump's hot path.
import { finished, isFinished, step, valueOf, type Running } from "../../emulator/cpu/cpu.ts";
import { M, STORE_NS } from "../../kernel-sim/abi/ram.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { kquick } from "../../kernel-sim/core/kfunc.ts";
import {
  DMA_FROM_DEVICE,
  DMA_TO_DEVICE,
  SCSI_MLQUEUE_HOST_BUSY,
  type ScsiDone,
  type scsi_cmnd,
} from "../../kernel-sim/scsi/host.ts";
import {
  DID_BAD_TARGET,
  DID_BUS_BUSY,
  DID_ERROR,
  DID_NO_CONNECT,
  DID_OK,
  DID_RESET,
  DID_SOFT_ERROR,
} from "../../kernel-sim/scsi/status.ts";
import {
  MPT_SCSI_DONE_CTX,
  MPT_SENSE_BUFFER_ALLOC,
  get16le,
  get32le,
  mpt_free_msg_frame,
  mpt_get_msg_frame,
  mpt_put_msg_frame,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import { scsi_dma_map, scsi_dma_unmap } from "../../kernel-sim/scsi/dma.ts";
import type { MPT_SCSI_HOST } from "./driver-scsi-host.ts";
import { addNullSge, addSingleSge, hasChain, mptscsih_AddSGE, mptscsih_freeChainBuffers } from "./driver-sgl.ts";
import {
  MPI_IOCSTATUS_BUSY,
  MPI_IOCSTATUS_INSUFFICIENT_RESOURCES,
  MPI_IOCSTATUS_MASK,
  MPI_IOCSTATUS_SCSI_DATA_OVERRUN,
  MPI_IOCSTATUS_SCSI_DATA_UNDERRUN,
  MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE,
  MPI_IOCSTATUS_SCSI_EXT_TERMINATED,
  MPI_IOCSTATUS_SCSI_INVALID_BUS,
  MPI_IOCSTATUS_SCSI_INVALID_TARGETID,
  MPI_IOCSTATUS_SCSI_IOC_TERMINATED,
  MPI_IOCSTATUS_SCSI_IO_DATA_ERROR,
  MPI_IOCSTATUS_SCSI_PROTOCOL_ERROR,
  MPI_IOCSTATUS_SCSI_RECOVERED_ERROR,
  MPI_IOCSTATUS_SCSI_RESIDUAL_MISMATCH,
  MPI_IOCSTATUS_SCSI_TASK_TERMINATED,
  MPI_IOCSTATUS_SUCCESS,
  MPI_SCSIIO_CONTROL_NODATATRANSFER,
  MPI_SCSIIO_CONTROL_READ,
  MPI_SCSIIO_CONTROL_SIMPLEQ,
  MPI_SCSIIO_CONTROL_UNTAGGED,
  MPI_SCSIIO_CONTROL_WRITE,
  MPI_SCSI_STATE_AUTOSENSE_FAILED,
  MPI_SCSI_STATE_AUTOSENSE_VALID,
  MPI_SCSI_STATE_NO_SCSI_STATUS,
  MPI_SCSI_STATE_TERMINATED,
  SCSIIOReply,
} from "./messages.ts";

/** A request frame's words that are always written. */
const REQUEST_WORDS = 15;
/** Sense bytes asked for: what a 64-byte slot holds. */
const SENSE_BYTES = MPT_SENSE_BUFFER_ALLOC;

/**
 * Queues a command at the adapter.
 * Returns: 0; SCSI_MLQUEUE_HOST_BUSY when a reset is under way or no frame is free. Locks held: host_lock; FreeQlock inside.
 * Context: any, interrupts off. Must not: sleep, allocate.
 */
export const mptscsih_qcmd = kquick(
  "mptscsih_qcmd",
  (cmd: scsi_cmnd, done: ScsiDone): Running<number> => {
    const hd = cmd.device.host.hostdata as MPT_SCSI_HOST;
    cmd.scsi_done = done;
    if (hd.s.resetPending !== 0) return finished(SCSI_MLQUEUE_HOST_BUSY);
    const frame = mpt_get_msg_frame(MPT_SCSI_DONE_CTX, hd.ioc);
    return isFinished(frame) ? fillFrame(cmd, hd, valueOf(frame)) : fillFrameLater(cmd, hd, frame);
  },
  "mptscsih",
);

function* fillFrameLater(cmd: scsi_cmnd, hd: MPT_SCSI_HOST, frame: Running<number>): Generator<void, number, void> {
  return yield* fillFrame(cmd, hd, yield* frame);
}

/** The message for a command, in the frame `mf` (0: there was none), posted. Returns: as mptscsih_qcmd. */
function fillFrame(cmd: scsi_cmnd, hd: MPT_SCSI_HOST, mf: number): Running<number> {
  if (mf === 0) return finished(SCSI_MLQUEUE_HOST_BUSY);
  const { s, device } = cmd;
  const { ioc } = hd;
  const index = (mf - ioc.req_frames) >>> ioc.req_shift;
  const direction = s.sc_data_direction;
  let length = 0;
  let control = MPI_SCSIIO_CONTROL_NODATATRANSFER;
  if (direction === DMA_TO_DEVICE) {
    length = s.request_bufflen;
    control = MPI_SCSIIO_CONTROL_WRITE;
  } else if (direction === DMA_FROM_DEVICE) {
    length = s.request_bufflen;
    control = MPI_SCSIIO_CONTROL_READ;
  }
  control |= device.s.tagged_supported !== 0 ? MPI_SCSIIO_CONTROL_SIMPLEQ : MPI_SCSIIO_CONTROL_UNTAGGED;
  const cmdLength = s.cmd_len;
  const { u32 } = M;
  const to = mf >>> 2;
  const from = cmd.cmnd >>> 2;
  // The frame is the driver's until it is posted: its stores are paid for at once.
  step(REQUEST_WORDS * STORE_NS);
  u32[to] = device.id | (device.channel << 8); // ChainOffset and Function (SCSI_IO_REQUEST) are 0
  u32[to + 1] = cmdLength | (SENSE_BYTES << 8);
  u32[to + 3] = device.lun << 8;
  u32[to + 4] = 0;
  u32[to + 5] = control;
  u32[to + 6] = u32[from]!;
  u32[to + 7] = cmdLength > 6 ? u32[from + 1]! : u32[from + 1]! & 0xffff;
  u32[to + 8] = cmdLength > 10 ? u32[from + 2]! : cmdLength > 6 ? u32[from + 2]! & 0xffff : 0;
  u32[to + 9] = cmdLength > 12 ? u32[from + 3]! : 0;
  u32[to + 10] = length;
  u32[to + 11] = ioc.sense_buf_pool + index * MPT_SENSE_BUFFER_ALLOC;
  if (length === 0) addNullSge(mf, ioc.wideAddresses);
  else if (s.use_sg === 0) addSingleSge(mf, length, s.request_buffer, direction === DMA_TO_DEVICE, ioc.wideAddresses);
  else return addTableThenPost(cmd, hd, mf, index, direction === DMA_TO_DEVICE);
  scsi_dma_map(cmd, ioc.pcidev);
  hd.setLookup(index, cmd);
  mpt_put_msg_frame(ioc, mf);
  return finished(0);
}

/** The rest of fillFrame for a scatter-gather table, which may need chain buffers. */
function* addTableThenPost(
  cmd: scsi_cmnd,
  hd: MPT_SCSI_HOST,
  mf: number,
  index: number,
  toDevice: boolean,
): Generator<void, number, void> {
  const { ioc } = hd;
  if (!(yield* mptscsih_AddSGE(ioc, cmd, mf, index, toDevice))) {
    if (hasChain(ioc, index)) yield* mptscsih_freeChainBuffers(ioc, index);
    yield* mpt_free_msg_frame(ioc, mf);
    return SCSI_MLQUEUE_HOST_BUSY;
  }
  scsi_dma_map(cmd, ioc.pcidev);
  hd.setLookup(index, cmd);
  mpt_put_msg_frame(ioc, mf);
  return 0;
}

/** Sense data that the IOC fetched, from its slot into the command. */
function mptscsih_copy_sense_data(cmd: scsi_cmnd, ioc: MPT_ADAPTER, index: number, mr: number): void {
  const count = Math.min(get32le(mr + SCSIIOReply.SenseCount), SENSE_BYTES);
  step(count >>> 2);
  const slot = ioc.sense_buf_pool + index * MPT_SENSE_BUFFER_ALLOC;
  for (let i = 0; i < count; i++) M.u8[cmd.sense_buffer + i] = M.u8[slot + i]!;
}

/** Turns an address reply into a result for the mid-layer (facts hba/mptfusion.md section 6). */
function resultOf(cmd: scsi_cmnd, ioc: MPT_ADAPTER, index: number, mr: number): number {
  const status = M.u8[mr + SCSIIOReply.SCSIStatus]!;
  const state = M.u8[mr + SCSIIOReply.SCSIState]!;
  const transferred = get32le(mr + SCSIIOReply.TransferCount);
  const { s } = cmd;
  s.resid = s.request_bufflen - transferred;
  if ((state & MPI_SCSI_STATE_AUTOSENSE_VALID) !== 0) mptscsih_copy_sense_data(cmd, ioc, index, mr);
  switch (get16le(mr + SCSIIOReply.IOCStatus) & MPI_IOCSTATUS_MASK) {
    case MPI_IOCSTATUS_BUSY:
    case MPI_IOCSTATUS_INSUFFICIENT_RESOURCES:
      return DID_BUS_BUSY << 16;
    case MPI_IOCSTATUS_SCSI_INVALID_BUS:
    case MPI_IOCSTATUS_SCSI_INVALID_TARGETID:
      return DID_BAD_TARGET << 16;
    case MPI_IOCSTATUS_SCSI_DEVICE_NOT_THERE:
      return DID_NO_CONNECT << 16;
    case MPI_IOCSTATUS_SCSI_TASK_TERMINATED:
    case MPI_IOCSTATUS_SCSI_IOC_TERMINATED:
    case MPI_IOCSTATUS_SCSI_EXT_TERMINATED:
      return DID_RESET << 16;
    case MPI_IOCSTATUS_SCSI_RESIDUAL_MISMATCH:
      return transferred < s.underflow ? DID_SOFT_ERROR << 16 : (DID_OK << 16) | status;
    case MPI_IOCSTATUS_SCSI_DATA_UNDERRUN:
      if (status === 0 && transferred < s.underflow) return DID_SOFT_ERROR << 16;
      return withState(status, state);
    case MPI_IOCSTATUS_SCSI_DATA_OVERRUN:
      s.resid = 0;
      return withState(status, state);
    case MPI_IOCSTATUS_SCSI_RECOVERED_ERROR:
    case MPI_IOCSTATUS_SUCCESS:
      return withState(status, state);
    case MPI_IOCSTATUS_SCSI_IO_DATA_ERROR:
    case MPI_IOCSTATUS_SCSI_PROTOCOL_ERROR:
    default:
      return DID_SOFT_ERROR << 16;
  }
}

function withState(status: number, state: number): number {
  if ((state & MPI_SCSI_STATE_TERMINATED) !== 0) return DID_RESET << 16;
  if ((state & MPI_SCSI_STATE_NO_SCSI_STATUS) !== 0) return DID_ERROR << 16;
  if ((state & MPI_SCSI_STATE_AUTOSENSE_FAILED) !== 0 && status === 0) return DID_SOFT_ERROR << 16;
  return (DID_OK << 16) | status;
}

/**
 * A SCSI request has ended (MptCallback). A turbo reply (`mr` 0) means GOOD and no residual.
 * Returns: 1, the frame is free. Locks: none; FreeQlock inside when there are chain buffers. Context: hardirq or poll.
 */
export const mptscsih_io_done = kquick(
  "mptscsih_io_done",
  (ioc: MPT_ADAPTER, mf: number, mr: number): Running<number> => {
    const hd = ioc.hd!;
    const index = (mf - ioc.req_frames) >>> ioc.req_shift;
    const cmd = hd.lookup[index];
    // Nobody's: already given back by a reset's flush, or a second reply to the same request.
    if (cmd === undefined) return hasChain(ioc, index) ? freeChainThenDone(ioc, index, undefined) : finished(1);
    hd.setLookup(index, undefined);
    scsi_dma_unmap(cmd, ioc.pcidev);
    if (mr === 0) {
      cmd.s.resid = 0;
      cmd.s.result = 0;
    } else cmd.s.result = resultOf(cmd, ioc, index, mr);
    if (hasChain(ioc, index)) return freeChainThenDone(ioc, index, cmd);
    const done = K.flavour.scsi.callDone(cmd);
    return isFinished(done) ? finished(1) : afterDone(done);
  },
  "mptscsih",
);

function* freeChainThenDone(
  ioc: MPT_ADAPTER,
  index: number,
  cmd: scsi_cmnd | undefined,
): Generator<void, number, void> {
  yield* mptscsih_freeChainBuffers(ioc, index);
  if (cmd) yield* K.flavour.scsi.callDone(cmd);
  return 1;
}
function* afterDone(done: Running): Generator<void, number, void> {
  yield* done;
  return 1;
}
