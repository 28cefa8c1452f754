/**
 * What an expression may be made of, and what it may cost at most: both are known before it is evaluated once.
 *
 * Left out on purpose, beside what the language does not have: `cel.bind` (texts that double with every step),
 * `split`, `join` and `json` (results that are larger than what the request brought), and time zones in accessors
 * (they depend on the machine's own; windows are the place for them).
 */
import type { ASTNode } from '@marcbachmann/cel-js';
import { RE2JSException } from 're2js';
import { MAX_FACT_ENTRIES } from './facts.ts';
import { LinearPattern, MAX_PATTERN_PROGRAM } from './linear-pattern.ts';

export class BoundsError extends Error {
  override readonly name = 'BoundsError';
  /** Offset in the expression, UTF-16 code units. */
  readonly offset: number;
  constructor(offset: number, message: string) {
    super(message);
    this.offset = offset;
  }
}

export const MAX_COMPREHENSION_DEPTH = 2;
/** Steps of evaluation at the worst request; a tenth of a second, if every one of them fails. */
export const MAX_COST = 2_000_000;
const MAX_PATTERN_LENGTH = 512;

const COMPREHENSIONS: ReadonlySet<string> = new Set(['all', 'exists', 'exists_one', 'map', 'filter']);
/** In steps: what goes through a text of the largest size counts for more. */
const FUNCTIONS: ReadonlyMap<string, number> = new Map([
  ...['has', 'bool', 'int', 'uint', 'double', 'dyn', 'type', 'timestamp', 'duration'].map(
    (name): [string, number] => [name, 4],
  ),
  ['string', 16],
  ['bytes', 256],
  ['size', 256],
]);
const METHODS: ReadonlyMap<string, number> = new Map([
  ...['startsWith', 'endsWith'].map((name): [string, number] => [name, 16]),
  ...['contains', 'indexOf', 'lastIndexOf', 'lowerAscii', 'upperAscii', 'trim', 'substring', 'size'].map(
    (name): [string, number] => [name, 256],
  ),
  ['matches', 4096],
  ...['getFullYear', 'getMonth', 'getDate', 'getDayOfMonth', 'getDayOfWeek'].map((name): [string, number] => [
    name,
    4,
  ]),
  ...['getHours', 'getMinutes', 'getSeconds', 'getMilliseconds'].map((name): [string, number] => [name, 4]),
]);
const WITHOUT_ARGUMENTS = /^(?:get[A-Z]|size$)/;
const COMPARISON_COST = 16;

/** RFC 3339 with a time zone: without one the text would mean another instant on every machine. */
const TIMESTAMP = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(?:\.\d{1,3})?(?:Z|[+-]\d{2}:\d{2})$/;

interface Measure {
  readonly cost: number;
  /** Entries at most, if the value is a list or a map. */
  readonly length: number;
}

export interface Uses {
  now: boolean;
  readonly types: Set<'jwt' | 'x509' | 'dsse'>;
}

/**
 * Walks what the parser made, before it is checked. The pattern of every `matches` becomes a compiled one of linear
 * time: the library's own, which backtracks, is reached by none.
 *
 * @throws BoundsError
 */
export function bindExpression(root: ASTNode): Uses {
  const uses: Uses = { now: false, types: new Set() };
  const { cost } = measure(root, 0, uses);
  if (cost > MAX_COST) throw new BoundsError(0, 'could take too long: there is too much inside of loops');
  return uses;
}

function measure(node: ASTNode, depth: number, uses: Uses): Measure {
  const inner = (child: ASTNode): Measure => measure(child, depth, uses);
  const sum = (children: readonly ASTNode[], own: number): Measure => ({
    cost: children.reduce((total, child) => total + inner(child).cost, own),
    length: MAX_FACT_ENTRIES,
  });
  switch (node.op) {
    case 'value':
      return { cost: 1, length: MAX_FACT_ENTRIES };
    case 'id':
      if (node.args === 'now') uses.now = true;
      return { cost: 1, length: MAX_FACT_ENTRIES };
    case '.':
      noteType(node.args[0], node.args[1], uses);
      return sum([node.args[0]], 2);
    case '[]':
      if (isRequest(node.args[0])) throw new BoundsError(node.pos, 'write `request.` and a name');
      return sum(node.args, 2);
    case 'list':
      return { ...sum(node.args, 1), length: node.args.length };
    case 'map':
      return { ...sum(node.args.flat(), 1), length: node.args.length };
    case '+': {
      const [left, right] = node.args.map(inner);
      const length = (left?.length ?? 0) + (right?.length ?? 0);
      return { cost: (left?.cost ?? 0) + (right?.cost ?? 0) + length / 8 + COMPARISON_COST, length };
    }
    case '?:': {
      const [condition, yes, no] = node.args.map(inner);
      const cost = (condition?.cost ?? 0) + (yes?.cost ?? 0) + (no?.cost ?? 0);
      return { cost: cost + 1, length: Math.max(yes?.length ?? 0, no?.length ?? 0) };
    }
    case 'in': {
      const [value, list] = node.args.map(inner);
      const length = list?.length ?? 0;
      return { cost: (value?.cost ?? 0) + (list?.cost ?? 0) + 2 * length + COMPARISON_COST, length: 0 };
    }
    case '!_':
    case '-_':
      return sum([node.args], 1);
    case '==':
    case '!=':
    case '<':
    case '<=':
    case '>':
    case '>=':
      return sum(node.args, COMPARISON_COST);
    case '-':
    case '*':
    case '/':
    case '%':
    case '||':
    case '&&':
      return sum(node.args, 2);
    case 'call':
      return callCost(node.args[0], node.args[1], node.pos, sum);
    case 'rcall': {
      const [name, receiver, args] = node.args;
      if (COMPREHENSIONS.has(name)) return loop(inner(receiver), args, depth, uses, node.pos, name);
      return methodCost(name, receiver, args, node.pos, sum);
    }
    default:
      throw new BoundsError(node.pos, `\`${node.op}\` is not supported`);
  }
}

type Sum = (children: readonly ASTNode[], own: number) => Measure;

function loop(
  range: Measure,
  args: readonly ASTNode[],
  depth: number,
  uses: Uses,
  offset: number,
  name: string,
): Measure {
  if (depth + 1 > MAX_COMPREHENSION_DEPTH) {
    throw new BoundsError(offset, `loops stand more than ${MAX_COMPREHENSION_DEPTH} deep in each other`);
  }
  const body = args.slice(1).reduce((total, child) => total + measure(child, depth + 1, uses).cost, 2);
  const isList = name === 'map' || name === 'filter';
  return { cost: range.cost + range.length * body + 2, length: isList ? range.length : 0 };
}

function callCost(name: string, args: readonly ASTNode[], offset: number, sum: Sum): Measure {
  const own = FUNCTIONS.get(name);
  if (own === undefined) throw new BoundsError(offset, `there is no function \`${name}\``);
  if (name === 'timestamp' || name === 'duration') {
    const text = args[0]?.op === 'value' ? args[0].args : undefined;
    const isNumber = name === 'timestamp' && typeof text === 'bigint';
    if (typeof text !== 'string' && !isNumber) {
      throw new BoundsError(offset, `${name}() takes a text that stands there, not one that is computed`);
    }
    if (name === 'timestamp' && typeof text === 'string' && !TIMESTAMP.test(text)) {
      throw new BoundsError(offset, 'timestamp() takes a text such as "2026-12-24T12:00:00Z"');
    }
  }
  return sum(args, own);
}

function methodCost(
  name: string,
  receiver: ASTNode,
  args: readonly ASTNode[],
  offset: number,
  sum: Sum,
): Measure {
  const own = METHODS.get(name);
  if (own === undefined) throw new BoundsError(offset, `there is no method \`${name}\``);
  if (args.length > 0 && WITHOUT_ARGUMENTS.test(name)) {
    throw new BoundsError(offset, `${name}() takes nothing: it is UTC; for other zones there are windows`);
  }
  const total = sum([receiver, ...args], own);
  if (name === 'matches') bindPattern(args[0], offset);
  return total;
}

function bindPattern(argument: ASTNode | undefined, offset: number): void {
  const pattern = argument?.op === 'value' ? argument.args : undefined;
  if (argument === undefined || typeof pattern !== 'string') {
    throw new BoundsError(offset, 'matches() takes a pattern that stands there, not one that is computed');
  }
  if (pattern.length > MAX_PATTERN_LENGTH) {
    throw new BoundsError(argument.pos, `the pattern is longer than ${MAX_PATTERN_LENGTH} characters`);
  }
  try {
    const linear = new LinearPattern(pattern);
    if (linear.programSize > MAX_PATTERN_PROGRAM) {
      throw new BoundsError(argument.pos, 'the pattern is too large once its repetitions are written out');
    }
    // The node is ours: parsed for this expression alone, and not looked at by anybody yet.
    (argument as { args: unknown }).args = linear;
  } catch (error) {
    if (!(error instanceof RE2JSException)) throw error;
    throw new BoundsError(argument.pos, `the pattern is none of RE2: ${error.message}`);
  }
}

function isRequest(node: ASTNode): boolean {
  return node.op === 'id' && node.args === 'request';
}

function noteType(object: ASTNode, name: string, uses: Uses): void {
  if (isRequest(object) && (name === 'jwt' || name === 'x509' || name === 'dsse')) uses.types.add(name);
}
