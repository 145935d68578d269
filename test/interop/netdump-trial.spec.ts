// Goal: what a trial's netdump leaves is what the tools of the field expect. Method: the same machine dies at the same instant with
// diskdump and with netdump; crash(8) must tell the same of both. Wireshark's dissector reads the frames.
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test, type TestContext } from "vitest";
import { dumplab } from "../cli/dumplab.ts";
import { askCrash, backtraces, functionsOf } from "./crash-session.ts";
import { need, run } from "./programs.ts";
import { shows } from "../features/feature.ts";

const folder = mkdtempSync(join(tmpdir(), "netdump-trial-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string): string => join(folder, name);

/** One machine, on the same network with both; netdump stands behind diskdump, and is not called. */
const MACHINE = ["panic", "--seed", "2", "--set", "cpus=4", "--set", "memory.size=24MiB"];
// The log on the network would take time before the crash that depends on who listens.
const QUIET = ["--set", "netdump.netconsole=false", "--json"];

beforeAll(async () => {
  const files = (name: string): string[] => ["--vmcore", at(`${name}.vmcore`), "--vmlinux", at(`${name}.vmlinux`)];
  const net = await dumplab(
    "trial",
    ...MACHINE,
    ...QUIET,
    "--dumper",
    "netdump",
    ...files("net"),
    "--pcap",
    at("pcapng"),
  );
  expect([net.code, net.err]).toEqual([0, expect.stringContaining("wrote")]);
  const disk = await dumplab("trial", ...MACHINE, ...QUIET, "--set", "dump.fallback=netdump", ...files("disk"));
  expect([disk.code, disk.err]).toEqual([0, expect.stringContaining("wrote")]);
  const crashOf = ({ out }: { out: string }): unknown => (JSON.parse(out) as { crash: { cpu: number } }).crash;
  expect((crashOf(net) as { cpu: number }).cpu).toBe((crashOf(disk) as { cpu: number }).cpu);
}, 120_000);

const ask = (context: TestContext, which: "net" | "disk", commands: readonly string[]): readonly string[] =>
  askCrash(context, at(`${which}.vmlinux`), at(`${which}.vmcore`), commands);

describe("crash(8) on a netdump's vmcore", () => {
  test("opens what the netdump server saved without a word, and says why the kernel died", (context) => {
    shows(context, "netdump", "analysis tools", "crash");
    const [sys, log] = ask(context, "net", ["sys", "log"]);
    expect(sys).toMatch(/PANIC: "(Kernel panic - not syncing: )?dumplab: crash injected"/);
    expect(sys).toMatch(/CPUS: 4\n/);
    expect(log).toContain("< netdump activated - performing handshake with the server. >");
  });

  test("of a netdump and a diskdump of one machine: the same processes, by name and number, in the same states", (context) => {
    const tasks = (answer: string): string[] =>
      answer
        .split("\n")
        .slice(1)
        .map((line) => line.replace(/^[> ]+/, "").split(/ +/))
        .map(([pid, ppid, , , state, , , , comm]) => `${pid} ${ppid} ${state} ${comm}`)
        .sort();
    const [net] = ask(context, "net", ["ps"]);
    const [disk] = ask(context, "disk", ["ps"]);
    expect(tasks(net!).length).toBeGreaterThan(8);
    expect(tasks(net!)).toEqual(tasks(disk!));
  });

  test("of a netdump and a diskdump of one machine: the same way to where each CPU was, but for the dumper's function", (context) => {
    const ways = (which: "net" | "disk"): Map<number, string[]> => {
      const [all] = ask(context, which, ["bt -a"]);
      return new Map([...backtraces(all!)].map(([cpu, { text }]) => [cpu, functionsOf(text)]));
    };
    const net = ways("net");
    const dumping = [...net].find(([, names]) => names.includes("panic"))![0];
    expect(net.get(dumping)).toEqual([
      ...["netpoll_start_netdump", "try_crashdump", "panic", "lkdtm_do_action", "crasher", "system_call"],
    ]);
    const disk = ways("disk");
    disk.set(dumping, ["netpoll_start_netdump", ...disk.get(dumping)!.slice(1)]);
    expect(net.size).toBe(4);
    expect(net).toEqual(disk);
  });

  test("of a netdump and a diskdump of one machine: the same log up to the crash", (context) => {
    const until = (answer: string): string[] => {
      const lines = answer.split("\n").map((line) => line.replace(/^<\d>/, ""));
      // diskdump says more of itself when it is loaded.
      return lines
        .slice(
          0,
          lines.findIndex((line) => line.includes("Kernel panic")),
        )
        .filter((line) => !/disk_dump|scsi_dump/.test(line));
    };
    const [net] = ask(context, "net", ["log"]);
    const [disk] = ask(context, "disk", ["log"]);
    expect(until(net!).length).toBeGreaterThan(15);
    expect(until(net!)).toEqual(until(disk!));
  });

  test("of a netdump: the network interface, its address, and its driver's variables", (context) => {
    const [net, mod, board] = ask(context, "net", ["net", "mod", "struct rtl8139_private"]);
    expect(net).toMatch(/eth0 +192\.168\.0\.7/);
    expect(mod).toMatch(/8139too/);
    expect(board).toMatch(/rx_ring/);
  });
});

test("every frame of a trial's netdump: the server's requests, the client's replies, right checksums", (context) => {
  need(context, "tshark");
  const decode = ["-n", "-r", at("pcapng"), "-d", "udp.port==6666,netdump"];
  const check = ["-o", "ip.check_checksum:TRUE", "-o", "udp.check_checksum:TRUE", "-T", "fields"];
  const names = ["eth.type", "ip.src", "ip.checksum.status", "udp.checksum.status", "netdump.command", "netdump.code"];
  const { code, stdout } = run("tshark", [...decode, ...check, ...names.flatMap((name) => ["-e", name])]);
  expect(code).toBe(0);
  const rows = stdout
    .trimEnd()
    .split("\n")
    .map((line) => line.split("\t"));
  const datagrams = rows.filter(([type]) => type === "0x0800");
  expect(datagrams.every(([, , ip, udp]) => ip === "1" && udp === "1")).toBe(true);
  const commands = datagrams.filter(([, from]) => from === "192.168.0.1").map((row) => Number(row[4]));
  const replies = datagrams.filter(([, from]) => from === "192.168.0.7").map((row) => Number(row[5]));
  // GET_PAGE_SIZE, START_NETDUMP_ACK, GET_NR_PAGES, GET_REGS, SEND_MEM, REBOOT.
  expect(new Set(commands)).toEqual(new Set([6, 7, 5, 8, 1, 3]));
  const pages = (24 << 20) / 4096 - 96;
  expect(replies.filter((reply) => reply === 3)).toHaveLength(pages * 4);
  // The pages, and those that are no RAM: they are answered with RESERVED.
  const reserved = replies.filter((reply) => reply === 4).length;
  expect(commands.filter((command) => command === 1)).toHaveLength(pages + reserved);
  // The rest are other people's broadcasts.
  expect(rows.filter(([type]) => type !== "0x0800").every(([type]) => type === "0x0806")).toBe(true);
});
