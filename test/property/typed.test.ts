import { X509Certificate } from 'node:crypto';
import fc from 'fast-check';
import { decodeJwt } from 'jose';
import { describe, expect, test } from 'vitest';
import { Failure } from '../../broker/keyuse/failure.ts';
import { namesFor } from '../../broker/typed/certificate-names.ts';
import type { CertificateProfile } from '../../broker/typed/certificate-profile.ts';
import { certificateRequest } from '../../broker/typed/sign-certificate.ts';
import { jwtRequest } from '../../broker/typed/sign-jwt.ts';
import type { FactValue } from '../../policy/decision.ts';
import { typedSigner } from '../fakes/typed-signer.ts';

/** What a rule sees is what is signed. */

const NOW = Date.UTC(2026, 5, 1, 10, 0, 0);
const signer = typedSigner('ES256');

/** Facts as JSON was: bigints are its numbers. */
function plain(fact: FactValue): unknown {
  if (typeof fact === 'bigint') return Number(fact);
  if (Array.isArray(fact)) return fact.map(plain);
  if (typeof fact === 'object' && fact !== null && !(fact instanceof Date)) {
    return Object.fromEntries(Object.entries(fact).map(([name, value]) => [name, plain(value as FactValue)]));
  }
  return fact;
}

const OWN = ['iat', 'exp', 'nbf', 'jti', 'lifetime', 'header', 'iss', 'sub', 'aud', '__proto__'];
const value = fc.letrec((tie) => ({
  any: fc.oneof(
    { maxDepth: 3 },
    fc.string({ unit: 'grapheme' }),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('any'), { maxLength: 3 }),
    fc.dictionary(
      fc.string({ maxLength: 5 }).filter((name) => name !== '__proto__'),
      tie('any'),
      { maxKeys: 3 },
    ),
  ),
})).any;
const claims = fc.dictionary(
  fc.string({ unit: 'grapheme', maxLength: 12 }).filter((name) => !OWN.includes(name)),
  value,
  { maxKeys: 6 },
);

describe('a JWT', () => {
  test('says what the rule saw, and nothing else but `jti`', async () => {
    await fc.assert(
      fc.asyncProperty(claims, fc.integer({ min: 1, max: 31_622_400 }), async (given, lifetimeSeconds) => {
        const bytes = Buffer.from(JSON.stringify(given));
        const request = jwtRequest(
          { key: 'k', version: 0, algorithm: '', claims: bytes, lifetimeSeconds, type: '' },
          NOW,
        );
        const { jti, ...signed } = decodeJwt(Buffer.from(await signer.sign(request)).toString('ascii'));
        const { aud, lifetime, header, ...seen } = plain(request.facts) as Record<string, unknown>;
        expect(jti).toHaveLength(22);
        expect(aud).toEqual([]);
        expect(header).toEqual({ typ: 'JWT' });
        expect(signed).toEqual(seen);
        expect(signed.exp! - signed.iat!).toBe(lifetime);
      }),
      { numRuns: 200 },
    );
  });
});

const ISSUER: CertificateProfile = {
  id: 'self',
  issuer: 'self',
  subject: { O: 'Example', OU: '*', CN: '*' },
  names: { dns: ['**.example.org', '*.example.net'], uri: ['spiffe://example.org/**'], ip: ['10.0.0.0/8'] },
  validity: { max: 1_000_000 },
  keyUsage: ['digitalSignature'],
};
const label = fc.stringMatching(/^[a-zA-Z0-9-]{1,6}$/);
const host = fc
  .tuple(
    fc.array(label, { maxLength: 3 }),
    fc.constantFrom('example.org', 'example.net', 'example.com', 'org'),
  )
  .map(([labels, domain]) => [...labels, domain].join('.'));

describe('a certificate', () => {
  test('has the names that the rule saw', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(host, { maxLength: 3 }),
        fc.array(fc.ipV4(), { maxLength: 1 }),
        fc.string({ unit: 'grapheme', minLength: 1, maxLength: 20 }),
        async (dns, ip, commonName) => {
          const names = { dns, uri: [], email: [], ip };
          const applicant = {
            kind: 'public-key',
            spki: new Uint8Array(),
            subject: [{ type: 'CN', value: commonName }],
            names,
          } as const;
          const input = {
            key: 'k',
            version: 0,
            algorithm: '',
            profile: 'self',
            applicant,
            lifetimeSeconds: 0,
          };
          let request: ReturnType<typeof certificateRequest>;
          try {
            request = certificateRequest(input, ISSUER, NOW);
          } catch (error) {
            expect(error).toBeInstanceOf(Failure);
            return;
          }
          const { facts } = request;
          const read = new X509Certificate(await signer.sign(request));
          const seen = [
            ...(facts.dns as string[]).map((name) => `DNS:${name}`),
            ...(facts.ip as string[]).map((name) => `IP Address:${name}`),
          ];
          expect(read.subjectAltName?.split(', ') ?? []).toEqual(seen);
          expect((facts.subject as { CN: string }).CN).toBe(commonName);
          expect((read.toLegacyObject().subject as unknown as { CN: string }).CN).toBe(commonName);
        },
      ),
      { numRuns: 300 },
    );
  });

  test('has a domain only where a pattern allows it', () => {
    fc.assert(
      fc.property(host, (name) => {
        const allowed = /^(?:[^.]+\.)+example\.org$|^[^.]+\.example\.net$/.test(name.toLowerCase());
        let taken: readonly string[];
        try {
          taken = namesFor(ISSUER, { dns: [name], uri: [], email: [], ip: [] }).dns;
        } catch (error) {
          expect(error).toBeInstanceOf(Failure);
          // Refused for its form, or because no pattern allows it.
          const isWellFormed = name.split('.').every((part) => !part.startsWith('-') && !part.endsWith('-'));
          expect(allowed && isWellFormed).toBe(false);
          return;
        }
        expect(taken).toEqual([name.toLowerCase()]);
        expect(allowed).toBe(true);
      }),
      { numRuns: 1000 },
    );
  });
});
