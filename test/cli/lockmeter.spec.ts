// Goal: dumplab lockmeter prints what it measured, for people and for programs, and says what is wrong with its input.
import { describe, expect, test } from "vitest";
import { dumplab } from "./dumplab.ts";

const LEARN = ["lockmeter", "--scenario", "learn", "--set", "kernel=2.4.21", "--warm-up", "10ms", "--window", "50ms"];

describe("dumplab lockmeter", () => {
  test("prints the locks of the kernel's version beside what was measured on real machines", async () => {
    const { code, out, err } = await dumplab(...LEARN);
    expect({ code, err }).toEqual({ code: 0, err: "" });
    for (const name of ["io_request_lock", "__make_request", "global_bh_lock", "timerlist_lock", "tqueue_lock"])
      expect(out).toMatch(new RegExp(`%.* {2,}${name}$`, "m"));
    expect(out).toMatch(/^do_IRQ +\d.*% of all CPU time/m);
    expect(out).toContain("4 x Itanium 733, 8 GB, 2.4.8");
  });

  test("the same as JSON, the same each time, and no lock of 2.4 in a 2.6.9", async () => {
    const [first, second] = [await dumplab(...LEARN, "--json"), await dumplab(...LEARN, "--json")];
    expect(first.out).toBe(second.out);
    const { locks, windowNs } = JSON.parse(first.out) as { locks: { name: string }[]; windowNs: number };
    expect(windowNs).toBe(50e6);
    expect(locks.map(({ name }) => name)).toContain("io_request_lock");
    const other = await dumplab(...LEARN, "--set", "kernel=2.6.9", "--json");
    expect(other.out).toContain("scsi0.host_lock");
    expect(other.out).not.toContain("io_request_lock");
  });

  test.each([
    [["--window", "soon"], /--window <time>: expected a time of at least 1ms; got "soon"/],
    [["--warm-up", "1us"], /--warm-up <time>: expected a time of at least 1ms; got "1us"/],
    [["--scenario", "papr"], /no such scenario: papr; did you mean "paper"/],
    [["--scenario", "learn", "--set", "load.processes=0"], /the scenario has no load/],
  ] as const)("%j is refused", async (args, message) => {
    const { code, out, err } = await dumplab("lockmeter", ...args);
    expect({ code, out }).toEqual({ code: 2, out: "" });
    expect(err).toMatch(message);
  });
});
