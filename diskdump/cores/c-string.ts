/** The NUL-terminated text at `at`; "" beyond the end. */
export function cString(bytes: Uint8Array, at: number): string {
  if (at >= bytes.length) return "";
  const end = bytes.indexOf(0, at);
  return Buffer.from(bytes.buffer, bytes.byteOffset + at, (end < 0 ? bytes.length : end) - at).toString("latin1");
}
