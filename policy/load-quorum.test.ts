import { describe, expect, it } from 'vitest';
import {
  ANNA,
  file,
  GROUPS,
  load,
  NOW,
  PEOPLE,
  policyOf,
  QUORUM,
  RULE,
  refusals,
  SETTLE,
  sshLine,
  warnings,
} from '../test/fakes/quorum-policy.ts';
import { explainText } from './check.ts';
import { compilePolicy } from './compile.ts';

it('takes a quorum, with what nobody says', () => {
  const loaded = load(policyOf(QUORUM));
  expect(loaded.issues).toEqual([]);
  expect(loaded.warnings).toEqual([]);
  expect(loaded.rules[0]?.dynamic?.quorum).toEqual({
    approvals: 2,
    groups: ['treasury'],
    withinMs: 900_000,
    uses: 1,
    methods: ['sshsig', 'jws', 'webauthn'],
    blind: false,
    withoutPresence: false,
    covers: 'act',
    emergency: false,
  });
  // It crosses to another thread as it is.
  expect(structuredClone(loaded)).toEqual(loaded);
});

it('takes everything that a quorum can say', () => {
  const quorum = {
    approvals: 1,
    of: ['treasury', 'seniors'],
    within: '4h',
    uses: 50,
    methods: ['jws'],
    blind: true,
    presence: 'none',
    covers: 'rule',
    emergency: true,
  };
  const loaded = load(policyOf(quorum, {}, { groups: { ...GROUPS, seniors: ['cleo'] } }));
  expect(loaded.issues).toEqual([]);
  expect(loaded.rules[0]?.dynamic?.quorum).toEqual({
    approvals: 1,
    groups: ['treasury', 'seniors'],
    withinMs: 14_400_000,
    uses: 50,
    methods: ['jws'],
    blind: true,
    withoutPresence: true,
    covers: 'rule',
    emergency: true,
  });
});

describe('a quorum that lets pass, or that nobody can fulfil, is refused with its line', () => {
  const solo = { groups: { treasury: ['anna'] } };
  it.each<[string, object, object, object, string]>([
    ['of none', { ...QUORUM, approvals: 0 }, {}, {}, '`rules[0].quorum.approvals` is too small'],
    ['of less than none', { ...QUORUM, approvals: -1 }, {}, {}, 'is too small'],
    ['of half a person', { ...QUORUM, approvals: 0.5 }, {}, {}, '`rules[0].quorum.approvals` '],
    ['of nobody knows how many', { of: 'treasury', within: '1h' }, {}, {}, 'quorum.approvals` is missing'],
    ['of text', { ...QUORUM, approvals: '2' }, {}, {}, 'quorum.approvals` is the text `2`'],
    ['of nothing', { ...QUORUM, approvals: null }, {}, {}, 'quorum.approvals` is empty'],
    ['without anything', {}, {}, {}, 'quorum.approvals` is missing'],
    ['of nobody in particular', { approvals: 2, within: '1h' }, {}, {}, 'must be the name of a group'],
    ['of no groups', { ...QUORUM, of: [] }, {}, {}, '`rules[0].quorum.of` is too small'],
    ['of a group that is not there', { ...QUORUM, of: 'tresury' }, {}, {}, 'did you mean `treasury`?'],
    ['of a group twice', { ...QUORUM, of: ['treasury', 'treasury'] }, {}, {}, 'is named twice'],
    ['of an empty group', QUORUM, {}, { groups: { treasury: [] } }, '`groups.treasury` is too small'],
    ['without an end', { approvals: 2, of: 'treasury' }, {}, {}, 'quorum.within` is missing'],
    ['of an instant', { ...QUORUM, within: '5s' }, {}, {}, '`5s` is not 1m to 30d'],
    ['of ages', { ...QUORUM, within: '31d' }, {}, {}, '`31d` is not 1m to 30d'],
    ['of no use', { ...QUORUM, uses: 0 }, {}, {}, 'quorum.uses` is too small'],
    ['by no method', { ...QUORUM, methods: [] }, {}, {}, 'quorum.methods` is too small'],
    ['larger than its group', { ...QUORUM, approvals: 4 }, {}, {}, 'but treasury are 3 different people'],
    ['larger than one person', QUORUM, {}, solo, 'but treasury is one person'],
    [
      'larger than its groups, who share people',
      { ...QUORUM, approvals: 4, of: ['treasury', 'seniors'] },
      {},
      { groups: { ...GROUPS, seniors: ['anna', 'ben'] } },
      'but treasury and seniors are 3 different people',
    ],
    [
      'of keys that nobody has',
      { ...QUORUM, methods: ['webauthn'] },
      {},
      {},
      'nobody of treasury has a key for',
    ],
    [
      'of keys that too few have',
      { ...QUORUM, methods: ['sshsig', 'webauthn'] },
      {},
      {
        approvers: [
          { id: 'anna', keys: [{ method: 'sshsig', publicKey: sshLine(ANNA) }] },
          ...PEOPLE.slice(1),
        ],
      },
      'only 1 of treasury has a key for sshsig, webauthn',
    ],
    ['with a word that it does not know', { ...QUORUM, aprovals: 1 }, {}, {}, 'unknown name `aprovals`'],
    ['in a deny rule', QUORUM, { effect: 'deny' }, {}, 'a deny rule has no `quorum`'],
    [
      'on probation',
      QUORUM,
      { mode: 'observe', until: '2026-12-01T00:00:00Z' },
      {},
      '`quorum` is never only observed',
    ],
    ['for random bytes', QUORUM, { operations: ['random'], keys: undefined }, {}, '`random` needs nobody'],
    ['for verification', QUORUM, { operations: ['sign', 'verify'] }, {}, '`verify` needs nobody'],
    ['for verification of MACs', QUORUM, { operations: ['verify-mac'] }, {}, '`verify-mac` needs nobody'],
  ])('%s', (_, quorum, rule, parts, message) => {
    const told = refusals(policyOf(quorum, rule, parts));
    expect(told).toContain(message);
    expect(told).toMatch(/^p\.yaml:[345]:\d+: /);
  });

  it('on a rule that is called what governance is', () => {
    expect(refusals(policyOf(QUORUM, { id: 'governance' }))).toContain('stands for `governance`');
  });
});

it('is explained in words', () => {
  const policy = compilePolicy(policyOf(QUORUM), { hash: 'sha256:h' });
  const asked = {
    spiffeId: SETTLE,
    key: 'treasury/settlement',
    operation: 'sign',
    algorithm: 'ES256',
    circumstances: {
      now: NOW,
      clockDoubtMs: 0,
      bytes: 10,
      content: 'message',
      version: 0,
      evidence: ['x509-svid'],
      peerAddress: '',
    },
  } as const;
  expect(explainText(policy.explain(asked))).toBe(
    'pending, by the rule settles: needs 2 approvals of treasury, within 15m\npolicy sha256:h\n  allow settles  matches: needs 2 approvals of treasury, within 15m\n',
  );
  const { circumstances: _, ...unknown } = asked;
  expect(explainText(policy.explain(unknown))).toContain(
    'what is asked for is not known, and it needs 2 approvals of treasury, within 15m',
  );
});

describe('warned about', () => {
  it('a method that nobody has a key for', () => {
    expect(warnings(policyOf({ ...QUORUM, methods: ['jws', 'webauthn'] }))).toEqual([
      expect.stringContaining('nobody of treasury has a key for `webauthn`'),
    ]);
  });
  it('another rule that allows the same without approvals', () => {
    const around = {
      ...RULE,
      id: 'around',
      workloads: ['spiffe://example.org/**'],
      when: 'request.bytes < 10',
    };
    const bytes = file({ approvers: PEOPLE, groups: GROUPS, rules: [{ ...RULE, quorum: QUORUM }, around] });
    expect(warnings(bytes)).toEqual([expect.stringContaining('the rule `around` allows without approvals')]);
  });
});

it('refuses a rule on probation beside one with a quorum: it would let everything pass', () => {
  const trial = { ...RULE, id: 'trial', mode: 'observe', until: '2026-12-01T00:00:00Z' };
  const both = (rule: object): Uint8Array =>
    file({
      approvers: PEOPLE,
      groups: GROUPS,
      rules: [{ ...RULE, keys: ['treasury/*'], quorum: QUORUM }, rule],
    });
  expect(refusals(both(trial))).toContain('the rule `settles` asks for approvals of the same');
  expect(refusals(both({ ...trial, keys: ['other/key'] }))).toBe('');
  expect(refusals(both({ ...trial, operations: ['mac'] }))).toBe('');
});

describe('an operation that nobody can be shown', () => {
  it.each(['encrypt', 'decrypt', 'mac', 'generate-data-key'])(
    'is refused for `covers: act`: %s',
    (operation) => {
      const rule = { operations: [operation] };
      expect(refusals(policyOf(QUORUM, rule))).toContain(
        `nobody can be shown what \`${operation}\` is asked for`,
      );
      expect(refusals(policyOf({ ...QUORUM, covers: 'rule', uses: 10 }, rule))).toBe('');
    },
  );
});
