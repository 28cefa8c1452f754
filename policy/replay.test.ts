import { describe, expect, test } from 'vitest';
import { compilePolicy } from './compile.ts';
import type { Allowance, KeyUseQuestion } from './decision.ts';
import { readRecordedEntry, Simulation } from './replay.ts';
import { encodeInputs } from './replay-inputs.ts';
import { PolicyPlayer, type ReplayedPolicy } from './replay-player.ts';

const API = 'spiffe://example.org/ns/payments/sa/api';
const AT = Date.UTC(2026, 10, 21, 7);

function policy(rules: string): ReplayedPolicy {
  return compilePolicy(new TextEncoder().encode(`version: 1\nrules:\n${rules}`), { hash: 'sha256:new' });
}

const SIGNS = `
  - id: signs
    workloads: ["spiffe://example.org/ns/payments/sa/*"]
    keys: [payments/jwt]
    operations: [sign]
    algorithms: [ES256]
`;

let leaf = 0;
function entry(more: object = {}): object {
  leaf++;
  return {
    v: 1,
    leaf,
    time: new Date(AT + leaf).toISOString(),
    kind: 'key-use',
    subject: API,
    operation: 'sign',
    key: 'payments/jwt',
    algorithm: 'ES256',
    decision: 'allow',
    rule: 'old',
    performed: 'yes',
    peer: '10.0.0.1:4711',
    inputs: encodeInputs({
      now: AT + leaf,
      clockDoubtMs: 0,
      bytes: 64,
      content: 'message',
      version: 0,
      evidence: ['x509-svid'],
      peerAddress: '10.0.0.1',
    }),
    ...more,
  };
}

const DENIED = { decision: 'deny', reason: 'POLICY_DENIED', rule: '', performed: 'no' };

function simulate(of: ReplayedPolicy, entries: readonly object[]) {
  const simulation = new Simulation(of);
  for (const one of entries) simulation.add(one);
  return simulation.report();
}

/** A policy whose one rule has a limit, or a guard. */
function costing(allowance: Partial<Allowance>, staticEffect: 'allow' | 'deny' = 'deny'): ReplayedPolicy {
  const full: Allowance = { rule: 'costs', limits: [], guards: [], isOpenAt: () => true, ...allowance };
  return {
    hash: 'sha256:costing',
    decide: ({ circumstances }: KeyUseQuestion) =>
      circumstances === undefined
        ? { effect: staticEffect, rule: '', policyHash: '' }
        : { effect: 'allow', rule: 'costs', policyHash: '', alternatives: [full] },
    explain: () => ({ effect: 'deny', rule: '', policyHash: '', considered: [] }),
    usableOperations: () => ['sign'],
    takesRawSigning: () => true,
  };
}

const ONE_PER_SECOND = {
  id: 'costs/calls',
  max: 1,
  perMs: 1000,
  by: 'workload',
  unit: 'calls',
  window: 'smooth',
} as const;

describe('a simulation with approvals', () => {
  const people = `version: 1
approvers:
  - id: anna
    keys: [{ method: jws, publicKey: '{"kty":"OKP","crv":"Ed25519","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}' }]
groups: { treasury: [anna] }
rules:`;
  const asking = compilePolicy(
    new TextEncoder().encode(`${people}${SIGNS}    quorum: { approvals: 1, of: treasury, within: 15m }\n`),
    { hash: 'sha256:new' },
  );
  const free = policy(SIGNS);
  const none = policy(SIGNS.replace('payments/jwt', 'payments/other'));
  const approved = (): object => {
    const used = entry() as { inputs: object };
    return { ...used, inputs: { ...used.inputs, approval: { id: 'a-1', votes: [1] } } };
  };
  const waiting = (): object => entry({ ...DENIED, reason: 'APPROVAL_REQUIRED' });

  test.each([
    ['free', 'free', 'stillAllowed', undefined],
    ['free', 'asking', 'nowDenied', 'needs 1 approval of treasury, within 15m'],
    ['approved', 'asking', 'stillAllowed', undefined],
    ['approved', 'free', 'nowAllowed', 'without approvals'],
    ['approved', 'none', 'nowDenied', 'key does not match'],
    ['waiting', 'asking', 'stillDenied', undefined],
    ['waiting', 'free', 'nowAllowed', 'without approvals'],
    ['waiting', 'none', 'nowDenied', 'key does not match'],
    ['denied', 'asking', 'nowAllowed', 'needs 1 approval of treasury, within 15m'],
    ['denied', 'none', 'stillDenied', undefined],
  ] as const)('%s, then %s: %s', (before, after, outcome, why) => {
    const entries = { free: entry, approved, waiting, denied: () => entry(DENIED) };
    const report = simulate({ free, asking, none }[after], [entries[before]()]);
    expect(report[outcome]).toBe(1);
    expect(report.requests).toBe(1);
    if (why === undefined) expect(report.flips).toEqual([]);
    else expect(report.flips[0]?.why).toContain(why);
  });

  test('gives no leave without approvals where there was one with', () => {
    const { flips } = simulate(free, [approved(), waiting()]);
    expect(flips.map(({ change, requests }) => [change, requests])).toEqual([
      ['now allowed', 1],
      ['now allowed', 1],
    ]);
  });
});

describe('a simulation', () => {
  test('finds what the new policy no longer allows, and says by which rule and why', () => {
    const report = simulate(policy(SIGNS), [
      entry({ rule: 'signs' }),
      entry(),
      entry({ algorithm: 'ES384' }),
      entry({ algorithm: 'ES384' }),
    ]);
    expect(report).toMatchObject({
      entries: 4,
      requests: 4,
      stillAllowed: 2,
      byAnotherRule: 1,
      nowDenied: 2,
      nowAllowed: 0,
    });
    expect(report.flips).toEqual([
      {
        change: 'now denied',
        workload: API,
        key: 'payments/jwt',
        operation: 'sign',
        ruleBefore: 'old',
        ruleAfter: '',
        why: 'no rule allows it; nearest is signs: algorithm ES384 is not among ES256',
        requests: 2,
        entries: [leaf - 1, leaf],
        firstTime: new Date(AT + leaf - 1).toISOString(),
        lastTime: new Date(AT + leaf).toISOString(),
      },
    ]);
  });

  test('finds what it newly allows, with the repeats that were only counted', () => {
    const refused = entry(DENIED);
    const first = leaf;
    const repeats = entry({
      ...DENIED,
      kind: 'refusals',
      detail: { count: 41, from: '', to: '', first },
    });
    const report = simulate(policy(SIGNS), [refused, repeats]);
    expect(report).toMatchObject({ requests: 42, nowAllowed: 42, cannotReplay: 0 });
    expect(report.flips).toMatchObject([
      { change: 'now allowed', ruleAfter: 'signs', requests: 42, entries: [first] },
    ]);
  });

  test('repeats whose first is not among the entries cannot be replayed', () => {
    const repeats = entry({ ...DENIED, kind: 'refusals', detail: { count: 41, first: 1_000_000 } });
    expect(simulate(policy(SIGNS), [repeats])).toMatchObject({ requests: 0, cannotReplay: 41 });
  });

  test('is about decisions of the policy and nothing else', () => {
    const report = simulate(policy(SIGNS), [
      entry({ kind: 'method', operation: 'Admin.GetStatus' }),
      entry({ kind: 'software-generation', operation: 'start' }),
      entry({ decision: 'deny', reason: 'SVID_EXPIRED' }),
      entry({ decision: 'deny', reason: 'KEY_UNUSABLE', rule: 'old' }),
      entry({ kind: 'refusals', reason: 'REQUEST_INVALID', detail: { count: 5 } }),
      entry({ operation: 'Admin.GetStatus' }),
    ]);
    expect(report).toMatchObject({ entries: 6, requests: 0, cannotReplay: 0, flips: [] });
  });

  test('counts limits from the recorded times; what did not run gives back', () => {
    const limited = costing({ limits: [ONE_PER_SECOND] });
    const at = (now: number, more: object = {}) =>
      entry({ ...more, inputs: { at: AT + now, bytes: 1, content: 'message', evidence: [], peer: '' } });
    const report = simulate(limited, [
      at(0),
      at(900),
      at(1000, { performed: 'no', reason: 'TOKEN_UNREACHABLE' }),
      at(1001),
      at(1500),
    ]);
    expect(report).toMatchObject({ stillAllowed: 3, nowDenied: 2 });
    expect(report.flips[0]).toMatchObject({
      ruleAfter: 'costs',
      why: 'the limit `costs/calls` of 1 calls is used up for another 100 ms',
    });
  });

  test('a guard that would have refused does', () => {
    const guarded = costing({ guards: [{ id: 'costs/seq', kind: 'unique', value: 'a' }] });
    const report = simulate(guarded, [entry(), entry()]);
    expect(report).toMatchObject({ stillAllowed: 1, nowDenied: 1 });
    expect(report.flips[0]?.why).toBe('the guard `costs/seq` does not hold: the value was used before');
  });

  test('says so when what a rule looks at was not recorded', () => {
    const truncated = { ...entry(), operation: 'sign', inputs: { omittedBytes: 5000 }, input: undefined };
    const report = simulate(costing({}), [truncated]);
    expect(report).toMatchObject({ requests: 0, cannotReplay: 1 });
    expect(report.unreplayed).toEqual([
      { workload: API, key: 'payments/jwt', operation: 'sign', requests: 1, entries: [leaf] },
    ]);
    // Where no condition could make a difference, nothing is missing.
    expect(simulate(policy(SIGNS), [truncated])).toMatchObject({ requests: 1, stillAllowed: 1 });
  });

  test('a key that is now for typed signing signs nothing else', () => {
    const typed = policy(`${SIGNS}
  - id: mints
    workloads: ["spiffe://example.org/ns/mint/sa/*"]
    keys: [payments/jwt]
    operations: [sign-jwt]
`);
    const { flips } = simulate(typed, [entry()]);
    expect(flips).toMatchObject([
      {
        change: 'now denied',
        ruleAfter: 'signs',
        why: 'a rule for typed signing names the key, which then signs nothing else',
      },
    ]);
  });

  test('a key that does not exist stays refused', () => {
    const absent = entry({ ...DENIED, inputs: { absent: true } });
    expect(simulate(policy(SIGNS), [absent])).toMatchObject({ stillDenied: 1, nowAllowed: 0 });
  });

  test('keeps a bounded number of flips and of their entries', () => {
    const simulation = new Simulation(policy(SIGNS), { maxFlips: 2, entriesPerFlip: 3 });
    for (let i = 0; i < 40; i++) simulation.add(entry({ key: `k/${i % 4}` }));
    const { flips, nowDenied, otherFlips } = simulation.report();
    expect(flips.map(({ entries, requests }) => [entries.length, requests])).toEqual([
      [3, 10],
      [3, 10],
    ]);
    expect([nowDenied, otherFlips]).toEqual([40, 20]);
  });
});

describe('a recorded entry', () => {
  test('without inputs is rebuilt from what else it says', () => {
    const old = entry({ inputs: undefined, input: { kind: 'digest', bytes: 32 }, peer: '[::1]:55120' });
    const recorded = readRecordedEntry(old);
    expect(recorded).toMatchObject({
      kind: 'request',
      request: {
        isIncomplete: false,
        question: { circumstances: { now: AT + leaf, bytes: 32, content: 'digest', peerAddress: '::1' } },
      },
    });
  });

  test('of typed signing without its facts is incomplete', () => {
    const inputs = {
      at: AT,
      bytes: 1,
      content: 'typed',
      evidence: [],
      peer: '',
      typed: { type: 'jwt', omitted: 9000 },
    };
    expect(readRecordedEntry(entry({ inputs, input: undefined }))).toMatchObject({
      request: { isIncomplete: true, question: { circumstances: undefined } },
    });
  });

  test.each([
    undefined,
    null,
    7,
    'text',
    [],
    {},
    { kind: 'key-use' },
    { kind: 'refusals' },
    entry({ leaf: -1 }),
  ])('that is none is passed over: %j', (value) => {
    expect(readRecordedEntry(value)).toEqual({ kind: 'other' });
  });
});

describe('a player', () => {
  const question: KeyUseQuestion = {
    spiffeId: API,
    key: 'payments/jwt',
    operation: 'sign',
    algorithm: 'ES256',
    circumstances: {
      now: AT,
      clockDoubtMs: 0,
      bytes: 1,
      content: 'message',
      version: 0,
      evidence: [],
      peerAddress: '',
    },
  };

  test('takes the next rule where the first is used up', () => {
    const first = costing({ limits: [ONE_PER_SECOND] });
    const both: ReplayedPolicy = {
      ...first,
      decide: (asked) => ({
        ...first.decide(asked),
        alternatives: [
          ...(first.decide(asked).alternatives ?? []),
          { rule: 'spare', limits: [], guards: [], isOpenAt: () => true },
        ],
      }),
    };
    const player = new PolicyPlayer(both);
    expect([player.play(question).rule, player.play(question).rule]).toEqual(['costs', 'spare']);
  });
});
