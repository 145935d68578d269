// `lkcd config`: the modules are loaded, the dump device is opened, and what the dump needs is allocated while that is possible.
import { K } from "../../../kernel-sim/core/kernel.ts";
import type { Running } from "../../../emulator/cpu/cpu.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { printk } from "../../../kernel-sim/core/printk.ts";
import { LKCD_COMPRESS, lkcdArch } from "../../cores/lkcd-header.ts";
import { LEVEL_BITS } from "./configure-header.ts";
import { dump_execute } from "./execute.ts";
import type { DumpDevice } from "./dump-device.ts";
import { Lkcd, setLkcd } from "./lkcd.ts";
import type { LkcdOptions } from "./options.ts";
import { answer_from_init } from "./other-cpus.ts";
import { lkcd_data } from "./structs.ts";

const kfunc = moduleFunctions("dump");

/** A device that has been opened; it is told whose dump it takes. */
export interface OpenedDevice extends DumpDevice {
  attach(lkcd: Lkcd): void;
}

/**
 * Configures LKCD for the device that `open` opens. Returns: its state, or what is wrong: "no layout" for a machine whose LKCD header is not known,
 * "no memory", or "no device". Context: process.
 */
export const init_lkcd = kfunc(
  "dump_configure",
  function* (open: () => Running<OpenedDevice | "no memory" | "no device">, options: LkcdOptions) {
    if (!lkcdArch(K.map.model)) return "no layout" as const;
    const module = K.modules.load("dump", { data: lkcd_data, exports: ["dump_execute", "dump_schedule"] });
    const device = yield* open();
    if (typeof device === "string") return device;
    const lkcd = new Lkcd(K, module, device, options);
    device.attach(lkcd);
    const { data } = lkcd;
    data.dump_level = LEVEL_BITS[options.level];
    data.dump_compress = LKCD_COMPRESS[options.compress];
    data.dump_device = device.number;
    data.dump_okay = 1;
    setLkcd(K, lkcd);
    K.crashdump.lkcd = (regs) => dump_execute(lkcd, regs);
    if (options.slavesAnswer) K.initSlaveCallback = (c, regs) => answer_from_init(lkcd, c, regs);
    yield* printk(
      `dump: configured for ${device.name.replace("/dev/", "")}: level ${options.level}, compression ${options.compress}\n`,
      6,
    );
    return lkcd;
  },
);
