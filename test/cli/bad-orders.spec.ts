// Goal: a wrong scenario, option or output gets a message that names what and where, exit code 2, and nothing is written or lost.
// Method: one mistake at a time on the real command line; the folder must be the same before and after.
import { spawnSync } from "node:child_process";
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { dumplab, Folder } from "./dumplab.ts";

const folder = new Folder();
afterAll(() => folder.remove());

/** Runs a command that must refuse before it has printed anything; returns the message. */
async function refusal(...args: string[]): Promise<string> {
  const before = folder.listing();
  const { code, out, err } = await dumplab(...args);
  expect({ code, out }).toEqual({ code: 2, out: "" });
  expect(folder.listing()).toEqual(before);
  return err;
}

describe("dumplab trial refuses", () => {
  test("--adapter with a name that there is not, and lists those that there are", async () => {
    expect(await refusal("trial", "learn", "--adapter", "aic7xxx")).toMatch(
      /^dumplab: --adapter: expected one of mptspi, mptsas.*; got "aic7xxx"/,
    );
  });

  test.each([
    ["cpu=2", 'cpu: unknown key; did you mean "cpus"?'],
    ["crash.at.tiem=5ms", 'crash.at.tiem: unknown key; did you mean "time"?'],
    ["adapters.0.disks.1.imgae=x", 'adapters[0].disks[1].imgae: unknown key; did you mean "image"?'],
    ["cpus=two", 'cpus: expected an integer; got "two"'],
    ["cpus=65", "cpus: expected a whole number from 1 to 64; got 65"],
    ["adapters=3", "adapters: expected a list; got 3"],
    ["memory=much", 'memory: expected a map; got "much"'],
    ["memory.size=1e99", 'memory.size: expected a size like "8GiB"'],
    ["memory.size=12", "memory.size: expected 16MiB to 64GiB of RAM; got 12 bytes"],
    ["memory.size=64 MB of RAM", 'memory.size: expected a size like "8GiB"'],
    ["crash.at.random.from=5", 'crash.at.random.from: expected a time like "250ms"'],
    ["crash.at.random.from=60ms", "crash.at.random: expected from to be earlier than to"],
    ["crash.trigger=panick", 'got "panick"; did you mean "panic"?'],
    ["crash.cpu=2", "crash.cpu: expected 0 to 1, the CPUs of this machine; got 2"],
    ["dump.dumper=lkcdd", 'did you mean "lkcd"?'],
    ["dump.devices=[/dev/sdz1]", "dump.devices[0]: no such device: /dev/sdz1 (there are /dev/sda"],
    ["dump.devices=[/dev/sdb1, /dev/sdb1]", "dump.devices: /dev/sdb1 is there twice"],
    [
      "adapters.0.disks.1.partitions=[{startSector: 64, sectors: 160000}, {startSector: 160000, sectors: 100}]",
      "adapters[0].disks[1].partitions: /dev/sdb2 overlaps /dev/sdb1",
    ],
    [
      "adapters.0.disks.1.partitions=[{startSector: 64, sectors: 9000000}]",
      "adapters[0].disks[1].partitions: /dev/sdb1 ends at sector 9000064; the disk has 2097152",
    ],
    ["adapters.0.disks.1.image=/nowhere/image", "image: no such file: /nowhere/image"],
    ["memory.image=/nowhere/image", "image: no such file: /nowhere/image"],
    ["crash.at={access: {adapter: mptfusion9, count: 4}}", "crash.at.access.adapter: no such adapter: mptfusion9"],
    ["crash.at={time: 5ms, lock: {name: x}}", "crash.at: expected exactly one of time, random, function, access, lock"],
    ["cpus", "--set cpus: expected key=value"],
    ["adapters.7.model=sas1068", "--set adapters.7.model=sas1068: adapters.7: the list has 1 elements"],
    ["cpus=[", "--set cpus=[: the value is not YAML"],
  ])("--set %s", async (override, message) => {
    const err = await refusal("trial", "learn", "--set", override);
    expect(err).toContain(message);
    expect(err).toMatch(/^dumplab: (learn|--set)/);
  });

  test("--pcap for a machine that is on no network", async () => {
    expect(await refusal("trial", "learn", "--pcap", folder.at("never"))).toBe(
      "dumplab: --pcap: the machine is on no network; --dumper netdump puts it on one, and LKCD with dump.lkcd.method=network\n",
    );
  });

  test.each(["-1", "1.5", "x", "4294967296", "0x10"])("--seed %j", async (seed) => {
    expect(await refusal("trial", `--seed=${seed}`)).toBe(
      `dumplab: seed: expected a whole number from 0 to 4294967295; got ${seed}\n`,
    );
  });

  test.each([
    ["papr", /^dumplab: no such scenario: papr; did you mean "paper"\?\n$/],
    ["nonesuch", /^dumplab: no such scenario: nonesuch; there are bug, .*; a file needs its path\n$/],
    ["./nonesuch.yaml", /^dumplab: no such scenario file: \.\/nonesuch\.yaml\n$/],
  ])("scenario %s", async (name, message) => {
    expect(await refusal("trial", name)).toMatch(message);
  });

  test.each([
    [
      "crash.at={function: {name: scsi_dispatch_cdm}}",
      /^dumplab: crash.*there is no kernel function "scsi_dispatch_cdm"; did you mean "scsi_dispatch_cmd"\?\n$/,
    ],
    ["crash.at={lock: {name: host_lokc}}", /^dumplab: crash.*no lock named "host_lokc"; did you mean "host_lock"\?\n$/],
    [
      "crash={trigger: panic, holding: host_lokc}",
      /^dumplab: crash.*no lock named "host_lokc"; did you mean "host_lock"\?\n$/,
    ],
  ])("%s, when the kernel is up and knows its names", async (override, message) => {
    const before = folder.listing();
    const { code, err } = await dumplab("trial", "learn", "--set", override, "--vmcore", folder.at("never"));
    expect({ code, err }).toEqual({ code: 2, err: expect.stringMatching(message) });
    expect(folder.listing()).toEqual(before);
  });
});

describe("a scenario file", () => {
  test.each([
    ["with an unknown key", "cpus: 2\nloda: {}\n", /wrong\.yaml: loda: unknown key; did you mean "load"\?\n$/],
    ["with two mistakes", "cpus: many\nhz: 0\n", /wrong\.yaml has 2 mistakes:\n {2}cpus: .*\n {2}hz: .*\n$/],
    ["that is empty", "", /wrong\.yaml is not a scenario: expected a map of keys at the top\n$/],
    ["that is a list", "- cpus\n", /wrong\.yaml is not a scenario/],
    ["that is no YAML", "cpus: [1, 2\n", /wrong\.yaml is not YAML: .*line \d/],
    ["that extends itself", "extends: ./wrong.yaml\n", /wrong\.yaml: extends goes in a circle or too deep/],
    ["that extends nothing", "extends: larn\n", /no such scenario: larn; did you mean "learn"\?/],
    ["without an adapter", "cpus: 2\n", /adapters: missing; a machine needs at least one adapter/],
  ])("%s is refused", async (_, text, message) => {
    expect(await refusal("trial", folder.write("wrong.yaml", text))).toMatch(message);
  });

  test("that is binary is refused without its bytes steering the terminal", async () => {
    const path = folder.write("binary.yaml", Buffer.from("a: \x1b[31m\x07\xff\xfe\x00: [\x1b]0;title\x07", "latin1"));
    const err = await refusal("trial", path);
    expect(err).toContain("binary.yaml is not YAML");
    expect(err).not.toMatch(/[\x00-\x09\x0b-\x1f\x7f-\x9f]/);
  });

  test("that is a folder, or cannot be read, is refused with its name", async () => {
    mkdirSync(folder.at("folder.yaml"));
    expect(await refusal("trial", folder.at("folder.yaml"))).toMatch(/cannot read the scenario .*folder\.yaml: /);
    expect(await refusal("trial", `${folder.small}/below.yaml`)).toContain("no such scenario file: ");
    expect(await refusal("scenarios", folder.at("folder.yaml"))).toContain("cannot read the scenario");
  });
});

describe("an output", () => {
  beforeAll(() => {
    folder.write("precious", "data\n");
  });

  test.each(["--disk", "--vmcore", "--vmlinux", "--trace", "--capsule"])(
    "of trial %s is not written over a file, into no folder, or into a file as if it were one",
    async (option) => {
      const path = folder.at("precious");
      expect(await refusal("trial", option, path)).toBe(`dumplab: ${path} exists already; it is not overwritten\n`);
      expect(await refusal("trial", option, folder.path)).toContain("exists already");
      expect(await refusal("trial", option, folder.at("none/file"))).toContain(
        `none/file: there is no folder ${folder.at("none")}`,
      );
      expect(await refusal("trial", option, `${path}/file`)).toContain(`precious/file: ${path} is not a folder`);
      expect(readFileSync(path, "utf8")).toBe("data\n");
    },
  );

  test("is not asked for twice", async () => {
    const path = folder.at("twice");
    expect(await refusal("trial", "--disk", path, "--vmcore", path)).toBe(`dumplab: ${path}: is asked for twice\n`);
  });

  test("of format --create is not written over a file, and its size must be one", async () => {
    expect(await refusal("format", "--create", "1MiB", folder.at("precious"))).toContain("exists already");
    expect(await refusal("format", "--create", "1Mib", folder.at("new"))).toContain(
      '--create: expected a size like "8GiB"',
    );
    expect(await refusal("format", "--create", "8000TiB", folder.at("new"))).toMatch(
      /new.*: cannot be made \d+ bytes long/,
    );
  });

  test("of bench does not go into a file that is none of its own", async () => {
    const args = ["bench", "--scenario", "learn", "--trials", "1", "--out"];
    expect(await refusal(...args, folder.at("precious"))).toContain("precious:1: not a trial record");
    expect(await refusal(...args, folder.at("precious"), "--resume")).toContain("precious:1: not a trial record");
    expect(await refusal(...args, folder.at("none/file"))).toMatch(
      /cannot write results to .*none\/file: no such file/,
    );
    expect(readFileSync(folder.at("precious"), "utf8")).toBe("data\n");
    folder.write("one-line", "data");
    expect(await refusal(...args, folder.at("one-line"))).toContain("one-line: is not a file of results");
    expect(await refusal(...args, folder.at("one-line"), "--resume")).toContain("is not a file of results");
  });
});

describe("dumplab bench refuses, before any trial is run,", () => {
  const bench = (...args: string[]) => refusal("bench", "--scenario", "learn", "--trials", "1", ...args);

  test.each(["--csv", "--svg", "--html"])("%s onto what is there, into no folder, or twice", async (option) => {
    const path = folder.write(`kept${option}`, "data\n");
    expect(await bench(option, path)).toBe(`dumplab: ${path} exists already; it is not overwritten\n`);
    expect(await bench(option, folder.at("none/file"))).toContain(`there is no folder ${folder.at("none")}`);
    expect(await bench(option, `${path}/file`)).toContain(`${path} is not a folder`);
    const other = option === "--csv" ? "--svg" : "--csv";
    expect(await bench(option, folder.at("new"), other, folder.at("new"))).toContain("new: is asked for twice");
    expect(await bench(option, folder.at("new"), "--out", folder.at("new"))).toContain("new: is asked for twice");
    expect(readFileSync(path, "utf8")).toBe("data\n");
  });

  test.each([
    [["--curve", "--sweep", "cpus=1,2"], "--curve is a --sweep: give one of them"],
    [["--sweep", "cpus"], "--sweep: expected key=value,value,..."],
    [["--sweep", "cpus=1,,2"], "--sweep: expected key=value,value,..."],
    [["--sweep", "cpus=1,1"], "--sweep cpus: the value 1 is there twice"],
    [["--sweep", "cpus=1,many"], 'cpus: expected an integer; got "many"'],
    [["--sweep", "cpu=1,2"], 'cpu: unknown key; did you mean "cpus"?'],
    [["--dumper", "all", "--sweep", "cpus=1,65"], "cpus: expected a whole number from 1 to 64; got 65"],
    [["--dumper", "all", "--set", "cpu=2"], 'cpu: unknown key; did you mean "cpus"?'],
    [["--trials", "paper", "--seeds", "1..3"], "--seeds which: give one of them"],
    [
      ["--trials", "paper", "--dumper", "all"],
      "the white paper has no trials of netdump, only of diskdump, lkcd, lkcd-mod",
    ],
    [["--dumper", "diskdump,lkdc"], 'There is no dumper "lkdc". Allowed choices are diskdump, lkcd'],
    [["--dumper", "diskdump,diskdump"], "diskdump is there twice"],
    [["--dumper", "diskdump,all"], 'There is no dumper "all"'],
    [["--dumper", "kdump", "--set", "platform=ia64"], "kdump needs platform x86_64"],
  ])("%j", async (args, message) => {
    expect(await bench(...args)).toContain(message);
  });
});

/** Mounts a file system of 1 MiB; false when this user may not. */
function mountTiny(path: string): boolean {
  mkdirSync(path);
  return spawnSync("mount", ["-t", "tmpfs", "-o", "size=1m", "tmpfs", path], { stdio: "ignore" }).status === 0;
}
const tiny = folder.at("tiny");
const mounted = mountTiny(tiny);
afterAll(() => {
  if (mounted) spawnSync("umount", [tiny]);
});

describe.skipIf(!mounted)("a full file system (needs: root, to mount a tmpfs of 1 MiB)", () => {
  beforeAll(async () => {
    const { code } = await dumplab("trial", folder.small, "--disk", folder.at("disk"));
    expect(code).toBe(0);
    // 64 KiB are left.
    writeFileSync(`${tiny}/filler`, Buffer.alloc((1024 - 64) * 1024));
  });

  /** Runs a command that runs out of space; returns what it says. Nothing may stay behind. */
  async function failure(...args: string[]): Promise<string> {
    const before = folder.listing().filter((line) => !line.startsWith("tiny "));
    const { code, err } = await dumplab(...args);
    expect({ code, err }).toEqual({ code: 2, err: expect.stringMatching(/no space left on device|not enough space/) });
    expect(folder.listing().filter((line) => !line.startsWith("tiny "))).toEqual(before);
    return err;
  }

  test.each(["--disk", "--vmcore", "--vmlinux", "--trace"])(
    "trial %s leaves nothing under the name, and says which file it was",
    async (option) => {
      const err = await failure("trial", folder.small, option, `${tiny}/file`);
      expect(err).toBe(`dumplab: ${tiny}/file: cannot be written: no space left on device\n`);
    },
  );

  test("savecore keeps the dump on the partition, and can save it elsewhere afterwards", async () => {
    const args = ["savecore", folder.at("disk"), "--partition", "1", "--directory"];
    expect(await failure(...args, tiny)).toBe(
      `dumplab: not enough space in ${tiny}: nothing was saved, the dump stays on the partition\n`,
    );
    expect((await dumplab(...args, folder.at("elsewhere"), "--resign", "none")).code).toBe(0);
  });

  test("format --create leaves no image", async () => {
    expect(await failure("format", "--create", "4MiB", `${tiny}/image`)).toMatch(
      /tiny\/image.*: cannot be written at offset 0x\w+: no space left on device\n$/,
    );
  });

  test("trial --capsule leaves no capsule", async () => {
    writeFileSync(`${tiny}/rest`, Buffer.alloc(64 * 1024));
    expect(await failure("trial", folder.small, "--capsule", `${tiny}/capsule`)).toContain(
      `cannot write the capsule ${tiny}/capsule: no space left on device\n`,
    );
  });
});
