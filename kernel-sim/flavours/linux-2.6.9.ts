// Linux 2.6.9: a lock per queue and host, a runqueue and a timer wheel per CPU, softirqs, requests from a slab, bios.
import { finished } from "../../emulator/cpu/cpu.ts";
import { BIO_MAX_PAGES } from "../block/block-layer.ts";
import { __make_request } from "../block/make-request.ts";
import { BLKDEV_MAX_RQ, UNPLUG_THRESH, unplug_if_plugged, unplug_later, unplug_not_later } from "../block/queue.ts";
import { get_request, get_request_wait, queue_congested, release_request } from "../block/request-pool.ts";
import type { Flavour } from "../core/flavour.ts";
import { scheduler_tick } from "../core/sched.ts";
import { TIMER_SOFTIRQ, do_softirq, raise_softirq_irqoff } from "../core/softirq.ts";
import { Spinlock } from "../core/spinlock.ts";
import { per_cpu_timer_bases } from "../core/timer.ts";
import { blkdev_direct_IO } from "../mm/direct-io.ts";
import { scsi_end_request } from "../scsi/completion.ts";
import { init_scsi_softirq } from "../scsi/dispatch.ts";
import { scsi_prep_fn, scsi_request_fn } from "../scsi/queue.ts";
import { scsi_device_unbusy, scsi_requeue_command, scsi_run_queue } from "../scsi/requeue.ts";

// Arrows throughout: the functions are looked up when they are called, so the order of imports does not matter.
export const LINUX_2_6_9: Flavour = {
  version: "2.6.9",
  /** RHEL4's kernel. */
  release: "2.6.9-5.ELsmp",
  core: {
    runqueueLock: (_k, at, cpuId) => new Spinlock(at, `runqueue_lock.${cpuId}`),
    beforePick: () => {},
    schedulerTick: () => scheduler_tick(),
    timerBases: () => per_cpu_timer_bases(),
    askForTimers: () => {
      raise_softirq_irqoff(TIMER_SOFTIRQ);
      return finished();
    },
    doSoftirq: () => do_softirq(),
    initBottomHalves: () => {},
    startThreads: () => finished(),
  },
  block: {
    elevator: "deadline",
    get requestsPerDirection() {
      return BLKDEV_MAX_RQ;
    },
    get pagesPerIo() {
      return BIO_MAX_PAGES;
    },
    get unplugThreshold() {
      return UNPLUG_THRESH;
    },
    init: () => {},
    sharedLock: () => undefined,
    plugged: (q) => unplug_later(q),
    unplugged: (q) => unplug_not_later(q),
    letGo: (q) => unplug_if_plugged(q),
    makeRequest: (q, bio) => __make_request(q, bio),
    getRequest: (q, rw, gfp) => get_request(q, rw, gfp),
    getRequestWait: (q, rw) => get_request_wait(q, rw),
    releaseRequest: (q, rq) => release_request(q, rq),
    congested: (q, rw) => queue_congested(q, rw),
    directIo: (rw, mapping, dio, pos, bytes, buffer) => blkdev_direct_IO(rw, mapping, dio, pos, bytes, buffer),
  },
  scsi: {
    init: () => init_scsi_softirq(),
    hostLock: (at, name) => new Spinlock(at, name),
    queueLock: (sdev) => sdev.sdev_lock,
    commandLock: (at, name) => new Spinlock(at, name),
    get requestFn() {
      return scsi_request_fn;
    },
    get prepFn() {
      return scsi_prep_fn;
    },
    callDone: (cmd) => cmd.scsi_done!(cmd),
    deviceUnbusy: (sdev) => scsi_device_unbusy(sdev),
    endRequest: (cmd, uptodate, bytes, requeue) => scsi_end_request(cmd, uptodate, bytes, requeue),
    runQueue: (q) => scsi_run_queue(q),
    requeueCommand: (q, cmd) => scsi_requeue_command(q, cmd),
    isSharedLock: () => false,
  },
};
