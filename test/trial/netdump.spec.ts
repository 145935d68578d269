// Goal: a netdump is worth what the network lets it be worth. Method: whole trials on a small machine; the judge holds every page
// that the server got against RAM at the freeze.
import { describe, expect, test } from "vitest";
import { UsageError } from "../../diskdump/userspace/errors.ts";
import { REPLY, decodeReply } from "../../diskdump/peers/netdump/protocol.ts";
import { decodeDatagram } from "../../emulator/net/udp.ts";
import { buildHardware, type Hardware } from "../../tools/machine/hardware.ts";
import { loadScenario } from "../../tools/scenario/load.ts";
import { runTrialOn } from "../../tools/trial/run.ts";
import type { TrialResult } from "../../tools/trial/types.ts";
import { shows } from "../features/feature.ts";

const SMALL = ["memory.size=20MiB", "limits.virtualTime=3min"];

function trial(sets: readonly string[], seed = 1): TrialResult & { readonly hardware: Hardware } {
  const scenario = loadScenario("learn", [...SMALL, ...sets]);
  const hardware = buildHardware(scenario, seed);
  return { ...runTrialOn(hardware, scenario, seed, {}), hardware };
}
const NETDUMP = ["dump.dumper=netdump"];
const PAGES = (20 << 20) / 4096 - 96;

describe("netdump through a good network", () => {
  const { record, hardware, console } = trial(NETDUMP);
  const { host } = hardware.network!;

  test("every page of RAM arrives as it was at the freeze", () => {
    expect(record).toMatchObject({
      outcome: "complete",
      cause: null,
      dumper: "netdump",
      dumpedPages: PAGES,
      findings: [],
    });
    expect(host.server.ended).toMatchObject([{ outcome: "complete", requestsRepeated: 0 }]);
  });

  test("the server's log says how the kernel died", (context) => {
    shows(context, "netdump", "additional functions", "the kernel's log is on the server, beside the core");
    const file = host.file("log")!;
    const bytes = new Uint8Array(file.sizeBytes);
    file.read(0, bytes);
    const log = Buffer.from(bytes).toString("latin1").split("\n");
    const lines = console.map(({ text }) => text);
    const end = lines.indexOf("< handshake completed - listening for dump requests. >");
    expect(log.slice(0, end + 1)).toEqual(lines.slice(0, end + 1));
    expect(log).toContain("Entered OS INIT handler");
  });

  test("and nothing of it is by chance: the same seed gives the same trial", () => {
    const again = trial(NETDUMP);
    expect({ ...again.record, hostMs: 0 }).toEqual({ ...record, hostMs: 0 });
  });
});

test.for(["i386", "ppc64", "ia64"])("every page of a %s machine arrives, too", (platform, context) => {
  shows(context, "netdump", "platform dependency", `complete on ${platform}`);
  const { record } = trial([...NETDUMP, `platform=${platform}`, "memory.size=24MiB"]);
  expect([record.outcome, record.cause]).toEqual(["complete", null]);
});

describe("netdump through a bad network", () => {
  test.each([0.01, 0.05, 0.2])("a share of %d of the frames lost costs time and no page", (share) => {
    const { record, hardware } = trial([...NETDUMP, `network.lossFraction=${share}`]);
    expect([record.outcome, record.cause, record.dumpedPages]).toEqual(["complete", null, PAGES]);
    const { segment, host } = hardware.network!;
    expect(segment.counts.lost / segment.counts.sent).toBeCloseTo(share, 2);
    const [ended] = host.server.ended;
    expect(ended!.requestsRepeated).toBeGreaterThan(100 * share);
  });

  test("frames that come late or twice do no harm", () => {
    const { record, hardware } = trial([
      ...NETDUMP,
      ...["network.reorderFraction=0.1", "network.reorderDelay=3ms", "network.duplicateFraction=0.1"],
    ]);
    const { delayed, duplicated } = hardware.network!.segment.counts;
    expect(delayed).toBeGreaterThan(1000);
    expect(duplicated).toBeGreaterThan(1000);
    expect([record.outcome, record.cause, record.dumpedPages]).toEqual(["complete", null, PAGES]);
  });

  test("what goes wrong on the network moves neither the crash nor anything before it", () => {
    const crashes = [[], ["network.lossFraction=0.2"], ["network.duplicateFraction=0.3", "netdump.server=dead"]].map(
      (sets) => trial([...NETDUMP, "limits.virtualTime=5s", ...sets], 3).record.crash,
    );
    expect(crashes[0]).not.toBeNull();
    expect(crashes[1]).toEqual(crashes[0]);
    expect(crashes[2]).toEqual(crashes[0]);
  });

  test("a server that hears nothing for too long gives up, and keeps what it has", () => {
    const sets = ["network.lossFraction=0.5", "netdump.retry=95ms", "netdump.silent=100ms"];
    const { record, hardware } = trial([...NETDUMP, ...sets]);
    expect([record.outcome, record.cause]).toEqual([
      "incomplete",
      "the server heard nothing more of the client and gave it up",
    ]);
    expect(hardware.network!.host.file("vmcore-incomplete")).toBeDefined();
  });

  test("without a server the client calls for ever: a hang, and the record says for what", () => {
    const { record } = trial([...NETDUMP, "netdump.server=dead"]);
    expect([record.outcome, record.cause]).toEqual([
      "hang",
      "the dump waits for START_NETDUMP_ACK: the server 192.168.0.1 does not answer, and the client calls it for ever",
    ]);
  });

  test("nor does a server answer that expects another magic number", () => {
    const { record } = trial([...NETDUMP, 'netdump.serverMagic="0x1"']);
    expect([record.outcome, record.cause]).toEqual([
      "hang",
      "the dump waits for START_NETDUMP_ACK: the server 192.168.0.1 says: not served: wrong magic number",
    ]);
  });
});

describe("somebody else on the network", () => {
  test("can end a dump with a request in the server's name, because RHEL's client does not look at the magic number", () => {
    const { record } = trial([...NETDUMP, "netdump.spoof.command=reboot"]);
    expect([record.outcome, record.cause]).toEqual([
      "incomplete",
      "the client obeyed a REBOOT that the server did not send",
    ]);
  });

  test("cannot with a client that does, unless he knows it", () => {
    const careful = [...NETDUMP, "netdump.spoof.command=reboot", "netdump.checksMagic=true"];
    expect(trial(careful).record.outcome).toBe("complete");
    expect(trial([...careful, 'netdump.spoof.magic="0x5d0a3c6e17f2948b"']).record.outcome).toBe("incomplete");
  });
});

describe("what a stopped CPU leaves behind", () => {
  const at = (lock: string): string[] => [`crash.at={"lock":{"name":"${lock}"}}`, "network.broadcastsPerS=1000"];

  test("the driver's lock: the dump waits for it for ever, or already the message on the network that there is to be one", () => {
    const { record } = trial([...NETDUMP, ...at("eth0.lock"), "netdump.netconsole=false"]);
    expect([record.outcome, record.crash?.trigger]).toEqual(["hang", "os_init"]);
    expect(record.cause).toMatch(
      /^the dumping CPU waits for eth0\.lock, taken in rtl8139_\w+ \(by a context that an NMI or INIT/,
    );
    const logged = trial([...NETDUMP, ...at("eth0.lock")]).record;
    expect([logged.outcome, logged.crash]).toEqual(["hang", null]);
    expect(logged.cause).toMatch(/^the dumping CPU waits for eth0\.lock, taken in rtl8139_/);
  });

  test("the lock of whoever polls the interface: the dump is refused", () => {
    const { record } = trial([...NETDUMP, ...at("eth0.poll_lock")]);
    expect([record.outcome, record.cause]).toEqual([
      "refused",
      "eth0.poll_lock is held by a CPU that is frozen in the interface's poll()",
    ]);
  });

  test("2.6.9's driver switches interrupts on in the middle of the dump, and then the CPU can wait for itself", () => {
    const { record } = trial([...NETDUMP, "network.driverIrqs=enable"], 5);
    expect([record.outcome, record.cause]).toEqual([
      "hang",
      "the dumping CPU waits for eth0.poll_lock, taken in poll_napi (by the CPU itself)",
    ]);
  });
});

describe("netdump behind diskdump", () => {
  const BEHIND = ["dump.fallback=netdump"];

  test("is not needed when diskdump does its work", () => {
    expect(trial(BEHIND).record).toMatchObject({ outcome: "complete", dumper: "diskdump", findings: [] });
  });

  test("takes over from one that is refused, and its own end is in the record", (context) => {
    shows(context, "diskdump", "additional functions", "after a refusal netdump takes over");
    const { record, hardware } = trial([...BEHIND, 'damage=[{"kind":"damageModule"}]']);
    expect(record).toMatchObject({
      ...{ outcome: "fell-back", cause: "module damaged (netdump); netdump: complete", dumpedPages: PAGES },
    });
    expect(hardware.network!.host.server.ended).toMatchObject([{ outcome: "complete" }]);
  });

  test("takes over from one that fails half-way", () => {
    const faulty =
      'adapters=[{"disks":[{"size":"1GiB","partitions":[{"startSector":63,"sectors":100000}]},{"size":"1GiB","partitions":[{"startSector":64,"sectors":160000}],"faults":[{"kind":"mediaError","lba":20000,"sectors":1000,"on":"write"}]}]}]';
    const { record } = trial([...BEHIND, faulty]);
    expect([record.outcome, record.cause]).toEqual([
      "fell-back",
      "/dev/sdb1: write error (netdump); netdump: complete",
    ]);
  });

  test("does not with fallback_on_err=0; and hangs as ever when it has no server", () => {
    const damaged = [...BEHIND, 'damage=[{"kind":"damageModule"}]'];
    const { record } = trial([...damaged, "dump.fallbackOnErr=false"]);
    expect([record.outcome, record.cause]).toEqual(["refused", "module damaged (fallback_on_err is 0)"]);
    const dead = trial([...damaged, "netdump.server=dead"]).record;
    expect([dead.outcome, dead.cause]).toEqual([
      "hang",
      expect.stringContaining("the server 192.168.0.1 does not answer"),
    ]);
  });
});

describe("a scenario that cannot be", () => {
  test.each([
    [["dump.fallback=netdump", "dump.dumper=netdump"], "dump.fallback: netdump can stand behind diskdump only"],
    [["network.lossFraction=1.5"], "network.lossFraction"],
    [["netdump.magic=abc"], "netdump.magic"],
    [["netdump.silent=10ms"], "netdump.silent: expected longer than netdump.retry"],
    [["netdump.spoof.every=0s"], "netdump.spoof.every: expected more than 0"],
    [["network.loss=0.1"], "network.loss"],
  ])("%j is refused, and what is wrong is named", (sets, message) => {
    expect(() => loadScenario("learn", sets)).toThrow(UsageError);
    expect(() => loadScenario("learn", sets)).toThrow(message);
  });
});

test("frames are captured when they are asked for: the first answer of the client is its call", () => {
  const scenario = loadScenario("learn", [...SMALL, ...NETDUMP]);
  const hardware = buildHardware(scenario, 1);
  const codes: number[] = [];
  hardware.network!.segment.tap = (frame) => {
    const datagram = decodeDatagram(frame);
    const reply = datagram?.sourceIp === "192.168.0.7" ? decodeReply(datagram.payload) : undefined;
    if (reply) codes.push(reply.code);
  };
  runTrialOn(hardware, scenario, 1, {});
  expect(codes.filter((code) => code !== REPLY.LOG).slice(0, 4)).toEqual([
    ...[REPLY.START_NETDUMP, REPLY.PAGE_SIZE, REPLY.NR_PAGES, REPLY.REGS],
  ]);
  expect(codes.filter((code) => code === REPLY.MEM)).toHaveLength(PAGES * 4);
});
