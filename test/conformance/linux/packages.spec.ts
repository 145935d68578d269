// Goal: where the packages cannot be had, the suites learn why, and nothing is left half-done. Method: programs of our own in the place
// of apt and dpkg, which fail as those do; no network.
import { chmodSync, existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test, vi } from "vitest";
import { forgetUnavailable, linuxFiles, Unavailable } from "./packages.ts";

let folder: string;
const cache = (): string => join(folder, "cache");
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "dumplab-packages-"));
  mkdirSync(join(folder, "bin"));
  mkdirSync(cache());
  vi.stubEnv("PATH", join(folder, "bin"));
});
afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** Puts a program on the path. */
function program(name: string, script: string): void {
  writeFileSync(join(folder, "bin", name), `#!/bin/sh\n${script}\n`);
  chmodSync(join(folder, "bin", name), 0o755);
}
const debian = (): void => program("dpkg", "echo amd64");
const DEPENDS = 'echo "linux-image-686"; echo "  Depends: linux-image-6.1.0-1-686"';

function reason(): string {
  try {
    linuxFiles(cache());
  } catch (error) {
    expect(error).toBeInstanceOf(Unavailable);
    expect(readdirSync(cache())).toEqual(["unavailable"]);
    return (error as Error).message;
  }
  throw new Error("the packages were found");
}

test("without dpkg it is no Debian system", () => {
  expect(reason()).toMatch(/^this is not a Debian system: there is no dpkg \(npm run conformance/);
});

test("without apt, the program that is missing is named", () => {
  debian();
  expect(reason()).toMatch(/^apt-cache is not here \(npm run conformance/);
});

test("without lists, as offline, apt's own words are told, the first of them, too", () => {
  debian();
  program("apt-get", 'echo "W: Failed to fetch y  Connection refused" >&2; echo "W: Some files failed" >&2');
  program("apt-cache", 'echo "W: first" >&2; echo "E: No packages found" >&2; exit 100');
  expect(reason()).toMatch(
    /^apt-cache depends linux-image-686:i386: E: No packages found; before: W: Failed to fetch y  Connection refused \(npm/,
  );
});

test("a metapackage that depends on no kernel is told", () => {
  debian();
  program("apt-get", "exit 0");
  program("apt-cache", "echo linux-image-686");
  expect(reason()).toMatch(/^apt knows no linux-image-686:i386 \(/);
});

test("a download that breaks off leaves nothing behind, and the next one is tried afresh", () => {
  debian();
  program("apt-cache", DEPENDS);
  program(
    "apt-get",
    '[ "$1" = update ] && exit 0\n: > half.deb\necho "E: Failed to fetch x  Connection refused" >&2\nexit 100',
  );
  expect(reason()).toContain(
    "linux-image-6.1.0-1-686 busybox-static:i386 seabios: E: Failed to fetch x  Connection refused",
  );
  expect(existsSync(join(cache(), "packages"))).toBe(false);
  forgetUnavailable(cache());
  program("apt-get", '[ "$1" = update ] && exit 0\n: > whole.deb');
  program("dpkg-deb", "exit 0");
  expect(() => linuxFiles(cache())).toThrow(/do not contain what is expected/);
});

test("one run asks once, the next one again", () => {
  const first = reason();
  debian();
  expect(reason()).toBe(first);
  forgetUnavailable(cache());
  expect(reason()).toMatch(/^apt-cache is not here/);
});
