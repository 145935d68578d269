// What a scenario must satisfy beyond its schema: things fit into each other and name what exists.
import { ADAPTERS, DEFAULT_ADAPTER_TYPE, modelsOf } from "../machine/adapters.ts";
import { crashKernelComplaints } from "../machine/crash-region.ts";
import type { ScenarioDocument } from "./document.ts";
import { dumpsLkcdTo, isLkcdDumper } from "./dumpers.ts";
import { lkdtmTrigger } from "./lkdtm.ts";
import type { AdapterScenario, DiskScenario, PartitionScenario, Scenario } from "./scenario.ts";

const SECTOR = 512;
/** A buffer head lies within a page. */
const BLOCK_SIZES = [512, 1024, 2048, 4096];
const MIN_RAM = 16 * 2 ** 20;
const MAX_RAM = 64 * 2 ** 30;

/** Complaints about how the document was written, which the resolved form no longer shows. */
export function complaintsAboutChoices(document: ScenarioDocument): string[] {
  const complaints: string[] = [];
  const { crash, adapters } = document;
  if (!adapters) complaints.push("adapters: missing; a machine needs at least one adapter");
  for (const [place, { type = DEFAULT_ADAPTER_TYPE, model, irq }] of (adapters ?? []).entries()) {
    if (irq !== undefined && ADAPTERS[type]?.ownLines) {
      complaints.push(`adapters[${place}].irq: an ${type} adapter has lines of its own, ${ADAPTERS[type].ownLines}`);
    }
    const models = modelsOf(type);
    if (model === undefined || models.includes(model)) continue;
    complaints.push(`adapters[${place}].model: expected one of ${models.join(", ")} for type ${type}; got "${model}"`);
  }
  for (const type of new Set((adapters ?? []).map((adapter) => adapter.type ?? DEFAULT_ADAPTER_TYPE))) {
    const count = adapters!.filter((adapter) => (adapter.type ?? DEFAULT_ADAPTER_TYPE) === type).length;
    if (ADAPTERS[type]?.alone && count > 1) {
      complaints.push(
        `adapters: a machine has room for one ${type} adapter (its ports are the PC's own); got ${count}`,
      );
    }
  }
  const { kernel = "2.6.9", linux24 } = document;
  if (linux24 && kernel !== "2.4.21") complaints.push(`linux24: means nothing to kernel ${kernel}`);
  const moments = Object.keys(crash?.at ?? {});
  if (crash?.at && moments.length !== 1) {
    const got = moments.length === 0 ? "none" : moments.join(" and ");
    complaints.push(`crash.at: expected exactly one of time, random, function, access, lock; got ${got}`);
  }
  const implied = lkdtmTrigger(crash?.at?.function?.type);
  if (implied && crash?.trigger && crash.trigger !== implied) {
    complaints.push(
      `crash.at.function.type: ${crash.at!.function!.type} means trigger ${implied}; got ${crash.trigger}`,
    );
  }
  return complaints;
}

/** Complaints about the resolved scenario. */
export function complaintsAboutMachine(scenario: Scenario): string[] {
  return [
    ...kernelComplaints(scenario),
    ...memoryComplaints(scenario),
    ...scenario.adapters.flatMap(adapterComplaints),
    ...deviceComplaints(scenario),
    ...netdumpComplaints(scenario),
    ...loadComplaints(scenario),
    ...crashComplaints(scenario),
    ...lkcdComplaints(scenario),
    ...damageComplaints(scenario),
    ...crashKernelComplaints(scenario),
  ];
}

function kernelComplaints({ linux24 }: Scenario): string[] {
  if (!linux24 || BLOCK_SIZES.includes(linux24.blockBytes)) return [];
  return [`linux24.blockSize: expected one of ${BLOCK_SIZES.join(", ")} bytes; got ${linux24.blockBytes}`];
}

function memoryComplaints({ memory }: Scenario): string[] {
  const complaints: string[] = [];
  const key = memory.map ? "memory.map" : "memory.size";
  if (memory.sizeBytes < MIN_RAM || memory.sizeBytes > MAX_RAM) {
    complaints.push(`${key}: expected 16MiB to 64GiB of RAM; got ${memory.sizeBytes} bytes`);
  }
  let end = 0;
  for (const range of memory.map ?? []) {
    const start = `0x${range.startBytes.toString(16)}`;
    if (range.startBytes < end) complaints.push(`memory.map: the range at ${start} overlaps the one before it`);
    if (range.startBytes % 4096 !== 0 || range.sizeBytes % 4096 !== 0) {
      complaints.push(`memory.map: the range at ${start} is not made of whole 4 KiB pages`);
    }
    end = range.startBytes + range.sizeBytes;
  }
  return complaints;
}

function adapterComplaints(adapter: AdapterScenario, index: number): string[] {
  const complaints: string[] = [];
  const where = `adapters[${index}]`;
  const { maxId, ownId } = ADAPTERS[adapter.type]!.models[adapter.model]!;
  const ids = new Set<number>();
  for (const [place, disk] of adapter.disks.entries()) {
    const at = `${where}.disks[${place}]`;
    if (ids.has(disk.id)) complaints.push(`${at}.id: ${disk.id} is taken by another disk of this adapter`);
    ids.add(disk.id);
    if (disk.id === ownId || disk.id > maxId) {
      const except = ownId === null ? "" : ` without ${ownId}, the adapter's own id`;
      complaints.push(`${at}.id: expected 0 to ${maxId}${except}; got ${disk.id}`);
    }
    complaints.push(...diskComplaints(disk, at));
  }
  return complaints;
}

function diskComplaints(disk: DiskScenario, at: string): string[] {
  const complaints: string[] = [];
  const capacity = disk.sizeBytes / SECTOR;
  if (!Number.isInteger(capacity) || capacity === 0) {
    complaints.push(`${at}.size: expected whole sectors of 512 bytes; got ${disk.sizeBytes} bytes`);
  }
  const numbers = new Set<number>();
  for (const partition of disk.partitions) {
    if (numbers.has(partition.number)) complaints.push(`${at}.partitions: number ${partition.number} is there twice`);
    numbers.add(partition.number);
    if (endOf(partition) > capacity) {
      complaints.push(
        `${at}.partitions: ${partition.device} ends at sector ${endOf(partition)}; the disk has ${capacity}`,
      );
    }
  }
  const inOrder = [...disk.partitions].sort((a, b) => a.startSector - b.startSector);
  for (const [place, partition] of inOrder.entries()) {
    const before = inOrder[place - 1];
    if (before && partition.startSector < endOf(before)) {
      complaints.push(`${at}.partitions: ${partition.device} overlaps ${before.device}`);
    }
  }
  for (const [place, fault] of disk.faults.entries()) {
    if (fault.lba !== null && fault.lba + fault.sectors > capacity) {
      complaints.push(
        `${at}.faults[${place}]: sector ${fault.lba + fault.sectors - 1} is beyond the disk (${capacity})`,
      );
    }
  }
  return complaints;
}

function endOf(partition: PartitionScenario): number {
  return partition.startSector + partition.sectors;
}

function deviceComplaints(scenario: Scenario): string[] {
  const disks = scenario.adapters.flatMap((adapter) => adapter.disks);
  const partitions = disks.flatMap((disk) => disk.partitions.map((partition) => partition.device));
  const known = [...disks.map((disk) => disk.device), ...partitions];
  const complaints: string[] = [];
  const unknown = (key: string, device: string) =>
    complaints.push(`${key}: no such device: ${device} (there are ${known.join(", ") || "none"})`);
  const { dumper } = scenario.dump;
  if (scenario.dump.devices.length === 0 && dumper !== "netdump" && !dumpsLkcdTo(scenario.dump, "network")) {
    complaints.push("dump.devices: expected at least one device; got none");
  }
  for (const [place, device] of scenario.dump.devices.entries()) {
    if (!known.includes(device)) unknown(`dump.devices[${place}]`, device);
    if (scenario.dump.devices.indexOf(device) !== place) complaints.push(`dump.devices: ${device} is there twice`);
  }
  for (const [place, device] of scenario.load.devices.entries()) {
    if (!known.includes(device)) unknown(`load.devices[${place}]`, device);
    const clash = scenario.dump.devices.find((dump) => dump === device || sharesDisk(dump, device));
    if (clash) complaints.push(`load.devices[${place}]: the load would overwrite the dump device ${clash}`);
  }
  return complaints;
}

function netdumpComplaints({ dump, network, netdump, memory }: Scenario): string[] {
  const complaints: string[] = [];
  if (dump.fallback === "netdump" && dump.dumper !== "diskdump") {
    complaints.push(`dump.fallback: netdump can stand behind diskdump only; the dumper is ${dump.dumper}`);
  }
  if (memory.imagePath !== null && (dump.dumper === "netdump" || dump.fallback === "netdump")) {
    complaints.push("memory.image: netdump saves the machine's own memory only");
  }
  if (netdump.retryNs === 0 || netdump.silentNs <= netdump.retryNs) {
    complaints.push("netdump.silent: expected longer than netdump.retry, and that longer than nothing");
  }
  if (netdump.spoof?.everyNs === 0) complaints.push("netdump.spoof.every: expected more than 0");
  if (netdump.spoof?.command === "writeAck" && !dumpsLkcdTo(dump, "network")) {
    complaints.push("netdump.spoof.command: writeAck is LKCD's: it needs dump.lkcd.method network");
  }
  if (network.reorderFraction > 0 && network.reorderDelayNs === 0) {
    complaints.push("network.reorderDelay: expected more than 0 with a network.reorderFraction");
  }
  return complaints;
}

/** One is a whole disk and the other a partition of it. */
function sharesDisk(one: string, other: string): boolean {
  const isWholeOf = (whole: string, part: string) => part.startsWith(whole) && /^\d+$/.test(part.slice(whole.length));
  return isWholeOf(one, other) || isWholeOf(other, one);
}

function loadComplaints({ load }: Scenario): string[] {
  const complaints: string[] = [];
  if (load.sizeMinBytes > load.sizeMaxBytes) complaints.push("load.sizeMin: expected no more than load.sizeMax");
  for (const [key, bytes] of [
    ["load.sizeMin", load.sizeMinBytes],
    ["load.sizeMax", load.sizeMaxBytes],
  ] as const) {
    if (bytes === 0 || bytes % SECTOR !== 0)
      complaints.push(`${key}: expected whole sectors of 512 bytes; got ${bytes}`);
  }
  if (load.processes > 0 && load.devices.length === 0) {
    complaints.push("load.processes: there is no partition for the load to work on");
  }
  if (load.processes > 0 && Object.values(load.mix).every((weight) => weight === 0)) {
    complaints.push("load.mix: every weight is 0");
  }
  return complaints;
}

/** A machine keeps the contents of its disks in memory: LKCD's headers between the pages make every block different. */
const MAX_UNCOMPRESSED = 2 * 2 ** 30;

function lkcdComplaints({ dump, memory, platform }: Scenario): string[] {
  if (!isLkcdDumper(dump.dumper)) return [];
  const complaints: string[] = [];
  if (platform === "ppc64") {
    complaints.push("dump.dumper: the layout of LKCD's header on ppc64 is not known here; x86_64, i386 and ia64 are");
  }
  const { compress, level } = dump.lkcd;
  if (dumpsLkcdTo(dump, "memory")) {
    if (compress !== "gzip") {
      complaints.push(`dump.lkcd.compress: the memory method needs gzip (it has but free pages); got ${compress}`);
    }
    if (platform !== "x86_64" && platform !== "i386") {
      complaints.push(`dump.lkcd.method: memory is on x86_64 and i386 only; the platform is ${platform}`);
    }
  }
  if (compress === "none" && level === "all" && memory.sizeBytes > MAX_UNCOMPRESSED) {
    complaints.push(
      `dump.lkcd.compress: a dump of ${memory.sizeBytes} bytes of RAM is not kept uncompressed (2GiB at most); use rle or gzip`,
    );
  }
  if (memory.imagePath !== null) complaints.push("memory.image: LKCD dumps the machine's own memory only");
  return complaints;
}

function damageComplaints({ damage, dump }: Scenario): string[] {
  if (dump.dumper === "diskdump" || !damage.some(({ kind }) => kind === "damageModule")) return [];
  return [`damage: damageModule strikes diskdump's module; the dumper is ${dump.dumper}`];
}

function crashComplaints({ crash, cpus, adapters }: Scenario): string[] {
  const complaints: string[] = [];
  const { at } = crash;
  if (crash.cpu !== null && crash.cpu >= cpus) {
    complaints.push(`crash.cpu: expected 0 to ${cpus - 1}, the CPUs of this machine; got ${crash.cpu}`);
  }
  if (at.kind === "function" || at.kind === "access" || at.kind === "lock") {
    const decided = (key: string): number =>
      complaints.push(`crash.${key}: cannot be combined with crash.at.${at.kind}, whose moment decides it`);
    if (crash.context !== "any") decided("context");
    if (crash.holding !== null) decided("holding");
    // An INIT for all may reach another CPU first, which then finds this one stopped where it was.
    const another = at.kind !== "function" && crash.trigger === "os_init" && crash.initTargets === "all";
    if (crash.cpu !== null && !another) decided("cpu");
  }
  if (at.kind === "random" && at.fromNs >= at.toNs) {
    complaints.push("crash.at.random: expected from to be earlier than to");
  }
  if (at.kind === "access" && !adapters.some((adapter) => adapter.name === at.adapter)) {
    const names = adapters.map((adapter) => adapter.name).join(", ");
    complaints.push(`crash.at.access.adapter: no such adapter: ${at.adapter} (there are ${names})`);
  }
  return complaints;
}
