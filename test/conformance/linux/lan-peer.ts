// Who sits at the other end of the guest's cable: a host that has an address, answers pings, and talks to the program `frames`.
import type { EthernetSegment, Station } from "../../../emulator/net/ethernet-segment.ts";
import { ipBytes } from "../../../emulator/net/udp.ts";
import { ETHERTYPE, HEADER_BYTES, LAST_MARK } from "./frame-program.ts";

export const PEER_IP = "192.168.7.1";
export const GUEST_IP = "192.168.7.2";
export const PEER_ADDRESS = Uint8Array.of(0x02, 0, 0, 0, 0, 1);

const ETHERTYPE_IP = 0x0800;
const ETHERTYPE_ARP = 0x0806;
/** Offsets in an ARP packet for Ethernet and IPv4. [RFC 826] */
const ARP = { operation: 6, senderAddress: 8, senderIp: 14, targetAddress: 18, targetIp: 24 } as const;
/** Offsets in an IPv4 packet without options. [RFC 791] */
const IP = { fragment: 6, protocol: 9, source: 12, target: 16, payload: 20 } as const;
const FRAGMENT_OFFSET = 0x1fff;
const PROTOCOL_ICMP = 1;
/** Types of ICMP. [RFC 792] */
const ECHO = 8;
const ECHO_REPLY = 0;

export class LanPeer implements Station {
  readonly address = PEER_ADDRESS;
  /** Every frame that came, in order. */
  readonly heard: Uint8Array[] = [];
  private readonly segment: EthernetSegment;
  /** Frames that are still to be sent to `frames`, each when another one has come back. */
  private readonly toSend: Uint8Array[] = [];
  /** Those that came back. */
  readonly echoed: Uint8Array[] = [];

  constructor(segment: EthernetSegment) {
    this.segment = segment;
    segment.attach(this);
  }

  /** Sends frames to the program, `window` of them at once and the rest as they come back; the last one ends it. */
  feed(frames: readonly Uint8Array[], window: number): void {
    this.echoed.length = 0;
    this.toSend.push(...frames);
    for (let i = 0; i < window; i++) this.sendNext();
  }

  private sendNext(): void {
    const frame = this.toSend.shift();
    if (frame) this.segment.transmit(this, frame);
  }

  receive(frame: Uint8Array): void {
    this.heard.push(frame.slice());
    const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
    const packet = frame.slice(HEADER_BYTES);
    switch (view.getUint16(12)) {
      case ETHERTYPE:
        this.echoed.push(frame.slice());
        this.sendNext();
        return;
      case ETHERTYPE_ARP:
        this.answerArp(frame, packet);
        return;
      case ETHERTYPE_IP:
        this.answerPing(frame, packet);
    }
  }

  private answer(frame: Uint8Array, packet: Uint8Array): void {
    const reply = new Uint8Array(HEADER_BYTES + packet.length);
    reply.set(frame.subarray(6, 12), 0);
    reply.set(this.address, 6);
    reply.set(frame.subarray(12, 14), 12);
    reply.set(packet, HEADER_BYTES);
    this.segment.transmit(this, reply);
  }

  private answerArp(frame: Uint8Array, packet: Uint8Array): void {
    const asks = packet[ARP.operation + 1] === 1;
    if (!asks || !same(packet.subarray(ARP.targetIp, ARP.targetIp + 4), ipBytes(PEER_IP))) return;
    const reply = packet.slice(0, ARP.targetIp + 4);
    reply[ARP.operation + 1] = 2;
    reply.set(packet.subarray(ARP.senderAddress, ARP.targetAddress), ARP.targetAddress);
    reply.set(this.address, ARP.senderAddress);
    reply.set(ipBytes(PEER_IP), ARP.senderIp);
    this.answer(frame, reply);
  }

  /** Fragment for fragment: exchanged addresses leave the header's sum as it is, and only the first one holds the type. */
  private answerPing(frame: Uint8Array, packet: Uint8Array): void {
    const mine = same(packet.subarray(IP.target, IP.target + 4), ipBytes(PEER_IP));
    if (!mine || packet[IP.protocol] !== PROTOCOL_ICMP) return;
    const view = new DataView(packet.buffer);
    const source = packet.slice(IP.source, IP.source + 4);
    packet.set(packet.slice(IP.target, IP.target + 4), IP.source);
    packet.set(source, IP.target);
    if ((view.getUint16(IP.fragment) & FRAGMENT_OFFSET) === 0) {
      if (packet[IP.payload] !== ECHO) return;
      packet[IP.payload] = ECHO_REPLY;
      const sum = view.getUint16(IP.payload + 2) + (ECHO << 8);
      view.setUint16(IP.payload + 2, (sum & 0xffff) + (sum >>> 16));
    }
    this.answer(frame, packet);
  }
}

const same = (one: Uint8Array, other: Uint8Array): boolean => one.every((byte, i) => byte === other[i]);

/** A frame for the program: its number, and bytes that tell their place. */
export function numberedFrame(target: Uint8Array, number: number, bytes: number, last = false): Uint8Array {
  const frame = Uint8Array.from({ length: bytes }, (_, i) => (i * 7 + number * 31 + (i >> 8)) & 0xff);
  frame.set(target, 0);
  frame.set(PEER_ADDRESS, 6);
  new DataView(frame.buffer).setUint16(12, ETHERTYPE);
  frame[HEADER_BYTES] = last ? LAST_MARK : number % LAST_MARK;
  return frame;
}

/** As the program sends it back: to whom it came from, from whom it was for. */
export function returned(frame: Uint8Array): Uint8Array {
  const back = frame.slice();
  back.set(frame.subarray(6, 12), 0);
  back.set(frame.subarray(0, 6), 6);
  return back;
}
