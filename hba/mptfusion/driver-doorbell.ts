// The doorbell: state, handshakes and resets without message frames (mptbase.c of 2.6.9).
import { kleafOf } from "./driver-kfunc.ts";
import { type Running } from "../../emulator/cpu/cpu.ts";
import { K } from "../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { printk } from "../../kernel-sim/core/printk.ts";
import {
  CAN_SLEEP,
  MPT_IOC_PRE_RESET,
  MPT_MAX_PROTOCOL_DRIVERS,
  mpt_delay,
  put16le,
  type MPT_ADAPTER,
} from "./driver-ioc.ts";
import {
  MPI,
  MPI_DOORBELL_ACTIVE,
  MPI_DOORBELL_ADD_DWORDS_SHIFT,
  MPI_DOORBELL_DATA_MASK,
  MPI_DOORBELL_FUNCTION_SHIFT,
  MPI_FUNCTION_HANDSHAKE,
  MPI_HIS_DOORBELL_INTERRUPT,
  MPI_HIS_IOP_DOORBELL_STATUS,
  MPI_IOC_STATE_MASK,
  MPI_IOC_STATE_READY,
} from "./registers.ts";
import { M } from "../../kernel-sim/abi/ram.ts";

const kfunc = moduleFunctions("mptbase");

/** The raw doorbell, or only its state bits when `cooked`. */
export const mpt_GetIocState = kleafOf("mptbase", "mpt_GetIocState", (ioc: MPT_ADAPTER, cooked: number): number => {
  const s = ioc.chip.readl(MPI.Doorbell);
  const sc = (s & MPI_IOC_STATE_MASK) >>> 0;
  ioc.s.last_state = sc;
  return cooked ? sc : s;
});

/** Polls so often until `seconds` are over: once a tick when it may sleep, once a millisecond when not. */
const polls = (seconds: number, sleepFlag: number): number => (sleepFlag === CAN_SLEEP ? K.hz : 1000) * seconds;

/** Waits until the IOC has taken the last doorbell write. Returns the polls it took, or -1 after `seconds`. */
export const WaitForDoorbellAck = kfunc(
  "WaitForDoorbellAck",
  function* (ioc: MPT_ADAPTER, seconds: number, sleepFlag: number) {
    for (let count = 0, limit = polls(seconds, sleepFlag); count < limit; count++) {
      if ((ioc.chip.readl(MPI.IntStatus) & MPI_HIS_IOP_DOORBELL_STATUS) === 0) return count;
      yield* mpt_delay(1, sleepFlag);
    }
    yield* printk(`mptbase: ${ioc.name}: ERROR - Doorbell ACK timeout (count=${polls(seconds, sleepFlag)})!\n`, 3);
    return -1;
  },
);

/** Waits until the IOC has rung. Returns the polls it took, or -1 after `seconds`. */
export const WaitForDoorbellInt = kfunc(
  "WaitForDoorbellInt",
  function* (ioc: MPT_ADAPTER, seconds: number, sleepFlag: number) {
    for (let count = 0, limit = polls(seconds, sleepFlag); count < limit; count++) {
      if ((ioc.chip.readl(MPI.IntStatus) & MPI_HIS_DOORBELL_INTERRUPT) !== 0) return count;
      yield* mpt_delay(1, sleepFlag);
    }
    yield* printk(`mptbase: ${ioc.name}: ERROR - Doorbell INT timeout (count=${polls(seconds, sleepFlag)})!\n`, 3);
    return -1;
  },
);

/** One reply word: the doorbell is read exactly once for each. */
const readReplyWord = (ioc: MPT_ADAPTER): number => {
  const word = ioc.chip.readl(MPI.Doorbell) & MPI_DOORBELL_DATA_MASK;
  ioc.chip.writel(0, MPI.IntStatus);
  return word;
};

/** Reads a handshake's reply into ioc.hs_reply. Returns its length in words, or -1. */
export const WaitForDoorbellReply = kfunc(
  "WaitForDoorbellReply",
  function* (ioc: MPT_ADAPTER, seconds: number, sleepFlag: number) {
    const reply = ioc.s.hs_reply;
    for (let i = 0; i < 128; i += 2) put16le(reply + i, 0);
    if ((yield* WaitForDoorbellInt(ioc, seconds, sleepFlag)) < 0) return -1;
    put16le(reply, readReplyWord(ioc));
    if ((yield* WaitForDoorbellInt(ioc, 5, sleepFlag)) < 0) return -1;
    put16le(reply + 2, readReplyWord(ioc));
    // MsgLength: dwords.
    const words = 2 * M.u8[reply + 2]!;
    let read = 2;
    for (; read < words; read++) {
      if ((yield* WaitForDoorbellInt(ioc, 5, sleepFlag)) < 0) return -1;
      const word = readReplyWord(ioc);
      // A longer reply than there is room for is read and dropped.
      if (read < 64) put16le(reply + read * 2, word);
    }
    // One more ring ends the handshake.
    if ((yield* WaitForDoorbellInt(ioc, 5, sleepFlag)) < 0) return -1;
    ioc.chip.writel(0, MPI.IntStatus);
    ioc.s.hs_reply_idx = read;
    return words;
  },
);

/** Writes a message of `bytes` bytes at `req` word by word into the doorbell. Returns 0, or -1..-4 naming the step that failed. */
const sendWords = kfunc(
  "mpt_handshake_send",
  function* (ioc: MPT_ADAPTER, bytes: number, req: number, sleepFlag: number) {
    const { chip } = ioc;
    const dwords = bytes >>> 2;
    if ((chip.readl(MPI.Doorbell) & MPI_DOORBELL_ACTIVE) !== 0) return -1;
    chip.writel(0, MPI.IntStatus);
    chip.writel(
      (MPI_FUNCTION_HANDSHAKE << MPI_DOORBELL_FUNCTION_SHIFT) | (dwords << MPI_DOORBELL_ADD_DWORDS_SHIFT),
      MPI.Doorbell,
    );
    if ((yield* WaitForDoorbellInt(ioc, 5, sleepFlag)) < 0) return -2;
    if ((chip.readl(MPI.Doorbell) & MPI_DOORBELL_ACTIVE) === 0) return -5;
    chip.writel(0, MPI.IntStatus);
    if ((yield* WaitForDoorbellAck(ioc, 5, sleepFlag)) < 0) return -2;
    for (let i = 0; i < dwords; i++) {
      chip.writel(M.u32[(req + i * 4) >>> 2]!, MPI.Doorbell);
      if ((yield* WaitForDoorbellAck(ioc, 5, sleepFlag)) < 0) return -3;
    }
    return 0;
  },
);

/**
 * A whole handshake: request by doorbell, reply by doorbell into ioc.hs_reply.
 * Returns 0, or a negative number. Context: process with CAN_SLEEP, else any.
 */
export const mpt_handshake_req_reply_wait = kfunc(
  "mpt_handshake_req_reply_wait",
  function* (ioc: MPT_ADAPTER, bytes: number, req: number, seconds: number, sleepFlag: number) {
    const sent = yield* sendWords(ioc, bytes, req, sleepFlag);
    if (sent !== 0) return sent;
    return (yield* WaitForDoorbellReply(ioc, seconds, sleepFlag)) < 0 ? -6 : 0;
  },
);

/** The first half only: the reply will come through the reply FIFO (task management). Returns 0 or negative. */
export const mpt_send_handshake_request = kfunc(
  "mpt_send_handshake_request",
  function* (ioc: MPT_ADAPTER, bytes: number, req: number, sleepFlag: number) {
    const sent = yield* sendWords(ioc, bytes, req, sleepFlag);
    if (sent !== 0) return sent;
    if ((yield* WaitForDoorbellInt(ioc, 10, sleepFlag)) < 0) return -4;
    ioc.chip.writel(0, MPI.IntStatus);
    return 0;
  },
);

/** Tells every protocol driver how far a reset is. */
export function* callResetHandlers(ioc: MPT_ADAPTER, phase: number): Generator<void, void, void> {
  for (let i = MPT_MAX_PROTOCOL_DRIVERS - 1; i > 0; i--) {
    const handler = ioc.resetHandlers[i];
    if (handler) yield* handler(ioc, phase);
  }
}

/** Message unit or IO unit reset by doorbell. Returns 0 when the IOC is READY again. */
export const SendIocReset = kfunc("SendIocReset", function* (ioc: MPT_ADAPTER, reset_type: number, sleepFlag: number) {
  ioc.chip.writel(reset_type << MPI_DOORBELL_FUNCTION_SHIFT, MPI.Doorbell);
  if ((yield* WaitForDoorbellAck(ioc, 5, sleepFlag)) < 0) return -1;
  yield* callResetHandlers(ioc, MPT_IOC_PRE_RESET);
  let left = polls(15, sleepFlag);
  while (mpt_GetIocState(ioc, 1) !== MPI_IOC_STATE_READY) {
    if (--left <= 0) {
      yield* printk(`mptbase: ${ioc.name}: ERROR - Wait IOC_READY state timeout(15)!\n`, 3);
      return -62; // -ETIME
    }
    yield* mpt_delay(1, sleepFlag);
  }
  return 0;
});
export type { Running };
