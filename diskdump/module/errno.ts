// Error numbers as the kernel returns them: negated (include/asm-generic/errno-base.h).
export const ENOENT = 2;
export const EIO = 5;
export const ENXIO = 6;
export const ENOMEM = 12;
export const EEXIST = 17;
export const EINVAL = 22;
export const EFBIG = 27;
export const EROFS = 30;
