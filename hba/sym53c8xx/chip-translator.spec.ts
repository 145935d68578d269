// Goal: SCRIPTS that have become functions do what they did before, at the same times, until they are changed.
// Method: the same work with and without the translation; programs that are hot when the host changes them.
import { afterEach, describe, expect, test, vi } from "vitest";
import { M } from "../../kernel-sim/abi/ram.ts";
import { onDisk, scatteredPages, transfer } from "../mptfusion/driver-testing.ts";
import { ScriptsTranslator } from "./chip-translator.ts";
import { makeRig } from "./driver-testing.ts";
import { SYM, SYM_RAM_BAR } from "./registers.ts";
import { SymSpecHost } from "./spec-host.ts";

const RAM = 0xfe010000;
const INT = 0x98080000;
const JUMP_IF_SFBR = 0x800c0000;
const JUMP_UNLESS_SFBR = 0x80040000;
const ADD_SCRATCHA = (value: number): number => (0x7e340000 | (value << 8)) >>> 0;
const ADDC_SCRATCHA1 = 0x7f350000;
const SCRATCHA_TO_SFBR = 0x72340000;
const SCRATCHA1_TO_SFBR = 0x72350000;

/** Counts in SCRATCHA until its second byte is 2, which makes it hot, then comes to INT 1. */
const COUNTER = [
  ...[ADD_SCRATCHA(1), 0, ADDC_SCRATCHA1, 0, SCRATCHA1_TO_SFBR, 0],
  ...[JUMP_UNLESS_SFBR | 2, RAM, INT, 1],
];

const put = (host: SymSpecHost, offset: number, ...words: number[]): void =>
  words.forEach((word, i) => host.chip.write(SYM_RAM_BAR, offset + 4 * i, 4, word));

function run(host: SymSpecHost): number {
  host.readb(SYM.DSTAT);
  host.writel(SYM.SCRATCHA, 0);
  host.writel(SYM.DSP, RAM);
  host.runToInterrupt();
  return host.readl(SYM.DSPS);
}

/** Counts the functions that are made. */
function watchTranslations(): { count: number } {
  const made = { count: 0 };
  const { warm } = ScriptsTranslator.prototype;
  vi.spyOn(ScriptsTranslator.prototype, "warm").mockImplementation(function (this: ScriptsTranslator, at, base) {
    warm.call(this, at, base);
    if (this.entries[at] !== 0) made.count++;
  });
  return made;
}
const withoutTranslation = (): unknown =>
  vi.spyOn(ScriptsTranslator.prototype, "warm").mockImplementation(() => undefined);

afterEach(() => {
  vi.restoreAllMocks();
});

describe("SCRIPTS that are hot", () => {
  test("leave the same registers, at the same time, as those that are not translated", () => {
    const seen = [true, false].map((translated) => {
      vi.restoreAllMocks();
      const made = translated ? watchTranslations() : (withoutTranslation(), { count: 0 });
      const host = new SymSpecHost();
      put(host, 0, ...COUNTER);
      const code = run(host);
      expect(made.count > 0).toBe(translated);
      const { now, fired, hash } = host.events;
      return {
        code,
        a: host.readl(SYM.SCRATCHA),
        dbc: host.readl(SYM.DBC),
        dsp: host.readl(SYM.DSP),
        now,
        fired,
        hash,
      };
    });
    expect(seen[0]).toEqual(seen[1]);
    expect(seen[0]).toMatchObject({ code: 1, a: 0x200 });
  });

  test("follow what the host writes over them, in the middle of a function as at its start", () => {
    const host = new SymSpecHost();
    put(host, 0, ...COUNTER);
    const made = watchTranslations();
    expect([run(host), host.readl(SYM.SCRATCHA)]).toEqual([1, 0x200]);
    put(host, 0, ADD_SCRATCHA(16));
    expect([run(host), host.readl(SYM.SCRATCHA)]).toEqual([1, 0x200]);
    put(host, 16, SCRATCHA_TO_SFBR);
    put(host, 24, JUMP_UNLESS_SFBR | 0x20, RAM);
    expect([run(host), host.readl(SYM.SCRATCHA)]).toEqual([1, 0x20]);
    put(host, 24, JUMP_IF_SFBR | 0x20, RAM, INT, 2);
    expect([run(host), host.readl(SYM.SCRATCHA)]).toEqual([2, 0x10]);
    expect(made.count).toBeGreaterThan(0);
  });
});

test.each(["53c895a", "53c875", "53c1010"] as const)(
  "a driver's work on a %s is the same run, event by event, with and without functions",
  (variant) => {
    const runs = [true, false].map((translated) => {
      vi.restoreAllMocks();
      const made = translated ? watchTranslations() : (withoutTranslation(), { count: 0 });
      const rig = makeRig({ variant });
      const pages = scatteredPages(rig.kernel, 5);
      pages.forEach((page, n) => M.u8.fill(n + 1, page, page + 4096));
      let good = true;
      rig.run(function* () {
        for (let i = 0; good && i < 400; i++) good = yield* transfer(rig.sds[i & 1]!, i % 3 !== 0, 64 * i, pages);
      });
      expect(made.count > 3).toBe(translated);
      return { good, hash: rig.kernel.machine.traceHash, disk: Buffer.from(onDisk(rig.disks[0]!, 64 * 398, 5 * 4096)) };
    });
    expect(runs[0]).toEqual(runs[1]);
    expect(runs[0]!.good).toBe(true);
  },
);
