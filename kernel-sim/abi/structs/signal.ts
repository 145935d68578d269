// Signals (include/asm-x86_64/signal.h, linux/signal.h, sched.h of 2.6.9).
import { array, funcPtr, int, struct, typedef, ulong, voidPtr } from "../types.ts";
import { atomic_t, listHead, spinlock_t, wait_queue_head_t } from "./base.ts";

export const NSIG = 64;
/** One word holds the 64 signals of a 64-bit platform. */
export const sigset_t = typedef("sigset_t", struct("sigset_t", { sig: array(ulong, 1) }));
export const siginfo_t = typedef(
  "siginfo_t",
  struct("siginfo", { si_signo: int, si_errno: int, si_code: int, _pad: array(int, 29) }),
);
export const sigpending = struct("sigpending", { list: listHead, signal: sigset_t });
export const sigqueue = struct("sigqueue", {
  list: listHead,
  lock: voidPtr,
  flags: int,
  info: siginfo_t,
  user: voidPtr,
});
export const sigaction = struct("sigaction", {
  sa_handler: funcPtr,
  sa_flags: ulong,
  sa_restorer: funcPtr,
  sa_mask: sigset_t,
});
export const k_sigaction = struct("k_sigaction", { sa: sigaction });
export const sighand_struct = struct(
  "sighand_struct",
  { count: atomic_t, action: array(k_sigaction, NSIG), siglock: spinlock_t },
  { doc: "what a process does about each signal (include/linux/sched.h)" },
);
export const signal_struct = struct(
  "signal_struct",
  {
    count: atomic_t,
    live: atomic_t,
    wait_chldexit: wait_queue_head_t,
    curr_target: voidPtr,
    shared_pending: sigpending,
    group_exit: int,
    group_exit_code: int,
    group_exit_task: voidPtr,
    notify_count: int,
    group_stop_count: int,
    stop_state: int,
    pgrp: int,
    tty_old_pgrp: int,
    session: int,
    leader: int,
    tty: voidPtr,
  },
  { doc: "what the threads of a process share of its signals (include/linux/sched.h)" },
);
