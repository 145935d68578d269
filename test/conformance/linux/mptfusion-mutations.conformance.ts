// Goal: a chip that is wrong does not pass. Method: our Fusion-MPT chips are broken on purpose, each in one place, and
// Linux's own drivers must notice, loudly. The same steps pass on the chips as they are (mptspi and mptsas suites).
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { FusionMptChip } from "../../../hba/mptfusion/chip.ts";
import { MessageUnit } from "../../../hba/mptfusion/chip-message-unit.ts";
import type { FusionVariant } from "../../../hba/mptfusion/chip-profile.ts";
import { conformanceCell } from "../cell.ts";
import { LinuxLab, card, type AdapterUnderTest } from "./lab.ts";
import { readByCommand } from "./scsi-ioctls.ts";
import { linuxOrReason } from "./suite.ts";
import type { BootedLinux } from "./snapshot.ts";

const SCSI_IO = 0x00;
const TRANSFER_COUNT = 5;
const INQUIRY = [0x12, 0, 0, 0, 255, 0];

const chipOf = (variant: FusionVariant, module: string): AdapterUnderTest => ({
  adapter: module,
  module,
  insert: card((host, disk) => {
    const chip = new FusionMptChip(host, "mpt0", { variant });
    chip.attach(0, disk);
    return chip;
  }),
});

/** Every address reply goes through `change` before the host sees it. */
function changeReplies(change: (words: Int32Array, count: number) => void): void {
  const { postReply } = MessageUnit.prototype;
  vi.spyOn(MessageUnit.prototype, "postReply").mockImplementation(function (this: MessageUnit, words, count) {
    const copy = words.slice();
    change(copy, count);
    postReply.call(this, copy, count);
  });
}

for (const [variant, module] of [
  ["53c1030", "mptspi"],
  ["sas1068", "mptsas"],
] as const) {
  describe(`a broken ${variant} under Linux's ${module}`, () => {
    const cell = conformanceCell(`${module} (broken)`, "linux");
    let linux: BootedLinux | string;
    beforeAll(async () => {
      linux = await linuxOrReason();
    });
    afterEach(() => {
      vi.restoreAllMocks();
    });

    test("brings no disk when two words of a reply change places", async (context) => {
      if (typeof linux === "string") return cell.skip(context, linux);
      const lab = await LinuxLab.make(linux, chipOf(variant, module));
      // The context tells the host whose reply it is.
      changeReplies((words) => ([words[2], words[3]] = [words[3]!, words[2]!]));
      let found = false;
      try {
        found = lab.probe(30);
      } catch (error) {
        expect(String(error)).toMatch(/is not done after/);
      }
      expect(found).toBe(false);
      cell.exercised("a swapped reply word is noticed");
    });

    test("brings no disk when a reply raises no interrupt", async (context) => {
      if (typeof linux === "string") return cell.skip(context, linux);
      const lab = await LinuxLab.make(linux, chipOf(variant, module));
      vi.spyOn(MessageUnit.prototype, "updateLine").mockImplementation(() => {});
      let found = false;
      try {
        found = lab.probe(30);
      } catch (error) {
        expect(String(error)).toMatch(/is not done after/);
      }
      expect(found).toBe(false);
      cell.exercised("a missing interrupt is noticed");
    });

    test("lies about the length of an answer when the residual is off by one", async (context) => {
      if (typeof linux === "string") return cell.skip(context, linux);
      const lab = await LinuxLab.make(linux, chipOf(variant, module));
      expect(lab.probe()).toBe(true);
      const right = readByCommand(lab, INQUIRY, 255);
      expect(right.residual).toBe(255 - (5 + right.data[4]!));
      changeReplies((words, count) => {
        if (words[0]! >>> 24 === SCSI_IO && count > TRANSFER_COUNT && words[TRANSFER_COUNT]! > 0)
          words[TRANSFER_COUNT]!--;
      });
      expect(readByCommand(lab, INQUIRY, 255).residual).toBe(right.residual + 1);
      cell.exercised("a residual off by one is noticed");
    });
  });
}
