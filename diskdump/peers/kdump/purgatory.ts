// The code between the kernels (kexec-tools' purgatory): is the image whole? Then low memory is copied away, and on.
import { halt } from "../../../emulator/cpu/cpu.ts";
import { K } from "../../../kernel-sim/core/kernel.ts";
import { moduleFunctions } from "../../../kernel-sim/core/kfunc.ts";
import { delayNs } from "../../../kernel-sim/core/timer.ts";
import { BACKUP_BYTES, DIGEST_BYTES, digestOf, type CrashImage } from "./crash-image.ts";
import type { CrashDump } from "./crash-dump.ts";

// A module, like the other dumpers: a kernel without it has its functions where it always had them.
const kfunc = moduleFunctions("kexec");

/** SHA-256 in C without caches set up, and a copy, per byte. */
const DIGEST_NS = 20;
const COPY_NS = 1;

/** Never returns when the digests differ: it loops, as the real one does. */
export const purgatory = kfunc("purgatory", function* (dump: CrashDump, image: CrashImage) {
  const { memory } = K.machine;
  const bytes = image.segments.reduce((sum, segment) => sum + segment.bytes, 0);
  yield* delayNs(bytes * DIGEST_NS);
  const wanted = new Uint8Array(DIGEST_BYTES);
  memory.readBytes(image.digestAt, wanted);
  if (digestOf(memory, image.segments).some((byte, i) => byte !== wanted[i])) {
    dump.damaged = "sha256 digests do not match";
    K.machine.stopReason = "the purgatory loops: sha256 digests do not match";
    for (;;) yield* halt();
  }
  if (!dump.kind.backup) return;
  yield* delayNs(BACKUP_BYTES * COPY_NS);
  for (let at = 0; at < BACKUP_BYTES; at += 4096) memory.copyPage(at, image.region.start + at);
});
