// Which code this is. A trace hash is comparable only between equal versions.

/** Set by tools/setup/build.mjs: "0.1.0+g<commit>", and "-dirty.<digest>" when the sources differ from that commit. */
declare const DUMPLAB_VERSION: string | undefined;

export const version: string = typeof DUMPLAB_VERSION === "string" ? DUMPLAB_VERSION : "0.1.0+source";
