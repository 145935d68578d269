import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { extent10, filled, TestInitiator } from "./test-initiator.ts";

const text = (bytes: Uint8Array): string => String.fromCharCode(...bytes);
const READY = [0x00, 0, 0, 0, 0, 0];
const modeSense6 = (page: number, allocation = 255): number[] => [0x1a, 0, page, 0, allocation, 0];
const SYNCHRONIZE = extent10(0x35, 0, 0);
const MS = 1_000_000;

/** Turns the write cache on or off the way diskdump does: MODE SENSE, change a bit, MODE SELECT. */
function setWriteCache(host: TestInitiator, enabled: boolean, save = false): string {
  const page = host.ask(modeSense6(8), { in: 255 }).data;
  page[0] = 0;
  page[12]! &= 0x7f;
  page[14] = enabled ? page[14]! | 4 : page[14]! & ~4;
  return host.ask([0x15, 0x10 | (save ? 1 : 0), 0, 0, page.length, 0], { out: page }).sense;
}

describe("identification", () => {
  test("a bus scan finds one disk at LUN 0 and nothing at LUN 1", () => {
    const host = new TestInitiator();
    const short = host.ask([0x12, 0, 0, 0, 36, 0], { in: 36 });
    expect(short.transferred).toBe(36);
    expect([short.data[0], short.data[1], short.data[3]]).toEqual([0, 0, 2]);
    expect(text(short.data.subarray(8, 36))).toBe("DUMPLAB VIRTUAL-36G-10K 0001");
    const full = host.ask([0x12, 0, 0, 0, 255, 0], { in: 255 });
    expect(full.transferred).toBe(short.data[4]! + 5);
    expect(full.data[7]! & 0x02).toBe(2);
    const absent = host.send([0x12, 0, 0, 0, 36, 0], { in: 36 }, (command) => (command.lun = 1))!;
    expect([absent.status, absent.data[0]]).toEqual([0, 0x7f]);
    expect(host.send(READY, {}, (command) => (command.lun = 1))!.sense).toBe("05/25/00");
    const luns = host.ask([0xa0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0], { in: 16 });
    expect([...luns.data]).toEqual([0, 0, 0, 8, ...new Array<number>(12).fill(0)]);
  });

  test("the vital pages listed by page 00 all answer, others are refused", () => {
    const host = new TestInitiator({ identity: { serial: "SN42" } });
    const list = host.ask([0x12, 1, 0, 0, 255, 0], { in: 255 }).data;
    expect([...list.subarray(4)]).toEqual([0x00, 0x80, 0x83, 0xb0, 0xb1]);
    for (const page of list.subarray(4)) {
      const { data } = host.ask([0x12, 1, page, 0, 255, 0], { in: 255 });
      expect([data[1], 4 + data[2]! * 256 + data[3]!]).toEqual([page, data.length]);
    }
    expect(text(host.ask([0x12, 1, 0x80, 0, 255, 0], { in: 255 }).data.subarray(4))).toBe("SN42");
    expect(host.ask([0x12, 1, 0xb2, 0, 255, 0], { in: 255 }).sense).toBe("05/24/00");
    expect(host.ask([0x12, 0, 0x80, 0, 255, 0], { in: 255 }).sense).toBe("05/24/00");
  });

  test("capacity is the last sector and 512 bytes, in both forms", () => {
    const host = new TestInitiator();
    const last = 64 * 2048 - 1;
    const bytes = [last >>> 24, (last >> 16) & 255, (last >> 8) & 255, last & 255, 0, 0, 2, 0];
    expect([...host.ask(extent10(0x25, 0, 0), { in: 8 }).data]).toEqual(bytes);
    const long = host.ask([0x9e, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], { in: 32 }).data;
    expect([...long.subarray(4, 12)]).toEqual(bytes);
    expect(long.length).toBe(32);
    expect(host.ask([0x9e, 0x11, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32, 0, 0], { in: 32 }).sense).toBe("05/24/00");
  });

  test("the echo buffer of domain validation gives back what was written", () => {
    const host = new TestInitiator();
    const size = host.ask([0x3c, 0x0b, 0, 0, 0, 0, 0, 0, 4, 0], { in: 4 }).data;
    expect(size[2]! * 256 + size[3]!).toBe(4096);
    const pattern = filled(1, 0xa5);
    expect(host.ask([0x3b, 0x0a, 0, 0, 0, 0, 0, 2, 0, 0], { out: pattern }).status).toBe(0);
    expect(host.ask([0x3c, 0x0a, 0, 0, 0, 0, 0, 2, 0, 0], { in: 512 }).data).toEqual(pattern);
  });
});

describe("refusals", () => {
  test.each([
    ["an unknown command", [0x42, 0, 0, 0, 0, 0, 0, 0, 0, 0], "05/20/00"],
    ["SEND DIAGNOSTIC", [0x1d, 4, 0, 0, 0, 0], "05/20/00"],
    ["the linked bit", [0x00, 0, 0, 0, 0, 1], "05/24/00"],
    ["a descriptor block that is too short", [0x28, 0, 0, 0, 0, 0], "05/24/00"],
    ["a read just beyond the end", extent10(0x28, 64 * 2048 - 1, 2), "05/21/00"],
    ["a write of nothing beyond the end", extent10(0x2a, 64 * 2048, 0), "05/21/00"],
    ["a 16-byte read at 2^40", [0x88, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0], "05/21/00"],
    ["a mode page we do not have", modeSense6(0x07), "05/24/00"],
  ])("%s", (_what, cdb, sense) => {
    const answer = new TestInitiator().ask(cdb, { in: 4096 });
    expect([answer.status, answer.sense, answer.transferred]).toEqual([2, sense, 0]);
  });

  test("a write with less data than it announces moves nothing", () => {
    const host = new TestInitiator();
    expect(host.ask(extent10(0x2a, 0, 2), { out: filled(1, 1) }).sense).toBe("0b/4b/00");
    expect(host.read(0, 1).data).toEqual(filled(1, 0));
  });

  test("a write-protected disk says so in MODE SENSE and refuses writes", () => {
    const host = new TestInitiator({ writeProtected: true });
    expect(host.ask(modeSense6(0x3f, 4), { in: 4 }).data[2]! & 0x80).toBe(0x80);
    expect(host.write(0, filled(1, 1)).sense).toBe("07/27/00");
  });
});

describe("reading and writing", () => {
  test.each([
    ["6 bytes", [0x0a, 0, 0, 9, 2, 0], [0x08, 0, 0, 9, 2, 0]],
    ["10 bytes", extent10(0x2a, 9, 2), extent10(0x28, 9, 2)],
    ["12 bytes", [0xaa, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0], [0xa8, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0]],
    [
      "16 bytes",
      [0x8a, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0],
      [0x88, 0, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 2, 0, 0],
    ],
    ["write and verify", extent10(0x2e, 9, 2), extent10(0x28, 9, 2)],
  ])("%s", (_form, write, read) => {
    const host = new TestInitiator();
    const data = Uint8Array.from({ length: 1024 }, (_, i) => i * 7);
    expect(host.ask(write, { out: data })).toMatchObject({ status: 0, transferred: 1024 });
    expect(host.ask(read, { in: 1024 }).data).toEqual(data);
    expect(host.read(8, 1).data).toEqual(filled(1, 0));
  });

  test("a length of zero means 256 sectors for six bytes and none for ten", () => {
    const host = new TestInitiator();
    expect(host.ask([0x08, 0, 0, 0, 0, 0], { in: 256 * 512 }).transferred).toBe(256 * 512);
    expect(host.ask(extent10(0x28, 0, 0), {}).transferred).toBe(0);
  });

  test("scattered segments of odd sizes arrive in order", () => {
    const host = new TestInitiator();
    const data = Uint8Array.from({ length: 1536 }, (_, i) => i >> 2);
    host.send(extent10(0x2a, 0, 3), { out: data }, (command) => {
      const { address } = command.segments[0]!;
      [100, 0, 700, 736].reduce((at, length, i) => {
        command.segments[i]!.address = address + at;
        command.segments[i]!.length = length;
        return at + length;
      }, 0);
      command.segmentCount = 4;
    });
    expect(host.read(0, 3).data).toEqual(data);
  });

  test("a long write moves in bursts of 64 KiB: at any instant a prefix has arrived", () => {
    const host = new TestInitiator();
    const command = host.prepare(extent10(0x2a, 0, 512), { out: filled(512, 0xee) });
    let done = false;
    command.done = () => (done = true);
    host.disk.submit(command);
    const arrived: number[] = [];
    while (!done) {
      host.events.fireNext();
      const bytes = new Uint8Array(512 * 512);
      host.disk.media.store.read(0, bytes);
      arrived.push(bytes.lastIndexOf(0xee) + 1);
    }
    expect(arrived).toEqual([1, 2, 3, 4].map((burst) => burst * 65_536));
  });

  test("data is taken from RAM when it moves, not when the command arrives", () => {
    const host = new TestInitiator();
    const command = host.prepare(extent10(0x2a, 0, 8), { out: filled(8, 1) });
    host.disk.submit(command);
    host.memory.writeBytes(command.segments[0]!.address, filled(8, 2));
    host.run();
    expect(host.read(0, 8).data).toEqual(filled(8, 2));
  });

  test("a cached 16 KiB write costs one event", () => {
    const host = new TestInitiator();
    const before = host.events.fired;
    host.write(0, filled(32, 1));
    expect(host.events.fired - before).toBe(1);
  });
});

describe("mode pages", () => {
  test("the write cache can be switched off and on; saved values outlive a reset, others do not", () => {
    const host = new TestInitiator();
    const wce = (control = 0): number => host.ask(modeSense6(8 | (control << 6)), { in: 255 }).data[14]! & 4;
    expect([wce(), wce(1), wce(2), wce(3)]).toEqual([4, 4, 4, 4]);
    expect(setWriteCache(host, false)).toBe("");
    expect([wce(), wce(3)]).toEqual([0, 4]);
    host.disk.reset("bus");
    expect(host.ask(READY).sense).toBe("06/29/02");
    expect(wce()).toBe(4);
    setWriteCache(host, false, true);
    host.disk.reset("power");
    host.ask(READY);
    expect([wce(), wce(3)]).toEqual([0, 0]);
  });

  test("MODE SENSE(6) and (10) with page 3F walk over all pages and agree with their own lengths", () => {
    const host = new TestInitiator();
    const six = host.ask(modeSense6(0x3f), { in: 255 }).data;
    const ten = host.ask([0x5a, 8, 0x3f, 0, 0, 0, 0, 1, 0, 0], { in: 256 }).data;
    expect(six[0]! + 1).toBe(six.length);
    expect(ten[0]! * 256 + ten[1]! + 2).toBe(ten.length);
    expect([...ten.subarray(8)]).toEqual([...six.subarray(12)]);
    const codes: number[] = [];
    for (let at = 12; at < six.length; at += six[at + 1]! + 2) codes.push(six[at]! & 0x3f);
    expect(codes).toEqual([1, 2, 3, 4, 8, 10, 28]);
  });

  test("a MODE SELECT that changes what cannot change, or is cut short, changes nothing", () => {
    const host = new TestInitiator();
    const page = host.ask(modeSense6(8), { in: 255 }).data;
    page[0] = 0;
    page[14]! &= ~4;
    page[15]! ^= 1;
    expect(host.ask([0x15, 0x10, 0, 0, page.length, 0], { out: page }).sense).toBe("05/26/00");
    expect(host.ask([0x15, 0x10, 0, 0, page.length - 1, 0], { out: page.subarray(0, -1) }).sense).toBe("05/1a/00");
    expect(host.ask([0x15, 0x10, 0, 0, page.length, 0], { out: page.subarray(0, 10) }).sense).toBe("0b/4b/00");
    expect(host.ask(modeSense6(8), { in: 255 }).data[14]! & 4).toBe(4);
  });

  test("switching the cache off is answered when the cache is empty", () => {
    const host = new TestInitiator();
    host.write(0, filled(4096, 1));
    expect(host.disk.volatileBytes).toBeGreaterThan(1_000_000);
    setWriteCache(host, false);
    expect(host.disk.volatileBytes).toBe(0);
  });
});

describe("attention, readiness and resets", () => {
  test("after power-on the first command fails, REQUEST SENSE and INQUIRY do not", () => {
    const host = new TestInitiator();
    host.disk.reset("power");
    expect(host.ask([0x12, 0, 0, 0, 36, 0], { in: 36 }).status).toBe(0);
    const first = host.ask(READY);
    expect([first.status, first.sense, first.senseBytes.length]).toEqual([2, "06/29/01", 18]);
    expect(host.ask(READY).status).toBe(0);
    host.disk.reset("target");
    const sense = host.ask([0x03, 0, 0, 0, 18, 0], { in: 18 });
    expect([sense.status, sense.data[2], sense.data[12], sense.data[13]]).toEqual([0, 6, 0x29, 3]);
    expect(host.ask(READY).status).toBe(0);
  });

  test("a disk that spins up is not ready until it is", () => {
    const host = new TestInitiator({ timing: { spinUpNs: 100 * MS } });
    expect(host.ask(READY).sense).toBe("02/04/01");
    host.wait(100 * MS);
    expect(host.ask(READY).sense).toBe("");
    expect(host.ask([0x1b, 0, 0, 0, 0, 0]).status).toBe(0);
    expect(host.read(0, 1).sense).toBe("02/04/02");
    expect(host.ask([0x1b, 0, 0, 0, 1, 0]).tookNs).toBeGreaterThan(99 * MS);
    expect(host.read(0, 1).status).toBe(0);
  });

  test("a reset drops all commands without status, and raises its attention once", () => {
    const host = new TestInitiator();
    let answers = 0;
    for (let i = 0; i < 5; i++) {
      const command = host.prepare(extent10(0x28, i * 1000, 8), { in: 4096 });
      command.done = () => answers++;
      host.disk.submit(command);
    }
    host.disk.reset("bus");
    host.run();
    expect([answers, host.disk.outstanding]).toEqual([0, 0]);
    expect(host.ask(READY).sense).toBe("06/29/02");
    expect(host.ask(READY).sense).toBe("");
  });

  test("an aborted command is never answered; the attention it would have reported stays", () => {
    const host = new TestInitiator();
    host.disk.attend(0x062a01);
    const command = host.prepare(READY);
    command.done = () => expect.unreachable();
    host.disk.submit(command);
    expect(host.disk.abort(command)).toBe(true);
    expect(host.disk.abort(command)).toBe(false);
    host.run();
    expect(host.ask(READY).sense).toBe("06/2a/01");
  });
});

describe("the task set", () => {
  const order = (
    host: TestInitiator,
    list: { lba: number; tag: "simple" | "head" | "ordered"; op?: number }[],
  ): number[] => {
    const done: number[] = [];
    list.forEach(({ lba, tag, op }, i) => {
      const command = host.prepare(
        extent10(op ?? 0x28, lba, 8),
        op === 0x2a ? { out: filled(8, i + 1) } : { in: 4096 },
      );
      command.queueTag = tag;
      command.done = () => done.push(i);
      host.disk.submit(command);
    });
    host.run();
    return done;
  };
  const scattered = [100_000, 90_000, 10, 110_000, 50];

  test("simple commands are served by access time, ordered ones in order, a head of queue next", () => {
    const simple = scattered.map((lba) => ({ lba, tag: "simple" as const }));
    const served = order(new TestInitiator(), simple);
    expect([...served].sort()).toEqual([0, 1, 2, 3, 4]);
    expect(served).not.toEqual([0, 1, 2, 3, 4]);
    expect(
      order(
        new TestInitiator(),
        scattered.map((lba) => ({ lba, tag: "ordered" as const })),
      ),
    ).toEqual([0, 1, 2, 3, 4]);
    expect(order(new TestInitiator(), [...simple, { lba: 30_000, tag: "head" as const }])[1]).toBe(5);
    expect(order(new TestInitiator({ timing: { queueOrder: "fifo" } }), simple)).toEqual([0, 1, 2, 3, 4]);
    expect(order(new TestInitiator({ timing: { queueOrder: "elevator" } }), simple)).toEqual([0, 3, 2, 4, 1]);
  });

  test("an ordered command in the middle separates what came before from what comes after", () => {
    const list = scattered.map((lba, i) => ({ lba, tag: i === 2 ? ("ordered" as const) : ("simple" as const) }));
    const served = order(new TestInitiator(), list);
    expect(served.slice(0, 2).sort()).toEqual([0, 1]);
    expect(served[2]).toBe(2);
    // A cached write would be quickest, but it is ordered.
    const reads = scattered.map((lba) => ({ lba, tag: "simple" as const }));
    expect(order(new TestInitiator(), [...reads, { lba: 70_000, tag: "ordered", op: 0x2a }])[5]).toBe(5);
  });

  test("a head of queue holds up even a cached write", () => {
    const simple = { lba: 100_000, tag: "simple" as const };
    expect(
      order(new TestInitiator(), [simple, { lba: 10, tag: "head" }, { lba: 70_000, tag: "simple", op: 0x2a }]),
    ).toEqual([0, 1, 2]);
  });

  test("a cached write overtakes reads of other sectors, never one of its own", () => {
    const read = { lba: 5000, tag: "simple" as const };
    expect(order(new TestInitiator(), [read, { lba: 100_000, tag: "simple", op: 0x2a }])).toEqual([1, 0]);
    expect(order(new TestInitiator(), [read, { lba: 5004, tag: "simple", op: 0x2a }])).toEqual([0, 1]);
  });

  test("a far command is not starved by an endless supply of near ones", () => {
    const host = new TestInitiator({ timing: { readAheadBytes: 0 } });
    let near = 0;
    let farAfter = -1;
    const feed = (): void => {
      const command = host.prepare(extent10(0x28, (near * 331) % 2000, 1), { in: 512 });
      command.done = () => {
        if (++near < 400) feed();
      };
      host.disk.submit(command);
    };
    for (let i = 0; i < 8; i++) feed();
    const far = host.prepare(extent10(0x28, 130_000, 1), { in: 512 });
    far.done = () => (farAfter = near);
    host.disk.submit(far);
    host.run();
    expect(farAfter).toBeGreaterThan(8);
    expect(farAfter).toBeLessThan(100);
  });

  test("the command after the last free place is answered TASK SET FULL", () => {
    const host = new TestInitiator({ timing: { queueDepth: 2 } });
    const statuses: number[] = [];
    for (let i = 0; i < 3; i++) {
      const command = host.prepare(extent10(0x28, i * 100, 1), { in: 512 });
      command.done = (one) => statuses.push(one.status);
      host.disk.submit(command);
    }
    expect(host.disk.outstanding).toBe(2);
    host.run();
    expect(statuses).toEqual([0x28, 0, 0]);
  });

  test("an untagged command beside tagged ones is an overlap: 0B/4E, and the others are gone", () => {
    const host = new TestInitiator();
    let answered = 0;
    const tagged = host.prepare(extent10(0x28, 5, 1), { in: 512 });
    tagged.done = () => answered++;
    host.disk.submit(tagged);
    expect(host.send(READY, {}, (command) => (command.queueTag = "untagged"))!.sense).toBe("0b/4e/00");
    host.run();
    expect([answered, host.disk.outstanding]).toEqual([0, 0]);
  });

  test("the same command record twice is a mistake of the adapter and says so", () => {
    const host = new TestInitiator();
    const command = host.prepare(READY);
    host.disk.submit(command);
    expect(() => host.disk.submit(command)).toThrow(/sda: command 1 was submitted twice/);
  });
});

describe("time", () => {
  test("random reads take about a seek and half a turn", () => {
    const host = new TestInitiator();
    let total = 0;
    for (let i = 0; i < 300; i++) total += host.read((i * 48_271) % 131_000, 8).tookNs;
    // 4.7 ms average seek + 3 ms half a revolution.
    expect(total / 300 / MS).toBeGreaterThan(6.5);
    expect(total / 300 / MS).toBeLessThan(9);
  });

  test("sequential reads and cached writes run at media speed, a cached write in an idle disk at bus speed", () => {
    for (const write of [false, true]) {
      const host = new TestInitiator({ sizeBytes: 2 ** 30 });
      const start = host.events.now;
      const bytes = 32 * 2 ** 20;
      for (let lba = 0; lba < bytes / 512; lba += 32) {
        if (write) host.write(lba, filled(32, 1));
        else host.read(lba, 32);
      }
      if (write) host.ask(SYNCHRONIZE);
      const rate = bytes / ((host.events.now - start) / 1e9) / 1e6;
      expect(rate).toBeGreaterThan(60);
      expect(rate).toBeLessThan(69);
    }
    expect(new TestInitiator().write(0, filled(32, 1)).tookNs).toBeLessThan(0.1 * MS);
  });

  test("the track buffer serves what was just read again, but not a whole file", () => {
    const host = new TestInitiator();
    const pass = (sectors: number): number => {
      const start = host.events.now;
      for (let lba = 0; lba < sectors; lba += 32) host.read(lba, 32);
      return host.events.now - start;
    };
    pass(512);
    expect(pass(512)).toBeLessThan(16 * 0.1 * MS);
    const first = pass(65_536);
    expect(pass(65_536)).toBeGreaterThan(0.95 * first);
  });

  test("without the cache each sequential 16 KiB write waits for a turn of the platter", () => {
    const host = new TestInitiator({ writeCacheEnabled: false });
    host.write(0, filled(32, 1));
    const times = [1, 2, 3].map((i) => host.write(i * 32, filled(32, 1)).tookNs / MS);
    for (const time of times) expect(time).toBeCloseTo(6, 0);
  });

  test("SYNCHRONIZE CACHE is answered when nothing is volatile any more; with IMMED at once", () => {
    const host = new TestInitiator();
    for (let i = 0; i < 20; i++) host.write((i * 7919) % 100_000, filled(8, 1));
    expect(host.disk.volatileBytes).toBeGreaterThan(0);
    expect(host.ask(extent10(0x35, 0, 0, 2)).tookNs).toBeLessThan(0.1 * MS);
    expect(host.disk.volatileBytes).toBeGreaterThan(0);
    expect(host.ask(SYNCHRONIZE).tookNs).toBeGreaterThan(5 * MS);
    expect(host.disk.volatileBytes).toBe(0);
  });

  test("reads during destaging delay it, and the same run takes the same time", () => {
    let reading = 0;
    const drained = (reads: number): number => {
      const host = new TestInitiator();
      host.write(0, filled(8192, 1));
      reading = 0;
      for (let i = 0; i < reads; i++) reading += host.read(60_000 + i * 500, 8).tookNs;
      host.ask(SYNCHRONIZE);
      return host.events.now;
    };
    const undisturbed = drained(0);
    expect(drained(5)).toBeGreaterThan(undisturbed + reading);
    expect(drained(5)).toBe(drained(5));
  });
});

describe("the write guard", () => {
  test("writes inside the watched partition are fine, the first sector outside is reported with its time", () => {
    const host = new TestInitiator();
    host.disk.guard.watch(1000, 2000);
    host.disk.guard.watch(2000, 3000);
    host.write(1000, filled(8, 1));
    host.write(1996, filled(8, 1));
    expect(host.disk.guard.writesOutside).toBe(0);
    host.write(2996, filled(8, 1));
    host.write(999, filled(1, 1));
    const { writesOutside, firstOffendingLba, firstOffendingAt } = host.disk.guard;
    expect([writesOutside, firstOffendingLba]).toEqual([2, 3000]);
    expect(firstOffendingAt).toBeGreaterThan(0);
    expect(host.disk.guard.sectorsWritten).toBe(25);
  });
});

describe("any sequence of commands", () => {
  const SECTORS = 96;
  const act = fc.record({
    kind: fc.constantFrom("write", "write", "read", "fua", "flush", "wce", "cut", "wait"),
    lba: fc.nat(SECTORS - 1),
    sectors: fc.integer({ min: 1, max: 24 }),
    value: fc.integer({ min: 1, max: 255 }),
  });

  test("reads what was written; after a power cut every sector is what the platters had, or something written since", () => {
    fc.assert(
      fc.property(fc.array(act, { maxLength: 40 }), (acts) => {
        const host = new TestInitiator({
          sizeBytes: SECTORS * 512,
          trackVolatile: true,
          timing: { cacheBytes: 65_536 },
        });
        // What a read gives, and per sector what the platters may hold: the last safe value and the ones since.
        let model = new Uint8Array(SECTORS);
        let possible: Set<number>[] = Array.from({ length: SECTORS }, () => new Set([0]));
        const settle = (): void => {
          possible = [...model].map((value) => new Set([value]));
        };
        const contents = (): Uint8Array<ArrayBuffer> => {
          const all = new Uint8Array(SECTORS * 512);
          host.disk.media.store.read(0, all);
          const values = Uint8Array.from({ length: SECTORS }, (_, i) => all[i * 512]!);
          values.forEach((value, i) =>
            expect(all.subarray(i * 512, i * 512 + 512).every((byte) => byte === value)).toBe(true),
          );
          return values;
        };
        for (const { kind, lba, sectors: wanted, value } of acts) {
          const sectors = Math.min(wanted, SECTORS - lba);
          if (kind === "write" || kind === "fua") {
            const cached = kind === "write" && host.disk.modes.writeCacheEnabled;
            const cdb = extent10(0x2a, lba, sectors, kind === "fua" ? 8 : 0);
            expect(host.ask(cdb, { out: filled(sectors, value) }).status).toBe(0);
            model.fill(value, lba, lba + sectors);
            for (let i = lba; i < lba + sectors; i++) {
              if (cached) possible[i]!.add(value);
              else possible[i] = new Set([value]);
            }
          } else if (kind === "read") {
            const { data } = host.read(lba, sectors);
            for (let i = 0; i < sectors * 512; i++)
              if (data[i] !== model[lba + (i >> 9)]) expect.unreachable(`sector ${lba + (i >> 9)}`);
          } else if (kind === "flush") {
            expect(host.ask(SYNCHRONIZE).status).toBe(0);
            settle();
          } else if (kind === "wce") {
            const enable = value % 2 === 0;
            expect(setWriteCache(host, enable)).toBe("");
            if (!enable) settle();
          } else if (kind === "wait") host.wait(value * 100_000);
          else {
            host.disk.powerCut();
            expect(host.send(READY)).toBeUndefined();
            host.disk.powerOn();
            expect(host.ask(READY).sense).toBe("06/29/01");
            const now = contents();
            now.forEach((one, i) => expect([...possible[i]!]).toContain(one));
            model = now;
            settle();
          }
        }
        expect(contents()).toEqual(model);
      }),
      { numRuns: 300 },
    );
  });

  test("a power cut in the middle of an extent leaves what the head had written: sectors are whole, extents are not", () => {
    const host = new TestInitiator({ trackVolatile: true });
    host.write(0, filled(8, 1));
    host.ask(SYNCHRONIZE);
    // One burst: about half a turn to reach its sector, then 930 microseconds under the head.
    host.write(8, filled(128, 2));
    const start = host.events.now;
    let left = host.disk.volatileBytes;
    const kept = new Set<number>();
    for (let cut = 0; left > 0 && cut < 100; cut++) {
      const again = new TestInitiator({ trackVolatile: true });
      again.write(0, filled(8, 1));
      again.ask(SYNCHRONIZE);
      again.write(8, filled(128, 2));
      expect(again.events.now).toBe(start);
      again.wait(cut * 100_000);
      left = again.disk.volatileBytes;
      again.disk.reset("power");
      again.disk.takeAttention();
      const values = again.read(0, 136).data;
      const end = values.lastIndexOf(2) + 1;
      expect(values.subarray(4096, Math.max(end, 4096)).every((value) => value === 2)).toBe(true);
      expect(end % 512).toBe(0);
      kept.add(end);
    }
    expect(kept.size).toBeGreaterThan(5);
  });

  test("a power cut takes back the newest writes first, and nothing that was flushed", () => {
    const host = new TestInitiator({ trackVolatile: true });
    host.write(0, filled(8, 1));
    host.ask(SYNCHRONIZE);
    for (let i = 0; i < 400; i++) host.write(8 + i * 8, filled(8, 2));
    host.disk.powerCut();
    expect(host.disk.volatileBytesAtPowerCut).toBeGreaterThan(0);
    host.disk.powerOn();
    host.ask(READY);
    expect(host.read(0, 8).data).toEqual(filled(8, 1));
    const kept = Array.from({ length: 3200 }, (_, i) => host.read(8 + i, 1).data[0]);
    const end = kept.indexOf(0);
    expect(end).toBeGreaterThan(0);
    expect(end).toBeLessThan(3200);
    expect(kept.slice(end).every((value) => value === 0)).toBe(true);
  });
});
