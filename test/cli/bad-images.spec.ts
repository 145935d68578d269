// Goal: an image that is not what it should be gets one clear message that names what and where, exit code 2, and is left alone
// with everything else in the folder. Method: a trial's disk, damaged in one way at a time.
import { mkdirSync, readFileSync, symlinkSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { BLOCK, dumplab, Folder, PARTITION_AT } from "./dumplab.ts";

const folder = new Folder();
afterAll(() => folder.remove());

let disk: Buffer;
beforeAll(async () => {
  const { code } = await dumplab("trial", folder.small, "--disk", folder.at("disk"), "--vmcore", folder.at("vmcore"));
  expect(code).toBe(0);
  disk = readFileSync(folder.at("disk"));
  mkdirSync(folder.at("directory"));
  folder.write("empty", "");
  folder.write("text", "no dump here ".repeat(5000));
  folder.write("part-of-vmcore", readFileSync(folder.at("vmcore")).subarray(0, 1_000_000));
  symlinkSync("loop", folder.at("loop"));
});

/** Runs a command that must refuse: the message, after a check that nothing has changed and that it is one line. */
async function refusal(...args: string[]): Promise<string> {
  const before = folder.listing();
  const { code, out, err } = await dumplab(...args);
  expect({ code, out, err }).toEqual({ code: 2, out: "", err: expect.stringMatching(/^dumplab: .+\n$/) });
  expect(folder.listing()).toEqual(before);
  return err;
}

/** inspect reports what it finds on stdout and says on stderr that there is something wrong. */
async function finding(...args: string[]): Promise<string> {
  const before = folder.listing();
  const { code, out, err } = await dumplab("inspect", ...args);
  expect({ code, err }).toEqual({ code: 2, err: `dumplab: ${args[0]}: something is wrong with it, see above\n` });
  expect(folder.listing()).toEqual(before);
  return out;
}

const savecore = (image: string): string[] => ["savecore", image, "--partition", "1", "--directory", folder.at("out")];

describe("the disk of a trial, truncated", () => {
  const cut = (bytes: number): string => folder.write("cut.img", disk.subarray(0, bytes));

  test.each([
    ["in the partition table", 300],
    ["before the partition", PARTITION_AT - 512],
    ["in the signature of its first block", PARTITION_AT + 2000],
    ["right before the dump's header", PARTITION_AT + BLOCK],
    ["in the dump's header", PARTITION_AT + BLOCK + 100],
  ])("%s: inspect and savecore refuse it, and format does not sign what is left", async (_, bytes) => {
    const image = cut(bytes);
    expect(await finding(image)).toMatch(
      /TRUNCATED +the image ends \d+ bytes before the partition does|not recognised/,
    );
    expect(await refusal(...savecore(image))).toMatch(
      /cut\.img( partition 1)?: (has no partition table|partition 1 begins at sector 64, beyond|holds no dump|is truncated|damaged dump)/,
    );
    expect(await refusal("format", image, "--partition", "1")).toMatch(
      /no partition table|beyond the image's end|trunc/,
    );
  });

  test("in the bitmap: both name the place", async () => {
    const image = cut(PARTITION_AT + 3 * BLOCK + 5);
    const words = "ends at offset 0x3005, within the headers and bitmap; memory begins at 0x4000";
    expect(await finding(image)).toContain(words);
    expect(await refusal(...savecore(image))).toBe(`dumplab: ${image} partition 1: ${words}\n`);
    expect(await refusal("format", image, "--partition", "1")).toContain("holds a dump; save it");
  });

  test("in memory: inspect says how much there is, savecore saves that much under another name and keeps the image", async () => {
    const image = cut(PARTITION_AT + 1000 * BLOCK);
    expect(await finding(image)).toContain("the image ends at offset 0x3e8000 and holds 996 of 8096 pages");
    const before = readFileSync(image);
    const { code, out, err } = await dumplab(...savecore(image));
    expect(code).toBe(1);
    expect(out).toMatch(/\/vmcore-incomplete\n$/);
    expect(err).toContain("incomplete: the image ends at offset 0x3e8000 and holds 996 of 8096 pages\n");
    expect(readFileSync(image).equals(before)).toBe(true);
    expect(await finding(out.trimEnd())).toMatch(/PROBLEM +at offset 0x\w+: segment \d lacks its last \d+ bytes/);
  });

  test("behind the dump: it is whole and can be saved, and inspect says what is missing", async () => {
    const image = cut(PARTITION_AT + 8500 * BLOCK);
    expect(await finding(image, "--partition", "1")).toMatch(
      /saved +8096 of 8096 pages\n +TRUNCATED +the image ends \d+ bytes before/,
    );
  });
});

describe("what is no image at all", () => {
  test.each([
    [
      "text",
      /^not recognised\n +reason +no ELF, DISKDUMP, KDUMP or LKCD core, no dump header, no signature in block 0, no partition table/,
    ],
    ["empty", /^not recognised\n/],
    [
      "part-of-vmcore",
      /PROBLEM +at offset 0x\w+: segment \d ends at offset 0x\w+, the file at 0xf4240: it is truncated/,
    ],
  ])("inspect %s says so", async (name, words) => {
    expect((await finding(folder.at(name))).replace(`${folder.at(name)}: `, "")).toMatch(words);
  });

  test.each([
    ["text", 'text: holds no dump: "DISKDUMP" expected at offset 0x1000'],
    ["empty", 'empty: holds no dump: "DISKDUMP" expected at offset 0x1000'],
    ["vmcore", 'vmcore: holds an ELF core, as kdump and mkdump leave it; "dumplab export'],
    ["directory", "directory: "],
    ["loop", "loop: cannot be opened: too many symbolic links"],
    ["missing", "missing: cannot be opened: no such file or directory"],
    ["text/below", "below: cannot be opened: not a directory"],
  ])("savecore refuses %s", async (name, words) => {
    expect(await refusal("savecore", folder.at(name), "--directory", folder.at("out"))).toContain(words);
  });

  test.each([
    ["directory", "directory: is not a regular file"],
    ["missing", "missing: cannot be opened: no such file or directory"],
    ["loop", "loop: cannot be opened: too many symbolic links"],
  ])("inspect refuses %s", async (name, words) => {
    expect(await refusal("inspect", folder.at(name))).toContain(words);
  });

  test("format does not run over a vmcore, or over a disk's partition table", async () => {
    expect(await refusal("format", folder.at("vmcore"))).toContain("vmcore: is an ELF file, perhaps a vmcore");
    expect(await refusal("format", folder.at("disk"))).toContain(
      "is a disk with partitions: choose one with --partition",
    );
  });

  test("a partition that is not there is named with those that are", async () => {
    for (const command of ["savecore", "format", "inspect"]) {
      expect(await refusal(command, folder.at("disk"), "--partition", "9")).toContain(
        "disk: has no partition 9; its partitions: 1",
      );
    }
  });

  test("savecore does not take a file for its directory, and leaves nothing beside it", async () => {
    expect(await refusal("savecore", folder.at("disk"), "--partition", "1", "--directory", folder.at("text"))).toMatch(
      /text\/127\.0\.0\.1-.*: cannot be written: not a directory/,
    );
  });
});

describe("a formatted partition with one wrong signature word", () => {
  const WRONG_BLOCK = 1025;
  const WRONG_WORD = 10;
  let image: string;
  beforeAll(async () => {
    const made = await dumplab("format", "--create", "40MiB", folder.at("wrong.img"));
    expect(made.code).toBe(0);
    const bytes = readFileSync(folder.at("wrong.img"));
    bytes[WRONG_BLOCK * BLOCK + WRONG_WORD * 4]! ^= 1;
    image = folder.write("wrong.img", bytes);
  });

  test("inspect names the block and the word", async () => {
    expect(await finding(image)).toMatch(
      /signatures +WRONG: block 1025 is not signed: word 10 at offset 0x401028 is 0x\w+, expected 0x\w+/,
    );
  });

  /** The image as all of /dev/sdb: a machine does not format what it is given. */
  const onDisk = (): string[] => [
    ...["trial", folder.small, "--set", "adapters.0.disks.1.partitions=[]", "--set", "dump.devices=[/dev/sdb]"],
    ...["--set", `adapters.0.disks.1.image=${image}`],
  ];

  test("a trial that is to dump there is refused: bad signature, exit code 1, nothing written", async () => {
    const before = folder.listing();
    const { code, out } = await dumplab(...onDisk());
    expect(code).toBe(1);
    expect(out).toContain(`disk_dump: bad signature in block ${WRONG_BLOCK}\n`);
    expect(out).toMatch(/^outcome +refused\ncause +\/dev\/sdb: bad signature/m);
    expect(out).toMatch(/^saved +0 pages$/m);
    expect(folder.listing()).toEqual(before);
  });

  test("a disk with that partition is not signed again behind one's back", async () => {
    const bytes = Buffer.from(disk);
    const formatted = folder.write("partition.img", bytes);
    expect((await dumplab("format", formatted, "--partition", "1", "--force")).code).toBe(0);
    const [scenario, override] = [folder.small, `adapters.0.disks.1.image=${formatted}`];
    expect((await dumplab("trial", scenario, "--set", override, "--json")).code).toBe(0);
    const signed = readFileSync(formatted);
    signed[PARTITION_AT + WRONG_BLOCK * BLOCK + WRONG_WORD * 4]! ^= 1;
    folder.write("partition.img", signed);
    const { code, out } = await dumplab("trial", scenario, "--set", override);
    expect(code).toBe(1);
    expect(out).toMatch(/^cause +\/dev\/sdb1: bad signature/m);
  });

  test("an image whose partitions are not the scenario's, that is too long, or no file, is refused", async () => {
    const trial = (...overrides: string[]): Promise<string> =>
      refusal("trial", folder.small, "--json", ...overrides.flatMap((override) => ["--set", override]));
    const image = `adapters.0.disks.1.image=${folder.at("disk")}`;
    expect(await trial(image, "adapters.0.disks.1.partitions=[{startSector: 128, sectors: 70000}]")).toContain(
      "/dev/sdb1 is at sector 64 with 70000 sectors; the scenario has it at 128 with 70000",
    );
    expect(await trial(image, "adapters.0.disks.1.size=36MiB")).toMatch(/disk has \d+ bytes, the disk only 37748736/);
    expect(await trial(`adapters.0.disks.1.image=${folder.at("directory")}`)).toMatch(/directory cannot be read: /);
  });

  test("the same trial with every word right is complete, and the image is not written to", async () => {
    const bytes = readFileSync(image);
    bytes[WRONG_BLOCK * BLOCK + WRONG_WORD * 4]! ^= 1;
    folder.write("wrong.img", bytes);
    const { code, out } = await dumplab(...onDisk(), "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out) as TrialRecord).toMatchObject({ outcome: "complete", cause: null });
    expect(readFileSync(image).equals(bytes)).toBe(true);
  });
});
