// The price of a campaign in this build against that in another build of dumplab, on a host whose speed moves.
//
// Both run the same command at the same time, but never at one moment: every second one of them is stopped (SIGSTOP) and
// the other goes on, so that what the neighbours of this machine do meets both alike. What is compared is processor time.
//
//   node test/bench/against.mjs /path/to/other/checkout [--rounds 5] [-- bench --scenario paper --trials 16 ...]
import { spawn } from "node:child_process";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { parseArgs } from "node:util";

const SLICE_MS = 1000;
const DEFAULT_COMMAND = ["bench", "--dumper", "diskdump", "--scenario", "paper", "--trials", "16", "--workers", "1"];
const USAGE = "usage: node test/bench/against.mjs OTHER_CHECKOUT [--rounds N] [-- DUMPLAB_ARGUMENTS]\n";

/** One build at work: `stop` and `go` hold it and let it go on, `end` is its processor time in seconds. */
function start(folder, command) {
  const program = join(folder, "bin", "dumplab.mjs");
  const script = `TIMEFORMAT='%U %S'; time "$@" >/dev/null 2>&1`;
  const child = spawn("bash", ["-c", script, "bash", process.execPath, program, ...command], {
    detached: true,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let times = "";
  child.stderr.on("data", (text) => (times += text));
  const signal = (name) => {
    if (child.exitCode === null) process.kill(-child.pid, name);
  };
  const end = new Promise((resolve, reject) => {
    child.on("close", (code) => {
      // 1: trials failed. That is a result, not an error.
      if (code === 0 || code === 1)
        resolve(
          times
            .trim()
            .split(" ")
            .reduce((sum, part) => sum + Number(part), 0),
        );
      else reject(new Error(`${program} ${command.join(" ")}: exit code ${code}`));
    });
  });
  return { stop: () => signal("SIGSTOP"), go: () => signal("SIGCONT"), end };
}

async function round(folders, command) {
  const running = folders.map((folder) => start(folder, command));
  let turn = 0;
  running[1].stop();
  const timer = setInterval(() => {
    running[turn].stop();
    turn = 1 - turn;
    running[turn].go();
  }, SLICE_MS);
  // Whoever is left alone need not wait for its turn any more: the other is gone, and stopping it would only idle.
  for (const [i, { end }] of running.entries()) {
    end
      .finally(() => {
        clearInterval(timer);
        running[1 - i].go();
      })
      .catch(() => undefined);
  }
  try {
    return await Promise.all(running.map(({ end }) => end));
  } finally {
    clearInterval(timer);
    for (const { go } of running) go();
  }
}

function usage(complaint) {
  process.stderr.write(`against: ${complaint}\n${USAGE}`);
  process.exit(2);
}

const dashes = process.argv.indexOf("--");
const own = dashes < 0 ? process.argv.slice(2) : process.argv.slice(2, dashes);
const command = dashes < 0 ? DEFAULT_COMMAND : process.argv.slice(dashes + 1);
let parsed;
try {
  parsed = parseArgs({ args: own, allowPositionals: true, options: { rounds: { type: "string", default: "5" } } });
} catch (error) {
  usage(error.message);
}
const [other, ...more] = parsed.positionals;
const rounds = Number(parsed.values.rounds);
if (other === undefined || more.length > 0) usage("name one other checkout");
if (!Number.isInteger(rounds) || rounds < 1) usage(`--rounds ${parsed.values.rounds}: not a number of rounds`);
const here = fileURLToPath(new URL("../..", import.meta.url));
for (const folder of [here, other]) {
  if (!existsSync(join(folder, "dist", "worker.mjs"))) usage(`${folder} is not built: run \`npm run build\` there`);
}

const ratios = [];
for (let i = 0; i < rounds; i++) {
  // Who begins changes from round to round.
  const swapped = i % 2 === 1;
  const times = await round(swapped ? [other, here] : [here, other], command);
  const [mine, theirs] = swapped ? times.toReversed() : times;
  ratios.push(mine / theirs);
  process.stdout.write(
    `round ${i + 1}: this build ${mine.toFixed(1)} s, the other ${theirs.toFixed(1)} s, ratio ${(mine / theirs).toFixed(3)}\n`,
  );
}
ratios.sort((a, b) => a - b);
const middle = ratios.length >> 1;
const median = ratios.length % 2 === 1 ? ratios[middle] : (ratios[middle - 1] + ratios[middle]) / 2;
process.stdout.write(`median ratio ${median.toFixed(3)} of ${rounds} rounds (dumplab ${command.join(" ")})\n`);
