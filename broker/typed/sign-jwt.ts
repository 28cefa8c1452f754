import type { Facts } from '../../policy/decision.ts';
import { factsOf, frozen } from './facts.ts';
import { invalid } from './invalid.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseStrictJson } from './strict-json.ts';
import type { BuiltContent, SigningKey, TypedRequest } from './typed-request.ts';

export const MAX_CLAIMS_BYTES = 16 * 1024;
/** 366 days. What is valid for longer is a password. */
export const MAX_JWT_LIFETIME_SECONDS = 366 * 24 * 60 * 60;
const MAX_DEPTH = 16;
/** What the broker writes: a caller that could write them could say when and how long. */
const BROKERS_OWN = ['iat', 'exp', 'nbf', 'jti'] as const;
/** What conditions read beside the claims, so that no claim can stand in its place. */
const FACT_NAMES = ['header', 'lifetime'] as const;
/** A media type without `application/` (RFC 7515, section 4.1.9). */
const TYPE = /^[A-Za-z0-9][A-Za-z0-9!#$&^_.+-]{0,63}$/;

export interface JwtInput {
  readonly key: string;
  readonly version: number;
  readonly algorithm: string;
  readonly claims: Uint8Array;
  readonly lifetimeSeconds: number;
  /** Empty: `JWT`. */
  readonly type: string;
}

/**
 * A JWT (RFC 7519) of these claims, valid from `now` on.
 *
 * Conditions see `request.jwt`: every claim under its own name, as it will be signed, but `aud`, which is always a list
 * (empty when there is none); `iat` and `exp`, seconds of the Unix epoch; `lifetime`, seconds; `header.typ`.
 *
 * @param now milliseconds of the Unix epoch
 * @throws Failure REQUEST_INVALID
 */
export function jwtRequest(input: JwtInput, now: number): TypedRequest {
  const claims = parseClaims(input.claims);
  const { lifetimeSeconds } = input;
  if (lifetimeSeconds < 1 || lifetimeSeconds > MAX_JWT_LIFETIME_SECONDS) {
    throw invalid('lifetime_seconds must be 1 to 31622400 (366 days)');
  }
  const typ = input.type === '' ? 'JWT' : input.type;
  if (!TYPE.test(typ)) throw invalid('type is not a media type without `application/`, such as `at+jwt`');
  const iat = Math.floor(now / 1000);
  const exp = iat + lifetimeSeconds;
  const facts: Facts = frozen({
    ...factsOf(claims),
    aud: audienceOf(claims.aud),
    iat: BigInt(iat),
    exp: BigInt(exp),
    lifetime: BigInt(lifetimeSeconds),
    header: { typ },
  });
  // As they are signed: a number is no text, and one audience is no list of one.
  const forPeople = { claims, lifetime: lifetimeSeconds, header: { typ } };
  // One for all attempts: where the first may have signed, the second signs the same bytes.
  let jti: string | undefined;
  const build = async (key: SigningKey): Promise<BuiltContent> => {
    jti ??= Buffer.from(await key.random(16)).toString('base64url');
    // A caller that uses the older name has verifiers that know no other (RFC 9864, section 2.2).
    const alg = input.algorithm === 'EdDSA' ? 'EdDSA' : key.algorithm;
    const signed = `${encode({ alg, typ, kid: key.kid })}.${encode({ ...claims, iat, exp, jti })}`;
    return {
      content: { kind: 'message', bytes: Buffer.from(signed, 'ascii') },
      finish: (signature) =>
        Buffer.from(`${signed}.${Buffer.from(signature).toString('base64url')}`, 'ascii'),
    };
  };
  const { key, version, algorithm } = input;
  return { operation: 'sign-jwt', key, version, algorithm, type: 'jwt', facts, forPeople, build };
}

function parseClaims(bytes: Uint8Array): JsonObject {
  if (bytes.length === 0) throw invalid('claims are missing');
  if (bytes.length > MAX_CLAIMS_BYTES) throw invalid('claims are over 16 KiB');
  const claims = parseStrictJson(bytes, { what: 'claims', maxDepth: MAX_DEPTH, integers: true });
  if (!isJsonObject(claims)) throw invalid('claims are not a JSON object');
  for (const name of BROKERS_OWN) {
    if (Object.hasOwn(claims, name)) {
      throw invalid(`claims must not have \`${name}\`: the broker writes it, from lifetime_seconds`);
    }
  }
  for (const name of FACT_NAMES) {
    if (Object.hasOwn(claims, name)) {
      throw invalid(`no claim can be called \`${name}\`: that is what rules call something else`);
    }
  }
  for (const name of ['iss', 'sub'] as const) {
    if (claims[name] !== undefined && typeof claims[name] !== 'string') {
      throw invalid(`claim \`${name}\` is not a string`);
    }
  }
  return claims;
}

/** RFC 7519, section 4.1.3: one string, or a list of them. */
function audienceOf(aud: JsonValue | undefined): readonly string[] {
  if (aud === undefined) return [];
  const list: readonly JsonValue[] = Array.isArray(aud) ? aud : [aud as string];
  if (!list.every((one) => typeof one === 'string')) {
    throw invalid('claim `aud` is neither a string nor a list of strings');
  }
  if (list.length === 0) throw invalid('claim `aud` is an empty list');
  return [...list];
}

function encode(part: JsonObject): string {
  return Buffer.from(JSON.stringify(part), 'utf8').toString('base64url');
}
