// The SCSI mid-layer's part of a kernel flavour (core/flavour.ts).
import type { Running } from "../../emulator/cpu/cpu.ts";
import type { PrepRequestFn, RequestFn, RequestQueue } from "../block/queue.ts";
import type { Spinlock } from "../core/spinlock.ts";
import type { Scsi_Host, scsi_cmnd, scsi_device } from "./host.ts";

export interface ScsiFlavour {
  /** Sets up what ends commands below the interrupt handler. */
  init(): void;
  /** A host's host_lock; the lock word in its struct is at `at`. */
  hostLock(at: number, name: string): Spinlock;
  /** The lock of a device's queue. */
  queueLock(sdev: scsi_device): Spinlock;
  /** What protects a host's free commands; the lock word in its struct is at `at`. */
  commandLock(at: number, name: string): Spinlock;
  /** Every device queue's request_fn. Locks: queue_lock held, irqs off; let go inside. */
  readonly requestFn: RequestFn;
  readonly prepFn: PrepRequestFn | undefined;
  /** How a driver calls a command's done function. Context: hardirq or poll; locks of the driver's own may be held, no host_lock. */
  callDone(cmd: scsi_cmnd): Running;
  /** One command fewer in the host and the device. Context: any. */
  deviceUnbusy(sdev: scsi_device): Running;
  /** Ends the first bytes of a command's request. Returns: true when the command is gone. */
  endRequest(cmd: scsi_cmnd, uptodate: number, bytes: number, requeue: boolean): Running<boolean>;
  /** Lets a queue, and the starved devices of its host, go on. Context: any. */
  runQueue(q: RequestQueue): Running;
  /** The command's request goes back to the front of its queue, to be prepared anew. Context: any. */
  requeueCommand(q: RequestQueue, cmd: scsi_cmnd): Running;
  /** Which a dump's sanity check must know: held, is this host's lock one that others hold too? */
  isSharedLock(host: Scsi_Host): boolean;
}
