// Goal: SCRIPTS in on-chip RAM, which are decoded once, do what their words say at the time. Method: programs that are changed
// after they have run, and one program in both places.
import { describe, expect, test } from "vitest";
import { SYM, SYM_RAM_BAR } from "./registers.ts";
import { SymSpecHost } from "./spec-host.ts";

const RAM = 0xfe010000;
const HOST = 0x10000;
const LOAD_SCRATCHA = (value: number): number => (0x78340000 | (value << 8)) >>> 0;
const INT = 0x98080000;
const STORE_SCRATCHB = 0xe05c0004;

/** Runs from `address` and returns the code of the INT that it comes to. */
function run(host: SymSpecHost, address: number): number {
  host.readb(SYM.DSTAT);
  host.writel(SYM.DSP, address);
  host.runToInterrupt();
  return host.readl(SYM.DSPS);
}
const put = (host: SymSpecHost, offset: number, ...words: number[]): void =>
  words.forEach((word, i) => host.chip.write(SYM_RAM_BAR, offset + 4 * i, 4, word));

describe("decoded SCRIPTS", () => {
  test("follow a write of the host to either dword of an instruction that has run", () => {
    const host = new SymSpecHost();
    put(host, 0, LOAD_SCRATCHA(1), 0, INT, 5);
    expect([run(host, RAM), host.readb(SYM.SCRATCHA)]).toEqual([5, 1]);
    put(host, 12, 6);
    expect(run(host, RAM)).toBe(6);
    put(host, 0, LOAD_SCRATCHA(2));
    expect([run(host, RAM), host.readb(SYM.SCRATCHA)]).toEqual([6, 2]);
  });

  test("follow a program that writes its own next instruction", () => {
    const host = new SymSpecHost();
    put(host, 0, STORE_SCRATCHB, RAM + 8, LOAD_SCRATCHA(1), 0, INT, 7);
    host.writel(SYM.SCRATCHB, LOAD_SCRATCHA(3));
    expect([run(host, RAM), host.readb(SYM.SCRATCHA)]).toEqual([7, 3]);
    host.writel(SYM.SCRATCHB, LOAD_SCRATCHA(4));
    expect([run(host, RAM), host.readb(SYM.SCRATCHA)]).toEqual([7, 4]);
  });

  test("leave the same registers as from memory, where every instruction is interpreted", () => {
    const words = [
      ...[LOAD_SCRATCHA(0x81), 0, 0x7e350500, 0, 0x72340000, 0, 0x6a350000, 0, 0x60000400, 0],
      ...[0x79340000, 0, 0x7a351100, 0, 0x7c360f00, 0, 0x808c0081, 8, 0x7f340100, 0, INT, 9],
    ];
    const seen = [RAM, HOST].map((address) => {
      const host = new SymSpecHost();
      put(host, 0, ...words);
      words.forEach((word, i) => host.memory.write32(HOST + 4 * i, word));
      const code = run(host, address);
      return [code, host.readl(SYM.SCRATCHA), host.readb(SYM.SFBR), host.readl(SYM.DBC), host.readl(SYM.DSP) - address];
    });
    expect(seen[0]).toEqual(seen[1]);
    expect(seen[0]![0]).toBe(9);
  });
});
