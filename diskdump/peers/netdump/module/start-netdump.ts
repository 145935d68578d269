// What happens when the kernel has died (drivers/net/netdump.c of RHEL 4): the others are stopped, the server is called until it
// answers, and then it asks and the client answers. The client keeps nothing in mind and repeats nothing but its call.
import { cpu } from "../../../../emulator/cpu/cpu.ts";
import { M, virtualOf } from "../../../../kernel-sim/abi/ram.ts";
import { passIdleRounds } from "../../../../kernel-sim/core/idle-poll.ts";
import { K, current, smp_processor_id } from "../../../../kernel-sim/core/kernel.ts";
import { beginStack, moduleFunctions } from "../../../../kernel-sim/core/kfunc.ts";
import { touch_nmi_watchdog } from "../../../../kernel-sim/core/nmi.ts";
import { machine_restart, show_registers } from "../../../../kernel-sim/core/panic.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { dump_smp_call_function } from "../../../../kernel-sim/core/smp.ts";
import {
  irqs_disabled,
  local_irq_disable,
  local_irq_restore,
  local_irq_save,
} from "../../../../kernel-sim/core/spinlock.ts";
import { delayNs } from "../../../../kernel-sim/core/timer.ts";
import {
  netpoll_poll,
  netpoll_poll_locked,
  netpoll_reset_locks,
  netpoll_set_trap,
} from "../../../../kernel-sim/net/netpoll.ts";
import { StructBytes } from "../../../format/struct-bytes.ts";
import { elf_gregset } from "../../../format/structs.ts";
import { fillElfRegisters } from "../../../module/registers.ts";
import { PLATFORMS } from "../../../userspace/platform.ts";
import { COMM, NETDUMP_VERSION, REPLY, startText } from "../protocol.ts";
import { send_log } from "./netconsole.ts";
import type { Netdump, NetdumpRequestView } from "./netdump.ts";
import { send_bytes, send_netdump_mem, send_text } from "./replies.ts";
import { free_req, get_new_req } from "./requests.ts";

const kfunc = moduleFunctions("netdump");

/** How long the dumping CPU waits for the others, whether they answer or not. */
const FREEZE_WAIT_MS = 3000;
/** The wait on a machine with one CPU. */
const SINGLE_CPU_WAIT_MS = 1000;
const REBOOT_WAIT_MS = 3000;
const LOCKED_WAIT_MS = 5000;
/** 10000 polls with 100 us in between: a second. */
const HANDSHAKE_POLLS = 10_000;
const HANDSHAKE_POLL_NS = 100_000;

/** Busy wait in milliseconds that keeps the NMI watchdog quiet. */
export const netdump_mdelay = kfunc("netdump_mdelay", function* (ms: number) {
  for (let i = 0; i < ms; i++) {
    yield* delayNs(1e6);
    touch_nmi_watchdog();
  }
});

/** Never returns. Locks that the interrupted code holds stay held. */
const freeze_cpu = kfunc("freeze_cpu", function* (nd: Netdump) {
  const { id } = cpu;
  M.u8[nd.bss.cpus_frozen + id] = 1;
  current().s.thread.rsp = cpu.sp;
  nd.record.frozenCpus.push(id);
  K.machine.stop(cpu);
  for (;;) yield;
});

/**
 * The crash hook.
 * @param regs physical address of the crash's pt_regs
 * Returns: 0 after the server's EXIT. Does not return otherwise.
 * Context: any, at the end of a panic or oops. Locks: none may be assumed free.
 */
export const netpoll_start_netdump = kfunc("netpoll_start_netdump", function* (nd: Netdump, regs: number) {
  const { record } = nd;
  if (nd.mode) {
    // The dump's own stack is in use: it would be written over.
    yield* printk("netpoll_start_netdump: called recursively.  rebooting.\n", 3);
    record.recursive = true;
    record.endedAtNs = cpu.clock;
    yield* netdump_mdelay(REBOOT_WAIT_MS);
    yield* machine_restart("netdump: called recursively");
  }
  // try_crashdump() has cleared the hook; RHEL 4's is not cleared, so that a crash in here comes back here.
  K.crashdump.netdump = (again) => netpoll_start_netdump(nd, again);
  nd.mode = true;
  const flags = local_irq_save();
  record.startedAtNs = cpu.clock;
  record.stage = "freeze";
  if (K.machine.cpus.length > 1) {
    dump_smp_call_function(() => freeze_cpu(nd), nd.options.freeze);
    yield* netdump_mdelay(FREEZE_WAIT_MS);
  } else yield* netdump_mdelay(SINGLE_CPU_WAIT_MS);
  for (const { id } of K.machine.cpus) {
    if (M.u8[nd.bss.cpus_frozen + id] !== 0) yield* printk(`CPU#${id} is frozen.\n`, 4);
    else if (id === smp_processor_id()) yield* printk(`CPU#${id} is executing netdump.\n`, 4);
  }
  const { sp, fp } = cpu;
  beginStack(cpu, nd.stackTop);
  yield* netpoll_netdump(nd, regs);
  cpu.sp = sp;
  cpu.fp = fp;
  yield* local_irq_restore(flags);
  return 0;
});

/** Calls the server until it answers, and then does what it says until it has enough. On the dump's own stack. */
const netpoll_netdump = kfunc("netpoll_netdump", function* (nd: Netdump, regs: number) {
  const { record } = nd;
  if (netpoll_poll_locked(nd.np)) {
    yield* printk("poll_lock is locked, unable to take a dump!\n", 4);
    yield* printk("rebooting in 5 seconds\n", 4);
    record.refused = `${nd.options.device}.poll_lock is held by a CPU that is frozen in the interface's poll()`;
    record.endedAtNs = cpu.clock;
    yield* netdump_mdelay(LOCKED_WAIT_MS);
    yield* machine_restart("netdump: poll_lock is locked");
  }
  netpoll_reset_locks(nd.np);
  nd.bss.prev_tick = cpu.clock;
  netpoll_set_trap(true);
  yield* printk("< netdump activated - performing handshake with the server. >\n", 4);
  record.stage = "handshake";
  yield* netdump_startup_handshake(nd);
  yield* printk("< handshake completed - listening for dump requests. >\n", 4);
  record.stage = "log";
  yield* send_log(nd);
  record.stage = "listening";
  while (nd.mode) {
    local_irq_disable();
    const start = cpu.clock;
    yield* netpoll_poll(nd.np);
    const req = yield* get_new_req(nd);
    if (!req) {
      if (irqs_disabled()) passIdleRounds(start, Infinity);
      continue;
    }
    record.requests++;
    yield* print_status(nd);
    yield* answer(nd, req, regs);
    yield* free_req(req);
  }
  yield* send_text(nd, 0, REPLY.END_NETDUMP, 0, "NETDUMP end.\n");
  yield* printk("NETDUMP END!\n", 4);
  record.stage = "ended";
});

/** Sends START_NETDUMP, waits a second for the acknowledgement, and so on: for ever. */
const netdump_startup_handshake = kfunc("netdump_startup_handshake", function* (nd: Netdump) {
  const { model } = K.map;
  const text = startText({
    task: virtualOf(current().addr),
    pageOffset: PLATFORMS[model.name].pageOffset,
    magic: nd.options.magic,
  });
  for (;;) {
    nd.record.starts++;
    yield* send_text(nd, PLATFORMS[model.name].elfMachine, REPLY.START_NETDUMP, NETDUMP_VERSION, text);
    let req: NetdumpRequestView | undefined;
    for (let i = 0; i < HANDSHAKE_POLLS && !req; i++) {
      const start = cpu.clock;
      yield* delayNs(HANDSHAKE_POLL_NS);
      yield* netpoll_poll(nd.np);
      req = yield* get_new_req(nd);
      if (!req && irqs_disabled()) {
        const left = HANDSHAKE_POLLS - 1 - i;
        i += passIdleRounds(start, cpu.clock + left * (cpu.clock - start));
      }
    }
    if (!req) continue;
    const { command, from } = req.s;
    yield* free_req(req);
    if (command !== COMM.START_NETDUMP_ACK) continue;
    nd.bss.effective_version = Math.min(NETDUMP_VERSION, from);
    if (from !== 0) break;
    yield* printk("netdump: server cannot handle this client -- rebooting.\n", 3);
    nd.record.refused = "the server cannot handle this client";
    nd.record.endedAtNs = cpu.clock;
    yield* netdump_mdelay(REBOOT_WAIT_MS);
    yield* machine_restart("netdump: server cannot handle this client");
  }
  yield* printk("NETDUMP START!\n", 4);
});

/** A line that turns, once a second. */
const print_status = kfunc("print_status", function* (nd: Netdump) {
  const second = Math.floor(K.time.jiffies / K.hz);
  if (second === nd.statusSecond) return;
  nd.statusSecond = second;
  nd.statusCount++;
  yield* printk(`${nd.bss.nr_req}(${K.time.jiffies})${"/|\\-"[nd.statusCount & 3]}\r`, 4);
});

/** Does what a request says. */
const answer = kfunc("netdump_answer", function* (nd: Netdump, req: NetdumpRequestView, regs: number) {
  const { nr, command, from } = req.s;
  switch (command) {
    case COMM.NONE:
      break;
    case COMM.SEND_MEM:
      yield* send_netdump_mem(nd, nr, from);
      break;
    case COMM.EXIT:
      nd.record.endedBy = "EXIT";
      nd.record.endedAtNs = cpu.clock;
      nd.mode = false;
      netpoll_set_trap(false);
      break;
    case COMM.REBOOT:
      nd.record.endedBy = "REBOOT";
      nd.record.endedAtNs = cpu.clock;
      nd.record.stage = "rebooting";
      yield* printk("netdump: rebooting in 3 seconds.\n", 4);
      yield* netdump_mdelay(REBOOT_WAIT_MS);
      yield* machine_restart("netdump");
      break;
    case COMM.HELLO: {
      const version = String(NETDUMP_VERSION).padStart(2, "0");
      yield* send_text(nd, nr, REPLY.HELLO, NETDUMP_VERSION, `Hello, this is netdump version 0.${version}\n`);
      break;
    }
    case COMM.GET_PAGE_SIZE:
      yield* send_text(nd, nr, REPLY.PAGE_SIZE, nd.pageSize, `PAGE_SIZE: ${nd.pageSize}\n`);
      break;
    case COMM.GET_REGS:
      yield* send_bytes(nd, nr, REPLY.REGS, totalRam(nd), registerSet(regs));
      break;
    case COMM.GET_NR_PAGES:
      yield* send_text(nd, nr, REPLY.NR_PAGES, nd.maxPfn, `Number of pages: ${nd.maxPfn}\n`);
      break;
    case COMM.SHOW_STATE:
      yield* send_text(nd, nr, REPLY.SHOW_STATE, 0, "");
      // Out of the mode, so that what is printed is sent.
      nd.mode = false;
      if (regs !== 0) yield* show_registers(regs);
      yield* show_state();
      nd.mode = true;
      break;
    default:
      yield* send_text(nd, nr, REPLY.ERROR, command, `Got unknown command code ${command}!\n`);
  }
});

const totalRam = (nd: Netdump): number => nd.ram.reduce((sum, { count }) => sum + count, 0);

function registerSet(regs: number): Uint8Array {
  const elf = new StructBytes(elf_gregset[K.map.model.name], K.map.model);
  fillElfRegisters(elf, regs);
  return elf.bytes;
}

/** Every task and what it does, as SysRq-t prints it. */
const show_state = kfunc("show_state", function* () {
  yield* printk("  task                 state pid\n", 4);
  for (const task of K.tasks.values()) {
    const state = task.running ? "R" : task.s.state === 2 ? "D" : "S";
    yield* printk(`${task.comm.padEnd(16)} ${virtualOf(task.addr).toString(16)} ${state} ${task.pid}\n`, 4);
  }
});
