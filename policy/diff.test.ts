import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import { compilePolicy } from './compile.ts';
import { diffPolicies } from './diff.ts';
import { sharedWitness, witnesses } from './diff-witness.ts';
import { diffLines } from './diff-words.ts';
import { matchesPattern, parseKeyPattern, patternsOverlap } from './pattern.ts';

const bytes = (text: string): Uint8Array => new TextEncoder().encode(text);

interface Rule {
  readonly id: string;
  readonly effect: string;
  readonly workloads: readonly string[];
  readonly keys: readonly string[];
  readonly operations: readonly string[];
  readonly algorithms?: readonly string[];
}

const file = (rules: readonly object[], more: object = {}): Uint8Array =>
  bytes(JSON.stringify({ version: 1, rules, ...more }));

function lines(before: Uint8Array, after: Uint8Array): string[] {
  const result = diffPolicies(before, after);
  if (!result.ok) throw new Error(JSON.stringify(result.issues));
  return diffLines(result.diff);
}

const SIGNS = {
  id: 'signs',
  workloads: ['spiffe://example.org/ns/payments/sa/*'],
  keys: ['payments/jwt'],
  operations: ['sign'],
  algorithms: ['ES256'],
};

describe('a difference in words', () => {
  test('of the same file is none, whatever the order and the spelling', () => {
    const other = { ...SIGNS, id: 'other', operations: ['sign', 'verify'] };
    expect(lines(file([SIGNS, other]), file([{ ...other, operations: ['verify', 'sign'] }, SIGNS]))).toEqual([
      'no difference',
    ]);
  });

  test('names rules, fields, and who gains or loses what', () => {
    const before = file([SIGNS, { ...SIGNS, id: 'old', workloads: ['spiffe://example.org/legacy'] }]);
    const after = file([
      { ...SIGNS, algorithms: ['ES256', 'ES384'], description: 'more' },
      { ...SIGNS, id: 'random', keys: undefined, algorithms: undefined, operations: ['random'] },
    ]);
    expect(lines(before, after)).toEqual([
      'rule signs changed',
      '  algorithms: ["ES256"] becomes ["ES256","ES384"]',
      '  description: "more"',
      'rule old removed',
      'rule random added',
      '  workloads: ["spiffe://example.org/ns/payments/sa/*"]',
      '  operations: ["random"]',
      'spiffe://example.org/ns/payments/sa/* gains sign with payments/jwt (ES384), by signs',
      'spiffe://example.org/legacy loses sign with payments/jwt (ES256): no rule allows it',
      'spiffe://example.org/ns/payments/sa/* gains random, by random',
    ]);
  });

  test('sees that a new deny rule takes from the rules of others', () => {
    const deny = {
      id: 'frozen',
      effect: 'deny',
      workloads: ['spiffe://example.org/**'],
      keys: ['payments/**'],
      operations: ['sign'],
    };
    expect(lines(file([SIGNS]), file([SIGNS, deny])).slice(-1)).toEqual([
      'spiffe://example.org/ns/payments/sa/* loses sign with payments/jwt (ES256): denied by frozen',
    ]);
  });

  test('sees that nothing changes where another rule allows it too', () => {
    const wide = { ...SIGNS, id: 'wide', workloads: ['spiffe://example.org/**'] };
    expect(lines(file([SIGNS, wide]), file([wide]))).toEqual([
      'rule signs removed',
      'nobody gains or loses anything',
    ]);
  });

  test('is about roles too', () => {
    const role = { id: 'auditors', members: ['spiffe://example.org/a'], allow: { methods: ['Audit.*'] } };
    const now = { ...role, allow: { methods: ['Audit.*', 'Admin.GetStatus'] } };
    expect(lines(file([], { roles: [role] }), file([], { roles: [now] }))).toEqual([
      'role auditors changed',
      '  allow: {"methods":["Audit.*"]} becomes {"methods":["Audit.*","Admin.GetStatus"]}',
      'nobody gains or loses anything',
    ]);
  });

  test('sees which rules mean something else because of a calendar that they refer to', () => {
    const windowed = (id: string, except: string) => ({
      ...SIGNS,
      id,
      keys: [`payments/${id}`],
      windows: [{ days: 'mon-fri', from: '08:00', to: '18:00', zone: 'Europe/Berlin', except: [except] }],
    });
    const rules = [windowed('one', 'freeze'), windowed('two', 'holidays')];
    const calendars = { holidays: ['2026-12-25'], freeze: ['2026-12-24'] };
    const later = { ...calendars, freeze: ['2026-12-31'] };
    expect(lines(file(rules, { calendars }), file(rules, { calendars: later }))).toEqual([
      'calendar freeze changed',
      '  entries: ["2026-12-24"] becomes ["2026-12-31"]',
      'spiffe://example.org/ns/payments/sa/* keeps sign with payments/one (ES256), by one, under other conditions',
    ]);
  });

  test('sees conditions that come and go', () => {
    const when = { ...SIGNS, when: 'request.bytes < 100' };
    expect(lines(file([SIGNS]), file([when])).slice(-1)).toEqual([
      'spiffe://example.org/ns/payments/sa/* keeps sign with payments/jwt (ES256), by signs, under other conditions',
    ]);
    expect(lines(file([when]), file([SIGNS])).slice(-1)).toEqual([
      'spiffe://example.org/ns/payments/sa/* keeps sign with payments/jwt (ES256), by signs, now without conditions',
    ]);
  });

  describe('of who has to agree', () => {
    const X = ['11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo', '8cX41WaGXcaVRbp4OU-ue2sWEOvCxRPfvsVB1ZDwVlg'];
    const key = (i: number) => ({
      method: 'jws',
      publicKey: JSON.stringify({ kty: 'OKP', crv: 'Ed25519', x: X[i] }),
    });
    const people = {
      approvers: [
        { id: 'anna', keys: [key(0)] },
        { id: 'ben', keys: [key(1)] },
      ],
      groups: { treasury: ['anna', 'ben'], others: ['ben'] },
    };
    const settles = { ...SIGNS, quorum: { approvals: 2, of: 'treasury', within: '15m' } };
    const other = {
      ...SIGNS,
      id: 'other',
      keys: ['payments/other'],
      quorum: { approvals: 1, of: 'others', within: '15m' },
    };
    const kept = (what: string, by: string): string =>
      `spiffe://example.org/ns/payments/sa/* keeps sign with ${what} (ES256), by ${by}, under other conditions`;

    test('says how a quorum changes', () => {
      const looser = { ...settles, quorum: { ...settles.quorum, approvals: 1, blind: true } };
      expect(lines(file([settles], people), file([looser], people))).toEqual([
        'rule signs changed',
        '  quorum: 2 approvals of treasury, within 15m becomes 1 approval of treasury, blind true, within 15m',
        kept('payments/jwt', 'signs'),
      ]);
      expect(lines(file([settles], people), file([SIGNS], people))).toEqual([
        'rule signs changed',
        '  quorum: no longer given, was 2 approvals of treasury, within 15m',
        'spiffe://example.org/ns/payments/sa/* keeps sign with payments/jwt (ES256), by signs, now without conditions',
      ]);
    });

    test('says who joins and leaves a group, and whose requests that is about', () => {
      const moved = { ...people, groups: { treasury: ['ben', 'anna'], others: ['anna'] } };
      expect(lines(file([settles, other], people), file([settles, other], moved))).toEqual([
        'group others changed',
        '  gains anna',
        '  loses ben',
        kept('payments/other', 'other'),
      ]);
    });

    test('says which keys somebody signs with', () => {
      const [anna, ben] = people.approvers;
      const rotated = {
        ...people,
        approvers: [
          { ...anna, keys: [key(1)] },
          { ...ben, keys: [key(0)] },
        ],
      };
      expect(lines(file([settles, other], people), file([settles, other], rotated))).toEqual([
        'approver anna changed',
        `  gains the key ${JSON.stringify(key(1))}`,
        `  loses the key ${JSON.stringify(key(0))}`,
        'approver ben changed',
        `  gains the key ${JSON.stringify(key(0))}`,
        `  loses the key ${JSON.stringify(key(1))}`,
        kept('payments/jwt', 'signs'),
        kept('payments/other', 'other'),
      ]);
    });

    test('says what governance comes to', () => {
      const governed = { ...people, governance: { approvals: 2, of: 'treasury', within: '1d' } };
      expect(lines(file([], people), file([], governed))).toEqual([
        'governance added: from then on a changed file alone changes nothing',
        '  governance: 2 approvals of treasury, within 1d',
        'nobody gains or loses anything',
      ]);
      expect(lines(file([], governed), file([], people))[0]).toBe(
        'governance removed: from then on whoever can write the policy file changes the policy, and nobody has to agree',
      );
    });
  });

  test('of a file with a mistake is its mistake', () => {
    expect(diffPolicies(file([]), bytes('version: 2\n'), { after: { file: 'new.yaml' } })).toMatchObject({
      ok: false,
      issues: [{ file: 'new.yaml', line: 1 }],
    });
  });
});

const segment = fc.constantFrom('a', 'b', '*', '**');
const path = fc
  .array(segment, { minLength: 1, maxLength: 3 })
  .filter((segments) => segments.every((one, i) => one !== '**' || segments[i - 1] !== '**'))
  .map((segments) => segments.join('/'));

describe('witnesses', () => {
  test('are names that the patterns match, and there is one where they overlap', () => {
    fc.assert(
      fc.property(path, path, (left, right) => {
        const [a, b] = [parseKeyPattern(left), parseKeyPattern(right)];
        const taken = new Set([...a.segments, ...b.segments]);
        const shared = sharedWitness(a, b, taken);
        expect(shared !== undefined).toBe(patternsOverlap(a, b));
        if (shared !== undefined) {
          expect(matchesPattern(a, shared) && matchesPattern(b, shared)).toBe(true);
          expect(shared).not.toContain('*');
        }
        for (const name of witnesses(a, taken)) expect(matchesPattern(a, name)).toBe(true);
      }),
    );
  });

  test('find every change that two policies with few rules have', () => {
    const rule: fc.Arbitrary<Rule> = fc.record({
      id: fc.constantFrom('x', 'y', 'z'),
      effect: fc.constantFrom('allow', 'allow', 'deny'),
      workloads: path.map((text) => [`spiffe://example.org/${text}`]),
      keys: path.map((text) => [text]),
      operations: fc.constantFrom(['sign'], ['mac'], ['sign', 'mac']),
    });
    const rules = fc.uniqueArray(rule, { selector: ({ id }) => id, maxLength: 2 });
    const name = fc.array(fc.constantFrom('a', 'b', 'c'), { minLength: 1, maxLength: 3 });
    fc.assert(
      fc.property(rules, rules, name, name, (old, next, workload, key) => {
        const [before, after] = [file(old), file(next)];
        const result = diffPolicies(before, after);
        if (!result.ok) throw new Error('not right');
        for (const [operation, algorithm] of [['sign', 'ES256'] as const, ['mac', 'HS256'] as const]) {
          const question = {
            spiffeId: `spiffe://example.org/${workload.join('/')}`,
            key: key.join('/'),
            operation,
            algorithm,
          };
          const was = compilePolicy(before, { hash: 'old' }).decide(question).effect;
          const is = compilePolicy(after, { hash: 'new' }).decide(question).effect;
          if (was === is) continue;
          const change = is === 'allow' ? 'gains' : 'loses';
          expect(result.diff.access).toContainEqual(expect.objectContaining({ change, operation }));
        }
      }),
      { numRuns: 1000 },
    );
  });
});
