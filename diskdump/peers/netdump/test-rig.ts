// For tests: a server and a client on a simulated segment, with whatever goes wrong there.
import { EthernetSegment, type SegmentOptions, type Station } from "../../../emulator/net/ethernet-segment.ts";
import { decodeDatagram, encodeDatagram } from "../../../emulator/net/udp.ts";
import { makeEvent, EventQueue } from "../../../emulator/time/events.ts";
import { RandomSource } from "../../../emulator/time/random.ts";
import { DATA_MODELS } from "../../../kernel-sim/abi/types.ts";
import { registerBytes } from "../../cores/core.ts";
import { nodeFiles } from "../../userspace/host-files.ts";
import { NETDUMP_PORT } from "./protocol.ts";
import { NetdumpServer, type NetdumpServerOptions } from "./server.ts";
import { PAGE_BYTES, TestClient } from "./test-client.ts";

export const CLIENT_IP = "192.168.7.2";
const SERVER_IP = "192.168.7.1";
const mac = (last: number): Uint8Array => Uint8Array.of(0x02, 0, 0, 0, 0, last);
export const registers = Uint8Array.from({ length: registerBytes(DATA_MODELS.x86_64) }, (_, i) => (i * 7) & 0xff);

/** RAM with a page of zeroes and a hole in it; every other page differs in every byte run. */
export const somePages = (count: number): (Uint8Array | undefined)[] =>
  Array.from({ length: count }, (_, pfn) => {
    if (pfn >= 20 && pfn < 40) return undefined;
    if (pfn % 5 === 3) return new Uint8Array(PAGE_BYTES);
    return Uint8Array.from({ length: PAGE_BYTES }, (_, i) => (i * 31 + pfn * 17 + (i >> 8)) & 0xff);
  });

export interface Rig {
  readonly client: TestClient;
  readonly server: NetdumpServer;
  readonly segment: EthernetSegment;
  readonly events: EventQueue;
  readonly messages: string[];
  readonly directory: string;
  run(untilNs: number): void;
}

/** `alive`: whether the server hears anything. */
export function rigIn(
  directory: string,
  pages: (Uint8Array | undefined)[],
  trouble: Partial<SegmentOptions> = {},
  options: Partial<NetdumpServerOptions> = {},
  alive = () => true,
  seed = 1,
): Rig {
  const events = new EventQueue();
  const segment = new EthernetSegment(events, new RandomSource(seed), "net", trouble);
  const messages: string[] = [];
  const frame = (fromServer: boolean, payload: Uint8Array): Uint8Array =>
    encodeDatagram({
      ...{ sourceMac: mac(fromServer ? 1 : 2), targetMac: mac(fromServer ? 2 : 1), payload },
      ...{ sourceIp: fromServer ? SERVER_IP : CLIENT_IP, targetIp: fromServer ? CLIENT_IP : SERVER_IP },
      ...{ sourcePort: NETDUMP_PORT, targetPort: NETDUMP_PORT },
    });
  const server = new NetdumpServer(
    {
      files: nodeFiles,
      wallSeconds: () => 1101859200,
      onMessage: (line) => messages.push(line),
      send: (_ip, _port, datagram) => void segment.transmit(serverStation, frame(true, datagram)),
    },
    { dumpDirectory: directory, ...options },
  );
  const serverStation: Station = {
    address: mac(1),
    receive: (bytes, ns) => {
      const datagram = decodeDatagram(bytes);
      if (datagram && alive()) server.receive(datagram.sourceIp, datagram.sourcePort, datagram.payload, ns);
    },
  };
  const clientStation: Station = {
    address: mac(2),
    receive: (bytes) => {
      const datagram = decodeDatagram(bytes);
      if (datagram) client.hear(datagram.payload);
    },
  };
  const client = new TestClient(pages, registers, (reply) => void segment.transmit(clientStation, frame(false, reply)));
  segment.attach(serverStation);
  segment.attach(clientStation);
  const tick = makeEvent("server.tick", (event) => {
    if (alive()) server.tick(event.at);
    events.arm(event, event.at + 10e6);
  });
  events.arm(tick, 10e6);
  const announce = makeEvent("client.announce", (event) => {
    if (client.started) return;
    client.announce();
    events.arm(event, event.at + 1e9);
  });
  events.arm(announce, 0);
  return {
    ...{ client, server, segment, events, messages, directory },
    run: (untilNs) => {
      while (events.nextAt <= untilNs && !(server.ended.length > 0 && !server.busy)) events.fireNext();
    },
  };
}
