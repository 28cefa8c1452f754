import { describe, expect, it } from 'vitest';
import {
  ANNA,
  BEN,
  CLEO,
  DAN,
  file,
  PEOPLE,
  person,
  policyOf,
  QUORUM,
  refusals,
  SETTLE,
  sshLine,
  warnings,
  x,
} from '../test/fakes/quorum-policy.ts';

describe('people who are one person', () => {
  const withPeople = (...approvers: object[]): string =>
    refusals(file({ approvers, groups: { treasury: ['anna'] } }));
  it('by a key', () => {
    expect(withPeople(person('anna', ANNA), person('ben', ANNA))).toContain(
      'this key is `anna` already: `ben` would be the same person counted twice',
    );
  });
  it('by a key in another form, beside others', () => {
    const ben = {
      id: 'ben',
      keys: [
        { method: 'jws', publicKey: BEN },
        { method: 'sshsig', publicKey: `${sshLine(ANNA)} ben@home` },
      ],
    };
    expect(withPeople(person('anna', ANNA), ben)).toMatch(/p\.yaml:3:\d+: this key is `anna` already/);
  });
  it('by a passkey', () => {
    const cose = (key: string): string =>
      Buffer.concat([
        Buffer.from('a401010327200621', 'hex'),
        Buffer.from([0x58, 32]),
        Buffer.from(x(key), 'base64url'),
      ]).toString('base64url');
    const passkey = (id: string, key: string, credentialId: string): object => ({
      id,
      keys: [{ method: 'webauthn', publicKey: cose(key), credentialId }],
    });
    expect(withPeople(passkey('anna', ANNA, 'AQID'), passkey('ben', BEN, 'AQIE'))).toBe('');
    expect(withPeople(passkey('anna', ANNA, 'AQID'), passkey('ben', BEN, 'AQID'))).toContain(
      'this key is `anna`',
    );
    expect(withPeople(passkey('anna', ANNA, 'AQID'), passkey('ben', ANNA, 'AQIE'))).toContain(
      'this key is `anna`',
    );
    expect(withPeople({ id: 'anna', keys: [{ method: 'webauthn', publicKey: cose(ANNA) }] })).toContain(
      '`credentialId` is missing',
    );
  });
  it('by a SPIFFE ID', () => {
    const spiffeId = 'spiffe://example.org/human/anna';
    expect(withPeople(person('anna', ANNA, { spiffeId }), person('ben', BEN, { spiffeId }))).toContain(
      'this SPIFFE ID is `anna` already',
    );
    const alsoRequestsAs = ['spiffe://example.org/human/*'];
    expect(withPeople(person('anna', ANNA, { spiffeId }), person('ben', BEN, { alsoRequestsAs }))).toContain(
      'this SPIFFE ID is `ben` already',
    );
  });
  it('by a name', () => {
    expect(withPeople(person('anna', ANNA), person('anna', BEN))).toContain('`anna` is used already');
    expect(withPeople(person('anna', ANNA), person('Anna', BEN))).toContain('differ in case alone');
  });
  it('with a key twice, or of a group twice', () => {
    const key = { method: 'jws', publicKey: ANNA };
    expect(withPeople({ id: 'anna', keys: [key, key] })).toContain('this key is given twice');
    expect(refusals(file({ approvers: PEOPLE, groups: { treasury: ['anna', 'anna'] } }))).toContain(
      '`anna` is in `treasury` already, and counts once',
    );
  });
  it('but with the same key for two methods is one person still', () => {
    const both = [
      { method: 'jws', publicKey: ANNA },
      { method: 'sshsig', publicKey: sshLine(ANNA) },
    ];
    expect(withPeople({ id: 'anna', keys: both })).toBe('');
  });
});

describe('people as they are written', () => {
  it.each<[string, object, string]>([
    ['without a key', { approvers: [{ id: 'anna', keys: [] }] }, '`approvers[0].keys` is too small'],
    ['with half a key', { approvers: [person('anna', '{}')] }, 'p.yaml:3:'],
    ['with a secret', { approvers: [person('anna', '{"kty":"OKP","d":"AA"}')] }, 'the key holds a secret'],
    [
      'with a credential id of no passkey',
      { approvers: [{ id: 'anna', keys: [{ method: 'jws', publicKey: ANNA, credentialId: 'AQID' }] }] },
      '`credentialId` is for `method: webauthn` only',
    ],
    ['with no SPIFFE ID', { approvers: [person('anna', ANNA, { spiffeId: 'anna' })] }, 'is not a SPIFFE ID'],
    [
      'with the ID of a trust domain',
      { approvers: [person('anna', ANNA, { spiffeId: 'spiffe://example.org' })] },
      'is not a SPIFFE ID with a path',
    ],
    [
      'with a pattern of no workload',
      { approvers: [person('anna', ANNA, { alsoRequestsAs: ['*'] })] },
      '`*` ',
    ],
    ['in no group', { approvers: PEOPLE, groups: { treasury: ['ana'] } }, 'did you mean `anna`?'],
    ['in a group without people', { groups: { treasury: ['anna'] } }, 'there is no approver `anna`'],
  ])('%s', (_, parts, message) => expect(refusals(file(parts))).toContain(message));
});

describe('who asks does not approve', () => {
  const asks = (...ids: string[]): object => ({
    approvers: [
      person('anna', ANNA, { alsoRequestsAs: ids }),
      person('ben', BEN),
      person('cleo', CLEO),
      person('dan', DAN),
    ],
  });
  it('alone: refused', () => {
    expect(refusals(policyOf(QUORUM, {}, asks(SETTLE)))).toContain(
      '`anna` is the only one who asks for this',
    );
    const spiffeId = SETTLE;
    expect(
      refusals(policyOf(QUORUM, {}, { approvers: [person('anna', ANNA, { spiffeId }), ...PEOPLE.slice(1)] })),
    ).toContain('`anna` is the only one who asks for this');
    expect(refusals(policyOf(QUORUM, {}, asks('spiffe://example.org/ns/treasury/**')))).toContain(
      '`anna` is',
    );
  });
  it('as one of many: taken', () => {
    const workloads = ['spiffe://example.org/ns/treasury/sa/*'];
    expect(warnings(policyOf(QUORUM, { workloads }, asks(SETTLE)))).toEqual([]);
  });
  it('and leaves too few for some who ask: warned', () => {
    const workloads = [SETTLE, 'spiffe://example.org/ns/treasury/sa/other'];
    const three = { ...QUORUM, approvals: 3 };
    expect(warnings(policyOf(three, { workloads }, asks(SETTLE)))).toEqual([
      expect.stringContaining(`what \`${SETTLE}\` asks for cannot get 3 approvals of treasury`),
    ]);
  });
  it('and leaves too few for whoever asks: refused', () => {
    const other = 'spiffe://example.org/ns/treasury/sa/other';
    const approvers = [
      person('anna', ANNA, { alsoRequestsAs: [SETTLE] }),
      person('ben', BEN, { alsoRequestsAs: [other] }),
    ];
    const parts = { approvers, groups: { treasury: ['anna', 'ben'] } };
    expect(refusals(policyOf(QUORUM, { workloads: [SETTLE, other] }, parts))).toContain(
      'cannot get 2 approvals',
    );
  });
});
