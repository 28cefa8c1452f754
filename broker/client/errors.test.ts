import { Metadata, type ServiceError, status } from '@grpc/grpc-js';
import { describe, expect, it } from 'vitest';
import { refusal } from '../../test/fakes/fake-broker.ts';
import { REASONS } from '../keyuse/failure.ts';
import {
  BROKER_REASONS,
  CLIENT_REASONS,
  fromServiceError,
  isRetryable,
  LastmileError,
  retryAfterMs,
} from './errors.ts';
import { withRetries } from './retry.ts';

function local(code: status, details: string): ServiceError {
  return Object.assign(new Error(details), { code, details, metadata: new Metadata() });
}

describe('reasons', () => {
  it('are those of the broker, and none of ours is one of its', () => {
    expect(BROKER_REASONS).toEqual(REASONS);
    expect(CLIENT_REASONS.filter((reason) => (REASONS as readonly string[]).includes(reason))).toEqual([]);
  });
});

describe('an error that the broker explains', () => {
  it.each(BROKER_REASONS)('carries %s, its code, metadata and what was performed', (reason) => {
    const error = fromServiceError(refusal(reason, 'no', 'because', { retry_after: '2' }) as ServiceError);
    expect(error).toBeInstanceOf(LastmileError);
    expect(error).toMatchObject({
      reason,
      message: 'because',
      performed: 'no',
      metadata: { retry_after: '2' },
    });
    expect(typeof error.code).toBe('string');
    expect(error.cause).toBeInstanceOf(Error);
  });

  it('is read as `unknown` when it says nothing, or something new, of what was performed', () => {
    for (const performed of ['', 'perhaps']) {
      const error = fromServiceError(refusal('BUSY', performed) as ServiceError);
      expect(error.performed).toBe('unknown');
      expect(isRetryable(error)).toBe(false);
    }
  });

  it('keeps a reason that this client does not know yet', () => {
    const error = fromServiceError(refusal('MOON_PHASE', 'no') as ServiceError);
    expect(error).toMatchObject({ reason: 'INTERNAL', metadata: { reason: 'MOON_PHASE' } });
  });

  it('with details that are garbage is not retried', () => {
    const error = local(status.UNAVAILABLE, 'x');
    error.metadata.set('grpc-status-details-bin', Buffer.from([0xff, 0xff, 0xff]));
    expect(fromServiceError(error)).toMatchObject({ reason: 'INTERNAL', performed: 'unknown' });
  });
});

describe('an error of the connection', () => {
  it.each([
    [status.UNAVAILABLE, 'No connection established. Last error: x', 'BROKER_UNREACHABLE', 'no'],
    [status.UNAVAILABLE, 'Stream refused by server', 'BROKER_UNREACHABLE', 'no'],
    [status.UNAVAILABLE, 'Connection dropped', 'CONNECTION_LOST', 'unknown'],
    [status.DEADLINE_EXCEEDED, 'Deadline exceeded after 1s', 'DEADLINE_EXCEEDED', 'unknown'],
    [status.CANCELLED, 'Call cancelled', 'CANCELLED', 'unknown'],
    [status.UNIMPLEMENTED, 'no such method', 'PROTOCOL_MISMATCH', 'no'],
    [status.INTERNAL, 'Received RST_STREAM', 'INTERNAL', 'unknown'],
    [status.RESOURCE_EXHAUSTED, 'Received message larger than max', 'INTERNAL', 'unknown'],
  ] as const)('%s `%s` is %s, performed %s', (code, details, reason, performed) => {
    expect(fromServiceError(local(code, details))).toMatchObject({ reason, performed });
  });
});

describe('retry', () => {
  const transient = new Set(['BUSY', 'TOKEN_UNREACHABLE', 'AUDIT_UNAVAILABLE', 'BROKER_UNREACHABLE']);
  const matrix = [...BROKER_REASONS, ...CLIENT_REASONS].flatMap((reason) =>
    (['no', 'unknown', 'yes'] as const).map((performed) => [reason, performed] as const),
  );
  it.each(matrix)('of %s with performed %s', (reason, performed) => {
    const error = new LastmileError(reason, 'x', { performed });
    expect(isRetryable(error)).toBe(performed === 'no' && transient.has(reason));
  });
});

describe('a limit that is used up', () => {
  const limited = (retry_after?: string, performed: 'no' | 'unknown' = 'no'): LastmileError =>
    new LastmileError('RATE_LIMITED', 'used up', {
      performed,
      metadata: retry_after === undefined ? {} : { retry_after },
    });

  it.each([
    ['0.02s', 20],
    ['3s', 3000],
    ['never', undefined],
    ['-1s', undefined],
    [undefined, undefined],
  ])('with retry_after %s has room again after %s ms', (text, ms) => {
    expect(retryAfterMs(limited(text))).toBe(ms);
    expect(retryAfterMs(limited(text, 'unknown'))).toBeUndefined();
  });

  const attempts = async (text: string | undefined, withinMs: number): Promise<[number, unknown]> => {
    let made = 0;
    const patience = { deadlineAt: performance.now() + withinMs, signal: undefined };
    const attempt = async (): Promise<string> => {
      if (++made === 1) throw limited(text);
      return 'signed';
    };
    const policy = { maxAttempts: 5, backoff: () => 0 };
    const outcome = await withRetries(attempt, policy, patience).catch(({ reason }) => reason);
    return [made, outcome];
  };

  it('is asked again within the deadline, and otherwise told at once', async () => {
    expect(await attempts('0.02s', 5000)).toEqual([2, 'signed']);
    expect(await attempts('60s', 5000)).toEqual([1, 'RATE_LIMITED']);
    expect(await attempts(undefined, 5000)).toEqual([1, 'RATE_LIMITED']);
  });
});
