// A whole trial on a chip of QEMU's: the machine dies, diskdump writes its memory into QEMU's disk image, savecore opens that.
import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expect } from "vitest";
import { FileStore } from "../../../diskdump/userspace/file-store.ts";
import type { Scenario } from "../../../tools/scenario/scenario.ts";
import { runTrialOn } from "../../../tools/trial/run.ts";
import type { TrialRecord } from "../../../tools/trial/types.ts";
import { dumplab } from "../../cli/dumplab.ts";
import type { QemuChip } from "./adapter.ts";
import { buildQemuHardware } from "./qemu-hardware.ts";

/** Runs the trial of a scenario that dumps to its second disk's first partition, and expects all of it to be right. */
export async function wholeDump(chip: QemuChip, scenario: Scenario): Promise<TrialRecord> {
  const machine = await buildQemuHardware(chip, scenario, 1);
  try {
    const [system, target] = scenario.adapters[0]!.disks;
    const image = machine.images.get(target!.device)!;
    const { startSector, sectors } = target!.partitions[0]!;
    const elsewhere = (): string[] => [
      digest(machine.images.get(system!.device)!, 0, Infinity),
      digest(image, 0, startSector * 512),
      digest(image, (startSector + sectors) * 512, Infinity),
    ];
    let before: string[] = [];
    const { record, writeVmcore } = runTrialOn(machine.hardware, scenario, 1, {
      onPhase: (phase) => {
        if (phase === "dump header" && before.length === 0) before = elsewhere();
      },
    });
    // The oracles have compared every page of the dump with RAM at the freeze.
    expect(record).toMatchObject({ outcome: "complete", cause: null, findings: [] });
    expect(elsewhere()).toEqual(before);
    expect(machine.qemu.ram.strayPages()).toEqual([]);
    const vmcore = join(machine.folder, "trial.vmcore");
    writeVmcore(vmcore);
    await machine.stop();
    const saved = await dumplab("savecore", image, "--partition", "1", "--directory", join(machine.folder, "crash"));
    expect(saved).toMatchObject({ code: 0, err: "" });
    expect(readFileSync(saved.out.trimEnd()).equals(readFileSync(vmcore))).toBe(true);
    return record;
  } finally {
    await machine.stop().finally(() => machine.remove());
  }
}

/** Digest of the bytes of an image from `from` to `to`; holes and zeroes count the same. */
function digest(path: string, from: number, to: number): string {
  const store = FileStore.open(path);
  const hash = createHash("sha256");
  const end = Math.min(to, store.sizeBytes);
  const chunk = Buffer.alloc(65536);
  const zero = Buffer.alloc(chunk.length);
  for (let at = store.nextData(from); at < end; at = store.nextData(at)) {
    const piece = chunk.subarray(0, Math.min(chunk.length, end - at));
    store.read(at, piece);
    if (!piece.equals(zero.subarray(0, piece.length))) hash.update(`${at}`).update(piece);
    at += piece.length;
  }
  store.close();
  return hash.digest("hex");
}
