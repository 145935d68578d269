// Goal: the netdump client does what its protocol says, on every platform. Method: a booted kernel with an RTL8139 panics; the
// station at the other end is a script that sends one request at a time and looks at the answers.
import { describe, expect, test } from "vitest";
import { DEFAULT_NETDUMP } from "../../diskdump/peers/netdump/module/parameters.ts";
import { init_netdump } from "../../diskdump/peers/netdump/module/init-netdump.ts";
import { netdumpOf } from "../../diskdump/peers/netdump/module/netdump.ts";
import {
  COMM,
  REPLY,
  decodeReply,
  encodeRequest,
  parseStartText,
  type NetdumpReply,
} from "../../diskdump/peers/netdump/protocol.ts";
import { registerBytes } from "../../diskdump/cores/core.ts";
import { PLATFORMS } from "../../diskdump/userspace/platform.ts";
import { OWN_IP, PEER_IP, nicRig, type NicRig } from "../../hba/rtl8139/driver-testing.ts";
import { PEER_ADDRESS } from "../../hba/rtl8139/spec-host.ts";
import { ADDRESS_MAPS } from "../../kernel-sim/abi/address-maps.ts";
import { runKernel } from "../../kernel-sim/core/boot.ts";
import { armProbe, disarmAllProbes } from "../../kernel-sim/core/kfunc.ts";
import { panic } from "../../kernel-sim/core/panic.ts";

const MAGIC = 0x1122334455667788n;

interface Request {
  readonly command: number;
  readonly from?: number;
  readonly magic?: bigint;
}

interface Answered {
  readonly rig: NicRig;
  /** The replies to each request, in its order; the log apart. */
  readonly replies: NetdumpReply[][];
  readonly log: string;
  readonly all: NetdumpReply[];
}

const text = (reply: NetdumpReply): string => Buffer.from(reply.payload).toString("latin1");

/** Panics, acknowledges, and sends the requests one after the other, each 2 ms after the one before. */
function dump(
  requests: readonly Request[],
  options: { map?: (typeof ADDRESS_MAPS)[keyof typeof ADDRESS_MAPS]; checksMagic?: boolean; seconds?: number } = {},
): Answered {
  const rig = nicRig({ cpus: 1, ...(options.map ? { map: options.map } : {}) });
  const all: NetdumpReply[] = [];
  const { events } = rig.kernel.machine;
  const send = (nr: number, { command, from = 0, magic = MAGIC }: Request): void =>
    rig.fromPeer(encodeRequest({ magic, nr, command, from, to: 0 }));
  let started = false;
  rig.onSent = ({ payload }) => {
    const reply = decodeReply(payload)!;
    all.push(reply);
    if (reply.code !== REPLY.START_NETDUMP || started) return;
    started = true;
    send(0, { command: COMM.START_NETDUMP_ACK, from: 4 });
    requests.forEach((request, i) => {
      events.arm(
        { label: "script", fire: () => send(i + 1, request), at: 0, sequence: 0, armed: false, arg: 0, labelHash: 1 },
        events.now + (i + 1) * 2e6 + 5e6,
      );
    });
  };
  rig.run(function* () {
    yield* init_netdump({
      ...DEFAULT_NETDUMP,
      ...{ localIp: OWN_IP, remoteIp: PEER_IP, remoteMac: PEER_ADDRESS, magic: MAGIC },
      checksMagic: options.checksMagic ?? false,
    });
  });
  runKernel(rig.kernel, () => panic("test"), (options.seconds ?? 10) * 1e9);
  const log = all.filter(({ code }) => code === REPLY.LOG);
  const bytes = Buffer.alloc(Math.max(0, ...log.map(({ info, payload }) => info + payload.length)));
  for (const { info, payload } of log) bytes.set(payload, info);
  return {
    ...{ rig, all, log: bytes.toString("latin1") },
    replies: requests.map((_, i) =>
      all.filter(({ nr, code }) => nr === i + 1 && code !== REPLY.LOG && code !== REPLY.START_NETDUMP),
    ),
  };
}

describe.each(Object.entries(ADDRESS_MAPS))("netdump on %s", (name, map) => {
  test("says what it is, and sends any page of memory as it stands", () => {
    const { pageSize } = map.model;
    const last = (32 << 20) / pageSize - 1;
    const hole = (640 << 10) / pageSize;
    // The kernel's text, which is no two pieces alike, and the end of memory.
    const asked = [(1 << 20) / pageSize, last].map((from) => ({ command: COMM.SEND_MEM, from }));
    const { rig, replies, all } = dump(
      [
        { command: COMM.GET_PAGE_SIZE },
        { command: COMM.GET_NR_PAGES },
        { command: COMM.GET_REGS },
        { command: COMM.SEND_MEM, from: hole },
        { command: COMM.SEND_MEM, from: last + 1 },
        ...asked,
      ],
      { map },
    );
    const start = all.find(({ code }) => code === REPLY.START_NETDUMP)!;
    expect(start.nr).toBe(PLATFORMS[name as keyof typeof PLATFORMS].elfMachine);
    expect(parseStartText(text(start))).toMatchObject({ pageOffset: map.pageOffset, magic: MAGIC });
    expect(replies[0]![0]).toMatchObject({ code: REPLY.PAGE_SIZE, info: pageSize });
    expect(text(replies[0]![0]!)).toBe(`PAGE_SIZE: ${pageSize}\n`);
    expect(replies[1]![0]).toMatchObject({ code: REPLY.NR_PAGES, info: last + 1 });
    expect(replies[2]![0]!.payload).toHaveLength(registerBytes(map.model));
    expect(replies[2]![0]!.payload.some((byte) => byte !== 0)).toBe(true);
    // No RAM there: it says where there is some.
    expect(replies[3]![0]).toMatchObject({ code: REPLY.RESERVED, info: (1 << 20) / pageSize });
    expect(replies[4]![0]).toMatchObject({ code: REPLY.ERROR });
    expect(text(replies[4]![0]!)).toContain("is bigger than max page");
    asked.forEach(({ from }, i) => {
      const pieces = replies[5 + i]!;
      expect(pieces.map(({ info }) => info)).toEqual(Array.from({ length: pageSize / 1024 }, (_, n) => n * 1024));
      const then = Buffer.concat(pieces.map(({ payload }) => payload));
      const now = new Uint8Array(pageSize);
      rig.kernel.machine.memory.readBytes(from * pageSize, now);
      expect(then.equals(now)).toBe(true);
      if (i === 0)
        expect(new Set(pieces.map(({ payload }) => Buffer.from(payload).toString("hex"))).size).toBeGreaterThan(1);
    });
  });
});

describe("netdump", () => {
  test("sends the kernel's log as it is written, all of it, before it serves memory", () => {
    const { rig, log, all } = dump([{ command: COMM.SEND_MEM, from: 3 }]);
    const lines = rig.kernel.console.lines.map(({ text: line }) => line);
    const served = all.findIndex(({ code }) => code === REPLY.MEM);
    expect(served).toBeGreaterThan(0);
    expect(all.slice(served).filter(({ code }) => code === REPLY.LOG)).toEqual([]);
    const until = lines.indexOf("< handshake completed - listening for dump requests. >");
    expect(log).toBe(`${lines.slice(0, until + 1).join("\n")}\n`);
    expect(lines.slice(0, until)).toContain("Kernel panic - not syncing: test");
  });

  test("answers HELLO, shows its state on the log, and says when it does not know a command", () => {
    const { replies, log } = dump([{ command: COMM.HELLO }, { command: COMM.SHOW_STATE }, { command: 77 }]);
    expect(replies[0]!.map(text)).toEqual(["Hello, this is netdump version 0.04\n"]);
    expect(replies[1]![0]).toMatchObject({ code: REPLY.SHOW_STATE });
    expect(log).toMatch(/RIP: .*\{panic\+/);
    expect(log).toMatch(/\ntest +[0-9a-f]+ R \d+\n/);
    expect(replies[2]!.map(({ code, info }) => [code, info])).toEqual([[REPLY.ERROR, 77]]);
  });

  test("EXIT ends it, and the panic goes on; REBOOT restarts the machine after three seconds", () => {
    const left = dump([{ command: COMM.EXIT }]);
    expect(left.all.filter(({ code }) => code === REPLY.END_NETDUMP)).toHaveLength(1);
    // printk is sent again.
    expect(left.log).toContain("NETDUMP END!\n");
    expect(left.rig.kernel.restarted).toBe("panic");
    const { rig } = dump([{ command: COMM.REBOOT }]);
    expect(rig.kernel.restarted).toBe("netdump");
    const [said] = rig.kernel.console.lines.filter((line) => line.text.startsWith("netdump: rebooting"));
    expect(rig.kernel.machine.now() - said!.ns).toBeGreaterThanOrEqual(3e9);
  });

  test("RHEL's does what anybody tells it; one that looks at the magic number does not", () => {
    const wrong = [{ command: COMM.REBOOT, magic: 0n }];
    expect(dump(wrong).rig.kernel.restarted).toBe("netdump");
    const { rig } = dump(wrong, { checksMagic: true });
    expect(rig.kernel.restarted).toBeUndefined();
    expect(netdumpOf(rig.kernel)!.record.refusedRequests).toBe(1);
  });

  test("calls once a second for as long as nobody acknowledges", () => {
    const rig = nicRig({ cpus: 1 });
    rig.run(function* () {
      yield* init_netdump({ ...DEFAULT_NETDUMP, localIp: OWN_IP, remoteIp: PEER_IP, remoteMac: PEER_ADDRESS });
    });
    const calls: number[] = [];
    rig.onSent = ({ payload }) => {
      if (decodeReply(payload)!.code === REPLY.START_NETDUMP) calls.push(rig.kernel.machine.events.now);
    };
    runKernel(rig.kernel, () => panic("test"), 20e9);
    expect(calls.length).toBeGreaterThan(15);
    for (let i = 1; i < calls.length; i++) {
      expect(calls[i]! - calls[i - 1]!).toBeGreaterThanOrEqual(1e9);
      expect(calls[i]! - calls[i - 1]!).toBeLessThan(1.1e9);
    }
    expect(rig.kernel.restarted).toBeUndefined();
  });

  test("a panic while it dumps is noticed, and restarts the machine", () => {
    armProbe("send_netdump_mem", 2, () => panic("again"));
    const { rig, replies } = dump([2, 3, 4].map((from) => ({ command: COMM.SEND_MEM, from })));
    disarmAllProbes();
    expect(replies.map((pieces) => pieces.length)).toEqual([4, 0, 0]);
    expect(rig.kernel.restarted).toBe("netdump: called recursively");
    expect(rig.kernel.console.lines.map((line) => line.text)).toContain(
      "netpoll_start_netdump: called recursively.  rebooting.",
    );
  });

  test("a server that speaks no version of the protocol makes it give up", () => {
    const rig = nicRig({ cpus: 1 });
    rig.run(function* () {
      yield* init_netdump({ ...DEFAULT_NETDUMP, localIp: OWN_IP, remoteIp: PEER_IP, remoteMac: PEER_ADDRESS });
    });
    rig.onSent = ({ payload }) => {
      if (decodeReply(payload)!.code !== REPLY.START_NETDUMP) return;
      rig.fromPeer(encodeRequest({ magic: 0n, nr: 0, command: COMM.START_NETDUMP_ACK, from: 0, to: 0 }));
    };
    runKernel(rig.kernel, () => panic("test"), 20e9);
    expect(rig.kernel.restarted).toBe("netdump: server cannot handle this client");
  });
});
