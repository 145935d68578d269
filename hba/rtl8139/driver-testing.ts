// A machine with one RTL8139, booted and probed, and another station on its segment, for specs.
import type { Running } from "../../emulator/cpu/cpu.ts";
import { EthernetSegment, type SegmentOptions, type Station } from "../../emulator/net/ethernet-segment.ts";
import { decodeDatagram, encodeDatagram, ipBytes, type Datagram } from "../../emulator/net/udp.ts";
import type { Kernel } from "../../kernel-sim/core/kernel.ts";
import { kfunc } from "../../kernel-sim/core/kfunc.ts";
import { bootTestMachine, runToEnd } from "../../kernel-sim/core/testing.ts";
import { M, type AddressMap } from "../../kernel-sim/abi/ram.ts";
import type { NetDevice } from "../../kernel-sim/net/netdevice.ts";
import { Netpoll, ipNumber } from "../../kernel-sim/net/netpoll.ts";
import { Rtl8139Chip } from "./chip.ts";
import type { IrqManners } from "./driver-board.ts";
import { loadRtl8139, rtl8139_init_module } from "./driver.ts";
import { OWN_ADDRESS, PEER_ADDRESS } from "./spec-host.ts";

export const OWN_IP = "192.168.7.2";
export const PEER_IP = "192.168.7.1";
export const PORT = 6666;

/** A booted machine and an Ethernet, nothing plugged in yet. */
export interface NicMachine {
  readonly kernel: Kernel;
  readonly segment: EthernetSegment;
}

/** What a spec has to say about a machine with a NIC, whosoever chip that is. */
export interface NicTraffic extends NicMachine {
  readonly device: NetDevice;
  readonly np: Netpoll;
  /** Datagrams that the other station got, and what netpoll's hook got. */
  readonly sent: Datagram[];
  /** Called with each of them as it comes. */
  onSent: (datagram: Datagram) => void;
  readonly received: Uint8Array[];
  /** Sends a datagram from the other station, at once. */
  readonly fromPeer: (payload: Uint8Array, over?: Partial<Datagram>) => void;
  readonly run: (program: () => Running, seconds?: number) => void;
}

export interface NicRig extends NicTraffic {
  readonly chip: Rtl8139Chip;
}

export interface NicRigOptions {
  readonly segment?: Partial<SegmentOptions>;
  readonly manners?: IrqManners;
  readonly cpus?: number;
  readonly map?: AddressMap;
}

const bootArguments = { panicTimeoutSeconds: 1, panicOnOops: false, nmiWatchdog: false };

/** Boots; what is to be plugged in comes next. */
export function nicMachine({ segment: trouble = {}, cpus = 2, map }: NicRigOptions = {}): NicMachine {
  const kernel = bootTestMachine({ cpus, ramMiB: 32, flatMiB: 16, boot: { ...(map ? { map } : {}), bootArguments } });
  const { machine } = kernel;
  return { kernel, segment: new EthernetSegment(machine.events, machine.random, "net", trouble) };
}

/** Boots, probes, and makes a netpoll client; netpoll_setup is left to the spec. */
export function nicRig(options: NicRigOptions = {}): NicRig {
  const made = nicMachine(options);
  const { machine } = made.kernel;
  const chip = new Rtl8139Chip(machine, "eth0", made.segment, OWN_ADDRESS.slice());
  machine.pci.plug(chip, 10 << 3, 20, (irq, asserted) => machine.ioApic.setLine(irq, asserted));
  return Object.assign(probeNic(made, options), { chip });
}

/**
 * Loads the driver on a machine whose NIC is in its place, and puts another station on the segment.
 * @param witness what to say when a program does not end
 */
export function probeNic(
  { kernel, segment }: NicMachine,
  { manners = "restore" }: NicRigOptions = {},
  witness: () => readonly string[] = () => [],
): NicTraffic {
  const sent: Datagram[] = [];
  const received: Uint8Array[] = [];
  const peer: Station = {
    address: PEER_ADDRESS,
    receive: (frame) => {
      const datagram = decodeDatagram(frame);
      if (!datagram) return;
      sent.push(datagram);
      rig.onSent(datagram);
    },
  };
  segment.attach(peer);
  let device: NetDevice | undefined;
  const run = (program: () => Running, seconds?: number): void => runToEnd(kernel, program, seconds, witness);
  loadRtl8139();
  run(function* () {
    [device] = yield* rtl8139_init_module(manners);
  });
  const np = new Netpoll({
    ...{ name: "test", devName: "eth0", localPort: PORT, remotePort: PORT, remoteMac: PEER_ADDRESS },
    ...{ localIp: ipNumber(ipBytes(OWN_IP)), remoteIp: ipNumber(ipBytes(PEER_IP)) },
    rx_hook: kfunc("rtl_test_rx", function* (_np: Netpoll, _source: number, data: number, bytes: number) {
      received.push(M.u8.slice(data, data + bytes));
    }),
  });
  const rig: NicTraffic = {
    ...{ kernel, segment, device: device!, np, sent, received, run, onSent: () => {} },
    fromPeer: (payload, over = {}) => {
      const frame = encodeDatagram({
        ...{ sourceMac: PEER_ADDRESS, targetMac: OWN_ADDRESS, sourceIp: PEER_IP, targetIp: OWN_IP },
        ...{ sourcePort: PORT, targetPort: PORT, payload, ...over },
      });
      segment.transmit(peer, frame);
    },
  };
  return rig;
}
