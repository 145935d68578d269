// An ESLint rule: a call of a kernel function that contains a preemption point is consumed where it is made.
//
// Without `yield*` such a call does nothing, or only its first part. And when there is nothing to wait for, many of them
// answer with one shared, finished iterator: stored and consumed later, it would be another call's.
// Which functions these are is read from the sources: generators, `const f = kfunc("f", ...)`, and whatever is declared to
// return `Running`.
import { existsSync, readFileSync } from "node:fs";
import { dirname, resolve } from "node:path";

const GENERATOR = /\bfunction\*\s+(\w+)/g;
const KERNEL_FUNCTIONS = [
  /\bfunction\s+(\w+)(?:<[^>]*>)?\([^)]*\):\s*Running\b/g,
  /\bconst\s+(\w+)\s*=\s*(?:<[^>]*>)?\([^)]*\):\s*Running\b/g,
  // kfunc, or what moduleFunctions() made: the symbol is the name. kleaf is the plain sort.
  /\bconst\s+(\w+)\s*=\s*(?!kleaf\b)\w+(?:<[^>]*>)?\(\s*"\1"/g,
];

const waitingByFile = new Map();

/**
 * The functions with preemption points that a source declares, by name. A bare generator makes an iterator of its own, which
 * may be kept for later ("own"); that of a kernel function may not ("shared").
 */
export function waitingFunctionsIn(text) {
  const names = new Map();
  for (const [, name] of text.matchAll(GENERATOR)) names.set(name, "own");
  for (const pattern of KERNEL_FUNCTIONS) for (const [, name] of text.matchAll(pattern)) names.set(name, "shared");
  return names;
}

function waitingIn(file) {
  let names = waitingByFile.get(file);
  if (!names) {
    names = existsSync(file) ? waitingFunctionsIn(readFileSync(file, "utf8")) : new Map();
    waitingByFile.set(file, names);
  }
  return names;
}

/** Where a value goes on to, when the node only hands it through. */
const HANDS_ON = new Set(["ConditionalExpression", "LogicalExpression", "TSAsExpression", "TSNonNullExpression"]);

function isConsumed(node) {
  const { parent } = node;
  if (parent.type === "VariableDeclarator") return isLookedAtNext(parent);
  if (parent.type === "YieldExpression") return parent.delegate;
  if (parent.type === "ReturnStatement") return true;
  if (parent.type === "ArrowFunctionExpression") return parent.body === node;
  if (parent.type === "ConditionalExpression" && parent.test === node) return false;
  return HANDS_ON.has(parent.type) && isConsumed(parent);
}

/** `const x = f(); if (isFinished(x)) ...`, `const x = f(); return isFinished(x) ? ... : ...`: a plain body takes it at once, too. */
function isLookedAtNext({ id, parent: declaration }) {
  const { body } = declaration.parent;
  const next = Array.isArray(body) ? body[body.indexOf(declaration) + 1] : undefined;
  let test =
    next?.type === "IfStatement" ? next.test : next?.type === "ReturnStatement" ? next.argument?.test : undefined;
  if (test?.type === "UnaryExpression" && test.operator === "!") test = test.argument;
  return test?.type === "CallExpression" && test.callee.name === "isFinished" && test.arguments[0]?.name === id.name;
}

export const kernelCalls = {
  meta: {
    type: "problem",
    schema: [],
    messages: { lost: "{{name}} contains a preemption point: call it as `yield* {{name}}(...)`, at once." },
  },
  create(context) {
    const { sourceCode, filename } = context;

    /** "own", "shared", or undefined for a function without preemption points. */
    function iteratorOf(identifier) {
      for (let scope = sourceCode.getScope(identifier); scope; scope = scope.upper) {
        const definition = scope.set.get(identifier.name)?.defs[0];
        if (!definition) continue;
        if (definition.type !== "ImportBinding") {
          return scope.type === "module" ? waitingFunctionsIn(sourceCode.text).get(identifier.name) : undefined;
        }
        const from = definition.parent.source.value;
        if (!from.startsWith(".") || definition.node.type !== "ImportSpecifier") return undefined;
        return waitingIn(resolve(dirname(filename), from)).get(definition.node.imported.name);
      }
      return undefined;
    }

    return {
      "CallExpression[callee.type='Identifier']"(node) {
        if (isConsumed(node)) return;
        const iterator = iteratorOf(node.callee);
        if (iterator === undefined || (iterator === "own" && node.parent.type !== "ExpressionStatement")) return;
        context.report({ node, messageId: "lost", data: { name: node.callee.name } });
      },
    };
  },
};
