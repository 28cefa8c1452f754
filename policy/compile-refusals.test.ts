import { describe, expect, it } from 'vitest';
import { OK, policyBytes, rules } from '../test/fakes/rule-lines.ts';
import { compilePolicy } from './compile.ts';
import type { PolicyOptions } from './load.ts';
import { PolicyError } from './policy-error.ts';
import { formatSourceIssue } from './source-issue.ts';

const ALICE = 'spiffe://example.org/operator/alice';

function refusals(text: string, options: PolicyOptions = {}): string[] {
  try {
    compilePolicy(policyBytes(text), { file: 'p.yaml', hash: '', ...options });
  } catch (error) {
    if (error instanceof PolicyError) return error.issues.map(formatSourceIssue);
    throw error;
  }
  return [];
}

describe('refused at load', () => {
  it.each([
    ['a version of another time', 'version: 2', 'p.yaml:1:10: `version` is the number 2 (expected 1)'],
    ['no version', 'rules: []', 'p.yaml:1:1: `version` is missing (expected 1)'],
    [
      'a name that is nearly known',
      'version: 1\nroels: []',
      'p.yaml:2:1: unknown name `roels` (did you mean `roles`?)',
    ],
    [
      'an effect that is none',
      rules(`{id: a, effect: permit, ${OK}}`),
      'p.yaml:3:21: `rules[0].effect` is `permit` (expected one of allow, deny)',
    ],
    [
      'an operation that is nearly known',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [k], operations: [sing]}'),
      'did you mean `sign`?',
    ],
    [
      'a wrong pattern',
      rules('{id: a, workloads: ["spiffe://*/w"], keys: [k], operations: [sign]}'),
      'p.yaml:3:25: `spiffe://*/w` has a wildcard in the trust domain',
    ],
    [
      'a reserved key',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [lastmile/log], operations: [sign]}'),
      'p.yaml:3:53: `lastmile/log` names keys under `lastmile/`',
    ],
    [
      'the same id twice',
      rules(`{id: a, ${OK}}`, `{id: a, ${OK}}`),
      'p.yaml:4:10: the id `a` is used by rules[0] already',
    ],
    [
      'the id of the administrators',
      rules(`{id: administrators, ${OK}}`),
      'p.yaml:3:10: the id `administrators` stands for',
    ],
    [
      'no keys',
      rules('{id: a, workloads: ["spiffe://e.org/w"], operations: [sign]}'),
      '`rules[0].keys` is missing',
    ],
    [
      'random with a key',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [k], operations: [random]}'),
      'without `keys`',
    ],
    [
      'random among others',
      rules('{id: a, workloads: ["spiffe://e.org/w"], keys: [k], operations: [sign, random]}'),
      'a rule of its own',
    ],
    ['no workloads', rules('{id: a, workloads: [], keys: [k], operations: [sign]}'), 'too small'],
    [
      'methods of key use in a role',
      'version: 1\nroles: [{id: a, members: ["spiffe://e.org/x"], allow: {methods: [KeyUse.Sign]}}]',
      'is `KeyUse.Sign`',
    ],
    [
      'a scope where none is obeyed',
      'version: 1\nroles: [{id: a, members: ["spiffe://e.org/x"], allow: {methods: [Audit.*, Admin.*], scope: {keys: [k]}}}]',
      'means nothing for `Admin.*`',
    ],
    [
      'an empty scope',
      'version: 1\nroles: [{id: a, members: ["spiffe://e.org/x"], allow: {methods: [Audit.*], scope: {}}}]',
      'an empty scope',
    ],
  ])('%s', (_, text, expected) => {
    const found = refusals(text);
    expect(found.join('\n')).toContain(expected);
  });

  it.each(['proof', 'raw'])('%s, which this version would not obey', (name) => {
    expect(refusals(rules(`{id: a, ${OK}, ${name}: []}`))).toEqual([
      expect.stringContaining(`\`${name}\` is not supported by this version`),
    ]);
  });

  it('everything wrong at once, in the order of the file', () => {
    const found = refusals(rules('{id: "", workload: x, keys: [k], operations: [sign]}', '{id: b}'));
    expect(found.length).toBeGreaterThanOrEqual(4);
    const lines = found.map((issue) => Number(issue.split(':')[1]));
    expect(lines).toEqual(lines.toSorted((a, b) => a - b));
  });
});

describe('separation of key use and administration', () => {
  const both = (member: string, workload: string): string => `version: 1
roles: [{id: ops, members: ["${member}"], allow: {methods: [Admin.*]}}]
rules:
  - {id: use, workloads: ["${workload}"], keys: [k], operations: [sign]}
`;

  it.each([
    ['spiffe://example.org/a', 'spiffe://example.org/**'],
    ['spiffe://example.org/*/a', 'spiffe://example.org/b/*'],
    ['spiffe://example.org/**', 'spiffe://example.org/w'],
    ['spiffe://example.org/**/x', 'spiffe://example.org/a/**'],
  ])('refuses members %s beside workloads %s', (member, workload) => {
    expect(refusals(both(member, workload))[0]).toMatch(
      /^p\.yaml:4:27: .* of the role `ops`: no identity may both/,
    );
  });

  it('accepts patterns that share no identity', () => {
    expect(refusals(both('spiffe://example.org/human/*', 'spiffe://example.org/ns/**'))).toEqual([]);
    expect(refusals(both('spiffe://example.org/*/x', 'spiffe://example.org/*/y'))).toEqual([]);
    expect(refusals(both('spiffe://a.org/**', 'spiffe://b.org/**'))).toEqual([]);
  });

  it('counts the administrators of lastmile.yaml', () => {
    const text = rules('{id: use, workloads: ["spiffe://example.org/**"], keys: [k], operations: [sign]}');
    expect(refusals(text)).toEqual([]);
    expect(refusals(text, { administrators: [ALICE] })[0]).toContain(
      `also matches the administrator \`${ALICE}\``,
    );
    expect(refusals(text, { administrators: ['spiffe://example.org/**'] })[0]).toContain(
      'is not a SPIFFE ID',
    );
  });

  it('lets a deny rule cover everybody: it allows nothing', () => {
    const text = rules(
      '{id: no, effect: deny, workloads: ["spiffe://example.org/**"], keys: [k], operations: [sign]}',
    );
    expect(refusals(text, { administrators: [ALICE] })).toEqual([]);
  });

  it('refuses two scopes for one identity and method, and accepts equal or separate ones', () => {
    const twoScopes = (members: string, keys: string): string => `version: 1
roles:
  - {id: a, members: ["spiffe://example.org/a/*"], allow: {methods: [Audit.*], scope: {keys: [x]}}}
  - {id: b, members: ["${members}"], allow: {methods: [Audit.Query], scope: {keys: [${keys}]}}}
`;
    expect(refusals(twoScopes('spiffe://example.org/*/b', 'y'), { administrators: [ALICE] })[0]).toMatch(
      /^p\.yaml:4:.*different scopes/,
    );
    expect(refusals(twoScopes('spiffe://example.org/*/b', 'x'))).toEqual([]);
    expect(refusals(twoScopes('spiffe://example.org/b/*', 'y'))).toEqual([]);
  });
});
