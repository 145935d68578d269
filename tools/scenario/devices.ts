// Looks up what a device name of a scenario stands for.
import { ADAPTERS } from "../machine/adapters.ts";
import { diskName } from "./resolve.ts";
import type { AdapterScenario, DiskScenario, PartitionScenario, Scenario } from "./scenario.ts";

export interface DevicePlace {
  readonly adapter: AdapterScenario;
  readonly disk: DiskScenario;
  /** undefined: the whole disk. */
  readonly partition: PartitionScenario | undefined;
}

export function placeOf(scenario: Scenario, device: string): DevicePlace | undefined {
  for (const adapter of scenario.adapters) {
    for (const disk of adapter.disks) {
      if (disk.device === device) return { adapter, disk, partition: undefined };
      const partition = disk.partitions.find((candidate) => candidate.device === device);
      if (partition) return { adapter, disk, partition };
    }
  }
  return undefined;
}

/** The adapter type of the first dump device, as records name it; "none" without a dump device. */
export function dumpAdapterType(scenario: Scenario): string {
  const device = scenario.dump.devices[0];
  return (device !== undefined && placeOf(scenario, device)?.adapter.type) || "none";
}

/** How a kernel names a dump device that has the driver of its adapter and no other: its first SCSI disk is sda. */
export function nameWithOneDriver(scenario: Scenario, device: string): string {
  const { adapter, disk, partition } = placeOf(scenario, device)!;
  if (ADAPTERS[adapter.type]!.diskNames === "hd") return device;
  const disks = scenario.adapters.filter(({ type }) => type === adapter.type).flatMap((own) => own.disks);
  return `${diskName(disks.indexOf(disk))}${partition?.number ?? ""}`;
}
