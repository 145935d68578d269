// Goal: after an LKCD crash a person gets the dump off the swap partition. Method: the real commands on a trial's disk.
import { copyFileSync, existsSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { BLOCK, dumplab, Folder, PARTITION_AT } from "./dumplab.ts";

const folder = new Folder();
afterAll(() => folder.remove());
const copy = (name: string): string => {
  copyFileSync(folder.at("disk"), folder.at(name));
  return folder.at(name);
};

beforeAll(async () => {
  const sets = ["--set", "dump.dumper=lkcd", "--set", "dump.lkcd.compress=rle"];
  const { code, err } = await dumplab(
    "trial",
    folder.small,
    "--seed",
    "5",
    ...sets,
    "--disk",
    folder.at("disk"),
    "--vmcore",
    folder.at("vmcore"),
  );
  expect(code, err).toBe(0);
});

describe("savecore", () => {
  test("saves the file that the trial wrote, erases the dump's header and leaves the swap header", async () => {
    const disk = copy("saved.img");
    const { code, out, err } = await dumplab("savecore", disk, "--partition", "1", "--directory", folder.at("crash"));
    expect([code, err]).toEqual([0, ""]);
    const path = out.trim();
    expect(readFileSync(path).equals(readFileSync(folder.at("vmcore")))).toBe(true);
    const [before, after] = [readFileSync(folder.at("disk")), readFileSync(disk)];
    const header = PARTITION_AT + BLOCK;
    expect(after.subarray(0, header).equals(before.subarray(0, header))).toBe(true);
    expect(after.subarray(header, header + 8).every((byte) => byte === 0)).toBe(true);
    expect(after.subarray(PARTITION_AT + BLOCK - 10, PARTITION_AT + BLOCK).toString("latin1")).toBe("SWAPSPACE2");
    const again = await dumplab("savecore", disk, "--partition", "1", "--directory", folder.at("crash"));
    expect(again.code).toBe(2);
  });

  test("--resign none leaves the image byte for byte, and does not write over a core without --force", async () => {
    const disk = copy("kept.img");
    const orders = ["savecore", disk, "--partition", "1", "--resign", "none", "--directory", folder.at("kept")];
    const first = await dumplab(...orders);
    expect(first.code).toBe(0);
    expect(readFileSync(disk).equals(readFileSync(folder.at("disk")))).toBe(true);
    const second = await dumplab(...orders);
    expect([second.code, second.err]).toEqual([2, expect.stringContaining("vmcore exists; --force replaces it")]);
    expect((await dumplab(...orders, "--force")).code).toBe(0);
  });

  test("--discard erases the dump and saves nothing", async () => {
    const disk = copy("gone.img");
    expect(
      (await dumplab("savecore", disk, "--partition", "1", "--discard", "--directory", folder.at("none"))).code,
    ).toBe(0);
    expect(existsSync(folder.at("none"))).toBe(false);
    expect((await dumplab("export", disk, "--partition", "1", "--to", "elf")).code).toBe(2);
  });

  test("says what makes other formats of it", async () => {
    const { code, err } = await dumplab("savecore", copy("other.img"), "--partition", "1", "--format", "kdump");
    expect(code).toBe(2);
    expect(err).toContain('"dumplab export" makes other formats of it');
  });
});

test("export makes an ELF core of the dump on the partition, as of the file", async () => {
  const of = async (file: string, name: string, ...flags: string[]): Promise<Buffer> => {
    const { code, err } = await dumplab("export", file, ...flags, "--to", "elf", "-o", folder.at(name));
    expect([code, err]).toEqual([0, ""]);
    return readFileSync(folder.at(name));
  };
  const fromDisk = await of(folder.at("disk"), "from-disk", "--partition", "1");
  const fromFile = await of(folder.at("vmcore"), "from-file");
  expect(fromDisk.equals(fromFile)).toBe(true);
});
