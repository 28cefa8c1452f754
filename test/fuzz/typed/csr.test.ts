import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { Failure } from '../../../broker/keyuse/failure.ts';
import { type CertificationRequest, parseCsr } from '../../../broker/typed/csr.ts';
import { subjectKey } from '../../../broker/typed/subject-key.ts';

/** A CSR is bytes of a stranger's: nothing but typed errors, in bounded time. */

const LIMIT_MS = 1000;
const requests: Buffer[] = [];

beforeAll(() => {
  const scratch = mkdtempSync(join(tmpdir(), 'lastmile-csr-'));
  const kinds = [['ec', '-pkeyopt', 'ec_paramgen_curve:P-256'], ['rsa:2048'], ['ed25519']];
  for (const kind of kinds) {
    const out = join(scratch, 'csr.der');
    const names =
      'subjectAltName=DNS:a.example.org,IP:10.0.0.1,URI:spiffe://example.org/a,email:a@example.org';
    execFileSync(
      'openssl',
      [
        ...['req', '-new', '-newkey', ...kind, '-nodes', '-keyout', join(scratch, 'key.pem')],
        ...['-subj', '/O=Example/CN=a', '-addext', names, '-outform', 'DER', '-out', out],
      ],
      { stdio: 'pipe' },
    );
    requests.push(readFileSync(out));
  }
  rmSync(scratch, { recursive: true });
});
afterAll(() => expect(requests).toHaveLength(3));

/** What comes of it, undefined when it is refused as it should be. */
function outcome(der: Uint8Array): CertificationRequest | undefined {
  const started = performance.now();
  try {
    return parseCsr(der);
  } catch (error) {
    expect(error).toBeInstanceOf(Failure);
    expect((error as Failure).reason).toBe('REQUEST_INVALID');
    return undefined;
  } finally {
    expect(performance.now() - started).toBeLessThan(LIMIT_MS);
  }
}

const said = ({ key, subject, names }: CertificationRequest): object => ({
  spki: Buffer.from(key.spki).toString('hex'),
  subject,
  names,
});

describe('CSR bytes', () => {
  test('of openssl are read', () => {
    for (const der of requests) {
      expect(outcome(der)).toMatchObject({
        subject: [
          { type: 'O', value: 'Example' },
          { type: 'CN', value: 'a' },
        ],
        names: {
          dns: ['a.example.org'],
          ip: ['10.0.0.1'],
          uri: ['spiffe://example.org/a'],
          email: ['a@example.org'],
        },
      });
    }
  });

  test('with any byte changed say what they said, or are refused', () => {
    for (const der of requests) {
      const original = said(outcome(der)!);
      for (let i = 0; i < der.length; i++) {
        const changed = Buffer.from(der);
        changed[i]! ^= 1 << (i % 8);
        const read = outcome(changed);
        if (read !== undefined) expect(said(read)).toEqual(original);
      }
    }
  });

  test('cut short or with more behind are refused', () => {
    for (const der of requests) {
      for (let length = 0; length < der.length; length += 7)
        expect(outcome(der.subarray(0, length))).toBeUndefined();
      expect(outcome(Buffer.concat([der, Buffer.of(0)]))).toBeUndefined();
      expect(outcome(Buffer.concat([der, der]))).toBeUndefined();
    }
  });

  test('with pieces of others in them are refused, or say what they said', () => {
    fc.assert(
      fc.property(
        fc.nat(2),
        fc.nat(2),
        fc.nat(2000),
        fc.nat(2000),
        fc.integer({ min: 1, max: 64 }),
        (a, b, from, to, length) => {
          const changed = Buffer.from(requests[a]!);
          requests[b]!.copy(
            changed,
            to % changed.length,
            from % requests[b]!.length,
            (from % requests[b]!.length) + length,
          );
          const read = outcome(changed);
          if (read !== undefined) expect(said(read)).toEqual(said(outcome(requests[a]!)!));
        },
      ),
      { numRuns: 500 },
    );
  });

  test('of no meaning are refused', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 600 }), (bytes) => {
        expect(outcome(bytes)).toBeUndefined();
        expect(outcome(sequence(bytes))).toBeUndefined();
      }),
      { numRuns: 500 },
    );
  });

  test.each([
    ['sequences within sequences', 0x30],
    ['sets within sets', 0x31],
    ['constructed strings within each other', 0x24],
  ])('nested as deeply as they can be, %s', (_, tag) => {
    let nested: Buffer = Buffer.alloc(0);
    for (;;) {
      const next = value(tag, nested);
      if (next.length > 16 * 1024 - 4) break;
      nested = next;
    }
    expect(outcome(sequence(nested))).toBeUndefined();
  });

  test('of indefinite lengths are refused', () => {
    const opened = Buffer.from('3080'.repeat(4000), 'hex');
    expect(outcome(opened)).toBeUndefined();
    expect(outcome(sequence(opened))).toBeUndefined();
  });

  test('of many small values are refused', () => {
    expect(outcome(sequence(Buffer.from('0500'.repeat(8000), 'hex')))).toBeUndefined();
    expect(outcome(sequence(value(0x30, Buffer.from('3100'.repeat(8000), 'hex'))))).toBeUndefined();
  });

  test('over 16 KiB are not read at all', () => {
    expect(outcome(Buffer.alloc(16 * 1024 + 1, 0x30))).toBeUndefined();
  });
});

test('bytes of public keys: typed errors alone', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 300 }), fc.nat(2), fc.nat(2000), (bytes, which, at) => {
      const spki = Buffer.from(outcome(requests[which]!)!.key.spki);
      spki.set(bytes.subarray(0, Math.max(0, spki.length - (at % spki.length))), at % spki.length);
      for (const candidate of [bytes, spki]) {
        try {
          subjectKey(candidate);
        } catch (error) {
          expect(error).toBeInstanceOf(Failure);
        }
      }
    }),
    { numRuns: 300 },
  );
});

function sequence(content: Uint8Array): Buffer {
  return value(0x30, content);
}

function value(tag: number, content: Uint8Array): Buffer {
  const { length } = content;
  const header =
    length < 0x80
      ? [tag, length]
      : length < 0x100
        ? [tag, 0x81, length]
        : [tag, 0x82, length >> 8, length & 0xff];
  return Buffer.concat([Buffer.from(header), content]);
}
