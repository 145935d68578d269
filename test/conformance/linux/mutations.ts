// A chip broken on purpose, under Linux's own driver: each test breaks it in one place, in a guest of its own.
import { afterEach, beforeAll, describe, expect, test, vi } from "vitest";
import { conformanceCell } from "../cell.ts";
import { LinuxLab, type AdapterUnderTest } from "./lab.ts";
import { linuxOrReason } from "./suite.ts";
import type { BootedLinux } from "./snapshot.ts";

/** Virtual seconds after which a driver has found its disk, or will not. */
const PROBE_LIMIT_S = 60;

export interface Mutation<Lab = LinuxLab> {
  /** Continues "a broken <adapter> under Linux's <module>". */
  readonly title: string;
  /** What is noticed, for the matrix. */
  readonly noticed: string;
  /** Breaks the chip's classes with vi.spyOn (which is undone afterwards), and shows that Linux notices. */
  readonly judge: (lab: Lab) => void;
}

/**
 * Loads the driver, and expects it to bring no disk and to say `heard`. All kernel messages go to the serial line, so that a probe
 * that never ends is heard too.
 */
export function expectNoDisk(lab: LinuxLab, heard: RegExp): void {
  const from = lab.guest.transcript.length;
  let found = false;
  try {
    lab.expect("dmesg -n 8");
    found = lab.probe(PROBE_LIMIT_S);
  } catch (error) {
    // The module could not be loaded, or its loading does not come to an end.
    if (!/is not done after|ended with/.test(String(error))) throw error;
  }
  const said = lab.guest.transcript.slice(from);
  expect(said).toMatch(heard);
  expect(found, said).toBe(false);
}

export function mutationSuite(under: AdapterUnderTest, mutations: readonly Mutation[]): void {
  brokenSuite(under, (linux) => LinuxLab.make(linux, under), mutations);
}

/** @param make a guest with the adapter in it, no driver yet */
export function brokenSuite<Lab>(
  { adapter, module }: Pick<AdapterUnderTest, "adapter" | "module">,
  make: (linux: BootedLinux) => Promise<Lab>,
  mutations: readonly Mutation<Lab>[],
): void {
  describe(`a broken ${adapter} under Linux's ${module}`, () => {
    const cell = conformanceCell(`${adapter} (broken)`, "linux");
    let linux: BootedLinux | string;
    beforeAll(async () => {
      linux = await linuxOrReason();
    });
    afterEach(() => {
      vi.restoreAllMocks();
    });
    for (const { title, noticed, judge } of mutations) {
      test(title, async (context) => {
        if (typeof linux === "string") return cell.skip(context, linux);
        judge(await make(linux));
        cell.exercised(`${noticed} is noticed`);
      });
    }
  });
}
