// dumplab netdump-server: the netdump server on a real UDP socket, for simulated and for real machines.
import { createSocket } from "node:dgram";
import { statSync } from "node:fs";
import { isIPv4 } from "node:net";
import { Command } from "commander";
import { NETDUMP_PORT } from "../../../diskdump/peers/netdump/protocol.ts";
import { NetdumpServer, parseMagic } from "../../../diskdump/peers/netdump/server.ts";
import { systemReason, UsageError } from "../../../diskdump/userspace/errors.ts";
import { nodeFiles } from "../../../diskdump/userspace/host-files.ts";
import type { CommandContext } from "../main.ts";
import { count } from "../options.ts";

interface ServerFlags {
  address: string;
  port: number;
  directory: string;
  concurrent: number;
  magic: string[];
  secure?: true;
  dumps?: number;
}

/** How often lost requests are looked for. */
const TICK_MS = 10;

export function netdumpServerCommand({ terminal, exit }: CommandContext): Command {
  return new Command("netdump-server")
    .description("save the dumps that dying kernels send: <directory>/<ip>-<date>/vmcore and log")
    .option("--address <ip>", "where to listen", "127.0.0.1")
    .option("--port <n>", "UDP port; 0 takes a free one", count(0), NETDUMP_PORT)
    .option("--directory <path>", "where crash directories go; /var/crash on a real system", ".")
    .option("--concurrent <n>", "dumps at a time; further clients are told to reboot", count(1), 4)
    .option(
      "--magic <ip=0xnumber>",
      "the magic number exchanged with a client (again for more)",
      (text: string, before: string[]) => [...before, text],
      [],
    )
    .option("--secure", "serve only clients with a --magic")
    .option("--dumps <n>", "end after so many dumps; default: on Ctrl-C", count(1))
    .addHelpText(
      "after",
      `
Scripts in <directory>/scripts are run when they are there: netdump-start <ip>; netdump-crash, netdump-nospace and
netdump-reboot <ip> <directory>. Exit code 1 when a dump was not complete.

Examples:
  dumplab netdump-server --directory /var/crash --address 192.168.0.1
  dumplab netdump-server --secure --magic 192.168.0.7=0x1122334455667788 --dumps 1`,
    )
    .action(async (flags: ServerFlags) => {
      if (!isIPv4(flags.address)) throw new UsageError(`--address ${flags.address}: expected an IPv4 address`);
      if (flags.port > 65535) throw new UsageError(`--port ${flags.port}: expected 0 to 65535`);
      if (!statSync(flags.directory, { throwIfNoEntry: false })?.isDirectory()) {
        throw new UsageError(`--directory ${flags.directory}: there is no such folder`);
      }
      const magics = new Map(flags.magic.map(parseMagic));
      const server = await serve(flags, magics);
      exit(server.ended.every(({ outcome }) => outcome === "complete") ? 0 : 1);
    });

  /** Serves until the dumps are in or Ctrl-C comes. */
  function serve(flags: ServerFlags, magics: ReadonlyMap<string, bigint>): Promise<NetdumpServer> {
    const socket = createSocket("udp4");
    const say = (line: string): void => void terminal.err.write(`dumplab: ${line}\n`);
    const server = new NetdumpServer(
      {
        files: nodeFiles,
        wallSeconds: () => Math.floor(Date.now() / 1000),
        onMessage: say,
        send: (ip, port, datagram) => socket.send(datagram, port, ip),
      },
      {
        dumpDirectory: flags.directory,
        ...{ concurrent: flags.concurrent, magics, secure: flags.secure === true },
      },
    );
    const now = (): number => Math.round(performance.now() * 1e6);
    let printed = 0;
    return new Promise((resolve, reject) => {
      let over = false;
      const stop = (end: () => void): void => {
        if (over) return;
        over = true;
        clearInterval(ticker);
        socket.close(end);
      };
      const fail = (error: unknown): void => {
        const reason = error instanceof Error ? error : new Error(String(error));
        stop(() => reject(reason));
      };
      const look = (): void => {
        for (const { core } of server.ended.slice(printed)) terminal.out.write(`${core}\n`);
        printed = server.ended.length;
        // The clients of the dumps that are in are still to be told to reboot.
        if (printed >= (flags.dumps ?? Infinity) && !server.busy) stop(() => resolve(server));
      };
      const guarded = (act: () => void): void => {
        try {
          act();
          look();
        } catch (error) {
          fail(error);
        }
      };
      const ticker = setInterval(() => guarded(() => server.tick(now())), TICK_MS);
      socket.on("error", (error) => {
        const where = `${flags.address}:${flags.port}`;
        fail(new UsageError(`${where}: cannot be listened on: ${systemReason(error)}`, { cause: error }));
      });
      socket.on("message", (datagram, { address, port }) =>
        guarded(() => server.receive(address, port, datagram, now())),
      );
      socket.bind(flags.port, flags.address, () => {
        const { address, port } = socket.address();
        say(`netdump server listens on ${address}:${port}`);
      });
      terminal.interrupted(() => stop(() => resolve(server)));
    });
  }
}
