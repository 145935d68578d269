// A QEMU whose CPU never runs, driven over its qtest protocol: one text line per access, synchronously, over a pair of FIFOs.
//
// QEMU's device models, their DMA and their block I/O run in host time. A line that starts with "IRQ" may come before any answer.
import { spawn, spawnSync, type ChildProcess } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  open,
  openSync,
  constants,
  readFileSync,
  readSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { promisify } from "node:util";
import { Worker } from "node:worker_threads";

export const QEMU = "qemu-system-x86_64";
/** Debian's package for it. */
export const QEMU_PACKAGE = "qemu-system-x86";

/** One answer may take this long; then QEMU is ended and the access that waited is named. */
const ANSWER_LIMIT_MS = 30_000;
const openFile = promisify(open);

/** Runs beside us while we are blocked in a read: ends a QEMU that does not answer. */
const WATCHDOG = `
const { workerData: { shared, pid, limitMs } } = require("node:worker_threads");
const state = new Int32Array(shared);
let seen = -1;
let since = 0;
setInterval(() => {
  const number = Atomics.load(state, 0);
  if (Atomics.load(state, 1) === 0 || number !== seen) {
    seen = number;
    since = Date.now();
  } else if (Date.now() - since > limitMs) {
    Atomics.store(state, 2, 1);
    try {
      process.kill(pid, "SIGKILL");
    } catch {
      // It has ended by itself: whoever waits is told so.
    }
  }
}, 250);
`;

/**
 * Firmware that stops the CPU for good: cli, hlt, and a jump back to it, at the reset vector. QEMU's own way to keep a CPU from running
 * (-S) also stops the virtual clock, by which some device models work (the 53C895A resumes a long SCRIPTS run by a timer).
 */
function firmware(): Uint8Array {
  const image = new Uint8Array(65536);
  image.set([0xfa, 0xf4, 0xeb, 0xfd], 0xfff0);
  return image;
}

/** True when QEMU is installed. */
export const qemuInstalled = (): boolean => spawnSync(QEMU, ["--version"], { stdio: "ignore" }).error === undefined;

/** From util-linux. It becomes QEMU, so the process is QEMU's from then on. */
const DIE_WITH_PARENT = ["setpriv", "--pdeathsig", "KILL", "--"];
const dieWithParent = (): boolean => spawnSync("setpriv", ["--version"], { stdio: "ignore" }).error === undefined;

export class Qtest {
  /** Told of every edge that QEMU's devices make on a line that is intercepted. */
  onIrq: (line: number, raised: boolean) => void = () => {};
  /** Commands answered so far. */
  commands = 0;
  private readonly folder: string;
  private readonly child: ChildProcess;
  private readonly ended: Promise<void>;
  private readonly watchdog: Worker;
  /** Number of the command, whether one waits, whether the watchdog has struck. */
  private readonly state = new Int32Array(new SharedArrayBuffer(12));
  private readonly toQemu: number;
  private readonly fromQemu: number;
  private readonly buffer = Buffer.alloc(65536);
  private stopped = false;
  private filled = 0;
  private taken = 0;
  private readonly endWithUs: () => void;

  private constructor(folder: string, child: ChildProcess, ended: Promise<void>, toQemu: number, fromQemu: number) {
    this.folder = folder;
    this.child = child;
    this.ended = ended;
    this.toQemu = toQemu;
    this.fromQemu = fromQemu;
    this.watchdog = new Worker(WATCHDOG, {
      eval: true,
      workerData: { shared: this.state.buffer, pid: child.pid, limitMs: ANSWER_LIMIT_MS },
    });
    this.watchdog.unref();
    this.endWithUs = () => child.kill("SIGKILL");
    process.once("exit", this.endWithUs);
  }

  /** Starts QEMU with a paused CPU and `args`. Throws with what it printed when it does not start. */
  static async start(args: readonly string[]): Promise<Qtest> {
    const folder = mkdtempSync(join(tmpdir(), "dumplab-qtest-"));
    const pipe = join(folder, "pipe");
    spawnSync("mkfifo", [`${pipe}.in`, `${pipe}.out`]);
    const errors = openSync(join(folder, "stderr"), "w");
    const bios = join(folder, "bios");
    writeFileSync(bios, firmware());
    const base = ["-bios", bios, "-nodefaults", "-no-user-config", "-display", "none"];
    // Whatever kills us takes QEMU with it, also what leaves us no time to say so.
    const [program, ...first] = [...(dieWithParent() ? DIE_WITH_PARENT : []), QEMU];
    const child = spawn(program!, [...first, ...base, "-qtest", `pipe:${pipe}`, "-qtest-log", "none", ...args], {
      stdio: ["ignore", "ignore", errors],
    });
    closeSync(errors);
    const ended = new Promise<void>((resolve) => {
      child.once("exit", () => resolve());
      child.once("error", () => resolve());
    });
    // Both opens wait for QEMU's. When it ends before, they are let go by an opener of our own.
    const opens = Promise.all([openFile(`${pipe}.in`, "w"), openFile(`${pipe}.out`, "r")]);
    const opened = await Promise.race([opens, ended]);
    if (opened) return new Qtest(folder, child, ended, ...opened);
    const both = [`${pipe}.in`, `${pipe}.out`].map((path) => openSync(path, constants.O_RDWR | constants.O_NONBLOCK));
    for (const descriptor of [...both, ...(await opens)]) closeSync(descriptor);
    const said = readFileSync(join(folder, "stderr"), "utf8");
    rmSync(folder, { recursive: true, force: true });
    throw new Error(`${QEMU} did not start: ${said.trim() || "it said nothing"}\n${QEMU} ${args.join(" ")}`);
  }

  /** Sends one command and waits for its answer: what follows "OK". Throws on any other answer. */
  command(text: string): string {
    const { state } = this;
    Atomics.add(state, 0, 1);
    Atomics.store(state, 1, 1);
    this.commands++;
    let answer: string;
    try {
      answer = this.ask(text);
    } finally {
      Atomics.store(state, 1, 0);
    }
    if (!answer.startsWith("OK")) throw new Error(`qtest: "${text}" was answered by "${answer}"`);
    return answer.slice(3);
  }

  private ask(text: string): string {
    try {
      writeSync(this.toQemu, `${text}\n`);
      for (;;) {
        const line = this.readLine(text);
        if (!line.startsWith("IRQ ")) return line;
        const [, edge, number] = line.split(" ");
        this.onIrq(Number(number), edge === "raise");
      }
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === "EPIPE") throw this.gone(text, error);
      throw error;
    }
  }

  private readLine(waiting: string): string {
    const { buffer } = this;
    for (;;) {
      const end = buffer.subarray(this.taken, this.filled).indexOf(0x0a);
      if (end >= 0) {
        const line = buffer.toString("latin1", this.taken, this.taken + end);
        this.taken += end + 1;
        return line;
      }
      buffer.copyWithin(0, this.taken, this.filled);
      this.filled -= this.taken;
      this.taken = 0;
      const count = readSync(this.fromQemu, buffer, this.filled, buffer.length - this.filled, null);
      if (count === 0) throw this.gone(waiting);
      this.filled += count;
    }
  }

  private gone(waiting: string, cause?: unknown): Error {
    const why = this.state[2] === 1 ? `did not answer within ${ANSWER_LIMIT_MS / 1000} s and was ended` : "ended";
    return new Error(`${QEMU} ${why}; "${waiting}" waited for it. It said: ${this.said() || "nothing"}`, { cause });
  }

  /** What QEMU has printed on stderr. */
  said(): string {
    return readFileSync(join(this.folder, "stderr"), "utf8").trim();
  }

  /** A command without effect: the device models get a turn, and lines that have changed are told. */
  sync(): void {
    this.command("endianness");
  }

  /** Value of a port or memory access of `size` bytes (1, 2, 4); unsigned. */
  in(port: number, size: number): number {
    return Number(this.command(`in${PORT_SIZES[size]} 0x${port.toString(16)}`));
  }
  out(port: number, size: number, value: number): void {
    this.command(`out${PORT_SIZES[size]} 0x${port.toString(16)} 0x${(value >>> 0).toString(16)}`);
  }
  read(address: number, size: number): number {
    return Number(this.command(`read${PORT_SIZES[size]} 0x${address.toString(16)}`));
  }
  write(address: number, size: number, value: number): void {
    this.command(`write${PORT_SIZES[size]} 0x${address.toString(16)} 0x${(value >>> 0).toString(16)}`);
  }

  /** Ends QEMU as a user would: its disk images are complete when this resolves. */
  async stop(): Promise<void> {
    if (this.stopped) return;
    this.stopped = true;
    process.off("exit", this.endWithUs);
    this.child.kill("SIGTERM");
    await this.ended;
    await this.watchdog.terminate();
    closeSync(this.toQemu);
    closeSync(this.fromQemu);
    rmSync(this.folder, { recursive: true, force: true });
  }
}

const PORT_SIZES: Readonly<Record<number, string>> = { 1: "b", 2: "w", 4: "l" };
