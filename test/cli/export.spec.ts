// Goal: export as a person meets it: from a trial's disk to each format and back, and refusals that change nothing. Method: the real
// commands on the files of one trial; memory is compared with the vmcore that the trial wrote itself.
import { readFileSync, truncateSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CORE_FORMATS } from "../../diskdump/cores/export-core.ts";
import { dumplab, Folder } from "./dumplab.ts";

const folder = new Folder();
afterAll(() => folder.remove());
beforeAll(async () => {
  const files = ["disk", "vmcore", "vmlinux"].flatMap((kind) => [`--${kind}`, folder.at(kind)]);
  const { code } = await dumplab("trial", folder.small, "--seed", "5", ...files);
  expect(code).toBe(0);
});

describe("export", () => {
  test.each(CORE_FORMATS)("writes %s from the disk, and the same vmcore from that again", async (format) => {
    const there = await dumplab(
      "export",
      folder.at("disk"),
      "--partition",
      "1",
      "--to",
      format,
      "-o",
      folder.at(format),
    );
    expect(there).toMatchObject({ code: 0, out: `${folder.at(format)}\n` });
    expect((await dumplab("inspect", folder.at(format))).code).toBe(0);
    const back = folder.at(`${format}.back`);
    const { code, err } = await dumplab("export", folder.at(format), "--to", "netdump", "-o", back);
    expect([code, err]).toEqual([0, ""]);
    const [ours, theirs] = [readFileSync(back), readFileSync(folder.at("vmcore"))];
    // Of registers and names a kdump core and LKCD's have place for less: the notes differ, memory does not.
    const from = format === "elf" || format.startsWith("lkcd") ? 4096 : 0;
    expect(ours.subarray(from).equals(theirs.subarray(from))).toBe(true);
  });

  test("with the kernel leaves out kinds of pages, and tells how many", async () => {
    const args = [
      "--to",
      "kdump",
      "--level",
      "31",
      "--vmlinux",
      folder.at("vmlinux"),
      "-o",
      folder.at("small"),
      "--json",
    ];
    const { code, out, err } = await dumplab("export", folder.at("vmcore"), ...args);
    expect(code).toBe(0);
    const { pages } = JSON.parse(out) as { pages: number };
    const [, left, all] = /level 31: (\d+) of (\d+) pages left out by kind/.exec(err)!.map(Number) as [
      number,
      number,
      number,
    ];
    expect(left).toBeGreaterThan(1000);
    expect(pages).toBe(all - left);
    expect((await dumplab("inspect", folder.at("small"))).out).toMatch(/dump level +31\n/);
  });

  test("refuses what cannot be, names it, and leaves no file", async () => {
    const before = folder.listing();
    const refusals: [RegExp, ...string[]][] = [
      [/required option '--to <format>' not specified/],
      [/Allowed choices are elf, netdump/, "--to", "core"],
      [/--compress gzip: pages of a kdump file are kept as zlib, none/, "--to", "kdump", "--compress", "gzip"],
      [/--level 2: .*--vmlinux/, "--to", "kdump", "--level", "2"],
      [/--level 32: expected 0 to 31/, "--to", "kdump", "--level", "32"],
      [/vmcore exists already/, "--to", "elf", "-o", folder.at("vmcore")],
      [/is a core, not a vmlinux/, "--to", "elf", "--vmlinux", folder.at("vmcore")],
      [/there is no folder/, "--to", "elf", "-o", folder.at("nowhere/core")],
    ];
    for (const [message, ...args] of refusals) {
      const { code, err } = await dumplab("export", folder.at("vmcore"), ...args);
      expect([args, code, err]).toEqual([args, 2, expect.stringMatching(message)]);
    }
    const disk = await dumplab("export", folder.at("disk"), "--to", "elf");
    expect([disk.code, disk.err]).toEqual([2, expect.stringMatching(/choose one with --partition/)]);
    expect(folder.listing()).toEqual(before);
  });

  test("of a damaged file stops at the page, names it, and leaves nothing half-written", async () => {
    const bytes = readFileSync(folder.at("kdump"));
    bytes.fill(0x55, bytes.length >> 1);
    const bad = folder.write("bad.kdump", bytes);
    const before = folder.listing();
    const { code, err } = await dumplab("export", bad, "--to", "elf", "-o", folder.at("bad.elf"));
    expect([code, err]).toEqual([2, expect.stringMatching(/bad\.kdump: page 0x[0-9a-f]+, descriptor at offset 0x/)]);
    expect(folder.listing()).toEqual(before);
  });

  test("of a truncated file writes what is there, says so, and exits with 1", async () => {
    const cut = folder.write("cut.kdump", readFileSync(folder.at("kdump")));
    truncateSync(cut, 1_000_000);
    const { code, err } = await dumplab("export", cut, "--to", "lkcd9", "-o", folder.at("cut.lkcd9"));
    expect([code, err]).toEqual([
      1,
      expect.stringMatching(/incomplete: the file ends at offset 0xf4240 and holds \d+ of \d+ pages/),
    ]);
    expect((await dumplab("inspect", folder.at("cut.lkcd9"))).out).toContain("INCOMPLETE");
  });
});

describe("savecore --format", () => {
  test("writes the vmcore as KDUMP, with slab pages uncompressed when -P asks for them", async () => {
    writeFileSync(folder.at("disk2"), readFileSync(folder.at("disk")));
    const sizes: number[] = [];
    for (const flags of [[], ["-P", "0x80"]]) {
      const { code, out } = await dumplab(
        ...[
          "savecore",
          folder.at("disk2"),
          "--partition",
          "1",
          "--resign",
          "none",
          "-f",
          "--directory",
          folder.at("crash"),
        ],
        ...["--format", "kdump", "--vmlinux", folder.at("vmlinux"), ...flags],
      );
      expect(code).toBe(0);
      sizes.push(readFileSync(out.trimEnd()).length);
    }
    expect(sizes[1]).toBeGreaterThan(sizes[0]! + 20_000);
  });
});
