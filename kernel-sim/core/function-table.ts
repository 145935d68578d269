// The kernel functions that there are: of the kernel proper and of modules, of all kernel versions.

export interface FunctionInfo {
  readonly id: number;
  readonly name: string;
  /** The module it belongs to, or undefined for the kernel proper. */
  readonly module: string | undefined;
  /** The kernel version that alone has it, or undefined: all that have no function of their own by that name. */
  readonly version: string | undefined;
}

/** By id. */
export const functions: FunctionInfo[] = [{ id: 0, name: "startup_64", module: undefined, version: undefined }];
/** Per version the names for which it has functions of its own; made when asked for. */
const ownNames = new Map<string, ReadonlySet<string>>();
/** The version of the kernel that was linked last: the running one's. */
let linkedVersion = "";

/** Returns: the new function's id. */
export function addFunction(name: string, module: string | undefined, version: string | undefined): number {
  const id = functions.length;
  functions.push({ id, name, module, version });
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
