// Makes the next command of an npm script work as the very first one after a clone: checks Node, installs what
// package-lock.json names, and bundles the sources. Runs before anything is installed, so it imports only Node itself.
// Says nothing when there is nothing to do; what it does goes to stderr, because stdout belongs to the command.
import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { sourcesState } from "./sources.mjs";

const NODE_MINIMUM = [20, 19];
const LOCK_WAIT_MS = 300_000;

const root = dirname(dirname(dirname(fileURLToPath(import.meta.url))));
const nodeModules = join(root, "node_modules");
const lockFile = join(root, "package-lock.json");
const installStamp = join(nodeModules, ".dumplab-installed");
const buildStamp = join(root, "dist", ".sources");

checkNode();
oneAtATime(() => {
  if (!installed()) install();
  const state = sourcesState(root);
  if (!built(state)) build(state);
});

function checkNode() {
  const [major, minor] = process.versions.node.split(".").map(Number);
  const [needMajor, needMinor] = NODE_MINIMUM;
  if (major > needMajor || (major === needMajor && minor >= needMinor)) return;
  fail(
    `dumplab needs Node ${NODE_MINIMUM.join(".")} or newer; this is ${process.versions.node} (${process.execPath}).`,
  );
}

/** Two npm scripts may start in the same clone at once; the second waits for the first one's work. */
function oneAtATime(work) {
  mkdirSync(join(root, "dist"), { recursive: true });
  const lock = join(root, "dist", ".bootstrap-lock");
  const giveUpAt = Date.now() + LOCK_WAIT_MS;
  for (let told = false; !take(lock); told = true) {
    if (!told) say("another dumplab command is installing or building; waiting");
    if (Date.now() > giveUpAt) fail(`still waiting for ${lock}; remove it if nothing else is running`);
    Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 200);
  }
  process.once("exit", () => rmSync(lock, { recursive: true, force: true }));
  for (const signal of ["SIGINT", "SIGTERM"]) process.once(signal, () => process.exit(1));
  work();
}

/** mkdir is atomic; the lock of a process that is gone does not count. */
function take(lock) {
  const owner = join(lock, "pid");
  try {
    mkdirSync(lock);
    writeFileSync(owner, String(process.pid));
    return true;
  } catch (error) {
    if (error.code !== "EEXIST") throw error;
  }
  try {
    process.kill(Number(readFileSync(owner, "utf8")), 0);
  } catch (error) {
    // ENOENT: its owner has not written its pid yet, or has just let go.
    if (error.code === "ESRCH") rmSync(lock, { recursive: true, force: true });
  }
  return false;
}

function installed() {
  if (existsSync(installStamp)) return readFileSync(installStamp, "utf8") === readFileSync(lockFile, "utf8");
  // Installed by hand: npm leaves its own record there, which is as new as what it installed.
  const record = join(nodeModules, ".package-lock.json");
  return existsSync(record) && statSync(record).mtimeMs >= statSync(lockFile).mtimeMs;
}

function install() {
  say("installing what package-lock.json names (npm ci)");
  const { npm_execpath: npmScript } = process.env;
  const args = ["ci", "--include=dev", "--no-audit", "--no-fund", "--loglevel=error"];
  const isScript = npmScript !== undefined && /\.c?js$/.test(npmScript) && npmScript.includes("npm");
  run(isScript ? process.execPath : "npm", isScript ? [npmScript, ...args] : args, "npm ci");
  writeFileSync(installStamp, readFileSync(lockFile, "utf8"));
}

function built(state) {
  return existsSync(buildStamp) && readFileSync(buildStamp, "utf8") === state;
}

function build(state) {
  say("bundling the sources into dist/");
  rmSync(buildStamp, { force: true });
  run(process.execPath, [join(root, "tools", "setup", "build.mjs")], "the build");
  writeFileSync(buildStamp, state);
}

function run(program, args, name) {
  const shell = process.platform === "win32" && program === "npm";
  const { status, signal, error } = spawnSync(program, args, { cwd: root, stdio: ["ignore", 2, 2], shell });
  if (error) fail(`${name} could not be started: ${error.message}`);
  if (status !== 0) fail(`${name} failed (${signal ?? `exit code ${status}`})`);
}

function say(text) {
  process.stderr.write(`dumplab: ${text}\n`);
}

function fail(text) {
  say(text);
  process.exit(1);
}
