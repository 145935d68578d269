// What a trial leaves behind as files: the disk, the vmcore, the vmlinux that goes with it, the trace.
import type { PcapngCapture } from "../../emulator/net/pcapng.ts";
import { netdump_req } from "../../diskdump/peers/netdump/module/structs.ts";
import { struct_rtl8139_private } from "../../hba/rtl8139/driver-structs.ts";
import { hasDump } from "../../diskdump/userspace/dump-image.ts";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { disk_dump_device, disk_dump_partition, disk_dump_type } from "../../diskdump/module/structs.ts";
import type { CType } from "../../kernel-sim/abi/types.ts";
import { writeVmlinux } from "../../kernel-sim/abi/vmlinux/vmlinux.ts";
import { ADAPTERS } from "../machine/adapters.ts";
import type { Lab } from "../machine/lab.ts";
import { isNetworked } from "../machine/network.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { createFile } from "../whole-file.ts";
import { perfettoJson } from "./trace-file.ts";
import type { TrialResult } from "./types.ts";

function createWhole(path: string, contents: string | Uint8Array): void {
  const bytes = typeof contents === "string" ? Buffer.from(contents) : contents;
  createFile(path, (sink) => {
    sink.begin(bytes.length);
    sink.bytes(0, bytes);
    sink.end();
  });
}

/** The partition that holds the dump, or the one that would have. */
function dumpPartition(lab: Lab): Lab["dumpPartitions"][number] {
  const found = lab.dumpPartitions.find((p) => hasDump(p.store())) ?? lab.dumpPartitions[0];
  if (!found) throw new UsageError("the scenario has no dump device (dump.devices is empty)");
  return found;
}

/** Structs of the modules that are loaded: gdb then knows them by name. */
function moduleTypes(scenario: Scenario): CType[] {
  const kinds = new Set(scenario.adapters.map(({ type }) => ADAPTERS[type]!));
  return [
    ...[...kinds].flatMap(({ structs }) => structs),
    ...(scenario.dump.dumper === "diskdump" ? [disk_dump_type, disk_dump_device, disk_dump_partition] : []),
    ...(isNetworked(scenario) ? [struct_rtl8139_private, netdump_req] : []),
  ];
}

/** The writers of a trial's result. They read the machine's memory, so they are valid until the next trial of this thread. */
export function artifactsOf(
  lab: Lab,
  scenario: Scenario,
  capture?: PcapngCapture,
): Pick<TrialResult, "writeDisk" | "writeVmcore" | "writeVmlinux" | "writeTrace" | "writePcap"> {
  return {
    writeDisk: (path) => {
      const { store } = lab.hardware.disks.get(dumpPartition(lab).disk)!.media;
      createFile(path, (sink) => {
        sink.begin(store.sizeBytes);
        sink.copy(0, store, 0, store.sizeBytes);
        sink.end();
      });
    },
    writeVmcore: (path) => {
      const { dumper } = lab;
      if (!dumper) throw new UsageError("the trial ended before its dumper was started");
      createFile(path, (sink) => dumper.writeCore(sink));
    },
    writeVmlinux: (path) =>
      createWhole(path, writeVmlinux(lab.kernel, { modules: true, types: moduleTypes(scenario) })),
    writeTrace: (path) => createWhole(path, perfettoJson(lab.hardware.machine.recorder, scenario.name)),
    writePcap: (path) => {
      if (!capture) throw new UsageError("no frames were captured: the machine of this scenario is on no network");
      createWhole(path, capture.bytes());
    },
  };
}
