// Goal: a chip that is wrong does not pass. Method: our PIIX4 and its drive are broken on purpose, each time in one place, and
// Linux's own driver must notice, loudly. The same steps pass on the chip as it is (ata_piix suite).
import { expect, vi } from "vitest";
import { AtaDrive } from "../../../emulator/disk/ata-drive.ts";
import { IdeChannel } from "../../../hba/ide/chip-channel.ts";
import { ATA } from "../../../hba/ide/registers.ts";
import type { LinuxLab } from "./lab.ts";
import { expectNoDisk, mutationSuite } from "./mutations.ts";
import { piix4 } from "./piix4.ts";

const BAD_SECTOR = 5003;

/** What the mutations reach into. */
interface PrivateDrive {
  readonly transfer: { done: number };
  ended: AtaDrive["ended"];
}

/** Reads eight sectors of which one is bad; what Linux says of it. */
function readBadSector(lab: LinuxLab): string {
  lab.disk.faults.lay({ kind: "media error", on: "read", firstLba: BAD_SECTOR });
  lab.messages();
  expect(lab.run("dd if=/dev/sda of=/dev/null bs=4k skip=625 count=1").status).not.toBe(0);
  return lab.messages();
}

mutationSuite(piix4, [
  {
    title: "gives the disk up when Status and Error change places",
    noticed: "a swapped reply register",
    judge(lab) {
      expect(lab.probe()).toBe(true);
      lab.messages();
      const { readRegister, readStatus, readAltStatus } = IdeChannel.prototype;
      vi.spyOn(IdeChannel.prototype, "readRegister").mockImplementation(function (this: IdeChannel, register) {
        return register === ATA.Error ? readAltStatus.call(this) : readRegister.call(this, register);
      });
      vi.spyOn(IdeChannel.prototype, "readAltStatus").mockImplementation(function (this: IdeChannel) {
        return readRegister.call(this, ATA.Error);
      });
      vi.spyOn(IdeChannel.prototype, "readStatus").mockImplementation(function (this: IdeChannel) {
        readStatus.call(this);
        return readRegister.call(this, ATA.Error);
      });
      expect(lab.run("dd if=/dev/sda of=/dev/null bs=4k count=1", 600).status).not.toBe(0);
      const said = lab.messages();
      expect(said).toMatch(/failed command: READ DMA/);
      expect(said).toMatch(/ata1\.00: disable device/);
      expect(said).toMatch(/I\/O error, dev sda, sector 0\b/);
    },
  },
  {
    title: "brings no disk when INTRQ never rises",
    noticed: "a missing interrupt",
    judge(lab) {
      const channel = IdeChannel.prototype as unknown as { updateLine(): void };
      vi.spyOn(channel, "updateLine").mockImplementation(() => {});
      expectNoDisk(lab, /lost interrupt/);
    },
  },
  {
    title: "names the wrong sector when the drive counts one too many as done before an error",
    noticed: "a count off by one",
    judge(lab) {
      expect(lab.probe()).toBe(true);
      expect(readBadSector(lab)).toMatch(/I\/O error, dev sda, sector 5003\b/);
      const drive = AtaDrive.prototype as unknown as PrivateDrive;
      const { ended } = drive;
      vi.spyOn(drive, "ended").mockImplementation(function (this: PrivateDrive, outcome, quietly) {
        if (outcome) this.transfer.done++;
        ended.call(this as unknown as AtaDrive, outcome, quietly);
      });
      const said = readBadSector(lab);
      expect(said).toMatch(/res 51\/40:04:8c:13:00/);
      expect(said).toMatch(/I\/O error, dev sda, sector 5004\b/);
    },
  },
]);
