import { describe, expect, it } from 'vitest';
import { base, OK, policyBytes, rules } from '../test/fakes/rule-lines.ts';
import { checkPolicy } from './check.ts';
import type { PolicyOptions } from './load.ts';
import { formatSourceIssue } from './source-issue.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');
const warnings = (text: string, options: PolicyOptions = {}): readonly string[] => {
  const found = checkPolicy(policyBytes(text), { file: 'p.yaml', ...options });
  expect(found.issues.map(formatSourceIssue)).toEqual([]);
  return found.warnings.map(formatSourceIssue);
};

describe('warned about', () => {
  it.each([
    [
      'a rule that has ended',
      `{id: a, ${OK}, not-after: "2026-11-23T12:00:00Z"}`,
      'p.yaml:3:94: the rule `a` has ended',
    ],
    [
      'a window that never opens',
      `{id: a, ${OK}, windows: [{zone: UTC, days: mon, dates: ["2026-12-24"]}]}`,
      'never opens',
    ],
    [
      'a window before the rule',
      `{id: a, ${OK}, not-before: "2027-01-01T00:00:00Z", windows: [{zone: UTC, dates: ["2026-12-24"]}]}`,
      'never opens',
    ],
    [
      'a limit that another ends',
      `{id: a, ${OK}, limits: [{max: 1000, per: 1s, by: key}, {max: 500, per: 1d, by: key}]}`,
      'the limit of 1000 calls per 1s is never reached: 500 calls per 1d ends first',
    ],
    [
      'a limit above the budget',
      `{id: a, ${OK}, limits: [{max: 10, per: 1d, by: key}, {max: 10, per: life, by: rule}]}`,
      '10 calls for life ends first',
    ],
  ])('%s', (_, rule, message) => {
    expect(warnings(rules(rule), { now: NOW }).join('\n')).toContain(message);
  });

  it('not when it may be meant', () => {
    for (const rule of [
      `{id: a, ${OK}, not-after: "2026-11-24T12:00:00Z"}`,
      `{id: a, ${OK}, windows: [{zone: UTC, days: sun, dates: ["02-29"]}]}`,
      `{id: a, ${OK}, limits: [{max: 1, per: 1s, by: key}, {max: 1000, per: 1d, by: key}]}`,
      `{id: a, ${OK}, limits: [{max: 10, per: 1s, by: key}, {max: 5, per: 1d, by: workload}]}`,
    ]) {
      expect(warnings(rules(rule), { now: NOW })).toEqual([]);
    }
  });

  it('rules that change nothing beside one that always allows', () => {
    const wide =
      '{id: wide, workloads: ["spiffe://example.org/**"], keys: ["**"], operations: [sign, verify]}';
    expect(warnings(rules(wide, `{id: a, ${OK}, when: 'true'}`))).toEqual([
      expect.stringContaining('the rule `a` changes nothing: the rule `wide` allows all of it, always'),
    ]);
    expect(warnings(rules(`{id: a, ${OK}}`, `{id: b, ${OK}}`))).toEqual([
      expect.stringContaining('`b` changes nothing'),
    ]);
    expect(warnings(rules(wide.replace('}', ", when: 'true'}"), `{id: a, ${OK}}`))).toEqual([]);
  });

  it('signing of what is not understood, with keys of typed rules', () => {
    const wide = '{id: t, workloads: ["spiffe://example.org/x"], keys: ["*"], operations: [sign-jwt]}';
    expect(warnings(rules(`{id: a, ${OK}}`, wide))).toEqual([
      expect.stringContaining('the rule `a` allows `sign` to nobody: the rule `t` allows typed signing'),
    ]);
    expect(warnings(rules(`{id: a, ${base('sign, sign-jwt')}}`))).toEqual([
      expect.stringContaining('it also allows typed signing'),
    ]);
    expect(
      warnings(
        rules('{id: a, workloads: ["spiffe://example.org/x"], keys: ["**"], operations: [sign]}', wide),
      ),
    ).toEqual([]);
    expect(warnings(rules(`{id: a, ${base('verify')}}`, wide))).toEqual([]);
  });

  it('a deny rule with a condition or a window makes nothing void', () => {
    expect(
      warnings(rules(`{id: a, ${OK}}`, `{id: no, effect: deny, ${OK}, when: 'request.bytes > 5'}`)),
    ).toEqual([]);
    expect(warnings(rules(`{id: a, ${OK}}`, `{id: no, effect: deny, ${OK}}`))).toEqual([
      expect.stringContaining('allows nothing'),
    ]);
  });

  it('rules about no key and no workload that there is', () => {
    const text = rules(
      `{id: a, ${OK}}`,
      '{id: r, workloads: ["spiffe://example.org/x/*"], operations: [random]}',
    );
    const known = { knownKeys: ['other', 'a/k'], knownWorkloads: ['spiffe://example.org/x/y'] };
    expect(warnings(text, known)).toEqual([
      expect.stringContaining('the rule `a` matches no workload that is known'),
      expect.stringContaining('the rule `a` matches no key that there is'),
    ]);
    expect(
      warnings(text, {
        knownKeys: ['k'],
        knownWorkloads: ['spiffe://example.org/w', 'spiffe://example.org/x/y'],
      }),
    ).toEqual([]);
  });
});

describe('warnings', () => {
  it('tells of rules that can never match', () => {
    expect(warnings(rules(`{id: a, ${OK}}`), { trustDomain: 'other.org' })[0]).toContain(
      'only workloads of `other.org` are served',
    );
    expect(warnings(rules(`{id: a, ${OK}, algorithms: [A256GCM]}`))[0]).toContain('never matches sign');
    expect(warnings(rules(`{id: a, ${OK}, algorithms: [A256GCM, ES256]}`))).toEqual([]);
  });

  it('tells of an allow rule that a deny rule makes void', () => {
    const deny =
      '{id: no, effect: deny, workloads: ["spiffe://example.org/*"], keys: ["**"], operations: [sign, verify]}';
    expect(warnings(rules(`{id: a, ${OK}}`, deny))[0]).toContain(
      'the rule `a` allows nothing: the rule `no` denies all of it',
    );
    expect(warnings(rules(`{id: a, ${OK.replace('[sign]', '[sign, mac]')}}`, deny))).toEqual([]);
  });
});
