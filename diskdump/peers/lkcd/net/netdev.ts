// The network as a dump device (drivers/dump/dump_netdev.c of LKCD on 2.6, which has the loops and limits of its 2.4 forebear): polled,
// interrupts off, one page at a time. Nothing of the network's is opened: a lock that a stopped CPU holds stays held.
import { cpu, finished, step, type Running } from "../../../../emulator/cpu/cpu.ts";
import { ipBytes } from "../../../../emulator/net/udp.ts";
import { M } from "../../../../kernel-sim/abi/ram.ts";
import type { ViewOf } from "../../../../kernel-sim/abi/view.ts";
import { passIdleRounds } from "../../../../kernel-sim/core/idle-poll.ts";
import { K, smp_processor_id } from "../../../../kernel-sim/core/kernel.ts";
import { printk } from "../../../../kernel-sim/core/printk.ts";
import { local_irq_restore, local_irq_save } from "../../../../kernel-sim/core/spinlock.ts";
import { delayNs } from "../../../../kernel-sim/core/timer.ts";
import {
  Netpoll,
  ipNumber,
  netpoll_poll,
  netpoll_send_udp,
  netpoll_set_trap,
  netpoll_setup,
} from "../../../../kernel-sim/net/netpoll.ts";
import { copyNs } from "../../../../kernel-sim/net/skbuff.ts";
import { CHUNK_BYTES, REPLY_HEADER_BYTES, REQUEST_BYTES, decodeRequest } from "../../netdump/protocol.ts";
import type { DumpDevice } from "../dump-device.ts";
import type { Lkcd } from "../lkcd.ts";
import {
  HANDSHAKES,
  HANDSHAKE_POLLS,
  HANDSHAKE_POLL_NS,
  LOUD_RESTS,
  POLLS_PER_REST,
  QUIET_RESTS,
  HANDSHAKE_FAILURE,
  REST_NS,
} from "./limits.ts";
import { kfunc, kleaf } from "./module.ts";
import { LKCD_COMM, LKCD_NET_VERSION, LKCD_PORT, LKCD_REPLY } from "./protocol.ts";
import { put_reply_header } from "../../netdump/module/reply-header.ts";
import { dump_netdev_bss } from "./structs.ts";

const EIO = 5;
/** END_NETDUMP goes out so often: nobody acknowledges it. */
const FAREWELLS = 6;
const SPRINTF_NS = 300;

/** Commands that are obeyed whatever magic number they show. */
const UNCHECKED: ReadonlySet<number> = new Set([
  ...[LKCD_COMM.GET_MAGIC, LKCD_COMM.HELLO, LKCD_COMM.START_WRITE_NETDUMP_ACK, LKCD_COMM.START_NETDUMP_ACK],
]);

export interface NetdevOptions {
  /** The interface; "192.168.0.7"; the server's address; six bytes. */
  readonly device: string;
  readonly localIp: string;
  readonly remoteIp: string;
  readonly remoteMac: Uint8Array;
}

export class DumpNetdev implements DumpDevice {
  readonly name: string;
  readonly number = 0;
  readonly greeting = "";
  readonly startOffset = 0;
  readonly needsInterrupts = false;
  readonly grainBytes: number;
  readonly bss: ViewOf<typeof dump_netdev_bss>;
  readonly np: Netpoll;
  readonly network: { readonly np: Netpoll };
  failure = "";
  /** For those who look on: requests with a magic number that is not ours. */
  refusedRequests = 0;
  private lkcd: Lkcd | undefined;

  constructor(options: NetdevOptions, bss: ViewOf<typeof dump_netdev_bss>) {
    this.name = options.remoteIp;
    this.grainBytes = K.map.model.pageSize;
    this.bss = bss;
    this.np = new Netpoll({
      ...{ name: "netdump", devName: options.device, localPort: LKCD_PORT, remotePort: LKCD_PORT },
      ...{ localIp: ipNumber(ipBytes(options.localIp)), remoteIp: ipNumber(ipBytes(options.remoteIp)) },
      remoteMac: options.remoteMac,
      rx_hook: (_np, _source, data, bytes) => {
        rx_hook(this, data, bytes);
        return finished(undefined);
      },
    });
    this.network = { np: this.np };
  }

  attach(lkcd: Lkcd): void {
    this.lkcd = lkcd;
  }

  silence(): Running<number> {
    return dump_net_silence(this);
  }
  write(from: number, bytes: number): Running<number> {
    return dump_net_write(this, this.lkcd!, from, bytes);
  }
  /** Every write is over when it returns. */
  ready(): Running<number> {
    return finished(0);
  }
  resume(): Running {
    return dump_net_resume(this);
  }
}

/** A datagram of the server. Only looked at during a write. Context: any; the interface's rx_lock is held. */
const rx_hook = kleaf("rx_hook", (dev: DumpNetdev, data: number, bytes: number): void => {
  const { bss } = dev;
  if (bss.netdump_in_progress === 0 || bytes < REQUEST_BYTES) return;
  const heard = decodeRequest(M.u8.subarray(data, data + bytes))!;
  if (!UNCHECKED.has(heard.command) && heard.magic !== M.view.getBigUint64(magicAt(dev))) {
    dev.refusedRequests++;
    return;
  }
  bss.req_nr = heard.nr;
  bss.req_command = heard.command;
  bss.req_from = heard.from;
  bss.req_to = heard.to;
  bss.new_req = 1;
});

const magicAt = ({ bss }: DumpNetdev): number => bss.addr + K.offsetOf(dump_netdev_bss, "dump_magic");

/** Sends what lies behind the header in netdump_membuf: `bytes` bytes. */
const netdump_send_packet = kfunc(
  "netdump_send_packet",
  function* (dev: DumpNetdev, nr: number, code: number, info: number, bytes: number) {
    const at = dev.bss.netdump_membuf;
    put_reply_header(at, LKCD_NET_VERSION, nr, code, info);
    yield* netpoll_send_udp(dev.np, at, REPLY_HEADER_BYTES + bytes);
  },
);

/** sprintf() into the buffer, and off. */
function send_text(dev: DumpNetdev, nr: number, code: number, info: number, text: string): Running {
  step(SPRINTF_NS);
  const at = dev.bss.netdump_membuf + REPLY_HEADER_BYTES;
  for (let i = 0; i < text.length; i++) M.u8[at + i] = text.charCodeAt(i);
  return netdump_send_packet(dev, nr, code, info, text.length);
}

/** The page at `from`, in pieces of 1 KiB. */
const dump_send_mem = kfunc("dump_send_mem", function* (dev: DumpNetdev, from: number, bytes: number) {
  const nr = dev.bss.req_nr;
  const payload = dev.bss.netdump_membuf + REPLY_HEADER_BYTES;
  for (let offset = 0; offset < bytes; offset += CHUNK_BYTES) {
    step(copyNs(CHUNK_BYTES));
    M.u8.copyWithin(payload, from + offset, from + offset + CHUNK_BYTES);
    yield* netdump_send_packet(dev, nr, LKCD_REPLY.MEM, offset, CHUNK_BYTES);
  }
});

/** Says where the dump stands until the server asks. Returns: false after five minutes without it. The request waits in req. */
const dump_handshake = kfunc("dump_handshake", function* (dev: DumpNetdev, offset: number) {
  const { bss } = dev;
  const first = bss.startup_handshake !== 0;
  const at = first ? 0 : offset % 2 ** 32;
  for (let i = 0; i < HANDSHAKES; i++) {
    const code = first ? LKCD_REPLY.START_NETDUMP : LKCD_REPLY.START_WRITE_NETDUMP;
    yield* send_text(dev, at, code, at, "NETDUMP start, waiting for start-ACK.\n");
    for (let j = 0; j < HANDSHAKE_POLLS && bss.new_req === 0; j++) {
      const start = cpu.clock;
      yield* delayNs(HANDSHAKE_POLL_NS);
      yield* netpoll_poll(dev.np);
      if (bss.new_req === 0) {
        const left = HANDSHAKE_POLLS - 1 - j;
        j += passIdleRounds(start, cpu.clock + left * (cpu.clock - start));
      }
    }
    if (bss.new_req === 0) continue;
    const command = bss.req_command;
    const expected = first
      ? command === LKCD_COMM.HELLO || command === LKCD_COMM.START_NETDUMP_ACK
      : command === LKCD_COMM.SEND_MEM;
    if (expected) return true;
    bss.new_req = 0;
  }
  return false;
});

/** Polls until a request has come. Returns: false when it has been quiet for too long. */
const wait_for_request = kfunc("wait_for_request", function* (dev: DumpNetdev) {
  const { bss } = dev;
  let rests = 0;
  for (;;) {
    const start = cpu.clock;
    for (let i = 0; i < POLLS_PER_REST && bss.new_req === 0; i++) yield* netpoll_poll(dev.np);
    if (bss.new_req !== 0) return true;
    rests++;
    if (rests > QUIET_RESTS) {
      const loud = rests - QUIET_RESTS;
      if (loud > LOUD_RESTS) {
        yield* printk("LKCD: Time OUT LEAVE NOW\n", 4);
        return false;
      }
      yield* printk(`LKCD: Try number ${loud} out of 10 before Time Out\n`, 4);
    }
    yield* delayNs(REST_NS);
    const left = QUIET_RESTS - rests;
    if (left > 0) rests += passIdleRounds(start, cpu.clock + left * (cpu.clock - start));
  }
});

/** Hands one page to the server. Returns: whether the server, or somebody in its name, let it go on. */
const do_netdump = kfunc("do_netdump", function* (dev: DumpNetdev, offset: number, from: number, bytes: number) {
  const { bss } = dev;
  bss.netdump_in_progress = 1;
  let done = false;
  if (!(yield* dump_handshake(dev, offset))) {
    yield* printk("LKCD: network dump failed due to handshake failure\n", 4);
    dev.failure = HANDSHAKE_FAILURE;
  } else {
    bss.startup_handshake = 0;
    for (;;) {
      if (!(yield* wait_for_request(dev))) {
        dev.failure = "the server fell silent in the middle of a page";
        break;
      }
      bss.new_req = 0;
      const command = bss.req_command;
      if (command === LKCD_COMM.START_WRITE_NETDUMP_ACK || command === LKCD_COMM.EXIT) {
        done = true;
        break;
      }
      yield* answer(dev, command, offset, from, bytes);
    }
  }
  bss.netdump_in_progress = 0;
  return done;
});

function answer(dev: DumpNetdev, command: number, offset: number, from: number, bytes: number): Running {
  const { bss } = dev;
  const nr = bss.req_nr;
  const { pageSize } = K.map.model;
  switch (command) {
    case LKCD_COMM.NONE:
      return finished(undefined);
    case LKCD_COMM.SEND_MEM:
      return dump_send_mem(dev, from, bytes);
    case LKCD_COMM.HELLO: {
      const text = `Hello, this is netdump version 0.${String(LKCD_NET_VERSION).padStart(2, "0")}\n`;
      return send_text(dev, nr, LKCD_REPLY.HELLO, offset % 2 ** 32, text);
    }
    case LKCD_COMM.GET_PAGE_SIZE:
      return send_text(dev, nr, LKCD_REPLY.PAGE_SIZE, pageSize, `PAGE_SIZE: ${pageSize}\n`);
    case LKCD_COMM.GET_NR_PAGES: {
      const text = `Number of pages: ${K.pages.maxPfn}\n`;
      return send_text(dev, nr, LKCD_REPLY.NR_PAGES, bss.page_counter, text);
    }
    case LKCD_COMM.GET_MAGIC: {
      const at = magicAt(dev);
      M.u8.copyWithin(bss.netdump_membuf + REPLY_HEADER_BYTES, at, at + 8);
      return netdump_send_packet(dev, nr, LKCD_REPLY.MAGIC, LKCD_NET_VERSION, 8);
    }
    default:
      return send_text(dev, nr, LKCD_REPLY.ERROR, command, `Got unknown command code ${command}!\n`);
  }
}

/** Context: dump. Interrupts are off from here to dump_net_resume(). */
const dump_net_silence = kfunc("dump_net_silence", function* (dev: DumpNetdev) {
  netpoll_set_trap(true);
  dev.bss.flags_global = local_irq_save();
  dev.bss.startup_handshake = 1;
  yield* printk(`LKCD: Dumping to network device ${dev.np.options.devName} on CPU ${smp_processor_id()} ...\n`, 4);
  return 0;
});

/** Whole pages only: what is left over is not sent. */
const dump_net_write = kfunc(
  "dump_net_write",
  function* (dev: DumpNetdev, { data, outcome }: Lkcd, from: number, bytes: number) {
    const page = dev.grainBytes;
    for (let at = 0; at + page <= bytes; at += page) {
      if (!(yield* do_netdump(dev, data.dump_offset, from + at, page))) return -EIO;
      data.dump_offset = data.dump_offset + page;
      outcome.bytesWritten += page;
      outcome.writesEnded++;
    }
    return 0;
  },
);

/** Says good-bye, to nobody in particular. */
const dump_net_resume = kfunc("dump_net_resume", function* (dev: DumpNetdev) {
  for (let i = 0; i < FAREWELLS; i++) yield* send_text(dev, 0, LKCD_REPLY.END_NETDUMP, 0, "NETDUMP end.\n");
  yield* printk("LKCD: NETDUMP END!\n", 4);
  yield* local_irq_restore(dev.bss.flags_global);
  netpoll_set_trap(false);
  dev.bss.startup_handshake = 0;
});

/** Loads dump_netdev and takes the interface. Returns: the device, or "no device". Context: process. */
export const dump_net_open = kfunc("dump_net_open", function* (options: NetdevOptions) {
  const module = K.modules.load("dump_netdev", { data: 64, bss: dump_netdev_bss });
  const dev = new DumpNetdev(options, K.view(dump_netdev_bss, module.bssAt));
  // get_random_bytes()
  const random = K.machine.random.stream("lkcd.dump_magic");
  for (const word of [0, 4]) M.view.setUint32(magicAt(dev) + word, random.u32());
  if ((yield* netpoll_setup(dev.np)) !== 0) return "no device" as const;
  yield* printk(`LKCD: Network device ${options.device} successfully configured for dumping\n`, 6);
  return dev;
});
