// Errors that tell the person at the keyboard what to change.

/** The input or the request is wrong: the message names the file, the place and what was expected. The CLI exits with 2. */
export class UsageError extends Error {
  override readonly name = "UsageError";
}

/** The message of a system error without Node's decoration: "no space left on device". */
export function systemReason(error: unknown): string {
  const code = errorCode(error);
  const message = error instanceof Error ? error.message : String(error);
  return code === undefined ? message : message.replace(`${code}: `, "").replace(/, \w+( '.*')*$/, "");
}

/** "ENOSPC" and the like, or undefined. */
export function errorCode(error: unknown): string | undefined {
  if (!(error instanceof Error) || !("code" in error)) return undefined;
  return typeof error.code === "string" ? error.code : undefined;
}

/** 0x1000: how offsets are printed. */
export const hex = (value: number | bigint): string => `0x${value.toString(16)}`;

/** "1 page", "2 pages". */
export const plural = (count: number, noun: string): string => `${count} ${noun}${count === 1 ? "" : "s"}`;
