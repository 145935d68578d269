// A digest of the dump partition: which two runs of one seed must share.
import { createHash } from "node:crypto";
import { FRAME_SIZE, HOLE } from "../../emulator/memory/pool.ts";
import type { Lab } from "../machine/lab.ts";

/**
 * SHA-256 over the written pages of the partition (number and contents); holes and signature pages that nobody read count as
 * what they are. undefined when no dump device was used.
 */
export function partitionDigest(lab: Lab, device: string | undefined): string | undefined {
  const partition = lab.dumpPartitions.find((p) => p.device === device) ?? lab.dumpPartitions[0];
  if (!partition) return undefined;
  const disk = lab.hardware.disks.get(partition.disk)!;
  const { store } = disk.media;
  const first = Math.floor((partition.startSector * 512) / FRAME_SIZE);
  const end = Math.ceil(((partition.startSector + partition.sectors) * 512) / FRAME_SIZE);
  const hash = createHash("sha256");
  const number = new Uint32Array(1);
  for (let page = first; page < end; page++) {
    if (store.isUnread(page)) continue;
    const slot = store.slotOf(page);
    number[0] = page;
    hash.update(new Uint8Array(number.buffer));
    if (slot !== HOLE) hash.update(store.pool.bytes(slot));
  }
  return hash.digest("hex").slice(0, 32);
}
