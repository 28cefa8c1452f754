import { generateKeyPairSync } from 'node:crypto';
import { describe, expect, it } from 'vitest';
import { checkPolicy, explainText } from './check.ts';
import { compilePolicy } from './compile.ts';
import { type LoadedPolicy, loadPolicy, type PolicyOptions } from './load.ts';
import { formatSourceIssue } from './source-issue.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const SETTLE = 'spiffe://example.org/ns/treasury/sa/settle';

const jwk = (): string => JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }));
const [ANNA, BEN, CLEO, DAN] = [jwk(), jwk(), jwk(), jwk()] as const;
const x = (key: string): string => (JSON.parse(key) as { x: string }).x;
const sshLine = (key: string): string => {
  const field = (value: Uint8Array): Buffer => Buffer.concat([Buffer.from([0, 0, 0, value.length]), value]);
  const blob = Buffer.concat([field(Buffer.from('ssh-ed25519')), field(Buffer.from(x(key), 'base64url'))]);
  return `ssh-ed25519 ${blob.toString('base64')}`;
};
const person = (id: string, key: string, more: object = {}): object => ({
  id,
  keys: [{ method: 'jws', publicKey: key }],
  ...more,
});
const PEOPLE = [person('anna', ANNA), person('ben', BEN), person('cleo', CLEO)];
const GROUPS = { treasury: ['anna', 'ben', 'cleo'] };
const RULE = { id: 'settles', workloads: [SETTLE], keys: ['treasury/settlement'], operations: ['sign'] };
const QUORUM = { approvals: 2, of: 'treasury', within: '15m' };

/** Every JSON text is YAML; one part to a line, so that a refusal has a line to name. */
function file(parts: object): Uint8Array {
  const members = Object.entries({ version: 1, ...parts });
  return new TextEncoder().encode(
    `{\n${members.map(([name, value]) => `${JSON.stringify(name)}: ${JSON.stringify(value)}`).join(',\n')}\n}\n`,
  );
}
const policyOf = (quorum: object, rule: object = {}, parts: object = {}): Uint8Array =>
  file({ approvers: PEOPLE, groups: GROUPS, rules: [{ ...RULE, ...rule, quorum }], ...parts });
const load = (bytes: Uint8Array, options: PolicyOptions = {}): LoadedPolicy =>
  loadPolicy(bytes, { file: 'p.yaml', now: NOW, ...options });
const refusals = (bytes: Uint8Array, options: PolicyOptions = {}): string =>
  load(bytes, options).issues.map(formatSourceIssue).join('\n');
const warnings = (bytes: Uint8Array, options: PolicyOptions = {}): readonly string[] => {
  const { issues, warnings: found } = checkPolicy(bytes, { file: 'p.yaml', now: NOW, ...options });
  expect(issues.map(formatSourceIssue)).toEqual([]);
  return found.map(formatSourceIssue);
};

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
