// Debian's i386 kernel, a static busybox and a BIOS: fetched once by apt, unpacked under out/, never installed.
//
// apt runs with a state of its own, so that neither root nor the i386 architecture is needed on this system. The kernel
// is resolved through its metapackage, because Debian removes old versions from its pool.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { OUTPUT_FOLDER } from "../record.ts";

const FOLDER = join(OUTPUT_FOLDER, "linux");
const KERNEL_METAPACKAGE = "linux-image-686:i386";
const OTHER_PACKAGES = ["busybox-static:i386", "seabios"];
const COMMAND = "npm run conformance (as on Debian with its mirror in reach)";

export interface LinuxFiles {
  /** "6.1.0-50-686" */
  readonly release: string;
  readonly kernel: string;
  /** The folder below which the modules lie. */
  readonly modules: string;
  readonly busybox: string;
  readonly bios: string;
  readonly vgaBios: string;
}

/** Why the packages are not there, with the command that brings them. */
export class Unavailable extends Error {}

/** The first thing that apt did not like, in its own words; "" for nothing. */
const complaintOf = (stderr: string | null): string => /^[EW]: .*/m.exec(stderr ?? "")?.[0] ?? "";

/** Runs a program of apt's. `before`: what may be the cause when it fails. Throws Unavailable then. */
function apt(configuration: string, program: string, args: readonly string[], cwd: string, before = ""): string {
  const result = spawnSync(program, [...args], {
    cwd,
    encoding: "utf8",
    env: { ...process.env, APT_CONFIG: configuration, LC_ALL: "C" },
  });
  if (result.error) throw new Unavailable(`${program} is not here (${COMMAND})`);
  if (result.status !== 0) {
    const lastLine = result.stderr.trim().split("\n").at(-1) ?? "";
    const cause = before === "" ? "" : `; before: ${before}`;
    throw new Unavailable(`${program} ${args.join(" ")}: ${lastLine}${cause} (${COMMAND})`);
  }
  return result.stdout;
}

/** A configuration that keeps apt's lists, cache and architectures to `folder`. */
function aptConfiguration(folder: string): string {
  for (const part of ["state/lists/partial", "cache/archives/partial"]) {
    mkdirSync(join(folder, part), { recursive: true });
  }
  const file = join(folder, "apt.conf");
  const own = spawnSync("dpkg", ["--print-architecture"], { encoding: "utf8" });
  if (own.error || own.status !== 0)
    throw new Unavailable(`this is not a Debian system: there is no dpkg (${COMMAND})`);
  const lines = [
    `APT::Architectures { "${own.stdout.trim()}"; "i386"; };`,
    `Dir::State "${join(folder, "state")}";`,
    `Dir::State::status "/var/lib/dpkg/status";`,
    `Dir::Cache "${join(folder, "cache")}";`,
    `APT::Sandbox::User "root";`,
    `Acquire::Languages "none";`,
  ];
  writeFileSync(file, `${lines.join("\n")}\n`);
  return file;
}

const unpackedIn = (folder: string): string => join(folder, "packages");

function fetch(folder: string): void {
  const work = join(folder, "fetching");
  rmSync(work, { recursive: true, force: true });
  const debs = join(work, "debs");
  const tree = join(work, "tree");
  mkdirSync(debs, { recursive: true });
  mkdirSync(tree, { recursive: true });
  try {
    const configuration = aptConfiguration(work);
    // An index that fails leaves the others: what matters is whether the packages can be had.
    const update = spawnSync("apt-get", ["update"], {
      encoding: "utf8",
      env: { ...process.env, APT_CONFIG: configuration, LC_ALL: "C" },
    });
    const depends = apt(configuration, "apt-cache", ["depends", KERNEL_METAPACKAGE], work, complaintOf(update.stderr));
    const kernel = /Depends: (linux-image-\S+)/.exec(depends)?.[1];
    if (kernel === undefined) throw new Unavailable(`apt knows no ${KERNEL_METAPACKAGE} (${COMMAND})`);
    apt(configuration, "apt-get", ["download", kernel, ...OTHER_PACKAGES], debs);
    for (const deb of readdirSync(debs)) apt(configuration, "dpkg-deb", ["-x", join(debs, deb), tree], work);
    rmSync(unpackedIn(folder), { recursive: true, force: true });
    renameSync(tree, unpackedIn(folder));
  } finally {
    rmSync(work, { recursive: true, force: true });
  }
}

function locate(folder: string): LinuxFiles | undefined {
  const unpacked = unpackedIn(folder);
  try {
    const release = readdirSync(join(unpacked, "lib", "modules"))[0]!;
    const files: LinuxFiles = {
      release,
      kernel: join(unpacked, "boot", `vmlinuz-${release}`),
      modules: join(unpacked, "lib", "modules", release, "kernel"),
      busybox: join(unpacked, "bin", "busybox"),
      bios: join(unpacked, "usr", "share", "seabios", "bios.bin"),
      vgaBios: join(unpacked, "usr", "share", "seabios", "vgabios-stdvga.bin"),
    };
    for (const file of [files.kernel, files.busybox, files.bios, files.vgaBios]) readFileSync(file);
    return files;
  } catch {
    return undefined;
  }
}

/** Why the packages could not be had, for the suites of this run that come later: a network that is away takes its time. */
const reasonIn = (folder: string): string => join(folder, "unavailable");

/** Lets the next run try again. */
export const forgetUnavailable = (folder = FOLDER): void => rmSync(reasonIn(folder), { force: true });

/**
 * The files, fetched into `folder` when they are not there yet. Throws Unavailable where they cannot be had, and from then on at
 * once, until that is forgotten.
 */
export function linuxFiles(folder = FOLDER): LinuxFiles {
  let files = locate(folder);
  if (!files) {
    if (existsSync(reasonIn(folder))) throw new Unavailable(readFileSync(reasonIn(folder), "utf8"));
    try {
      fetch(folder);
    } catch (error) {
      if (error instanceof Unavailable) writeFileSync(reasonIn(folder), error.message);
      throw error;
    }
    files = locate(folder);
  }
  if (!files) throw new Unavailable(`the packages of ${KERNEL_METAPACKAGE} do not contain what is expected`);
  return files;
}
