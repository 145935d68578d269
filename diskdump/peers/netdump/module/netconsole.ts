// The kernel's log on the network: what printk has written goes to the server as REPLY_LOG, each piece with its place in the log
// (write_netconsole_msg of RHEL 3's netconsole.c). Nobody asks for it and nobody repeats it.
import { step } from "../../../../emulator/cpu/cpu.ts";
import { crashdump_mode } from "../../../../kernel-sim/core/dump-mode.ts";
import { LOG_BUF_BYTES } from "../../../../kernel-sim/core/printk.ts";
import { K } from "../../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../../kernel-sim/core/kfunc.ts";
import { local_irq_restore, local_irq_save } from "../../../../kernel-sim/core/spinlock.ts";
import { REPLY } from "../protocol.ts";
import type { Netdump } from "./netdump.ts";
import { send_bytes } from "./replies.ts";

const kfunc = moduleFunctions("netdump");

const MAX_PRINT_CHUNK = 1000;

/** The bytes of log_buf as a console shows them: without the level that stands at the start of each line. */
function withoutLevels(
  raw: Uint8Array,
  atLineStart: boolean,
): { readonly text: Uint8Array; readonly atLineStart: boolean } {
  const text = new Uint8Array(raw.length);
  let length = 0;
  let start = atLineStart;
  for (let i = 0; i < raw.length; i++) {
    // "<6>"
    if (start && raw[i] === 0x3c && raw[i + 2] === 0x3e) i += 3;
    if (i >= raw.length) break;
    start = raw[i] === 0x0a;
    text[length++] = raw[i]!;
  }
  return { text: text.subarray(0, length), atLineStart: start };
}

/** Sends what log_buf has got since the last time. Context: any. Must not: be called by two at a time. */
export const send_log = kfunc("send_netdump_log", function* (nd: Netdump) {
  const { bss } = nd;
  const { console } = K;
  const end = console.logEnd;
  const from = Math.max(bss.log_sent, end - LOG_BUF_BYTES);
  if (from === end) return;
  const lineStart = from === 0 || console.logBytes(from - 1, from)[0] === 0x0a;
  const { text } = withoutLevels(console.logBytes(from, end), lineStart);
  bss.log_sent = end;
  const flags = local_irq_save();
  for (let at = 0; at < text.length; at += MAX_PRINT_CHUNK) {
    const piece = text.subarray(at, at + MAX_PRINT_CHUNK);
    const offset = bss.log_offset;
    bss.log_offset = offset + piece.length;
    step(20);
    yield* send_bytes(nd, 0, REPLY.LOG, offset, piece);
  }
  yield* local_irq_restore(flags);
});

/** The console's write: not while the machine dumps, to whatever place. */
export const write_netconsole_msg = kfunc("write_netconsole_msg", function* (nd: Netdump) {
  if (!nd.mode && !crashdump_mode()) yield* send_log(nd);
});
