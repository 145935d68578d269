// Goal: LKCD's network method is worth what its protocol is worth. Method: whole trials on a small machine, judged page by page, on
// networks that are good, bad, and false.
import { describe, expect, test } from "vitest";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { LKCD_PORT, LKCD_REPLY } from "../../diskdump/peers/lkcd/net/protocol.ts";
import { decodeReply } from "../../diskdump/peers/netdump/protocol.ts";
import { decodeDatagram } from "../../emulator/net/udp.ts";
import { buildHardware, type Hardware } from "../../tools/machine/hardware.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrialOn } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";

const NETWORK = ["memory.size=16MiB", "dump.lkcd.method=network"];
type NetworkTrial = TrialResult & { readonly hardware: Hardware };

function trial(sets: readonly string[], seed = 1, before: (hardware: Hardware) => void = () => {}): NetworkTrial {
  const scenario = loadScenario("learn", [...NETWORK, ...sets], "lkcd");
  const hardware = buildHardware(scenario, seed);
  before(hardware);
  return { ...runTrialOn(hardware, scenario, seed, {}), hardware };
}
const outcomeOf = ({ record }: TrialResult): unknown[] => [record.outcome, record.cause];
const KERNEL = "dump.lkcd.level=kernel";
const PAGES = (16 << 20) / 4096 - 96;
const HANDSHAKE = "network dump failed due to handshake failure";

describe("on a good network every page arrives as it was when its turn came", () => {
  const codes = new Map<number, number>();
  const first = trial([], 1, ({ network }) => {
    network!.segment.tap = (frame) => {
      const datagram = decodeDatagram(frame);
      const reply = datagram?.targetPort === LKCD_PORT ? decodeReply(datagram.payload) : undefined;
      if (reply && datagram?.sourceIp === "192.168.0.7") codes.set(reply.code, (codes.get(reply.code) ?? 0) + 1);
    };
  });

  test("all of RAM, and the server asks for nothing twice", () => {
    expect(outcomeOf(first)).toEqual(["complete", null]);
    expect(first.record).toMatchObject({ dumpedPages: PAGES, findings: [] });
    expect(first.hardware.network!.host.lkcd.ended).toMatchObject([
      { outcome: "complete", requestsRepeated: 0, pagesLost: 0 },
    ]);
  });

  test("page by page: one call to begin with, then for each page its place and four pieces, and six farewells", () => {
    const { pagesReceived } = first.hardware.network!.host.lkcd.ended[0]!;
    expect(codes.get(LKCD_REPLY.START_NETDUMP)).toBe(1);
    expect(codes.get(LKCD_REPLY.START_WRITE_NETDUMP)).toBe(pagesReceived - 1);
    expect(codes.get(LKCD_REPLY.MEM)).toBe(pagesReceived * 4);
    expect(codes.get(LKCD_REPLY.END_NETDUMP)).toBe(6);
  });

  test("the same seed gives the same trial", () => {
    expect({ ...trial([]).record, hostMs: 0 }).toEqual({ ...first.record, hostMs: 0 });
  });

  test.each([
    ["by zlib, version 9, after a panic", ["dump.lkcd.compress=gzip", "dump.lkcd.version=9", "crash.trigger=panic"]],
    ["from 2.4", ["kernel=2.4.21", KERNEL]],
    ["from i386", ["platform=i386", KERNEL]],
    ["from ia64, whose pages have sixteen pieces", ["platform=ia64", "memory.size=32MiB", KERNEL]],
    ["while INIT reached one CPU and the others run on", ["crash.initTargets=monarch", KERNEL]],
    ["without any dump device", ["dump.devices=[]", KERNEL]],
  ])("%s", (_title, sets) => {
    expect(outcomeOf(trial(sets))).toEqual(["complete", null]);
  });
});

describe("a bad network", () => {
  test("that loses frames costs time and no page", () => {
    const good = trial([KERNEL]).record;
    const bad = trial([KERNEL, "network.lossFraction=0.05"]);
    expect(outcomeOf(bad)).toEqual(["complete", null]);
    expect(bad.record.dumpedPages).toBe(good.dumpedPages);
    expect(bad.hardware.network!.host.lkcd.ended[0]!.requestsRepeated).toBeGreaterThan(100);
    expect(bad.record.dumpVirtualNs).toBeGreaterThan(2 * good.dumpVirtualNs!);
  });

  test("that delays and doubles them does no harm while none is lost", () => {
    const trouble = ["network.reorderFraction=0.1", "network.reorderDelay=3ms", "network.duplicateFraction=0.1"];
    expect(outcomeOf(trial([KERNEL, ...trouble]))).toEqual(["complete", null]);
  });

  test("that does all of it can lose a page: an acknowledgement that comes twice names no page", () => {
    const trouble = ["network.reorderFraction=0.1", "network.reorderDelay=3ms", "network.duplicateFraction=0.1"];
    const result = trial([KERNEL, ...trouble, "network.lossFraction=0.1"], 2);
    expect(outcomeOf(result)).toEqual(["incomplete", "the client went on from a page before the server had it"]);
    expect(result.hardware.network!.host.file("dump-incomplete")).toBeDefined();
    expect(result.hardware.network!.host.file("dump")).toBeUndefined();
  });
});

describe("a server that is not there", () => {
  test("is called three hundred times, and then the dump is given up and the machine restarts", () => {
    const { record, console } = trial(["netdump.server=dead"]);
    expect([record.outcome, record.cause]).toEqual(["refused", `${HANDSHAKE}: the server 192.168.0.1 does not answer`]);
    expect(record.dumpVirtualNs).toBeGreaterThan(300e9);
    const lines = console.map(({ text }) => text);
    expect(lines).toContain("LKCD: network dump failed due to handshake failure");
    expect(lines).toContain("LKCD: NETDUMP END!");
  });

  test("any more is waited for as long as the source waits: ten quiet seconds and a hundred loud ones", () => {
    let dead = false;
    const result = trial([KERNEL], 1, ({ network }) => {
      const { lkcd } = network!.host;
      const receive = lkcd.receive.bind(lkcd);
      let pieces = 0;
      lkcd.receive = (ip, port, datagram, ns) => {
        if (decodeReply(datagram)?.code === LKCD_REPLY.MEM) pieces++;
        dead ||= pieces === 402;
        if (!dead) receive(ip, port, datagram, ns);
      };
      const tick = lkcd.tick.bind(lkcd);
      lkcd.tick = (ns) => {
        if (!dead) tick(ns);
      };
    });
    expect(outcomeOf(result)).toEqual(["incomplete", "the server fell silent in the middle of a page"]);
    expect(result.record.dumpVirtualNs).toBeGreaterThan(110e9);
    expect(result.console.at(-1)!.text).not.toMatch(/Try number/);
  });
});

describe("somebody else on the network", () => {
  test("cannot end a dump: the client knows no REBOOT, and obeys EXIT only with its magic number", () => {
    for (const command of ["reboot", "exit"]) {
      const spoof = [`netdump.spoof.command=${command}`, "netdump.spoof.every=20ms"];
      expect(outcomeOf(trial([KERNEL, ...spoof]))).toEqual(["complete", null]);
    }
  });

  test("can push it on with acknowledgements, whose magic number nobody looks at", () => {
    const spoof = ["netdump.spoof.command=writeAck", "netdump.spoof.every=2ms"];
    expect(outcomeOf(trial([KERNEL, ...spoof]))).toEqual(["incomplete", HANDSHAKE]);
  });
});

describe("what a stopped CPU leaves behind", () => {
  const at = (lock: string): string[] => [
    KERNEL,
    `crash.at={"lock":{"name":"${lock}"}}`,
    "network.broadcastsPerS=1000",
  ];

  test("the driver's lock is waited for", () => {
    const { outcome, cause } = trial(at("eth0.lock")).record;
    expect(outcome).toBe("hang");
    expect(cause).toMatch(/^the dumping CPU waits for eth0\.lock, taken in rtl8139_/);
  });

  test("with the lock of whoever polls the interface nothing is heard any more", () => {
    expect(outcomeOf(trial(at("eth0.poll_lock")))).toEqual([
      "refused",
      `${HANDSHAKE}: eth0.poll_lock is held by a CPU that stopped in the interface's poll()`,
    ]);
  });

  test("io_request_lock, on which the disk method hangs, is not on its way", () => {
    const locked = ["kernel=2.4.21", KERNEL, 'crash.at={"lock":{"name":"io_request_lock","count":200}}'];
    expect(outcomeOf(trial(locked))).toEqual(["complete", null]);
    expect(trial([...locked, "dump.lkcd.method=disk"]).record.outcome).toBe("hang");
  });
});

describe("a scenario is refused that", () => {
  test.each([
    [["dump.lkcd.method=netwrok"], /dump\.lkcd\.method: expected one of disk, network/],
    [["dump.lkcd.method=disk", "dump.devices=[]"], /dump\.devices: expected at least one device/],
    [["dump.lkcd.method=disk", "netdump.spoof.command=writeAck"], /netdump\.spoof\.command: writeAck is LKCD's/],
  ])("says %s", (sets, message) => {
    expect(() => loadScenario("learn", sets, "lkcd")).toThrow(UsageError);
    expect(() => loadScenario("learn", sets, "lkcd")).toThrow(message);
  });
});
