// UDP over IP over Ethernet in RAM, as netpoll writes and reads it. [RFC 768, 791, 894; asm/checksum.h]
import { M } from "../abi/ram.ts";
import type { SkBuff } from "./skbuff.ts";

export const ETH_HLEN = 14;
export const IP_HLEN = 20;
export const UDP_HLEN = 8;
/** Two bytes in front of the Ethernet header let the IP header lie at a multiple of four. */
export const NET_IP_ALIGN = 2;
const ETH_P_IP = 0x0800;
const IPPROTO_UDP = 17;

/** Summing goes at about 4 bytes per nanosecond. */
export const csumNs = (bytes: number): number => 10 + Math.ceil(bytes / 4);

/** The ones' complement sum of `bytes` bytes at `at` in network order, folded, onto `start`. */
function csum_partial(at: number, bytes: number, start: number): number {
  const { u8 } = M;
  let sum = start;
  const end = at + bytes - 1;
  let i = at;
  for (; i < end; i += 2) sum += (u8[i]! << 8) | u8[i + 1]!;
  if (i === end) sum += u8[i]! << 8;
  while (sum > 0xffff) sum = (sum & 0xffff) + Math.floor(sum / 0x10000);
  return sum;
}

export const ip_compute_csum = (at: number, bytes: number): number => ~csum_partial(at, bytes, 0) & 0xffff;

/** The checksum of the datagram at `udp`, its own field read as it stands: 0 for one that is right. */
export function udp_csum(udp: number, bytes: number, source: number, target: number): number {
  const half = (ip: number): number => (ip >>> 16) + (ip & 0xffff);
  return ~csum_partial(udp, bytes, half(source) + half(target) + IPPROTO_UDP + bytes) & 0xffff;
}

export interface UdpFound {
  readonly sourceIp: number;
  readonly targetIp: number;
  readonly sourcePort: number;
  readonly targetPort: number;
  /** Physical address and length. */
  readonly payload: number;
  readonly bytes: number;
}

/** The datagram in a packet whose Ethernet header lies right in front of its data; undefined for none, or one that is damaged. */
export function checkedUdp(skb: SkBuff): UdpFound | undefined {
  const { view } = M;
  const ip = skb.data;
  if (view.getUint16(ip - 2) !== ETH_P_IP || skb.len < IP_HLEN + UDP_HLEN) return undefined;
  const headerBytes = (view.getUint8(ip) & 0xf) * 4;
  if (view.getUint8(ip) >>> 4 !== 4 || headerBytes < IP_HLEN || skb.len < headerBytes + UDP_HLEN) return undefined;
  if (ip_compute_csum(ip, headerBytes) !== 0) return undefined;
  const total = view.getUint16(ip + 2);
  if (skb.len < total || total < headerBytes + UDP_HLEN || view.getUint8(ip + 9) !== IPPROTO_UDP) return undefined;
  const udp = ip + headerBytes;
  const udpBytes = view.getUint16(udp + 4);
  if (udpBytes !== total - headerBytes) return undefined;
  const [sourceIp, targetIp] = [view.getUint32(ip + 12), view.getUint32(ip + 16)];
  if (view.getUint16(udp + 6) !== 0 && udp_csum(udp, udpBytes, sourceIp, targetIp) !== 0) return undefined;
  return {
    ...{ sourceIp, targetIp, sourcePort: view.getUint16(udp), targetPort: view.getUint16(udp + 2) },
    ...{ payload: udp + UDP_HLEN, bytes: udpBytes - UDP_HLEN },
  };
}
