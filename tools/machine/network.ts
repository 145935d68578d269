// The Ethernet of a trial: the machine's NIC, the host with the dump servers, other people's broadcasts, and whoever sends requests in the
// server's name. Everything that is random on it comes from streams of the seed, each named by what it decides.
import type { PciDevice } from "../../emulator/bus/pci.ts";
import type { Machine } from "../../emulator/cpu/machine.ts";
import { EthernetSegment, type Station } from "../../emulator/net/ethernet-segment.ts";
import { PcapngCapture } from "../../emulator/net/pcapng.ts";
import { decodeDatagram, encodeDatagram } from "../../emulator/net/udp.ts";
import { makeEvent, type TimerEvent } from "../../emulator/time/events.ts";
import { Rtl8139Chip } from "../../hba/rtl8139/chip.ts";
import { COMM, NETDUMP_PORT, encodeRequest } from "../../diskdump/peers/netdump/protocol.ts";
import { NetdumpServer, type NetdumpHost } from "../../diskdump/peers/netdump/server.ts";
import { LKCD_COMM, LKCD_PORT } from "../../diskdump/peers/lkcd/net/protocol.ts";
import { LkcdServer } from "../../diskdump/peers/lkcd-server/server.ts";
import { DEFAULT_BOOT_SECONDS } from "../../kernel-sim/core/boot.ts";
import { dumpsLkcdTo } from "../scenario/dumpers.ts";
import type { Scenario, SpoofScenario } from "../scenario/scenario.ts";
import { CrashFiles, type CrashFile } from "./crash-files.ts";

export const CLIENT_IP = "192.168.0.7";
export const SERVER_IP = "192.168.0.1";
/** Realtek's prefix; locally administered ones for the others. */
export const CLIENT_MAC = Uint8Array.of(0x00, 0xe0, 0x4c, 0x00, 0x00, 0x07);
export const SERVER_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x01);
const OTHERS_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x63);
const SPOOFER_MAC = Uint8Array.of(0x02, 0, 0, 0, 0, 0x66);

/** How often the server looks for requests that were lost, while it serves anybody. */
const SERVER_TICK_NS = 10e6;
const ARP_BYTES = 60;

/** Room in a dump for its head beside memory, and in LKCD's for what stands before each page. */
const CORE_HEAD_BYTES = 1 << 20;
const PAGE_HEADS_SHARE = 1 / 128;

/** The host that the servers run on: UDP, and who has which address. */
export class ServerHost {
  readonly server: NetdumpServer;
  /** LKCD's, on a port of its own. */
  readonly lkcd: LkcdServer;
  readonly files: CrashFiles;
  /** What the server said. */
  readonly messages: string[] = [];
  readonly alive: boolean;

  constructor(machine: Machine, segment: EthernetSegment, scenario: Scenario) {
    const { netdump } = scenario;
    const { events, memory } = machine;
    this.alive = netdump.server === "alive";
    this.files = new CrashFiles(memory.pool, Math.ceil(memory.endOfRam * (1 + PAGE_HEADS_SHARE)) + CORE_HEAD_BYTES);
    const neighbours = new Map<string, Uint8Array>();
    const station: Station = {
      address: SERVER_MAC,
      receive: (frame, ns) => {
        const datagram = this.alive ? decodeDatagram(frame) : undefined;
        const service = datagram && servers.get(datagram.targetPort);
        if (datagram?.targetIp !== SERVER_IP || !service) return;
        neighbours.set(datagram.sourceIp, datagram.sourceMac);
        service.receive(datagram.sourceIp, datagram.sourcePort, datagram.payload, ns);
        if (service.busy && !tick.armed) events.arm(tick, ns + SERVER_TICK_NS);
      },
    };
    const tick: TimerEvent = makeEvent("netdump-server.tick", ({ at }) => {
      for (const service of servers.values()) service.tick(at);
      if ([...servers.values()].some(({ busy }) => busy)) events.arm(tick, at + SERVER_TICK_NS);
    });
    const hostFor = (sourcePort: number): NetdumpHost => ({
      files: this.files,
      wallSeconds: () => DEFAULT_BOOT_SECONDS + Math.floor(events.now / 1e9),
      onMessage: (line) => this.messages.push(line),
      send: (ip, port, payload) => {
        const targetMac = neighbours.get(ip);
        if (!targetMac) return;
        const from = { sourceMac: SERVER_MAC, sourceIp: SERVER_IP, sourcePort };
        segment.transmit(station, encodeDatagram({ ...from, targetMac, targetIp: ip, targetPort: port, payload }));
      },
    });
    const { retryNs, silentNs, windowPages } = netdump;
    this.server = new NetdumpServer(hostFor(NETDUMP_PORT), {
      times: { retryNs, silentNs, windowPages },
      magics: new Map(netdump.serverMagic === null ? [] : [[CLIENT_IP, BigInt(netdump.serverMagic)]]),
    });
    this.lkcd = new LkcdServer(hostFor(LKCD_PORT), { retryNs, silentNs });
    const servers = new Map<number, NetdumpServer | LkcdServer>([
      [NETDUMP_PORT, this.server],
      [LKCD_PORT, this.lkcd],
    ]);
    segment.attach(station);
  }

  /** A file of the last dump: "vmcore", "vmcore-incomplete", "log". */
  file(name: string): CrashFile | undefined {
    return [...this.files.files].reverse().find(([path]) => path.endsWith(`/${name}`))?.[1];
  }
}

export interface Network {
  readonly segment: EthernetSegment;
  /** The machine's NIC, its cable plugged in. */
  readonly chip: PciDevice;
  readonly host: ServerHost;
  /** Keeps every frame from now on. */
  capture(): PcapngCapture;
}

/** A frame that nobody answers: somebody asks who has an address (ARP). */
function broadcast(): Uint8Array {
  const frame = new Uint8Array(ARP_BYTES);
  frame.fill(0xff, 0, 6);
  frame.set(OTHERS_MAC, 6);
  frame.set([0x08, 0x06, 0, 1, 0x08, 0, 6, 4, 0, 1], 12);
  frame.set(OTHERS_MAC, 22);
  frame.set([192, 168, 0, 99], 28);
  frame.set([192, 168, 0, 254], 38);
  return frame;
}

/** Plugs somebody in who only sends: `frame` after each time that `nextNs` says. */
function sender(
  machine: Machine,
  segment: EthernetSegment,
  name: string,
  address: Uint8Array,
  frame: Uint8Array,
  nextNs: () => number,
): void {
  const station: Station = { address, receive: () => {} };
  segment.attach(station);
  const { events } = machine;
  const event = makeEvent(name, ({ at }) => {
    segment.transmit(station, frame);
    events.arm(event, at + nextNs());
  });
  events.arm(event, events.now + nextNs());
}

const SPOOFED: Readonly<Record<SpoofScenario["command"], number>> = {
  reboot: COMM.REBOOT,
  exit: COMM.EXIT,
  writeAck: LKCD_COMM.START_WRITE_NETDUMP_ACK,
};

function spoofedRequest({ command, magic }: SpoofScenario, port: number): Uint8Array {
  return encodeDatagram({
    ...{ sourceMac: SPOOFER_MAC, targetMac: CLIENT_MAC, sourceIp: SERVER_IP, targetIp: CLIENT_IP },
    ...{ sourcePort: port, targetPort: port },
    payload: encodeRequest({
      magic: BigInt(magic),
      ...{ nr: 0xbad, command: SPOOFED[command], from: 0, to: 0 },
    }),
  });
}

/** Whether a machine of this scenario is on a network at all. */
export const isNetworked = ({ dump }: Scenario): boolean =>
  dump.dumper === "netdump" || dump.fallback === "netdump" || dumpsLkcdTo(dump, "network");

/** Makes the NIC with this address and plugs its cable in. */
export type MakeNic = (machine: Machine, segment: EthernetSegment, address: Uint8Array) => PciDevice;

const ownNic: MakeNic = (machine, segment, address) => new Rtl8139Chip(machine, "eth0", segment, address);

/** The segment with everybody on it. The chip is still to be plugged into the machine's bus. */
export function buildNetwork(machine: Machine, scenario: Scenario, makeNic = ownNic): Network {
  const { network, netdump } = scenario;
  const segment = new EthernetSegment(machine.events, machine.random, "net", {
    ...{ latencyNs: network.latencyNs, bitsPerSecond: network.bitsPerS, lossRate: network.lossFraction },
    ...{ reorderRate: network.reorderFraction, reorderNs: network.reorderDelayNs },
    duplicateRate: network.duplicateFraction,
  });
  const chip = makeNic(machine, segment, CLIENT_MAC.slice());
  const host = new ServerHost(machine, segment, scenario);
  const { broadcastsPerS } = network;
  if (broadcastsPerS > 0) {
    const times = machine.random.stream("net.broadcasts");
    const next = (): number => Math.ceil((-Math.log(1 - times.unit()) * 1e9) / broadcastsPerS);
    sender(machine, segment, "net.broadcast", OTHERS_MAC, broadcast(), next);
  }
  const { spoof } = netdump;
  if (spoof) {
    const port = dumpsLkcdTo(scenario.dump, "network") ? LKCD_PORT : NETDUMP_PORT;
    sender(machine, segment, "net.spoof", SPOOFER_MAC, spoofedRequest(spoof, port), () => spoof.everyNs);
  }
  return {
    ...{ segment, chip, host },
    capture: () => {
      const capture = new PcapngCapture("eth0");
      segment.tap = (frame, ns) => capture.add(frame, ns);
      return capture;
    },
  };
}
