import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import {
  API,
  callerOf,
  callFor,
  everyUse,
  failureOf,
  isSettled,
  KEYS,
  KeyUseFixture,
  SECRET,
  USES,
} from '../../test/fakes/key-use-fixture.ts';
import { AuditError, type EntryDraft } from '../audit/entry.ts';
import { ecdsaFromDer, FACTS, normaliseEcdsa } from './algorithms.ts';

let fixture: KeyUseFixture;
let uses: Awaited<ReturnType<typeof everyUse>>;
beforeEach(async () => {
  fixture = new KeyUseFixture();
  uses = await everyUse(fixture);
});
afterEach(() => fixture.close());

const sha256 = (bytes: Uint8Array): string => createHash('sha256').update(bytes).digest('base64url');
const callsOfTokens = (): number => fixture.tokens.reduce((sum, token) => sum + token.calls.length, 0);

describe.each(USES)('the result of %s', (use) => {
  it('is released when its entry is durable, and not before', async () => {
    const disk = fixture.log.hold();
    const outcome = uses[use]();
    await disk.reached;
    expect(callsOfTokens()).toBeGreaterThan(0);
    expect(await isSettled(outcome)).toBe(false);
    expect(fixture.log.uses).toEqual([]);
    disk.release();
    expect(await outcome).toHaveProperty('leafIndex', 0);
    expect(fixture.log.uses).toMatchObject([
      { decision: 'allow', performed: 'yes', operation: operationOf(use) },
    ]);
  });

  it.each(['AUDIT_UNAVAILABLE', 'AUDIT_INCONSISTENT'] as const)(
    'is withheld when its entry cannot be written: %s, performed',
    async (reason) => {
      fixture.log.rejection = () => new AuditError(reason, 'the disk is full');
      const failure = await failureOf(uses[use]());
      expect(failure).toMatchObject({ reason, performed: 'yes' });
      expect(failure.message).not.toContain('the disk is full');
      expect(Object.keys(failure).sort()).toEqual(['metadata', 'name', 'performed', 'reason']);
    },
  );

  it('is withheld when the log fails in a way that nobody foresaw', async () => {
    fixture.log.rejection = () => new TypeError('a bug') as unknown as AuditError;
    expect(await failureOf(uses[use]())).toMatchObject({ reason: 'INTERNAL', message: 'internal error' });
  });
});

describe.each(USES)('a failure of %s', (use) => {
  const unreachable = { reason: 'TOKEN_UNREACHABLE', performed: 'unknown' } as const;

  it('is told when its entry is durable, and not before', async () => {
    for (const token of fixture.tokens) token.fault = () => unreachable;
    const disk = fixture.log.hold();
    const outcome = failureOf(uses[use]());
    await disk.reached;
    expect(await isSettled(outcome)).toBe(false);
    disk.release();
    expect(await outcome).toMatchObject({ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' });
    expect(fixture.log.uses).toMatchObject([{ reason: 'TOKEN_UNREACHABLE', performed: 'unknown' }]);
    expect(fixture.log.uses[0]!.output).toBeUndefined();
  });

  it('is told as the log’s when its entry cannot be written, with what was performed', async () => {
    for (const token of fixture.tokens) token.fault = () => unreachable;
    fixture.log.rejection = () => new AuditError('AUDIT_UNAVAILABLE', 'disk full');
    expect(await failureOf(uses[use]())).toMatchObject({ reason: 'AUDIT_UNAVAILABLE', performed: 'unknown' });
  });
});

describe.each(['refused', 'expired'] as const)('a refusal (%s)', (kind) => {
  it('is told when its first entry is durable, and not before', async () => {
    const disk = fixture.log.hold();
    const caller = kind === 'expired' ? callerOf(API, 0) : callerOf();
    const outcome = failureOf(uses.sign(caller, callFor(), kind === 'expired' ? KEYS.sign : 'treasury/key'));
    await disk.reached;
    expect(await isSettled(outcome)).toBe(false);
    disk.release();
    expect((await outcome).performed).toBe('no');
  });
});

describe('an entry', () => {
  it('names who, with what, what for, under which rule, and every attempt', async () => {
    await uses.sign();
    const [entry] = fixture.log.uses as [EntryDraft];
    expect(entry).toMatchObject({
      kind: 'key-use',
      subject: API,
      credential: 'ab'.repeat(32),
      peer: '192.0.2.1:4711',
      operation: 'sign',
      key: KEYS.sign,
      version: 1,
      algorithm: 'ES256',
      decision: 'allow',
      rule: 'app-keys',
      policy: 'sha256:first',
      performed: 'yes',
      generation: 7,
      attempts: [{ outcome: 'ok', performed: 'yes' }],
    });
    expect(entry.reason).toBeUndefined();
    expect(fixture.tokens.map(({ info }) => info.serial)).toContain(entry.attempts![0]!.token);
  });

  it.each([
    ['encrypt', 'plaintext', 'ciphertext'],
    ['data-key', 'data-key', 'ciphertext'],
    ['decrypt', 'ciphertext', 'plaintext'],
    ['mac', 'message', 'mac'],
    ['verify-mac', 'message', undefined],
    ['random', undefined, 'random'],
  ] as const)(
    'of %s has lengths of secrets, and digests of ciphertexts alone',
    async (use, input, output) => {
      const result = await uses[use]();
      const [entry] = fixture.log.uses as [EntryDraft];
      for (const [content, kind] of [
        [entry.input, input],
        [entry.output, output],
      ] as const) {
        expect(content?.kind).toBe(kind);
        expect(content?.sha256 !== undefined).toBe(kind === 'ciphertext');
      }
      const written = JSON.stringify([...fixture.log.entries, ...fixture.log.refusals]);
      const secrets: Uint8Array[] = [SECRET];
      for (const [name, value] of Object.entries(result)) {
        if (value instanceof Uint8Array && name !== 'ciphertext' && name !== 'wrapped') secrets.push(value);
      }
      for (const secret of secrets) {
        const bytes = Buffer.from(secret);
        for (const form of [
          sha256(bytes),
          bytes.toString('hex'),
          bytes.toString('base64url'),
          bytes.toString('base64'),
        ])
          expect(written).not.toContain(form);
      }
    },
  );

  it('has the same digests for a message and for its digest, and for both forms of a signature', async () => {
    const message = Buffer.from('a message');
    const digest = createHash('sha256').update(message).digest();
    const request = { key: KEYS.sign, version: 0, algorithm: 'ES256', der: true };
    const { signature } = await fixture.keyUse.sign(callerOf(), callFor(), {
      ...request,
      content: { kind: 'message', bytes: message },
    });
    await fixture.keyUse.sign(callerOf(), callFor(), {
      ...request,
      content: { kind: 'digest', bytes: digest },
    });
    const [first, second] = fixture.log.uses as [EntryDraft, EntryDraft];
    expect(first.input).toEqual({ kind: 'message', bytes: 9, sha256: digest.toString('base64url') });
    expect(second.input).toEqual({ kind: 'digest', bytes: 32, sha256: digest.toString('base64url') });
    const curve = FACTS.ES256.curve!;
    const raw = ecdsaFromDer(signature, curve.bytes)!;
    expect(first.output).toEqual({
      kind: 'signature',
      bytes: 64,
      sha256: sha256(normaliseEcdsa(raw, curve)),
    });
  });

  it('does not take a digest of another hash for SHA-256', async () => {
    await fixture.create('app/wide', 'ES384');
    const digest = createHash('sha384').update('a message').digest();
    await fixture.keyUse.sign(callerOf(), callFor(), {
      key: 'app/wide',
      version: 0,
      algorithm: 'ES384',
      content: { kind: 'digest', bytes: digest },
      der: false,
    });
    expect(fixture.log.uses[0]!.input).toEqual({ kind: 'digest', bytes: 48, sha256: sha256(digest) });
  });
});

describe('verification', () => {
  it('is done without a token and without an entry, over every public half of the version', async () => {
    const version = await fixture.create('app/ed', 'Ed25519');
    expect(new Set(version.objects.map(({ publicKey }) => Buffer.from(publicKey).toString('hex'))).size).toBe(
      2,
    );
    const content = { kind: 'message', bytes: Buffer.from('m') } as const;
    const request = { key: 'app/ed', version: 0, algorithm: 'EdDSA', content, der: false };
    const signatures = [];
    for (const [token, other] of [fixture.tokens, fixture.tokens.toReversed()] as const) {
      other!.setState('draining');
      signatures.push((await fixture.keyUse.sign(callerOf(), callFor(), request)).signature);
      other!.setState('ready');
      expect(token!.count('sign')).toBeGreaterThan(0);
    }
    fixture.forgetWhatWas();
    for (const token of fixture.tokens) token.setState('down');
    for (const signature of signatures) {
      const verified = await fixture.keyUse.verify(callerOf(), callFor(), { ...request, signature });
      expect(verified).toEqual({ valid: true, version: 1 });
    }
    const [first] = signatures as [Uint8Array];
    for (let i = 0; i < first.length; i++) {
      const bad = Buffer.from(first);
      bad[i]! ^= 4;
      const verified = await fixture.keyUse.verify(callerOf(), callFor(), { ...request, signature: bad });
      expect(verified.valid).toBe(false);
    }
    expect(callsOfTokens()).toBe(0);
    expect(fixture.log.entries).toEqual([]);
  });

  it('takes DER strictly where it is asked for, and raw where it is not', async () => {
    const content = { kind: 'message', bytes: Buffer.from('m') } as const;
    const request = { key: KEYS.sign, version: 0, algorithm: 'ES256', content };
    const { signature } = await fixture.keyUse.sign(callerOf(), callFor(), { ...request, der: true });
    const isValid = async (bytes: Uint8Array, der: boolean): Promise<boolean> =>
      (await fixture.keyUse.verify(callerOf(), callFor(), { ...request, signature: bytes, der })).valid;
    expect(await isValid(signature, true)).toBe(true);
    expect(await isValid(signature, false)).toBe(false);
    expect(await isValid(Buffer.concat([signature, Buffer.from([0])]), true)).toBe(false);
    expect(await isValid(ecdsaFromDer(signature, 32)!, false)).toBe(true);
    expect(await isValid(ecdsaFromDer(signature, 32)!, true)).toBe(false);
  });

  it('of a MAC compares all of it: a shorter, longer or other one is not valid, which is no failure', async () => {
    const message = Buffer.from('m');
    const request = { key: KEYS.mac, version: 0, algorithm: 'HS256', message };
    const { mac } = await fixture.keyUse.mac(callerOf(), callFor(), request);
    const isValid = async (bytes: Uint8Array): Promise<boolean> =>
      (await fixture.keyUse.verifyMac(callerOf(), callFor(), { ...request, mac: bytes })).valid;
    expect(await isValid(mac)).toBe(true);
    for (const other of [
      new Uint8Array(),
      mac.subarray(0, 16),
      mac.subarray(0, 31),
      Buffer.concat([mac, mac]),
      Buffer.from(mac).reverse(),
    ]) {
      expect(await isValid(other)).toBe(false);
    }
  });
});

function operationOf(use: (typeof USES)[number]): string {
  return use === 'data-key' ? 'generate-data-key' : use;
}
