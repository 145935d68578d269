import { defineConfig } from "vitest/config";

// Suites that let judges we did not write decide: slow, so apart from "npm test". "npm run conformance" runs them.
export default defineConfig({
  test: {
    root: new URL("../..", import.meta.url).pathname,
    include: ["test/conformance/**/*.conformance.ts"],
    globalSetup: "test/conformance/setup.ts",
    testTimeout: 300_000,
    hookTimeout: 300_000,
  },
});
