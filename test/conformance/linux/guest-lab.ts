// A guest that somebody works with: commands, kernel messages, and what it did to our registers.
import type { CommandResult, Guest } from "./guest.ts";

/** The slot that a card sits in. */
export const SLOT = 3;

export class GuestLab {
  readonly guest: Guest;
  private seen = 0;

  constructor(guest: Guest) {
    this.guest = guest;
  }

  run(command: string, limitS?: number): CommandResult {
    return this.guest.run(command, limitS);
  }

  expect(command: string, limitS?: number): string {
    return this.guest.expect(command, limitS);
  }

  /** Kernel messages since the last call. */
  messages(): string {
    const all = this.guest.expect("dmesg | sed 's/^\\[[^]]*\\] //'").split("\n");
    const fresh = all.slice(this.seen);
    this.seen = all.length;
    return fresh.join("\n");
  }

  /** Of every register access so far, with its virtual time. */
  registerDigest(): string {
    return this.guest.log.digest();
  }
}
