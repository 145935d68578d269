// One client's dump as LKCD's server sees it. The original server is not known: what it asks, in which order and how often again, is ours;
// what the client makes of it is not.
//
// The client knows one page at a time. Neither what it sends nor an acknowledgement says which, so that one that comes too late, or twice,
// is taken for the next page's. So the server never acknowledges before it has the whole page, and when nothing has come for a while it
// asks where the client stands (HELLO) before it says anything again.
import type { HostFile } from "../../userspace/host-files.ts";
import { errorCode, systemReason } from "../../userspace/errors.ts";
import { CHUNK_BYTES, type NetdumpReply } from "../netdump/protocol.ts";
import { LKCD_COMM, LKCD_REPLY } from "../lkcd/net/protocol.ts";

/**
 * How a dump ended at the server. "pages lost": the client went on from a page before the server had it. "broken off": the client said
 * good-bye in the middle of a page.
 */
export type LkcdOutcomeAtServer = "complete" | "pages lost" | "broken off" | "silent" | "not written";

export interface LkcdSessionTimes {
  /** An answer that takes longer is taken for lost. */
  readonly retryNs: number;
  /** A client that says nothing for so long is taken for dead. */
  readonly silentNs: number;
}

export interface LkcdSessionHooks {
  send(magic: bigint, nr: number, command: number): void;
  ended(outcome: LkcdOutcomeAtServer, detail: string): void;
}

type Phase = "hello" | "magic" | "page size" | "page" | "acknowledged";

/**
 * Offsets of pages that have come. Where a client says that it stands at one of them, either its word was on the way for long, or it
 * writes there again (the header). In the second case it says so again and again.
 */
const REMEMBERED = 16;
const BELIEVED_AT = 3;
/** Marks the number of a HELLO that is asked in between. */
const WHERE = 0x80000000;
/** DUMP_BUFFER_SIZE: pages of memory follow one another from here on. */
const FIRST_DATA_AT = 65536;

export class LkcdSession {
  outcome: LkcdOutcomeAtServer | undefined;
  pagesReceived = 0;
  pagesLost = 0;
  requestsRepeated = 0;
  private phase: Phase = "hello";
  private magic = 0n;
  private offset = 0;
  /** Where the client has gone on to while pieces of this page may still be on the way. */
  private goneTo: number | undefined;
  /** The last page of memory. */
  private highest = 0;
  private page = new Uint8Array();
  private readonly have = new Set<number>();
  private readonly recent: number[] = [];
  /** How often it has said since the last request that it stands where it has been. */
  private again = 0;
  private nr = 0;
  private command: number = LKCD_COMM.HELLO;
  private sentAt = 0;
  private heardAt: number;
  private readonly file: HostFile;
  private readonly times: LkcdSessionTimes;
  private readonly hooks: LkcdSessionHooks;

  /** Answers a client's START_NETDUMP. */
  constructor(file: HostFile, times: LkcdSessionTimes, hooks: LkcdSessionHooks, now: number) {
    this.file = file;
    this.times = times;
    this.hooks = hooks;
    this.heardAt = now;
    this.ask("hello", LKCD_COMM.HELLO, now);
  }

  private ask(phase: Phase, command: number, now: number): void {
    this.phase = phase;
    this.command = command;
    this.again = 0;
    this.nr++;
    this.repeat(now);
  }

  private repeat(now: number): void {
    this.sentAt = now;
    this.hooks.send(this.magic, this.nr, this.command);
  }

  private askPage(offset: number, now: number): void {
    if (this.hasSkipped(offset)) this.pagesLost++;
    this.offset = offset;
    this.goneTo = undefined;
    this.have.clear();
    this.ask("page", LKCD_COMM.SEND_MEM, now);
  }

  hear(reply: NetdumpReply, now: number): void {
    this.heardAt = now;
    if (this.outcome !== undefined) return;
    const { code, nr, info, payload } = reply;
    if (code === LKCD_REPLY.END_NETDUMP) {
      if (this.phase !== "acknowledged") this.end("broken off", `in the page at offset ${this.offset}`);
      else if (this.pagesLost > 0) this.end("pages lost", `${this.pagesLost} of them`);
      else this.end("complete", `${this.pagesReceived} pages`);
    } else if (code === LKCD_REPLY.START_NETDUMP) {
      // The client still calls: what it was asked has not got through.
      if (this.phase === "hello") this.repeat(now);
    } else if (code === LKCD_REPLY.START_WRITE_NETDUMP) this.hearPlace(info, now);
    else if (nr === this.nr) this.hearAnswer(code, info, payload, now);
    else if (nr === this.nr + WHERE && code === LKCD_REPLY.HELLO) {
      if (info === this.offset) this.repeat(now);
      else this.hearPlace(info, now);
    }
  }

  /** The client stands at a page and waits to be asked for it. */
  private hearPlace(offset: number, now: number): void {
    const { phase } = this;
    if (phase !== "page" && phase !== "acknowledged") return;
    if (phase === "page" && offset === this.offset) this.repeat(now);
    else if (this.recent.includes(offset) && ++this.again < BELIEVED_AT) {
      // To a client that waits there it is nothing, and it says its word again at once.
      if (phase === "acknowledged") this.repeat(now);
    } else if (phase === "page") this.goneTo = offset;
    else this.askPage(offset, now);
  }

  /** Between the last page that came and this one there must have been another. */
  private hasSkipped(offset: number): boolean {
    return this.highest >= FIRST_DATA_AT && offset > this.highest + this.page.length;
  }

  private hearAnswer(code: number, info: number, payload: Uint8Array, now: number): void {
    if (this.phase === "hello" && code === LKCD_REPLY.HELLO) {
      this.offset = info;
      this.ask("magic", LKCD_COMM.GET_MAGIC, now);
    } else if (this.phase === "magic" && code === LKCD_REPLY.MAGIC && payload.length >= 8) {
      this.magic = new DataView(payload.buffer, payload.byteOffset).getBigUint64(0);
      this.ask("page size", LKCD_COMM.GET_PAGE_SIZE, now);
    } else if (this.phase === "page size" && code === LKCD_REPLY.PAGE_SIZE) {
      if (info < CHUNK_BYTES || info > 65536 || info % CHUNK_BYTES !== 0) {
        this.end("not written", `a page size of ${info}`);
        return;
      }
      this.page = new Uint8Array(info);
      this.askPage(this.offset, now);
    } else if (this.phase === "page" && code === LKCD_REPLY.MEM) this.hearPiece(info, payload, now);
  }

  private hearPiece(at: number, payload: Uint8Array, now: number): void {
    const { page, have } = this;
    if (payload.length !== CHUNK_BYTES || at % CHUNK_BYTES !== 0 || at + CHUNK_BYTES > page.length) return;
    page.set(payload, at);
    have.add(at);
    this.sentAt = now;
    if (have.size * CHUNK_BYTES < page.length) return;
    try {
      this.file.write(this.offset, page);
    } catch (error) {
      if (errorCode(error) === undefined) throw error;
      this.end("not written", systemReason(error));
      return;
    }
    this.pagesReceived++;
    this.highest = Math.max(this.highest, this.offset);
    this.recent.push(this.offset);
    if (this.recent.length > REMEMBERED) this.recent.shift();
    if (this.goneTo !== undefined) this.askPage(this.goneTo, now);
    else this.ask("acknowledged", LKCD_COMM.START_WRITE_NETDUMP_ACK, now);
  }

  private end(outcome: LkcdOutcomeAtServer, detail: string): void {
    this.outcome = outcome;
    this.hooks.ended(outcome, detail);
  }

  /** Repeats what got lost, and gives up on a dead client. */
  tick(now: number): void {
    if (this.outcome !== undefined) return;
    const { retryNs, silentNs } = this.times;
    if (now - this.heardAt >= silentNs) this.end("silent", `after ${this.pagesReceived} pages`);
    else if (now - this.sentAt >= retryNs) {
      this.requestsRepeated++;
      if (this.goneTo !== undefined) {
        this.pagesLost++;
        this.highest = Math.max(this.highest, this.offset);
        this.askPage(this.goneTo, now);
      } else if (this.phase === "page" || this.phase === "acknowledged") {
        this.sentAt = now;
        this.hooks.send(this.magic, this.nr + WHERE, LKCD_COMM.HELLO);
      } else this.repeat(now);
    }
  }
}
