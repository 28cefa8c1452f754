import { hash } from 'node:crypto';
import type { Facts } from '../../policy/decision.ts';
import { ecdsaToDer, FACTS, parseAlgorithm } from '../keyuse/algorithms.ts';
import { readable } from '../keyuse/shown.ts';
import { frozen } from './facts.ts';
import { invalid } from './invalid.ts';
import { isJsonObject, type JsonObject, type JsonValue, parseStrictJson } from './strict-json.ts';
import type { BuiltContent, SigningKey, TypedRequest } from './typed-request.ts';

export const MAX_PAYLOAD_BYTES = 512 * 1024;
export const MAX_SUBJECTS = 256;
export const IN_TOTO_PAYLOAD_TYPE = 'application/vnd.in-toto+json';
const STATEMENTS: ReadonlySet<JsonValue | undefined> = new Set([
  'https://in-toto.io/Statement/v1',
  'https://in-toto.io/Statement/v0.1',
]);
const MAX_DEPTH = 64;
const MAX_NAME_LENGTH = 1024;
/** Longer canonical texts of subjects are given by their digest, so that history stays small. */
const MAX_SUBJECT_TEXT = 512;

/** Hexadecimal digits of digests that are known (in-toto, spec/v1/digest_set.md); others are taken as text. */
const HEX_DIGITS: { readonly [algorithm: string]: readonly number[] } = {
  sha1: [40],
  sha224: [56],
  sha256: [64],
  sha384: [96],
  sha512: [128],
  sha512_224: [56],
  sha512_256: [64],
  sha3_224: [56],
  sha3_256: [64],
  sha3_384: [96],
  sha3_512: [128],
  gitBlob: [40, 64],
  gitCommit: [40, 64],
  gitTag: [40, 64],
  gitTree: [40, 64],
};

export interface DsseInput {
  readonly key: string;
  readonly version: number;
  readonly algorithm: string;
  readonly payloadType: string;
  readonly payload: Uint8Array;
}

/**
 * A DSSE envelope (DSSE v1.0.2) around a payload that is signed as it is.
 *
 * Conditions see `request.dsse`: `payloadType`, `bytes` and `sha256` (hexadecimal) of the payload; for an in-toto
 * statement also `statementType`, `predicateType`, `subjects` (a list of `name` and `digest`, a map) and `subject`: all
 * digests of all subjects in one canonical text, for `unique`. Of other payload types nothing else is known, so that
 * a condition on a predicate does not hold for them.
 *
 * @throws Failure REQUEST_INVALID
 */
export function dsseRequest(input: DsseInput): TypedRequest {
  const { key, version, algorithm, payloadType, payload } = input;
  if (!/^[\x21-\x7e]{1,255}$/.test(payloadType)) {
    throw invalid('payload_type must be 1 to 255 printable ASCII characters without spaces');
  }
  if (payload.length === 0) throw invalid('payload is empty');
  if (payload.length > MAX_PAYLOAD_BYTES) throw invalid('payload is over 512 KiB');
  const facts: Facts = frozen({
    payloadType,
    bytes: BigInt(payload.length),
    sha256: hash('sha256', payload, 'hex'),
    ...(isStatement(payloadType) ? statementFacts(payload) : {}),
  });
  const body = Buffer.from(payload);
  const message = Buffer.concat([
    Buffer.from(`DSSEv1 ${payloadType.length} ${payloadType} ${body.length} `, 'ascii'),
    body,
  ]);
  return {
    operation: 'sign-dsse',
    key,
    version,
    algorithm,
    type: 'dsse',
    facts,
    forPeople: { ...facts, payload: readable(payload) ?? { base64: body.toString('base64') } },
    build: async (signer) => ({
      content: { kind: 'message', bytes: message },
      finish: (signature) => envelope(payloadType, body, signature, signer),
    }),
  };
}

/** Media types are compared without case, so another spelling would be a statement that no rule has looked at. */
function isStatement(payloadType: string): boolean {
  if (payloadType === IN_TOTO_PAYLOAD_TYPE) return true;
  if (payloadType.toLowerCase().startsWith(IN_TOTO_PAYLOAD_TYPE)) {
    throw invalid(`payload_type of a statement must be exactly ${IN_TOTO_PAYLOAD_TYPE}`);
  }
  return false;
}

function envelope(
  payloadType: string,
  payload: Buffer,
  signature: Uint8Array,
  signer: SigningKey,
): ReturnType<BuiltContent['finish']> {
  const algorithm = parseAlgorithm(signer.algorithm);
  // What verifiers of the in-toto and Sigstore projects take for ECDSA is DER.
  const isEcdsa = algorithm !== undefined && FACTS[algorithm].curve !== undefined;
  const sig = Buffer.from(isEcdsa ? ecdsaToDer(signature) : signature).toString('base64');
  return Buffer.from(
    JSON.stringify({
      payloadType,
      payload: payload.toString('base64'),
      signatures: [{ keyid: signer.kid, sig }],
    }),
  );
}

/** in-toto attestation, spec/v1/statement.md and spec/v0.1.0/README.md. */
function statementFacts(payload: Uint8Array): Facts {
  const statement = parseStrictJson(payload, { what: 'payload', maxDepth: MAX_DEPTH, integers: false });
  if (!isJsonObject(statement)) throw invalid('payload is not an in-toto statement: not a JSON object');
  const statementType = statement._type;
  if (!STATEMENTS.has(statementType)) {
    throw invalid('payload is not an in-toto statement: `_type` is not Statement/v1 or Statement/v0.1');
  }
  const { predicateType, subject } = statement;
  if (typeof predicateType !== 'string' || predicateType === '' || predicateType.length > MAX_NAME_LENGTH) {
    throw invalid('`predicateType` of the statement must be a string of 1 to 1024 characters');
  }
  if (!Array.isArray(subject) || subject.length === 0 || subject.length > MAX_SUBJECTS) {
    throw invalid(`\`subject\` of the statement must be a list of 1 to ${MAX_SUBJECTS}`);
  }
  const subjects = (subject as readonly JsonValue[]).map((one) =>
    subjectFacts(one, statementType === 'https://in-toto.io/Statement/v0.1'),
  );
  return {
    statementType: statementType as string,
    predicateType,
    subjects,
    subject: canonicalSubjects(subjects),
  };
}

interface Subject {
  readonly name: string;
  readonly digest: { readonly [algorithm: string]: string };
  readonly [more: string]: string | { readonly [algorithm: string]: string };
}

function subjectFacts(subject: JsonValue, needsName: boolean): Subject {
  if (!isJsonObject(subject)) throw invalid('a subject of the statement is not an object');
  const name = subject.name ?? '';
  if (typeof name !== 'string' || name.length > MAX_NAME_LENGTH || (needsName && name === '')) {
    throw invalid('`name` of a subject must be a string of at most 1024 characters');
  }
  const { digest } = subject;
  if (!isJsonObject(digest) || Object.keys(digest).length === 0) {
    throw invalid('`digest` of a subject must be an object with at least one digest');
  }
  for (const [algorithm, value] of Object.entries(digest)) checkDigest(algorithm, value);
  return { name, digest: digest as JsonObject & Subject['digest'] };
}

function checkDigest(algorithm: string, value: JsonValue): void {
  if (!/^[A-Za-z0-9_-]{1,32}$/.test(algorithm)) {
    throw invalid('the algorithm of a digest must be 1 to 32 letters, digits, dashes and underscores');
  }
  const digits = Object.hasOwn(HEX_DIGITS, algorithm) ? HEX_DIGITS[algorithm] : undefined;
  if (digits === undefined) {
    if (typeof value === 'string' && /^[\x21-\x7e]{1,256}$/.test(value)) return;
    throw invalid(`a ${algorithm} digest must be 1 to 256 printable ASCII characters`);
  }
  // Lower case only: the same digest in two spellings would be two subjects to `unique`.
  if (typeof value !== 'string' || !/^[0-9a-f]+$/.test(value) || !digits.includes(value.length)) {
    throw invalid(`a ${algorithm} digest must be ${digits.join(' or ')} lower-case hexadecimal digits`);
  }
}

/** The same artifacts give the same text, in whatever order and under whatever names. */
function canonicalSubjects(subjects: readonly Subject[]): string {
  const texts = subjects.map(({ digest }) =>
    Object.entries(digest)
      .map(([algorithm, value]) => `${algorithm}:${value}`)
      .sort()
      .join('+'),
  );
  const text = [...new Set(texts)].sort().join(' ');
  return text.length <= MAX_SUBJECT_TEXT ? text : `subjects-sha256:${hash('sha256', text, 'hex')}`;
}
