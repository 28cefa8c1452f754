import { existsSync, readdirSync, readFileSync } from 'node:fs';
import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { canonicalize } from './canonical.ts';
import type { EntryDraft } from './entry.ts';
import { BOUNDS, boundString, type EntryPlace, formatEntry, parseEntry } from './entry-format.ts';

const place: EntryPlace = {
  leaf: 7,
  seq: 3,
  prev: 'cHJldg',
  salt: 'c2FsdA',
  time: '2026-01-02T03:04:05.678Z',
};
const draft: EntryDraft = {
  kind: 'key-use',
  subject: 'spiffe://example.org/a',
  operation: 'sign',
  decision: 'allow',
};

const vectors = new URL('../../../shared/vectors/jcs/', import.meta.url);
describe.skipIf(!existsSync(vectors))(
  'RFC 8785 vectors (skipped where ../shared/vectors/jcs is absent)',
  () => {
    const names = existsSync(vectors) ? readdirSync(new URL('input/', vectors)) : [];
    it.each(names)('%s', (name) => {
      const input: unknown = JSON.parse(readFileSync(new URL(`input/${name}`, vectors), 'utf8'));
      expect(canonicalize(input)).toBe(readFileSync(new URL(`output/${name}`, vectors), 'utf8').trimEnd());
    });
  },
);

describe('canonicalize', () => {
  it.each([[undefined], [Number.NaN], [Number.POSITIVE_INFINITY], ['\ud800'], [[undefined]], [1n]])(
    'refuses %s',
    (value) => {
      expect(() => canonicalize(value)).toThrow(TypeError);
    },
  );
});

const text = fc.oneof(
  fc.string(),
  fc.string({ unit: 'binary' }),
  fc.string({ unit: 'grapheme', maxLength: 400 }),
);
const whole = fc.maxSafeNat();
const content = fc.record(
  { kind: fc.constantFrom('message', 'signature', 'plaintext'), bytes: whole, sha256: text },
  { requiredKeys: ['kind', 'bytes'] },
);
const json = fc.dictionary(
  text,
  fc.oneof(text, whole, fc.boolean(), fc.array(text), fc.dictionary(text, text)),
  { maxKeys: 6 },
);
const drafts = fc.record(
  {
    kind: fc.constantFrom('key-use', 'log'),
    subject: text,
    operation: text,
    decision: fc.constantFrom('allow', 'deny'),
    credential: text,
    peer: text,
    key: text,
    version: whole,
    algorithm: text,
    rule: text,
    policy: text,
    reason: text,
    performed: fc.constantFrom('no', 'unknown', 'yes'),
    input: content,
    output: content,
    attempts: fc.array(
      fc.record(
        {
          token: text,
          outcome: fc.constantFrom('ok', 'failed'),
          ckr: text,
          reason: text,
          performed: fc.constant('no'),
          micros: whole,
        },
        { requiredKeys: ['token', 'outcome', 'performed', 'micros'] },
      ),
      { maxLength: 12 },
    ),
    generation: whole,
    latencyMicros: fc.double({ min: 0, max: 1e9, noNaN: true }),
    traceId: text,
    inputs: json,
    detail: json,
  },
  { requiredKeys: ['kind', 'subject', 'operation', 'decision'] },
) as fc.Arbitrary<EntryDraft>;

describe('formatEntry', () => {
  it('writes the canonical form of what it says, whatever the draft', () => {
    fc.assert(
      fc.property(drafts, (any) => {
        const written = formatEntry(any, place);
        expect(written).toBe(canonicalize(JSON.parse(written)));
        const entry = parseEntry(Buffer.from(written));
        expect(Object.keys(entry)).toEqual(
          expect.arrayContaining(
            Object.keys(any).filter((name) => any[name as keyof EntryDraft] !== undefined),
          ),
        );
        expect(entry).toMatchObject(place);
      }),
      { numRuns: 300 },
    );
  });

  it('keeps every field of a draft within the bounds as it is', () => {
    const full: EntryDraft = {
      ...draft,
      key: 'payments/jwt',
      version: 2,
      input: { kind: 'message', bytes: 3, sha256: 'abc' },
      attempts: [{ token: 'T1', outcome: 'failed', ckr: 'CKR_DEVICE_ERROR', performed: 'no', micros: 12 }],
      inputs: { b: 1, a: ['x', { z: true, y: 'é' }] },
      latencyMicros: 99,
    };
    expect(parseEntry(Buffer.from(formatEntry(full, place)))).toEqual({ ...full, ...place, v: 1 });
  });

  it('stays below 65,535 bytes when everything is as large as a caller can make it', () => {
    const huge = '\u0001'.repeat(100_000);
    const digested = { kind: 'message', bytes: Number.MAX_SAFE_INTEGER, sha256: huge } as const;
    const attempt = {
      token: huge,
      outcome: 'failed',
      ckr: huge,
      reason: huge,
      performed: 'unknown',
      micros: Number.MAX_SAFE_INTEGER,
    } as const;
    const entry = formatEntry(
      {
        kind: 'key-use',
        subject: huge,
        operation: huge,
        decision: 'allow',
        credential: huge,
        peer: huge,
        key: huge,
        version: Number.MAX_SAFE_INTEGER,
        algorithm: huge,
        rule: huge,
        policy: huge,
        reason: huge,
        performed: 'unknown',
        input: digested,
        output: digested,
        attempts: Array.from({ length: 50 }, () => attempt),
        generation: Number.MAX_SAFE_INTEGER,
        latencyMicros: Number.MAX_SAFE_INTEGER,
        traceId: huge,
        inputs: { a: 'x'.repeat(BOUNDS.inputs - 8) },
        detail: { a: 'x'.repeat(BOUNDS.detail - 8) },
      },
      {
        leaf: Number.MAX_SAFE_INTEGER,
        seq: Number.MAX_SAFE_INTEGER,
        prev: 'x'.repeat(43),
        salt: 'x'.repeat(22),
        time: place.time,
      },
    );
    expect(Buffer.byteLength(entry)).toBeLessThan(65_535);
    expect(entry).not.toContain('omittedBytes');
  });

  it('replaces inputs over 4 KiB by their size', () => {
    const entry = parseEntry(Buffer.from(formatEntry({ ...draft, inputs: { a: 'é'.repeat(2100) } }, place)));
    expect(entry.inputs).toEqual({ omittedBytes: 4208 });
  });

  it('cuts a long string to its bound, within a character never, and says how much is missing', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', minLength: 20, maxLength: 300 }), (long) => {
        const bounded = boundString(long.toWellFormed(), BOUNDS.short);
        expect(Buffer.byteLength(bounded)).toBeLessThanOrEqual(BOUNDS.short);
        expect(bounded.isWellFormed()).toBe(true);
      }),
    );
    expect(boundString('k'.repeat(100), 64)).toBe(`${'k'.repeat(48)}…+52`);
  });

  it.each([-1, 1.5, Number.NaN, 2 ** 53])('refuses the version %d', (version) => {
    expect(() => formatEntry({ ...draft, version }, place)).toThrow(TypeError);
  });
});

describe('parseEntry', () => {
  const written = formatEntry(draft, place);
  it('ignores fields that a later minor form added', () => {
    expect(parseEntry(Buffer.from(written.replace('"v":1', '"v":1,"zeal":{}')))).toMatchObject(place);
  });
  it.each([
    '',
    '[]',
    'null',
    '{',
    written.replace('"v":1', '"v":2'),
    written.replace('"leaf":7', '"leaf":-7'),
    written.replace('key-use', 'other'),
    written.replace('"seq":3,', ''),
  ])('refuses %s', (bad) => expect(() => parseEntry(Buffer.from(bad))).toThrow('entry'));
});
