import { decodeJwt, decodeProtectedHeader, jwtVerify } from 'jose';
import { describe, expect, test } from 'vitest';
import { typedSigner } from '../../test/fakes/typed-signer.ts';
import { Failure } from '../keyuse/failure.ts';
import { type JwtInput, jwtRequest } from './sign-jwt.ts';

const NOW = Date.UTC(2026, 0, 15, 12, 0, 0, 999);
const IAT = Math.floor(NOW / 1000);

function input(claims: unknown, more: Partial<JwtInput> = {}): JwtInput {
  const bytes = Buffer.from(typeof claims === 'string' ? claims : JSON.stringify(claims));
  return { key: 'k', version: 0, algorithm: '', claims: bytes, lifetimeSeconds: 900, type: '', ...more };
}

async function text(request: ReturnType<typeof jwtRequest>, algorithm = 'ES256'): Promise<string> {
  return Buffer.from(await typedSigner(algorithm).sign(request)).toString('ascii');
}

function refusal(run: () => unknown): string {
  try {
    run();
  } catch (error) {
    if (error instanceof Failure && error.reason === 'REQUEST_INVALID') return error.message;
    throw error;
  }
  throw new Error('it was taken');
}

describe('a signed JWT', () => {
  test.each(['ES256', 'ES384', 'ES512', 'Ed25519', 'RS256', 'PS256', 'PS512'])(
    '%s: jose verifies it',
    async (algorithm) => {
      const signer = typedSigner(algorithm);
      const claims = {
        iss: 'https://issuer.example',
        sub: 'alice',
        aud: ['a', 'b'],
        'https://x.example/y': { z: [1] },
      };
      const jwt = Buffer.from(await signer.sign(jwtRequest(input(claims), NOW))).toString('ascii');
      const { payload, protectedHeader } = await jwtVerify(jwt, signer.publicKey, {
        issuer: 'https://issuer.example',
        audience: 'b',
        typ: 'JWT',
        requiredClaims: ['iat', 'exp', 'jti', 'sub'],
        currentDate: new Date(NOW),
      });
      expect(protectedHeader).toEqual({ alg: algorithm, typ: 'JWT', kid: signer.key.kid });
      expect(payload).toEqual({
        ...claims,
        iat: IAT,
        exp: IAT + 900,
        jti: expect.stringMatching(/^[\w-]{22}$/),
      });
    },
  );

  test('is over when its lifetime is', async () => {
    const signer = typedSigner('ES256');
    const jwt = Buffer.from(await signer.sign(jwtRequest(input({}), NOW))).toString('ascii');
    const at = (seconds: number) =>
      jwtVerify(jwt, signer.publicKey, { currentDate: new Date((IAT + seconds) * 1000) });
    await expect(at(899)).resolves.toBeDefined();
    await expect(at(900)).rejects.toThrow('"exp" claim timestamp check failed');
  });

  // RFC 7519, section 3.1: the claims of its example, but `exp`, which is the broker's.
  test('carries the claims of RFC 7519 as they are', async () => {
    const jwt = await text(jwtRequest(input('{"iss":"joe",\r\n "http://example.com/is_root":true}'), NOW));
    expect(decodeJwt(jwt)).toMatchObject({ iss: 'joe', 'http://example.com/is_root': true });
  });

  test('never has the same `jti` twice, and the same one in every attempt of one request', async () => {
    const request = jwtRequest(input({}), NOW);
    const other = jwtRequest(input({}), NOW);
    const jtis = [await text(request), await text(request), await text(other)].map(
      (jwt) => decodeJwt(jwt).jti,
    );
    expect(jtis[0]).toBe(jtis[1]);
    expect(jtis[2]).not.toBe(jtis[0]);
  });

  test('says `EdDSA` to those who ask for that', async () => {
    const header = (algorithm: string) => async (): Promise<unknown> =>
      decodeProtectedHeader(await text(jwtRequest(input({}, { algorithm }), NOW), 'Ed25519')).alg;
    expect(await header('EdDSA')()).toBe('EdDSA');
    expect(await header('Ed25519')()).toBe('Ed25519');
  });

  test('has the type that was asked for', async () => {
    const jwt = await text(jwtRequest(input({}, { type: 'at+jwt' }), NOW));
    expect(decodeProtectedHeader(jwt).typ).toBe('at+jwt');
  });
});

describe('facts of a JWT', () => {
  test('are its claims, the broker’s, and nothing else', () => {
    const { facts } = jwtRequest(
      input({ iss: 'i', sub: 's', aud: 'a', seq: 7, scope: { read: true, n: null } }),
      NOW,
    );
    expect(facts).toEqual({
      iss: 'i',
      sub: 's',
      aud: ['a'],
      seq: 7n,
      scope: { read: true, n: null },
      iat: BigInt(IAT),
      exp: BigInt(IAT + 900),
      lifetime: 900n,
      header: { typ: 'JWT' },
    });
    expect(Object.isFrozen(facts) && Object.isFrozen(facts.scope) && Object.isFrozen(facts.aud)).toBe(true);
  });

  test('have an audience list where there is none', () => {
    expect(jwtRequest(input({}), NOW).facts.aud).toEqual([]);
  });
});

describe('refused are', () => {
  test.each(['iat', 'exp', 'nbf', 'jti'])('claims that the broker writes: %s', (name) => {
    expect(refusal(() => jwtRequest(input({ [name]: IAT }), NOW))).toContain(`\`${name}\``);
  });

  test.each(['lifetime', 'header'])('claims that would stand for a fact: %s', (name) => {
    expect(refusal(() => jwtRequest(input({ [name]: 1 }), NOW))).toContain(`\`${name}\``);
  });

  test.each([
    ['an audience that is a number', { aud: 5 }, '`aud`'],
    ['an audience with a number in it', { aud: ['a', 5] }, '`aud`'],
    ['an empty audience', { aud: [] }, '`aud`'],
    ['an issuer that is an object', { iss: {} }, '`iss`'],
    ['a subject that is null', { sub: null }, '`sub`'],
    ['an array', [], 'not a JSON object'],
    ['a text', '"claims"', 'not a JSON object'],
    ['nothing', '', 'missing'],
    ['a claim twice', '{"sub":"a","sub":"b"}', 'twice'],
    ['a fraction', '{"amount":10.01}', 'not an integer'],
    ['16 KiB and a byte', { text: 'x'.repeat(16 * 1024 - 10) }, 'over 16 KiB'],
  ])('%s', (_, claims, problem) => {
    expect(refusal(() => jwtRequest(input(claims), NOW))).toContain(problem);
  });

  test.each([0, 31_622_401])('a lifetime of %d seconds', (lifetimeSeconds) => {
    expect(refusal(() => jwtRequest(input({}, { lifetimeSeconds }), NOW))).toContain('lifetime_seconds');
  });

  test.each(['application/jwt', 'a b', '"', 'x'.repeat(65), 'ä'])('the type %s', (type) => {
    expect(refusal(() => jwtRequest(input({}, { type }), NOW))).toContain('type');
  });
});
