import { describe, expect, it } from 'vitest';
import { parseYamlSource, type YamlSource } from './source.ts';
import { formatSourceIssue, nearestName, quoteSource } from './source-issue.ts';

function accepted(text: string): YamlSource {
  const parsed = parseYamlSource(text, { file: 'f.yaml' });
  if (!parsed.ok) throw new Error(parsed.issues.map(formatSourceIssue).join('\n'));
  return parsed.source;
}

function refusal(input: string | Uint8Array): string {
  const parsed = parseYamlSource(input, { file: 'f.yaml' });
  if (parsed.ok) throw new Error('was accepted');
  return formatSourceIssue(parsed.issues[0]!);
}

describe('values', () => {
  it('reads what people write, by YAML 1.2 and not 1.1', () => {
    expect(
      accepted('a: no\nb: 0x10\nc: 012\nd: [1, x, null, true]\ne: "\\u0041"\nf: 2024-01-01\ng: |\n  *x\n')
        .value,
    ).toEqual({
      a: 'no',
      b: 16,
      c: 12,
      d: [1, 'x', null, true],
      e: 'A',
      f: '2024-01-01',
      g: '*x\n',
    });
  });

  it('has objects without prototype, so that no name means anything to the language', () => {
    const value = accepted('__proto__: {polluted: true}\nconstructor: 1').value;
    expect(Object.getPrototypeOf(value)).toBeNull();
    expect(Object.hasOwn(value as object, '__proto__')).toBe(true);
    expect(({} as { polluted?: boolean }).polluted).toBeUndefined();
  });

  it('accepts a byte order mark and CRLF, and still counts lines', () => {
    const parsed = parseYamlSource(new TextEncoder().encode('\ufeffa: 1\r\nb: 2\r\n'));
    if (!parsed.ok) throw new Error('refused');
    expect(parsed.source.issue(['b'], 'x', { at: 'key' })).toMatchObject({ line: 2, column: 1 });
  });
});

describe('positions', () => {
  const source = accepted('a:\n  - b: 1\n    c: {d: 2}\n');
  it.each([
    [['a', 0, 'c', 'd'], 'value', 3, 12, 'a[0].c.d'],
    [['a', 0, 'c', 'd'], 'key', 3, 9, 'a[0].c.d'],
    [['a', 0, 'b'], 'value', 2, 8, 'a[0].b'],
    [['a', 0, 'missing'], 'value', 2, 5, 'a[0].missing'],
    [['a', 7], 'value', 1, 1, 'a[7]'],
    [['zzz'], 'value', 1, 1, 'zzz'],
    [[], 'value', 1, 1, ''],
  ] as const)('%j at %s is %i:%i', (path, at, line, column, text) => {
    expect(source.issue(path, 'm', { at })).toMatchObject({ line, column, path: text });
  });
});

describe('refusals', () => {
  it.each([
    ['a duplicate name', 'a: 1\nb: 2\na: 3', 'f.yaml:3:1: `a` is given twice'],
    ['a duplicate name deep inside', 'a: {b: 1, "b": 2}', 'f.yaml:1:11: `b` is given twice'],
    ['an anchor', 'a: &x 1', 'f.yaml:1:4: anchors'],
    ['an alias', 'a: *x', 'f.yaml:1:4: anchors'],
    ['a tag', 'a: !!binary aGk=', 'f.yaml:1:4: tags'],
    ['a directive', '%YAML 1.1\n---\na: 1', 'f.yaml:1:1: directives'],
    ['two documents', 'a: 1\n---\nb: 1', 'f.yaml:2:1: only one document'],
    ['an empty file', '', 'f.yaml:1:1: the file is empty'],
    ['only comments', '# hello\n', 'f.yaml:1:1: the file is empty'],
    ['NUL', 'a: 1\nb: x\u0000', 'f.yaml:2:5: the invisible character U+0000'],
    ['escaped NUL', 'a: "x\\0"', 'f.yaml:1:4: the text has an invisible character'],
    [
      'text that reads otherwise than it is written',
      'a: "\u202eb"',
      'f.yaml:1:5: the invisible character U+202E',
    ],
    ['an integer that loses digits', 'a: 9007199254740993', 'f.yaml:1:4: the number is out of range'],
    ['a serial read as a float', 'serial: 84e71234', 'f.yaml:1:9: the number is out of range; if it is text'],
    ['not a number', 'a: .nan', 'f.yaml:1:4: the number is out of range'],
    ['a name that is a number', '1: a', 'f.yaml:1:1: a name must be text'],
    ['a name that is a list', '? [a]\n: 1', 'f.yaml:1:1: a name must be text'],
    ['tabs for indentation', 'a:\n\tb: 1', 'f.yaml:2:1: not YAML'],
    ['an unclosed quote', 'a: "x', 'f.yaml:1:6: not YAML'],
    ['flow nesting', '['.repeat(400_000), 'nested deeper than 32'],
    ['compact nesting', '- '.repeat(400_000), 'nested deeper than 32'],
    ['mapping nesting', '? '.repeat(400_000), 'nested deeper than 32'],
  ])('%s', (_, text, expected) => {
    expect(refusal(text)).toContain(expected);
  });

  it('invalid UTF-8 and UTF-16', () => {
    expect(refusal(new Uint8Array([0x61, 0x3a, 0x20, 0xff]))).toContain('not UTF-8');
    expect(refusal(new Uint8Array(Buffer.from('a: 1', 'utf16le')))).toContain('U+0000');
  });

  it('more than its limit', () => {
    expect(refusal(new Uint8Array(1024 * 1024 + 1))).toContain('larger than 1048576 bytes');
  });
});

describe('hints', () => {
  it.each([
    ['workload', 'workloads'],
    ['roels', 'roles'],
    ['trust-domain', 'trust_domain'],
    ['Operations', 'operations'],
    ['banana', undefined],
    ['x'.repeat(100_000), undefined],
  ])('%s', (written, expected) => {
    expect(nearestName(written, ['workloads', 'roles', 'operations', 'trust_domain'])).toBe(expected);
  });

  it('quotes nothing that moves a terminal, and not much', () => {
    expect(quoteSource('a\u001b[2J`\u202e')).toBe('`a?[2J??`');
    expect(quoteSource('x'.repeat(1000)).length).toBeLessThan(80);
  });
});
