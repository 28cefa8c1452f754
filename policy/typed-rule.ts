/** What a rule demands of what is signed: declared, so that it can be shown and compared. All of it must hold. */
import type { Circumstances, Facts, Operation } from './decision.ts';
import { formatDuration } from './duration.ts';
import { matchesText } from './text-pattern.ts';

/** Plain data: it crosses threads. */
export interface TypedConstraints {
  readonly jwt?: {
    readonly issuers?: readonly string[] | undefined;
    readonly subjects?: readonly string[] | undefined;
    readonly audiences?: readonly string[] | undefined;
    readonly types?: readonly string[] | undefined;
    readonly claims?: readonly string[] | undefined;
    readonly maxLifetimeMs?: number | undefined;
  };
  readonly certificate?: {
    readonly profiles: readonly string[];
    readonly maxLifetimeMs?: number | undefined;
  };
  readonly dsse?: {
    readonly payloadTypes?: readonly string[] | undefined;
    readonly predicateTypes?: readonly string[] | undefined;
    readonly subjects?: readonly string[] | undefined;
  };
}

/** Facts of a JWT that are no claims of the caller's. */
const NOT_CLAIMS: ReadonlySet<string> = new Set([
  'iss',
  'sub',
  'aud',
  'iat',
  'exp',
  'nbf',
  'jti',
  'lifetime',
  'header',
]);

/** What does not hold, in words; nothing for operations of another type. */
export function typedGaps(
  constraints: TypedConstraints,
  operation: Operation,
  circumstances: Circumstances | undefined,
): readonly string[] {
  switch (operation) {
    case 'sign-jwt':
      return constraints.jwt === undefined ? [] : gaps('jwt', circumstances, jwtGaps, constraints.jwt);
    case 'sign-certificate':
      return constraints.certificate === undefined
        ? []
        : gaps('x509', circumstances, certificateGaps, constraints.certificate);
    case 'sign-dsse':
      return constraints.dsse === undefined ? [] : gaps('dsse', circumstances, dsseGaps, constraints.dsse);
    default:
      return [];
  }
}

function gaps<C>(
  type: 'jwt' | 'x509' | 'dsse',
  circumstances: Circumstances | undefined,
  find: (constraint: C, facts: Facts) => readonly string[],
  constraint: C,
): readonly string[] {
  const typed = circumstances?.typed;
  if (typed?.type !== type) return ['what is to be signed is not known'];
  return find(constraint, typed.facts);
}

function jwtGaps(constraint: NonNullable<TypedConstraints['jwt']>, facts: Facts): readonly string[] {
  const { claims } = constraint;
  const extra =
    claims === undefined
      ? []
      : Object.keys(facts).filter((name) => !NOT_CLAIMS.has(name) && !claims.includes(name));
  const header = facts['header'];
  const typ = typeof header === 'object' && header !== null && 'typ' in header ? header.typ : undefined;
  return [
    ...one('jwt `iss`', facts['iss'], constraint.issuers),
    ...one('jwt `sub`', facts['sub'], constraint.subjects),
    ...every('jwt `aud`', facts['aud'], constraint.audiences),
    ...one('jwt `typ`', typ, constraint.types),
    ...(extra.length === 0 ? [] : ['jwt has a claim that is not among `claims`']),
    ...lifetime('jwt', facts['lifetime'], constraint.maxLifetimeMs),
  ];
}

function certificateGaps(
  constraint: NonNullable<TypedConstraints['certificate']>,
  facts: Facts,
): readonly string[] {
  const { profile } = facts;
  return [
    ...(typeof profile === 'string' && constraint.profiles.includes(profile)
      ? []
      : ['certificate profile is not among `profiles`']),
    ...lifetime('certificate', facts['lifetime'], constraint.maxLifetimeMs),
  ];
}

function dsseGaps(constraint: NonNullable<TypedConstraints['dsse']>, facts: Facts): readonly string[] {
  const { subjects } = facts;
  const names = Array.isArray(subjects)
    ? subjects.map((subject: unknown) =>
        typeof subject === 'object' && subject !== null && 'name' in subject ? subject.name : undefined,
      )
    : undefined;
  return [
    ...one('dsse `payloadType`', facts['payloadType'], constraint.payloadTypes),
    ...one('dsse `predicateType`', facts['predicateType'], constraint.predicateTypes),
    ...every('dsse subjects', names, constraint.subjects),
  ];
}

function one(what: string, value: unknown, patterns: readonly string[] | undefined): readonly string[] {
  if (patterns === undefined || matchesAny(patterns, value)) return [];
  return [value === undefined ? `${what} is missing` : `${what} is not among those of the rule`];
}

function every(what: string, values: unknown, patterns: readonly string[] | undefined): readonly string[] {
  if (patterns === undefined) return [];
  if (!Array.isArray(values) || values.length === 0) return [`${what} is missing`];
  return values.every((value: unknown) => matchesAny(patterns, value))
    ? []
    : [`${what} has one that is not among those of the rule`];
}

function matchesAny(patterns: readonly string[], value: unknown): boolean {
  return typeof value === 'string' && patterns.some((pattern) => matchesText(pattern, value));
}

function lifetime(what: string, seconds: unknown, maxMs: number | undefined): readonly string[] {
  if (maxMs === undefined) return [];
  // Facts say seconds; what is no number is no short lifetime.
  const isShort = typeof seconds === 'bigint' && Number(seconds) * 1000 <= maxMs;
  return isShort ? [] : [`${what} lifetime is over ${formatDuration(maxMs)}`];
}
