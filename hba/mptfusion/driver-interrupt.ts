// The reply side: mpt_interrupt drains the reply FIFO, for the interrupt handler and for the dump's poll alike.
import { finished, isFinished, valueOf, type Running } from "../../emulator/cpu/cpu.ts";
import { M } from "../../kernel-sim/abi/ram.ts";
import { kquick } from "../../kernel-sim/core/kfunc.ts";
import { mpt_free_msg_frame, type MPT_ADAPTER } from "./driver-ioc.ts";
import { MPI, MPI_HIS_REPLY_MESSAGE_INTERRUPT, MPI_REPLY_EMPTY } from "./registers.ts";

/** A drain that goes on for longer than this is a bug in somebody's model. */
const MAX_REPLIES_AT_ONCE = 65536;

/**
 * Takes every reply that waits and calls its owner. Reading the FIFO empty is what drops the interrupt line.
 * Returns: true (the line is ours). Locks: none held; FreeQlock inside, and what the callbacks take.
 * Context: hardirq, or the dump's poll with interrupts off. Must not: sleep.
 */
export const mpt_interrupt = kquick("mpt_interrupt", (ioc: MPT_ADAPTER) => drain(ioc, 0), "mptbase");

function drain(ioc: MPT_ADAPTER, from: number): Running<boolean> {
  const { chip, callbacks } = ioc;
  for (let count = from; count < MAX_REPLIES_AT_ONCE; count++) {
    const pa = chip.readl(MPI.ReplyFifo);
    if (pa === MPI_REPLY_EMPTY) break;
    let mr = 0;
    let context = pa;
    if (pa >= 0x80000000) {
      // Address reply: bits 31..1 of a frame's address, in the driver's own block.
      mr = (pa << 1) >>> 0;
      context = M.u32[(mr + 8) >>> 2]!;
    }
    const mf = ioc.req_frames + ((context & 0xffff) << ioc.req_shift);
    const callback = callbacks[(context >>> 16) & 0xf];
    const called = callback ? callback(ioc, mf, mr) : finished(0);
    if (!isFinished(called)) return drainAfterCallback(called, ioc, mf, mr, count + 1);
    const giving = giveBack(ioc, mf, mr, valueOf(called));
    if (!isFinished(giving)) return drainAfter(giving, ioc, count + 1);
  }
  return finished(true);
}

function* drainAfterCallback(
  called: Running<number>,
  ioc: MPT_ADAPTER,
  mf: number,
  mr: number,
  from: number,
): Generator<void, boolean, void> {
  yield* giveBack(ioc, mf, mr, yield* called);
  return yield* drain(ioc, from);
}

function* drainAfter(giving: Running, ioc: MPT_ADAPTER, from: number): Generator<void, boolean, void> {
  yield* giving;
  return yield* drain(ioc, from);
}

/** Gives the reply frame back to the IOC, and the request frame to the free list when its owner is through with it. */
function giveBack(ioc: MPT_ADAPTER, mf: number, mr: number, free: number): Running {
  if (mr !== 0) ioc.chip.writel(mr, MPI.ReplyFifo);
  return free === 0 ? finished() : mpt_free_msg_frame(ioc, mf);
}

/**
 * White paper 4.4: does the IOC have a reply? It says so whether or not the interrupt is masked. In the C source this
 * function also calls mpt_interrupt; here its caller does, and it is inlined: most polls find nothing.
 */
export const mpt_poll_interrupt = (ioc: MPT_ADAPTER): boolean =>
  (ioc.chip.readl(MPI.IntStatus) & MPI_HIS_REPLY_MESSAGE_INTERRUPT) !== 0;
