// Deliberate damage, so that the oracles can be seen to notice it. Each kind goes through the mechanism it imitates.
import { makeScsiCommand } from "../../emulator/disk/scsi-command.ts";
import { makeEvent } from "../../emulator/time/events.ts";
import { diskdumpOf } from "../../diskdump/module/disk-dump.ts";
import { memoryBlock, readHeader } from "../../diskdump/format/header.ts";
import type { Lab } from "../machine/lab.ts";
import type { Damage, Scenario } from "../scenario/scenario.ts";

/** Lays what has to be there before or while the dump runs. */
export function applyDamage(lab: Lab, scenario: Scenario): void {
  for (const damage of scenario.damage) {
    switch (damage.kind) {
      case "damageModule":
        lab.onCrashArmed.push(() => damageModule(lab, damage.offset));
        break;
      case "dropCompletion":
        whenMemoryBegins(lab, () => {
          const disk = dumpDisk(lab);
          // The header and bitmap are written: the n-th write from here.
          let left = damage.write;
          const guard = disk.guard;
          const note = guard.note.bind(guard);
          guard.note = (lba, sectors, now) => {
            note(lba, sectors, now);
            if (--left === 1) disk.faults.lay({ kind: "lost completion", on: "write", count: 1 });
          };
          if (left === 1) disk.faults.lay({ kind: "lost completion", on: "write", count: 1 });
        });
        break;
      case "writeOutsidePartition":
        whenMemoryBegins(lab, () => writeOutside(lab, damage.sectorsBeyond));
        break;
      case "flipDumpedBit":
        break;
    }
  }
}

/** What happens to the disk between the dump and savecore. */
export function damageAfterDump(lab: Lab, scenario: Scenario): void {
  for (const damage of scenario.damage) if (damage.kind === "flipDumpedBit") flipBit(lab, damage);
}

function whenMemoryBegins(lab: Lab, act: () => void): void {
  const before = lab.onDumpStage;
  let done = false;
  lab.onDumpStage = (stage) => {
    before(stage);
    if (stage !== "memory" || done) return;
    done = true;
    act();
  };
}

const dumpDisk = (lab: Lab): NonNullable<ReturnType<Lab["hardware"]["disks"]["get"]>> =>
  lab.hardware.disks.get(lab.dumpPartitions[0]!.disk)!;

function damageModule(lab: Lab, offset: number): void {
  const { module } = diskdumpOf(lab.kernel)!;
  lab.hardware.machine.memory.pool.u8[module.core + (offset % module.textBytes)]! ^= 0x40;
}

/** A write that no dumper asked for, as from an adapter gone wild, one sector, behind the partition. */
function writeOutside(lab: Lab, sectorsBeyond: number): void {
  const { machine } = lab.hardware;
  const partition = lab.dumpPartitions[0]!;
  const disk = dumpDisk(lab);
  const lba = partition.startSector + partition.sectors + sectorsBeyond;
  const event = makeEvent("damage.write-outside", () => {
    const command = makeScsiCommand(machine.memory, 1);
    command.cdb.set([0x2a, 0, (lba >>> 24) & 0xff, (lba >>> 16) & 0xff, (lba >>> 8) & 0xff, lba & 0xff, 0, 0, 1, 0]);
    command.cdbLength = 10;
    command.direction = "out";
    command.dataLength = 512;
    command.segments[0] = { address: 0x1000, length: 512 };
    command.segmentCount = 1;
    disk.submit(command);
  });
  machine.events.arm(event, machine.now() + 1000);
}

function flipBit(lab: Lab, damage: Extract<Damage, { kind: "flipDumpedBit" }>): void {
  for (const partition of lab.dumpPartitions) {
    const store = partition.store();
    const header = readHeader(store)?.header;
    if (!header) continue;
    const at = (memoryBlock(header) + damage.page) * header.blockSize + (damage.bit >>> 3);
    const byte = new Uint8Array(1);
    store.read(at, byte);
    byte[0]! ^= 1 << (damage.bit & 7);
    store.write(at, byte);
    return;
  }
}
