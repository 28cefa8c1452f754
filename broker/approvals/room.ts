/** How many approvals may be asked for, and when again: nobody can flood approvers, or wear them down. */
import { Failure } from '../keyuse/failure.ts';
import type { Act } from './act.ts';

export interface RoomLimits {
  /** Open approvals of one requester under one rule, of one rule, and of all. */
  readonly perRequesterAndRule: number;
  readonly perRule: number;
  readonly total: number;
  /** Approvals that one requester may ask for under one rule in an hour, whatever becomes of them. */
  readonly askedPerHour: number;
  /**
   * After a rejection, or after the requester took a request back, until the same one may ask again under that rule;
   * doubled by each more within an hour.
   */
  readonly pauseMs: number;
  readonly maxPauseMs: number;
}

type Asker = Pick<Act, 'requester' | 'rule'>;

const HOUR_MS = 3_600_000;
/** When somebody may have voted on something meanwhile. */
const ROOM_MS = 60_000;
/** Ended requests: more make no pause longer. */
const MAX_REMEMBERED = 16;

/** Counts, and nothing else: what is open is the service's to say, by `enter` and `leave`. Times are Unix milliseconds. */
export class Room {
  readonly #limits: RoomLimits;
  readonly #byAsker = new Map<string, number>();
  readonly #byRule = new Map<string, number>();
  #total = 0;
  /** In their order, the newest last. */
  readonly #asked = new Map<string, number[]>();
  readonly #ended = new Map<string, number[]>();

  constructor(limits: RoomLimits) {
    this.#limits = limits;
  }

  enter(one: Asker): void {
    this.#count(one, 1);
  }

  leave(one: Asker): void {
    this.#count(one, -1);
  }

  #count(one: Asker, by: 1 | -1): void {
    add(this.#byAsker, askerOf(one), by);
    add(this.#byRule, one.rule, by);
    this.#total += by;
  }

  /** Forgets everything, to be told it again. */
  clear(): void {
    this.#byAsker.clear();
    this.#byRule.clear();
    this.#total = 0;
    this.#asked.clear();
    this.#ended.clear();
  }

  asked(one: Asker, at: number): void {
    note(this.#asked, askerOf(one), at, Math.max(1, this.#limits.askedPerHour));
  }

  /** Rejected by an approver, or withdrawn by who asked. */
  ended(one: Asker, at: number): void {
    note(this.#ended, askerOf(one), at, MAX_REMEMBERED);
  }

  /** Forgets what is too old to matter. */
  sweep(now: number): void {
    for (const times of [this.#asked, this.#ended])
      for (const [name, all] of times) if (now - all.at(-1)! >= HOUR_MS) times.delete(name);
  }

  /** @throws Failure RATE_LIMITED with `retry_after` */
  demand(one: Asker, now: number): void {
    const { total, perRule, perRequesterAndRule, askedPerHour } = this.#limits;
    const name = askerOf(one);
    if ((this.#byAsker.get(name) ?? 0) >= perRequesterAndRule)
      throw rateLimited('too many of your requests wait for approval', ROOM_MS);
    if ((this.#byRule.get(one.rule) ?? 0) >= perRule || this.#total >= total)
      throw rateLimited('too many requests wait for approval', ROOM_MS);
    const pauseMs = this.#pause(name, now);
    if (pauseMs > 0)
      throw rateLimited(
        'a request of yours was rejected or withdrawn: there is a pause before the next',
        pauseMs,
      );
    const recent = within(this.#asked.get(name), now);
    if (recent.length >= askedPerHour)
      throw rateLimited('you have asked for too many approvals within an hour', recent[0]! + HOUR_MS - now);
  }

  #pause(name: string, now: number): number {
    const recent = within(this.#ended.get(name), now);
    const last = recent.at(-1);
    if (last === undefined) return 0;
    const pauseMs = Math.min(this.#limits.maxPauseMs, this.#limits.pauseMs * 2 ** (recent.length - 1));
    return Math.max(0, last + pauseMs - now);
  }
}

function askerOf({ requester, rule }: Asker): string {
  return JSON.stringify([requester, rule]);
}

function add(counts: Map<string, number>, name: string, by: 1 | -1): void {
  const count = (counts.get(name) ?? 0) + by;
  if (count > 0) counts.set(name, count);
  else counts.delete(name);
}

function note(times: Map<string, number[]>, name: string, at: number, most: number): void {
  const all = within(times.get(name), at);
  all.push(at);
  if (all.length > most) all.shift();
  times.set(name, all);
}

/** Drops what is older than an hour. A clock that goes back makes nothing too old. */
function within(times: number[] | undefined, now: number): number[] {
  const all = times ?? [];
  while (all.length > 0 && now - all[0]! >= HOUR_MS) all.shift();
  return all;
}

function rateLimited(message: string, waitMs: number): Failure {
  return new Failure('RATE_LIMITED', message, { metadata: { retry_after: `${Math.ceil(waitMs / 1000)}s` } });
}
