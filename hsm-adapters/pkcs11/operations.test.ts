import { beforeEach, describe, expect, it } from 'vitest';
import { ALGORITHMS } from '../adapter.ts';
import type { WorkerFailure } from '../frames/worker-frames.ts';
import { generic } from '../profiles/generic.ts';
import { ckr } from './ckr.ts';
import { CkrError, type Cryptoki, type ObjectHandle, type SessionHandle } from './cryptoki.ts';
import { Operations, WorkerSession } from './operations.ts';
import { SessionPool } from './session-pool.ts';
import type { TokenRandom } from './token-random.ts';

const OAEP = ALGORITHMS.indexOf('RSA-OAEP-256');
const NONE = new Uint8Array();
const [GOOD, BAD] = [Buffer.alloc(256, 1), Buffer.alloc(256, 2)];
const OPENED = Buffer.from('opened');

let failures: WorkerFailure[];
let suspicions: WorkerFailure[];
let opened: Buffer[];
let decryptions: number;
/** What the module says to anything but `GOOD`. */
let answer: string;
/** The token has died: it says the same to everything. */
let isDead: boolean;
let operations: Operations;

beforeEach(() => {
  [failures, suspicions, opened, decryptions, answer, isDead] = [[], [], [], 0, 'CKR_DATA_INVALID', false];
  const cryptoki = {
    decryptInit: () => undefined,
    decrypt(
      _session: SessionHandle,
      data: Uint8Array,
      room: Buffer,
      done: Parameters<Cryptoki['decrypt']>[3],
    ) {
      decryptions += 1;
      if (!isDead && GOOD.equals(data)) done(undefined, OPENED.copy(room));
      else done(new CkrError(ckr(answer), 'C_Decrypt'), 0);
    },
  };
  operations = new Operations({
    cryptoki: cryptoki as unknown as Cryptoki,
    pool: new SessionPool(
      {
        open: () => new WorkerSession(1 as unknown as SessionHandle),
        close: () => undefined,
        isLimit: () => false,
      },
      {
        sessions: 1,
        maxQueued: 4,
        now: () => 0,
        closeFailed: (error) => {
          throw error;
        },
      },
    ),
    profile: generic,
    replies: {
      done: (_id, ...parts) => opened.push(Buffer.concat(parts)),
      failed: (_id, failure) => failures.push(failure),
    },
    trouble: {
      gone: (failure) => suspicions.push(failure),
      suspect: (failure) => suspicions.push(failure),
      fine: () => undefined,
    },
    random: {} as TokenRandom,
  });
  operations.bind(1, {
    handle: 1 as unknown as ObjectHandle,
    spec: { type: 'rsa', modulusBits: 2048 },
    usages: ['decrypt'],
  });
});

function decrypt(sealed: Buffer): void {
  operations.decrypt(1, 1, OAEP, Number.POSITIVE_INFINITY, 0xffff, {
    iv: NONE,
    associatedData: NONE,
    sealed,
  });
}

describe('RSA-OAEP-256', () => {
  it.each([
    'CKR_ENCRYPTED_DATA_INVALID',
    'CKR_ENCRYPTED_DATA_LEN_RANGE',
    'CKR_DATA_INVALID',
    'CKR_DATA_LEN_RANGE',
    'CKR_GENERAL_ERROR',
    'CKR_FUNCTION_FAILED',
  ])('a ciphertext that does not open is rejected, and no harm to the token: %s', (name) => {
    answer = name;
    decrypt(GOOD);
    decrypt(BAD);
    decrypt(GOOD);
    expect(failures).toMatchObject([{ reason: 'CIPHERTEXT_REJECTED', performed: 'unknown', ckr: name }]);
    expect(suspicions).toEqual([]);
    expect(opened).toEqual([OPENED, OPENED]);
  });

  it.each(['CKR_GENERAL_ERROR', 'CKR_FUNCTION_FAILED'])(
    'a token that opens nothing any more is looked at: %s',
    (name) => {
      answer = name;
      decrypt(GOOD);
      isDead = true;
      decrypt(BAD);
      expect(failures).toMatchObject([{ reason: 'TOKEN_UNREACHABLE', ckr: name }]);
      expect(suspicions).toHaveLength(1);
    },
  );

  it('what is not as long as the modulus does not reach the token', () => {
    for (const sealed of [NONE, GOOD.subarray(1), Buffer.alloc(257)]) decrypt(Buffer.from(sealed));
    expect(failures.map(({ reason, performed }) => [reason, performed])).toEqual(
      Array.from({ length: 3 }, () => ['CIPHERTEXT_REJECTED', 'no']),
    );
    expect(decryptions).toBe(0);
  });
});
