// What of ours is part of the PC itself, and not a card: its IDE function.
//
// Linux claims the ports of an IDE function in compatibility mode (1F0-1F7, 3F6, 170-177, 376) while it boots, and only then: one
// that turns up later cannot be enabled. So our function is there from power-on, with empty cables, in the place of v86's own,
// which is taken off the bus. It is in every snapshot: what firmware and kernel have written into its configuration space is
// kept, and the function of a restored guest has it again.
import { readdirSync } from "node:fs";
import { join } from "node:path";
import { PiixIdeChip } from "../../../hba/ide/chip.ts";
import type { GuestBus, GuestHost } from "./guest-bus.ts";
import { OWN_IDE_DEVFN, removeOwnIde, type V86Cpu } from "./v86.ts";

const chipFolder = join(import.meta.dirname, "..", "..", "..", "hba", "ide");
/** Files that decide what firmware and kernel find on the board: part of a snapshot's key. */
export const BOARD_FILES: readonly string[] = [
  import.meta.filename,
  ...readdirSync(chipFolder)
    .filter((name) => /^(chip.*|registers)\.ts$/.test(name) && !name.includes(".spec."))
    .map((name) => join(chipFolder, name)),
];

export class Board {
  /** A PIIX4's. Disks may be put on its cables before a driver is loaded. */
  readonly ide: PiixIdeChip;

  constructor(cpu: V86Cpu, host: GuestHost, bus: GuestBus) {
    removeOwnIde(cpu);
    this.ide = new PiixIdeChip(host, "ide0", "piix4");
    bus.plug(this.ide, OWN_IDE_DEVFN >> 3);
  }

  /** The configuration space of its function. */
  configuration(): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.ide.config.buffer.slice(0) as ArrayBuffer);
  }

  /** Puts back what `configuration` returned; bits that nobody can write keep their values. */
  configure(bytes: Uint8Array): void {
    const words = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
    for (let at = 0; at < words.byteLength; at += 4) this.ide.writeConfig(at, 4, words.getUint32(at, true));
  }
}
