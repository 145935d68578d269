// UDP over IPv4 over Ethernet, as bytes: what netpoll makes and takes. No fragments and no options. [RFC 768, 791, 894]

export interface Datagram {
  /** Six bytes each. */
  readonly sourceMac: Uint8Array;
  readonly targetMac: Uint8Array;
  /** "192.168.0.1" */
  readonly sourceIp: string;
  readonly targetIp: string;
  readonly sourcePort: number;
  readonly targetPort: number;
  readonly payload: Uint8Array;
}

const ETHERNET_BYTES = 14;
const IP_BYTES = 20;
const UDP_BYTES = 8;
const ETHERTYPE_IP = 0x0800;
const PROTOCOL_UDP = 17;
const TTL = 64;
/** The most that fits into one frame: 1500 without the IP and UDP headers. */
export const MAX_PAYLOAD_BYTES = 1500 - IP_BYTES - UDP_BYTES;

/** Four bytes of "192.168.0.1". Throws a RangeError for anything else. */
export function ipBytes(text: string): Uint8Array {
  const parts = text.split(".");
  const bytes = parts.map((part) => (/^\d{1,3}$/.test(part) ? Number(part) : NaN));
  if (bytes.length !== 4 || !bytes.every((byte) => byte <= 255)) {
    throw new RangeError(`"${text}" is no IPv4 address`);
  }
  return Uint8Array.from(bytes);
}

/** The ones' complement sum over 16-bit words in network order; an odd last byte counts as if a zero followed. */
function sum(view: DataView, from: number, to: number, start = 0): number {
  let total = start;
  for (let at = from; at + 1 < to; at += 2) total += view.getUint16(at);
  if ((to - from) % 2 === 1) total += view.getUint8(to - 1) << 8;
  while (total > 0xffff) total = (total & 0xffff) + (total >>> 16);
  return total;
}

/** Addresses, protocol and length: what the UDP checksum covers beside the datagram. */
function udpSum(view: DataView, length: number): number {
  const ip = ETHERNET_BYTES;
  const pseudo = sum(view, ip + 12, ip + 20, PROTOCOL_UDP + length);
  return sum(view, ip + IP_BYTES, ip + IP_BYTES + length, pseudo);
}

/** The frame that carries a datagram, unpadded. Throws a RangeError when the payload does not fit into one. */
export function encodeDatagram(datagram: Datagram, identification = 0): Uint8Array {
  const { payload } = datagram;
  if (payload.length > MAX_PAYLOAD_BYTES) {
    throw new RangeError(`${payload.length} bytes do not fit into one datagram (${MAX_PAYLOAD_BYTES})`);
  }
  const udpLength = UDP_BYTES + payload.length;
  const frame = new Uint8Array(ETHERNET_BYTES + IP_BYTES + udpLength);
  const view = new DataView(frame.buffer);
  frame.set(datagram.targetMac, 0);
  frame.set(datagram.sourceMac, 6);
  view.setUint16(12, ETHERTYPE_IP);
  const ip = ETHERNET_BYTES;
  view.setUint8(ip, 0x45);
  view.setUint16(ip + 2, IP_BYTES + udpLength);
  view.setUint16(ip + 4, identification & 0xffff);
  view.setUint8(ip + 8, TTL);
  view.setUint8(ip + 9, PROTOCOL_UDP);
  frame.set(ipBytes(datagram.sourceIp), ip + 12);
  frame.set(ipBytes(datagram.targetIp), ip + 16);
  view.setUint16(ip + 10, ~sum(view, ip, ip + IP_BYTES) & 0xffff);
  const udp = ip + IP_BYTES;
  view.setUint16(udp, datagram.sourcePort);
  view.setUint16(udp + 2, datagram.targetPort);
  view.setUint16(udp + 4, udpLength);
  frame.set(payload, udp + UDP_BYTES);
  // Zero would say that there is no checksum.
  view.setUint16(udp + 6, ~udpSum(view, udpLength) & 0xffff || 0xffff);
  return frame;
}

/** The datagram in a frame, padding left out; undefined for a frame that carries none or is damaged. */
export function decodeDatagram(frame: Uint8Array): Datagram | undefined {
  if (frame.length < ETHERNET_BYTES + IP_BYTES + UDP_BYTES) return undefined;
  const view = new DataView(frame.buffer, frame.byteOffset, frame.byteLength);
  const ip = ETHERNET_BYTES;
  if (view.getUint16(12) !== ETHERTYPE_IP || view.getUint8(ip) !== 0x45) return undefined;
  if (view.getUint8(ip + 9) !== PROTOCOL_UDP || sum(view, ip, ip + IP_BYTES) !== 0xffff) return undefined;
  // More fragments, or not the first one.
  if ((view.getUint16(ip + 6) & 0x3fff) !== 0) return undefined;
  const udp = ip + IP_BYTES;
  const length = view.getUint16(udp + 4);
  if (length < UDP_BYTES || view.getUint16(ip + 2) !== IP_BYTES + length || udp + length > frame.length)
    return undefined;
  if (view.getUint16(udp + 6) !== 0 && udpSum(view, length) !== 0xffff) return undefined;
  return {
    ...{ targetMac: frame.slice(0, 6), sourceMac: frame.slice(6, 12) },
    ...{ sourceIp: frame.subarray(ip + 12, ip + 16).join("."), targetIp: frame.subarray(ip + 16, ip + 20).join(".") },
    ...{ sourcePort: view.getUint16(udp), targetPort: view.getUint16(udp + 2) },
    payload: frame.slice(udp + UDP_BYTES, udp + length),
  };
}
