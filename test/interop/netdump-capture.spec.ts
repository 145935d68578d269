// What goes over the wire in a netdump, read by Wireshark's own dissector of the protocol.
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { rigIn, somePages } from "../../diskdump/peers/netdump/test-rig.ts";
import { PcapngCapture } from "../../emulator/net/pcapng.ts";
import { need, run } from "./programs.ts";

/** REPLY_RESERVED. (Of a reply's info, which the kernel sends in network order, this dissector shows the bytes turned round.) */
const RESERVED = 4;

const folder = mkdtempSync(join(tmpdir(), "netdump-capture-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

it("every frame of a netdump: checksums, commands, page frames, replies", (context) => {
  need(context, "tshark");
  const pages = somePages(48);
  const rig = rigIn(join(folder, "crash"), pages);
  const capture = new PcapngCapture("eth0");
  const times: number[] = [];
  rig.segment.tap = (frame, ns) => {
    capture.add(frame, ns);
    times.push(ns);
  };
  rig.client.log(0, "Kernel panic");
  rig.run(60e9);
  expect(rig.server.ended[0]).toMatchObject({ outcome: "complete", pagesSaved: 28 });
  const file = join(folder, "netdump.pcapng");
  writeFileSync(file, capture.bytes());
  const fields = ["frame.time_epoch", "ip.checksum.status", "udp.checksum.status", "netdump.command", "netdump.from"];
  const args = ["-n", "-r", file, "-d", "udp.port==6666,netdump", "-o", "ip.check_checksum:TRUE"];
  const { code, stdout } = run("tshark", [
    ...args,
    ...["-o", "udp.check_checksum:TRUE", "-T", "fields"],
    ...[...fields, "netdump.code", "netdump.magic", "_ws.malformed"].flatMap((field) => ["-e", field]),
  ]);
  expect(code).toBe(0);
  const rows = stdout
    .replace(/\n$/, "")
    .split("\n")
    .map((line) => line.split("\t"));
  expect(rows).toHaveLength(capture.frames);
  rows.forEach(([time, ip, udp, , , reply, , malformed], i) => {
    expect(Math.round(Number(time) * 1e9)).toBe(times[i]);
    expect([ip, udp]).toEqual(["1", "1"]);
    // The dissector wants a payload in every reply; send_netdump_mem() of 2.6's netdump.c sends RESERVED without one.
    if (Number(reply) !== RESERVED) expect(malformed).toBe("");
  });
  const requests = rows.filter(([, , , command]) => command !== "");
  expect(new Set(requests.map((row) => BigInt(row[6]!)))).toEqual(new Set([0x0123456789abcdefn]));
  const asked = requests.filter(([, , , command]) => Number(command) === 1).map(([, , , , from]) => Number(from));
  expect(asked.filter((pfn) => pages[pfn])).toEqual(pages.flatMap((bytes, pfn) => (bytes ? [pfn] : [])));
  const replies = rows.filter(([, , , , , reply]) => reply !== "").map(([, , , , , reply]) => Number(reply));
  // LOG, START_NETDUMP, PAGE_SIZE, NR_PAGES, REGS, RESERVED; and four MEMs for each page.
  for (const code of [2, 8, 7, 6, 10, 4]) expect(replies, `reply ${code}`).toContain(code);
  expect(replies.filter((reply) => reply === 3)).toHaveLength(4 * 28);
});
