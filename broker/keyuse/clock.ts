import { existsSync } from 'node:fs';

/** What the operating system says of its clock. `unknown` is no doubt: many machines do not say. */
export type Synchronisation = 'synchronised' | 'unsynchronised' | 'unknown';

export type ClockEvent =
  /** The wall clock moved against the monotonic one. Milliseconds; negative: back. */
  | { readonly kind: 'jump'; readonly byMs: number }
  /** This process began before the last entry of the log was written. */
  | { readonly kind: 'behind-the-log'; readonly byMs: number }
  | { readonly kind: 'unsynchronised' }
  | { readonly kind: 'synchronised' }
  /** The clocks have agreed for long enough, or an operator has accepted the wall clock. */
  | { readonly kind: 'doubt-over'; readonly because: 'agreement' | 'operator' };

export interface BrokerClockOptions {
  /** Time of the log's last entry; a clock that says less is wrong now, or was wrong then. */
  readonly lastEntryTimeMs?: number | undefined;
  readonly onEvent: (event: ClockEvent) => void;
  /** Wall clock, milliseconds of the Unix epoch. */
  readonly wallMs?: (() => number) | undefined;
  /** Never set, never goes back; milliseconds from any start. */
  readonly monotonicMs?: (() => number) | undefined;
  readonly synchronisation?: (() => Synchronisation) | undefined;
  /** Differences up to this are how clocks are read, not jumps; 20 ms. */
  readonly toleranceMs?: number | undefined;
  /** How long the clocks have to agree until an old jump is forgotten; 10 minutes. */
  readonly settleMs?: number | undefined;
}

const ASK_AGAIN_MS = 10_000;

/**
 * The broker's idea of the time: the wall clock as it was at the start, carried on by the monotonic clock, so that
 * setting the wall clock moves no window and resets no limit. Both clocks run at the rate that NTP gives them.
 *
 * How far it may be wrong is `doubtMs`:
 *
 *   - what the wall clock differs by now, and the sum of all jumps since the two last agreed: a jump is followed by
 *     doubt even when another one takes it back;
 *   - how far the start lay before the last entry of the log: one of the two times was wrong;
 *   - everything (Infinity), while the operating system says that its clock is not synchronised.
 *
 * Jumps are forgotten once the clocks have agreed for `settleMs` and the last entry of the log has been passed, or when
 * an operator says that the wall clock is right (`accept`). A suspended machine wakes up with such a jump: the
 * monotonic clock stood still.
 *
 * It has to be looked at now and then (`observe`, every second): two jumps that cancel out between two looks are not
 * seen, and do not matter, as no decision fell between them.
 */
export class BrokerClock {
  readonly #wallMs: () => number;
  readonly #monotonicMs: () => number;
  readonly #synchronisation: () => Synchronisation;
  readonly #onEvent: (event: ClockEvent) => void;
  readonly #toleranceMs: number;
  readonly #settleMs: number;
  readonly #lastEntryTimeMs: number;
  /** Add the monotonic clock to these. */
  #offsetMs: number;
  readonly #steadyOffsetMs: number;
  /** Wall clock minus `now`, when it was last looked at. */
  #driftMs = 0;
  #jumpedMs = 0;
  /** Since when the clocks agree, monotonic; undefined while they do not. */
  #agreesSince: number | undefined;
  #isUnsynchronised = false;
  #askAt = Number.NEGATIVE_INFINITY;

  constructor(options: BrokerClockOptions) {
    this.#wallMs = options.wallMs ?? Date.now;
    this.#monotonicMs = options.monotonicMs ?? (() => performance.now());
    this.#synchronisation = options.synchronisation ?? (() => timesyncdSynchronisation());
    this.#onEvent = options.onEvent;
    this.#toleranceMs = options.toleranceMs ?? 20;
    this.#settleMs = options.settleMs ?? 600_000;
    const wall = this.#wallMs();
    const monotonic = this.#monotonicMs();
    this.#lastEntryTimeMs = options.lastEntryTimeMs ?? Number.NEGATIVE_INFINITY;
    this.#offsetMs = wall - monotonic;
    // What limits count goes on from the last entry: what was consumed then did not happen in the future.
    this.#steadyOffsetMs = Math.max(wall, this.#lastEntryTimeMs) - monotonic;
    this.#agreesSince = monotonic;
    const behindMs = this.#lastEntryTimeMs - wall;
    if (behindMs > this.#toleranceMs) {
      this.#jumpedMs = behindMs;
      this.#onEvent({ kind: 'behind-the-log', byMs: behindMs });
    }
    this.observe();
  }

  /** For windows, expiry and entries: whole milliseconds of the Unix epoch. Goes back only when an operator says so. */
  now(): number {
    return Math.floor(this.#offsetMs + this.#monotonicMs());
  }

  /** For limits: never goes back and never jumps in this process, not even when an operator accepts the wall clock. */
  steadyNow(): number {
    return this.#steadyOffsetMs + this.#monotonicMs();
  }

  /** How far `now` may be wrong, milliseconds; Infinity: nobody knows. */
  doubtMs(): number {
    this.observe();
    if (this.#isUnsynchronised) return Number.POSITIVE_INFINITY;
    const differs = Math.abs(this.#driftMs);
    return Math.ceil(Math.max(this.#jumpedMs, differs > this.#toleranceMs ? differs : 0));
  }

  /** Looks at both clocks. */
  observe(): void {
    const monotonic = this.#monotonicMs();
    const drift = this.#wallMs() - (this.#offsetMs + monotonic);
    if (!Number.isFinite(drift)) throw new TypeError('a clock says no time');
    const byMs = drift - this.#driftMs;
    if (Math.abs(byMs) > this.#toleranceMs) {
      // The drift is kept as it was for smaller steps, so that many of them are a jump as well.
      this.#driftMs = drift;
      this.#jumpedMs += Math.abs(byMs);
      this.#onEvent({ kind: 'jump', byMs });
    }
    this.#settle(drift, monotonic);
    this.#askSystem(monotonic);
  }

  /** An operator says that the wall clock is right, now. */
  accept(): void {
    this.observe();
    this.#offsetMs = this.#wallMs() - this.#monotonicMs();
    this.#driftMs = 0;
    this.#jumpedMs = 0;
    this.#agreesSince = this.#monotonicMs();
    this.#onEvent({ kind: 'doubt-over', because: 'operator' });
  }

  #settle(drift: number, monotonic: number): void {
    if (Math.abs(drift) > this.#toleranceMs) {
      this.#agreesSince = undefined;
      return;
    }
    this.#agreesSince ??= monotonic;
    if (this.#jumpedMs === 0 || monotonic - this.#agreesSince < this.#settleMs) return;
    if (this.#offsetMs + monotonic < this.#lastEntryTimeMs) return;
    this.#jumpedMs = 0;
    this.#onEvent({ kind: 'doubt-over', because: 'agreement' });
  }

  #askSystem(monotonic: number): void {
    if (monotonic < this.#askAt) return;
    this.#askAt = monotonic + ASK_AGAIN_MS;
    const isUnsynchronised = this.#synchronisation() === 'unsynchronised';
    if (isUnsynchronised === this.#isUnsynchronised) return;
    this.#isUnsynchronised = isUnsynchronised;
    this.#onEvent({ kind: isUnsynchronised ? 'unsynchronised' : 'synchronised' });
  }
}

/**
 * What systemd-timesyncd says. The kernel itself cannot be asked from here (adjtimex), and chrony and others leave no
 * file that says it: `unknown`. Its directory may outlive it: where another program has taken over since the machine was
 * started, it still says `unsynchronised`, and is to be removed.
 */
export function timesyncdSynchronisation(directory = '/run/systemd/timesync'): Synchronisation {
  if (existsSync(`${directory}/synchronized`)) return 'synchronised';
  return existsSync(directory) ? 'unsynchronised' : 'unknown';
}
