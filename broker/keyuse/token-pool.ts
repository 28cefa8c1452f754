import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { Call } from './call.ts';
import { Failure } from './failure.ts';
import { FairQueue } from './fair-queue.ts';
import type { Freezes } from './freezes.ts';
import type { KeyVersion } from './key-catalog.ts';
import { type Circuit, type Stay, TokenHealth, verdictOf } from './token-health.ts';
import type { Binding, TokenKeys } from './token-keys.ts';

interface Waiting {
  readonly version: KeyVersion | undefined;
  readonly call: Call;
  readonly except: TokenAdapter | undefined;
  readonly resolve: (binding: Binding) => void;
  readonly reject: (failure: Failure) => void;
  isOver: boolean;
}

/** What waits for the same tokens. `given`: served operations, each for its share of the workloads that waited. */
interface Queue {
  readonly items: FairQueue<Waiting>;
  given: number;
  /** What was served of late, since when: how fast this queue moves. */
  served: number;
  since: number;
}

/** A place at a token. */
interface Place extends Binding {
  readonly stay: Stay;
}

/** What the pool knows of a token, for those who look at it. */
export interface TokenLoad {
  /** How long an operation takes one of its sessions, milliseconds; 0 when it has done none yet. */
  readonly serviceMs: number;
  readonly circuit: Circuit;
  /** Errors by CKR name, or by reason, since the broker started. */
  readonly errors: ReadonlyMap<string, number>;
}

/** Work that one workload may have waiting, and all of them together. */
const MAX_WAITING_PER_WORKLOAD = 2048;
const MAX_WAITING = 16_384;
/**
 * Operations handed to a worker for each of its sessions, at the most: enough to hide the way there and back. The
 * adapter has room for some more, so that the broker's own (proofs, checkpoints) never meet a full queue.
 */
export const PIPELINING = 4;
/** The way to a worker and back, generously. What a slow token is given beyond its sessions need only hide that. */
const WAY_MS = 1;
/** Tokens that differ by less are equals: load alone decides between them. */
const EQUALS = 2;
/** A degraded token counts as so many times slower than it is. */
const DEGRADED_FACTOR = 2;
const SWEEP_MS = 25;
const RATE_WINDOW_MS = 1000;
/** Of a token that has done nothing yet: it is taken for a fast one, and soon known. */
const UNKNOWN_SERVICE_MS = 0.2;

/**
 * Chooses a token for each operation, by health and load, and holds back what the tokens have no room for. Workloads
 * share what there is in proportion to their weights: one that floods waits behind itself.
 *
 * Invariants: what `choose` gave holds its place until `release`; an operation leaves this queue once; what has
 * expired or was cancelled never reaches a token.
 */
export class TokenPool {
  readonly #keys: TokenKeys;
  readonly #freezes: Freezes;
  readonly #weightOf: (subject: string) => number;
  /** By the tokens that hold the key: work for a token that is stuck does not stand before work for another. */
  readonly #queues = new Map<string, Queue>();
  /** What the queue that was served last had been given, for one that starts to wait now. */
  #given = 0;
  readonly #taken = new Map<TokenAdapter, number>();
  readonly #health = new Map<TokenAdapter, TokenHealth>();
  #waiting = 0;
  #sweep: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(keys: TokenKeys, freezes: Freezes, weightOf: (subject: string) => number = () => 1) {
    this.#keys = keys;
    this.#freezes = freezes;
    this.#weightOf = weightOf;
  }

  get waiting(): number {
    return this.#waiting;
  }

  health(token: TokenAdapter): TokenHealth {
    let health = this.#health.get(token);
    if (health === undefined) {
      health = new TokenHealth();
      this.#health.set(token, health);
    }
    health.loggedIn(token.loginGeneration, performance.now());
    return health;
  }

  load(token: TokenAdapter): TokenLoad {
    const now = performance.now();
    const health = this.health(token);
    return {
      serviceMs: health.serviceMs(now, this.#inFlight(token) > 0),
      circuit: health.circuit(now),
      errors: health.errors,
    };
  }

  /**
   * A binding to use at once, or a promise of one; its place is given back with `release`. `except` is avoided while
   * there is another. Without a version, any token will do (`object` means nothing then).
   *
   * @throws Failure when no token of the key can serve, or none before the deadline
   */
  choose(
    subject: string,
    version: KeyVersion | undefined,
    call: Call,
    except?: TokenAdapter,
  ): Binding | Promise<Binding> {
    const now = performance.now();
    const candidates = this.#candidates(version, except, now);
    const placement = placementOf(version);
    let queue = this.#queues.get(placement);
    if (queue === undefined || queue.items.size === 0) {
      const free = this.#free(candidates, 0, now);
      if (free !== undefined) return this.#take(free, now);
    }
    if (queue === undefined) {
      queue = { items: new FairQueue(this.#weightOf), given: this.#given, served: 0, since: now };
      this.#queues.set(placement, queue);
    }
    if (now + this.#leastWaitMs(queue, subject, candidates, now) > call.deadline) {
      throw new Failure('BUSY', 'so much work waits for the token that the deadline cannot be met');
    }
    if (this.#waiting >= MAX_WAITING || queue.items.lengthOf(subject) >= MAX_WAITING_PER_WORKLOAD) {
      throw new Failure('BUSY', 'too much work is waiting for the token: slow down and try again');
    }
    if (queue.items.size === 0) {
      queue.given = Math.max(queue.given, this.#given);
      queue.served = 0;
      queue.since = now;
    }
    const waiters = queue.items;
    this.#waiting++;
    this.#sweep ??= setInterval(() => this.#sweepAll(), SWEEP_MS);
    return new Promise((resolve, reject) =>
      waiters.push(subject, { version, call, except, resolve, reject, isOver: false }),
    );
  }

  /** The operation that `binding` was given for is over: with `error`, or well. A `Failure`: it was not started. */
  release(binding: Binding, error?: unknown): void {
    const { token } = binding;
    this.#taken.set(token, (this.#taken.get(token) ?? 1) - 1);
    if (isPlace(binding)) {
      this.health(token).ended(binding.stay, verdictOf(error), performance.now(), error);
    }
    this.pump();
  }

  /** To be called whenever a token's state has changed. */
  pump(): void {
    if (this.#waiting === 0) return;
    while (this.#serveNext());
    this.#tidy();
  }

  /**
   * Serves one operation, of the queue that has had the least for the workloads that wait in it: keys on few tokens
   * are not passed over for keys on many. Whether there was room for one.
   */
  #serveNext(): boolean {
    const queues = [...this.#queues.values()]
      .filter(({ items }) => items.size > 0)
      .sort((a, b) => a.given - b.given);
    for (const queue of queues) {
      const { flows } = queue.items;
      if (!queue.items.take((waiting) => this.#serve(waiting, queue))) continue;
      this.#given = Math.max(this.#given, queue.given);
      queue.given += 1 / flows;
      return true;
    }
    return false;
  }

  /** Whether `waiting` is done with: given a token, or told why not. */
  #serve(waiting: Waiting, queue: Queue): boolean {
    if (this.#isOver(waiting)) {
      this.#waiting--;
      return true;
    }
    const now = performance.now();
    let binding: Binding | undefined;
    try {
      binding = this.#free(this.#candidates(waiting.version, waiting.except, now), queue.items.size - 1, now);
    } catch (error) {
      waiting.reject(
        error instanceof Failure ? error : new Failure('INTERNAL', 'internal error', { cause: error }),
      );
      this.#waiting--;
      return true;
    }
    if (binding === undefined) return false;
    this.#waiting--;
    queue.served++;
    if (now - queue.since > RATE_WINDOW_MS) {
      queue.served /= 2;
      queue.since = (queue.since + now) / 2;
    }
    waiting.resolve(this.#take(binding, now));
    return true;
  }

  /** No work of `subject` that begins to wait now is done sooner, by all that is known. Milliseconds. */
  #leastWaitMs(queue: Queue, subject: string, candidates: readonly Binding[], now: number): number {
    const ahead = queue.items.ahead(subject);
    let perMs = queue.served / Math.max(1, now - queue.since);
    let least = Number.POSITIVE_INFINITY;
    let fastest = 0;
    for (const { token } of candidates) {
      const { estimateMs } = this.health(token);
      if (estimateMs === undefined) return 0;
      least = Math.min(least, estimateMs);
      fastest += token.capacity / Math.max(estimateMs, Number.MIN_VALUE);
    }
    perMs = Math.max(perMs, fastest);
    return ahead / perMs + least;
  }

  #isOver(waiting: Waiting): boolean {
    const { call } = waiting;
    if (waiting.isOver) return true;
    if (call.aborted) waiting.reject(new Failure('CANCELLED', 'the caller went away'));
    else if (call.deadline <= performance.now())
      waiting.reject(new Failure('DEADLINE_EXCEEDED', 'the deadline passed while waiting for a token'));
    else return false;
    waiting.isOver = true;
    return true;
  }

  #sweepAll(): void {
    for (const queue of this.#queues.values()) {
      const before = queue.items.size;
      queue.items.sweep((waiting) => this.#isOver(waiting));
      this.#waiting -= before - queue.items.size;
    }
    this.pump();
    this.#tidy();
  }

  #tidy(): void {
    if (this.#waiting > 0) return;
    this.#queues.clear();
    this.#given = 0;
    clearInterval(this.#sweep);
    this.#sweep = undefined;
  }

  #take({ token, object }: Binding, now: number): Place {
    const before = this.#inFlight(token);
    this.#taken.set(token, (this.#taken.get(token) ?? 0) + 1);
    return { token, object, stay: this.health(token).given(now, before, token.capacity) };
  }

  /** What was given to it and is not over; and what its worker still owes, though nobody waits for it any more. */
  #inFlight(token: TokenAdapter): number {
    return Math.max(this.#taken.get(token) ?? 0, token.inFlight);
  }

  #candidates(
    version: KeyVersion | undefined,
    except: TokenAdapter | undefined,
    now: number,
  ): readonly Binding[] {
    const all = version === undefined ? this.#anyToken() : this.#keys.bindings(version.id);
    const isCandidate = (binding: Binding): boolean =>
      this.#isUsable(binding) && this.health(binding.token).circuit(now) !== 'open';
    const usable = all.every(isCandidate) ? all : all.filter(isCandidate);
    if (usable.length === 0) throw this.#nothingServes(version);
    if (except !== undefined && usable.length > 1) return usable.filter(({ token }) => token !== except);
    return usable;
  }

  #anyToken(): readonly Binding[] {
    return this.#keys.tokens.map((token) => ({ token, object: 0 }));
  }

  #isUsable({ token }: Binding): boolean {
    return isServing(token) && !this.#freezes.isFrozen('token', token.name);
  }

  /**
   * Where an operation is done soonest, as far as can be foreseen; undefined when that is to wait for a token that is
   * full. So a slow token gets what the fast ones leave, and not one in two; now and then it is tried.
   */
  #free(candidates: readonly Binding[], waiting: number, now: number): Binding | undefined {
    let fastest = Number.POSITIVE_INFINITY;
    for (const { token } of candidates) fastest = Math.min(fastest, this.#serviceMs(token, now));
    let best: Binding | undefined;
    let leastCost = Number.POSITIVE_INFINITY;
    const first = this.#turn++;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[(first + i) % candidates.length]!;
      const { token } = candidate;
      const health = this.health(token);
      if (!health.admits(now)) continue;
      const inFlight = this.#inFlight(token);
      const known = this.#serviceMs(token, now);
      const isEqual = known <= fastest * EQUALS;
      const isDegraded = token.state === 'degraded';
      const serviceMs = (isEqual ? fastest : known) * (isDegraded ? DEGRADED_FACTOR : 1);
      const hasRoom = inFlight < this.#depth(token);
      const isTrial = health.circuit(now) === 'half-open' || (health.isDue(now) && (!isEqual || isDegraded));
      if (isTrial && inFlight === 0) return candidate;
      const cost = serviceMs * (1 + (inFlight + (hasRoom ? 0 : waiting)) / token.capacity);
      if (cost < leastCost) {
        best = hasRoom ? candidate : undefined;
        leastCost = cost;
      }
    }
    return best;
  }

  #serviceMs(token: TokenAdapter, now: number): number {
    return this.health(token).serviceMs(now, this.#inFlight(token) > 0) || UNKNOWN_SERVICE_MS;
  }

  /**
   * How many operations it may have at once. What is more than its sessions do waits there in the order in which it
   * came, and the share of those who come later waits with it: so it is little where an operation takes long.
   */
  #depth(token: TokenAdapter): number {
    const { estimateMs } = this.health(token);
    const more = estimateMs === undefined ? PIPELINING : WAY_MS / estimateMs;
    return Math.ceil(token.capacity * (1 + Math.min(PIPELINING - 1, more)));
  }

  #nothingServes(version: KeyVersion | undefined): Failure {
    if (version === undefined) return new Failure('TOKEN_UNREACHABLE', 'no token can be reached');
    const holders = version.objects.map((object) => this.#keys.tokenOf(object.tokenSerial));
    if (
      holders.some(
        (token) => token !== undefined && isServing(token) && this.#keys.isRefuted(token, version.id),
      )
    ) {
      return new Failure('KEY_UNUSABLE', 'catalog and token disagree about the key: tell your operator');
    }
    if (holders.length > 0 && holders.every((token) => token?.state === 'blocked')) {
      return new Failure('TOKEN_LOGIN_BLOCKED', "the token's login is blocked: an operator must unblock it");
    }
    return new Failure('TOKEN_UNREACHABLE', 'no token that holds the key can be reached');
  }
}

function isPlace(binding: Binding): binding is Place {
  return 'stay' in binding;
}

function isServing(token: TokenAdapter): boolean {
  return token.state === 'ready' || token.state === 'degraded';
}

const PLACEMENTS = new WeakMap<KeyVersion, string>();

function placementOf(version: KeyVersion | undefined): string {
  if (version === undefined) return '';
  let placement = PLACEMENTS.get(version);
  if (placement === undefined) {
    placement = version.objects
      .map((object) => object.tokenSerial)
      .toSorted()
      .join(' ');
    PLACEMENTS.set(version, placement);
  }
  return placement;
}
