// dump_execute: the whole of a dump (drivers/dump/dump_base.c).
import { cpu } from "../../../emulator/cpu/cpu.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { touch_nmi_watchdog } from "../../../kernel-sim/core/nmi.ts";
import { machine_restart } from "../../../kernel-sim/core/panic.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { delayNs } from "../../../kernel-sim/core/timer.ts";
import { ENOSPC } from "./blockdev.ts";
import { dump_configure_header } from "./configure-header.ts";
import type { Lkcd } from "./lkcd.ts";
import { dump_silence_system } from "./silence.ts";
import { dump_unlock_resources } from "./unlock.ts";
import { dump_update_header, dump_write_memory } from "./write-memory.ts";

const kfunc = moduleFunctions("dump");

const EBUSY = 16;
/** The wait before the reboot when panic_timeout says nothing. */
const REBOOT_SECONDS = 10;

/**
 * The crash hook: from panic() behind its message, from die() behind the registers.
 * @param regs physical address of the crash's pt_regs
 * Returns: a negative errno when there was no dump. Does not return otherwise. Context: any. Locks: none may be assumed free.
 */
export const dump_execute = kfunc("dump_execute", function* (lkcd: Lkcd, regs: number) {
  const { data, outcome, options, device } = lkcd;
  if (data.dump_okay === 0) return -EBUSY;
  outcome.result = "running";
  data.dump_in_progress = 1;
  const reason = (K.crash?.reason ?? "").replace(/^panic: /, "");
  if (device.greeting !== "") yield* printk(`${device.greeting} on CPU ${K.crash?.cpu ?? 0} ...\n`, 0);
  yield* dump_configure_header(lkcd, regs, reason);
  outcome.stage = "silence";
  yield* dump_silence_system(lkcd);
  if (options.modified) {
    outcome.stage = "unlock";
    yield* dump_unlock_resources(lkcd);
  }
  let error = yield* device.silence();
  outcome.stage = "header";
  if (error === 0) error = yield* dump_update_header(lkcd);
  if (error === 0) {
    outcome.stage = "memory";
    yield* printk("Writing dump pages ", 1);
    error = yield* device.sequencer?.() ?? dump_write_memory(lkcd);
    yield* printk("\n", 1);
  }
  if (error === 0 || error === -ENOSPC) {
    outcome.stage = "completion";
    // A dump that did not fit has a header that says how much there is.
    const last = yield* dump_update_header(lkcd);
    error = error !== 0 ? error : last;
  }
  yield* device.resume();
  outcome.stage = "ended";
  outcome.endedAtNs = cpu.clock;
  outcome.pagesWritten = data.dump_num_pages;
  if (error !== 0) {
    outcome.result = outcome.touched ? "incomplete" : "refused";
    outcome.reason = error === -ENOSPC ? "no space left on the dump device" : device.failure;
    yield* printk(`dump: writing failed. error ${error}\n`, 3);
    return error;
  }
  outcome.result = "complete";
  yield* printk(`Dump complete; ${data.dump_num_pages} pages saved.\n`, 1);
  const seconds = K.boot.panicTimeoutSeconds || REBOOT_SECONDS;
  yield* printk(`Rebooting in ${seconds} seconds..\n`, 0);
  for (let i = 0; i < seconds; i++) {
    touch_nmi_watchdog();
    yield* delayNs(1e9);
  }
  yield* machine_restart("lkcd");
  return 0;
});
