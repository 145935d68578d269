// One scenario laid over another (`extends`), and single keys set from the command line (`--set`).

export type Tree = { [key: string]: unknown };

/** Maps that hold exactly one of several keys: the new choice replaces the old one instead of joining it. */
const CHOICES = ["at"];

export function isTree(value: unknown): value is Tree {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** `over` on top of `base`: maps key by key, everything else replaced. Neither is changed. */
export function merge(base: Tree, over: Tree): Tree {
  const merged: Tree = { ...base };
  for (const [key, value] of Object.entries(over)) {
    const below = merged[key];
    const joins = isTree(below) && isTree(value) && !CHOICES.includes(key);
    // defineProperty: "__proto__" is a key like any other, for the schema to refuse.
    Object.defineProperty(merged, key, {
      value: joins ? merge(below, value) : value,
      enumerable: true,
      configurable: true,
      writable: true,
    });
  }
  return merged;
}

/**
 * Sets `path` ("adapters.0.disks.1.writeCache") in a copy of `tree`. Throws a RangeError when the path goes through
 * something that is neither a map nor a list, or to a list element that does not exist.
 */
export function setAt(tree: Tree, path: string, value: unknown): Tree {
  const keys = path.split(/[.[\]]+/).filter((key) => key !== "");
  if (keys.length === 0) throw new RangeError("the key is empty");
  const copy = structuredClone(tree);
  let place: Tree | unknown[] = copy;
  for (const [depth, key] of keys.entries()) {
    const here = keys.slice(0, depth + 1).join(".");
    if (Array.isArray(place) && !(Number(key) < place.length)) {
      throw new RangeError(`${here}: the list has ${place.length} elements`);
    }
    const container = place as Tree;
    if (depth === keys.length - 1) {
      container[key] = value;
      break;
    }
    const next = keys[depth + 1]!;
    const below = Object.hasOwn(container, key) ? container[key] : undefined;
    if (below === undefined || (CHOICES.includes(key) && isTree(below) && !(next in below))) container[key] = {};
    else if (typeof below !== "object" || below === null) throw new RangeError(`${here}: has no keys of its own`);
    place = container[key] as Tree | unknown[];
  }
  return copy;
}
