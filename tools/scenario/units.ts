// Sizes and times as people write them.

const SIZE_UNITS: Readonly<Record<string, number>> = {
  B: 1,
  KiB: 2 ** 10,
  MiB: 2 ** 20,
  GiB: 2 ** 30,
  TiB: 2 ** 40,
  kB: 1e3,
  MB: 1e6,
  GB: 1e9,
  TB: 1e12,
};
const TIME_UNITS: Readonly<Record<string, number>> = {
  ns: 1,
  us: 1e3,
  ms: 1e6,
  s: 1e9,
  min: 60e9,
  h: 3600e9,
};

export const SIZE_EXPECTED = `a size like "8GiB" or "512KiB" (${Object.keys(SIZE_UNITS).join(", ")}), or a number of bytes`;
export const TIME_EXPECTED = `a time like "250ms" or "2us" (${Object.keys(TIME_UNITS).join(", ")})`;

/** Bytes, or undefined when the text is not a size of a whole number of bytes. */
export function parseSize(text: string | number): number | undefined {
  if (typeof text === "number") return Number.isSafeInteger(text) && text >= 0 ? text : undefined;
  if (/^0x[0-9a-fA-F]+$/.test(text)) return parseSize(Number(text));
  return measure(text, SIZE_UNITS);
}

/** Nanoseconds, or undefined when the text is not a time of a whole number of nanoseconds. */
export function parseTime(text: string): number | undefined {
  return measure(text, TIME_UNITS);
}

function measure(text: string, units: Readonly<Record<string, number>>): number | undefined {
  const match = /^(\d+(?:\.\d+)?) ?([A-Za-z]+)$/.exec(text);
  if (!match) return undefined;
  const unit = Object.hasOwn(units, match[2]!) ? units[match[2]!]! : undefined;
  if (unit === undefined) return undefined;
  const value = Number(match[1]) * unit;
  // 4.7 ms is 4700000.000000001 as a product of doubles; less than a millionth of a unit off is still whole.
  const whole = Math.round(value);
  return Math.abs(value - whole) < 1e-6 && Number.isSafeInteger(whole) ? whole : undefined;
}
