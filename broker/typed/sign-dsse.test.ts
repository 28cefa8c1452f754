import { createHash, verify } from 'node:crypto';
import { dsse } from '@sigstore/core';
import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { typedSigner } from '../../test/fakes/typed-signer.ts';
import { Failure } from '../keyuse/failure.ts';
import { dsseRequest, IN_TOTO_PAYLOAD_TYPE } from './sign-dsse.ts';

const A = 'a'.repeat(64);
const B = 'b'.repeat(64);
const STATEMENT = {
  _type: 'https://in-toto.io/Statement/v1',
  subject: [{ name: 'app.tar.gz', digest: { sha256: A } }],
  predicateType: 'https://slsa.dev/provenance/v1',
  predicate: { buildDefinition: { buildType: 'x', share: 0.5 } },
};

const request = (payload: unknown, payloadType = IN_TOTO_PAYLOAD_TYPE) =>
  dsseRequest({
    key: 'k',
    version: 0,
    algorithm: '',
    payloadType,
    payload:
      payload instanceof Uint8Array
        ? payload
        : Buffer.from(typeof payload === 'string' ? payload : JSON.stringify(payload)),
  });

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure && error.reason === 'REQUEST_INVALID') return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

interface Envelope {
  readonly payloadType: string;
  readonly payload: string;
  readonly signatures: readonly [{ readonly keyid: string; readonly sig: string }];
}

const envelopeOf = (bytes: Uint8Array): Envelope =>
  JSON.parse(Buffer.from(bytes).toString('utf8')) as Envelope;

describe('a signed envelope', () => {
  test.each([
    ['ES256', 'sha256'],
    ['ES384', 'sha384'],
    ['Ed25519', null],
    ['RS256', 'sha256'],
  ])('%s: verifies over what sigstore says is signed', async (algorithm, hash) => {
    const signer = typedSigner(algorithm);
    const envelope = envelopeOf(await signer.sign(request(STATEMENT)));
    const payload = Buffer.from(envelope.payload, 'base64');
    expect(JSON.parse(payload.toString('utf8'))).toEqual(STATEMENT);
    const [{ keyid, sig }] = envelope.signatures;
    expect(keyid).toBe(signer.key.kid);
    const signed = dsse.preAuthEncoding(envelope.payloadType, payload);
    // node:crypto takes ECDSA as DER unless it is told otherwise, as Sigstore's verifiers do.
    expect(verify(hash, signed, signer.publicKey, Buffer.from(sig, 'base64'))).toBe(true);
    expect(
      verify(hash, Buffer.concat([signed, Buffer.of(0)]), signer.publicKey, Buffer.from(sig, 'base64')),
    ).toBe(false);
  });

  test('signs what sigstore says, whatever the payload', async () => {
    const { key } = typedSigner('Ed25519');
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 300 }), async (payload) => {
        const { content } = await request(payload, 'application/octet-stream').build(key);
        expect(Buffer.from(content.bytes)).toEqual(
          dsse.preAuthEncoding('application/octet-stream', Buffer.from(payload)),
        );
      }),
    );
  });
});

describe('facts of an envelope', () => {
  test('of a statement: predicate type and subjects', () => {
    const bytes = Buffer.from(JSON.stringify(STATEMENT));
    expect(request(bytes).facts).toEqual({
      payloadType: IN_TOTO_PAYLOAD_TYPE,
      bytes: BigInt(bytes.length),
      sha256: createHash('sha256').update(bytes).digest('hex'),
      statementType: 'https://in-toto.io/Statement/v1',
      predicateType: 'https://slsa.dev/provenance/v1',
      subjects: [{ name: 'app.tar.gz', digest: { sha256: A } }],
      subject: `sha256:${A}`,
    });
  });

  test('of anything else: its digest, and nothing that a rule on statements could take for one', () => {
    const { facts } = request(STATEMENT, 'application/json');
    expect(Object.keys(facts).sort()).toEqual(['bytes', 'payloadType', 'sha256']);
  });

  test('name the same artifacts in one way, whatever their order and names', () => {
    const subject = (subjects: object[]) => request({ ...STATEMENT, subject: subjects }).facts.subject;
    const one = subject([
      { name: 'x', digest: { sha256: A, sha1: 'c'.repeat(40) } },
      { name: 'y', digest: { sha256: B } },
    ]);
    const other = subject([
      { name: 'z', digest: { sha256: B } },
      { name: 'z', digest: { sha1: 'c'.repeat(40), sha256: A } },
      { name: 'again', digest: { sha256: B } },
    ]);
    expect(one).toBe(other);
    expect(one).toBe(`sha1:${'c'.repeat(40)}+sha256:${A} sha256:${B}`);
  });

  test('name many artifacts by one digest', () => {
    const many = Array.from({ length: 256 }, (_, i) => ({
      name: `f${i}`,
      digest: { sha256: i.toString(16).padStart(64, '0') },
    }));
    const text = request({ ...STATEMENT, subject: many }).facts.subject;
    expect(text).toMatch(/^subjects-sha256:[0-9a-f]{64}$/);
    expect(request({ ...STATEMENT, subject: many.toReversed() }).facts.subject).toBe(text);
  });

  test('of a statement of version 0.1 are the same', () => {
    const old = { ...STATEMENT, _type: 'https://in-toto.io/Statement/v0.1' };
    expect(request(old).facts).toMatchObject({ subject: `sha256:${A}`, statementType: old._type });
  });
});

describe('refused are', () => {
  const withSubject = (subject: unknown) => ({ ...STATEMENT, subject });
  const withDigest = (digest: unknown) => withSubject([{ name: 'x', digest }]);
  test.each([
    ['no JSON', 'not json', 'payload'],
    ['a member twice', '{"_type":"https://in-toto.io/Statement/v1","_type":"x"}', 'twice'],
    ['another type', { ...STATEMENT, _type: 'https://in-toto.io/Statement/v2' }, '`_type`'],
    ['no predicate type', { ...STATEMENT, predicateType: '' }, '`predicateType`'],
    ['a predicate type that is a list', { ...STATEMENT, predicateType: [] }, '`predicateType`'],
    ['no subject', withSubject([]), '`subject`'],
    ['a subject that is an object', withSubject({}), '`subject`'],
    ['too many subjects', withSubject(Array(257).fill(STATEMENT.subject[0])), '`subject`'],
    ['a subject without digest', withSubject([{ name: 'x' }]), '`digest`'],
    ['a subject with an empty digest', withDigest({}), '`digest`'],
    ['a digest in capitals', withDigest({ sha256: 'A'.repeat(64) }), 'lower-case'],
    ['a digest that is too short', withDigest({ sha256: 'a'.repeat(63) }), 'lower-case'],
    ['a digest that is a number', withDigest({ sha256: 1 }), 'lower-case'],
    ['an unknown digest with a space', withDigest({ dirHash: 'h1 x' }), 'printable'],
    ['a digest of `constructor`', withDigest({ 'const ructor': 'x' }), 'algorithm of a digest'],
    [
      'a nameless subject of version 0.1',
      {
        ...withDigest({ sha256: A }),
        _type: 'https://in-toto.io/Statement/v0.1',
        subject: [{ digest: { sha256: A } }],
      },
      '`name`',
    ],
    ['a list', [], 'not a JSON object'],
  ])('a statement with %s', (_, payload, problem) => {
    expect(refusal(() => request(payload))).toContain(problem);
  });

  test.each([
    'application/vnd.in-toto+JSON',
    'Application/vnd.in-toto+json',
    'application/vnd.in-toto+json;v=1',
  ])('a statement under another spelling of its type: %s', (payloadType) => {
    expect(refusal(() => request(STATEMENT, payloadType))).toContain('exactly');
  });

  test.each(['', 'a b', 'ä', 'x'.repeat(256), 'x\n'])('the payload type %j', (payloadType) => {
    expect(refusal(() => request('x', payloadType))).toContain('payload_type');
  });

  test('an empty payload, and one over 512 KiB', () => {
    expect(refusal(() => request('', 'x'))).toBe('payload is empty');
    expect(refusal(() => request(new Uint8Array(512 * 1024 + 1), 'x'))).toBe('payload is over 512 KiB');
  });
});
