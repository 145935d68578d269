// Why a dump of LKCD's stands still: read off the machine's state when it has stopped. Nothing here runs in the kernel, and nothing
// is kept for it while the kernel runs; a cause is named in words that do not vary from trial to trial, so that campaigns can count.
import { HALT, STOPPED, type Cpu } from "../../../emulator/cpu/cpu.ts";
import type { Bio } from "../../../kernel-sim/block/bio.ts";
import { bioAt } from "../../../kernel-sim/block/bio.ts";
import { QUEUE_FLAG_PLUGGED, QUEUE_FLAG_STOPPED, type RequestQueue } from "../../../kernel-sim/block/queue.ts";
import { RQ_INACTIVE, type Request } from "../../../kernel-sim/block/request.ts";
import { SCSI_BH } from "../../../kernel-sim/core/bottom-half.ts";
import { IRQ_DISABLED, IRQ_INPROGRESS, vectorOfIrq } from "../../../kernel-sim/core/irq.ts";
import type { Kernel } from "../../../kernel-sim/core/kernel.ts";
import { frameAt } from "../../../kernel-sim/core/kfunc.ts";
import { list_entries, list_next } from "../../../kernel-sim/core/list.ts";
import { TASKLET_STATE_RUN, TASKLET_STATE_SCHED } from "../../../kernel-sim/core/softirq.ts";
import type { Spinlock } from "../../../kernel-sim/core/spinlock.ts";
import { scsi_cmnd, scsi_device } from "../../../kernel-sim/scsi/host.ts";
import { SCSI_STATE_FAILED, shost_in_recovery } from "../../../kernel-sim/scsi/timeout.ts";
import type { Lkcd } from "./lkcd.ts";

/** What the dump waits for, and why that does not come. */
export interface LkcdBlocked {
  readonly on: string;
  readonly because: string;
  /** The kernel function that was abandoned in the middle of it, where there is one. */
  readonly function: string | undefined;
}

/** Undefined when the state shows no cause that is known here. */
export function blockedLkcd(lkcd: Lkcd): LkcdBlocked | undefined {
  const { kernel: k, data, outcome } = lkcd;
  const { block } = lkcd.device;
  const dumping = k.machine.cpus[k.crash?.cpu ?? 0]!;
  const walk = k.endlessWalks.find(({ cpu }) => cpu === dumping.id);
  if (walk)
    return cause(
      `the end of ${walk.list}`,
      "it was left half linked, and the walk goes in a circle",
      walk.functionName,
    );
  if (outcome.stage === "halt CPUs")
    return cause("the other CPUs to halt", "one never comes to schedule(), where it would stop");
  if (outcome.stage === "wait for other CPUs") return silentCpu(k, dumping);
  if (!block || data.dump_io_count === 0) return undefined;
  const q = block.bdev.disk.queue;
  const rq = requestOf(k, block.bios);
  if (rq) return whyUnfinished(k, q, rq, dumping);
  if (functionsOf(k, dumping).some((name) => /get_request_wait$/.test(name))) {
    const because = whyNothingEnds(k, q, dumping);
    return cause("a free request", `the pool is empty, and ${because.because}`, because.function);
  }
  return undefined;
}

const cause = (on: string, because: string, functionName?: string): LkcdBlocked => ({
  ...{ on, because },
  function: functionName,
});

const isDead = (c: Cpu): boolean => c.state === STOPPED || (c.state === HALT && !c.interruptsEnabled);

function silentCpu(k: Kernel, dumping: Cpu): LkcdBlocked {
  const silent = k.machine.cpus.find((c) => c !== dumping && c.state === STOPPED);
  const because = silent ? "one stands in INIT's slave loop, which nothing ends" : "one does not take the NMI";
  return cause("the answer of the other CPUs", because, undefined);
}

/** The functions on a CPU's stack, innermost first. */
function functionsOf(k: Kernel, c: Cpu): string[] {
  const names = [k.functionName(c.functionId)];
  for (let frame = c.fp, i = 0; frame !== 0 && i < 64; i++) {
    const { returns, next } = frameAt(frame);
    const name = k.functionAt(returns);
    if (name === undefined) break;
    names.push(name);
    if (!(next > frame)) break;
    frame = next;
  }
  return names;
}

/** A request that carries one of these bios. In 2.4 a command has a copy of its request, which is free again. */
function requestOf(k: Kernel, bios: readonly Bio[]): Request | undefined {
  for (const rq of k.block.requests.values()) {
    if (rq.s.rq_status === RQ_INACTIVE) continue;
    let seen = 0;
    for (let at = rq.bio; at !== undefined && seen < 1024; at = bioAt(at.s.bi_next), seen++) {
      if (bios.includes(at) && at.s.bi_size > 0) return rq;
    }
  }
  return undefined;
}

/** The dump's own request: still in the queue, at the adapter, or on its way back. */
function whyUnfinished(k: Kernel, q: RequestQueue, rq: Request, dumping: Cpu): LkcdBlocked {
  const on = "completion of the dump's write";
  const cmd = rq.special instanceof scsi_cmnd ? rq.special : undefined;
  const because = isReached(q, rq)
    ? whyNotSent(k, q, dumping)
    : isLinked(rq) || !cmd
      ? cause("", "its queue's lists do not lead to it: they were left half linked")
      : whyNotBack(k, cmd, dumping);
  return cause(on, because.because, because.function);
}

/** It says itself that it is in a list of its queue. */
const isLinked = (rq: Request): boolean =>
  list_next(rq.queuelist) !== rq.queuelist || (rq.elevatorPrivate as { queued?: boolean } | undefined)?.queued === true;

/** Whether the driver, who walks the lists forward, comes by this request. */
function isReached(q: RequestQueue, rq: Request): boolean {
  if (list_entries(q.queue_head, 4096).includes(rq.queuelist)) return true;
  const { fifoLists = [] } = q.elevator as unknown as { readonly fifoLists?: readonly number[] };
  const { fifo } = (rq.elevatorPrivate ?? {}) as { readonly fifo?: number };
  return fifo !== undefined && fifoLists.some((head) => list_entries(head, 4096).includes(fifo));
}

/** The request waits in its queue: what keeps scsi_request_fn from sending it? */
function whyNotSent(k: Kernel, q: RequestQueue, dumping: Cpu): LkcdBlocked {
  const on = "";
  const sdev = q.queuedata;
  if (!(sdev instanceof scsi_device)) return cause(on, "its queue does not move");
  const { host } = sdev;
  const ends = (): LkcdBlocked => whyNothingEnds(k, q, dumping);
  if (shost_in_recovery(host)) return whyNoInterrupt(k, dumping) ?? recovery();
  if (q.hasFlag(QUEUE_FLAG_STOPPED)) return cause(on, "its queue is stopped");
  if (q.hasFlag(QUEUE_FLAG_PLUGGED)) {
    // In 2.4 the plug says that it is queued (sync) before it is linked, and until it has run.
    const where = k.flavour.version === "2.6.9" ? "" : ", and the plug was lost on its way to tq_disk or from there";
    return cause(on, `its queue is plugged${where}`, where === "" ? undefined : "queue_task");
  }
  if (sdev.s.device_busy >= sdev.s.queue_depth) {
    const { because, function: where } = ends();
    return cause(on, `the disk has all the commands that it takes (device_busy), and ${because}`, where);
  }
  if (host.s.can_queue > 0 && host.s.host_busy >= host.s.can_queue) {
    const { because, function: where } = ends();
    return cause(on, `the adapter has all the commands that it takes (host_busy), and ${because}`, where);
  }
  if (list_entries(host.free_list, 4096).length === 0) {
    const { because, function: where } = ends();
    return cause(on, `the host has no free command, and ${because}`, where);
  }
  if (host.s.host_blocked !== 0 || host.s.host_self_blocked !== 0)
    return cause(on, "the host is blocked (host_blocked)");
  if (sdev.s.device_blocked !== 0) return cause(on, "the disk is blocked (device_blocked)");
  return cause(on, "its queue does not move");
}

const recovery = (): LkcdBlocked =>
  cause("", "the host is in error recovery, and its thread is never scheduled", "scsi_error_handler");

/** The command was sent: has the adapter's interrupt come, and what became of it then? */
function whyNotBack(k: Kernel, cmd: scsi_cmnd, dumping: Cpu): LkcdBlocked {
  const lost = lostOnTheWay(k, cmd, dumping);
  if (lost) return lost;
  const interrupt = whyNoInterrupt(k, dumping);
  if (interrupt) return interrupt;
  // What came of the silence: the command timed out. The silence is the cause where it is known.
  if (cmd.s.state === SCSI_STATE_FAILED || shost_in_recovery(cmd.device.host)) return recovery();
  return cause("", "the adapter does not answer");
}

/** scsi_done() has been called for it (its serial number is gone), and nobody goes on from there. */
function lostOnTheWay(k: Kernel, cmd: scsi_cmnd, dumping: Cpu): LkcdBlocked | undefined {
  if (cmd.s.serial_number !== 0) return undefined;
  if (k.flavour.version !== "2.6.9") {
    const half = bottomHalf(k);
    if (half) return half;
    const queued = list_entries(k.symbol("scsi_bh_queue_head"), 4096).includes(cmd.eh_entry);
    if (queued) return cause("", "it is on the bottom half's queue, and SCSI_BH does not run");
    return cause("", "SCSI_BH had taken it off its queue when it was stopped", "scsi_bottom_half_handler");
  }
  const owner = k.machine.cpus.find((c) => list_entries(k.scsi.doneQueues[c.id]!, 4096).includes(cmd.eh_entry));
  if (!owner)
    return cause("", "it is on no done queue: the list was lost with the stack of scsi_softirq", "scsi_softirq");
  if (isDead(owner) && owner !== dumping) return cause("", "it is on the done queue of a CPU that has stopped");
  return cause("", "it is on the done queue, and the SCSI softirq does not run");
}

/** Commands of others do not end either: for the same reasons, of which the first that shows is named. */
function whyNothingEnds(k: Kernel, q: RequestQueue, dumping: Cpu): LkcdBlocked {
  const interrupt = whyNoInterrupt(k, dumping);
  if (interrupt) return interrupt;
  const half = bottomHalf(k);
  if (half) return half;
  const sdev = q.queuedata;
  if (sdev instanceof scsi_device && shost_in_recovery(sdev.host)) return recovery();
  const stopped = k.machine.cpus.some(
    (c) => c !== dumping && isDead(c) && list_entries(k.scsi.doneQueues[c.id]!, 4096).length > 0,
  );
  if (stopped) {
    return cause("", "commands that have ended are on the done queue of a CPU that has stopped");
  }
  return cause(
    "",
    "commands that were sent do not come back: they were lost with a context that was abandoned",
    abandonedIn(dumping),
  );
}

const abandonedIn = (c: Cpu): string | undefined => c.abandoned[0]?.functionName;

/** A line that asks and is not heard. */
function whyNoInterrupt(k: Kernel, dumping: Cpu): LkcdBlocked | undefined {
  const { entries } = k.machine.ioApic;
  for (let irq = 0; irq < entries.length; irq++) {
    const entry = entries[irq]!;
    const desc = k.irq.descs[irq];
    if (!desc || !(entry.asserted || entry.remoteIrr || (desc.status & IRQ_INPROGRESS) !== 0)) continue;
    const vector = vectorOfIrq(irq);
    const holder = contextWith(k, vector);
    if ((desc.status & IRQ_INPROGRESS) !== 0) {
      const where = holder?.functionName;
      const in_ = where === undefined ? "" : ` in ${where}`;
      return cause("", `the adapter's line is IRQ_INPROGRESS: its handler was abandoned${in_}`, where);
    }
    if (holder) {
      return cause(
        "",
        `the adapter's vector is in service without an EOI: its context was abandoned in ${holder.functionName}`,
        holder.functionName,
      );
    }
    const stopped = k.machine.cpus.find((c) => c !== dumping && isDead(c) && c.apic.isRequested(vector));
    if (stopped) return cause("", "the adapter's interrupt had gone to a CPU that stopped before it took it");
    if ((desc.status & IRQ_DISABLED) !== 0 || entry.masked) return cause("", "the adapter's line is masked");
    if (dumping.apic.isRequested(vector)) return heldBack(k, dumping);
  }
  return undefined;
}

/** A vector that waits at the dumping CPU. */
function heldBack(k: Kernel, dumping: Cpu): LkcdBlocked {
  if (!dumping.interruptsEnabled) return cause("", "the dumping CPU has interrupts off");
  if (dumping.apic.taskPriority > 0)
    return cause("", "the dumping CPU's task priority holds the adapter's vector back");
  const inService = dumping.apic.inService.at(-1);
  const holder = inService === undefined ? undefined : contextWith(k, inService);
  return cause("", "a vector in service without an EOI holds the adapter's back", holder?.functionName);
}

/** The abandoned context that still has a vector in service. */
function contextWith(k: Kernel, vector: number): { readonly functionName: string } | undefined {
  for (const c of k.machine.cpus) {
    if (!c.apic.inService.includes(vector)) continue;
    const context = c.abandoned.find(({ inService }) => inService.includes(vector));
    if (context) return context;
  }
  return undefined;
}

/** 2.4: what keeps SCSI_BH, one bottom half among others, from running anywhere. */
function bottomHalf(k: Kernel): LkcdBlocked | undefined {
  if (k.flavour.version === "2.6.9") return undefined;
  const { global_bh_lock: lock, bh_task_vec } = k.bottomHalves;
  if (lock.isHeld && isAbandoned(lock)) {
    const where = bottomHalfOf(lock);
    return cause("", `global_bh_lock is held by a bottom half that was abandoned in ${where}`, where);
  }
  if (lock.isHeld && lock.owner?.id === k.crash?.cpu)
    return cause("", "global_bh_lock is held by the bottom half that crashed");
  const tasklet = bh_task_vec[SCSI_BH]!;
  const { state } = tasklet.s;
  if ((state & TASKLET_STATE_RUN) !== 0)
    return cause("", "SCSI_BH's tasklet is marked RUN, and its CPU was stopped in it");
  if ((state & TASKLET_STATE_SCHED) === 0) return undefined;
  const owner = k.machine.cpus.find((c) => k.softirqs.hiTasklets[c.id]!.includes(tasklet));
  if (!owner) {
    return cause(
      "",
      "SCSI_BH's tasklet is marked SCHED, and is on no list: tasklet_hi_action was stopped with it",
      "tasklet_hi_action",
    );
  }
  return isDead(owner) ? cause("", "SCSI_BH's tasklet is scheduled on a CPU that has stopped") : undefined;
}

/** Where the holder was stopped. */
function bottomHalfOf({ owner, ownerEpoch, holder }: Spinlock): string {
  return owner?.abandoned.find(({ epoch }) => epoch === ownerEpoch)?.functionName ?? holder;
}

const isAbandoned = ({ owner, ownerEpoch }: Spinlock): boolean =>
  owner !== undefined && (isDead(owner) || ownerEpoch !== owner.epoch);
