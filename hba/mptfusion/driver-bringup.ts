// Bring-up and recovery: IOCFacts, PortFacts, FIFOs, IOCInit, PortEnable, events (mpt_do_ioc_recovery, mptbase.c of 2.6.9).
import { step } from "../../emulator/cpu/cpu.ts";
import { M, STORE_NS } from "../../kernel-sim/abi/ram.ts";
import { layoutOf, type StructType } from "../../kernel-sim/abi/types.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { SA_SHIRQ, request_irq } from "../../kernel-sim/core/irq.ts";
import { INIT_LIST_HEAD, list_add_tail } from "../../kernel-sim/core/list.ts";
import { pci_alloc_consistent } from "../../kernel-sim/core/pci-dma.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import { spin_lock_irqsave, spin_unlock_irqrestore } from "../../kernel-sim/core/spinlock.ts";
import { mpt_GetScsiPortSettings, mpt_readScsiDevicePageHeaders, mpt_read_ioc_pg_1 } from "./driver-config.ts";
import { callResetHandlers, mpt_GetIocState, mpt_handshake_req_reply_wait } from "./driver-doorbell.ts";
import { SendEventNotification } from "./driver-events.ts";
import { mpt_interrupt } from "./driver-interrupt.ts";
import {
  CAN_SLEEP,
  MPT_CHAINS_PER_REQUEST,
  MPT_DEFAULT_REQ_DEPTH,
  MPT_IOC_POST_RESET,
  MPT_MAX_REPLY_DEPTH,
  MPT_REPLY_FRAME_BYTES,
  MPT_REQ_FRAME_BYTES,
  MPT_SENSE_BUFFER_ALLOC,
  get16le,
  get32le,
  mpt_delay,
  put16le,
  put32le,
  put8,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import { MPT_HOSTEVENT_IOC_BRINGUP, MakeIocReady } from "./driver-reset.ts";
import { IOC_FACTS, PORT_FACTS } from "./driver-structs.ts";
import {
  IOCFacts,
  IOCFactsReply,
  IOCInit,
  MPI_FUNCTION_IOC_FACTS,
  MPI_FUNCTION_IOC_INIT,
  MPI_FUNCTION_PORT_ENABLE,
  MPI_FUNCTION_PORT_FACTS,
  MPI_IOCSTATUS_MASK,
  MPI_PORTFACTS_PORTTYPE_SAS,
  MPI_PORTFACTS_PROTOCOL_INITIATOR,
  MPI_WHOINIT_HOST_DRIVER,
  PortEnable,
  PortFacts,
} from "./messages.ts";
import { MPI, MPI_HIM_DIM, MPI_IOC_STATE_OPERATIONAL, MPI_IOC_STATE_READY } from "./registers.ts";

const kfunc = moduleFunctions("mptbase");
/** MPI version 1.05 and the header's: what IOCInit tells. */
const MPI_VERSION = 0x0105;
const MPI_HEADER_VERSION = 0x1200;

/** A zeroed message in ioc.hs_req. */
function handshakeMessage(ioc: MPT_ADAPTER, bytes: number, functionCode: number): number {
  const req = ioc.s.hs_req;
  M.u8.fill(0, req, req + bytes);
  put8(req + 3, functionCode);
  return req;
}

/** Copies a reply into the driver's struct of the same layout, from MPI's byte order to the platform's. */
function keepReply(type: typeof IOC_FACTS | typeof PORT_FACTS, from: number, to: number): void {
  for (const { offset, size } of layoutOf(type as StructType, K.map.model).fields.values()) {
    if (size === 1) put8(to + offset, M.u8[from + offset]!);
    else if (size === 2) M.view.setUint16(to + offset, get16le(from + offset), M.little);
    else M.view.setUint32(to + offset, get32le(from + offset), M.little);
  }
}

/** Asks the IOC what it is; keeps the answer in ioc.facts. Returns 0 or negative. */
export const GetIocFacts = kfunc("GetIocFacts", function* (ioc: MPT_ADAPTER, sleepFlag: number) {
  const req = handshakeMessage(ioc, IOCFacts.bytes, MPI_FUNCTION_IOC_FACTS);
  const rc = yield* mpt_handshake_req_reply_wait(ioc, IOCFacts.bytes, req, 5, sleepFlag);
  if (rc !== 0) return rc;
  const reply = ioc.s.hs_reply;
  // Anything shorter is no IOCFacts reply.
  if (M.u8[reply + IOCFactsReply.MsgLength]! <= 6) {
    yield* printk(`mptbase: ${ioc.name}: ERROR - Invalid IOC facts reply!\n`, 3);
    return -66;
  }
  keepReply(IOC_FACTS, reply, ioc.s.facts.addr);
  if (get16le(reply + IOCFactsReply.RequestFrameSize) === 0) {
    yield* printk(`mptbase: ${ioc.name}: ERROR - Invalid IOC facts reply, msgLength/RequestFrameSize!\n`, 3);
    return -66;
  }
  const frame = Math.min(MPT_REQ_FRAME_BYTES, get16le(reply + IOCFactsReply.RequestFrameSize) * 4);
  ioc.req_sz = frame;
  ioc.s.req_sz = frame;
  ioc.reply_sz = MPT_REPLY_FRAME_BYTES;
  ioc.s.reply_sz = MPT_REPLY_FRAME_BYTES;
  ioc.req_depth = Math.min(MPT_DEFAULT_REQ_DEPTH, get16le(reply + IOCFactsReply.GlobalCredits));
  ioc.s.req_depth = ioc.req_depth;
  ioc.s.reply_depth = Math.min(MPT_MAX_REPLY_DEPTH, get16le(reply + IOCFactsReply.ReplyQueueDepth));
  return 0;
});

/** Asks what the port is. Returns 0 or negative. */
export const GetPortFacts = kfunc("GetPortFacts", function* (ioc: MPT_ADAPTER, port: number, sleepFlag: number) {
  const req = handshakeMessage(ioc, PortFacts.bytes, MPI_FUNCTION_PORT_FACTS);
  put8(req + PortFacts.PortNumber, port);
  const rc = yield* mpt_handshake_req_reply_wait(ioc, PortFacts.bytes, req, 5, sleepFlag);
  if (rc !== 0) return rc;
  keepReply(PORT_FACTS, ioc.s.hs_reply, ioc.s.pfacts.addr);
  if ((ioc.s.pfacts.ProtocolFlags & MPI_PORTFACTS_PROTOCOL_INITIATOR) === 0) {
    yield* printk(`mptbase: ${ioc.name}: port ${port} is no initiator: skipping\n`, 4);
  }
  return 0;
});

/** Allocates the frames (once) and hands the reply frames to the IOC. Returns 0. Context: process the first time, then any. */
export const PrimeIocFifos = kfunc("PrimeIocFifos", function* (ioc: MPT_ADAPTER) {
  const { s } = ioc;
  const replyDepth = s.reply_depth;
  if (ioc.reply_frames === 0) {
    const replyBytes = Math.ceil((replyDepth * ioc.reply_sz) / 128) * 128;
    const requestBytes = ioc.req_depth * ioc.req_sz;
    const chains = ioc.req_depth * MPT_CHAINS_PER_REQUEST;
    s.alloc_sz = replyBytes + requestBytes + chains * ioc.req_sz;
    const base = pci_alloc_consistent(ioc.pcidev, s.alloc_sz, 4096);
    s.alloc = base;
    s.alloc_total = s.alloc_sz;
    ioc.reply_frames = base;
    s.reply_frames = base;
    s.reply_frames_low_dma = base;
    ioc.req_frames = base + replyBytes;
    s.req_frames = ioc.req_frames;
    s.req_frames_low_dma = ioc.req_frames;
    ioc.chainBuffers = ioc.req_frames + requestBytes;
    s.ChainBuffer = ioc.chainBuffers;
    s.num_chain = chains;
    ioc.req_shift = 31 - Math.clz32(ioc.req_sz);
    ioc.sense_buf_pool = pci_alloc_consistent(ioc.pcidev, ioc.req_depth * MPT_SENSE_BUFFER_ALLOC);
    s.sense_buf_pool = ioc.sense_buf_pool;
    s.sense_buf_low_dma = ioc.sense_buf_pool;
    ioc.ReqToChain = K.bootmem(ioc.req_depth * 4);
    s.ReqToChain = ioc.ReqToChain;
    s.ChainToChain = K.bootmem(chains * 4);
    s.RequestNB = K.bootmem(ioc.req_depth * 4);
  }
  for (let i = 0; i < replyDepth; i++) {
    ioc.chip.writel(ioc.reply_frames + i * ioc.reply_sz, MPI.ReplyFifo);
    // 15 writes to the bus are as long as a CPU may go without looking up.
    if ((i & 7) === 7) yield* mpt_pause();
  }
  const flags = yield* spin_lock_irqsave(ioc.FreeQlock);
  INIT_LIST_HEAD(ioc.FreeQ);
  for (let i = 0; i < ioc.req_depth; i++) list_add_tail(ioc.req_frames + i * ioc.req_sz, ioc.FreeQ);
  yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
  yield* mpt_initChainBuffers(ioc);
  return 0;
});

/** A function call is a preemption point. */
const mpt_pause = kfunc("mpt_post_reply_frame", function* () {});

/** Every chain buffer free, no request has one. */
export const mpt_initChainBuffers = kfunc("mptbase_initChainBuffers", function* (ioc: MPT_ADAPTER) {
  const flags = yield* spin_lock_irqsave(ioc.FreeQlock);
  INIT_LIST_HEAD(ioc.FreeChainQ);
  for (let i = 0; i < ioc.s.num_chain; i++) list_add_tail(ioc.chainBuffers + i * ioc.req_sz, ioc.FreeChainQ);
  step(ioc.req_depth * STORE_NS);
  for (let i = 0; i < ioc.req_depth; i++) M.u32[(ioc.ReqToChain >>> 2) + i] = 0;
  yield* spin_unlock_irqrestore(ioc.FreeQlock, flags);
});

/** Tells the IOC who we are and enables its port; waits until it is OPERATIONAL. Returns 0 or negative. */
export const SendIocInit = kfunc("SendIocInit", function* (ioc: MPT_ADAPTER, sleepFlag: number) {
  const req = handshakeMessage(ioc, IOCInit.bytes, MPI_FUNCTION_IOC_INIT);
  const sas = ioc.s.pfacts.PortType === MPI_PORTFACTS_PORTTYPE_SAS;
  put8(req + IOCInit.WhoInit, MPI_WHOINIT_HOST_DRIVER);
  put8(req + IOCInit.MaxDevices, sas ? ioc.s.pfacts.MaxDevices : 16);
  put8(req + IOCInit.MaxBuses, 1);
  put16le(req + IOCInit.ReplyFrameSize, ioc.reply_sz);
  put32le(req + IOCInit.HostMfaHighAddr, 0);
  put32le(req + IOCInit.SenseBufferHighAddr, 0);
  put16le(req + IOCInit.MsgVersion, MPI_VERSION);
  put16le(req + IOCInit.HeaderVersion, MPI_HEADER_VERSION);
  const bytes = ioc.s.facts.MsgVersion < 0x0102 ? 0x18 : IOCInit.bytes;
  let rc = yield* mpt_handshake_req_reply_wait(ioc, bytes, req, 10, sleepFlag);
  if (rc !== 0) return rc;
  const status = get16le(ioc.s.hs_reply + 0x0e) & MPI_IOCSTATUS_MASK;
  if (status !== 0) {
    yield* printk(`mptbase: ${ioc.name}: ERROR - IOCInit failed, IOCStatus=${status.toString(16)}h\n`, 3);
    return -16;
  }
  rc = yield* SendPortEnable(ioc, 0, sleepFlag);
  if (rc !== 0) return rc;
  for (let left = (sleepFlag === CAN_SLEEP ? K.hz : 1000) * 60; ; left--) {
    const state = mpt_GetIocState(ioc, 1);
    if (state === MPI_IOC_STATE_OPERATIONAL) return 0;
    if (left <= 0 || state !== MPI_IOC_STATE_READY) {
      yield* printk(`mptbase: ${ioc.name}: ERROR - Wait IOC_OP state timeout(60)!\n`, 3);
      return -62;
    }
    yield* mpt_delay(1, sleepFlag);
  }
});

/** Returns 0 or negative. A SAS port takes its time: discovery. */
export const SendPortEnable = kfunc("SendPortEnable", function* (ioc: MPT_ADAPTER, port: number, sleepFlag: number) {
  const req = handshakeMessage(ioc, PortEnable.bytes, MPI_FUNCTION_PORT_ENABLE);
  put8(req + PortEnable.PortNumber, port);
  const seconds = ioc.s.pfacts.PortType === MPI_PORTFACTS_PORTTYPE_SAS ? 300 : 30;
  return yield* mpt_handshake_req_reply_wait(ioc, PortEnable.bytes, req, seconds, sleepFlag);
});

/**
 * Brings an adapter up for the first time (`reason` BRINGUP: sleeps) or back after a reset (RECOVER).
 * What a recovery does not do: PortFacts, IOCFacts, config pages. So with NO_SLEEP it never sleeps.
 * Returns 0 or negative. Locks: none held.
 */
export const mpt_do_ioc_recovery = kfunc(
  "mpt_do_ioc_recovery",
  function* (ioc: MPT_ADAPTER, reason: number, sleepFlag: number) {
    const bringup = reason === MPT_HOSTEVENT_IOC_BRINGUP;
    yield* printk(`mptbase: ${bringup ? `Initiating ${ioc.name} bringup` : `Initiating ${ioc.name} recovery`}\n`, 6);
    ioc.chip.writel(0xffffffff, MPI.IntMask);
    ioc.s.active = 0;
    const hard = yield* MakeIocReady(ioc, bringup && !K.commandLine.includes("reset_devices") ? 0 : 1, sleepFlag);
    if (hard < 0) {
      yield* printk(`mptbase: ${ioc.name} NOT READY!\n`, 4);
      return -1;
    }
    if (bringup) {
      let rc = -1;
      for (let tries = 0; tries < 5 && rc !== 0; tries++) rc = yield* GetIocFacts(ioc, sleepFlag);
      if (rc !== 0) return -2;
      for (let port = 0; port < Math.min(2, ioc.s.facts.NumberOfPorts); port++) {
        if (port === 0) yield* GetPortFacts(ioc, port, sleepFlag);
      }
      const irq = ioc.pcidev.readConfig(0x3c, 1);
      ioc.s.irq = irq;
      // The handler's symbol is mpt_interrupt; the adapter is what dev_id stands for.
      const handler = Object.assign(() => mpt_interrupt(ioc), { id: mpt_interrupt.id });
      yield* request_irq(irq, handler, SA_SHIRQ, ioc.name, ioc.addr);
    }
    if ((yield* PrimeIocFifos(ioc)) !== 0) return -3;
    if ((yield* SendIocInit(ioc, sleepFlag)) !== 0) return -4;
    ioc.s.active = 1;
    if (ioc.s.facts.EventState === 0) yield* SendEventNotification(ioc, 1);
    // Reply interrupts on; doorbell interrupts stay off.
    ioc.chip.writel(MPI_HIM_DIM, MPI.IntMask);
    if (bringup) {
      if (ioc.s.pfacts.PortType !== MPI_PORTFACTS_PORTTYPE_SAS) {
        yield* mpt_GetScsiPortSettings(ioc);
        yield* mpt_readScsiDevicePageHeaders(ioc);
      }
      yield* mpt_read_ioc_pg_1(ioc);
    }
    if (hard > 0) yield* callResetHandlers(ioc, MPT_IOC_POST_RESET);
    return 0;
  },
);
