// The npm package v86, evaluated with a clock, random numbers and a WebAssembly of our own: two runs are then the same
// run, and no global of this process is touched.
//
// The property names of the package's build are stable within the exact version that package.json names; types here say
// what is used of it. (0.5.462: closure's SIMPLE optimisations, which rename only what is local.)
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { compileFunction } from "node:vm";
import type { VirtualClock } from "./virtual-clock.ts";

/** What the CPU core, a WebAssembly module, calls in its surroundings. */
export interface CoreImports {
  run_hardware_timers(acpiEnabled: number, nowMs: number): number;
  io_port_read8(port: number): number;
  io_port_read16(port: number): number;
  io_port_read32(port: number): number;
  io_port_write8(port: number, value: number): void;
  io_port_write16(port: number, value: number): void;
  io_port_write32(port: number, value: number): void;
  mmap_read8(address: number): number;
  mmap_read32(address: number): number;
  mmap_write8(address: number, value: number): void;
  mmap_write16(address: number, value: number): void;
  mmap_write32(address: number, value: number): void;
  mmap_write64(address: number, low: number, high: number): void;
}

export interface V86Cpu {
  /** The guest's RAM. A new array whenever the CPU core's memory grows. */
  readonly mem8: Uint8Array;
  readonly wasm_memory: WebAssembly.Memory;
  read_blob(address: number, length: number): Uint8Array;
  write_blob(bytes: Uint8Array, address: number): void;
  device_raise_irq(irq: number): void;
  device_lower_irq(irq: number): void;
  /** Who answers at each I/O port. */
  readonly io: { readonly ports: object[]; create_empty_entry(): object };
  readonly devices: {
    readonly pci: {
      readonly isa_bridge_space8: Uint8Array;
      /** Configuration spaces by bus, slot and function. */
      readonly device_spaces: (Int32Array | undefined)[];
    };
  };
}

export interface V86Machine {
  readonly cpu: V86Cpu;
  running: boolean;
  /** Where the machine asks to be called again: after `sleepMs`, with `tick`. */
  yield: (sleepMs: number, tick: number) => void;
  yield_callback(tick: number): void;
  run(): void;
  save_state(): ArrayBuffer;
}

export interface V86Emulator {
  readonly v86: V86Machine;
  readonly bus: { send(name: string, value: unknown): void };
  add_listener(event: string, listener: (value: never) => void): void;
}

export interface V86Options {
  readonly memoryBytes: number;
  readonly bios: ArrayBuffer;
  readonly vgaBios: ArrayBuffer;
  readonly kernel?: ArrayBuffer;
  readonly initrd?: ArrayBuffer;
  readonly commandLine?: string;
  readonly state?: ArrayBuffer;
}

/** Where v86 has its own IDE function, which is always there: slot 1E, function 0. */
export const OWN_IDE_DEVFN = 0x1e << 3;
/** The ports of its two channels, and those that its bus master has at power-on: first port, how many. */
const OWN_IDE_PORTS = [
  [0x1f0, 8],
  [0x3f6, 1],
  [0x170, 8],
  [0x376, 1],
  [0xb400, 16],
] as const;

/** Takes v86's IDE function off the bus: nothing reaches it any more, and a snapshot does not have it. */
export function removeOwnIde({ io, devices }: V86Cpu): void {
  devices.pci.device_spaces[OWN_IDE_DEVFN] = undefined;
  for (const [first, count] of OWN_IDE_PORTS)
    for (let port = first; port < first + count; port++) io.ports[port] = io.create_empty_entry();
}

/** Where the core counts instructions, in its own memory: a 32-bit word. */
const INSTRUCTION_COUNTER = 664;
const NS_PER_MS = 1_000_000;
const FIRST_SECOND_MS = Date.UTC(2005, 0, 1);

const folder = join(dirname(createRequire(import.meta.url).resolve("v86")));
/** Files that decide how a guest runs: part of a snapshot's key. */
export const V86_FILES: readonly string[] = [join(folder, "libv86.js"), join(folder, "v86.wasm")];

type Imports = NonNullable<ConstructorParameters<typeof WebAssembly.Instance>[1]>;

/** An own property wins over what the prototype has. */
const variantOf = <T extends object>(original: T, own: object): T =>
  Object.create(Object.prototype, {
    ...Object.getOwnPropertyDescriptors(original),
    ...Object.getOwnPropertyDescriptors(own),
  }) as T;

export interface LoadedV86 {
  readonly emulator: V86Emulator;
  /** Hands over the machine code that was translated since the last call; to be called between two ticks. */
  deliverTranslations(): void;
}

/** Makes an emulator whose time is `clock`'s. `hook` may replace what the CPU core calls, before it exists. */
export async function loadV86(
  options: V86Options,
  clock: VirtualClock,
  hook: (imports: CoreImports) => void,
): Promise<LoadedV86> {
  let seed = 0x2545f491;
  const random32 = (): number => (seed = Math.imul(seed ^ (seed >>> 15), 0x2c1b3c6d) + 0x3c6ef372) | 0;
  const performance = { now: (): number => clock.nowNs() / NS_PER_MS };
  class VirtualDate extends Date {
    static override now(): number {
      return FIRST_SECOND_MS + Math.floor(clock.nowNs() / NS_PER_MS);
    }
  }
  const translations: (() => void)[] = [];
  const ownWebAssembly = variantOf(WebAssembly, {
    // The translated code must arrive at the same instant in every run: compiled at once, delivered between two ticks.
    instantiate: (bytes: Uint8Array<ArrayBuffer>, imports: Imports) => ({
      then(deliver: (result: { instance: WebAssembly.Instance }) => void): void {
        const instance = new WebAssembly.Instance(new WebAssembly.Module(bytes), imports);
        translations.push(() => deliver({ instance }));
      },
    }),
  });
  const randomValues = {
    getRandomValues(into: Int32Array): Int32Array {
      for (let i = 0; i < into.length; i++) into[i] = random32();
      return into;
    },
  };
  const own = {
    module: { exports: {} as { V86: new (options: object) => V86Emulator } },
    performance,
    Date: VirtualDate,
    Math: variantOf(Math, { random: () => (random32() >>> 0) / 4294967296 }),
    crypto: randomValues,
    WebAssembly: ownWebAssembly,
  };
  compileFunction(readFileSync(V86_FILES[0]!, "utf8"), Object.keys(own))(...Object.values(own));

  const emulator = new own.module.exports.V86({
    memory_size: options.memoryBytes,
    vga_memory_size: 2 ** 20,
    bios: { buffer: options.bios },
    vga_bios: { buffer: options.vgaBios },
    net_device: { type: "none" },
    disable_keyboard: true,
    disable_mouse: true,
    disable_speaker: true,
    ...(options.kernel ? { bzimage: { buffer: options.kernel } } : {}),
    ...(options.initrd ? { initrd: { buffer: options.initrd } } : {}),
    ...(options.commandLine === undefined ? {} : { cmdline: options.commandLine }),
    ...(options.state ? { initial_state: { buffer: options.state } } : {}),
    wasm_fn: (imports: { env: CoreImports & Record<string, unknown> }) => {
      hook(imports.env);
      const { exports } = new WebAssembly.Instance(new WebAssembly.Module(readFileSync(V86_FILES[1]!)), imports);
      const memory = exports["memory"] as WebAssembly.Memory;
      let words = new Uint32Array(memory.buffer);
      clock.follow(() => {
        if (words.length === 0) words = new Uint32Array(memory.buffer);
        return words[INSTRUCTION_COUNTER / 4]!;
      });
      return Promise.resolve(exports);
    },
  });
  await new Promise<void>((loaded) => emulator.add_listener("emulator-loaded", () => loaded()));
  return {
    emulator,
    deliverTranslations() {
      for (const deliver of translations.splice(0)) deliver();
    },
  };
}
