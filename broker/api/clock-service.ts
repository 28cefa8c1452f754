import { Failure } from '../keyuse/failure.ts';
import type { AcceptClockRequest__Output } from '../proto/gen/lastmile/v1/AcceptClockRequest.ts';
import type { OperatorMethods } from './operator-methods.ts';

/** The broker's idea of the time. */
export interface OperatorClock {
  /** Milliseconds of the Unix epoch. */
  now(): number;
  /** How far `now` may be wrong, milliseconds; Infinity: nobody knows. */
  doubtMs(): number;
  /** From now on the machine's time is right. */
  accept(): void;
}

const MAX_REASON_BYTES = 256;

/** ClockStatus of admin.proto. */
export function describeClock(clock: OperatorClock): {
  readonly now: string;
  readonly machine: string;
  readonly inDoubt: boolean;
  readonly doubtMs: number;
} {
  const doubtMs = clock.doubtMs();
  return {
    now: new Date(clock.now()).toISOString(),
    machine: new Date().toISOString(),
    inDoubt: doubtMs > 0,
    doubtMs: Number.isFinite(doubtMs) ? doubtMs : 0,
  };
}

/** Windows open and close by what is said here, so it is an entry, with the time before and after. */
export function serveClock({ serve, change, position }: OperatorMethods, clock: OperatorClock): void {
  serve<AcceptClockRequest__Output>('Admin', 'AcceptClock', async ({ reason }, permission) => {
    if (reason.trim() === '' || Buffer.byteLength(reason) > MAX_REASON_BYTES) {
      throw new Failure('REQUEST_INVALID', 'a reason of at most 256 bytes is required: it goes into the log');
    }
    const before = describeClock(clock);
    const detail = {
      why: reason,
      clock: before.now,
      machine: before.machine,
      doubtMs: before.inDoubt && before.doubtMs === 0 ? 'unknown' : before.doubtMs,
    };
    const { value, leafIndex } = await change(permission, detail, () => {
      clock.accept();
      return describeClock(clock);
    });
    return { clock: value, log: position(leafIndex) };
  });
}
