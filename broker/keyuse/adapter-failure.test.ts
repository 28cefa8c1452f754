import { describe, expect, it } from 'vitest';
import { AdapterError, type AdapterReason } from '../../hsm-adapters/adapter.ts';
import { isWorthAnotherAttempt, toFailure } from './adapter-failure.ts';
import { Failure, type Reason } from './failure.ts';

// Written out once more on purpose: what a caller is told is a contract.
const TOLD: Readonly<Record<AdapterReason, readonly [Reason, again: boolean]>> = {
  REQUEST_INVALID: ['REQUEST_INVALID', false],
  CIPHERTEXT_REJECTED: ['CIPHERTEXT_REJECTED', false],
  KEY_UNUSABLE: ['KEY_UNUSABLE', false],
  KEY_MISSING_ON_TOKEN: ['KEY_UNUSABLE', true],
  TOKEN_LOGIN_BLOCKED: ['TOKEN_LOGIN_BLOCKED', false],
  SESSION_LOST: ['TOKEN_UNREACHABLE', true],
  SESSION_LIMIT: ['BUSY', true],
  QUEUE_FULL: ['BUSY', true],
  TOKEN_UNREACHABLE: ['TOKEN_UNREACHABLE', true],
  OPERATION_UNSUPPORTED: ['OPERATION_UNSUPPORTED', false],
  INVARIANT_BROKEN: ['INTERNAL', false],
  DEADLINE_EXCEEDED: ['DEADLINE_EXCEEDED', false],
  CANCELLED: ['CANCELLED', false],
};

describe.each(Object.entries(TOLD) as [AdapterReason, readonly [Reason, boolean]][])(
  'a token that fails with %s',
  (reason, [told, again]) => {
    it.each(['no', 'unknown'] as const)('is told as it should, performed %s', (performed) => {
      const error = new AdapterError(reason, 'secret detail CKR_GENERAL_ERROR 0x5', {
        performed,
        ckr: 'CKR_GENERAL_ERROR',
      });
      const failure = toFailure(error);
      expect(failure).toMatchObject({ reason: told, performed, cause: error });
      expect(failure.message).not.toMatch(/CKR_|secret detail|0x/);
      expect(failure.metadata).toEqual({});
      expect(isWorthAnotherAttempt(error)).toBe(again);
    });
  },
);

describe('everything else', () => {
  it('is an internal error of which nothing is known, and is not tried again', () => {
    const cause = Object.assign(new Error('CKR_ARGUMENTS_BAD: 7 of the PIN'), { code: 7 });
    expect(toFailure(cause)).toMatchObject({
      reason: 'INTERNAL',
      message: 'internal error',
      performed: 'unknown',
      cause,
    });
    expect(isWorthAnotherAttempt(cause)).toBe(false);
    expect(toFailure('text').reason).toBe('INTERNAL');
  });

  it('leaves a failure as it is', () => {
    const failure = new Failure('BUSY', 'later', { performed: 'no' });
    expect(toFailure(failure)).toBe(failure);
    expect(isWorthAnotherAttempt(failure)).toBe(false);
  });
});
