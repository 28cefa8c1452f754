import { describe, expect, it } from 'vitest';
import { base, JWT, OK, refusals, rules } from '../test/fakes/rule-lines.ts';

const NOW = Date.parse('2026-11-23T12:00:00Z');

describe('refused, each where it stands', () => {
  it.each([
    ['a time zone', `{id: a, ${OK}, windows: [{zone: Mars/Base}]}`, '`Mars/Base` is not a known time zone'],
    ['an offset for a zone', `{id: a, ${OK}, windows: [{zone: "+01:00"}]}`, 'is not a known time zone'],
    ['days', `{id: a, ${OK}, windows: [{zone: UTC, days: weekdays}]}`, '`weekdays` are no days'],
    ['a time of day', `{id: a, ${OK}, windows: [{zone: UTC, from: "8:00"}]}`, '`8:00` is not a time of day'],
    [
      'an empty window',
      `{id: a, ${OK}, windows: [{zone: UTC, from: "08:00", to: "08:00"}]}`,
      'does not end when it begins',
    ],
    [
      'a calendar that is not there',
      `{id: a, ${OK}, windows: [{zone: UTC, except: [holidays]}]}`,
      'there is no calendar `holidays`',
    ],
    ['a date', `{id: a, ${OK}, windows: [{zone: UTC, dates: ["2026-02-30"]}]}`, '`2026-02-30` is not a date'],
    ['a moment without a zone', `{id: a, ${OK}, not-after: "2026-12-01T00:00:00"}`, 'is not a moment'],
    [
      'an end before the beginning',
      `{id: a, ${OK}, not-before: "2026-12-01T00:00:00Z", not-after: "2026-12-01T00:00:00Z"}`,
      'not later than `not-before`',
    ],
    [
      'a length of a limit',
      `{id: a, ${OK}, limits: [{max: 1, per: 1w, by: key}]}`,
      '`1w` is not a length of time for a limit',
    ],
    [
      'a limit below a second',
      `{id: a, ${OK}, limits: [{max: 1, per: 500ms, by: key}]}`,
      'is not a length of time',
    ],
    ['a limit of none', `{id: a, ${OK}, limits: [{max: 0, per: 1s, by: key}]}`, 'too small'],
    [
      'two limits of one kind',
      `{id: a, ${OK}, limits: [{max: 1, per: 60s, by: key}, {max: 2, per: 1m, by: key}]}`,
      'an earlier limit counts the same',
    ],
    [
      'a burst above the limit',
      `{id: a, ${OK}, limits: [{max: 1, per: 1s, by: key, burst: 2}]}`,
      '`burst` is more than `max`',
    ],
    [
      'a burst in fixed windows',
      `{id: a, ${OK}, limits: [{max: 5, per: 1s, by: key, burst: 2, window: fixed}]}`,
      'smooth windows only',
    ],
    [
      'random counted by key',
      '{id: a, workloads: ["spiffe://e.org/w"], operations: [random], limits: [{max: 5, per: 1s, by: key}]}',
      'uses no key to count by',
    ],
    [
      'evidence that nobody verifies',
      `{id: a, ${OK}, evidence: {has: [tpm]}}`,
      '`tpm` is not supported by this version',
    ],
    [
      'evidence by another word',
      `{id: a, ${OK}, evidence: {is: [container-image]}}`,
      '`is` is not supported by this version',
    ],
    [
      'guards on raw signing',
      `{id: a, ${OK}, guards: [{monotonic: request.bytes}]}`,
      'are for typed signing only',
    ],
    [
      'a guard of two kinds',
      `{id: a, ${JWT}, guards: [{monotonic: "1", unique: "2"}]}`,
      'either `monotonic` or `unique`',
    ],
    [
      'a guard twice',
      `{id: a, ${JWT}, guards: [{unique: request.jwt.a}, {unique: request.jwt.a}]}`,
      'an earlier guard says the same',
    ],
    [
      'a guard of a wrong type',
      `{id: a, ${JWT}, guards: [{monotonic: request.operation}]}`,
      'where a whole number is needed',
    ],
    ['a type of another operation', `{id: a, ${OK}, jwt: {issuers: [a]}}`, '`jwt` is about `sign-jwt`'],
    ['an empty type', `{id: a, ${JWT}, jwt: {}}`, 'an empty `jwt` says nothing'],
    [
      'a profile that is not there',
      `{id: a, ${base('sign-certificate')}, certificate: {profiles: [web]}}`,
      'there is no certificate profile `web`',
    ],
    [
      'limits in a deny rule',
      `{id: a, effect: deny, ${OK}, limits: [{max: 1, per: 1s, by: key}]}`,
      'a deny rule has no `limits`',
    ],
    [
      'guards in a deny rule',
      `{id: a, effect: deny, ${JWT}, guards: [{unique: request.jwt.a}]}`,
      'a deny rule has no `guards`',
    ],
    [
      'types in a deny rule',
      `{id: a, effect: deny, ${JWT}, jwt: {issuers: [a]}}`,
      'a deny rule has no `jwt`; say it with `when`',
    ],
    [
      'a deny rule on probation',
      `{id: a, effect: deny, ${OK}, mode: observe}`,
      'a deny rule is always enforced',
    ],
    ['probation without an end', `{id: a, ${OK}, mode: observe}`, '`mode: observe` needs its end'],
    [
      'an end without probation',
      `{id: a, ${OK}, until: "2026-12-01T00:00:00Z"}`,
      '`until` is for `mode: observe`',
    ],
    [
      'probation of many workloads',
      '{id: a, workloads: ["spiffe://e.org/*"], keys: [k], operations: [sign], mode: observe, until: "2026-12-01T00:00:00Z"}',
      'names workloads without wildcards',
    ],
    [
      'probation of many keys',
      '{id: a, workloads: ["spiffe://e.org/w"], keys: ["**"], operations: [sign], mode: observe, until: "2026-12-01T00:00:00Z"}',
      'names keys without wildcards',
    ],
    [
      'probation with guards',
      `{id: a, ${JWT}, guards: [{unique: request.jwt.a}], mode: observe, until: "2026-12-01T00:00:00Z"}`,
      '`guards` is never only observed',
    ],
    [
      'a limit by another word',
      `{id: a, ${OK}, limits: [{max: 1, per: 1s, by: key, burts: 2}]}`,
      'did you mean `burst`?',
    ],
  ])('%s', (_, rule, message) => {
    expect(refusals(rules(rule), { now: NOW })).toContain(message);
  });

  it.each([
    ['past', '2026-11-23T12:00:00Z', 'has passed'],
    ['far', '2026-12-07T12:00:00.001Z', 'more than 14 days away'],
    ['just within', '2026-12-07T12:00:00Z', ''],
  ])('the end of probation that is %s, when there is a clock', (_, until, message) => {
    const text = rules(`{id: a, ${OK}, mode: observe, until: "${until}"}`);
    expect(refusals(text)).toBe('');
    if (message === '') expect(refusals(text, { now: NOW })).toBe('');
    else expect(refusals(text, { now: NOW })).toContain(message);
  });

  it('probation beside a rule with guards', () => {
    const trial = `{id: trial, ${JWT}, mode: observe, until: "2026-12-01T00:00:00Z"}`;
    const both = (guards: string): string =>
      `version: 1\nrules:\n  - {id: guarded, ${JWT}${guards}}\n  - ${trial}\n`;
    expect(refusals(both(''))).toBe('');
    expect(refusals(both(', guards: [{unique: request.jwt.a}]'))).toContain('p.yaml:4:');
    expect(refusals(both(', guards: [{unique: request.jwt.a}]'))).toContain(
      'the rule `guarded` guards the same',
    );
  });

  it('a clock that is none', () => {
    expect(refusals('version: 1\nclock: {maxDoubt: 10m}')).toContain(
      'p.yaml:2:19: `clock.maxDoubt` is more than 5m',
    );
    expect(refusals('version: 1\nclock: {maxDoubt: soon}')).toContain('is not a duration');
  });

  it('weights and calendars', () => {
    expect(refusals('version: 1\nweights: [{workloads: ["spiffe://*/x"], weight: 5}]')).toContain(
      'wildcard in the trust domain',
    );
    expect(refusals('version: 1\nweights: [{workloads: ["spiffe://e.org/x"], weight: 1001}]')).toContain(
      'at most 1000',
    );
    expect(refusals('version: 1\ncalendars: {a: [tomorrow]}')).toContain(
      'p.yaml:2:17: `tomorrow` is not a date',
    );
    expect(refusals('version: 1\ncalendars: {"a b": ["12-25"]}')).not.toBe('');
  });
});

describe('expressions are placed in the file', () => {
  it.each([
    ['plain', `when: request.bytes + "a" == 1`, 'p.yaml:8:11: the expression: no such overload'],
    [
      'plain, further in',
      'when: true && request.operaton == ""',
      'p.yaml:8:27: the expression: No such key: operaton',
    ],
    ['in double quotes', 'when: "true && request.operaton == \'\'"', 'p.yaml:8:28: the expression'],
    ['in single quotes', `when: 'true && nothing'`, 'p.yaml:8:20: the expression: Unknown variable: nothing'],
    ['with escapes: at its start', 'when: "true && \\x6eothing"', 'p.yaml:8:11: the expression'],
    [
      'in lines: at their start',
      'when: |\n      true &&\n      nothing',
      'p.yaml:8:11: the expression: Unknown variable: nothing (line 2, column 1 of the expression)',
    ],
  ])('%s', (_, written, expected) => {
    const text = `version: 1\n\nrules:\n  - id: a\n    workloads: ["spiffe://example.org/w"]\n    keys: [k]\n    operations: [sign]\n    ${written}\n`;
    expect(refusals(text)).toContain(expected);
  });

  it('and refused when they look at what is never there', () => {
    expect(refusals(rules(`{id: a, ${OK}, when: 'request.jwt.a == 1'}`))).toContain(
      '`request.jwt` is only there for `sign-jwt`',
    );
    expect(refusals(rules(`{id: a, effect: deny, ${JWT}, when: 'request.dsse.a == 1'}`))).toContain(
      'only there for `sign-dsse`',
    );
  });
});
