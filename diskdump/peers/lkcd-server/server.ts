// The server of LKCD's network method: a state machine without a socket or a clock of its own.
//
//   <dump directory>/<ip>-<date>/dump-incomplete, renamed to dump when the client has said good-bye and every page has come
import { systemReason } from "../../userspace/errors.ts";
import type { HostFile } from "../../userspace/host-files.ts";
import { newDumpDirectory } from "../netdump/dump-directory.ts";
import { decodeReply, encodeRequest } from "../netdump/protocol.ts";
import type { NetdumpHost } from "../netdump/server.ts";
import { LKCD_REPLY } from "../lkcd/net/protocol.ts";
import { LkcdSession, type LkcdOutcomeAtServer, type LkcdSessionTimes } from "./session.ts";

/** A dump that has ended. */
export interface EndedLkcdDump {
  readonly ip: string;
  readonly outcome: LkcdOutcomeAtServer;
  readonly detail: string;
  /** Path of the dump. */
  readonly file: string;
  readonly pagesReceived: number;
  readonly pagesLost: number;
  readonly requestsRepeated: number;
}

interface Client {
  readonly port: number;
  readonly session: LkcdSession;
}

export class LkcdServer {
  /** The dumps that are over, oldest first. */
  readonly ended: EndedLkcdDump[] = [];
  private readonly host: NetdumpHost;
  private readonly times: LkcdSessionTimes;
  private readonly dumpDirectory: string;
  private readonly clients = new Map<string, Client>();

  constructor(host: NetdumpHost, times: LkcdSessionTimes, dumpDirectory = "/var/log/dump") {
    this.host = host;
    this.times = times;
    this.dumpDirectory = dumpDirectory;
  }

  /** True while somebody is owed a request: tick() is due. */
  get busy(): boolean {
    return this.clients.size > 0;
  }

  /** A datagram from a client. `now`: nanoseconds on any clock that only goes forward. */
  receive(ip: string, port: number, datagram: Uint8Array, now: number): void {
    const reply = decodeReply(datagram);
    if (!reply) return;
    const client = this.clients.get(ip);
    if (client?.port === port) client.session.hear(reply, now);
    else if (!client && reply.code === LKCD_REPLY.START_NETDUMP) this.begin(ip, port, now);
  }

  /** Repeats what got lost. Call it every `times.retryNs` or more often while `busy`. */
  tick(now: number): void {
    for (const { session } of [...this.clients.values()]) session.tick(now);
  }

  private begin(ip: string, port: number, now: number): void {
    const { files } = this.host;
    const directory = newDumpDirectory(this.host, this.dumpDirectory, ip);
    const path = `${directory}/dump-incomplete`;
    let file: HostFile;
    try {
      files.makeDirectory(directory);
      file = files.create(path);
    } catch (error) {
      files.removeEmptyDirectory(directory);
      this.host.onMessage(
        `${ip}: not served: ${directory}: ${error instanceof Error ? systemReason(error) : String(error)}`,
      );
      return;
    }
    this.host.onMessage(`${ip}: LKCD dump begins in ${directory}`);
    const session: LkcdSession = new LkcdSession(
      file,
      this.times,
      {
        send: (magic, nr, command) => this.host.send(ip, port, encodeRequest({ magic, nr, command, from: 0, to: 0 })),
        ended: (outcome, detail) => {
          file.close();
          const whole = `${directory}/dump`;
          if (outcome === "complete") files.rename(path, whole);
          this.clients.delete(ip);
          const { pagesReceived, pagesLost, requestsRepeated } = session;
          const counts = { pagesReceived, pagesLost, requestsRepeated };
          this.ended.push({ ip, outcome, detail, file: outcome === "complete" ? whole : path, ...counts });
          this.host.onMessage(`${ip}: LKCD dump ended: ${outcome}, ${detail}`);
        },
      },
      now,
    );
    this.clients.set(ip, { port, session });
  }
}
