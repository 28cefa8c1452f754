import {
  type Circumstances,
  type Facts,
  type KeyUseQuestion,
  OPERATIONS,
  type Operation,
} from './decision.ts';
import { factOf, isFacts } from './plain-facts.ts';
import { parseYamlSource } from './source.ts';
import { formatSourceIssue } from './source-issue.ts';

/** A request that nobody made, as a person describes it: what is left empty is as below. */
export interface AskedRequest {
  readonly workload: string;
  readonly key: string;
  readonly operation: string;
  readonly algorithm: string;
  /** RFC 3339; empty: now. */
  readonly at: string;
  /** How far `at` may be wrong, milliseconds. Without `at`, the clock's own doubt counts as well. */
  readonly clockDoubtMs: number;
  /** Empty: what the operation is mostly about. */
  readonly content: string;
  readonly bytes: number;
  /** 0: the active one. */
  readonly version: number;
  /** Empty: `x509-svid`. */
  readonly evidence: readonly string[];
  /** Without the port. */
  readonly peerAddress: string;
  /** JSON or YAML: what is to be built, as conditions see it. Empty: nothing. */
  readonly facts: string;
}

export class AskedRequestError extends Error {
  override readonly name = 'AskedRequestError';
}

const MAX_FACTS_BYTES = 64 * 1024;
const RFC3339 = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?(Z|[+-]\d\d:\d\d)$/;
const CONTENTS = ['message', 'digest', 'ciphertext', 'plaintext', 'typed', 'none'] as const;
const USUAL_CONTENT: Readonly<Record<Operation, Circumstances['content']>> = {
  sign: 'message',
  verify: 'message',
  'sign-jwt': 'typed',
  'sign-certificate': 'typed',
  'sign-dsse': 'typed',
  encrypt: 'plaintext',
  decrypt: 'ciphertext',
  mac: 'message',
  'verify-mac': 'message',
  'generate-data-key': 'none',
  random: 'none',
};
const TYPE_OF: { readonly [operation in Operation]?: 'jwt' | 'x509' | 'dsse' } = {
  'sign-jwt': 'jwt',
  'sign-certificate': 'x509',
  'sign-dsse': 'dsse',
};

/**
 * The question that a policy is asked for `explain`.
 *
 * @param clock what `now` is, and how far it may be wrong; milliseconds
 * @throws AskedRequestError what is wrong, in words
 */
export function questionOf(
  asked: AskedRequest,
  clock: { readonly nowMs: number; readonly doubtMs: number },
): KeyUseQuestion {
  const operation = OPERATIONS.find((name) => name === asked.operation);
  if (operation === undefined)
    throw new AskedRequestError(`operation must be one of ${OPERATIONS.join(', ')}`);
  const content =
    asked.content === '' ? USUAL_CONTENT[operation] : CONTENTS.find((name) => name === asked.content);
  if (content === undefined) throw new AskedRequestError(`content must be one of ${CONTENTS.join(', ')}`);
  const now = asked.at === '' ? clock.nowMs : instant(asked.at);
  const type = TYPE_OF[operation];
  if (asked.facts !== '' && type === undefined)
    throw new AskedRequestError('facts are for typed signing: of other requests nothing is understood');
  const circumstances: Circumstances = {
    now,
    clockDoubtMs: asked.clockDoubtMs + (asked.at === '' ? clock.doubtMs : 0),
    bytes: asked.bytes,
    content,
    version: asked.version,
    typed:
      type === undefined || asked.facts === '' ? undefined : { type, facts: factsOf(asked.facts, type, now) },
    evidence: asked.evidence.length === 0 ? ['x509-svid'] : [...asked.evidence],
    peerAddress: asked.peerAddress,
  };
  return {
    spiffeId: asked.workload,
    operation,
    key: asked.key,
    algorithm: asked.algorithm,
    circumstances,
  };
}

function instant(text: string): number {
  const time = RFC3339.test(text) ? Date.parse(text) : Number.NaN;
  if (Number.isNaN(time))
    throw new AskedRequestError('at must be RFC 3339 with its offset, such as 2026-11-21T08:00:00Z');
  return time;
}

function factsOf(text: string, type: 'jwt' | 'x509' | 'dsse', now: number): Facts {
  const parsed = parseYamlSource(text, { file: 'facts', maxBytes: MAX_FACTS_BYTES });
  if (!parsed.ok) throw new AskedRequestError(parsed.issues.map(formatSourceIssue).join('\n'));
  const facts = factOf(parsed.source.value);
  if (!isFacts(facts)) throw new AskedRequestError('facts must be names and values');
  if (type !== 'jwt') return facts;
  // As SignJwt makes them of claims, so that claims can be given as they are.
  const { aud, lifetime } = facts;
  const iat = BigInt(Math.floor(now / 1000));
  return {
    header: { typ: 'JWT' },
    iat,
    ...(typeof lifetime === 'bigint' ? { exp: iat + lifetime } : {}),
    ...facts,
    aud: aud === undefined ? [] : typeof aud === 'string' ? [aud] : aud,
  };
}
