// The kernel functions that there are: of the kernel proper and of modules, of all kernel versions.

export interface FunctionInfo {
  readonly id: number;
  /** What stands in its text, so that texts differ. */
  readonly number: number;
  readonly name: string;
  /** The module it belongs to, or undefined for the kernel proper. */
  readonly module: string | undefined;
  /** The kernel version that alone has it, or undefined: all that have no function of their own by that name. */
  readonly version: string | undefined;
}

/** By id. */
export const functions: FunctionInfo[] = [
  { id: 0, number: 0, name: "startup_64", module: undefined, version: undefined },
];
/** Per version the names for which it has functions of its own; made when asked for. */
const ownNames = new Map<string, ReadonlySet<string>>();
/** The version of the kernel that was linked last: the running one's. */
let linkedVersion = "";

/** Functions that are numbered with all the others. */
let numbered = 1;
/** Modules whose functions are not: what each has so far. */
const apart = new Map<string, number>();
const FIRST_NUMBER_APART = 0x8000;

/**
 * Numbers the functions of a module apart from all others: a kernel that does not load it has the same text, byte for byte, as if the
 * module had not been written. Before its first function.
 */
export const numberApart = (module: string): void => void apart.set(module, FIRST_NUMBER_APART);

function numberOf(module: string | undefined): number {
  const next = module === undefined ? undefined : apart.get(module);
  if (next === undefined) return numbered++;
  apart.set(module!, next + 1);
  return next;
}

/** Returns: the new function's id. */
export function addFunction(name: string, module: string | undefined, version: string | undefined): number {
  const id = functions.length;
  functions.push({ id, number: numberOf(module), name, module, version });
  ownNames.clear();
  return id;
}

export const setLinkedVersion = (version: string): void => {
  linkedVersion = version;
};

function namesOf(version: string): ReadonlySet<string> {
  let names = ownNames.get(version);
  if (!names) {
    names = new Set(functions.filter((f) => f.version === version).map((f) => f.name));
    ownNames.set(version, names);
  }
  return names;
}

/** True for a function that is in the running kernel's image, or in its modules'. */
export const isLinked = (info: FunctionInfo): boolean =>
  info.version === undefined ? !namesOf(linkedVersion).has(info.name) : info.version === linkedVersion;

/** The running kernel's function of that name. */
export const functionNamed = (name: string): FunctionInfo | undefined =>
  functions.find((f) => f.name === name && isLinked(f));

/** The running kernel's functions, for listings and messages. */
export const kernelFunctions = (): readonly FunctionInfo[] => functions.filter(isLinked);
