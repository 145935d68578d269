// For tests: a dying kernel as the network sees it, answering as netpoll_netdump() of 2.6's netdump.c does. Keeps no state but
// whether it has started, and repeats nothing but its start.
import { PLATFORMS } from "../../userspace/platform.ts";
import { CHUNK_BYTES, COMM, REPLY, decodeRequest, encodeReply, startText } from "./protocol.ts";

export const PAGE_BYTES = 4096;

export class TestClient {
  readonly magic = 0x0123456789abcdefn;
  /** RAM from page frame 0 on; a page of `undefined` is no RAM. */
  readonly pages: readonly (Uint8Array | undefined)[];
  readonly registers: Uint8Array;
  started = false;
  rebooting = false;
  /** Every command that was heard after the start. */
  readonly heard: number[] = [];
  private readonly send: (reply: Uint8Array) => void;

  constructor(pages: readonly (Uint8Array | undefined)[], registers: Uint8Array, send: (reply: Uint8Array) => void) {
    this.pages = pages;
    this.registers = registers;
    this.send = send;
  }

  private reply(nr: number, code: number, info: number, payload: Uint8Array | string = ""): void {
    const bytes = typeof payload === "string" ? Buffer.from(payload, "latin1") : payload;
    this.send(encodeReply({ version: 4, nr, code, info, payload: bytes }));
  }

  /** What printk wrote, before the dump. */
  log(offset: number, text: string): void {
    this.reply(0, REPLY.LOG, offset, text);
  }

  /** netdump_startup_handshake(): once a second until the acknowledgement comes. */
  announce(): void {
    const text = startText({ task: 0x10000001000n, pageOffset: 0x10000000000n, magic: this.magic });
    this.reply(PLATFORMS.x86_64.elfMachine, REPLY.START_NETDUMP, 4, text);
  }

  hear(datagram: Uint8Array): void {
    const request = decodeRequest(datagram);
    if (!request || this.rebooting) return;
    const { nr, command, from } = request;
    if (!this.started) {
      if (command === COMM.START_NETDUMP_ACK) this.started = true;
      else this.announce();
      return;
    }
    this.heard.push(command);
    if (command === COMM.GET_PAGE_SIZE) this.reply(nr, REPLY.PAGE_SIZE, PAGE_BYTES, `PAGE_SIZE: ${PAGE_BYTES}\n`);
    else if (command === COMM.GET_NR_PAGES) this.sayPages(nr);
    else if (command === COMM.GET_REGS) this.reply(nr, REPLY.REGS, 0, this.registers);
    else if (command === COMM.SEND_MEM) this.sendMemory(nr, from);
    else if (command === COMM.REBOOT) this.rebooting = true;
    else this.reply(nr, REPLY.ERROR, command, `Got unknown command code ${command}!\n`);
  }

  private sayPages(nr: number): void {
    this.reply(nr, REPLY.NR_PAGES, this.pages.length, `Number of pages: ${this.pages.length}\n`);
  }

  private sendMemory(nr: number, pfn: number): void {
    const page = this.pages[pfn];
    if (pfn >= this.pages.length) this.reply(nr, REPLY.ERROR, 0, `page ${pfn.toString(16)} is bigger than max page\n`);
    else if (!page) {
      let next = pfn;
      while (next < this.pages.length && !this.pages[next]) next++;
      this.reply(nr, REPLY.RESERVED, next);
    } else {
      for (let at = 0; at < PAGE_BYTES; at += CHUNK_BYTES) {
        this.reply(nr, REPLY.MEM, at, page.subarray(at, at + CHUNK_BYTES));
      }
    }
  }
}
