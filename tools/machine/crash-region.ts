// Where the memory of a crash kernel lies (`crashkernel=X@Y`), and what that makes of the machine and its first kernel.
import type { Machine } from "../../emulator/cpu/machine.ts";
import type { CrashRegion } from "../../diskdump/peers/kdump/crash-image.ts";
import type { KernelOptions } from "../../kernel-sim/core/kernel.ts";
import type { Scenario } from "../scenario/scenario.ts";
import { flatBytesOf, memoryMapOf } from "./memory-map.ts";

const MIB = 2 ** 20;
/** As much of the reserve lies in the flat window: kernel structs do. */
const CAPTURE_LOW_BYTES = 16 * MIB;
/** Less than this is no room for the first kernel. */
const FIRST_KERNEL_BYTES = 12 * MIB;

/** The reserve; undefined for dumpers that have no second kernel. */
export function crashRegionOf({ dump, kdump, memory }: Scenario): CrashRegion | undefined {
  if (dump.dumper !== "kdump" && dump.dumper !== "mkdump") return undefined;
  const start = kdump.crashkernelAt ?? flatBytesOf(memory.sizeBytes);
  return { start, end: start + kdump.crashkernelBytes };
}

/** The flat window of a scenario's machine. */
export function flatBytesFor(scenario: Scenario): number {
  const region = crashRegionOf(scenario);
  if (!region) return flatBytesOf(scenario.memory.sizeBytes);
  return Math.min(region.end, region.start + CAPTURE_LOW_BYTES);
}

/** What keeps the first kernel's hands off the reserve. */
export function firstKernelOf(scenario: Scenario, machine: Machine): Pick<KernelOptions, "region"> {
  const region = crashRegionOf(scenario);
  if (!region) return {};
  return { region: { start: 0, lowEnd: region.start, e820: machine.memory.map, reserved: [region] } };
}

export function crashKernelComplaints(scenario: Scenario): string[] {
  const region = crashRegionOf(scenario);
  if (!region) return [];
  const complaints: string[] = [];
  const { dumper } = scenario.dump;
  if (scenario.platform !== "x86_64") complaints.push(`dump.dumper: ${dumper} needs platform x86_64`);
  if (dumper === "kdump" && scenario.linux24) {
    complaints.push(
      "dump.dumper: kdump needs kernel 2.6.9 (crash_kexec came with 2.6.13); mkdump was there for 2.4, too",
    );
  }
  if (scenario.memory.imagePath !== null)
    complaints.push(`memory.image: ${dumper} saves the machine's own memory only`);
  if (region.start % MIB !== 0 || region.start < FIRST_KERNEL_BYTES) {
    complaints.push(`kdump.at: expected whole MiB, 12MiB or more; got ${region.start} bytes`);
  }
  if ((region.end - region.start) % MIB !== 0 || region.end === region.start) {
    complaints.push(`kdump.crashkernel: expected whole MiB; got ${region.end - region.start} bytes`);
  }
  const map = memoryMapOf(scenario.platform, scenario.memory);
  if (!map.some((r) => r.type === "ram" && r.start <= region.start && r.end >= region.end + MIB)) {
    complaints.push(
      `kdump.crashkernel: there is no RAM in one piece from ${region.start / MIB} to ${region.end / MIB} MiB and 1 MiB behind it`,
    );
  }
  return complaints;
}
