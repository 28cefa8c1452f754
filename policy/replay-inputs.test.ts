import fc from 'fast-check';
import { describe, expect, test } from 'vitest';
import type { Circumstances, FactValue } from './decision.ts';
import { decodeInputs, encodeInputs, MAX_INPUTS_BYTES } from './replay-inputs.ts';

const plain: Circumstances = {
  now: Date.UTC(2026, 10, 21, 7),
  clockDoubtMs: 0,
  bytes: 64,
  content: 'message',
  version: 0,
  evidence: ['x509-svid'],
  peerAddress: '10.0.0.1',
};

const names = fc.oneof(fc.string({ maxLength: 8 }), fc.constantFrom('__proto__', 'constructor', 'toString'));
const { fact } = fc.letrec<{ fact: FactValue }>((tie) => ({
  fact: fc.oneof(
    { maxDepth: 3 },
    fc.string({ maxLength: 10, unit: 'binary' }),
    fc.constantFrom('~', '~n', '~i7', '~~', '~s'),
    fc.bigInt(),
    fc.double(),
    fc.boolean(),
    fc.constant(null),
    fc.date(),
    fc.array(tie('fact'), { maxLength: 3 }),
    fc
      .array(fc.tuple(names, tie('fact')), { maxLength: 3 })
      .map((members) => Object.fromEntries(members) as { [name: string]: FactValue }),
  ),
}));
const facts = fc
  .array(fc.tuple(names, fact), { maxLength: 4 })
  .map((members) => Object.fromEntries(members) as { [name: string]: FactValue });

function bytesOf(value: unknown): number {
  return Buffer.byteLength(JSON.stringify(value));
}

function everyValue(value: unknown): unknown[] {
  return typeof value === 'object' && value !== null ? Object.values(value).flatMap(everyValue) : [value];
}

describe('inputs of an entry', () => {
  test('what was seen comes back as it was', () => {
    const seen: Circumstances = { ...plain, clockDoubtMs: 250, version: 3, content: 'digest' };
    expect(decodeInputs(encodeInputs(seen))).toEqual({
      circumstances: { ...seen, typed: undefined },
      isTruncated: false,
    });
  });

  test('every fact survives JSON, whole, without nulls or fractions', () => {
    fc.assert(
      fc.property(facts, fc.constantFrom('jwt', 'x509', 'dsse'), (given, type) => {
        const seen: Circumstances = { ...plain, content: 'typed', typed: { type, facts: given } };
        const inputs = encodeInputs(seen);
        expect(bytesOf(inputs)).toBeLessThanOrEqual(MAX_INPUTS_BYTES);
        for (const value of everyValue(inputs)) {
          expect(['string', 'boolean', 'number']).toContain(typeof value);
          if (typeof value === 'number') expect(Number.isSafeInteger(value)).toBe(true);
        }
        const read = decodeInputs(JSON.parse(JSON.stringify(inputs)));
        if (read?.isTruncated === false) expect(read.circumstances.typed).toEqual({ type, facts: given });
        else expect(read?.circumstances.typed).toBeUndefined();
      }),
    );
  });

  test('facts that are too large are left out as a whole, and that is said', () => {
    const claims = { aud: 'https://bank.example', text: 'é'.repeat(2000) };
    const inputs = encodeInputs({ ...plain, content: 'typed', typed: { type: 'jwt', facts: claims } });
    expect(inputs.typed).toEqual({ type: 'jwt', omitted: bytesOf(claims) });
    expect(decodeInputs(inputs)).toMatchObject({
      isTruncated: true,
      circumstances: { typed: undefined, now: plain.now },
    });
  });

  test('the bound holds whatever a gateway says of the peer and the evidence', () => {
    const inputs = encodeInputs({
      ...plain,
      now: Number.MAX_SAFE_INTEGER,
      clockDoubtMs: Number.MAX_SAFE_INTEGER,
      bytes: Number.MAX_SAFE_INTEGER,
      version: Number.MAX_SAFE_INTEGER,
      peerAddress: 'p'.repeat(5000),
      evidence: Array.from({ length: 100 }, () => 'e'.repeat(500)),
      typed: { type: 'dsse', facts: { text: 'x'.repeat(1500) } },
    });
    expect(bytesOf(inputs)).toBeLessThanOrEqual(MAX_INPUTS_BYTES);
    expect(decodeInputs(inputs)?.isTruncated).toBe(false);
  });

  test('a clock of which nothing is known stays one', () => {
    const inputs = encodeInputs({ ...plain, clockDoubtMs: Number.POSITIVE_INFINITY });
    expect(decodeInputs(inputs)?.circumstances.clockDoubtMs).toBe(Number.POSITIVE_INFINITY);
    expect(decodeInputs(encodeInputs({ ...plain, clockDoubtMs: 0.2 }))?.circumstances.clockDoubtMs).toBe(1);
  });

  test('a time that is none is not written', () => {
    expect(() => encodeInputs({ ...plain, now: Number.NaN })).toThrow(TypeError);
    expect(() => encodeInputs({ ...plain, clockDoubtMs: -1 })).toThrow(TypeError);
  });

  test.each([
    undefined,
    null,
    'text',
    [],
    {},
    { omittedBytes: 5000 },
    { ...encodeInputs(plain), content: 'nothing' },
    { ...encodeInputs(plain), at: 1.5 },
    { ...encodeInputs(plain), typed: { type: 'pgp', facts: {} } },
    { ...encodeInputs(plain), typed: { type: 'jwt', facts: { a: '~x' } } },
    { ...encodeInputs(plain), typed: { type: 'jwt', facts: { a: '~i1.5' } } },
    { ...encodeInputs(plain), typed: { type: 'jwt', facts: '~n' } },
  ])('what is not of this form is not guessed at: %j', (inputs) => {
    expect(decodeInputs(inputs)).toBeUndefined();
  });
});
