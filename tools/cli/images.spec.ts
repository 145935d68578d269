import { copyFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CRASH_DIRECTORY, partitionBytes, putDump } from "../../diskdump/userspace/dump-fixture.ts";
import { FileStore } from "../../diskdump/userspace/file-store.ts";
import { X86_64 } from "../../kernel-sim/abi/types.ts";
import { fakeLab } from "../testing/fake-trial.ts";
import { main } from "./main.ts";

// How: the real command line on real files; the dumps on them are made without a kernel.
const folder = mkdtempSync(join(tmpdir(), "dumplab-images-"));
afterAll(() => rmSync(folder, { recursive: true }));
const at = (name: string) => join(folder, name);
const ram = [{ first: 0, count: 64 }];

async function dumplab(args: string) {
  let out = "";
  let err = "";
  const terminal = {
    out: { write: (text: string) => (out += text) },
    err: { write: (text: string) => (err += text) },
    interrupted: () => undefined,
  };
  const code = await main(args.split(" "), terminal, { runTrial: fakeLab(), workerFile: "" });
  return { code, out, err };
}

function dumpImage(name: string, stopAfterPages?: number): string {
  const store = FileStore.create(at(name), partitionBytes(X86_64, ram, 16));
  const fill = (pageFrame: number, page: Uint8Array) => void page.fill(pageFrame);
  putDump(store, { model: X86_64, ram, fill, ...(stopAfterPages === undefined ? {} : { stopAfterPages }) });
  store.close();
  return at(name);
}

function damaged(from: string, name: string, offset: number): string {
  copyFileSync(from, at(name));
  const bytes = readFileSync(at(name));
  bytes[offset]! ^= 1;
  writeFileSync(at(name), bytes);
  return at(name);
}

let whole: string;
beforeAll(() => {
  whole = dumpImage("whole.img");
});

describe("dumplab savecore", () => {
  test("makes a vmcore that inspect finds sound, prints its path, and signs the partition again", async () => {
    copyFileSync(whole, at("saved.img"));
    const saved = await dumplab(`savecore ${at("saved.img")} --directory ${at("crash")}`);
    const vmcore = join(at("crash"), CRASH_DIRECTORY, "vmcore");
    expect(saved).toEqual({ code: 0, out: `${vmcore}\n`, err: "" });
    expect((await dumplab(`inspect ${vmcore}`)).code).toBe(0);
    const after = await dumplab(`inspect ${at("saved.img")}`);
    expect(after.code).toBe(0);
    expect(after.out).toContain("a formatted dump partition");
    expect((await dumplab(`savecore ${at("saved.img")} --directory ${at("crash")}`)).err).toContain("no dump");
  });

  test("--resign none leaves the image byte for byte", async () => {
    copyFileSync(whole, at("kept.img"));
    const { code } = await dumplab(`savecore ${at("kept.img")} --resign none --directory ${at("kept")}`);
    expect(code).toBe(0);
    expect(readFileSync(at("kept.img")).equals(readFileSync(whole))).toBe(true);
  });

  test("an incomplete dump is saved under another name and exits with 1", async () => {
    const { code, out, err } = await dumplab(`savecore ${dumpImage("half.img", 20)} --directory ${at("half")}`);
    expect(code).toBe(1);
    expect(out).toMatch(/vmcore-incomplete\n$/);
    expect(err).toContain("incomplete: ");
  });

  test("a dump that was saved before is not saved again without -f, and nothing is lost", async () => {
    copyFileSync(whole, at("twice.img"));
    await dumplab(`savecore ${at("twice.img")} --resign none --directory ${at("twice")}`);
    const again = await dumplab(`savecore ${at("twice.img")} --directory ${at("twice")}`);
    expect(again).toMatchObject({ code: 2, out: "", err: expect.stringContaining("-f saves it again") });
    expect(readFileSync(at("twice.img")).equals(readFileSync(whole))).toBe(true);
  });

  test.each([
    ["a random file", () => Buffer.from("no dump here ".repeat(1000))],
    ["a truncated image", () => readFileSync(whole).subarray(0, 9000)],
    ["an empty file", () => Buffer.alloc(0)],
  ])("%s is refused with exit code 2, and nothing is made", async (title, contents) => {
    const name = at(title.replaceAll(" ", "-"));
    writeFileSync(name, contents());
    const { code, err } = await dumplab(`savecore ${name} --directory ${at("nothing")}`);
    expect(code).toBe(2);
    expect(err).toContain(name);
    expect(existsSync(at("nothing"))).toBe(false);
  });
});

describe("dumplab format", () => {
  test("makes and signs an image that inspect finds sound", async () => {
    const made = await dumplab(`format --create 1MiB ${at("fresh.img")}`);
    expect(made).toMatchObject({ code: 0, out: "", err: expect.stringContaining("signed 256 of 256 blocks") });
    expect((await dumplab(`inspect ${at("fresh.img")}`)).code).toBe(0);
  });

  test("one wrong signature word is found, named, and exits with 2", async () => {
    await dumplab(`format --create 1MiB ${at("signed.img")}`);
    const { code, out } = await dumplab(`inspect ${damaged(at("signed.img"), "wrong.img", 77 * 4096 + 40)}`);
    expect(code).toBe(2);
    expect(out).toContain("block 77 is not signed: word 10");
  });

  test("does not run over a dump, or over a file that is there", async () => {
    copyFileSync(whole, at("precious.img"));
    expect(await dumplab(`format ${at("precious.img")}`)).toMatchObject({
      code: 2,
      err: expect.stringContaining("holds a dump"),
    });
    expect((await dumplab(`format --create 1MiB ${at("precious.img")}`)).code).toBe(2);
    expect(readFileSync(at("precious.img")).equals(readFileSync(whole))).toBe(true);
    expect((await dumplab(`format --force ${at("precious.img")}`)).code).toBe(0);
  });

  test("does not run over the partition table of a disk", async () => {
    const disk = Buffer.alloc(1 << 20);
    disk.set([0, 0, 0, 0, 0x83, 0, 0, 0, 8, 0, 0, 0, 0, 4, 0, 0], 446); // partition 1: sectors 8 to 1031
    disk.set([0x55, 0xaa], 510);
    writeFileSync(at("disk.img"), disk);
    expect(await dumplab(`format ${at("disk.img")}`)).toMatchObject({
      code: 2,
      err: expect.stringContaining("is a disk with partitions: choose one with --partition (1)"),
    });
    expect((await dumplab(`format ${at("disk.img")} --partition 1`)).code).toBe(0);
    expect((await dumplab(`format ${at("disk.img")} --partition 2`)).code).toBe(2);
    expect(
      readFileSync(at("disk.img"))
        .subarray(0, 8 * 512)
        .equals(disk.subarray(0, 8 * 512)),
    ).toBe(true);
    expect((await dumplab(`inspect ${at("disk.img")}`)).out).toContain("a disk with 1 partition");
  });

  test.each(["--create 8Gib", "--block-size 1000", "--formula mine", "--block-size 6000 --create 1MiB"])(
    "format %s is refused",
    async (flags) => {
      const before = readdirSync(folder);
      expect((await dumplab(`format ${at("refused.img")} ${flags}`)).code).toBe(2);
      expect(readdirSync(folder)).toEqual(before);
    },
  );
});

describe("dumplab inspect", () => {
  test("shows a dump's header, and --json shows it as data", async () => {
    expect((await dumplab(`inspect ${whole}`)).out).toContain("total_ram_blocks   64");
    const { code, out } = await dumplab(`inspect ${whole} --json`);
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({ sound: true, kind: "dump", dump: { header: { totalRamBlocks: 64 } } });
  });

  test("a vmcore as JSON has its registers", async () => {
    copyFileSync(whole, at("json.img"));
    const { out } = await dumplab(`savecore ${at("json.img")} --directory ${at("json")}`);
    const report = JSON.parse((await dumplab(`inspect ${out.trim()} --json`)).out) as { core: { notes: object[] } };
    expect(JSON.stringify(report.core.notes)).toContain('"rip":"0x');
  });

  test("a file that cannot be read and one that is nothing exit with 2", async () => {
    writeFileSync(at("noise"), "noise");
    expect((await dumplab(`inspect ${at("noise")}`)).code).toBe(2);
    expect((await dumplab(`inspect ${at("missing")}`)).err).toContain("cannot be opened");
    expect((await dumplab(`inspect ${folder}`)).err).toContain("is not a regular file");
  });
});
