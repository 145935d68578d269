// Linux 2.4.21: one io_request_lock, bottom halves, one timer wheel, tq_disk, requests on free lists, buffer heads.
import { io_request_lock } from "../block/io-request-lock.ts";
import { __make_request_24 } from "../block/buffer-request.ts";
import {
  REQUESTS_PER_DIRECTION,
  __get_request_wait,
  blkdev_release_request,
  get_request_24,
  never_congested,
} from "../block/request-freelist.ts";
import { plug_on_tq_disk, run_tq_disk } from "../block/tq-disk.ts";
import { finished } from "../../emulator/cpu/cpu.ts";
import { BottomHalves } from "../core/bottom-half.ts";
import type { Flavour } from "../core/flavour.ts";
import { global_runqueue_lock, look_at_all, update_process_times } from "../core/global-runqueue.ts";
import { K } from "../core/kernel.ts";
import { do_softirq, spawn_ksoftirqd } from "../core/ksoftirqd.ts";
import { Spinlock, staticLock } from "../core/spinlock.ts";
import { global_timer_bases, init_timer_bh, mark_timer_bh } from "../core/timer-bh.ts";
import { generic_direct_IO } from "../mm/kiobuf.ts";
import {
  __scsi_end_request,
  call_done_locked,
  scsi_host_busy_dec,
  scsi_queue_next_request,
  scsi_request_fn_24,
  scsi_requeue_24,
} from "../scsi/global-lock-queue.ts";
import { init_scsi_bh } from "../scsi/scsi-bh.ts";

/** Where kernels that call themselves 2.4 differ among each other. */
export interface Linux24Options {
  /**
   * "global": every SCSI host's lock, and that of its queues, is io_request_lock (kernel.org). "own": each host has a lock of its
   * own, as Red Hat's kernels let drivers have it.
   */
  readonly hostLock: "global" | "own";
  /** Bytes per buffer head of direct I/O: the file system's block, or a raw device's sector. */
  readonly blockBytes: number;
}

export const DEFAULT_LINUX_2_4: Linux24Options = { hostLock: "global", blockBytes: 4096 };

/** Never reached: a plugged queue waits for tq_disk to run. */
const NO_THRESHOLD = 0x7fffffff;

/** device_request_lock: one for the free commands of all hosts. */
const device_request_lock = (): Spinlock => K.locks.get("device_request_lock") ?? staticLock("device_request_lock");

export function linux_2_4_21(options: Linux24Options = DEFAULT_LINUX_2_4): Flavour {
  const own = options.hostLock === "own";
  return {
    version: "2.4.21",
    release: "2.4.21-4.EL",
    core: {
      runqueueLock: (k, at) => global_runqueue_lock(k, at),
      beforePick: (p, prev) => look_at_all(p, prev),
      schedulerTick: () => update_process_times(),
      timerBases: () => global_timer_bases(),
      askForTimers: () => mark_timer_bh(),
      doSoftirq: () => do_softirq(),
      initBottomHalves: () => {
        K.bottomHalves = new BottomHalves();
        init_timer_bh();
      },
      startThreads: () => spawn_ksoftirqd(),
    },
    block: {
      elevator: "linus",
      requestsPerDirection: REQUESTS_PER_DIRECTION,
      pagesPerIo: 1,
      unplugThreshold: NO_THRESHOLD,
      init: () => void io_request_lock(),
      sharedLock: () => io_request_lock(),
      plugged: (q) => plug_on_tq_disk(q),
      unplugged: () => finished(),
      letGo: () => run_tq_disk(),
      makeRequest: (q, bio) => __make_request_24(q, bio),
      getRequest: (q, rw) => get_request_24(q, rw),
      getRequestWait: (q, rw) => __get_request_wait(q, rw),
      releaseRequest: (q, rq) => blkdev_release_request(q, rq),
      congested: () => never_congested(),
      directIo: (rw, mapping, dio, pos, bytes, buffer) =>
        generic_direct_IO(rw, mapping, dio, pos, bytes, buffer, options.blockBytes),
    },
    scsi: {
      init: () => init_scsi_bh(),
      hostLock: (at, name) => (own ? new Spinlock(at, name) : io_request_lock()),
      queueLock: (sdev) => sdev.host.host_lock,
      commandLock: () => device_request_lock(),
      get requestFn() {
        return scsi_request_fn_24;
      },
      prepFn: undefined,
      callDone: (cmd) => call_done_locked(cmd),
      deviceUnbusy: (sdev) => scsi_host_busy_dec(sdev),
      endRequest: (cmd, uptodate, bytes, requeue) => __scsi_end_request(cmd, uptodate, bytes, requeue),
      runQueue: (q) => scsi_queue_next_request(q, undefined),
      requeueCommand: (q, cmd) => scsi_requeue_24(q, cmd),
      isSharedLock: (host) => host.host_lock === io_request_lock(),
    },
  };
}
