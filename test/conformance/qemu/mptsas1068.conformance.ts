// Goal: our Fusion-MPT driver is right about the hardware, not only about our own model of it. Method: the driver as it is runs
// on QEMU's mptsas1068; what it wrote is read off QEMU's disk image.
import { beforeAll, describe, expect, test } from "vitest";
import { MPI_FUNCTION_SCSI_IO_REQUEST, SCSIIORequest } from "../../../hba/mptfusion/messages.ts";
import { MPI } from "../../../hba/mptfusion/registers.ts";
import { DMA_FROM_DEVICE } from "../../../kernel-sim/scsi/host.ts";
import { read10, roundTrip, send } from "./io.ts";
import { mptsas1068 } from "./mptsas1068.ts";
import type { Mischief } from "./qemu-function.ts";
import type { QemuRig } from "./rig.ts";
import { testScsiDriver } from "./scsi-tests.ts";
import { qemuSuite } from "./suite.ts";

const MIB = 1 << 20;
const GOOD = { wrote: true, onDisk: true, read: true, same: true };

describe("our driver on QEMU's mptsas1068", () => {
  const suite = qemuSuite(mptsas1068);
  const { cell, runs, start } = suite;
  testScsiDriver(mptsas1068, suite);

  let rig: QemuRig;
  beforeAll(async () => {
    if (runs) rig = await start({ disks: [{ id: 1, sizeBytes: 16 * MIB }] });
  });

  test("chains what does not fit into one request frame", () => {
    let chained = 0;
    rig.adapter.mischief = {
      beforeWrite: (_bar, offset, value) => {
        if (offset === MPI.RequestFifo && rig.qemu.ram.peek((value & ~7) + SCSIIORequest.ChainOffset, 1)[0] !== 0)
          chained++;
        return value;
      },
    };
    // Six elements fit into a frame of 128 bytes.
    for (const count of [6, 7, 16, 40]) expect(roundTrip(rig, 0, count * 400, count)).toEqual(GOOD);
    rig.adapter.mischief = {};
    // There and back.
    expect(chained).toBe(6);
    cell.exercised("scatter-gather chains");
  });

  describe("a mistake between driver and chip is noticed:", () => {
    /** Changes each SCSI request frame on its way; `change` gets its bytes and its address. */
    const inFrames = (change: (frame: Buffer) => void): Mischief => ({
      beforeWrite: (_bar, offset, value) => {
        const { ram } = rig.qemu;
        const frame = offset === MPI.RequestFifo ? ram.peek(value & ~7, 128) : undefined;
        if (frame?.[SCSIIORequest.Function] === MPI_FUNCTION_SCSI_IO_REQUEST) {
          change(frame);
          ram.poke(value & ~7, frame);
        }
        return value;
      },
    });
    const add = (at: number, amount: number) => (frame: Buffer) =>
      void frame.writeUInt32LE((frame.readUInt32LE(at) + amount) >>> 0, at);
    const flip = (at: number, mask: number) => (frame: Buffer) =>
      void frame.writeUInt32LE((frame.readUInt32LE(at) ^ mask) >>> 0, at);
    const { SGL, Control, DataLength, ChainOffset, TargetID } = SCSIIORequest;

    test.each<[string, Mischief, number]>([
      ["a data length one too small", inFrames(add(DataLength, -1)), 1],
      ["a first element one byte too short", inFrames(add(SGL, -1)), 1],
      ["a first element one byte too long", inFrames(add(SGL, 1)), 4],
      ["an element without its 64-bit flag", inFrames(flip(SGL, 0x02000000)), 4],
      ["an element that says it is a chain", inFrames(flip(SGL, 0x20000000)), 1],
      ["a chain offset one too large", inFrames((frame) => void (frame[ChainOffset] && frame[ChainOffset]++)), 16],
      ["read and write exchanged", inFrames(flip(Control, 0x03000000)), 1],
      ["an address in the next page", inFrames(add(SGL + 4, 4096)), 1],
      ["the wrong target", inFrames((frame) => void frame[TargetID]!++), 1],
      ["a buffer that was not mapped", { lend: () => false }, 1],
      ["a buffer that was not taken back", { giveBack: () => false }, 1],
    ])("%s", (_what, mischief, pages) => {
      expect(roundTrip(rig, 0, 1024, pages)).toEqual(GOOD);
      rig.adapter.mischief = mischief;
      const outcome = roundTrip(rig, 0, 4096, pages);
      rig.adapter.mischief = {};
      expect(outcome).not.toEqual(GOOD);
      expect(roundTrip(rig, 0, 2048, pages)).toEqual(GOOD);
    });

    test("an interrupt that gets lost", async () => {
      const deaf = await start({ disks: [{ id: 1, sizeBytes: 16 * MIB }] });
      deaf.adapter.patienceMs = 100;
      let lost = 0;
      deaf.adapter.mischief = { interrupt: (raised) => !raised || ++lost > 1 };
      expect(roundTrip(deaf, 0, 1024, 1)).toEqual(GOOD);
      // Nothing came for 30 s, and the level that stays up hides the answers of the error handler, too.
      expect(deaf.log().join("\n")).toMatch(/attempting task abort[^]*Initiating ioc0 recovery/);
      expect(deaf.adapter.disappointments[0]).toContain("no news from mptsas1068 within 100 ms: 1 buffers lent");
    });

    test("reply frames that are not given back", () => {
      // Each error takes one. When there are none the IOC can only stop, and the driver has to reset it.
      let kept = 0;
      const keep = (_bar: number, offset: number, value: number): number | null =>
        offset === MPI.ReplyFifo && ++kept <= 128 ? null : value;
      rig.adapter.mischief = { beforeWrite: keep };
      const sdev = rig.sds[0]!.device;
      for (let i = 0; i < 129; i++) send(rig, sdev, read10(0x7fffffff, 1), 512, DMA_FROM_DEVICE);
      rig.adapter.mischief = {};
      expect(rig.log().join("\n")).toMatch(/IOC is in FAULT state!!!\n +FAULT code = 0006h/);
      expect(roundTrip(rig, 0, 1024, 4)).toEqual(GOOD);
      cell.exercised("mistakes on the way noticed");
    });
  });
});
