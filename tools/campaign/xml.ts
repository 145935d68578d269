// Elements of SVG and of HTML that is well-formed XML, as text.

export type Attributes = Readonly<Record<string, string | number | undefined>>;

/** Text between tags or in an attribute; what XML 1.0 has no place for is left out. */
export const escaped = (text: string): string =>
  text
    .replace(/[^\t\n\r\x20-\ud7ff\ue000-\ufffd]/gu, "")
    .replaceAll("&", "&amp;")
    .replaceAll("<", "&lt;")
    .replaceAll(">", "&gt;")
    .replaceAll('"', "&quot;");

/** `children` are elements, or text that has been through `escaped`. Attributes are escaped here; undefined ones are absent. */
export function element(name: string, attributes: Attributes, ...children: readonly string[]): string {
  const shown = (value: string | number): string =>
    typeof value === "number" ? String(Number(value.toFixed(2))) : escaped(value);
  const list = Object.entries(attributes)
    .filter((entry): entry is [string, string | number] => entry[1] !== undefined)
    .map(([key, value]) => ` ${key}="${shown(value)}"`)
    .join("");
  return children.length === 0 ? `<${name}${list}/>` : `<${name}${list}>${children.join("")}</${name}>`;
}
