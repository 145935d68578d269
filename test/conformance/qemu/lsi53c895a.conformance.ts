// Goal: our sym53c8xx driver and its SCRIPTS are right about the hardware. Method: they run on QEMU's lsi53c895a, whose SCRIPTS
// processor is not ours; mistakes are made on the way between driver and chip.
import { beforeAll, describe, expect, test } from "vitest";
import type { SYM_HCB } from "../../../hba/sym53c8xx/driver-hcb.ts";
import { SYM_CONF_MAX_SG } from "../../../hba/sym53c8xx/driver-structs.ts";
import { ISTAT_SIGP, SYM } from "../../../hba/sym53c8xx/registers.ts";
import { roundTrip } from "./io.ts";
import { lsi53c895a } from "./lsi53c895a.ts";
import type { Mischief } from "./qemu-function.ts";
import type { QemuRig } from "./rig.ts";
import { testScsiDriver } from "./scsi-tests.ts";
import { qemuSuite } from "./suite.ts";

const MIB = 1 << 20;
const GOOD = { wrote: true, onDisk: true, read: true, same: true };

describe("our driver on QEMU's lsi53c895a", () => {
  const suite = qemuSuite(lsi53c895a);
  const { cell, runs, start } = suite;
  testScsiDriver(lsi53c895a, suite);

  describe("a mistake between driver and chip is noticed:", () => {
    let rig: QemuRig;
    beforeAll(async () => {
      if (runs) rig = await start({ disks: [{ id: 1, sizeBytes: 16 * MIB }] });
    });

    /** Changes the last entry of each command's data table on its way: length, then address. */
    const inTable = (change: (entry: Buffer) => void): Mischief => ({
      beforeWrite: (bar, offset, value) => {
        if (bar !== 1 || offset !== SYM.ISTAT0 || (value & ISTAT_SIGP) === 0) return value;
        const np = rig.hosts[0]!.hostdata as SYM_HCB;
        for (const { cmd, addr } of np.ccbs) {
          if (!cmd) continue;
          const at = addr + np.offsets.ccb.data + 8 * (SYM_CONF_MAX_SG - 1);
          const entry = rig.qemu.ram.peek(at, 8);
          change(entry);
          rig.qemu.ram.poke(at, entry);
        }
        return value;
      },
    });
    const add = (at: number, amount: number) => (entry: Buffer) =>
      void entry.writeUInt32LE((entry.readUInt32LE(at) + amount) >>> 0, at);

    test.each<[string, Mischief]>([
      ["an address in the next page", inTable(add(4, 4096))],
      ["a buffer that was not mapped", { lend: () => false }],
      ["a buffer that was not taken back", { giveBack: () => false }],
    ])("%s", (_what, mischief) => {
      expect(roundTrip(rig, 0, 1024, 4)).toEqual(GOOD);
      rig.adapter.mischief = mischief;
      const outcome = roundTrip(rig, 0, 4096, 4);
      rig.adapter.mischief = {};
      expect(outcome).not.toEqual(GOOD);
      expect(roundTrip(rig, 0, 2048, 4)).toEqual(GOOD);
    });

    test("an interrupt that gets lost", async () => {
      const deaf = await start({ disks: [{ id: 1, sizeBytes: 16 * MIB }] });
      deaf.adapter.patienceMs = 100;
      let lost = 0;
      deaf.adapter.mischief = { interrupt: (raised) => !raised || ++lost > 1 };
      expect(roundTrip(deaf, 0, 1024, 1)).toEqual(GOOD);
      expect(deaf.log().join("\n")).toContain("ABORT operation started");
      cell.exercised("mistakes on the way noticed");
    });
  });
});
