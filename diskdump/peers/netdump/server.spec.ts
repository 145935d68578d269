import fc from "fast-check";
import { afterAll, describe, expect, it } from "vitest";
import { mkdtempSync, readFileSync, rmSync, existsSync, readdirSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import type { SegmentOptions } from "../../../emulator/net/ethernet-segment.ts";
import { makeEvent } from "../../../emulator/time/events.ts";
import { openCore } from "../../cores/open-core.ts";
import { FileStore } from "../../userspace/file-store.ts";
import {
  COMM,
  NETDUMP_PORT,
  decodeReply,
  decodeRequest,
  encodeReply,
  encodeRequest,
  parseStartText,
  startText,
} from "./protocol.ts";
import type { NetdumpServerOptions } from "./server.ts";
import { PAGE_BYTES } from "./test-client.ts";
import { CLIENT_IP, registers, rigIn, somePages, type Rig } from "./test-rig.ts";

const folder = mkdtempSync(join(tmpdir(), "netdump-spec-"));
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const coreAt = (path: string): ReturnType<typeof openCore> => openCore(FileStore.open(path));

let rigs = 0;
const rig = (
  pages: (Uint8Array | undefined)[],
  trouble: Partial<SegmentOptions> = {},
  options: Partial<NetdumpServerOptions> = {},
  alive = () => true,
  seed = 1,
): Rig => rigIn(join(folder, `crash${++rigs}`), pages, trouble, options, alive, seed);

function expectEqualToRam(core: string, pages: readonly (Uint8Array | undefined)[]): void {
  const opened = coreAt(core);
  const saved = new Set<number>();
  const page = new Uint8Array(PAGE_BYTES);
  for (const { first, count } of opened.saved) {
    for (let pfn = first; pfn < first + count; pfn++) {
      saved.add(pfn);
      opened.readPages(pfn, 1, page);
      expect(Buffer.compare(page, pages[pfn]!), `page ${pfn}`).toBe(0);
    }
  }
  expect([...saved]).toEqual(pages.flatMap((bytes, pfn) => (bytes ? [pfn] : [])));
}

describe("netdump's words", () => {
  it("requests, replies and the start text come back as they went", () => {
    const u32 = fc.integer({ min: 0, max: 0xffffffff });
    const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n });
    fc.assert(
      fc.property(u64, u32, u32, u32, u32, (magic, nr, command, from, to) => {
        const request = { magic, nr, command, from, to };
        expect(decodeRequest(encodeRequest(request))).toEqual(request);
      }),
    );
    fc.assert(
      fc.property(u32, u32, u32, fc.uint8Array({ maxLength: 1024 }), (nr, code, info, payload) => {
        const reply = { version: 4, nr, code, info, payload };
        expect(decodeReply(encodeReply(reply))).toEqual(reply);
      }),
    );
    fc.assert(
      fc.property(u64, u64, u64, (task, pageOffset, magic) => {
        expect(parseStartText(startText({ task, pageOffset, magic }))).toEqual({ task, pageOffset, magic });
      }),
    );
  });

  it("no bytes of any kind make the server throw", () => {
    const { server } = rig(somePages(4));
    fc.assert(fc.property(fc.uint8Array({ maxLength: 1100 }), (bytes) => server.receive("10.1.1.1", 6666, bytes, 0)));
  });
});

describe("the netdump server", () => {
  it("saves RAM page for page, with its log beside it, and reboots the client", () => {
    const pages = somePages(64);
    const r = rig(pages);
    r.client.log(0, "Kernel panic");
    r.client.log(12, " - not syncing: test\n");
    r.run(60e9);
    const [dump] = r.server.ended;
    expect(dump).toMatchObject({ outcome: "complete", pagesSaved: 44, requestsRepeated: 0 });
    expect(dump!.directory).toBe(join(r.directory, `${CLIENT_IP}-2004-12-01-00:00`));
    expect(readdirSync(dump!.directory).sort()).toEqual(["log", "vmcore"]);
    expect(readFileSync(join(dump!.directory, "log"), "latin1")).toBe("Kernel panic - not syncing: test\n");
    expectEqualToRam(dump!.core, pages);
    expect(coreAt(dump!.core).facts.cpus[0]).toMatchObject({ task: 0x10000001000n, registers });
    expect(r.client.rebooting).toBe(true);
  });

  it.each([0.01, 0.05, 0.2])("repairs a loss of %d, at the price of time", (lossRate) => {
    const pages = somePages(200);
    const clean = rig(pages);
    clean.run(600e9);
    const r = rig(pages, { lossRate });
    r.run(600e9);
    expect(r.server.ended[0]).toMatchObject({ outcome: "complete", pagesSaved: 180 });
    expect(r.segment.counts.lost).toBeGreaterThan(0);
    expect(r.server.ended[0]!.requestsRepeated).toBeGreaterThan(0);
    expect(r.events.now).toBeGreaterThan(clean.events.now);
    expectEqualToRam(r.server.ended[0]!.core, pages);
  });

  it("is not confused by frames that come late or twice", () => {
    const pages = somePages(120);
    const r = rig(pages, { reorderRate: 0.2, reorderNs: 3e6, duplicateRate: 0.2 });
    r.run(600e9);
    expect(r.segment.counts.delayed).toBeGreaterThan(10);
    expect(r.segment.counts.duplicated).toBeGreaterThan(10);
    expect(r.server.ended[0]).toMatchObject({ outcome: "complete" });
    expectEqualToRam(r.server.ended[0]!.core, pages);
  });

  it("equal seeds give equal dumps to the nanosecond; another seed does not", () => {
    const end = (seed: number): number => {
      const r = rig(somePages(60), { lossRate: 0.1 }, {}, () => true, seed);
      r.run(600e9);
      return r.events.now;
    };
    expect(end(3)).toBe(end(3));
    expect(end(3)).not.toBe(end(4));
  });

  it("a client that falls silent leaves vmcore-incomplete and a reason", () => {
    const r = rig(somePages(200));
    const hear = r.client.hear.bind(r.client);
    r.client.hear = (datagram) => (r.client.heard.length < 60 ? hear(datagram) : undefined);
    r.run(120e9);
    expect(r.server.ended[0]).toMatchObject({ outcome: "silent" });
    expect(r.server.ended[0]!.detail).toMatch(/^no answer for 30 s, after \d+ of 200 pages$/);
    expect(existsSync(join(r.server.ended[0]!.directory, "vmcore-incomplete"))).toBe(true);
    expect(existsSync(join(r.server.ended[0]!.directory, "vmcore"))).toBe(false);
  });

  it("a dead server lets the client repeat its start for ever", () => {
    const r = rig(somePages(4), {}, {}, () => false);
    r.run(10.5e9);
    expect(r.client.started).toBe(false);
    expect(r.segment.counts.sent).toBe(11);
    expect(r.server.ended).toEqual([]);
  });

  it("answers that nobody asked for change nothing in the core", () => {
    const pages = somePages(64);
    const r = rig(pages);
    const forged = encodeReply({ version: 4, nr: 9, code: 3, info: 0, payload: new Uint8Array(1024).fill(0xee) });
    const forge = makeEvent("forge", (event) => {
      // Another machine, and the client's address with another port.
      r.server.receive("192.168.7.66", NETDUMP_PORT, forged, event.at);
      r.server.receive(CLIENT_IP, 4242, forged, event.at);
      r.events.arm(event, event.at + 100_000);
    });
    r.events.arm(forge, 1000);
    r.run(60e9);
    expect(r.server.ended[0]).toMatchObject({ outcome: "complete" });
    expectEqualToRam(r.server.ended[0]!.core, pages);
  });

  it("a client with another magic number than the one exchanged is not served", () => {
    const wrong = rig(somePages(4), {}, { magics: new Map([[CLIENT_IP, 0x1234n]]) });
    wrong.run(3e9);
    expect(wrong.messages[0]).toBe(`${CLIENT_IP}: not served: wrong magic number`);
    expect(existsSync(wrong.directory)).toBe(false);
    const unknown = rig(somePages(4), {}, { secure: true });
    unknown.run(3e9);
    expect(unknown.messages[0]).toBe(`${CLIENT_IP}: not served: no magic number was exchanged`);
    const right = rig(somePages(4), {}, { secure: true, magics: new Map([[CLIENT_IP, 0x0123456789abcdefn]]) });
    right.run(3e9);
    expect(right.server.ended[0]).toMatchObject({ outcome: "complete" });
  });

  it("beyond the limit a client is told to reboot, without a dump", () => {
    const r = rig(somePages(4), {}, { concurrent: 0 });
    r.run(3e9);
    expect(r.client.heard).toContain(COMM.REBOOT);
    expect(r.client.rebooting).toBe(true);
    expect(existsSync(r.directory)).toBe(false);
  });
});
