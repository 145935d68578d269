// dump_configure_header: what the dump says of the machine before its pages.
import { step } from "../../../emulator/cpu/cpu.ts";
import { M, virtualOf } from "../../../kernel-sim/abi/ram.ts";
import { new_utsname } from "../../../kernel-sim/abi/structs/base.ts";
import { K, current, smp_processor_id } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { LKCD_ASM_MAGIC, LKCD_COMPRESS, LKCD_LEVEL, LKCD_MAGIC } from "../../cores/lkcd-header.ts";
import { DUMP_HEADER_ROOM, type Lkcd } from "./lkcd.ts";
import type { LkcdLevel } from "./options.ts";
import { fillMachineHeader, save_other_cpu_states } from "./other-cpus.ts";

const kfunc = moduleFunctions("dump");

/** dh_dump_level by level: a bit for each kind of page, and one for the header. */
export const LEVEL_BITS: Readonly<Record<LkcdLevel, number>> = {
  kernel: LKCD_LEVEL.HEADER | LKCD_LEVEL.KERN,
  used: LKCD_LEVEL.HEADER | LKCD_LEVEL.KERN | LKCD_LEVEL.USED,
  all: LKCD_LEVEL.HEADER | LKCD_LEVEL.KERN | LKCD_LEVEL.USED | LKCD_LEVEL.ALL,
};
const NAME_BYTES = 65;

function fillHeader(lkcd: Lkcd, panicText: string): void {
  const { options, pageSize, ram, data } = lkcd;
  const header = lkcd.header();
  step(500);
  header.bytes.fill(0);
  header.setBig("dh_magic_number", LKCD_MAGIC);
  header.set("dh_version", options.version);
  header.set("dh_header_size", header.bytes.length);
  header.set("dh_dump_level", LEVEL_BITS[options.level]);
  header.set("dh_page_size", pageSize);
  const end = ram.at(-1)!.first + ram.at(-1)!.count;
  header.set("dh_memory_size", end);
  header.set("dh_memory_start", ram[0]!.first * pageSize);
  header.set("dh_memory_end", end * pageSize);
  header.setText("dh_panic_string", panicText);
  const { xtime } = K.time;
  header.set("dh_time_sec", xtime.tv_sec);
  header.set("dh_time_usec", Math.floor(xtime.tv_nsec / 1000));
  const names = K.symbol("system_utsname");
  for (const name of ["sysname", "nodename", "release", "version", "machine", "domainname"] as const) {
    const from = names + K.offsetOf(new_utsname, name);
    header.bytes.set(M.u8.subarray(from, from + NAME_BYTES), header.offsetOf(`dh_utsname_${name}`));
  }
  header.setBig("dh_current_task", virtualOf(current().addr));
  header.set("dh_dump_compress", LKCD_COMPRESS[options.compress]);
  header.set("dh_dump_device", data.dump_device);
  if (options.version === 9) header.set("dh_dump_buffer_size", DUMP_HEADER_ROOM);
}

/** Fills both headers in RAM; in between, the other CPUs are asked. Context: any. */
export const dump_configure_header = kfunc(
  "dump_configure_header",
  function* (lkcd: Lkcd, regs: number, panicText: string) {
    lkcd.outcome.stage = "configure header";
    fillHeader(lkcd, panicText);
    const machine = lkcd.machine();
    machine.bytes.fill(0);
    machine.setBig("dha_magic_number", LKCD_ASM_MAGIC);
    machine.set("dha_version", lkcd.arch.version);
    machine.set("dha_header_size", machine.bytes.length);
    machine.set("dha_smp_num_cpus", K.machine.cpus.length);
    machine.set("dha_dumping_cpu", smp_processor_id());
    yield* save_other_cpu_states(lkcd, regs);
    fillMachineHeader(lkcd);
  },
);
