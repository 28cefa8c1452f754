/**
 * Expressions of the Common Expression Language (CEL): `when`, and the values of guards. Everything that can be wrong
 * is found when a policy is loaded; what fails afterwards, whatever it is, is a failure and never a value.
 */
import {
  type ASTNode,
  TypeError as CelTypeError,
  Environment,
  EvaluationError,
  ParseError,
  type ParseResult,
} from '@marcbachmann/cel-js';
import type { KeyUseQuestion } from '../decision.ts';
import { BoundsError, bindExpression, type Uses } from './bounds.ts';
import { ConnectionFacts, FactsError, KeyFacts, RequestFacts, WorkloadFacts } from './facts.ts';
import { beginPatternSteps, LinearPattern, PatternStepsError } from './linear-pattern.ts';

/** What the value must be: of `when` a boolean, of `monotonic` a whole number, of `unique` a text or a whole number. */
export type ExpressionKind = 'condition' | 'monotonic' | 'unique';

export interface Expression {
  readonly text: string;
  readonly usesNow: boolean;
  /** Content of typed requests that it looks at. */
  readonly types: readonly ('jwt' | 'x509' | 'dsse')[];
  /** Never throws. */
  evaluate(activation: Activation): Evaluation;
}

export type Evaluation =
  | { readonly ok: true; readonly value: boolean | bigint | string }
  /** In words, bounded, without line breaks. */
  | { readonly ok: false; readonly message: string };

export type CompiledExpression =
  | { readonly ok: true; readonly expression: Expression }
  /** `offset`: in the text, UTF-16 code units. */
  | { readonly ok: false; readonly message: string; readonly offset: number };

export const MAX_EXPRESSION_LENGTH = 4096;
const MAX_MESSAGE_LENGTH = 200;
/** Longer texts are not kept as history; an author takes a digest or a part. */
const MAX_UNIQUE_LENGTH = 1024;

const DURATION = 'google.protobuf.Duration';

const environment: Environment = makeEnvironment();
// The library does not export its class, and no other way makes one.
const Duration = environment.evaluate('duration("1s")').constructor as new (seconds: bigint) => object;

function makeEnvironment(): Environment {
  const made = new Environment({
    unlistedVariablesAreDyn: false,
    limits: { maxAstNodes: 512, maxDepth: 32, maxListElements: 256, maxMapEntries: 64, maxCallArguments: 3 },
  })
    .registerType('Request', {
      ctor: RequestFacts,
      fields: {
        operation: 'string',
        algorithm: 'string',
        bytes: 'int',
        content: 'string',
        version: 'int',
        jwt: 'map',
        x509: 'map',
        dsse: 'map',
      },
    })
    .registerType('Workload', {
      ctor: WorkloadFacts,
      fields: { id: 'string', trustDomain: 'string', path: 'list<string>' },
    })
    .registerType('Key', { ctor: KeyFacts, fields: { name: 'string', path: 'list<string>' } })
    .registerType('Connection', { ctor: ConnectionFacts, fields: { peerAddress: 'string' } })
    .registerType('Pattern', { ctor: LinearPattern, fields: {} })
    .registerVariable('request', 'Request')
    .registerVariable('workload', 'Workload')
    .registerVariable('evidence', 'list<string>')
    .registerVariable('key', 'Key')
    .registerVariable('connection', 'Connection')
    .registerVariable('now', 'google.protobuf.Timestamp')
    .registerFunction(
      'string.matches(Pattern): bool',
      (text: string, pattern: LinearPattern) => pattern.test(text),
      {
        async: false,
      },
    );
  // `request.jwt.lifetime <= 3600` means seconds: whoever writes that must not be told "no such overload" by a denial.
  const seconds = (duration: number | { valueOf(): number } | bigint): number =>
    typeof duration === 'bigint' ? Number(duration) * 1000 : duration.valueOf();
  for (const [left, right] of [
    [DURATION, 'int'],
    ['int', DURATION],
  ]) {
    made
      .registerOperator(`${left} < ${right}: bool`, (a, b) => seconds(a) < seconds(b))
      .registerOperator(`${left} <= ${right}: bool`, (a, b) => seconds(a) <= seconds(b))
      .registerOperator(`${left} > ${right}: bool`, (a, b) => seconds(a) > seconds(b))
      .registerOperator(`${left} >= ${right}: bool`, (a, b) => seconds(a) >= seconds(b));
  }
  return made;
}

export function compileExpression(text: string, kind: ExpressionKind): CompiledExpression {
  if (text.length > MAX_EXPRESSION_LENGTH) {
    return { ok: false, message: `is longer than ${MAX_EXPRESSION_LENGTH} characters`, offset: 0 };
  }
  let parsed: ParseResult;
  let uses: Uses;
  try {
    parsed = environment.parse(text);
    uses = bindExpression(parsed.ast as ASTNode);
    const { valid, type, error } = parsed.check();
    if (!valid || type === undefined) return refusal(error);
    if (!RESULT_TYPES[kind].includes(type)) {
      return { ok: false, message: `is ${article(type)}, where ${EXPECTED[kind]} is needed`, offset: 0 };
    }
  } catch (error) {
    return refusal(error);
  }
  return { ok: true, expression: new CelExpression(text, kind, parsed, uses) };
}

const RESULT_TYPES: { readonly [kind in ExpressionKind]: readonly string[] } = {
  condition: ['bool', 'dyn'],
  monotonic: ['int', 'dyn'],
  unique: ['string', 'int', 'dyn'],
};
const EXPECTED: { readonly [kind in ExpressionKind]: string } = {
  condition: 'true or false',
  monotonic: 'a whole number',
  unique: 'a text or a whole number',
};

function article(type: string): string {
  return type === 'int' ? 'a whole number' : `of the type ${type}`;
}

// What the library may throw for a text is not all typed: a crash of its is a text that is not understood.
function refusal(error: unknown): CompiledExpression {
  if (error instanceof BoundsError) return { ok: false, message: plain(error.message), offset: error.offset };
  if (error instanceof ParseError || error instanceof CelTypeError || error instanceof EvaluationError) {
    return { ok: false, message: plain(error.summary), offset: error.range?.start ?? 0 };
  }
  return { ok: false, message: 'is not understood', offset: 0 };
}

class CelExpression implements Expression {
  readonly text: string;
  readonly usesNow: boolean;
  readonly types: readonly ('jwt' | 'x509' | 'dsse')[];
  readonly #kind: ExpressionKind;
  readonly #run: ParseResult;

  constructor(text: string, kind: ExpressionKind, run: ParseResult, uses: Uses) {
    this.text = text;
    this.usesNow = uses.now;
    this.types = [...uses.types];
    this.#kind = kind;
    this.#run = run;
  }

  evaluate(activation: Activation): Evaluation {
    if (this.usesNow && !activation.isNowKnown) return { ok: false, message: 'the clock is in doubt' };
    // Inside of a loop an error is an answer like any other, and a caller can make every round of it one: stack traces,
    // which nobody would read, were half of the time of the worst request. Synchronous, so nobody else goes without.
    const { stackTraceLimit } = Error;
    Error.stackTraceLimit = 0;
    let value: unknown;
    try {
      beginPatternSteps();
      value = this.#run(activation);
    } catch (error) {
      return { ok: false, message: failure(error) };
    } finally {
      Error.stackTraceLimit = stackTraceLimit;
    }
    return this.#accept(value);
  }

  #accept(value: unknown): Evaluation {
    const kind = this.#kind;
    switch (kind) {
      case 'condition':
        if (typeof value === 'boolean') return { ok: true, value };
        break;
      case 'monotonic':
        if (typeof value === 'bigint') return { ok: true, value };
        break;
      case 'unique':
        if (typeof value === 'bigint') return { ok: true, value: String(value) };
        if (typeof value === 'string') {
          if (value.length > MAX_UNIQUE_LENGTH) {
            return { ok: false, message: `the text is longer than ${MAX_UNIQUE_LENGTH} characters` };
          }
          // Otherwise everything that has none would be one thing.
          if (value === '') return { ok: false, message: 'the text is empty' };
          return { ok: true, value };
        }
        break;
      default:
        return kind satisfies never;
    }
    return { ok: false, message: `the value is not ${EXPECTED[kind]}` };
  }
}

function failure(error: unknown): string {
  if (error instanceof EvaluationError || error instanceof CelTypeError) return plain(error.summary);
  if (error instanceof FactsError || error instanceof PatternStepsError) return error.message;
  return 'it cannot be computed';
}

// Messages quote what a request or an author wrote, and are shown in terminals.
function plain(message: string): string {
  const safe = message.replace(/[\p{Cc}\p{Cf}\u2028\u2029]/gu, '?');
  return safe.length > MAX_MESSAGE_LENGTH ? `${safe.slice(0, MAX_MESSAGE_LENGTH)}…` : safe;
}

/** The variables of one request; made once, for all expressions that are asked about it. */
export class Activation {
  readonly request: RequestFacts;
  readonly workload: WorkloadFacts;
  readonly evidence: readonly string[];
  readonly key: KeyFacts;
  readonly connection: ConnectionFacts;
  readonly now: Date;
  /** False: the clock is in more doubt than the policy allows. */
  readonly isNowKnown: boolean;

  /**
   * `spiffeId` and `key` of the question must be well-formed.
   *
   * @throws FactsError
   */
  constructor(question: KeyUseQuestion, now: number, isNowKnown: boolean) {
    this.request = new RequestFacts(question, (seconds) => new Duration(seconds));
    this.workload = new WorkloadFacts(question.spiffeId);
    this.evidence = [...(question.circumstances?.evidence ?? [])];
    this.key = new KeyFacts(question.key);
    this.connection = new ConnectionFacts(question.circumstances?.peerAddress ?? '');
    this.now = new Date(now);
    this.isNowKnown = isNowKnown;
  }
}
