// What the client says: one datagram per reply, thirteen bytes of header and at most 1024 of payload.
import { step, type Running } from "../../../../emulator/cpu/cpu.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import { moduleFunctions } from "../../../../kernel-sim/core/kfunc.ts";
import { netpoll_send_udp } from "../../../../kernel-sim/net/netpoll.ts";
import { copyNs } from "../../../../kernel-sim/net/skbuff.ts";
import { CHUNK_BYTES, REPLY, REPLY_HEADER_BYTES } from "../protocol.ts";
import type { Netdump } from "./netdump.ts";
import { put_reply_header } from "./reply-header.ts";

const kfunc = moduleFunctions("netdump");

/** Formatting a short text, as sprintf does. */
const SPRINTF_NS = 300;

/** Sends what `put` has laid behind the header: `bytes` bytes. Context: dump, or a console's write. */
const send_message = kfunc(
  "send_netdump_msg",
  function* (nd: Netdump, nr: number, code: number, info: number, bytes: number) {
    const at = nd.bss.netpoll_msg;
    put_reply_header(at, nd.bss.effective_version, nr, code, info);
    nd.record.bytes += REPLY_HEADER_BYTES + bytes;
    yield* netpoll_send_udp(nd.np, at, REPLY_HEADER_BYTES + bytes);
  },
);

/** A reply with a payload of bytes. */
export function send_bytes(nd: Netdump, nr: number, code: number, info: number, payload: Uint8Array): Running {
  step(copyNs(payload.length));
  M.u8.set(payload, nd.bss.netpoll_msg + REPLY_HEADER_BYTES);
  return send_message(nd, nr, code, info, payload.length);
}

/** A reply with a text, which is formatted in command_tmp first. */
export function send_text(nd: Netdump, nr: number, code: number, info: number, text: string): Running {
  step(SPRINTF_NS);
  const at = nd.bss.command_tmp;
  for (let i = 0; i < text.length; i++) M.u8[at + i] = text.charCodeAt(i);
  return send_bytes(nd, nr, code, info, M.u8.subarray(at, at + text.length));
}

/** The page frame `pfn`: in pieces; or where the next RAM is; or that there is none. */
export const send_netdump_mem = kfunc("send_netdump_mem", function* (nd: Netdump, nr: number, pfn: number) {
  if (pfn >= nd.maxPfn) {
    const hex = (n: number): string => n.toString(16).padStart(8, "0");
    yield* send_text(nd, nr, REPLY.ERROR, 0, `page ${hex(pfn)} is bigger than max page # ${hex(nd.maxPfn)}!\n`);
    return;
  }
  const next = nextRam(nd, pfn);
  if (next !== pfn) {
    yield* send_message(nd, nr, REPLY.RESERVED, next, 0);
    return;
  }
  const payload = nd.bss.netpoll_msg + REPLY_HEADER_BYTES;
  for (let offset = 0; offset < nd.pageSize; offset += CHUNK_BYTES) {
    step(copyNs(CHUNK_BYTES));
    M.memory.readBytes(pfn * nd.pageSize + offset, M.u8.subarray(payload, payload + CHUNK_BYTES));
    yield* send_message(nd, nr, REPLY.MEM, offset, CHUNK_BYTES);
  }
  nd.record.pages++;
});

/** The page frame itself when it is RAM, else the next that is; max_pfn when none is. */
function nextRam(nd: Netdump, pfn: number): number {
  for (const { first, count } of nd.ram) if (pfn < first + count) return Math.max(pfn, first);
  return nd.maxPfn;
}
