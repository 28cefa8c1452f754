import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { Call } from './call.ts';
import { Failure } from './failure.ts';
import { FairQueue } from './fair-queue.ts';
import type { Freezes } from './freezes.ts';
import type { KeyVersion } from './key-catalog.ts';
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
}

/** Work that one workload may have waiting, and all of them together. */
const MAX_WAITING_PER_WORKLOAD = 2048;
const MAX_WAITING = 16_384;
/**
 * Operations handed to a worker for each of its sessions: enough to hide the way there and back. The adapter has
 * room for some more, so that the broker's own (proofs, checkpoints) never meet a full queue.
 */
export const PIPELINING = 4;
const SWEEP_MS = 25;

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

  /**
   * A binding to use at once, or a promise of one; its place is given back with `release`. `except` is avoided while
   * there is another. Without a version, any token will do (`object` means nothing then).
   *
   * @throws Failure when no token of the key can serve
   */
  choose(
    subject: string,
    version: KeyVersion | undefined,
    call: Call,
    except?: TokenAdapter,
  ): Binding | Promise<Binding> {
    const candidates = this.#candidates(version, except);
    const placement = placementOf(version);
    let queue = this.#queues.get(placement);
    if (queue === undefined || queue.items.size === 0) {
      const free = this.#free(candidates);
      if (free !== undefined) return this.#take(free);
    }
    if (queue === undefined) {
      queue = { items: new FairQueue(this.#weightOf), given: this.#given };
      this.#queues.set(placement, queue);
    }
    if (this.#waiting >= MAX_WAITING || queue.items.lengthOf(subject) >= MAX_WAITING_PER_WORKLOAD) {
      throw new Failure('BUSY', 'too much work is waiting for the token: slow down and try again');
    }
    if (queue.items.size === 0) queue.given = Math.max(queue.given, this.#given);
    const waiters = queue.items;
    this.#waiting++;
    this.#sweep ??= setInterval(() => this.#sweepAll(), SWEEP_MS);
    return new Promise((resolve, reject) =>
      waiters.push(subject, { version, call, except, resolve, reject, isOver: false }),
    );
  }

  /** The operation that `binding` was given for is over, or was not started. */
  release(binding: Binding): void {
    this.#taken.set(binding.token, (this.#taken.get(binding.token) ?? 1) - 1);
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
      if (!queue.items.take((waiting) => this.#serve(waiting))) continue;
      this.#given = Math.max(this.#given, queue.given);
      queue.given += 1 / flows;
      return true;
    }
    return false;
  }

  /** Whether `waiting` is done with: given a token, or told why not. */
  #serve(waiting: Waiting): boolean {
    if (this.#isOver(waiting)) {
      this.#waiting--;
      return true;
    }
    let binding: Binding | undefined;
    try {
      binding = this.#free(this.#candidates(waiting.version, waiting.except));
    } catch (error) {
      waiting.reject(
        error instanceof Failure ? error : new Failure('INTERNAL', 'internal error', { cause: error }),
      );
      this.#waiting--;
      return true;
    }
    if (binding === undefined) return false;
    this.#waiting--;
    waiting.resolve(this.#take(binding));
    return true;
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

  #take(binding: Binding): Binding {
    this.#taken.set(binding.token, (this.#taken.get(binding.token) ?? 0) + 1);
    return binding;
  }

  #candidates(version: KeyVersion | undefined, except: TokenAdapter | undefined): readonly Binding[] {
    const all = version === undefined ? this.#anyToken() : this.#keys.bindings(version.id);
    const usable = all.every((binding) => this.#isUsable(binding))
      ? all
      : all.filter((binding) => this.#isUsable(binding));
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

  #free(candidates: readonly Binding[]): Binding | undefined {
    let best: Binding | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    const first = this.#turn++;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[(first + i) % candidates.length]!;
      const { token } = candidate;
      const taken = this.#taken.get(token) ?? 0;
      const load = taken / token.capacity + (token.state === 'degraded' ? 0.5 : 0);
      if (taken < token.capacity * PIPELINING && load < bestLoad) {
        best = candidate;
        bestLoad = load;
      }
    }
    return best;
  }

  #nothingServes(version: KeyVersion | undefined): Failure {
    if (version === undefined) return new Failure('TOKEN_UNREACHABLE', 'no token can be reached');
    const holders = version.objects.map((object) => this.#keys.tokenOf(object.tokenSerial));
    if (
      holders.some(
        (token) =>
          token !== undefined && isServing(token) && this.#keys.report(token).unusable.has(version.id),
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
