import { describe, expect, it } from 'vitest';
import type { Circumstances, Facts, KeyUseQuestion } from '../decision.ts';
import { Activation, compileExpression, type Evaluation, type ExpressionKind } from './expression.ts';

const CIRCUMSTANCES: Circumstances = {
  now: Date.parse('2026-11-23T12:34:56.789Z'),
  clockDoubtMs: 0,
  bytes: 1000,
  content: 'typed',
  version: 0,
  evidence: ['x509-svid'],
  peerAddress: '10.0.0.7',
};

function asked(facts: Facts = {}, type: 'jwt' | 'x509' | 'dsse' = 'jwt'): KeyUseQuestion {
  return {
    spiffeId: 'spiffe://example.org/ns/payments/sa/api',
    operation: 'sign-jwt',
    key: 'payments/jwt',
    algorithm: 'ES256',
    circumstances: { ...CIRCUMSTANCES, typed: { type, facts } },
  };
}

function evaluate(
  text: string,
  question = asked(),
  kind: ExpressionKind = 'condition',
  isNowKnown = true,
): Evaluation {
  const compiled = compileExpression(text, kind);
  if (!compiled.ok) throw new Error(`${text}: ${compiled.message} at ${compiled.offset}`);
  return compiled.expression.evaluate(new Activation(question, CIRCUMSTANCES.now, isNowKnown));
}
const holds = (text: string, facts?: Facts): boolean | string => {
  const result = evaluate(text, asked(facts));
  return result.ok ? result.value === true : result.message;
};
const refusal = (text: string, kind: ExpressionKind = 'condition'): string => {
  const compiled = compileExpression(text, kind);
  return compiled.ok ? 'accepted' : `${compiled.offset}: ${compiled.message}`;
};

describe('the variables', () => {
  it.each([
    'request.operation == "sign-jwt" && request.algorithm == "ES256"',
    'request.bytes == 1000 && request.content == "typed" && request.version == 0',
    'workload.id == "spiffe://example.org/ns/payments/sa/api"',
    'workload.trustDomain == "example.org" && workload.path == ["ns", "payments", "sa", "api"]',
    'key.name == "payments/jwt" && key.path[0] == workload.path[1]',
    '"x509-svid" in evidence && size(evidence) == 1',
    'connection.peerAddress.startsWith("10.")',
    'now == timestamp("2026-11-23T12:34:56.789Z") && now.getHours() == 12 && now.getDayOfWeek() == 1',
    'now - timestamp("2026-11-23T12:00:00Z") > duration("34m")',
    'now < timestamp("2026-11-23T13:34:57+01:00")',
    'has(request.jwt) && !has(request.x509) && !has(request.dsse)',
  ])('%s', (text) => {
    expect(holds(text)).toBe(true);
  });
});

describe('content', () => {
  const jwt: Facts = {
    iss: 'https://issuer.example',
    aud: ['https://bank.example'],
    lifetime: 900n,
    seq: 7n,
    rate: 0.5,
    scope: { read: true, limit: 10n },
    nothing: null,
    constructor: 'x',
    ['__proto__']: 'y',
  };
  it.each([
    'request.jwt.iss == "https://issuer.example"',
    'request.jwt.aud == ["https://bank.example"] && "https://bank.example" in request.jwt.aud',
    'request.jwt.lifetime <= duration("15m") && !(request.jwt.lifetime < duration("15m"))',
    'request.jwt.lifetime <= 900 && 899 < request.jwt.lifetime',
    'request.jwt.seq > 6 && request.jwt.rate < 1.0 && request.jwt.nothing == null',
    'request.jwt.scope.read && request.jwt.scope["limit"] == 10 && has(request.jwt.scope.limit)',
    '!has(request.jwt.sub)',
    'request.jwt.constructor == "x"',
    'request.jwt.all(name, name.size() > 2)',
    'request.jwt.aud.all(a, a.matches("^https://[a-z]+[.]example$"))',
    'request.jwt.aud.exists_one(a, a.endsWith("example"))',
    'request.jwt.aud.map(a, a.size()) == [20]',
    'request.jwt.aud.filter(a, a.contains("evil")).size() == 0',
  ])('%s', (text) => {
    expect(holds(text, jwt)).toBe(true);
  });

  it.each([
    ['a claim that is not there', 'request.jwt.sub == "a"', 'No such key: sub'],
    ['a method of every object', 'request.jwt.toString == "a"', 'No such key: toString'],
    ['another kind of content', 'request.x509.profile == "web"', 'No such key: x509'],
    ['a comparison that means nothing', 'request.jwt.iss < 5', 'no such overload'],
    ['what is not true or false', 'request.jwt.seq', 'the value is not true or false'],
    ['division by zero', '1 / (request.jwt.seq - 7) == 1', 'division by zero'],
    ['overflow', '9223372036854775807 + request.jwt.seq > 0', 'overflow'],
    ['an index that is not there', 'request.jwt.aud[1] == ""', 'index out of bounds'],
    ['an error beside what does not decide', 'request.jwt.sub == "a" || request.jwt.seq == 8', 'No such key'],
  ])('fails for %s', (_, text, message) => {
    const result = evaluate(text, asked(jwt));
    expect(result).toEqual({ ok: false, message: expect.stringContaining(message) });
  });

  it('of certificates and statements is looked at by the same words', () => {
    const x509 = asked({ profile: 'web', dnsNames: ['a.example.org'] }, 'x509');
    expect(
      evaluate(
        'request.x509.profile == "web" && request.x509.dnsNames.all(n, n.endsWith(".example.org"))',
        x509,
      ),
    ).toEqual({
      ok: true,
      value: true,
    });
    const dsse = asked({ subjects: [{ name: 'a', digest: { sha256: 'ab' } }] }, 'dsse');
    expect(evaluate('request.dsse.subjects.all(s, has(s.digest.sha256))', dsse)).toEqual({
      ok: true,
      value: true,
    });
  });
});

// Written from the language definition (cel-spec, langdef.md), section by section.
describe('the language', () => {
  it.each([
    ['precedence', '1 + 2 * 3 == 7 && -2 - -3 == 1 && 7 % 4 == 3 && 7 / 2 == 3 && -7 / 2 == -3'],
    [
      'literals',
      '0x1F == 31 && 1.5e1 == 15.0 && "a\\u00e9" == "aé" && r"\\n".size() == 2 && b"\\xff".size() == 1',
    ],
    ['triple quotes', '"""a"b""" == "a\\"b"'],
    ['comments', 'true // as C++ has them\n && true'],
    ['short circuit from both sides', '(1 / 0 == 1 || true) && (true || 1 / 0 == 1)'],
    ['errors that a false absorbs', '!(false && 1 / 0 == 1) && !(1 / 0 == 1 && false)'],
    ['the conditional evaluates one side', '(true ? 1 : 1 / 0) == 1 && (false ? 1 / 0 : 2) == 2'],
    ['order of strings and bools', '"a" < "b" && "B" < "a" && false < true'],
    ['equality of collections', '[[1], [2]] == [[1], [2]] && {"a": 1} == {"a": 1} && [1] != [1, 2]'],
    ['membership', '2 in [1, 2] && "a" in {"a": 1} && !(3 in [1, 2])'],
    ['size in code points', '"héllo😀".size() == 6 && size([1, 2]) == 2 && size({"a": 1}) == 1'],
    [
      'conversion',
      'int("42") == 42 && string(42) == "42" && double(2) == 2.0 && int(2.9) == 2 && uint(3) == 3u',
    ],
    ['type', 'type(1) == int && type("a") == string && type([1]) == list && type(null) == type(null)'],
    ['all and exists over nothing', '[].all(x, false) && ![].exists(x, true)'],
    ['exists_one', '[1, 2, 3].exists_one(x, x > 2) && ![1, 2, 3].exists_one(x, x > 1)'],
    ['all absorbs errors by a false', '![0, 1].all(x, 1 / x == 5)'],
    ['exists absorbs errors by a true', '[0, 1].exists(x, 1 / x == 1)'],
    ['map and filter', '[1, 2, 3].filter(x, x > 1).map(x, x * x) == [4, 9]'],
    ['map with a filter', '[1, 2, 3].map(x, x > 1, x + 1) == [3, 4]'],
    ['over the names of a map', '{"a": 1, "b": 2}.all(k, k in ["a", "b"])'],
    ['a variable of a loop hides an outer one', '[1].all(x, [2].all(x, x == 2))'],
    ['durations', 'duration("1h30m") == duration("90m") && duration("-1s") < duration("0s")'],
    ['times', 'timestamp("2026-01-01T00:00:00Z") + duration("24h") == timestamp("2026-01-02T00:00:00Z")'],
    ['a time zone moves it', 'timestamp("2026-01-01T01:00:00+01:00") == timestamp("2026-01-01T00:00:00Z")'],
    [
      'months from 0, days of the week from Sunday',
      'now.getMonth() == 10 && now.getDayOfMonth() == 22 && now.getDate() == 23',
    ],
    ['text', '"abc".startsWith("ab") && "abc".endsWith("bc") && "abc".contains("b") && !"abc".contains("B")'],
    ['dyn', 'dyn(1) == 1 && [dyn(1), dyn("a")].size() == 2 && dyn(1) == 1.0'],
  ])('%s', (_, text) => {
    expect(holds(text)).toBe(true);
  });

  it.each([
    ['1 + "a" == 2', '0: no such overload: int + string'],
    ['request.operaton == "sign"', '8: No such key: operaton'],
    ['user.name == "a"', '0: Unknown variable: user'],
    ['1 == ', '5: Unexpected token'],
    ['"a', '0: Unterminated string'],
    ['', '0: '],
    ['true &&', 'Unexpected token'],
    ['request.bytes', '0: is a whole number, where true or false is needed'],
    ['"a"', '0: is of the type string'],
    ['size(5) == 1', 'no matching overload'],
    ['request.operation.foo() == 1', 'there is no method `foo`'],
    ['exec("a")', 'there is no function `exec`'],
    ['[1].all(x + 1, true)', 'variable'],
    ['a.?b == 1', ''],
    ['request.jwt.?iss == 1', ''],
  ])('refuses %s', (text, message) => {
    expect(refusal(text)).not.toBe('accepted');
    expect(refusal(text)).toContain(message);
  });
});

describe('is bounded', () => {
  it.each([
    ['nodes', `1${'+1'.repeat(600)} == 1`, 'maxAstNodes'],
    ['depth', `${'('.repeat(40)}true${')'.repeat(40)}`, 'maxDepth'],
    ['length', `"${'a'.repeat(5000)}" == ""`, 'longer than 4096'],
    ['loops in loops', '[1].all(a, [1].all(b, [1].all(c, true)))', 'more than 2 deep'],
    ['work in loops', 'request.jwt.a.all(a, request.jwt.b.all(b, a.contains(b)))', 'could take too long'],
    ['texts that double', 'cel.bind(a, "aa", cel.bind(b, a + a, b == ""))', 'there is no method `bind`'],
    ['split', '"a".split("") == []', 'there is no method `split`'],
    ['join', '["a"].join() == "a"', 'there is no method `join`'],
    ['a computed pattern', '"a".matches("a" + "b")', 'takes a pattern that stands there'],
    ['a pattern of the request', '"a".matches(request.operation)', 'takes a pattern that stands there'],
    ['a pattern that RE2 has not', '"a".matches("(?=a)")', 'is none of RE2'],
    ['a pattern that explodes', '"a".matches("((a{100}){100}){100}")', 'is none of RE2'],
    ['a time without a zone', 'now > timestamp("2026-01-01T00:00:00.000")', 'takes a text such as'],
    ['a computed time', 'now > timestamp(request.operation)', 'takes a text that stands there'],
    ['another zone', 'now.getHours("Europe/Berlin") == 1', 'for other zones there are windows'],
    ['names out of the blue', 'request[request.operation] == 1', 'write `request.` and a name'],
  ])('%s', (_, text, message) => {
    expect(refusal(text)).toContain(message);
  });

  it('matches in linear time what makes others backtrack', () => {
    const evil = { text: `${'a'.repeat(4000)}!` };
    const begun = performance.now();
    expect(holds('request.jwt.text.matches("^(a+)+$")', evil)).toBe(false);
    expect(performance.now() - begun).toBeLessThan(1000);
  });

  it('gives patterns only so much text, all those of one evaluation together', () => {
    const aud = Array.from({ length: 200 }, (_, i) => `https://service-${i}.example.org/path`);
    const host = 'request.jwt.aud.all(a, a.matches("^https://[a-z0-9-]+[.]example[.]org/"))';
    const large = 'request.jwt.text.matches("a(a|b){300}c")';
    const facts = { aud, text: 'ab'.repeat(2000) };
    for (let i = 0; i < 3; i++) expect(holds(host, facts)).toBe(true);
    expect(holds(large, { text: 'ab'.repeat(1000) })).toBe(false);
    expect(holds(large, facts)).toBe(false);
    expect(holds(`${large} || ${large}`, facts)).toContain('too much text to look through');
    expect(holds(`!(${large}) && true || 1 / 0 == 1`, { text: 'ab'.repeat(4000) })).not.toBe(true);
    expect(refusal('"a".matches("(a{1,100}b){9}")')).toContain('too large once its repetitions');
  });

  it('takes the worst that is accepted in bounded time', () => {
    const list = (prefix: string) => Array.from({ length: 256 }, (_, i) => `${prefix}${i}`);
    const begun = performance.now();
    const text = 'request.jwt.a.all(a, request.jwt.b.all(b, a != b))';
    expect(holds(text, { a: list('a'.repeat(50)), b: list('b'.repeat(50)) })).toBe(true);
    expect(performance.now() - begun).toBeLessThan(2000);
  });

  it.each([
    ['long lists', { a: Array.from({ length: 257 }, () => 1n) }],
    ['long texts', { a: 'a'.repeat(8193) }],
    ['much text', { a: Array.from({ length: 20 }, () => 'a'.repeat(4000)) }],
    ['many values', { a: Array.from({ length: 200 }, () => Array.from({ length: 200 }, () => true)) }],
    ['numbers beyond 64 bits', { a: 2n ** 63n }],
    ['other objects', { a: new Map() as unknown as string }],
    ['functions', { a: (() => 1) as unknown as string }],
  ] as [string, Facts][])('fails on %s, only where they are looked at', (_, facts) => {
    expect(evaluate('size(request.jwt) == 1', asked(facts)).ok).toBe(false);
    expect(evaluate('request.operation == "sign-jwt"', asked(facts))).toEqual({ ok: true, value: true });
  });
});

it('looks at the time only when it is known', () => {
  expect(evaluate('now > timestamp("2026-01-01T00:00:00Z")', asked(), 'condition', false)).toEqual({
    ok: false,
    message: 'the clock is in doubt',
  });
  expect(evaluate('true', asked(), 'condition', false)).toEqual({ ok: true, value: true });
});

it('changes nothing that others see, and remembers nothing', () => {
  const facts = Object.freeze({ aud: Object.freeze(['a', 'b']) });
  for (let i = 0; i < 3; i++) {
    expect(holds('request.jwt.aud.map(a, a + "x") == ["ax", "bx"]', facts)).toBe(true);
    expect(holds('request.jwt.aud.map(a, a + "x") == ["ax", "bx"]', { aud: ['c'] })).toBe(false);
  }
});

it('leaves stack traces to others as they were', () => {
  const before = Error.stackTraceLimit;
  expect(before).toBeGreaterThan(0);
  for (const text of ['true', '1 / 0 == 1']) {
    evaluate(text);
    expect(Error.stackTraceLimit).toBe(before);
  }
});

it('says what it looks at', () => {
  const compiled = compileExpression(
    'has(request.jwt.a) && now > timestamp(5) && request.dsse.b',
    'condition',
  );
  expect(compiled.ok && [compiled.expression.usesNow, compiled.expression.types]).toEqual([
    true,
    ['jwt', 'dsse'],
  ]);
});

describe('values of guards', () => {
  const facts: Facts = { seq: 7n, name: 'a', big: 'a'.repeat(2000), empty: '', half: 0.5, aud: ['a'] };
  it.each([
    ['monotonic', 'request.jwt.seq', 7n],
    ['monotonic', 'request.bytes + 1', 1001n],
    ['unique', 'request.jwt.name', 'a'],
    ['unique', 'request.jwt.seq', '7'],
    ['unique', 'request.jwt.name + "/" + string(request.jwt.seq)', 'a/7'],
  ] as const)('%s %s', (kind, text, value) => {
    expect(evaluate(text, asked(facts), kind)).toEqual({ ok: true, value });
  });
  it.each([
    ['monotonic', 'request.jwt.name'],
    ['monotonic', 'request.jwt.half'],
    ['monotonic', 'request.jwt.missing'],
    ['unique', 'request.jwt.big'],
    ['unique', 'request.jwt.empty'],
    ['unique', 'request.jwt.aud'],
  ] as const)('%s fails for %s', (kind, text) => {
    expect(evaluate(text, asked(facts), kind).ok).toBe(false);
  });
  it('are of a kind that can be one, at load', () => {
    expect(refusal('"a"', 'monotonic')).toContain('where a whole number is needed');
    expect(refusal('true', 'unique')).toContain('is of the type bool');
  });
});
