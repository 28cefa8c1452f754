import { describe, expect, it } from 'vitest';
import { JWT, OK, policyBytes, refusals } from '../test/fakes/rule-lines.ts';
import { compilePolicy } from './compile.ts';
import { loadPolicy } from './load.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');

const PROFILE = `id: web
    issuer: self
    names: { dns: ["*.example.org"] }
    validity: { max: 90d, default: 1d, backdate: 5m }
    keyUsage: [digitalSignature]
    extKeyUsage: [serverAuth, "1.3.6.1.4.1.99999.1"]
    subject: { O: Example, CN: "*" }`;

it('takes a policy with everything in it', () => {
  const text = `version: 1
calendars:
  holidays: ["12-25", "2026-12-24..2027-01-06"]
clock: { maxDoubt: 2s }
weights: [{ workloads: ["spiffe://example.org/**"], weight: 10 }]
certificateProfiles:
  - ${PROFILE}
rules:
  - id: all
    workloads: ["spiffe://example.org/w"]
    keys: [k]
    operations: [sign-jwt, sign-certificate, sign-dsse]
    windows:
      - { days: "mon-fri,sun", from: "22:00", to: "06:00", zone: Europe/Berlin, except: [holidays] }
      - { zone: UTC, dates: ["2026-12-01"] }
    not-before: "2026-01-01T00:00:00Z"
    not-after: "2027-01-01T00:00:00+01:00"
    when: 'request.operation != "sign-jwt" || request.jwt.seq > 0'
    evidence: { has: [x509-svid] }
    jwt: { issuers: ["https://*"], maxLifetime: 1h }
    certificate: { profiles: [web] }
    dsse: { predicateTypes: ["https://slsa.dev/provenance/v1"] }
    limits: [{ max: 5, per: 1s, by: workload, burst: 2 }, { max: 100, per: 1d, by: key }, { max: 10000, per: life, by: rule }]
  - { id: guarded, ${JWT}, guards: [{ monotonic: request.jwt.seq }] }
  - { id: trial, ${OK}, mode: observe, until: "2026-12-01T00:00:00Z", when: 'request.bytes < 10' }
  - { id: no, effect: deny, ${OK}, windows: [{ zone: UTC }], when: 'connection.peerAddress == ""' }
`;
  expect(refusals(text, { now: NOW })).toBe('');
  const loaded = loadPolicy(policyBytes(text), { now: NOW });
  expect(loaded.maxClockDoubtMs).toBe(2000);
  expect(loaded.certificateProfiles[0]).toEqual({
    id: 'web',
    issuer: 'self',
    names: { dns: ['*.example.org'] },
    subject: { O: 'Example', CN: '*' },
    validity: { max: 7_776_000, default: 86_400, backdate: 300 },
    keyUsage: ['digitalSignature'],
    extKeyUsage: ['serverAuth', '1.3.6.1.4.1.99999.1'],
  });
  // It crosses to another thread as it is.
  expect(structuredClone(loaded)).toEqual(loaded);
  expect(compilePolicy(policyBytes(text), { hash: 'h' }).certificateProfile('web')?.id).toBe('web');
});

describe('certificate profiles', () => {
  const profile = (change: (text: string) => string): string =>
    refusals(`version: 1\ncertificateProfiles:\n  - ${change(PROFILE)}\n`);
  it.each([
    [
      'a private key',
      (text: string) => text.replace('issuer: self', 'issuer: "-----BEGIN PRIVATE KEY-----"'),
      'hold it for disclosed',
    ],
    [
      'an issuer that is none',
      (text: string) => text.replace('issuer: self', 'issuer: ca.pem'),
      'is neither `self` nor certificates',
    ],
    [
      'CA usage without ca',
      (text: string) => text.replace('digitalSignature', 'keyCertSign'),
      '`keyCertSign` and `ca` go together',
    ],
    [
      'a default beyond the maximum',
      (text: string) => text.replace('default: 1d', 'default: 91d'),
      'not within `max`',
    ],
    ['backdating for long', (text: string) => text.replace('5m', '2h'), '`backdate` is more than 1h'],
    ['half seconds', (text: string) => text.replace('90d', '1500ms'), 'is less than whole seconds'],
    [
      'a SPIFFE pattern',
      (text: string) => text.replace('names: {', 'names: { uri: ["spiffe://*/a"],'),
      'wildcard in the trust domain',
    ],
    [
      'a URI pattern',
      (text: string) => text.replace('names: {', 'names: { uri: ["https://*.example/"],'),
      'ends in `/*`',
    ],
    [
      'an unknown extended usage',
      (text: string) => text.replace('serverAuth', 'anything'),
      'is neither a known name',
    ],
    ['the same id twice', (text: string) => `${text}\n  - ${text}`, 'is used already'],
  ])('refuse %s', (_, change, message) => {
    expect(profile((text) => text)).toBe('');
    expect(profile(change)).toContain(message);
  });
});
