import { AdapterError, type TokenAdapter } from '../../hsm-adapters/adapter.ts';

/** `open`: gets no work for a while; `half-open`: one operation at a time shows whether it is well again. */
export type Circuit = 'closed' | 'open' | 'half-open';

/** What an operation that was given to a token tells of it. */
export type Verdict =
  /** it answered, whether or not the caller likes the answer */
  | 'answered'
  /** a failure of the token's own, or of the way there */
  | 'failed'
  /** the caller's deadline came first */
  | 'unanswered'
  /** not started, or given up by its caller: tells nothing */
  | 'nothing';

/** One operation's stay at a token. */
export interface Stay {
  readonly givenAt: number;
  /** How many of its kind, one after the other on each session, it had to wait for, itself included. At least 1. */
  readonly rounds: number;
  readonly isTrial: boolean;
  readonly login: number;
}

/** Differences below this are the machine's own noise. */
const LEAST_SERVICE_MS = 0.2;
/** Failures in a row, without an answer between, that open the circuit. */
const FAILURES_TO_OPEN = 5;
/** How long a token gets nothing before it is tried again: with it, every key that is only there is back. */
export const OPEN_MS = 1000;
/** Good trials that close the circuit. */
const TRIALS_TO_CLOSE = 3;
/** A token that gets nothing for being slow or degraded is asked this often whether it still is. */
export const TRIAL_MS = 1000;
/** A faster answer counts for more than a slower one: one pause of the machine is not a slow token. */
const WEIGHT_OF_FASTER = 0.3;
const WEIGHT_OF_SLOWER = 0.1;
/** Answers before an estimate is good enough to refuse somebody for. */
const ANSWERS_TO_ESTIMATE = 16;
/** Vendors have codes of their own; a module that makes them up must not fill memory. */
const MAX_ERROR_NAMES = 64;

/**
 * What the broker has seen of one token: how long an operation takes a session, whether it answers at all, and the
 * circuit that keeps work from one that fails again and again. Nothing here outlives the broker.
 *
 * The state that operators see is the supervisor's (`TokenAdapter.state`); this only says which of several tokens
 * that serve gets the next operation. Times are `performance.now()`.
 */
export class TokenHealth {
  #serviceMs = 0;
  #answers = 0;
  #givenAt = Number.NEGATIVE_INFINITY;
  /** The last answer, or when it began to have something to answer. */
  #progressAt = 0;
  #failuresInRow = 0;
  #circuit: Circuit = 'closed';
  #openUntil = 0;
  #goodTrials = 0;
  #trialsOut = 0;
  /** What happened under another login tells of another worker. */
  #login = -1;
  readonly #errors = new Map<string, number>();

  /** Errors by CKR name, or by reason where there is none, since the broker started. */
  get errors(): ReadonlyMap<string, number> {
    return this.#errors;
  }

  /** The login under which the token works now. A new one has just proven its keys by use: it begins anew. */
  loggedIn(login: number, now: number): void {
    if (login === this.#login) return;
    this.#login = login;
    this.#serviceMs = 0;
    this.#answers = 0;
    this.#circuit = 'closed';
    this.#failuresInRow = 0;
    this.#trialsOut = 0;
    this.#progressAt = now;
  }

  circuit(now: number): Circuit {
    if (this.#circuit === 'open' && now >= this.#openUntil) {
      this.#circuit = 'half-open';
      this.#goodTrials = 0;
    }
    return this.#circuit;
  }

  /** Whether one more operation may be given to it. */
  admits(now: number): boolean {
    const circuit = this.circuit(now);
    return circuit === 'closed' || (circuit === 'half-open' && this.#trialsOut === 0);
  }

  /** Whether it is time to find out if it still is as it was when it got work last. */
  isDue(now: number): boolean {
    return now - this.#givenAt >= TRIAL_MS;
  }

  /** No answer, no failure and no operation for so long. Milliseconds. */
  quietMs(now: number): number {
    return now - Math.max(this.#progressAt, this.#givenAt);
  }

  /** `before`: what it had to do already. */
  given(now: number, before: number, capacity: number): Stay {
    if (before === 0) this.#progressAt = now;
    this.#givenAt = now;
    const isTrial = this.#circuit === 'half-open';
    if (isTrial) this.#trialsOut++;
    return {
      givenAt: now,
      rounds: Math.max(1, (before + 1) / Math.max(1, capacity)),
      isTrial,
      login: this.#login,
    };
  }

  ended(stay: Stay, verdict: Verdict, now: number, error?: unknown): void {
    this.#note(verdict, error);
    if (stay.login !== this.#login) return;
    if (stay.isTrial) this.#trialsOut--;
    switch (verdict) {
      case 'answered':
        this.#progressAt = now;
        this.#learn((now - stay.givenAt) / stay.rounds);
        this.#failuresInRow = 0;
        if (this.#circuit === 'half-open' && stay.isTrial && ++this.#goodTrials >= TRIALS_TO_CLOSE)
          this.#circuit = 'closed';
        break;
      case 'failed':
        this.#progressAt = now;
        this.#failuresInRow++;
        if (stay.isTrial || this.#failuresInRow >= FAILURES_TO_OPEN) this.#open(now);
        break;
      case 'unanswered':
        // It took at least this long. That nothing else was answered meanwhile shows in `serviceMs`.
        this.#learn(Math.max(this.#serviceMs, (now - stay.givenAt) / stay.rounds));
        if (stay.isTrial) this.#open(now);
        break;
      case 'nothing':
        break;
      default:
        verdict satisfies never;
    }
  }

  #note(verdict: Verdict, error: unknown): void {
    if (error instanceof AdapterError && (verdict === 'failed' || error.ckr !== undefined)) {
      const name = error.ckr ?? error.reason;
      const known = this.#errors.get(name);
      if (known !== undefined || this.#errors.size < MAX_ERROR_NAMES)
        this.#errors.set(name, (known ?? 0) + 1);
    }
  }

  /** What came of asking it for a few random bytes, which uses no key. */
  probed(verdict: Verdict, now: number): void {
    if (verdict === 'answered') this.#progressAt = now;
    else if (verdict !== 'nothing') this.#open(now);
  }

  /** How long an operation takes one of its sessions, by all that is known; 0 when nothing is. `isBusy`: it has something to answer. */
  serviceMs(now: number, isBusy: boolean): number {
    const silenceMs = isBusy ? now - this.#progressAt : 0;
    if (this.#answers === 0 && silenceMs < LEAST_SERVICE_MS) return 0;
    return Math.max(LEAST_SERVICE_MS, this.#serviceMs, silenceMs);
  }

  /** The same by its answers alone; undefined while they are too few to refuse somebody for. */
  get estimateMs(): number | undefined {
    return this.#answers < ANSWERS_TO_ESTIMATE ? undefined : this.#serviceMs;
  }

  #learn(ms: number): void {
    if (this.#answers === 0) this.#serviceMs = ms;
    else {
      const weight = ms < this.#serviceMs ? WEIGHT_OF_FASTER : WEIGHT_OF_SLOWER;
      this.#serviceMs += weight * (ms - this.#serviceMs);
    }
    this.#answers++;
  }

  #open(now: number): void {
    this.#circuit = 'open';
    this.#openUntil = now + OPEN_MS;
    this.#failuresInRow = 0;
  }
}

/** What the outcome of an operation says about its token. `error`: undefined when it went well. */
export function verdictOf(error: unknown): Verdict {
  if (error === undefined) return 'answered';
  // The broker's own: the token was not asked, or is not to blame.
  if (!(error instanceof AdapterError)) return 'nothing';
  switch (error.reason) {
    case 'TOKEN_UNREACHABLE':
    case 'SESSION_LOST':
      return 'failed';
    case 'DEADLINE_EXCEEDED':
      return 'unanswered';
    case 'REQUEST_INVALID':
    case 'CIPHERTEXT_REJECTED':
    case 'KEY_UNUSABLE':
    case 'KEY_MISSING_ON_TOKEN':
    case 'OPERATION_UNSUPPORTED':
    case 'INVARIANT_BROKEN':
      return error.performed === 'no' ? 'nothing' : 'answered';
    case 'TOKEN_LOGIN_BLOCKED':
    // Somebody else has its sessions: it works, and has no more to give.
    case 'SESSION_LIMIT':
    case 'QUEUE_FULL':
    case 'CANCELLED':
      return 'nothing';
    default:
      return error.reason satisfies never;
  }
}

const IDLE_PROBE_MS = 5000;
const LOOK_MS = 250;
const PROBE_DEADLINE_MS = 2000;
const PROBE_BYTES = 8;

/**
 * Asks tokens that nobody uses, and those whose circuit is open, for a few random bytes: a token that died or hangs
 * while it was idle is found, and replaced, before the first caller meets it. One probe at a time for each token.
 */
export class TokenProbe {
  readonly #timer: NodeJS.Timeout;
  readonly #asked = new Set<TokenAdapter>();
  readonly #lastAt = new WeakMap<TokenAdapter, number>();

  constructor(
    tokens: readonly TokenAdapter[],
    healthOf: (token: TokenAdapter) => TokenHealth,
    changed: () => void,
    idleMs: number = IDLE_PROBE_MS,
  ) {
    this.#timer = setInterval(() => {
      const now = performance.now();
      for (const token of tokens) {
        if (token.state !== 'ready' && token.state !== 'degraded') continue;
        const health = healthOf(token);
        const isIdle = token.inFlight === 0 && health.quietMs(now) >= idleMs;
        const isSick = token.state === 'degraded' || health.circuit(now) === 'open';
        const sinceLast = now - (this.#lastAt.get(token) ?? Number.NEGATIVE_INFINITY);
        if (this.#asked.has(token) || !(isIdle || isSick) || (isIdle && !isSick && sinceLast < idleMs))
          continue;
        this.#lastAt.set(token, now);
        this.#asked.add(token);
        void this.#ask(token, health).then(changed);
      }
    }, LOOK_MS);
    this.#timer.unref();
  }

  close(): void {
    clearInterval(this.#timer);
  }

  async #ask(token: TokenAdapter, health: TokenHealth): Promise<void> {
    try {
      await token.random(PROBE_BYTES, { deadline: performance.now() + PROBE_DEADLINE_MS });
      health.probed('answered', performance.now());
    } catch (error) {
      health.probed(verdictOf(error), performance.now());
    } finally {
      this.#asked.delete(token);
    }
  }
}
