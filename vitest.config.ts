import { defineConfig } from "vitest/config";

export default defineConfig({
  test: {
    include: ["{emulator,kernel-sim,hba,diskdump,tools,test}/**/*.spec.ts"],
    testTimeout: 60_000,
  },
});
