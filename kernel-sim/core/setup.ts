// What the kernel finds out about the machine (setup_arch() of arch/x86_64/kernel/setup.c, e820.c, 2.6.9): the firmware's memory
// map, the processors and their speed.
import { E820MAX, E820_RAM, E820_RESERVED, cpuinfo_x86, e820entry, e820map } from "../abi/structs/system.ts";
import { array, uint } from "../abi/types.ts";
import { poke32, poke64 } from "../abi/ram.ts";
import { pokeString } from "./c-string.ts";
import type { Kernel } from "./kernel.ts";
import { NR_CPUS } from "./percpu.ts";

/** The simulated processor: a Xeon of the white paper's year. CPUID's answers (Intel's instruction set reference, CPUID). */
const PROCESSOR = {
  family: 15,
  model: 4,
  stepping: 1,
  vendor: "GenuineIntel",
  name: "                  Intel(R) Xeon(TM) CPU 2.40GHz",
  khz: 2_400_000,
  cpuidLevel: 5,
  cacheKib: 1024,
  lineBytes: 64,
  virtualBits: 48,
  physicalBits: 36,
  /** Words 0 (CPUID 1, EDX), 1 (80000001h, EDX) and 4 (CPUID 1, ECX). */
  capability: [0xbfebfbff, 0x20100800, 0, 0, 0x441d, 0, 0],
} as const;

/** e820 types of the ranges of the memory map; ACPI tables are type 3. What is kept from the kernel is reserved. */
const E820_TYPES = { ram: E820_RAM, reserved: E820_RESERVED, acpi: 3, preserved: E820_RESERVED } as const;

/** Fills e820, cpu_data, boot_cpu_data and cpu_khz. Other platforms describe themselves in other ways. */
export function setup_arch(k: Kernel): void {
  poke32(k.static("cpu_khz", uint), PROCESSOR.khz);
  if (k.map.model.name !== "x86_64" && k.map.model.name !== "i386") return;
  setup_memory_region(k);
  identify_cpu(k, k.static("boot_cpu_data", cpuinfo_x86), 0);
  const cpus = k.static("cpu_data", array(cpuinfo_x86, NR_CPUS));
  for (const c of k.machine.cpus) identify_cpu(k, cpus + c.id * k.sizeOf(cpuinfo_x86), c.id);
}

function setup_memory_region(k: Kernel): void {
  const e820 = k.view(e820map, k.static("e820", e820map));
  const ranges = k.region.e820.slice(0, E820MAX);
  e820.nr_map = ranges.length;
  ranges.forEach((range, i) => {
    const entry = e820.map + i * k.sizeOf(e820entry);
    // By offset: a view has an `addr` of its own.
    poke64(entry + k.offsetOf(e820entry, "addr"), range.start);
    poke64(entry + k.offsetOf(e820entry, "size"), range.end - range.start);
    poke32(entry + k.offsetOf(e820entry, "type"), E820_TYPES[range.type]);
  });
}

function identify_cpu(k: Kernel, at: number, id: number): void {
  const c = k.view(cpuinfo_x86, at);
  c.x86 = PROCESSOR.family;
  c.x86_vendor = 0;
  c.x86_model = PROCESSOR.model;
  c.x86_mask = PROCESSOR.stepping;
  c.cpuid_level = PROCESSOR.cpuidLevel;
  PROCESSOR.capability.forEach((word, i) => poke32(c.x86_capability + i * 4, word));
  pokeString(c.x86_vendor_id, PROCESSOR.vendor, 16);
  pokeString(c.x86_model_id, PROCESSOR.name, 64);
  c.x86_cache_size = PROCESSOR.cacheKib;
  c.x86_clflush_size = PROCESSOR.lineBytes;
  c.x86_cache_alignment = PROCESSOR.lineBytes * 2;
  c.x86_virt_bits = PROCESSOR.virtualBits;
  c.x86_phys_bits = PROCESSOR.physicalBits;
  c.x86_num_cores = 1;
  c.x86_apicid = id;
  // calibrate_delay(): the loop of __delay takes half a cycle per count.
  c.loops_per_jiffy = (PROCESSOR.khz * 2 * 1000) / k.hz;
}
