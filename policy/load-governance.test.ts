import { describe, expect, it } from 'vitest';
import { ANNA, BEN, file, GROUPS, PEOPLE, person, refusals, warnings } from '../test/fakes/quorum-policy.ts';
import { compilePolicy } from './compile.ts';

/** What people have to agree to before the policy changes, and before keys come and go. */

describe('governance', () => {
  const GOVERNANCE = { approvals: 2, of: 'treasury', within: '1d' };
  const governed = (governance: object, parts: object = {}): Uint8Array =>
    file({ approvers: PEOPLE, groups: GROUPS, governance, ...parts });

  it('is read', () => {
    const policy = compilePolicy(governed(GOVERNANCE), { hash: 'h' });
    expect(policy.governance).toEqual({
      approvals: 2,
      groups: ['treasury'],
      withinMs: 86_400_000,
      methods: ['sshsig', 'jws', 'webauthn'],
    });
    expect(compilePolicy(file({}), { hash: 'h' }).governance).toBeUndefined();
  });
  it.each<[string, object, string]>([
    ['of none', { ...GOVERNANCE, approvals: 0 }, '`governance.approvals` is too small'],
    ['of nobody knows how many', { of: 'treasury', within: '1d' }, '`governance.approvals` is missing'],
    ['of too many', { ...GOVERNANCE, approvals: 4 }, 'but treasury are 3 different people'],
    ['in an emergency', { ...GOVERNANCE, emergency: true }, 'unknown name `emergency`'],
    ['blind', { ...GOVERNANCE, blind: true }, 'unknown name `blind`'],
    ['more than once', { ...GOVERNANCE, uses: 2 }, 'unknown name `uses`'],
  ])('%s is refused', (_, governance, message) => {
    expect(refusals(governed(governance))).toContain(message);
  });
  it('that leaves nobody to agree with the only one who proposes is refused', () => {
    const alice = 'spiffe://example.org/human/alice';
    const approvers = [person('anna', ANNA, { spiffeId: alice }), person('ben', BEN)];
    const parts = { approvers, groups: { treasury: ['anna', 'ben'] } };
    expect(refusals(governed(GOVERNANCE, parts), { administrators: [alice] })).toContain(
      'cannot get 2 approvals',
    );
    expect(refusals(governed({ ...GOVERNANCE, approvals: 1 }, parts), { administrators: [alice] })).toBe('');
  });
  it('warns of people who may approve what they proposed', () => {
    expect(warnings(governed(GOVERNANCE))).toEqual([
      expect.stringContaining('nothing says under which SPIFFE ID `anna`, `ben`, `cleo` would propose'),
    ]);
  });
});

describe('lifecycle', () => {
  const quorum = { approvals: 2, of: 'treasury', within: '1d' };
  const managed = (...lifecycle: object[]): Uint8Array =>
    file({ approvers: PEOPLE, groups: GROUPS, lifecycle });
  const ALL = { id: 'makes-keys', methods: ['Admin.CreateKey', 'Admin.ImportKey'], quorum };

  it('says what making a key needs', () => {
    const policy = compilePolicy(
      managed(
        { id: 'payments', methods: ['Admin.CreateKey'], keys: ['payments/**'], quorum },
        { id: 'imports', methods: ['Admin.ImportKey'], quorum: { ...quorum, approvals: 1 } },
      ),
      { hash: 'h' },
    );
    const ask = (method: string, key: string): string | undefined =>
      policy.lifecycleQuorum(method, key)?.rule;
    expect(ask('Admin.CreateKey', 'payments/jwt')).toBe('payments');
    expect(ask('Admin.CreateKey', 'other')).toBeUndefined();
    expect(ask('Admin.ImportKey', 'other')).toBe('imports');
    expect(ask('Admin.ImportKey', 'lastmile/log')).toBe('imports');
    expect(ask('Admin.Freeze', 'payments/jwt')).toBeUndefined();
    // What is no name of a key gets around nothing.
    expect(ask('Admin.CreateKey', 'payments//jwt')).toBe('payments');
    expect(policy.lifecycleQuorum('Admin.ImportKey', 'k')?.quorum).toMatchObject({
      approvals: 1,
      uses: 1,
      blind: false,
      covers: 'act',
      emergency: false,
    });
  });
  it.each<[string, object[], string]>([
    ['of none', [{ ...ALL, quorum: { ...quorum, approvals: 0 } }], 'quorum.approvals` is too small'],
    [
      'of another method',
      [{ ...ALL, methods: ['Admin.Freeze'] }],
      '`lifecycle[0].methods[0]` is `Admin.Freeze`',
    ],
    ['of one key twice', [ALL, { ...ALL, id: 'more', keys: ['a/*'] }], 'are about one method and one key'],
    [
      'with an id that is taken',
      [ALL, { ...ALL, methods: ['Admin.CreateKey'] }],
      'is used by lifecycle[0] already',
    ],
    ['without a quorum', [{ id: 'a', methods: ['Admin.CreateKey'] }], '`lifecycle[0].quorum` is missing'],
  ])('%s is refused', (_, lifecycle, message) => expect(refusals(managed(...lifecycle))).toContain(message));
});
