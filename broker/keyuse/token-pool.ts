import type { TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { Call } from './call.ts';
import { Failure } from './failure.ts';
import type { Freezes } from './freezes.ts';
import type { KeyVersion } from './key-catalog.ts';
import type { Binding, TokenKeys } from './token-keys.ts';

interface Waiting {
  readonly version: KeyVersion;
  readonly call: Call;
  readonly except: TokenAdapter | undefined;
  readonly resolve: (binding: Binding) => void;
  readonly reject: (failure: Failure) => void;
}

/** Work that one workload may have waiting, and all of them together. */
const MAX_WAITING_PER_WORKLOAD = 2048;
const MAX_WAITING = 16_384;
/** Operations handed to a worker for each of its sessions: enough to hide the way there and back. */
const PIPELINING = 4;
const SWEEP_MS = 25;

/**
 * Chooses a token for each operation, by health and load, and holds back what the tokens have no room for. Each
 * workload has its own queue and they take turns: one that floods waits behind itself.
 *
 * Invariants: an operation leaves this queue once; what has expired or was cancelled never reaches a token.
 */
export class TokenPool {
  readonly #keys: TokenKeys;
  readonly #freezes: Freezes;
  readonly #queues = new Map<string, Waiting[]>();
  #waiting = 0;
  #sweep: NodeJS.Timeout | undefined;
  #turn = 0;

  constructor(keys: TokenKeys, freezes: Freezes) {
    this.#keys = keys;
    this.#freezes = freezes;
  }

  get waiting(): number {
    return this.#waiting;
  }

  /**
   * A binding to use at once, or a promise of one. `except` is avoided while there is another.
   *
   * @throws Failure when no token of the key can serve
   */
  choose(
    subject: string,
    version: KeyVersion,
    call: Call,
    except?: TokenAdapter,
  ): Binding | Promise<Binding> {
    const candidates = this.#candidates(version, except);
    if (this.#waiting === 0) {
      const free = this.#free(candidates);
      if (free !== undefined) return free;
    }
    let queue = this.#queues.get(subject);
    if (this.#waiting >= MAX_WAITING || (queue !== undefined && queue.length >= MAX_WAITING_PER_WORKLOAD)) {
      throw new Failure('BUSY', 'too much work is waiting for the token: slow down and try again');
    }
    if (queue === undefined) {
      queue = [];
      this.#queues.set(subject, queue);
    }
    const waiters = queue;
    this.#waiting++;
    this.#sweep ??= setInterval(() => this.pump(), SWEEP_MS);
    return new Promise((resolve, reject) => waiters.push({ version, call, except, resolve, reject }));
  }

  /** To be called whenever a token may have room again, or its state has changed. */
  pump(): void {
    if (this.#waiting === 0) return;
    let progress = true;
    while (progress) {
      progress = false;
      for (const [subject, queue] of this.#queues) {
        if (this.#serveOne(queue)) progress = true;
        if (queue.length === 0) this.#queues.delete(subject);
      }
    }
    if (this.#waiting === 0 && this.#sweep !== undefined) {
      clearInterval(this.#sweep);
      this.#sweep = undefined;
    }
  }

  #serveOne(queue: Waiting[]): boolean {
    const now = performance.now();
    for (let i = 0; i < queue.length; i++) {
      const waiting = queue[i]!;
      let binding: Binding | undefined;
      let failure: Failure | undefined;
      if (waiting.call.aborted) failure = new Failure('CANCELLED', 'the caller went away');
      else if (waiting.call.deadline <= now)
        failure = new Failure('DEADLINE_EXCEEDED', 'the deadline passed while waiting for a token');
      else {
        try {
          binding = this.#free(this.#candidates(waiting.version, waiting.except));
        } catch (error) {
          failure =
            error instanceof Failure ? error : new Failure('INTERNAL', 'internal error', { cause: error });
        }
      }
      if (binding === undefined && failure === undefined) continue;
      queue.splice(i, 1);
      this.#waiting--;
      if (binding === undefined) waiting.reject(failure!);
      else waiting.resolve(binding);
      return true;
    }
    return false;
  }

  #candidates(version: KeyVersion, except: TokenAdapter | undefined): readonly Binding[] {
    const all = this.#keys.bindings(version.id);
    const usable = all.filter(
      ({ token }) => isServing(token) && !this.#freezes.isFrozen('token', token.name),
    );
    if (usable.length === 0) throw this.#nothingServes(version);
    if (except !== undefined && usable.length > 1) return usable.filter(({ token }) => token !== except);
    return usable;
  }

  #free(candidates: readonly Binding[]): Binding | undefined {
    let best: Binding | undefined;
    let bestLoad = Number.POSITIVE_INFINITY;
    const first = this.#turn++;
    for (let i = 0; i < candidates.length; i++) {
      const candidate = candidates[(first + i) % candidates.length]!;
      const { token } = candidate;
      const load = token.inFlight / token.capacity + (token.state === 'degraded' ? 0.5 : 0);
      if (token.inFlight < token.capacity * PIPELINING && load < bestLoad) {
        best = candidate;
        bestLoad = load;
      }
    }
    return best;
  }

  #nothingServes(version: KeyVersion): Failure {
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
