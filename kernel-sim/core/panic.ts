// How a kernel dies (kernel/panic.c, arch/x86_64/kernel/traps.c of 2.6.9 with the diskdump patch).
import { print_tainted } from "./taint.ts";
import { cpu, halt, type Running } from "../../emulator/cpu/cpu.ts";
import { notifier_block } from "../abi/structs/base.ts";
import { K, current, this_cpu } from "./kernel.ts";
import { FUNCTION_BYTES, frameAt, kfunc, textAddressOf } from "./kfunc.ts";
import { touch_nmi_watchdog } from "./nmi.ts";
import { bust_spinlocks, printk } from "./printk.ts";
import { pushRegisters, savedRegisters } from "./registers.ts";
import { virtualOf } from "../abi/ram.ts";
import { local_irq_disable, spin_lock, spin_trylock, spin_unlock } from "./spinlock.ts";
import { delayNs } from "./timer.ts";
import { do_exit } from "./fork.ts";
import { exception } from "./traps.ts";

/** A dumper's entry: `regs` is the physical address of the pt_regs at the crash. Returns when it could not dump. */
export type CrashFunction = (regs: number) => Running<number>;

/**
 * The dumpers in order of preference: crash_kexec comes before all others in panic() and die(); diskdump works in preference to
 * netdump (white paper 2.2). A kernel has the hooks of those that were loaded.
 */
const CRASH_HOOKS = ["kexec", "lkcd", "diskdump", "netdump"] as const;
export type CrashHooks = { [Hook in (typeof CRASH_HOOKS)[number]]?: CrashFunction | undefined };

/** How and where the machine died: what the oracles and the record say of the crash. */
export interface CrashSite {
  readonly ns: number;
  readonly cpu: number;
  /** When the INIT or NMI landed: what is printed before the crash is noted may take time. `ns` for the others. */
  readonly struckNs: number;
  readonly functionName: string;
  readonly task: string;
  readonly reason: string;
  readonly context: "process" | "softirq" | "hardirq" | "nmi";
  readonly regs: number;
}

export interface Notifier {
  readonly name: string;
  readonly priority: number;
  readonly call: (event: number) => Running;
}

/** A notifier chain, linked in RAM by priority. */
export class NotifierChain {
  readonly entries: (Notifier & { readonly addr: number })[] = [];
  register(notifier: Notifier): void {
    const addr = K.bootmem(K.sizeOf(notifier_block));
    const block = K.view(notifier_block, addr);
    block.priority = notifier.priority;
    block.notifier_call = textAddressOf((notifier.call as unknown as { id?: number }).id ?? 0);
    this.entries.push({ ...notifier, addr });
    this.entries.sort((a, b) => b.priority - a.priority);
    this.entries.forEach((entry, i) => {
      K.view(notifier_block, entry.addr).next = this.entries[i + 1]?.addr ?? 0;
    });
  }
}

export const notifier_call_chain = kfunc("notifier_call_chain", function* (chain: NotifierChain, event: number) {
  for (const entry of chain.entries) yield* entry.call(event);
});

function contextOf(): CrashSite["context"] {
  const p = this_cpu();
  if (p.inNmi) return "nmi";
  if (p.hardirqDepth > 0) return "hardirq";
  return p.softirqDepth > 0 ? "softirq" : "process";
}

/** Notes the first crash; a later one in the dump is a double panic. `ip` lies in the function that crashed. */
function noteCrash(reason: string, regs: number, ip: number): void {
  const c = cpu;
  const p = this_cpu();
  const site: CrashSite = {
    ns: c.clock,
    struckNs: p.interrupted?.ns ?? c.clock,
    cpu: c.id,
    functionName: p.interrupted?.functionName ?? K.functionAt(ip) ?? "?",
    task: p.current.name,
    reason,
    context: contextOf(),
    regs,
  };
  if (K.crash) K.secondCrash = K.secondCrash ?? site;
  else {
    K.crash = site;
    K.onCrash?.(site);
  }
}

/**
 * Gives the dumpers their chance in their order. A hook is cleared before it is called, so that a panic inside one falls
 * through to the next.
 * Returns: nothing when no dumper took it or all failed; a dumper that succeeds does not return (it reboots).
 */
export const try_crashdump = kfunc("try_crashdump", function* (regs: number) {
  const { crashdump } = K;
  for (let i = 0; i < CRASH_HOOKS.length; i++) {
    const hook = crashdump[CRASH_HOOKS[i]!];
    if (!hook) continue;
    crashdump[CRASH_HOOKS[i]!] = undefined;
    yield* hook(regs);
  }
});

/** "Kernel panic": prints, dumps, and waits for the reboot. Never returns. Context: any. */
export const panic = kfunc("panic", function* (text: string) {
  const regs = pushRegisters(cpu.sp);
  cpu.sp = regs;
  noteCrash(`panic: ${text}`, regs, frameAt(cpu.fp).returns);
  bust_spinlocks(1);
  yield* printk(`Kernel panic - not syncing: ${text}\n`, 0);
  bust_spinlocks(0);
  yield* try_crashdump(regs);
  yield* notifier_call_chain(K.panicNotifiers, 0);
  yield* restart_after_panic();
});

const restart_after_panic = kfunc("panic_wait", function* () {
  const seconds = K.boot.panicTimeoutSeconds;
  if (seconds > 0) {
    yield* printk(`Rebooting in ${seconds} seconds..`, 0);
    for (let i = 0; i < seconds; i++) {
      touch_nmi_watchdog();
      yield* delayNs(1e9);
    }
    yield* machine_restart("panic");
  }
  local_irq_disable();
  K.machine.stopReason = "the kernel died and does not reboot (panic_timeout is 0)";
  for (;;) yield* halt();
});

/** The machine reboots: the simulation of this kernel ends here. */
export const machine_restart = kfunc("machine_restart", function* (why: string) {
  K.restarted = why;
  K.machine.stopReason = `reboot: ${why}`;
  local_irq_disable();
  for (;;) yield* halt();
});

/**
 * An oops: registers and stack on the console, then the dump, then either panic (in interrupt, or panic_on_oops) or the
 * end of the task.
 * @param regs physical address of the pt_regs of the fault
 */
export const die = kfunc("die", function* (text: string, regs: number) {
  noteCrash(text, regs, savedRegisters(regs).ip);
  yield* oops_begin();
  yield* printk(`${text}\n`, 0);
  yield* show_registers(regs);
  bust_spinlocks(0);
  yield* try_crashdump(regs);
  oops_end();
  const p = this_cpu();
  if (p.hardirqDepth > 0 || p.softirqDepth > 0) yield* panic("Fatal exception in interrupt");
  if (K.boot.panicOnOops) yield* panic("Fatal exception");
  yield* do_exit();
});

/** One oops at a time, unless this CPU's own oops faults. Interrupts stay off from here. */
const oops_begin = kfunc("oops_begin", function* () {
  local_irq_disable();
  if (!spin_trylock(K.dieLock) && K.dieOwner !== cpu.id) yield* spin_lock(K.dieLock);
  K.dieOwner = cpu.id;
  bust_spinlocks(1);
});

function oops_end(): void {
  K.dieOwner = undefined;
  if (K.dieLock.owner === cpu) spin_unlock(K.dieLock);
}

/** Registers and a call trace, as the oops prints them. */
export const show_registers = kfunc("show_registers", function* (regs: number) {
  const c = cpu;
  const { ip, sp, fp } = savedRegisters(regs);
  const hex = (address: number): string => virtualOf(address).toString(16).padStart(16, "0");
  const task = current();
  yield* printk(`CPU ${c.id} \n`, 0);
  yield* printk(`Modules linked in: ${[...K.modules.loaded.keys()].reverse().join(" ")}\n`, 0);
  yield* printk(`Pid: ${task.pid}, comm: ${task.comm} ${print_tainted()} ${K.release}\n`, 0);
  if (Number.isNaN(ip)) {
    // An NMI or INIT met a process in its own code: what its registers hold is no address of the kernel's.
    yield* printk("RIP: 0033: in user mode\n", 0);
  } else {
    yield* printk(`RIP: 0010:[<${hex(ip)}>] <${hex(ip)}>{${K.functionAt(ip) ?? "?"}+${ip % FUNCTION_BYTES}}\n`, 0);
    yield* printk(`RSP: 0018:${hex(sp)}\n`, 0);
  }
  yield* printk(`Process ${task.comm} (pid: ${task.pid}, threadinfo ${hex(task.stack)}, task ${hex(task.addr)})\n`, 0);
  yield* printk("Call Trace:", 0);
  for (const { name, offset } of returnsFrom(fp).slice(0, 16)) yield* printk(`{${name}+${offset}} `, 0);
  yield* printk("\n", 0);
});

/** The functions on the running CPU's stack of frames that starts at `fp`, innermost first. */
export const stackFunctions = (fp: number): string[] => [
  K.functionName(cpu.functionId),
  ...returnsFrom(fp).map(({ name }) => name),
];

/** The functions that the frames from `fp` on return to: walked in RAM, at most 64 frames. */
function returnsFrom(fp: number): { readonly name: string; readonly offset: number }[] {
  const names: { readonly name: string; readonly offset: number }[] = [];
  for (let frame = fp, i = 0; frame !== 0 && i < 64; i++) {
    const { returns: address, next } = frameAt(frame);
    const name = K.functionAt(address);
    if (name === undefined) break;
    names.push({ name, offset: address % FUNCTION_BYTES });
    if (!(next > frame)) break;
    frame = next;
  }
  return names;
}

/** BUG(): a ud2 in the kernel. */
export const BUG = (where: string): Running => exception((regs) => do_invalid_op(regs, where));

const do_invalid_op = kfunc("do_invalid_op", function* (regs: number, where: string) {
  yield* printk("----------- [cut here ] --------- [please bite here ] ---------\n", 1);
  yield* printk(`Kernel BUG at ${where}\n`, 1);
  yield* die("invalid operand: 0000 [1] SMP", regs);
});

/** A NULL pointer dereference in the kernel. */
export const page_fault = (address: number): Running => exception((regs) => do_page_fault(regs, address));

const do_page_fault = kfunc("do_page_fault", function* (regs: number, address: number) {
  yield* printk(
    `Unable to handle kernel NULL pointer dereference at ${address.toString(16).padStart(16, "0")} RIP: \n`,
    1,
  );
  yield* die("Oops: 0002 [1] SMP", regs);
});

/** A pointer that leads nowhere: an exception in the running function, which never goes on. */
export const paging_request = (address: number): Running => exception((regs) => do_wild_page_fault(regs, address));

const do_wild_page_fault = kfunc("do_wild_page_fault", function* (regs: number, address: number) {
  const hex = virtualOf(address).toString(16).padStart(16, "0");
  yield* printk(`Unable to handle kernel paging request at ${hex} RIP: \n`, 1);
  yield* die("Oops: 0000 [1] SMP", regs);
});

/** SysRq: the keyboard's or /proc/sysrq-trigger's last resort. `c` crashes by a NULL pointer write. */
export const handle_sysrq = kfunc("__handle_sysrq", function* (key: string) {
  if (key === "c") {
    yield* printk("SysRq : Trigger a crashdump\n", 4);
    yield* sysrq_handle_crash();
  } else if (key === "b") {
    yield* printk("SysRq : Resetting\n", 4);
    yield* machine_restart("sysrq");
  } else yield* printk("SysRq : HELP : loglevel0-8 reBoot Crash\n", 4);
});

export const sysrq_handle_crash = kfunc("sysrq_handle_crash", function* () {
  yield* page_fault(0);
});
