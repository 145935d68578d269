// Goal: LKCD's server makes the most of a protocol in which nobody says which page he means. Method: a client of a few lines, whose words are
// said one by one.
import { describe, expect, test } from "vitest";
import type { HostFile, HostFiles } from "../../userspace/host-files.ts";
import { decodeRequest, encodeReply, type NetdumpRequest } from "../netdump/protocol.ts";
import { LKCD_COMM, LKCD_REPLY } from "../lkcd/net/protocol.ts";
import { LkcdServer } from "./server.ts";

const MS = 1e6;
const PAGE = 4096;
const MAGIC = 0x1122334455667788n;

class Rig {
  /** The dump, as written. */
  readonly bytes = new Uint8Array(1 << 18);
  private readonly file: HostFile = {
    truncate: () => {},
    write: (offset, from) => this.bytes.set(from, offset),
    sync: () => {},
    close: () => {},
  };
  private readonly files: HostFiles = {
    exists: () => false,
    makeDirectory: () => {},
    create: () => this.file,
    rename: () => {},
    remove: () => {},
    removeEmptyDirectory: () => {},
    run: () => undefined,
  };
  readonly asked: NetdumpRequest[] = [];
  now = 0;
  readonly server = new LkcdServer(
    {
      files: this.files,
      wallSeconds: () => 1101859200,
      onMessage: () => {},
      send: (_ip, _port, datagram) => void this.asked.push(decodeRequest(datagram)!),
    },
    { retryNs: 50 * MS, silentNs: 30_000 * MS },
  );

  say(code: number, info: number, payload: Uint8Array = new Uint8Array(), nr = this.last.nr): void {
    this.server.receive("10.0.0.7", 6688, encodeReply({ version: 3, nr, code, info, payload }), this.now);
  }

  get last(): NetdumpRequest {
    return this.asked.at(-1) ?? { magic: 0n, nr: 0, command: 0, from: 0, to: 0 };
  }

  /** Up to the first page, which stands at offset 0. */
  begin(): this {
    this.say(LKCD_REPLY.START_NETDUMP, 0);
    this.say(LKCD_REPLY.HELLO, 0);
    const magic = new Uint8Array(8);
    new DataView(magic.buffer).setBigUint64(0, MAGIC);
    this.say(LKCD_REPLY.MAGIC, 3, magic);
    this.say(LKCD_REPLY.PAGE_SIZE, PAGE);
    return this;
  }

  pieces(fill: number, which = [0, 1, 2, 3], nr = this.last.nr): void {
    for (const i of which) this.say(LKCD_REPLY.MEM, i * 1024, new Uint8Array(1024).fill(fill), nr);
  }

  stand(offset: number): void {
    this.say(LKCD_REPLY.START_WRITE_NETDUMP, offset, undefined, offset);
  }

  /** The pages before those of memory, and the first of these. */
  upTo(offset: number): this {
    this.begin();
    this.pieces(1);
    for (let at = 65536; at <= offset; at += PAGE) {
      this.stand(at);
      this.pieces(2);
    }
    return this;
  }

  later(ms: number): void {
    this.now += ms * MS;
    this.server.tick(this.now);
  }

  fileAt(offset: number): number {
    return this.bytes[offset]!;
  }
}

test("a client is asked for its magic number and page size, and then for the page that it stands at", () => {
  const rig = new Rig().begin();
  expect(rig.asked.map(({ command }) => command)).toEqual([
    ...[LKCD_COMM.HELLO, LKCD_COMM.GET_MAGIC, LKCD_COMM.GET_PAGE_SIZE, LKCD_COMM.SEND_MEM],
  ]);
  expect(rig.last.magic).toBe(MAGIC);
  rig.pieces(7);
  expect(rig.last.command).toBe(LKCD_COMM.START_WRITE_NETDUMP_ACK);
  expect(rig.fileAt(4095)).toBe(7);
});

describe("when a piece is lost", () => {
  test("the server asks first where the client stands, and for the page again when it is still that one", () => {
    const rig = new Rig().upTo(65536);
    rig.stand(65536 + PAGE);
    rig.pieces(3, [0, 1, 3]);
    const { nr } = rig.last;
    rig.later(60);
    expect(rig.last.command).toBe(LKCD_COMM.HELLO);
    rig.say(LKCD_REPLY.HELLO, 65536 + PAGE);
    expect(rig.last).toMatchObject({ command: LKCD_COMM.SEND_MEM, nr });
    rig.pieces(3, [2]);
    expect(rig.last.command).toBe(LKCD_COMM.START_WRITE_NETDUMP_ACK);
  });

  test("and the client has gone on, the page is lost, and the next one does not take its place", () => {
    const rig = new Rig().upTo(65536);
    rig.stand(65536 + PAGE);
    rig.pieces(3, [0, 1, 3]);
    const { nr } = rig.last;
    rig.stand(65536 + 2 * PAGE);
    rig.later(60);
    rig.pieces(4);
    rig.pieces(9, [2], nr);
    rig.say(LKCD_REPLY.END_NETDUMP, 0);
    expect(rig.server.ended).toMatchObject([{ outcome: "pages lost", pagesLost: 1 }]);
    expect(rig.server.ended[0]!.file).toMatch(/dump-incomplete$/);
    expect([rig.fileAt(65536 + PAGE), rig.fileAt(65536 + 2 * PAGE)]).toEqual([0, 4]);
  });

  test("one that only comes late is waited for, also when the client has gone on", () => {
    const rig = new Rig().upTo(65536);
    rig.stand(65536 + PAGE);
    rig.pieces(3, [0, 1, 3]);
    rig.stand(65536 + 2 * PAGE);
    rig.pieces(3, [2]);
    expect(rig.last.command).toBe(LKCD_COMM.SEND_MEM);
    rig.pieces(4);
    rig.say(LKCD_REPLY.END_NETDUMP, 0);
    expect(rig.server.ended).toMatchObject([{ outcome: "complete", pagesLost: 0 }]);
  });
});

describe("a client that says that it stands where it has been", () => {
  test("is not believed once, when its word was late", () => {
    const rig = new Rig().upTo(65536);
    rig.stand(0);
    rig.stand(65536 + PAGE);
    rig.pieces(5);
    expect([rig.fileAt(0), rig.fileAt(65536 + PAGE)]).toEqual([1, 5]);
  });

  test("is believed when it says so again and again: it writes its header once more", () => {
    const rig = new Rig().upTo(65536);
    for (let i = 0; i < 3; i++) rig.stand(0);
    rig.pieces(6);
    expect(rig.fileAt(0)).toBe(6);
    rig.say(LKCD_REPLY.END_NETDUMP, 0);
    expect(rig.server.ended).toMatchObject([{ outcome: "complete" }]);
  });
});

test("a page that was skipped altogether is missed", () => {
  const rig = new Rig().upTo(65536);
  rig.stand(65536 + 2 * PAGE);
  rig.pieces(4);
  rig.say(LKCD_REPLY.END_NETDUMP, 0);
  expect(rig.server.ended).toMatchObject([{ outcome: "pages lost", pagesLost: 1 }]);
});

test("a client that falls silent is given up, and one that says good-bye in the middle of a page broke off", () => {
  const silent = new Rig().begin();
  silent.later(31_000);
  expect(silent.server.ended).toMatchObject([{ outcome: "silent" }]);
  expect(silent.server.busy).toBe(false);
  const rude = new Rig().begin();
  rude.say(LKCD_REPLY.END_NETDUMP, 0);
  expect(rude.server.ended).toMatchObject([{ outcome: "broken off" }]);
});
