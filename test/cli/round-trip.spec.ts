// Goal: what a person does after a crash, from the trial's disk to the vmcore and back to a partition that can take the next
// dump. Method: the real commands on real files, compared byte for byte with what the trial wrote itself.
import { copyFileSync, readdirSync, readFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { TrialRecord } from "../../tools/trial/types.ts";
import { BLOCK, dumplab, Folder, PARTITION_AT, type Answer } from "./dumplab.ts";

const folder = new Folder();
afterAll(() => folder.remove());

let trial: Answer;
let record: TrialRecord;
beforeAll(async () => {
  const files = ["disk", "vmcore", "vmlinux", "trace", "capsule"].flatMap((kind) => [`--${kind}`, folder.at(kind)]);
  trial = await dumplab("trial", folder.small, "--seed", "5", "--json", "--digest", ...files);
  record = JSON.parse(trial.out) as TrialRecord;
});

/** A copy of the trial's disk, to be changed. */
function diskCopy(name: string): string {
  copyFileSync(folder.at("disk"), folder.at(name));
  return folder.at(name);
}

describe("a trial", () => {
  test("writes everything that it was asked for, and says so on stderr", () => {
    expect(trial.code).toBe(0);
    expect(record).toMatchObject({ outcome: "complete", seed: 5, scenario: "small" });
    expect(trial.err.trimEnd().split("\n").sort()).toEqual(
      ["disk", "trace", "vmcore", "vmlinux"].map((kind) => `dumplab: wrote ${folder.at(kind)}`),
    );
    expect(readdirSync(folder.path).sort()).toEqual(
      ["capsule", "disk", "small.yaml", "trace", "vmcore", "vmlinux"].sort(),
    );
  });

  test("leaves a dump that inspect finds whole, in partition 1 of a disk", async () => {
    const { code, out } = await dumplab("inspect", folder.at("disk"), "--partition", "1");
    expect(code).toBe(0);
    expect(out).toContain(`${folder.at("disk")} partition 1: a dump\n`);
    expect(out).toMatch(/status +0 \(complete\)\n/);
    expect(out).toMatch(new RegExp(`saved +${record.dumpedPages} of ${record.dumpedPages} pages\n`));
    expect(out).not.toMatch(/INCOMPLETE|PROBLEM/);
    const whole = await dumplab("inspect", folder.at("disk"));
    expect([whole.code, whole.out.split("\n", 1)[0]]).toEqual([0, `${folder.at("disk")}: a disk with 1 partition`]);
  });

  test("writes a vmcore that inspect finds sound", async () => {
    const { code, out } = await dumplab("inspect", folder.at("vmcore"));
    expect(code).toBe(0);
    expect(out).toContain("program headers    5 at offset 64\n");
    expect(out).toMatch(/registers +r15=0x/);
  });
});

describe("savecore from the trial's disk", () => {
  let saved: Answer;
  let image: string;
  beforeAll(async () => {
    image = diskCopy("saved.img");
    saved = await dumplab("savecore", image, "--partition", "1", "--directory", folder.at("crash"));
  });

  test("makes the same vmcore as the trial, byte for byte, and nothing else", () => {
    expect({ code: saved.code, err: saved.err }).toEqual({ code: 0, err: "" });
    const path = saved.out.trimEnd();
    expect(path).toBe(`${folder.at("crash")}/127.0.0.1-2004-12-01-00:00/vmcore`);
    expect(readFileSync(path).equals(readFileSync(folder.at("vmcore")))).toBe(true);
    expect(readdirSync(folder.at("crash"), { recursive: true })).toHaveLength(2);
  });

  test("signs the partition again, and leaves the rest of the disk alone", async () => {
    const { code, out } = await dumplab("inspect", image, "--partition", "1");
    expect(code).toBe(0);
    expect(out).toContain("partition 1: a formatted dump partition\n");
    expect(out).toMatch(/signatures +all right\n/);
    const [before, after] = [readFileSync(folder.at("disk")), readFileSync(image)];
    const end = PARTITION_AT + 70000 * 512;
    expect(after.length).toBe(before.length);
    expect(after.subarray(0, PARTITION_AT).equals(before.subarray(0, PARTITION_AT))).toBe(true);
    expect(after.subarray(end).equals(before.subarray(end))).toBe(true);
    expect(after.equals(before)).toBe(false);
  });

  test("finds no second dump there", async () => {
    expect(await dumplab("savecore", image, "--partition", "1", "--directory", folder.at("again"))).toEqual({
      code: 0,
      out: "",
      err: `dumplab: ${image}: no dump\n`,
    });
    expect(readdirSync(folder.path)).not.toContain("again");
  });
});

test("format signs the partition of a disk, over a dump only by force; inspect then finds every block right", async () => {
  const image = diskCopy("formatted.img");
  const refused = await dumplab("format", image, "--partition", "1");
  expect(refused).toEqual({ code: 2, out: "", err: expect.stringContaining("partition 1: holds a dump; save it") });
  expect(readFileSync(image).equals(readFileSync(folder.at("disk")))).toBe(true);
  const done = await dumplab("format", image, "--partition", "1", "--force");
  const blocks = Math.floor((70000 * 512) / BLOCK);
  expect(done).toMatchObject({ code: 0, err: expect.stringContaining(`signed ${blocks} of ${blocks} blocks`) });
  const { code, out } = await dumplab("inspect", image, "--partition", "1", "--json");
  expect(code).toBe(0);
  expect(JSON.parse(out)).toMatchObject({ sound: true, kind: "formatted", signed: "all", deviceBlocks: blocks });
});

describe("replay", () => {
  test("of the capsule reproduces the trial", async () => {
    expect(await dumplab("replay", folder.at("capsule"))).toEqual({
      code: 0,
      out: `reproduced: seed 5 of small, complete, trace ${record.traceHash}\n`,
      err: "",
    });
  });

  test("of a line of NDJSON among others reproduces that trial", async () => {
    const other = await dumplab("trial", folder.small, "--seed", "6", "--json");
    const path = folder.write("results.ndjson", `${trial.out}${other.out}`);
    const { code, out } = await dumplab("replay", path, "--seed", "6");
    expect([code, out]).toEqual([0, expect.stringMatching(/^reproduced: seed 6 of small, complete, trace /)]);
    expect(out).not.toContain(record.traceHash);
    expect((await dumplab("replay", path, "--json")).out).toContain(`"traceHash":"${record.traceHash}"`);
  });

  test("of a record that this code does not reproduce says what differs, and exits with 1", async () => {
    const line = JSON.stringify({ ...record, traceHash: "0123456789abcdef", dumpedPages: 1 });
    const { code, out } = await dumplab("replay", line);
    expect(code).toBe(1);
    expect(out).toBe(
      `diverged: traceHash was 0123456789abcdef, is ${record.traceHash}; dumpedPages was 1, is ${record.dumpedPages}\n`,
    );
  });

  test("by the command that the trial printed gives the same trace", async () => {
    const [name, command, ...args] = record.command.split(" ");
    expect([name, command]).toEqual(["dumplab", "trial"]);
    const again = JSON.parse((await dumplab(command!, ...args, "--json")).out) as TrialRecord;
    expect(again.traceHash).toBe(record.traceHash);
  });
});
