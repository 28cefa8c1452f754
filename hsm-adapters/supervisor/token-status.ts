import type { TokenState } from '../adapter.ts';

/**
 * - `idle`: no worker was ever started
 * - `starting`: Start is sent; `logging-in`: an attempt is on record and Login is sent
 * - `serving`: operations are admitted; drained, it serves those alone who do not ask the pool
 * - `down`: the worker died, or is about to; a replacement comes after the back-off
 * - `blocked`: only `unblock` helps
 * - `closing`, `closed`: for good
 */
export type Phase =
  | { readonly kind: 'idle' }
  | { readonly kind: 'starting' }
  | { readonly kind: 'logging-in' }
  | { readonly kind: 'serving'; readonly isDegraded: boolean; readonly isDrained: boolean }
  | { readonly kind: 'down'; readonly cause: string }
  | { readonly kind: 'blocked'; readonly by: 'login' | 'finding'; readonly advice: string }
  | { readonly kind: 'closing' }
  | { readonly kind: 'closed' };

/**
 * Where one token stands, what operators are told of it, and who is told of a change. Owned by the token's
 * supervisor, which decides what to enter; `enter` is the only place that changes the phase.
 */
export class TokenStatus {
  readonly #name: string;
  readonly #log: (line: string) => void;
  readonly #watchers = new Set<() => void>();
  #phase: Phase = { kind: 'idle' };
  /** Why the last worker died: to be told while its successor starts. */
  #lastCause: string | undefined;

  constructor(name: string, log: (line: string) => void) {
    this.#name = name;
    this.#log = log;
  }

  get phase(): Phase {
    return this.#phase;
  }

  get state(): TokenState {
    return publicState(this.#phase);
  }

  /** Nothing but `closed` comes after. */
  get isOver(): boolean {
    return this.#phase.kind === 'closing' || this.#phase.kind === 'closed';
  }

  /** What an operator should know or do. `failures`: workers that died in a row; `running`: operations not answered. */
  advice(failures: number, running: number): string | undefined {
    const phase = this.#phase;
    if (phase.kind === 'blocked') return phase.advice;
    if (phase.kind === 'down' || phase.kind === 'starting') {
      const cause = phase.kind === 'down' ? phase.cause : this.#lastCause;
      if (failures > 1) {
        return `the token worker died ${failures} times in a row${cause === undefined ? '' : `, the last time: ${cause}`}; look at the module, its configuration and the path to the HSM`;
      }
      return cause;
    }
    if (phase.kind === 'serving' && phase.isDrained) {
      return `taken out of service by an operator${running === 0 ? '' : `, ${running} operations are still running`}; \`lastmile tokens undrain ${this.#name}\` brings it back`;
    }
    if (phase.kind === 'serving' && phase.isDegraded)
      return 'operations failed on this token lately; see the log';
    return undefined;
  }

  /** Returns the end of watching. */
  watch(watcher: () => void): () => void {
    this.#watchers.add(watcher);
    return () => this.#watchers.delete(watcher);
  }

  enter(phase: Phase): void {
    // Nothing leaves these two but by `unblock`, which enters `starting`, and `close`.
    if (this.#phase.kind === 'closed') return;
    if (this.#phase.kind === 'closing' && phase.kind !== 'closed') return;
    if (phase.kind === 'down') this.#lastCause = phase.cause;
    else if (phase.kind === 'serving' || phase.kind === 'blocked') this.#lastCause = undefined;
    this.#phase = phase;
    for (const watcher of [...this.#watchers]) {
      try {
        watcher();
      } catch (error) {
        // A watcher's mistake must not end the worker whose frame was being read.
        this.#log(`a watcher failed: ${error instanceof Error ? error.message : String(error)}`);
      }
    }
  }
}

function publicState(phase: Phase): TokenState {
  switch (phase.kind) {
    case 'idle':
    case 'starting':
    case 'logging-in':
      return 'starting';
    case 'serving':
      return phase.isDrained ? 'draining' : phase.isDegraded ? 'degraded' : 'ready';
    case 'down':
    case 'closed':
      return 'down';
    case 'blocked':
      return 'blocked';
    case 'closing':
      return 'draining';
    default:
      return phase satisfies never;
  }
}
