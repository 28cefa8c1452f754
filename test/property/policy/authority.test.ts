import { generateKeyPairSync } from 'node:crypto';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { compilePolicy } from '../../../policy/compile.ts';
import type { Circumstances, PolicySet } from '../../../policy/decision.ts';

const SETTLE = 'spiffe://example.org/ns/treasury/sa/settle';
const KEY = 'treasury/settlement';

const newKey = (): string =>
  JSON.stringify(generateKeyPairSync('ed25519').publicKey.export({ format: 'jwk' }));
const KEYS = Array.from({ length: 8 }, newKey);
const person = (id: string, i: number): Part => ({
  id,
  keys: [{ method: 'jws', publicKey: KEYS[i] }],
});

interface Part {
  [name: string]: unknown;
}
interface Document {
  version: 1;
  roles: Part[];
  approvers: Part[];
  groups: Record<string, string[]>;
  governance?: Part;
  lifecycle: Part[];
  calendars: Record<string, string[]>;
  clock: Part;
  rules: Part[];
}

/** Everything is about the rule `settles`. */
function base(): Document {
  return {
    version: 1,
    roles: [],
    approvers: ['anna', 'ben', 'cleo', 'dan'].map(person),
    groups: { treasury: ['anna', 'ben', 'cleo'], others: ['dan', 'cleo'] },
    governance: { approvals: 1, of: 'others', within: '1d' },
    lifecycle: [
      {
        id: 'makes-keys',
        methods: ['Admin.CreateKey'],
        quorum: { approvals: 1, of: 'others', within: '1d' },
      },
    ],
    calendars: { holidays: ['12-25'] },
    clock: { maxDoubt: '1s' },
    rules: [
      {
        id: 'settles',
        workloads: [SETTLE, 'spiffe://example.org/ns/treasury/sa/second'],
        keys: [KEY, 'treasury/other'],
        operations: ['sign', 'sign-jwt'],
        windows: [{ zone: 'UTC', except: ['holidays'] }],
        limits: [
          { max: 5, per: '1s', by: 'key' },
          { max: 50, per: '1d', by: 'key' },
        ],
        quorum: { approvals: 2, of: ['treasury'], within: '15m' },
      },
      {
        id: 'sometimes-not',
        effect: 'deny',
        workloads: ['spiffe://example.org/**'],
        keys: ['treasury/*'],
        operations: ['sign'],
        when: 'request.bytes > 100',
      },
      { id: 'other', workloads: ['spiffe://example.org/other'], keys: ['k'], operations: ['sign'] },
    ],
  };
}

// Every JSON text is YAML.
const compiled = (document: Document): PolicySet =>
  compilePolicy(new TextEncoder().encode(JSON.stringify(document)), { hash: 'h' });
const authority = (document: Document, rule = 'settles'): string =>
  compiled(document).authorityOf(rule, SETTLE, KEY);

type Edit = readonly [name: string, edit: (document: Document) => void];
const named = (parts: readonly Part[], id: string): Part => {
  const found = parts.find((part) => part.id === id);
  if (found === undefined) throw new Error(`there is no ${id}`);
  return found;
};
const rule =
  (change: object, id = 'settles') =>
  ({ rules }: Document) => {
    Object.assign(named(rules, id), change);
  };
const quorum =
  (change: object) =>
  ({ rules }: Document) => {
    Object.assign(named(rules, 'settles').quorum as object, change);
  };
/** Turns lists round that mean the same either way. */
const reverse =
  (field: string) =>
  ({ rules }: Document) => {
    for (const one of rules) (one[field] as unknown[] | undefined)?.reverse();
  };

const UNRELATED: readonly Edit[] = [
  ['a word for people', rule({ description: 'for people' })],
  ['the order of rules', ({ rules }) => rules.reverse()],
  ['the order of names', reverse('workloads')],
  ['the order of keys', reverse('keys')],
  ['the order of limits', reverse('limits')],
  ['the order of a group', ({ groups }) => groups.treasury?.reverse()],
  ['the order of people', ({ approvers }) => approvers.reverse()],
  ['a group in a list or not', quorum({ of: 'treasury' })],
  ['what is so anyway', quorum({ uses: 1, blind: false, covers: 'act', presence: 'required' })],
  ['every method, named', quorum({ methods: ['webauthn', 'jws', 'sshsig'] })],
  ['the same duration', quorum({ within: '900s' })],
  ['another rule', rule({ keys: ['other'] }, 'other')],
  [
    'another deny rule that is not about it',
    ({ rules }) =>
      rules.push({
        ...named(rules, 'sometimes-not'),
        id: 'elsewhere',
        workloads: ['spiffe://example.org/elsewhere'],
      }),
  ],
  [
    'a deny rule about another key',
    ({ rules }) => rules.push({ ...named(rules, 'sometimes-not'), id: 'else', keys: ['other/*'] }),
  ],
  [
    'another allow rule of the same',
    ({ rules }) => rules.push({ ...named(rules, 'settles'), id: 'same', limits: undefined }),
  ],
  ['another person', ({ approvers }) => approvers.push(person('eve', 5))],
  ['another group', ({ groups }) => (groups.strangers = ['dan'])],
  ['a key of a person', ({ approvers }) => Object.assign(named(approvers, 'anna'), person('anna', 6))],
  ['governance', ({ governance }) => Object.assign(governance!, { within: '2d' })],
  ['lifecycle', ({ lifecycle }) => Object.assign(lifecycle[0]!, { keys: ['a/*'] })],
  ['a calendar that it does not use', ({ calendars }) => (calendars.freeze = ['01-01'])],
  [
    'a role',
    ({ roles }) =>
      roles.push({ id: 'r', members: ['spiffe://example.org/human/x'], allow: { methods: ['Audit.*'] } }),
  ],
];

const RELATED: readonly Edit[] = [
  ['how many', quorum({ approvals: 1 })],
  ['of whom', quorum({ of: ['treasury', 'others'] })],
  ['until when', quorum({ within: '16m' })],
  ['how often', quorum({ uses: 2 })],
  ['how signed', quorum({ methods: ['jws'] })],
  ['blind', quorum({ blind: true })],
  ['presence', quorum({ presence: 'none' })],
  ['covers', quorum({ covers: 'rule' })],
  ['emergency', quorum({ emergency: true })],
  ['a member more', ({ groups }) => groups.treasury?.push('dan')],
  ['a member less', ({ groups }) => groups.treasury?.pop()],
  ['another member', ({ groups }) => (groups.treasury![0] = 'dan')],
  ['workloads', rule({ workloads: ['spiffe://example.org/ns/treasury/sa/*'] })],
  ['keys', rule({ keys: ['treasury/*'] })],
  ['operations', rule({ operations: ['sign'] })],
  ['algorithms', rule({ algorithms: ['ES256'] })],
  ['windows', rule({ windows: undefined })],
  ['a calendar of its windows', ({ calendars }) => calendars.holidays?.push('12-26')],
  ['a date', rule({ 'not-after': '2030-01-01T00:00:00Z' })],
  ['a condition', rule({ when: 'request.bytes < 50' })],
  ['evidence', rule({ evidence: { has: ['x509-svid'] } })],
  ['a limit', rule({ limits: [{ max: 6, per: '1s', by: 'key' }] })],
  ['how exact the clock must be', ({ clock }) => Object.assign(clock, { maxDoubt: '2s' })],
  ['a deny rule that reaches it', rule({ when: 'request.bytes > 99' }, 'sometimes-not')],
  ['one deny rule less', ({ rules }) => rules.splice(rules.indexOf(named(rules, 'sometimes-not')), 1)],
  [
    'one deny rule more',
    ({ rules }) => rules.push({ ...named(rules, 'sometimes-not'), id: 'more', when: 'request.bytes > 10' }),
  ],
  [
    'a deny rule that comes to reach it',
    ({ rules }) =>
      rules.push({ ...named(rules, 'sometimes-not'), id: 'wide', keys: ['**'], workloads: [SETTLE] }),
  ],
];

describe('what an approval is bound to', () => {
  const before = authority(base());

  it.each(RELATED)('changes with its rule: %s', (_, edit) => {
    const document = base();
    edit(document);
    expect(authority(document)).not.toBe(before);
  });

  it('stays as it is whatever else changes', () => {
    fc.assert(
      fc.property(fc.shuffledSubarray([...UNRELATED]), (edits) => {
        const document = base();
        for (const [, edit] of edits) edit(document);
        expect(authority(document)).toBe(before);
      }),
      { numRuns: 300 },
    );
  });

  it('changes with its rule whatever else changes', () => {
    fc.assert(
      fc.property(fc.subarray([...UNRELATED]), fc.constantFrom(...RELATED), (others, [, edit]) => {
        const document = base();
        for (const [, other] of others) other(document);
        edit(document);
        expect(authority(document)).not.toBe(before);
      }),
      { numRuns: 300 },
    );
  });

  it('is nothing for a rule that is not there', () => {
    expect(authority(base(), 'gone')).toBe('');
    const { governance: _, ...rest } = base();
    expect(authority(rest, 'governance')).toBe('');
  });

  it('is that of governance and lifecycle, with their groups', () => {
    for (const [name, edit] of [
      ['governance', (document) => Object.assign(document.governance!, { within: '2d' })],
      ['makes-keys', (document) => Object.assign(document.lifecycle[0]!, { keys: ['a/*'] })],
      ['governance', ({ groups }) => groups.others?.push('ben')],
      ['makes-keys', ({ groups }) => groups.others?.push('ben')],
    ] as const satisfies readonly Edit[]) {
      const [old, next] = [base(), base()];
      edit(next);
      expect(authority(next, name)).not.toBe(authority(old, name));
      const [, unrelated] = UNRELATED[0]!;
      unrelated(old);
      expect(authority(old, name)).toBe(authority(base(), name));
    }
  });

  it('is canonical JSON', () => {
    const sortKeys = (value: unknown): unknown =>
      Array.isArray(value)
        ? value.map(sortKeys)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .map(([name, member]) => [name, sortKeys(member)] as const)
                .sort(([a], [b]) => (a < b ? -1 : 1)),
            )
          : value;
    expect(JSON.stringify(sortKeys(JSON.parse(before)))).toBe(before);
    expect(before).toContain('"treasury":["anna","ben","cleo"]');
  });
});

describe('decisions with quorums', () => {
  const circumstances: Circumstances = {
    now: Date.parse('2026-11-23T12:00:00Z'),
    clockDoubtMs: 0,
    bytes: 10,
    content: 'message',
    version: 0,
    evidence: ['x509-svid'],
    peerAddress: '',
  };
  const asked = {
    spiffeId: SETTLE,
    key: KEY,
    operation: 'sign',
    algorithm: 'ES256',
    circumstances,
  } as const;
  const plain = { workloads: [SETTLE], keys: [KEY], operations: ['sign'] };
  const needs = { ...plain, quorum: { approvals: 2, of: 'treasury', within: '15m' } };
  const emergency = {
    ...plain,
    quorum: { approvals: 1, of: 'treasury', within: '15m', emergency: true },
  };
  const KINDS: Readonly<Record<string, object>> = {
    free: { ...plain },
    window: { ...plain, windows: [{ zone: 'UTC' }] },
    limited: { ...plain, limits: [{ max: 5, per: '1s', by: 'key' }] },
    needs,
    emergency,
  };

  it('come free first, then without people, then with, emergencies last, each by id', () => {
    const kinds = Object.keys(KINDS);
    fc.assert(
      fc.property(fc.array(fc.constantFrom(...kinds), { minLength: 1, maxLength: 6 }), (chosen) => {
        const document = base();
        document.rules = chosen.map((kind, i) => ({ id: `r${(i * 3) % 7}-${kind}`, ...KINDS[kind] }));
        const { effect, rule: first, alternatives = [] } = compiled(document).decide(asked);
        const expected = document.rules
          .map(({ id }) => String(id))
          .sort((a, b) => {
            const rank = (id: string): number => kinds.indexOf(id.split('-')[1] ?? '');
            return rank(a) - rank(b) || (a < b ? -1 : 1);
          });
        expect(effect).toBe('allow');
        expect(first).toBe(expected[0]);
        if (alternatives.length > 0) expect(alternatives.map((one) => one.rule)).toEqual(expected);
        // What costs nothing needs no list; what needs people always has one.
        for (const { rule: id, quorum: asks } of alternatives) {
          expect(asks !== undefined).toBe(/needs|emergency/.test(id));
        }
        if (/needs|emergency/.test(first)) expect(alternatives).not.toHaveLength(0);
      }),
      { numRuns: 200 },
    );
  });

  it('take no bare digest, unless blind, and say so', () => {
    const document = base();
    document.rules = [{ id: 'settles', ...needs }];
    const digest = { ...asked, circumstances: { ...circumstances, content: 'digest' } } as const;
    const seeing = compiled(document);
    expect(seeing.decide(asked).effect).toBe('allow');
    expect(seeing.decide(digest)).toMatchObject({ effect: 'deny', rule: '' });
    expect(seeing.explain(digest).considered[0]?.missing).toEqual([
      'a bare digest shows approvers nothing: send the message, or let the quorum say `blind: true`',
    ]);
    document.rules = [{ id: 'settles', ...needs, quorum: { ...needs.quorum, blind: true } }];
    expect(compiled(document).decide(digest).effect).toBe('allow');
    // Of a request that is not known nobody can be asked.
    const { circumstances: _, ...unknown } = asked;
    expect(seeing.decide(unknown).effect).toBe('deny');
    expect(seeing.usableOperations(SETTLE, KEY)).toEqual(['sign']);
  });

  it('know whose request it is', () => {
    const document = base();
    Object.assign(document.approvers[0]!, {
      spiffeId: 'spiffe://example.org/human/anna',
      alsoRequestsAs: ['spiffe://example.org/ns/treasury/sa/*'],
    });
    document.rules = [];
    const policy = compiled(document);
    expect(policy.isOwnRequest('anna', 'spiffe://example.org/human/anna')).toBe(true);
    expect(policy.isOwnRequest('anna', SETTLE)).toBe(true);
    expect(policy.isOwnRequest('anna', 'spiffe://example.com/ns/treasury/sa/settle')).toBe(false);
    expect(policy.isOwnRequest('ben', SETTLE)).toBe(false);
    expect(policy.isOwnRequest('nobody', SETTLE)).toBe(true);
    expect(policy.isOwnRequest('ben', 'nonsense')).toBe(true);
    expect([...policy.groupMembers('treasury')]).toEqual(['anna', 'ben', 'cleo']);
    expect([...policy.groupMembers('constructor')]).toEqual([]);
  });
});
