// Plugging by task queue (drivers/block/ll_rw_blk.c of 2.4): a plugged queue stands on tq_disk until somebody who waits for I/O, or
// bdflush, runs that list. No timer does: plugged I/O that nobody waits for stays where it is.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { K, type Kernel } from "../core/kernel.ts";
import { textAddressOf } from "../core/kfunc.ts";
import { QueuedTask, TaskQueue, queue_task, run_task_queue, tqueueLock } from "../core/task-queue.ts";
import { generic_unplug_device, type RequestQueue } from "./queue.ts";

const queues = new WeakMap<Kernel, TaskQueue>();
const plugs = new WeakMap<RequestQueue, QueuedTask>();

export function tq_disk(): TaskQueue {
  let queue = queues.get(K);
  if (!queue) queues.set(K, (queue = new TaskQueue("tq_disk", tqueueLock())));
  return queue;
}

/** The queue's plug_tq. */
function plugOf(q: RequestQueue): QueuedTask {
  let plug = plugs.get(q);
  if (!plug) {
    plug = new QueuedTask(() => generic_unplug_device(q), textAddressOf(generic_unplug_device.id), q.addr);
    plugs.set(q, plug);
    tq_disk().know(plug);
  }
  return plug;
}

/** A queue was plugged: it goes on tq_disk. Locks: io_request_lock held; tqueue_lock inside. */
export const plug_on_tq_disk = (q: RequestQueue): Running => queue_task(plugOf(q), tq_disk());

/** Takes every plug out. Context: process. */
export const run_tq_disk = (): Running => run_task_queue(tq_disk());
