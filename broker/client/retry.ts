import { setTimeout as delay } from 'node:timers/promises';
import { isRetryable, LastmileError, retryAfterMs } from './errors.ts';

/** Until when, and on whose word, a call goes on. */
export interface Patience {
  /** `performance.now()` after which the result is of no use. */
  readonly deadlineAt: number;
  readonly signal: AbortSignal | undefined;
}

export interface RetryPolicy {
  /** Attempts in all, the first included. */
  readonly maxAttempts: number;
  /** Milliseconds to wait before attempt `n + 1`. */
  readonly backoff: (n: number) => number;
}

const BASE_MS = 20;
const CAP_MS = 1000;

/** Exponential with full jitter: clients that were refused together do not come back together. */
export function jitteredBackoff(n: number, random: () => number = Math.random): number {
  return random() * Math.min(CAP_MS, BASE_MS * 2 ** n);
}

export function cancelled(signal: AbortSignal, performed: 'no' | 'unknown'): LastmileError {
  return new LastmileError('CANCELLED', 'the caller cancelled the call', {
    code: 'CANCELLED',
    performed,
    cause: signal.reason,
  });
}

export function deadlineExceeded(performed: 'no' | 'unknown', cause?: unknown): LastmileError {
  const text =
    performed === 'no' ? 'the deadline passed before the request was sent' : 'no answer before the deadline';
  return new LastmileError('DEADLINE_EXCEEDED', text, { code: 'DEADLINE_EXCEEDED', performed, cause });
}

/**
 * Runs `attempt` again while its error says that nothing was performed and time may cure it, as long as the
 * deadline leaves room for another try; where a limit is used up, when the broker says that it has room again. The error of the last attempt is what the caller gets.
 */
export async function withRetries<T>(
  attempt: () => Promise<T>,
  policy: RetryPolicy,
  patience: Patience,
): Promise<T> {
  for (let n = 0; ; n++) {
    if (patience.signal?.aborted) throw cancelled(patience.signal, 'no');
    try {
      return await attempt();
    } catch (error) {
      const retryAfter = retryAfterMs(error);
      if ((retryAfter === undefined && !isRetryable(error)) || n + 1 >= policy.maxAttempts) throw error;
      // A refusal is not free: nobody asks before there is room, and those who wait for it do not come together.
      const waitMs = (retryAfter ?? 0) + policy.backoff(n);
      if (performance.now() + waitMs >= patience.deadlineAt) throw error;
      await pause(waitMs, patience.signal);
    }
  }
}

async function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  try {
    await delay(ms, undefined, signal === undefined ? {} : { signal });
  } catch (error) {
    if (signal?.aborted) throw cancelled(signal, 'no');
    throw error;
  }
}
