import { expect, test } from "vitest";
import { checkFault, type Fault } from "./faults.ts";
import { extent10, filled, TestInitiator } from "./test-initiator.ts";

const READY = [0x00, 0, 0, 0, 0, 0];
const information = (sense: Uint8Array): number => new DataView(sense.buffer).getUint32(3);

test("a bad range fails reads at its first sector, with the data before it, and heals when lifted", () => {
  const host = new TestInitiator();
  host.write(100, filled(16, 7));
  const laid = host.disk.faults.lay({ kind: "media error", on: "read", firstLba: 105, lastLba: 106 });
  const answer = host.read(100, 16);
  expect([answer.status, answer.sense, answer.transferred]).toEqual([2, "03/11/00", 5 * 512]);
  expect([answer.senseBytes[0], information(answer.senseBytes)]).toEqual([0xf0, 105]);
  expect(answer.data).toEqual(filled(5, 7));
  expect(host.read(106, 1).senseBytes[6]).toBe(106);
  expect(host.read(107, 9).status).toBe(0);
  expect(host.read(100, 5).status).toBe(0);
  expect(host.write(105, filled(1, 8)).status).toBe(0);
  host.disk.faults.lift(laid);
  expect(host.read(105, 1).data).toEqual(filled(1, 8));
  expect(laid.hits).toBe(2);
});

test.each([[true], [false]])(
  "a bad range fails writes with 03/0C, the sectors before it are written (cache %s)",
  (writeCacheEnabled) => {
    const host = new TestInitiator({ writeCacheEnabled });
    host.disk.faults.lay({ kind: "media error", on: "write", firstLba: 300 });
    const answer = host.write(0, filled(512, 1));
    expect([answer.sense, information(answer.senseBytes), answer.transferred]).toEqual(["03/0c/00", 300, 300 * 512]);
    expect(host.read(299, 2).data).toEqual(new Uint8Array([...filled(1, 1), ...filled(1, 0)]));
  },
);

test("a write that fails at its first sector has written nothing, also for the write guard", () => {
  const host = new TestInitiator();
  host.disk.guard.watch(5000, 6000);
  host.disk.faults.lay({ kind: "media error", on: "write", firstLba: 10 });
  expect(host.write(10, filled(8, 1)).transferred).toBe(0);
  expect([host.disk.guard.writesOutside, host.disk.guard.sectorsWritten]).toEqual([0, 0]);
});

test("a deferred write error is acknowledged, then reported as such by the next command, once", () => {
  const host = new TestInitiator();
  host.disk.faults.lay({ kind: "media error", on: "write", firstLba: 4, deferred: true, count: 1 });
  expect(host.write(0, filled(8, 1)).status).toBe(0);
  const next = host.ask(READY);
  expect([next.sense, next.senseBytes[0], information(next.senseBytes)]).toEqual(["03/0c/00", 0xf1, 4]);
  expect(host.ask(READY).status).toBe(0);
  expect(host.read(3, 2).data).toEqual(new Uint8Array([...filled(1, 1), ...filled(1, 0)]));
});

test("a swallowed command is never answered, can be aborted, and does not hold up others", () => {
  const host = new TestInitiator();
  host.disk.faults.lay({ kind: "timeout", on: "write", count: 1 });
  const command = host.prepare(extent10(0x2a, 0, 8), { out: filled(8, 1) });
  command.done = () => expect.unreachable();
  host.disk.submit(command);
  host.run();
  expect(host.disk.outstanding).toBe(1);
  expect(host.read(0, 8).data).toEqual(filled(8, 0));
  expect(host.disk.abort(command)).toBe(true);
  expect(host.write(0, filled(8, 2)).status).toBe(0);
});

test("a lost completion leaves the data written and the initiator without an answer", () => {
  const host = new TestInitiator();
  host.disk.faults.lay({ kind: "lost completion", on: "write", count: 1 });
  const command = host.prepare(extent10(0x2a, 0, 8), { out: filled(8, 1) });
  command.done = () => expect.unreachable();
  host.disk.submit(command);
  host.run();
  expect(host.disk.abort(command)).toBe(false);
  expect(host.read(0, 8).data).toEqual(filled(8, 1));
});

test("an injected unit attention fails one command; a status byte is answered as it is", () => {
  const host = new TestInitiator();
  host.disk.faults.lay({ kind: "unit attention", sense: 0x062a09, count: 1 });
  host.disk.faults.lay({ kind: "status", status: 0x18, on: "write" });
  expect(host.read(0, 1).sense).toBe("06/2a/09");
  expect(host.read(0, 1).status).toBe(0);
  expect(host.write(0, filled(1, 1)).status).toBe(0x18);
});

test("a disk that is gone answers nothing, also not what was under way, until it is back", () => {
  const host = new TestInitiator();
  const command = host.prepare(extent10(0x28, 90_000, 8), { in: 4096 });
  command.done = () => expect.unreachable();
  host.disk.submit(command);
  const laid = host.disk.faults.lay({ kind: "device gone", fromNs: host.events.now + 1000 });
  expect(host.disk.present).toBe(true);
  host.run();
  expect(host.disk.present).toBe(false);
  expect(host.send(READY)).toBeUndefined();
  host.disk.faults.lift(laid);
  expect(host.disk.present).toBe(true);
  expect(host.read(0, 8).status).toBe(0);
});

test("a hung bus answers nothing until a bus reset; a target reset does not get through", () => {
  const host = new TestInitiator();
  host.write(8, filled(8, 3));
  host.disk.faults.lay({ kind: "bus hang", on: "read", firstLba: 8, count: 1 });
  const before = host.prepare(extent10(0x2a, 90_000, 8), { out: filled(8, 1) });
  before.done = () => expect.unreachable();
  host.disk.submit(before);
  expect(host.send(extent10(0x28, 8, 8), { in: 4096 })).toBeUndefined();
  expect(host.send(READY)).toBeUndefined();
  host.disk.reset("target");
  expect(host.send(READY)).toBeUndefined();
  host.disk.reset("bus");
  expect(host.ask(READY).sense).toBe("06/29/02");
  expect(host.read(8, 8).data).toEqual(filled(8, 3));
});

test("a slow disk takes its factor longer, from its time on and as often as told", () => {
  const time = (faults: Fault[]): number[] => {
    const host = new TestInitiator();
    for (const fault of faults) host.disk.faults.lay(fault);
    return [0, 1, 2].map((i) => {
      const { tookNs } = host.write(i * 32, filled(32, 1));
      host.wait(20_000_000 - tookNs);
      return tookNs;
    });
  };
  const [usual] = time([]);
  expect(time([{ kind: "slow", factor: 10, fromNs: 20_000_000, count: 1 }])).toEqual([usual, usual! * 10, usual]);
});

test("lifting everything gives a healthy disk back", () => {
  const host = new TestInitiator();
  host.disk.faults.lay({ kind: "media error", firstLba: 0, lastLba: 1000 });
  host.disk.faults.lay({ kind: "slow", factor: 100 });
  expect(host.read(0, 1).sense).toBe("03/11/00");
  host.disk.faults.liftAll();
  expect(host.read(0, 1).status).toBe(0);
});

test.each<[Fault, RegExp]>([
  [{ kind: "gremlins" as Fault["kind"] }, /"gremlins": unknown kind; known are media error/],
  [{ kind: "media error" }, /needs firstLba/],
  [{ kind: "media error", firstLba: 9, lastLba: 8 }, /lastLba lies before firstLba/],
  [{ kind: "timeout", lastLba: 8 }, /lastLba without firstLba/],
  [{ kind: "slow" }, /needs a factor of at least 1/],
  [{ kind: "timeout", count: 0 }, /count must be 1 or more/],
  [{ kind: "timeout", fromNs: -1 }, /fromNs must be 0 or more/],
  [{ kind: "timeout", on: "verify" as "read" }, /on must be read, write or any/],
])("a fault that makes no sense is refused: %j", (fault, message) => {
  expect(() => checkFault(fault)).toThrow(message);
});
