/**
 * A team's own tests of a policy: requests and what is expected of them, in a YAML file. Each case starts with empty
 * counters; the requests of one case are decided one after the other.
 */
import { z } from 'zod';
import { type Circumstances, type KeyUseQuestion, OPERATIONS } from './decision.ts';
import { isKeyName } from './key-name.ts';
import { factOf, isFacts } from './plain-facts.ts';
import { PolicyPlayer, type ReplayedPolicy, whyDenied } from './replay-player.ts';
import { spiffeIdOrUndefined } from './scope.ts';
import { parseYamlSource, type YamlPath, type YamlSource } from './source.ts';
import { quoteSource, type SourceIssue } from './source-issue.ts';
import { readSource } from './source-schema.ts';
import { POLICY_ALGORITHMS } from './vocabulary.ts';

export const MAX_CASES_BYTES = 1024 * 1024;

const DURATION = /^(\d{1,9})(ms|s|m|h|d)$/;
const UNIT_MS: Readonly<Record<string, number>> = { ms: 1, s: 1000, m: 60_000, h: 3_600_000, d: 86_400_000 };

const instant = z
  .string()
  .refine(
    (text) =>
      /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,3})?(Z|[+-]\d\d:\d\d)$/.test(text) &&
      !Number.isNaN(Date.parse(text)),
    'must be a time with its offset, such as 2026-11-21T08:00:00Z',
  )
  .describe('When: RFC 3339.');

const duration = z.string().regex(DURATION, 'must be a duration such as 250ms, 30s, 15m, 2h or 1d');

const requestFields = {
  workload: z.string().max(2048).optional().describe('SPIFFE ID of who asks.'),
  key: z.string().max(128).optional().describe('Key name; not for `random`.'),
  operation: z.enum(OPERATIONS).optional().describe('For what.'),
  algorithm: z
    .enum([...POLICY_ALGORITHMS, 'EdDSA'])
    .optional()
    .describe('JOSE name; left out: none is named.'),
  at: instant.optional(),
  doubt: duration.optional().describe('How far the clock may be wrong; left out: not at all.'),
  bytes: z
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe('Of the message, digest, plaintext or ciphertext.'),
  content: z
    .enum(['message', 'digest', 'ciphertext', 'plaintext', 'typed', 'none'])
    .optional()
    .describe('What is handed in.'),
  version: z
    .number()
    .int()
    .nonnegative()
    .optional()
    .describe('The key version that is pinned; 0: the active one.'),
  approved: z.boolean().optional().describe('People have agreed to the request, where a rule asks them.'),
  evidence: z.array(z.string().min(1).max(64)).max(16).optional().describe('Left out: `[x509-svid]`.'),
  peer: z.string().max(64).optional().describe('Address of the peer, without the port.'),
  request: z
    .strictObject({
      jwt: z.unknown().optional(),
      x509: z.unknown().optional(),
      dsse: z.unknown().optional(),
    })
    .optional()
    .describe('Typed signing: what is to be built, as conditions see it. Whole numbers are integers.'),
} as const;

const expectation = {
  expect: z
    .enum(['allow', 'deny', 'pending'])
    .describe('`pending`: people have to agree first. With `approved: true` they have.'),
  rule: z.string().max(64).optional().describe('Id of the deciding rule; empty: that no rule matched.'),
  times: z
    .number()
    .int()
    .min(1)
    .max(100_000)
    .optional()
    .describe('So often, at the same time. Default once.'),
} as const;

const caseSchema = z.strictObject({
  name: z.string().min(1).max(256),
  ...requestFields,
  ...expectation,
  expect: expectation.expect.optional(),
  requests: z
    .array(
      z.strictObject({
        ...requestFields,
        after: duration.optional().describe('So long after the request before.'),
        ...expectation,
      }),
    )
    .min(1)
    .max(1000)
    .optional()
    .describe('Instead of one: several, each with what the case says where it does not say otherwise.'),
});

const casesSchema = z.strictObject({
  version: z.literal(1).describe('Of the format.'),
  policy: z.string().min(1).max(4096).optional().describe('The policy file, relative to this one.'),
  cases: z.array(caseSchema).min(1).max(10_000),
});

type CasesDocument = z.output<typeof casesSchema>;
type CaseDocument = CasesDocument['cases'][number];
type StepDocument = NonNullable<CaseDocument['requests']>[number];

export interface PolicyCases {
  /** The policy file that the cases name, relative to theirs. */
  readonly policy: string | undefined;
  readonly cases: readonly PolicyCase[];
}

export interface PolicyCase {
  readonly name: string;
  readonly steps: readonly CaseStep[];
  readonly source: YamlSource;
}

interface CaseStep {
  readonly question: KeyUseQuestion;
  readonly times: number;
  readonly isApproved: boolean;
  readonly expect: 'allow' | 'deny' | 'pending';
  readonly rule: string | undefined;
  /** Where the expectation stands. */
  readonly path: YamlPath;
}

export type LoadedCases =
  | { readonly ok: true; readonly cases: PolicyCases }
  | { readonly ok: false; readonly issues: readonly SourceIssue[] };

/** Never throws for anything the bytes hold. */
export function loadCases(bytes: Uint8Array, file?: string): LoadedCases {
  const parsed = parseYamlSource(bytes, { file, maxBytes: MAX_CASES_BYTES });
  if (!parsed.ok) return parsed;
  const { source } = parsed;
  const read = readSource(source, casesSchema);
  if (!read.ok) return read;
  const issues: SourceIssue[] = [];
  const report = (path: YamlPath, message: string): void => {
    if (issues.length < 50) issues.push(source.issue(path, message));
  };
  const names = new Set<string>();
  const cases = read.value.cases.map((one, i): PolicyCase => {
    if (names.has(one.name))
      report(['cases', i, 'name'], `${quoteSource(one.name)} is the name of a case already`);
    names.add(one.name);
    return { name: one.name, source, steps: stepsOf(one, ['cases', i], report) };
  });
  return issues.length > 0
    ? { ok: false, issues }
    : { ok: true, cases: { policy: read.value.policy, cases } };
}

type Report = (path: YamlPath, message: string) => void;

function stepsOf(one: CaseDocument, path: YamlPath, report: Report): CaseStep[] {
  const { name: _name, requests, ...fields } = one;
  if (requests === undefined) {
    if (fields.expect === undefined) {
      report(path, 'the case says neither `expect` nor `requests`');
      return [];
    }
    return stepOf({ ...fields, expect: fields.expect }, undefined, path, path, report);
  }
  for (const field of ['expect', 'rule', 'times'] as const) {
    if (fields[field] !== undefined)
      report([...path, field], `\`${field}\` belongs to each of the \`requests\``);
  }
  const steps: CaseStep[] = [];
  const { expect: _expect, rule: _rule, times: _times, ...common } = fields;
  for (const [i, request] of requests.entries()) {
    const before = steps.at(-1)?.question.circumstances?.now;
    const at = [...path, 'requests', i];
    if (request.after !== undefined && request.at !== undefined)
      report([...at, 'after'], '`after` and `at` say the same; leave one out');
    steps.push(...stepOf({ ...common, ...request }, before, at, path, report));
  }
  return steps;
}

function stepOf(
  step: StepDocument,
  before: number | undefined,
  path: YamlPath,
  casePath: YamlPath,
  report: Report,
): CaseStep[] {
  const { workload, operation, key = '' } = step;
  const missing = (field: string): void => report(casePath, `\`${field}\` is missing`);
  const id = workload === undefined ? undefined : spiffeIdOrUndefined(workload);
  if (workload === undefined) missing('workload');
  else if (id === undefined || id.segments.length === 0)
    report([...path, 'workload'], `${quoteSource(workload)} is not the SPIFFE ID of a workload`);
  if (operation === undefined) missing('operation');
  else if (operation === 'random' ? key !== '' : !isKeyName(key)) {
    if (key === '') missing('key');
    else
      report(
        [...path, 'key'],
        operation === 'random' ? '`random` uses no key' : `${quoteSource(key)} is not a key name`,
      );
  }
  if (workload === undefined || operation === undefined) return [];
  const circumstances = circumstancesOf(step, before, path, report);
  return [
    {
      question: { spiffeId: workload, operation, key, algorithm: step.algorithm ?? '', circumstances },
      times: step.times ?? 1,
      isApproved: step.approved ?? false,
      expect: step.expect,
      rule: step.rule,
      path: [...path, step.rule === undefined ? 'expect' : 'rule'],
    },
  ];
}

/** Where a case says nothing: a time of no meaning, so that a test that depends on it says which it means. */
const SOME_TIME = Date.UTC(2000, 0, 1);

function circumstancesOf(
  step: StepDocument,
  before: number | undefined,
  path: YamlPath,
  report: Report,
): Circumstances {
  const own = step.after === undefined ? undefined : (before ?? startOf(step)) + milliseconds(step.after);
  const types = (['jwt', 'x509', 'dsse'] as const).filter((type) => step.request?.[type] !== undefined);
  if (types.length > 1) report([...path, 'request'], 'a request is of one type');
  const [type] = types;
  const facts = type === undefined ? undefined : factOf(step.request?.[type]);
  if (type !== undefined && !isFacts(facts)) report([...path, 'request', type], 'must be names and values');
  return Object.freeze({
    now: own ?? (step.at === undefined && before !== undefined ? before : startOf(step)),
    clockDoubtMs: step.doubt === undefined ? 0 : milliseconds(step.doubt),
    bytes: step.bytes ?? 0,
    content: step.content ?? (type === undefined ? 'message' : 'typed'),
    version: step.version ?? 0,
    typed: type !== undefined && isFacts(facts) ? Object.freeze({ type, facts }) : undefined,
    evidence: Object.freeze(step.evidence ?? ['x509-svid']),
    peerAddress: step.peer ?? '127.0.0.1',
  });
}

function startOf(step: StepDocument): number {
  return step.at === undefined ? SOME_TIME : Date.parse(step.at);
}

function milliseconds(text: string): number {
  const [, amount = '0', unit = 'ms'] = DURATION.exec(text) ?? [];
  return Number(amount) * (UNIT_MS[unit] ?? 1);
}

export interface CaseFailure {
  readonly name: string;
  /** Where the expectation stands, and what came instead. */
  readonly issue: SourceIssue;
}

export interface CaseReport {
  readonly cases: number;
  readonly passed: number;
  readonly failures: readonly CaseFailure[];
}

/** Decides every request; of a case, the first that comes out otherwise is its failure. */
export function runCases({ cases }: PolicyCases, policy: ReplayedPolicy): CaseReport {
  const failures = cases.flatMap((one) => {
    const issue = firstFailure(one, policy);
    return issue === undefined ? [] : [{ name: one.name, issue }];
  });
  return { cases: cases.length, passed: cases.length - failures.length, failures };
}

function firstFailure({ name, steps, source }: PolicyCase, policy: ReplayedPolicy): SourceIssue | undefined {
  const player = new PolicyPlayer(policy);
  for (const { question, times, isApproved, expect, rule, path } of steps) {
    for (let i = 1; i <= times; i++) {
      const played = player.play(question, isApproved);
      if (played.effect === expect && (rule === undefined || played.rule === rule)) continue;
      const which = times === 1 ? '' : ` (time ${i} of ${times})`;
      const wanted = `${expect}${rule === undefined ? '' : rule === '' ? ' by no rule' : ` by ${rule}`}`;
      const got = `${played.effect}${played.rule === '' ? '' : ` by ${played.rule}`}`;
      const why =
        played.effect === 'allow'
          ? ''
          : `: ${played.why === '' ? whyDenied(policy.explain(question)) : played.why}`;
      return source.issue(path, `${name}${which}: expected ${wanted}, but it is ${got}${why}`);
    }
  }
  return undefined;
}
