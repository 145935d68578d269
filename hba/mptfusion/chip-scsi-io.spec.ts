import { describe, expect, it } from "vitest";
import { PhysicalMemory } from "../../emulator/memory/memory.ts";
import { ScsiDisk } from "../../emulator/disk/scsi-disk.ts";
import { SCSIIOReply, SCSIIORequest } from "./messages.ts";
import { MPI } from "./registers.ts";
import { DATA, FakeTarget, type IoRequest, MS, SENSE, SpecHost, SpecMachine } from "./spec-host.ts";

const READ_8 = [0x28, 0, 0, 0, 0, 0x10, 0, 0, 8, 0];

const withTarget = (variant: "53c1030" | "sas1068" = "53c1030") => {
  const host = new SpecHost({ variant }).bringUp();
  const target = new FakeTarget(host.machine.events);
  host.chip.attach(0, target);
  return { host, target };
};

const outcome = (frame: DataView) => ({
  context: frame.getUint32(SCSIIOReply.MsgContext, true),
  status: frame.getUint8(SCSIIOReply.SCSIStatus),
  state: frame.getUint8(SCSIIOReply.SCSIState),
  iocStatus: frame.getUint16(SCSIIOReply.IOCStatus, true),
  moved: frame.getUint32(SCSIIOReply.TransferCount, true),
  sense: frame.getUint32(SCSIIOReply.SenseCount, true),
});

describe("a SCSI IO", () => {
  it("reaches the target as a command and comes back as its own context when all went well", () => {
    const { host, target } = withTarget();
    host.postIo(9, { cdb: READ_8, direction: "in", length: 4096, lun: 3, context: 0x00070009, control: 0x100 });
    expect(target.seen).toEqual([]);
    expect(host.next()).toBe(0x00070009);
    expect(target.seen).toEqual([{ cdb: READ_8, lun: 3, direction: "in", queueTag: "head", segments: [[DATA, 4096]] }]);
    expect(host.chip.outstanding).toBe(0);
  });

  it("with CHECK CONDITION brings sense data to its buffer before the reply says so", () => {
    const { host, target } = withTarget();
    const sense = Uint8Array.from({ length: 18 }, (_, i) => 0x70 + i);
    target.answer = (command) => {
      command.status = 2;
      command.sense.set(sense);
      command.senseLength = 18;
    };
    host.postIo(4, { cdb: READ_8, direction: "in", length: 4096 });
    const frame = host.nextFrame();
    expect(outcome(frame)).toEqual({ context: 4, status: 2, state: 1, iocStatus: 0x45, moved: 0, sense: 18 });
    expect([frame.getUint8(SCSIIOReply.MsgLength), frame.getUint8(SCSIIOReply.CDBLength)]).toEqual([9, 10]);
    const got = new Uint8Array(19);
    host.machine.memory.readBytes(SENSE + 4 * 64, got);
    expect([...got]).toEqual([...sense, 0]);
  });

  it("with CHECK CONDITION but no sense data says that autosense failed", () => {
    const { host, target } = withTarget();
    target.answer = (command) => {
      command.status = 2;
    };
    host.postIo(4);
    expect(outcome(host.nextFrame())).toMatchObject({ status: 2, state: 2, iocStatus: 0, sense: 0 });
  });

  it("writes sense data above 4 GiB when the request asks for 64-bit sense addressing", () => {
    const MIB = 2 ** 20;
    const machine = new SpecMachine();
    const ram = [
      { start: 0, end: 8 * MIB, type: "ram" },
      { start: 4096 * MIB, end: 4104 * MIB, type: "ram" },
    ] as const;
    Object.assign(machine, { memory: new PhysicalMemory(machine.memory.pool, ram) });
    const host = new SpecHost({ variant: "53c1030" }, machine);
    host.postReplyFrames(16);
    host.iocInit(1);
    host.portEnable();
    const target = new FakeTarget(machine.events);
    host.chip.attach(0, target);
    target.answer = (command) => {
      command.status = 2;
      command.sense[0] = 0x72;
      command.senseLength = 8;
    };
    host.post(0, (m) => {
      host.fillIo(m, 0, {});
      m.setUint8(SCSIIORequest.MsgFlags, 1);
    });
    expect(outcome(host.nextFrame())).toMatchObject({ state: 1, sense: 8 });
    expect(machine.memory.read8(4096 * MIB + SENSE)).toBe(0x72);
    expect(machine.memory.read8(SENSE)).toBe(0);
  });

  it.each<[string, { status?: number; transferred: number }, ReturnType<typeof outcome>]>([
    [
      "GOOD but short",
      { transferred: 512 },
      { context: 1, status: 0, state: 0, iocStatus: 0x45, moved: 512, sense: 0 },
    ],
    [
      "more than asked for",
      { transferred: 5000 },
      { context: 1, status: 0, state: 0, iocStatus: 0x44, moved: 4096, sense: 0 },
    ],
    ["BUSY", { status: 8, transferred: 0 }, { context: 1, status: 8, state: 0, iocStatus: 0x45, moved: 0, sense: 0 }],
    [
      "RESERVATION CONFLICT",
      { status: 0x18, transferred: 4096 },
      { context: 1, status: 0x18, state: 0, iocStatus: 0, moved: 4096, sense: 0 },
    ],
  ])("answered %s gets an address reply", (_what, given, expected) => {
    const { host, target } = withTarget();
    target.answer = (command) => Object.assign(command, given);
    host.postIo(1, { cdb: READ_8, direction: "in", length: 4096 });
    expect(outcome(host.nextFrame())).toEqual(expected);
  });

  it.each<[string, IoRequest, number]>([
    ["another bus", { bus: 1 }, 0x41],
    ["an id beyond the bus", { target: 16 }, 0x42],
    ["the adapter's own id", { target: 7 }, 0x42],
    ["an empty id", { target: 5 }, 0x43],
  ])("to %s comes back without SCSI status", (_what, io, iocStatus) => {
    const { host } = withTarget();
    host.postIo(2, io);
    expect(outcome(host.nextFrame())).toEqual({ context: 2, status: 0, state: 4, iocStatus, moved: 0, sense: 0 });
  });

  it("to an empty id takes a selection timeout on a parallel bus and is refused at once on SAS", () => {
    for (const [variant, least, most] of [
      ["53c1030", 250 * MS, 252 * MS],
      ["sas1068", 0, 2 * MS],
    ] as const) {
      const { host } = withTarget(variant);
      const before = host.now;
      host.postIo(0, { target: 5 });
      host.next();
      expect(host.now - before).toBeGreaterThanOrEqual(least);
      expect(host.now - before).toBeLessThan(most);
    }
  });

  it("before PortEnable is refused as a wrong state", () => {
    const host = new SpecHost({ variant: "53c1030" });
    host.postReplyFrames(4);
    host.iocInit();
    host.postIo(0);
    expect(outcome(host.nextFrame())).toMatchObject({ iocStatus: 8, state: 4 });
  });

  it("with a broken scatter-gather list is refused loudly and never reaches the target", () => {
    const { host, target } = withTarget();
    host.machine.strict = false;
    host.post(0, (m) => {
      host.fillIo(m, 0, { cdb: READ_8, direction: "in", length: 4096 });
      m.setUint32(SCSIIORequest.SGL, 0xd1000200, true);
    });
    expect(outcome(host.nextFrame())).toMatchObject({ iocStatus: 3, state: 4 });
    expect(host.machine.complaints).toEqual([
      "driver erred: scatter-gather list of 4096 bytes: fewer bytes than DataLength",
    ]);
    expect(target.seen).toEqual([]);
  });

  it("whose frame lies above the flat window is read all the same", () => {
    const { host, target } = withTarget();
    const { memory, strict } = host.machine;
    expect(strict).toBe(true);
    const frame = memory.flatBytes + 0x5000;
    const bytes = new Uint8Array(128);
    host.fillIo(new DataView(bytes.buffer), 6, { cdb: READ_8, direction: "out", length: 1024 });
    memory.writeBytes(frame, bytes);
    host.writel(MPI.RequestFifo, frame);
    expect(host.next()).toBe(6);
    expect(target.seen[0]).toMatchObject({ cdb: READ_8, direction: "out", segments: [[DATA, 1024]] });
  });

  it("whose context cannot be told from an address is the driver's error", () => {
    const { host } = withTarget();
    host.machine.strict = false;
    host.postIo(0, { context: 0x80000001 });
    expect(host.next()).toBe(1);
    expect(host.machine.complaints[0]).toMatch(/MsgContext 0x80000001 cannot come back/);
  });
});

describe("many SCSI IOs", () => {
  it("posted at once are fetched one after another at their own times and answered in order", () => {
    const { host, target } = withTarget();
    target.delayNs = 0;
    for (let i = 0; i < 100; i++) host.postIo(i);
    host.advance(MS);
    const gaps = target.times.slice(1).map((time, i) => time - target.times[i]!);
    expect(new Set(gaps)).toEqual(new Set([host.chip.profile.latencies.requestGapNs]));
    expect(host.drain()).toEqual(Array.from({ length: 100 }, (_, i) => i));
  });

  it("without a free reply frame wait for one and lose nothing", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp(1);
    const target = new FakeTarget(host.machine.events);
    host.chip.attach(0, target);
    target.answer = (command) => {
      command.status = 8;
    };
    for (let i = 0; i < 3; i++) host.postIo(i);
    host.advance(MS);
    const first = host.drain();
    expect(first).toHaveLength(1);
    const contexts = [outcome(host.frame(first[0]!)).context];
    for (let i = 0; i < 2; i++) {
      host.writel(MPI.ReplyFifo, (first[0]! * 2) % 4294967296);
      contexts.push(outcome(host.nextFrame()).context);
    }
    expect(contexts).toEqual([0, 1, 2]);
  });

  it("beyond GlobalCredits come back as insufficient resources", () => {
    const { host, target } = withTarget();
    target.holding = true;
    for (let i = 0; i < 128; i++) host.postIo(i % 64, { context: i });
    host.machine.strict = false;
    host.postIo(0, { context: 500 });
    expect(outcome(host.nextFrame())).toMatchObject({ context: 500, iocStatus: 6 });
    target.release();
    expect(host.drain()).toHaveLength(128);
  });
});

describe("a reset in the middle of I/O", () => {
  it.each([false, true])(
    "loses the commands, and no late answer surfaces (target answers anyway: %s)",
    (forgetsAborts) => {
      const { host, target } = withTarget();
      target.forgetsAborts = forgetsAborts;
      target.delayNs = 700 * MS;
      for (let i = 0; i < 4; i++) host.postIo(i, { cdb: READ_8, direction: "in", length: 512 });
      host.advance(MS);
      expect(host.chip.outstanding).toBe(4);
      host.diagnosticReset();
      expect(host.chip.outstanding).toBe(0);
      expect(target.resets).toEqual(["bus"]);
      host.bringUp();
      host.advance(1000 * MS);
      expect(host.drain()).toEqual([]);
      target.delayNs = 1000;
      host.postIo(40);
      expect(host.next()).toBe(40);
      expect(host.drain()).toEqual([]);
    },
  );

  it("does not let an old answer end a new command that took its place", () => {
    const host = new SpecHost({
      variant: "53c1030",
      latencies: { portEnableNs: MS, diagnosticResetNs: 60 * MS },
    }).bringUp();
    const target = new FakeTarget(host.machine.events);
    host.chip.attach(0, target);
    target.forgetsAborts = true;
    target.delayNs = 300 * MS;
    host.postIo(1);
    host.advance(MS);
    host.diagnosticReset();
    host.bringUp();
    target.delayNs = 500 * MS;
    host.postIo(2);
    host.advance(400 * MS);
    expect(host.drain()).toEqual([]);
    expect(host.chip.outstanding).toBe(1);
    expect(host.next()).toBe(2);
  });

  it("leaves the port disabled until the next PortEnable", () => {
    const { host } = withTarget();
    host.diagnosticReset();
    host.postReplyFrames(4);
    host.iocInit();
    host.postIo(0);
    expect(outcome(host.nextFrame())).toMatchObject({ iocStatus: 8 });
  });

  it("stops selections that were running into their timeout", () => {
    const { host } = withTarget();
    host.postIo(0, { target: 9 });
    host.advance(MS);
    host.diagnosticReset();
    host.bringUp();
    host.advance(1000 * MS);
    expect(host.drain()).toEqual([]);
  });
});

describe("a real disk behind the chip", () => {
  it("tells of the bus reset once, then keeps what is written and gives it back", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    const { events, memory } = host.machine;
    host.chip.attach(0, new ScsiDisk(events, memory.pool, { name: "sda", sizeBytes: 2 ** 20 }));
    host.diagnosticReset();
    host.bringUp();
    host.postIo(0);
    expect(outcome(host.nextFrame(20_000))).toMatchObject({ status: 2, state: 1, iocStatus: 0, sense: 18 });
    expect([memory.read8(SENSE + 2) & 0x0f, memory.read8(SENSE + 12)]).toEqual([6, 0x29]);

    const pattern = Uint8Array.from({ length: 4096 }, (_, i) => i * 7);
    memory.writeBytes(DATA, pattern);
    host.postIo(1, { cdb: [0x2a, ...READ_8.slice(1)], direction: "out", length: 4096 });
    expect(host.next()).toBe(1);
    memory.writeBytes(DATA, new Uint8Array(4096));
    host.postIo(2, { cdb: READ_8, direction: "in", length: 4096 });
    expect(host.next()).toBe(2);
    const back = new Uint8Array(4096);
    memory.readBytes(DATA, back);
    expect(back).toEqual(pattern);

    // INQUIRY with more room than the disk has to say: short, and said so.
    host.postIo(3, { cdb: [0x12, 0, 0, 0, 255, 0], direction: "in", length: 255 });
    const inquiry = outcome(host.nextFrame());
    expect(inquiry).toMatchObject({ status: 0, state: 0, iocStatus: 0x45 });
    expect(inquiry.moved).toBe(memory.read8(DATA + 4) + 5);
  });
});
