// One client's dump as the server sees it: what has been asked, what came, and what is asked again because it got lost.
//
// The client keeps no state and repeats nothing but its start, so every repair is made here: a request that is not answered in
// time is sent again under its old number. How long the original server waited is not known; the times are ours.
import { DATA_MODELS, type DataModel } from "../../../kernel-sim/abi/types.ts";
import { PLATFORMS } from "../../userspace/platform.ts";
import { type NetdumpCore } from "./core.ts";
import {
  CHUNK_BYTES,
  COMM,
  NETDUMP_VERSION,
  REPLY,
  parseStartText,
  type NetdumpReply,
  type StartText,
} from "./protocol.ts";

/** How a dump ended at the server. */
export type SessionOutcome = "complete" | "silent" | "not written" | "bad client";

export interface SessionTimes {
  /** An answer that takes longer is taken for lost. */
  readonly retryNs: number;
  /** A client that says nothing for so long is taken for dead. */
  readonly silentNs: number;
  /** Pages asked for at a time. */
  readonly windowPages: number;
}

export const DEFAULT_TIMES: SessionTimes = { retryNs: 50e6, silentNs: 30e9, windowPages: 4 };
/** A client does not answer REBOOT: it is told this often. */
const REBOOT_TELLINGS = 5;

interface Pending {
  readonly nr: number;
  readonly command: number;
  readonly from: number;
  sentAt: number;
}

interface PendingPage extends Pending {
  readonly bytes: Uint8Array;
  /** Pieces that have come. */
  readonly have: Set<number>;
}

export interface SessionHooks {
  send(nr: number, command: number, from: number): void;
  /** Called once, when the dump is over either way; the client is still to be told to reboot. */
  ended(outcome: SessionOutcome, detail: string): void;
}

/** The C model of an ELF machine number. */
function modelOf(machine: number): DataModel | undefined {
  const found = Object.entries(PLATFORMS).find(([, { elfMachine }]) => elfMachine === machine);
  return found && DATA_MODELS[found[0] as DataModel["name"]];
}

export class NetdumpSession {
  readonly start: StartText;
  readonly model: DataModel;
  /** When the last answer came. */
  heardAt: number;
  outcome: SessionOutcome | undefined;
  pagesSaved = 0;
  requestsRepeated = 0;
  private readonly times: SessionTimes;
  private readonly hooks: SessionHooks;
  private readonly pending = new Map<number, Pending>();
  private readonly pages = new Map<number, PendingPage>();
  private readonly core: NetdumpCore;
  private nextNr = 1;
  private pageSize = 0;
  private pageCount = 0;
  private nextPfn = 0;
  private tellings = 0;
  private toldAt = 0;

  private constructor(
    start: StartText,
    model: DataModel,
    core: NetdumpCore,
    times: SessionTimes,
    hooks: SessionHooks,
    now: number,
  ) {
    this.start = start;
    this.model = model;
    this.core = core;
    this.times = times;
    this.hooks = hooks;
    this.heardAt = now;
  }

  /** What a client's START_NETDUMP says; a string names what is wrong with it. */
  static understand(reply: NetdumpReply): { readonly start: StartText; readonly model: DataModel } | string {
    const start = parseStartText(new TextDecoder("latin1").decode(reply.payload));
    if (!start) return "its start does not say task_struct, page_offset and netdump_magic";
    const model = modelOf(reply.nr);
    if (!model) return `machine type ${reply.nr} is not known`;
    return { start, model };
  }

  static begin(
    known: { readonly start: StartText; readonly model: DataModel },
    core: NetdumpCore,
    times: SessionTimes,
    hooks: SessionHooks,
    now: number,
  ): NetdumpSession {
    const session = new NetdumpSession(known.start, known.model, core, times, hooks, now);
    session.acknowledge();
    session.ask(COMM.GET_PAGE_SIZE, 0, now);
    return session;
  }

  /** Sent again for every START_NETDUMP that comes: the client repeats it until one gets through. */
  acknowledge(): void {
    this.hooks.send(0, COMM.START_NETDUMP_ACK, NETDUMP_VERSION);
  }

  private ask(command: number, from: number, now: number): void {
    const request = { nr: this.nextNr++, command, from, sentAt: now };
    this.pending.set(request.nr, request);
    this.hooks.send(request.nr, command, from);
  }

  private askPage(now: number): void {
    const nr = this.nextNr++;
    const from = this.nextPfn++;
    const page = {
      ...{ nr, command: COMM.SEND_MEM, from, sentAt: now },
      ...{ bytes: new Uint8Array(this.pageSize), have: new Set<number>() },
    };
    this.pages.set(nr, page);
    this.hooks.send(nr, COMM.SEND_MEM, from);
  }

  /** An answer of the client; START_NETDUMP is the server's business. */
  hear(reply: NetdumpReply, now: number): void {
    this.heardAt = now;
    if (this.outcome !== undefined) return;
    const page = this.pages.get(reply.nr);
    if (page) this.hearPage(page, reply, now);
    else {
      const asked = this.pending.get(reply.nr);
      if (asked) this.hearFact(asked, reply, now);
    }
  }

  private hearFact(asked: Pending, reply: NetdumpReply, now: number): void {
    const { info } = reply;
    if (asked.command === COMM.GET_PAGE_SIZE && reply.code === REPLY.PAGE_SIZE) {
      if (info < CHUNK_BYTES || info > 65536 || !Number.isInteger(Math.log2(info))) {
        this.end("bad client", `a page size of ${info}`);
        return;
      }
      this.pageSize = info;
      this.pending.delete(asked.nr);
      this.ask(COMM.GET_NR_PAGES, 0, now);
    } else if (asked.command === COMM.GET_NR_PAGES && reply.code === REPLY.NR_PAGES) {
      if (info === 0 || info > 2 ** 31) {
        this.end("bad client", `${info} pages`);
        return;
      }
      this.pageCount = info;
      this.pending.delete(asked.nr);
      this.ask(COMM.GET_REGS, 0, now);
    } else if (asked.command === COMM.GET_REGS && reply.code === REPLY.REGS) {
      this.pending.delete(asked.nr);
      const { start, pageSize, model } = this;
      this.core.begin({ model, pageSize, pageCount: this.pageCount, task: start.task, registers: reply.payload });
      this.fill(now);
    } else if (reply.code === REPLY.ERROR) {
      this.end("bad client", `it refuses command ${asked.command}: ${textOf(reply.payload)}`);
    }
  }

  private hearPage(page: PendingPage, reply: NetdumpReply, now: number): void {
    const { info, payload } = reply;
    if (reply.code === REPLY.MEM) {
      const fits = info % CHUNK_BYTES === 0 && info + CHUNK_BYTES <= page.bytes.length;
      if (!fits || payload.length !== CHUNK_BYTES || page.have.has(info)) return;
      page.bytes.set(payload, info);
      page.have.add(info);
      page.sentAt = now;
      if (page.have.size * CHUNK_BYTES < page.bytes.length) return;
      const problem = this.core.page(page.from, page.bytes);
      if (problem !== undefined) {
        this.end("not written", problem);
        return;
      }
      this.pagesSaved++;
    } else if (reply.code === REPLY.RESERVED) {
      // No RAM up to there; a client that knows of no more says nothing useful.
      this.nextPfn = Math.max(this.nextPfn, Math.min(info, this.pageCount));
    } else if (reply.code === REPLY.ERROR) {
      this.end("bad client", `it refuses page ${page.from}: ${textOf(payload)}`);
      return;
    } else return;
    this.pages.delete(page.nr);
    this.fill(now);
  }

  /** Keeps the window full; the dump is whole when nothing is left to ask for. */
  private fill(now: number): void {
    while (this.pages.size < this.times.windowPages && this.nextPfn < this.pageCount) this.askPage(now);
    if (this.pages.size > 0) return;
    const problem = this.core.finish();
    if (problem === undefined) this.end("complete", `${this.pagesSaved} pages`);
    else this.end("not written", problem);
  }

  private end(outcome: SessionOutcome, detail: string): void {
    this.outcome = outcome;
    this.pending.clear();
    this.pages.clear();
    if (outcome !== "complete") this.core.abandon();
    this.hooks.ended(outcome, detail);
  }

  /** Asks again for what is overdue, and gives up on a dead client. Returns false when nothing is left to do for it. */
  tick(now: number): boolean {
    const { retryNs, silentNs } = this.times;
    if (this.outcome === undefined && now - this.heardAt >= silentNs) {
      this.end("silent", `no answer for ${silentNs / 1e9} s, after ${this.pagesSaved} of ${this.pageCount} pages`);
    }
    if (this.outcome !== undefined) {
      if (this.tellings === REBOOT_TELLINGS) return false;
      if (this.tellings === 0 || now - this.toldAt >= retryNs) {
        this.tellings++;
        this.toldAt = now;
        this.hooks.send(this.nextNr++, COMM.REBOOT, 0);
      }
      return true;
    }
    for (const requests of [this.pending, this.pages]) {
      for (const request of requests.values()) {
        if (now - request.sentAt < retryNs) continue;
        request.sentAt = now;
        this.requestsRepeated++;
        this.hooks.send(request.nr, request.command, request.from);
      }
    }
    return true;
  }
}

/** A client's words, fit for a message. */
const textOf = (bytes: Uint8Array): string =>
  new TextDecoder("latin1")
    .decode(bytes.subarray(0, 80))
    .replace(/[^ -~]/g, " ")
    .trim();
