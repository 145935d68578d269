import { describe, expect, it } from "vitest";
import {
  EventAck,
  EventNotificationReply,
  MPIDefaultReply,
  MPI_FUNCTION_EVENT_ACK,
  MPI_FUNCTION_EVENT_NOTIFICATION,
  SCSIIOReply,
  SCSITaskMgmtReply,
} from "./messages.ts";
import { MPI, MPI_DOORBELL_ACTIVE } from "./registers.ts";
import { FakeTarget, MS, SpecHost } from "./spec-host.ts";

const ABORT_TASK = 1;
const ABORT_TASK_SET = 2;
const TARGET_RESET = 3;
const BUS_RESET = 4;
const LUN_RESET = 5;
const CLEAR_TASK_SET = 6;

const busy = (options: { highPriorityQueue?: boolean } = {}) => {
  const host = new SpecHost({ variant: "53c1030", ...options }).bringUp(64);
  const targets = [0, 1].map((id) => {
    const target = new FakeTarget(host.machine.events);
    target.holding = true;
    host.chip.attach(id, target);
    return target;
  });
  // Contexts: target in the tens, number in the ones; number 2 goes to LUN 1.
  for (const id of [0, 1]) for (const n of [0, 1, 2]) host.postIo(id * 10 + n, { target: id, lun: n === 2 ? 1 : 0 });
  host.advance(MS);
  return { host, targets: targets as [FakeTarget, FakeTarget] };
};

/** Sends task management as a driver does by doorbell: one more interrupt ends the handshake. */
const manage = (host: SpecHost, taskType: number, target: number, victim = 0): void => {
  host.sendByDoorbell(host.taskManagement(taskType, target, victim));
  host.waitDoorbellInt();
  expect(host.readl(MPI.Doorbell) & MPI_DOORBELL_ACTIVE).toBe(0);
  host.writel(MPI.IntStatus, 0);
};

/** All address replies so far: [context, function, IOCStatus]. */
const replies = (host: SpecHost): [number, number, number][] => {
  host.advance(5 * MS);
  return host.drain().map((descriptor) => {
    const frame = host.frame(descriptor);
    return [
      frame.getUint32(SCSIIOReply.MsgContext, true),
      frame.getUint8(SCSIIOReply.Function),
      frame.getUint16(SCSIIOReply.IOCStatus, true),
    ];
  });
};

const TM_REPLY: [number, number, number] = [0x00aa0000, 1, 0];

describe("task management over the doorbell", () => {
  it("aborts one command: its terminated reply comes first, then the answer that counts it", () => {
    const { host, targets } = busy();
    manage(host, ABORT_TASK, 0, 1);
    host.advance(5 * MS);
    const [victim, answer] = host.drain().map((descriptor) => host.frame(descriptor));
    expect(victim!.getUint32(SCSIIOReply.MsgContext, true)).toBe(1);
    expect(victim!.getUint16(SCSIIOReply.IOCStatus, true)).toBe(0x48);
    expect(victim!.getUint8(SCSIIOReply.SCSIState) & 0x08).toBe(0x08);
    expect(answer!.getUint8(SCSITaskMgmtReply.MsgLength)).toBe(6);
    expect(answer!.getUint8(SCSITaskMgmtReply.TaskType)).toBe(ABORT_TASK);
    expect(answer!.getUint8(SCSITaskMgmtReply.ResponseCode)).toBe(0);
    expect(answer!.getUint32(SCSITaskMgmtReply.TerminationCount, true)).toBe(1);
    expect(targets[0].held).toHaveLength(2);
    targets[0].release();
    expect(host.drain()).toEqual([0, 2]);
  });

  it("aborting what is already done succeeds and terminates nothing", () => {
    const { host, targets } = busy();
    targets[0].release();
    host.drain();
    manage(host, ABORT_TASK, 0, 1);
    expect(replies(host)).toEqual([TM_REPLY]);
  });

  it.each<[string, number, number[], number, string[]]>([
    ["abort task set", ABORT_TASK_SET, [0, 1], 0x48, []],
    ["clear task set", CLEAR_TASK_SET, [0, 1], 0x48, []],
    ["logical unit reset", LUN_RESET, [0, 1], 0x48, ["lun"]],
    ["target reset", TARGET_RESET, [0, 1, 2], 0x48, ["target"]],
  ])("%s ends the commands it names and no others", (_name, taskType, victims, iocStatus, resets) => {
    const { host, targets } = busy();
    manage(host, taskType, 0);
    expect(replies(host)).toEqual([...victims.map((context) => [context, 0, iocStatus]), TM_REPLY]);
    expect(targets[0].resets).toEqual(resets);
    expect(targets[1].resets).toEqual([]);
    expect(targets[1].held).toHaveLength(3);
  });

  it("bus reset ends everything as IOC terminated, reaches every target and is reported as an event", () => {
    const { host, targets } = busy();
    host.enableEvents(60);
    host.next();
    manage(host, BUS_RESET, 0);
    const all = replies(host);
    expect(all.slice(0, 6)).toEqual([0, 1, 2, 10, 11, 12].map((context) => [context, 0, 0x4b]));
    expect(all.slice(6)).toEqual([[0x00ee0000, MPI_FUNCTION_EVENT_NOTIFICATION, 0], TM_REPLY]);
    expect(targets.map((target) => target.resets)).toEqual([["bus"], ["bus"]]);
  });

  it("answers an unknown task type as not supported and an absent target as not there", () => {
    const { host } = busy();
    manage(host, 9, 0);
    const unknown = host.nextFrame();
    expect(unknown.getUint8(SCSITaskMgmtReply.ResponseCode)).toBe(4);
    manage(host, TARGET_RESET, 5);
    expect(host.nextFrame().getUint16(SCSITaskMgmtReply.IOCStatus, true)).toBe(0x43);
    manage(host, TARGET_RESET, 16);
    expect(host.nextFrame().getUint16(SCSITaskMgmtReply.IOCStatus, true)).toBe(0x42);
  });
});

describe("the high-priority FIFO", () => {
  const write = (host: SpecHost): void =>
    host.post(
      50,
      (m) => host.taskManagement(ABORT_TASK, 0, 0).forEach((word, i) => m.setInt32(4 * i, word, true)),
      MPI.RequestHiPriFifo,
    );

  it("carries task management when the capability is on", () => {
    const { host } = busy({ highPriorityQueue: true });
    write(host);
    expect(replies(host)).toEqual([[0, 0, 0x48], TM_REPLY]);
    expect(host.iocFacts().getUint32(0x34, true)).toBe(1);
  });

  it("is the driver's error when the capability is off", () => {
    const { host } = busy();
    host.machine.strict = false;
    write(host);
    expect(host.machine.complaints[0]).toMatch(/RequestHiPriFifo/);
    expect(replies(host)).toEqual([]);
  });
});

describe("events", () => {
  const event = (frame: DataView) => ({
    event: frame.getUint32(EventNotificationReply.Event, true),
    flags: frame.getUint8(EventNotificationReply.MsgFlags),
    context: frame.getUint32(EventNotificationReply.MsgContext, true),
    ack: frame.getUint8(EventNotificationReply.AckRequired),
    data: frame.getUint32(EventNotificationReply.Data, true),
  });

  it("are switched on by one message, whose own reply frees the frame", () => {
    const host = new SpecHost({ variant: "53c1030" }).bringUp();
    host.chip.externalBusReset();
    host.advance(MS);
    expect(host.drain()).toEqual([]);
    host.enableEvents();
    expect(event(host.nextFrame())).toEqual({ event: 0x0a, flags: 0, context: 0x00ee0000, ack: 0, data: 1 });
  });

  it("tell of a bus reset by somebody else, after the commands it ended", () => {
    const { host, targets } = busy();
    host.enableEvents(60);
    host.next();
    host.chip.externalBusReset();
    host.advance(MS);
    const frames = host.drain().map((descriptor) => host.frame(descriptor));
    expect(frames.slice(0, 6).map((frame) => frame.getUint16(SCSIIOReply.IOCStatus, true))).toEqual(
      new Array(6).fill(0x4c),
    );
    expect(event(frames[6]!)).toEqual({ event: 5, flags: 0x80, context: 0x00ee0000, ack: 0, data: 0 });
    expect(targets[1].resets).toEqual(["bus"]);
  });

  it("tell of a full queue with the depth that was reached", () => {
    const { host, targets } = busy();
    host.enableEvents(60);
    host.next();
    targets[1].answer = (command) => {
      command.status = 0x28;
    };
    targets[1].release();
    const frames = host.drain().map((descriptor) => host.frame(descriptor));
    expect(event(frames[0]!)).toMatchObject({ event: 0x0e, data: 1 | (2 << 16) });
    expect(frames[1]!.getUint8(SCSIIOReply.SCSIStatus)).toBe(0x28);
  });

  it("tell of a SAS device that went away, want an EventAck and take exactly one", () => {
    const host = new SpecHost({ variant: "sas1068" }).bringUp();
    const target = new FakeTarget(host.machine.events);
    target.holding = true;
    host.chip.attach(3, target);
    host.enableEvents();
    host.next();
    host.postIo(7, { target: 3 });
    host.advance(MS);
    target.present = false;
    host.chip.sasDeviceChanged(3);
    host.advance(MS);
    const [lost, notice] = host.drain().map((descriptor) => host.frame(descriptor));
    expect(lost!.getUint16(SCSIIOReply.IOCStatus, true)).toBe(0x43);
    expect(event(notice!)).toEqual({ event: 0x0f, flags: 0x80, context: 0x00ee0000, ack: 1, data: 3 | (4 << 16) });
    expect(notice!.getUint16(EventNotificationReply.Data + 6, true)).toBe(12);

    const acknowledge = (): number => {
      host.post(1, (m) => {
        m.setUint8(EventAck.Function, MPI_FUNCTION_EVENT_ACK);
        m.setUint32(EventAck.Event, 0x0f, true);
        m.setUint32(EventAck.EventContext, notice!.getUint32(EventNotificationReply.EventContext, true), true);
      });
      return host.nextFrame().getUint16(MPIDefaultReply.IOCStatus, true);
    };
    expect(acknowledge()).toBe(0);
    host.machine.strict = false;
    expect(acknowledge()).toBe(7);
  });
});

describe("a message of an unknown function in the FIFO", () => {
  it("is answered as an invalid function", () => {
    const host = new SpecHost({ variant: "sas1068" }).bringUp();
    host.post(0, (m) => {
      m.setUint8(3, 0x1b);
      m.setUint32(8, 0x00120034, true);
    });
    const frame = host.nextFrame();
    expect(frame.getUint8(MPIDefaultReply.Function)).toBe(0x1b);
    expect(frame.getUint32(MPIDefaultReply.MsgContext, true)).toBe(0x00120034);
    expect(frame.getUint16(MPIDefaultReply.IOCStatus, true)).toBe(1);
  });
});
