// The house rules that a machine can check. docs/architecture.md says why they are there.
import { defineConfig } from "eslint/config";
import tseslint from "typescript-eslint";
import { kernelCalls } from "./tools/setup/eslint-kernel-calls.mjs";

/** Imports only go down: what each floor may not reach. */
const floors = {
  emulator: ["kernel-sim", "hba", "diskdump", "tools"],
  "kernel-sim": ["hba", "diskdump", "tools"],
  hba: ["diskdump", "tools"],
  diskdump: ["hba", "tools"],
};

/** Kernel code: abandoned on a crash, so nothing may run when it is left. */
const kernelCode = [
  "kernel-sim/**/*.ts",
  "hba/**/driver*.ts",
  "hba/**/driver*/**/*.ts",
  "diskdump/module/**/*.ts",
  "diskdump/peers/lkcd/**/*.ts",
  "diskdump/peers/netdump/module/**/*.ts",
  "diskdump/peers/{kdump,mkdump}/**/*.ts",
];

const notInKernel = [
  { selector: "TryStatement", message: "A stopped context is abandoned: no try, catch or finally in kernel code." },
  {
    selector: "VariableDeclaration[kind=/using/]",
    message: "A stopped context is abandoned: no using in kernel code.",
  },
];

const notErasable = [
  { selector: "ExportDefaultDeclaration", message: "Export by name." },
  { selector: "TSEnumDeclaration", message: "Use an `as const` table." },
  { selector: "TSModuleDeclaration[kind='namespace']", message: "Use a module." },
  { selector: "TSParameterProperty", message: "Declare the field and assign it." },
];

/** Anything whose answer differs between two runs, or that comes back later than now. */
const nondeterministic = ["performance", "Promise", "setTimeout", "setInterval", "setImmediate", "queueMicrotask"];
const asynchronous = [
  { selector: "NewExpression[callee.name='Date'][arguments.length=0]", message: "No wall clock below tools/." },
  { selector: "CallExpression[callee.name='Date']", message: "No wall clock below tools/." },
  { selector: "MemberExpression[object.name='Date'][property.name='now']", message: "No wall clock below tools/." },
  { selector: ":function[async=true]", message: "Below tools/ everything is synchronous." },
  { selector: "AwaitExpression", message: "Below tools/ everything is synchronous." },
  { selector: "MemberExpression[object.name='Math'][property.name='random']", message: "Draw from a named stream." },
  {
    selector: "MemberExpression[object.name='process'][property.name='hrtime']",
    message: "No wall clock below tools/.",
  },
];

const floorRule = (folders, files = []) => [
  "error",
  {
    patterns: [
      ...folders.map((name) => ({
        regex: `(^|/)${name}/`,
        message: `Imports only go down: this floor lies below ${name}/.`,
      })),
      ...files.map((name) => ({ regex: `/${name}[^/]*$`, message: `A chip knows no ${name}.` })),
    ],
  },
];

const below = Object.keys(floors).map((folder) => `${folder}/**/*.ts`);
const specs = ["**/*.spec.ts"];

export default defineConfig(
  { ignores: ["dist/", "node_modules/", "out/", "coverage/"] },
  tseslint.configs.recommended,
  {
    files: ["**/*.{ts,js,mjs}"],
    linterOptions: { reportUnusedDisableDirectives: "error" },
    rules: {
      eqeqeq: "error",
      "prefer-const": ["error", { destructuring: "all" }],
      "no-cond-assign": "error",
      "no-debugger": "error",
      "no-dupe-else-if": "error",
      "no-duplicate-case": "error",
      "no-empty": "error",
      "no-fallthrough": "error",
      "no-loss-of-precision": "error",
      "no-self-assign": "error",
      "no-self-compare": "error",
      "no-sparse-arrays": "error",
      "no-unreachable": "error",
      "no-unsafe-finally": "error",
      "no-unsafe-optional-chaining": "error",
      "no-useless-catch": "error",
      "no-useless-escape": "error",
      "use-isnan": "error",
      "@typescript-eslint/no-non-null-assertion": "off",
      // The kernel that runs now is a module variable, like the globals of the C that it stands for.
      "@typescript-eslint/no-this-alias": "off",
      "@typescript-eslint/no-unused-vars": ["error", { argsIgnorePattern: "^_", varsIgnorePattern: "^_" }],
      "@typescript-eslint/consistent-type-imports": ["error", { fixStyle: "inline-type-imports" }],
      "no-restricted-syntax": ["error", ...notErasable],
    },
  },
  {
    files: below,
    ignores: specs,
    rules: {
      "no-restricted-globals": ["error", ...nondeterministic],
      "no-restricted-syntax": ["error", ...notErasable, ...asynchronous],
    },
  },
  {
    files: kernelCode,
    ignores: specs,
    plugins: { dumplab: { rules: { "kernel-calls": kernelCalls } } },
    rules: {
      "no-restricted-syntax": ["error", ...notErasable, ...asynchronous, ...notInKernel],
      "dumplab/kernel-calls": "error",
    },
  },
  ...Object.entries(floors).map(([folder, above]) => ({
    files: [`${folder}/**/*.ts`],
    rules: { "no-restricted-imports": floorRule(above) },
  })),
  {
    files: ["hba/*/chip*.ts", "hba/*/registers*.ts"],
    ignores: specs,
    rules: { "no-restricted-imports": floorRule(["kernel-sim", ...floors.hba], ["driver"]) },
  },
  {
    // Configuration files are read by their default export.
    files: ["**/*.config.{js,ts}"],
    rules: { "no-restricted-syntax": "off" },
  },
  {
    files: ["**/*.d.ts"],
    rules: { "no-restricted-syntax": "off" },
  },
);
