// The reply side: mpt_interrupt drains the reply FIFO, for the interrupt handler and for the dump's poll alike.
import { M } from "../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../kernel-sim/core/kfunc.ts";
import { mpt_free_msg_frame, type MPT_ADAPTER } from "./driver-ioc.ts";
import { MPI, MPI_HIS_REPLY_MESSAGE_INTERRUPT, MPI_REPLY_EMPTY } from "./registers.ts";

const kfunc = moduleFunctions("mptbase");

/** A drain that goes on for longer than this is a bug in somebody's model. */
const MAX_REPLIES_AT_ONCE = 65536;

/**
 * Takes every reply that waits and calls its owner. Reading the FIFO empty is what drops the interrupt line.
 * Returns: true (the line is ours). Locks: none held; FreeQlock inside, and what the callbacks take.
 * Context: hardirq, or the dump's poll with interrupts off. Must not: sleep.
 */
export const mpt_interrupt = kfunc("mpt_interrupt", function* (ioc: MPT_ADAPTER) {
  const { chip, callbacks } = ioc;
  for (let count = 0; count < MAX_REPLIES_AT_ONCE; count++) {
    const pa = chip.readl(MPI.ReplyFifo);
    if (pa === MPI_REPLY_EMPTY) return true;
    let mr = 0;
    let context = pa;
    if (pa >= 0x80000000) {
      // Address reply: bits 31..1 of a frame's address, in the driver's own block.
      mr = (pa << 1) >>> 0;
      context = M.u32[(mr + 8) >>> 2]!;
    }
    const mf = ioc.req_frames + ((context & 0xffff) << ioc.req_shift);
    const callback = callbacks[(context >>> 16) & 0xf];
    const free = callback ? yield* callback(ioc, mf, mr) : 0;
    // Give the reply frame back to the IOC.
    if (mr !== 0) chip.writel(mr, MPI.ReplyFifo);
    if (free !== 0) yield* mpt_free_msg_frame(ioc, mf);
  }
  return true;
});

/**
 * White paper 4.4: does the IOC have a reply? It says so whether or not the interrupt is masked. In the C source this
 * function also calls mpt_interrupt; here its caller does, and it is inlined: most polls find nothing.
 */
export const mpt_poll_interrupt = (ioc: MPT_ADAPTER): boolean =>
  (ioc.chip.readl(MPI.IntStatus) & MPI_HIS_REPLY_MESSAGE_INTERRUPT) !== 0;
