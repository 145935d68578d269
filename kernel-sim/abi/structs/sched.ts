// Tasks and runqueues (include/linux/sched.h, asm-x86_64/thread_info.h, kernel/sched.c of 2.6.9).
import {
  array,
  char,
  funcPtr,
  int,
  long,
  struct,
  typedef,
  u64,
  uint,
  ulong,
  voidPtr,
  enumeration,
  u16,
  u8,
} from "../types.ts";
import { sigpending, sigset_t } from "./signal.ts";
import { hlist_node, listHead, spinlock_t, timespec } from "./base.ts";

export const pid_type = enumeration("pid_type", {
  PIDTYPE_PID: 0,
  PIDTYPE_TGID: 1,
  PIDTYPE_PGID: 2,
  PIDTYPE_SID: 3,
  PIDTYPE_MAX: 4,
});
export const pid = struct("pid", { nr: int, pid_chain: hlist_node, pid_list: listHead });

export const thread_info = struct("thread_info", {
  task: voidPtr,
  exec_domain: voidPtr,
  flags: uint,
  status: uint,
  cpu: uint,
  preempt_count: int,
  addr_limit: ulong,
});

export const thread_struct = struct("thread_struct", {
  rsp0: ulong,
  rsp: voidPtr,
  userrsp: ulong,
  fs: ulong,
  gs: ulong,
  fsbase: ulong,
  gsbase: ulong,
});

export const task_struct = struct(
  "task_struct",
  {
    state: long,
    thread_info: voidPtr,
    usage: int,
    flags: ulong,
    ptrace: ulong,
    lock_depth: int,
    prio: int,
    static_prio: int,
    run_list: listHead,
    array: voidPtr,
    sleep_avg: ulong,
    timestamp: u64,
    last_ran: u64,
    activated: int,
    policy: ulong,
    cpus_allowed: ulong,
    time_slice: uint,
    first_time_slice: uint,
    tasks: listHead,
    mm: voidPtr,
    active_mm: voidPtr,
    exit_state: int,
    exit_code: int,
    exit_signal: int,
    pid: int,
    tgid: int,
    real_parent: voidPtr,
    parent: voidPtr,
    children: listHead,
    sibling: listHead,
    group_leader: voidPtr,
    pids: array(pid, 4),
    utime: ulong,
    stime: ulong,
    start_time: timespec,
    comm: array(char, 16),
    thread: thread_struct,
    fs: voidPtr,
    files: voidPtr,
    namespace: voidPtr,
    signal: voidPtr,
    sighand: voidPtr,
    blocked: sigset_t,
    real_blocked: sigset_t,
    pending: sigpending,
    proc_lock: spinlock_t,
  },
  { doc: "include/linux/sched.h" },
);

export const MAX_PRIO = 140;
export const prio_array = struct("prio_array", {
  nr_active: int,
  // BITMAP_SIZE longs in C: three of 64 bits, five of 32. Words of 32 bits are the same bytes on little-endian machines.
  bitmap: array(uint, 6),
  queue: array(listHead, MAX_PRIO),
});
export const runqueue = struct("runqueue", {
  lock: spinlock_t,
  nr_running: ulong,
  nr_switches: u64,
  expired_timestamp: ulong,
  nr_uninterruptible: ulong,
  timestamp_last_tick: u64,
  curr: voidPtr,
  idle: voidPtr,
  prev_mm: voidPtr,
  active: voidPtr,
  expired: voidPtr,
  arrays: array(prio_array, 2),
});

/** x86_64's per-cpu area that gs points at (asm-x86_64/pda.h). */
export const x8664_pda = struct("x8664_pda", {
  pcurrent: voidPtr,
  data_offset: ulong,
  me: voidPtr,
  kernelstack: voidPtr,
  oldrsp: ulong,
  irqcount: int,
  cpunumber: int,
  irqstackptr: voidPtr,
  __softirq_pending: uint,
  __nmi_count: uint,
  active_mm: voidPtr,
  mmu_state: int,
  apic_timer_irqs: uint,
});

/** A gate of the interrupt descriptor table (asm-x86_64/desc.h; the AMD64 manual's layout, bit fields as their words). */
export const gate_struct = struct("gate_struct", {
  offset_low: u16,
  segment: u16,
  /** ist:3, zero0:5, type:5, dpl:2, p:1 */
  flags: u16,
  offset_middle: u16,
  offset_high: uint,
  zero1: uint,
});
/** The hardware's task state segment (asm-x86_64/processor.h). */
export const tss_struct = struct(
  "tss_struct",
  {
    reserved1: uint,
    rsp0: u64,
    rsp1: u64,
    rsp2: u64,
    reserved2: u64,
    ist: array(u64, 7),
    reserved3: uint,
    reserved4: uint,
    reserved5: u16,
    io_bitmap_base: u16,
  },
  { packed: true },
);
/** NR_CPUS bits (include/linux/cpumask.h). */
export const cpumask_t = typedef("cpumask_t", struct("cpumask_t", { bits: array(ulong, 1) }));

export const hw_interrupt_type = struct("hw_interrupt_type", {
  typename: voidPtr,
  startup: funcPtr,
  shutdown: funcPtr,
  enable: funcPtr,
  disable: funcPtr,
  ack: funcPtr,
  end: funcPtr,
  set_affinity: funcPtr,
});
export const irqaction = struct("irqaction", {
  handler: funcPtr,
  flags: ulong,
  mask: ulong,
  name: voidPtr,
  dev_id: voidPtr,
  next: voidPtr,
});
export const irq_desc = struct(
  "irq_desc",
  {
    status: uint,
    handler: voidPtr,
    action: voidPtr,
    depth: uint,
    irq_count: uint,
    irqs_unhandled: uint,
    lock: spinlock_t,
  },
  { doc: "include/linux/irq.h" },
);
export const irq_desc_t = typedef("irq_desc_t", irq_desc);
export const softirq_action = struct("softirq_action", { action: funcPtr, data: voidPtr });
export const tvec_root_s = struct("tvec_root_s", { vec: array(listHead, 256) });
export const tvec_s = struct("tvec_s", { vec: array(listHead, 64) });
export const tvec_t_base_s = struct("tvec_t_base_s", {
  lock: spinlock_t,
  timer_jiffies: ulong,
  running_timer: voidPtr,
  tv1: tvec_root_s,
  tv2: tvec_s,
  tv3: tvec_s,
  tv4: tvec_s,
  tv5: tvec_s,
});
export const NR_IRQS = 224;
export const kernel_stat = struct("kernel_stat", { cpustat: array(u64, 8), irqs: array(uint, NR_IRQS) });
export const byte = u8;
