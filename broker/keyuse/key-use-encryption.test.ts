import { afterEach, beforeEach, describe, expect, it, vi } from 'vitest';
import type { TokenFault } from '../../test/fakes/fake-token.ts';
import { callerOf, callFor, failureOf, KeyUseFixture } from '../../test/fakes/key-use-fixture.ts';
import { MAX_ENCRYPTIONS } from './encryption-counter.ts';

const NONE = new Uint8Array();
const plaintext = Buffer.from('the plaintext');
const REJECTED = { reason: 'CIPHERTEXT_REJECTED', message: 'ciphertext rejected', metadata: {} };

let fixture: KeyUseFixture;
beforeEach(() => {
  fixture = new KeyUseFixture();
});
afterEach(async () => {
  vi.restoreAllMocks();
  await fixture.close();
});

const encrypt = (key = 'app/box', associatedData: Uint8Array = NONE, bytes: Uint8Array = plaintext) =>
  fixture.keyUse.encrypt(callerOf(), callFor(), {
    key,
    version: 0,
    algorithm: '',
    plaintext: bytes,
    associatedData,
  });
const decrypt = (ciphertext: Uint8Array, associatedData: Uint8Array = NONE, key = 'app/box') =>
  fixture.keyUse.decrypt(callerOf(), callFor(), { key, ciphertext, associatedData });
const count = (kind: 'encrypt' | 'decrypt' | 'random'): number =>
  fixture.tokens.reduce((sum, token) => sum + token.count(kind), 0);

/** The first `times` encryptions (or openings) asked of any token end like this. */
function failFirst(kind: 'encrypt' | 'decrypt', times: number, fault: TokenFault): void {
  let asked = 0;
  for (const token of fixture.tokens) {
    token.fault = (call) => (call.kind === kind && asked++ < times ? fault : undefined);
  }
}

describe('a ciphertext', () => {
  it('opens to what was encrypted, on whichever token, with the same associated data alone', async () => {
    await fixture.create('app/box', 'A256GCM');
    const associatedData = Buffer.from('row 17');
    for (let i = 0; i < 4; i++) {
      const { ciphertext } = await encrypt('app/box', associatedData);
      expect(Buffer.from((await decrypt(ciphertext, associatedData)).plaintext)).toEqual(plaintext);
      for (const other of [NONE, Buffer.from('row 18')]) {
        expect(await failureOf(decrypt(ciphertext, other))).toMatchObject(REJECTED);
      }
    }
  });

  it('is never twice the same', async () => {
    await fixture.create('app/box', 'A256GCM');
    const made = await Promise.all(Array.from({ length: 32 }, () => encrypt()));
    expect(new Set(made.map(({ ciphertext }) => Buffer.from(ciphertext).toString('hex'))).size).toBe(32);
  });

  it('that is wrong in any way gets one answer, and does no token any harm', async () => {
    await fixture.create('app/box', 'A256GCM');
    await fixture.create('app/other', 'A256GCM');
    const { ciphertext } = await encrypt();
    const flipped = Array.from({ length: ciphertext.length }, (_, at) => {
      const bad = Buffer.from(ciphertext);
      bad[at]! ^= 1;
      return bad;
    });
    const wrong = [
      ...flipped,
      ciphertext.subarray(0, -1),
      ciphertext.subarray(0, 20),
      Buffer.concat([ciphertext, ciphertext]),
      Buffer.from('not one of ours'),
      (await encrypt('app/other')).ciphertext,
    ];
    for (const bad of wrong) expect(await failureOf(decrypt(bad))).toMatchObject(REJECTED);
    expect(await failureOf(decrypt(ciphertext, NONE, 'app/other'))).toMatchObject(REJECTED);
    expect(fixture.tokens.map(({ state }) => state)).toEqual(['ready', 'ready']);
    expect(Buffer.from((await decrypt(ciphertext)).plaintext)).toEqual(plaintext);
  });

  it('is asked of one token alone when it does not open', async () => {
    await fixture.create('app/box', 'A256GCM');
    const { ciphertext } = await encrypt();
    fixture.forgetWhatWas();
    const bad = Buffer.from(ciphertext);
    bad[bad.length - 1]! ^= 1;
    await failureOf(decrypt(bad));
    expect(count('decrypt')).toBe(1);
    expect(fixture.log.uses).toMatchObject([
      { reason: 'CIPHERTEXT_REJECTED', attempts: [{ outcome: 'failed', ckr: 'CKR_ENCRYPTED_DATA_INVALID' }] },
    ]);
  });

  it('is refused before any token where its form is wrong', async () => {
    await fixture.create('app/box', 'A256GCM');
    await failureOf(decrypt(Buffer.from('not one of ours')));
    expect(count('decrypt')).toBe(0);
  });
});

describe('before a ciphertext is released', () => {
  it('it is opened again, on another session, with the same associated data', async () => {
    await fixture.create('app/box', 'A256GCM', { tokens: ['one'] });
    const encrypted = vi.spyOn(fixture.token, 'encrypt');
    const opened = vi.spyOn(fixture.token, 'decrypt');
    await encrypt('app/box', Buffer.from('row 17'));
    const made = await encrypted.mock.results[0]!.value;
    expect(opened).toHaveBeenCalledTimes(1);
    expect(opened.mock.calls[0]![0]).toMatchObject({
      iv: made.iv,
      sealed: made.sealed,
      notSession: made.session,
      associatedData: encrypted.mock.calls[0]![2],
    });
  });

  it.each([
    ['wrong bytes from the encryption', 'encrypt', 'wrong-bytes', 'does not open to what was encrypted'],
    ['wrong bytes from the opening', 'decrypt', 'wrong-bytes', 'does not open to what was encrypted'],
    ['an IV of zeros', 'encrypt', 'zero-iv', 'an IV of app/box#1'],
    ['an IV of another length', 'encrypt', 'short-iv', 'an IV of app/box#1'],
  ] as const)(
    '%s take the token out of service, and the other one serves',
    async (_what, kind, fault, finding) => {
      await fixture.create('app/box', 'A256GCM');
      failFirst(kind, 1, fault);
      const { ciphertext } = await encrypt();
      expect(Buffer.from((await decrypt(ciphertext)).plaintext)).toEqual(plaintext);
      expect(fixture.log.uses[0]!.attempts!.map(({ outcome }) => outcome)).toEqual(['mismatch', 'ok']);
      const [liar] = fixture.tokens.filter(({ findings }) => findings.length > 0);
      expect(liar!.findings[0]).toContain(finding);
      expect(liar!.state).toBe('blocked');
      expect(fixture.log.of('token')).toHaveLength(1);
    },
  );

  it('an IV that was used before does, too', async () => {
    await fixture.create('app/box', 'A256GCM', { tokens: ['one'] });
    await encrypt();
    failFirst('encrypt', 1, 'repeat-iv');
    const failure = await failureOf(encrypt());
    expect(failure.performed).not.toBe('no');
    expect(fixture.token.state).toBe('blocked');
    expect(fixture.log.uses[1]!.output).toBeUndefined();
  });

  it('nothing is, when both tokens are wrong', async () => {
    await fixture.create('app/box', 'A256GCM');
    failFirst('encrypt', 2, 'wrong-bytes');
    expect(await failureOf(encrypt())).toMatchObject({ reason: 'INTERNAL', performed: 'yes' });
    expect(fixture.tokens.map(({ state }) => state)).toEqual(['blocked', 'blocked']);
  });
});

describe('the count of encryptions', () => {
  it('has grown durably before a token is asked, for every attempt', async () => {
    await fixture.create('app/box', 'A256GCM');
    const take = vi.spyOn(fixture.encryptions, 'take');
    const takenWhenAsked: number[] = [];
    for (const token of fixture.tokens) {
      token.fault = ({ kind }) => {
        if (kind !== 'encrypt') return undefined;
        takenWhenAsked.push(take.mock.calls.length);
        expect(fixture.store.encryptionsReserved('app/box', 1)).toBeGreaterThan(0);
        return { reason: 'SESSION_LOST', performed: 'no' };
      };
    }
    await failureOf(encrypt());
    expect(takenWhenAsked).toEqual([1, 2]);
  });

  it('keeps a key from encrypting once it is used up; it still decrypts', async () => {
    await fixture.create('app/box', 'A256GCM');
    const { ciphertext } = await encrypt();
    fixture.store.reserveEncryptions('app/full', 1, MAX_ENCRYPTIONS);
    const version = fixture.catalog.find('app/box', 1)!;
    vi.spyOn(fixture.catalog, 'find').mockReturnValue({ ...version, name: 'app/full' });
    fixture.forgetWhatWas();
    expect(await failureOf(encrypt('app/full'))).toMatchObject({ reason: 'KEY_UNUSABLE', performed: 'no' });
    expect(count('encrypt')).toBe(0);
    vi.restoreAllMocks();
    expect(Buffer.from((await decrypt(ciphertext)).plaintext)).toEqual(plaintext);
  });

  it('is not touched when the store fails, and neither is the token', async () => {
    await fixture.create('app/box', 'A256GCM');
    vi.spyOn(fixture.encryptions, 'take').mockImplementation(() => {
      throw new Error('disk full');
    });
    const failure = await failureOf(encrypt());
    expect(failure).toMatchObject({ reason: 'INTERNAL', message: 'internal error' });
    expect(count('encrypt')).toBe(0);
  });
});

describe('a data key', () => {
  const generate = (length: number, associatedData: Uint8Array = NONE) =>
    fixture.keyUse.generateDataKey(callerOf(), callFor(), {
      key: 'app/box',
      version: 0,
      length,
      associatedData,
    });

  it.each([
    [0, 32],
    [16, 16],
    [24, 24],
    [48, 48],
    [64, 64],
  ])('of length %i has %i random bytes of the token, and opens with Decrypt', async (asked, length) => {
    await fixture.create('app/box', 'A256GCM');
    const { plaintext: key, wrapped } = await generate(asked, Buffer.from('file'));
    expect(key).toHaveLength(length);
    expect(count('random')).toBe(1);
    expect(Buffer.from((await decrypt(wrapped, Buffer.from('file'))).plaintext)).toEqual(Buffer.from(key));
  });

  it('is another one each time', async () => {
    await fixture.create('app/box', 'A256GCM');
    const keys = await Promise.all(Array.from({ length: 8 }, () => generate(32)));
    expect(new Set(keys.map((made) => Buffer.from(made.plaintext).toString('hex'))).size).toBe(8);
  });
});

describe('RSA-OAEP-256', () => {
  it('encrypts with the public half, is opened again by the token, and has neither room nor associated data to spare', async () => {
    await fixture.create('app/box', 'RSA-OAEP-256', { tokens: ['one'] });
    const { ciphertext } = await encrypt();
    expect(fixture.token.count('encrypt')).toBe(0);
    expect(fixture.token.count('decrypt')).toBe(1);
    expect(Buffer.from((await decrypt(ciphertext)).plaintext)).toEqual(plaintext);
    expect((await failureOf(encrypt('app/box', Buffer.from('x')))).reason).toBe('REQUEST_INVALID');
    expect((await failureOf(encrypt('app/box', NONE, Buffer.alloc(191)))).message).toContain(
      'at most 190 bytes',
    );
    await encrypt('app/box', NONE, Buffer.alloc(190, 1));
    expect(await failureOf(decrypt(ciphertext, Buffer.from('x')))).toMatchObject(REJECTED);
    failFirst('decrypt', 1, 'wrong-bytes');
    expect((await failureOf(encrypt())).performed).not.toBe('no');
    expect(fixture.token.state).toBe('blocked');
  });
});
