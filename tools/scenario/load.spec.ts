import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Ajv } from "ajv";
import { afterAll, describe, expect, test } from "vitest";
import { replayCommand, scenarioHash } from "./identity.ts";
import { builtInScenarios, loadScenario } from "./load.ts";
import { DISK_FAULT_KINDS, DUMPERS, CRASH_TRIGGERS, PLATFORMS } from "./scenario.ts";
import { ADAPTERS, ADAPTER_CHOICES, ADAPTER_TYPES } from "../machine/adapters.ts";
import { KERNEL_VERSIONS } from "../../kernel-sim/core/flavour.ts";
import schema from "./schema.json" with { type: "json" };

const folder = mkdtempSync(join(tmpdir(), "dumplab-scenario-"));
afterAll(() => rmSync(folder, { recursive: true }));

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

/** The learning machine with some lines of YAML on top. */
function learnPlus(text: string) {
  return loadScenario(`extends: learn\n${text}\n`);
}

describe("the built-in scenarios", () => {
  test.each(builtInScenarios())("$name is valid and says what it is", ({ name, description }) => {
    const scenario = loadScenario(name);
    expect(scenario.name).toBe(name);
    expect(description.length).toBeGreaterThan(20);
    expect(scenario.dump.devices.length).toBeGreaterThan(0);
    expect(scenario.load.processes).toBeGreaterThan(0);
  });

  test("no two of them are the same machine", () => {
    const hashes = builtInScenarios().map(({ name }) => scenarioHash(loadScenario(name)));
    expect(new Set(hashes).size).toBe(hashes.length);
  });

  test("there is one for each way to bring a kernel down", () => {
    const triggers = builtInScenarios().map(({ name }) => loadScenario(name).crash.trigger);
    expect([...new Set(triggers)].sort()).toEqual([...CRASH_TRIGGERS].sort());
  });

  test("the paper's machine is the one of chapter 3.6", () => {
    const paper = loadScenario("paper");
    expect(paper.cpus).toBe(4);
    expect(paper.memory.sizeBytes).toBe(8 * 2 ** 30);
    expect(paper.crash).toMatchObject({ trigger: "os_init", at: { kind: "random", fromNs: 20e6, toNs: 120e6 } });
    const disks = paper.adapters.flatMap((adapter) => adapter.disks);
    expect(disks.map(({ device }) => device)).toEqual(["/dev/sda", "/dev/sdb", "/dev/sdc", "/dev/sdd", "/dev/sde"]);
    for (const { device } of disks) expect(paper.load.devices.some((name) => name.startsWith(device))).toBe(true);
    expect(paper.load.devices).not.toContain("/dev/sde1");
  });

  test("the example of chapter 5.2 has its 261898 pages and its partition", () => {
    const example = loadScenario("chapter-5");
    expect(example.memory.sizeBytes / 4096).toBe(261898);
    const last = example.memory.map!.filter(({ type }) => type === "ram").at(-1)!;
    expect(Math.ceil((last.startBytes + last.sizeBytes) / 4096 / 8 / 4096)).toBe(8); // bitmap blocks
    expect(example.adapters[0]!.disks[4]!.partitions[0]).toEqual({
      device: "/dev/sde1",
      number: 1,
      startSector: 514080,
      sectors: 1012095,
    });
  });
});

test("the schema itself is a valid JSON Schema, which no command takes the time to ask", () => {
  const ajv = new Ajv();
  ajv.validateSchema(schema);
  expect(ajv.errors).toBe(null);
  expect(ajv.validateSchema({ ...schema, properties: { cpus: { minimum: "one" } } })).toBe(false);
});

describe("what a file says", () => {
  test("sizes and times become bytes and nanoseconds", () => {
    const scenario = learnPlus(
      "memory: { size: 1.5GiB }\nload: { thinkTime: 2us, sizeMax: 512KiB }\ncrash: { at: { time: 4.7ms } }",
    );
    expect(scenario.memory.sizeBytes).toBe(1.5 * 2 ** 30);
    expect(scenario.load).toMatchObject({ thinkTimeNs: 2000, sizeMaxBytes: 524288 });
    expect(scenario.crash.at).toEqual({ kind: "time", timeNs: 4_700_000 });
  });

  test("a file may extend a built-in scenario or another file, and its own keys win", () => {
    file("base.yaml", "extends: paper\ncpus: 16\ncrash: { at: { function: { name: scsi_done, count: 3 } } }\n");
    const scenario = loadScenario(file("child.yaml", "extends: ./base.yaml\nmemory: { size: 1GiB }\n"));
    expect(scenario).toMatchObject({ name: "child", cpus: 16, memory: { sizeBytes: 2 ** 30, inUseFraction: 0.1 } });
    // crash.at is a choice: the base's "random" is gone, the trigger beside it is not.
    expect(scenario.crash).toMatchObject({ trigger: "os_init", at: { kind: "function", name: "scsi_done", count: 3 } });
  });

  test("JSON is as good as YAML", () => {
    const path = file("machine.json", JSON.stringify({ extends: "learn", cpus: 3 }));
    expect(loadScenario(path).cpus).toBe(3);
  });

  test("LKDTM's names stand for kernel functions and triggers", () => {
    const { crash } = loadScenario(
      "extends: learn\ncrash: { at: { function: { name: INT_TASKLET_ENTRY, type: EXCEPTION, count: 10 } } }\n",
      ["crash.trigger=oops"],
    );
    expect(crash).toMatchObject({ trigger: "oops", at: { kind: "function", name: "tasklet_action", count: 10 } });
  });

  test("--set changes one key, also inside lists, and lands in the replay command", () => {
    const scenario = loadScenario("learn", ["adapters.0.disks[1].writeCache=true", "crash.at.time=30ms"]);
    expect(scenario.adapters[0]!.disks.map(({ writeCache }) => writeCache)).toEqual([false, true]);
    expect(scenario.crash.at).toEqual({ kind: "time", timeNs: 30e6 });
    expect(replayCommand(scenario, 7)).toBe(
      "dumplab trial learn --seed 7 --set 'adapters.0.disks[1].writeCache=true' --set crash.at.time=30ms",
    );
  });

  test("--adapter puts one chip in the place of every adapter, and lands in the replay command", () => {
    const scenario = loadScenario("paper", [], undefined, "mptsas");
    for (const adapter of scenario.adapters) expect(adapter).toMatchObject({ type: "mptfusion", model: "sas1068" });
    expect(replayCommand(scenario, 7)).toBe(
      "dumplab trial paper --seed 7 --set adapters.0.type=mptfusion --set adapters.0.model=sas1068",
    );
    expect(scenarioHash(loadScenario("paper", scenario.source.overrides))).toBe(scenarioHash(scenario));
    expect(() => loadScenario("paper", [], undefined, "mptsaz")).toThrow(
      `--adapter: expected one of ${Object.keys(ADAPTER_CHOICES).join(", ")}; got "mptsaz"; did you mean "mptsas"?`,
    );
  });

  test("asking for the dumper that a scenario has anyway changes nothing", () => {
    expect(loadScenario("learn", [], "diskdump").source.overrides).toEqual([]);
  });

  test("two ways to write one machine have one hash; another machine has another", () => {
    const plain = loadScenario("learn");
    expect(scenarioHash(loadScenario("learn", ["memory.size=65536KiB", "name=mine"]))).toBe(scenarioHash(plain));
    expect(scenarioHash(loadScenario("learn", ["cpus=3"]))).not.toBe(scenarioHash(plain));
  });

  test("SCSI ids skip the adapter's own", () => {
    const disks = Array.from({ length: 9 }, () => "{ size: 1MiB }").join(", ");
    const scenario = learnPlus(
      `adapters: [{ disks: [${disks}] }]\ndump: { devices: [/dev/sda] }\nload: { processes: 0 }`,
    );
    expect(scenario.adapters[0]!.disks.map(({ id }) => id)).toEqual([0, 1, 2, 3, 4, 5, 6, 8, 9]);
  });
});

describe("a mistake is named with its place", () => {
  const mistakes: [string, string, string][] = [
    ["an unknown key", "crash: { at: { tiem: 5ms } }", 'crash.at.tiem: unknown key; did you mean "time"?'],
    [
      "an unknown key in a list",
      "adapters: [{ disks: [{ size: 1GiB, sise: 2 }] }]",
      "adapters[0].disks[0].sise: unknown key",
    ],
    ["an unknown key far from any", "banana: 1", "banana: unknown key"],
    ["__proto__", "__proto__: { cpus: 3 }", "__proto__: unknown key"],
    [
      "a wrong word",
      "crash: { trigger: panik }",
      'crash.trigger: expected one of os_init, nmi_switch, nmi_watchdog, panic, oops, bug, sysrq_c; got "panik"; did you mean "panic"?',
    ],
    [
      "a number without its unit",
      "crash: { at: { time: 250 } }",
      'crash.at.time: expected a time like "250ms" or "2us"',
    ],
    ["an unknown unit", "memory: { size: 8Gib }", 'memory.size: expected a size like "8GiB" or "512KiB"'],
    ["a negative size", "memory: { size: -1 }", 'memory.size: expected a size like "8GiB"'],
    ["a number out of range", "cpus: 65", "cpus: expected a whole number from 1 to 64; got 65"],
    ["a fraction of a CPU", "cpus: 1.5", "cpus: expected an integer; got 1.5"],
    [
      "an interrupt line for an adapter that has its own",
      "adapters: [{ type: ide, irq: 16, disks: [{ size: 1GiB }] }]",
      "adapters[0].irq: an ide adapter has lines of its own, 14 and 15",
    ],
    ["a missing key", "adapters: [{ disks: [{ writeCache: true }] }]", "adapters[0].disks[0].size: missing"],
    [
      "two moments",
      "crash: { at: { time: 1ms, lock: { name: host_lock } } }",
      "crash.at: expected exactly one of time, random, function, access, lock; got time and lock",
    ],
    [
      "no moment",
      "crash: { at: {} }",
      "crash.at: expected exactly one of time, random, function, access, lock; got none",
    ],
    [
      "a contradiction",
      "crash: { trigger: bug, at: { function: { name: f, type: PANIC } } }",
      "crash.at.function.type: PANIC means trigger panic; got bug",
    ],
    ["a kernel that is not there", "kernel: 2.4.20", 'kernel: expected one of 2.6.9, 2.4.21; got "2.4.20"'],
    ["a key of another kernel", "linux24: { hostLock: own }", "linux24: means nothing to kernel 2.6.9"],
    [
      "a block that is no power of two",
      "kernel: 2.4.21\nlinux24: { blockSize: 3KiB }",
      "linux24.blockSize: expected one of 512, 1024, 2048, 4096 bytes; got 3072",
    ],
    ["a CPU that is not there", "crash: { cpu: 2 }", "crash.cpu: expected 0 to 1, the CPUs of this machine; got 2"],
    [
      "time that runs backwards",
      "crash: { at: { random: { from: 2ms, to: 1ms } } }",
      "crash.at.random: expected from to be earlier than to",
    ],
    [
      "an adapter that is not there",
      "crash: { at: { access: { adapter: aic0, count: 1 } } }",
      "no such adapter: aic0 (there are mptfusion0)",
    ],
    [
      "a device that is not there",
      "dump: { devices: [/dev/sdq1] }",
      "dump.devices[0]: no such device: /dev/sdq1 (there are /dev/sda, /dev/sdb, /dev/sda1, /dev/sdb1, /dev/sdb2)",
    ],
    [
      "an id that a SAS controller has no phy for",
      "adapters: [{ model: sas1068, disks: [{ id: 8, size: 1GiB }] }]",
      "adapters[0].disks[0].id: expected 0 to 7; got 8",
    ],
    [
      "a load on the dump device",
      "load: { devices: [/dev/sdb1] }",
      "load.devices[0]: the load would overwrite the dump device /dev/sdb1",
    ],
    [
      "a load on the dump disk",
      "dump: { devices: [/dev/sdb] }\nload: { devices: [/dev/sdb2] }",
      "load.devices[0]: the load would overwrite the dump device /dev/sdb",
    ],
    [
      "a partition beyond the disk",
      "adapters: [{ disks: [{ size: 1MiB, partitions: [{ startSector: 1, sectors: 2048 }] }] }]",
      "/dev/sda1 ends at sector 2049; the disk has 2048",
    ],
    [
      "partitions that overlap",
      "adapters: [{ disks: [{ size: 1MiB, partitions: [{ startSector: 1, sectors: 10 }, { startSector: 10, sectors: 10 }] }] }]",
      "/dev/sda2 overlaps /dev/sda1",
    ],
    [
      "a memory map that overlaps",
      "memory: { map: [{ start: 0, size: 32MiB, type: ram }, { start: 16MiB, size: 1MiB, type: acpi }] }",
      "memory.map: the range at 0x1000000 overlaps the one before it",
    ],
    [
      "an unknown kind of damage",
      "damage: [{ kind: hammer }]",
      'damage[0].kind: expected one of flipDumpedBit, writeOutsidePartition, dropCompletion, damageModule; got "hammer"',
    ],
    ["a key of another kind of damage", "damage: [{ kind: dropCompletion, page: 3 }]", "damage[0].page: unknown key"],
    ["an image that is not there", "memory: { image: /nowhere/ram.core }", "image: no such file: /nowhere/ram.core"],
  ];
  test.each(mistakes)("%s", (_title, text, message) => {
    expect(() => learnPlus(text)).toThrow(
      expect.objectContaining({ name: "UsageError", message: expect.stringContaining(message) }),
    );
  });

  test("several mistakes are told at once", () => {
    expect(() => learnPlus("cpus: 0\nhz: fast")).toThrow(
      /has 2 mistakes:\n  cpus: expected a whole number from 1 to 64; got 0\n  hz: expected an integer; got "fast"/,
    );
  });

  test("the file that holds the mistake is named, not the one that extends it", () => {
    file("broken.yaml", "extends: learn\ncpsu: 2\n");
    const child = file("innocent.yaml", "extends: ./broken.yaml\n");
    expect(() => loadScenario(child)).toThrow('broken.yaml: cpsu: unknown key; did you mean "cpus"?');
  });

  test("a circle of extends is found", () => {
    file("a.yaml", "extends: ./b.yaml\n");
    expect(() => loadScenario(file("b.yaml", "extends: ./a.yaml\n"))).toThrow("b.yaml -> a.yaml -> b.yaml");
  });

  test("a scenario that does not exist", () => {
    expect(() => loadScenario("papr")).toThrow('no such scenario: papr; did you mean "paper"?');
    expect(() => loadScenario("./nowhere.yaml")).toThrow("no such scenario file: ./nowhere.yaml");
    expect(() => loadScenario("/")).toThrow("cannot read the scenario /");
  });

  test("a file that is no scenario", () => {
    expect(() => loadScenario(file("list.yaml", "- 1\n- 2\n"))).toThrow("expected a map of keys at the top");
    expect(() => loadScenario(file("torn.yaml", "cpus: [1, 2\n"))).toThrow("torn.yaml is not YAML");
    expect(() => loadScenario("cpus: 2\nhz: 100\n")).toThrow("adapters: missing");
  });

  test("a --set that leads nowhere", () => {
    expect(() => loadScenario("learn", ["cpus"])).toThrow("--set cpus: expected key=value");
    expect(() => loadScenario("learn", ["cpus.more=1"])).toThrow("--set cpus.more=1: cpus: has no keys of its own");
    expect(() => loadScenario("learn", ["adapters.3.type=ide"])).toThrow("adapters.3: the list has 1 elements");
    expect(() => loadScenario("learn", ["crash.at.tiem=5ms"])).toThrow(
      'crash.at.tiem: unknown key; did you mean "time"?',
    );
  });
});

test("the schema and the types name the same things", () => {
  const { properties, $defs } = schema;
  expect(properties.platform.enum).toEqual([...PLATFORMS]);
  expect(properties.kernel.enum).toEqual([...KERNEL_VERSIONS]);
  const { type, model } = properties.adapters.items.properties;
  expect(type.enum).toEqual(ADAPTER_TYPES);
  expect(model.enum).toEqual(Object.values(ADAPTERS).flatMap(({ models }) => Object.keys(models)));
  expect(properties.dump.properties.dumper.enum).toEqual([...DUMPERS]);
  expect(properties.crash.properties.trigger.enum).toEqual([...CRASH_TRIGGERS]);
  expect($defs.disk.properties.faults.items.properties.kind.enum).toEqual([...DISK_FAULT_KINDS]);
});

test("every key of the schema is explained, and every map is closed", () => {
  const open: string[] = [];
  const unexplained: string[] = [];
  const visit = (node: unknown, path: string): void => {
    if (typeof node !== "object" || node === null) return;
    const entry = node as Record<string, unknown>;
    if (entry["properties"] && entry["additionalProperties"] !== false) open.push(path);
    for (const [key, value] of Object.entries((entry["properties"] as object | undefined) ?? {})) {
      if (!(value as Record<string, unknown>)["description"]) unexplained.push(`${path}.${key}`);
    }
    for (const [key, value] of Object.entries(entry)) visit(value, `${path}.${key}`);
  };
  visit(schema, "");
  expect({ open, unexplained }).toEqual({ open: [], unexplained: [] });
});
