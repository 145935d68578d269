// io_request_lock (drivers/block/ll_rw_blk.c of 2.4): one lock for every request queue of the machine, and, unless a host brings
// its own, for every SCSI host too.
import { K } from "../core/kernel.ts";
import { staticLock, type Spinlock } from "../core/spinlock.ts";

/** Made with the block layer, or by whoever asks first. */
export const io_request_lock = (): Spinlock => K.locks.get("io_request_lock") ?? staticLock("io_request_lock");
