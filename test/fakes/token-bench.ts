import {
  AdapterError,
  type TokenAdapter,
  type TokenConfig,
  type TokenInfo,
  type TokenState,
} from '../../hsm-adapters/adapter.ts';
import { WorkerFrame } from '../../hsm-adapters/frames/worker-frames.ts';
import { createTokenAdapter } from '../../hsm-adapters/supervisor/token-supervisor.ts';
import { FAKE_CONFIG, FAKE_INFO, FakeLedger, FakeTimers, FakeWorker } from './fake-token-worker.ts';
import { rejectionOf } from './rejection.ts';

/** What `sign` has signed. */
export const DATA: Buffer = Buffer.from('sign this');

/** A supervised token, and everything around it in the hands of the test. */
interface TokenBench {
  readonly token: TokenAdapter;
  readonly worker: FakeWorker;
  readonly timers: FakeTimers;
  readonly ledger: FakeLedger;
  readonly states: TokenState[];
  readonly log: string[];
}

/** The token that a broker has, before its worker has said anything. */
export function openToken(
  options: { config?: Partial<TokenConfig>; ledger?: FakeLedger; isDrained?: boolean } = {},
): TokenBench {
  const timers = new FakeTimers();
  const ledger = options.ledger ?? new FakeLedger();
  const log: string[] = [];
  let worker: FakeWorker | undefined;
  const token = createTokenAdapter({
    config: { ...FAKE_CONFIG, ...options.config },
    ledger,
    isDrained: options.isDrained,
    root: '/srv/lastmile',
    log: (line) => log.push(line),
    timers,
    startWorker: (spec, handlers) => {
      worker = new FakeWorker(spec, handlers);
      return worker;
    },
  });
  if (worker === undefined) throw new Error('no worker was started');
  const states: TokenState[] = [token.state];
  token.watch(({ state }) => states.push(state));
  return { token, worker, timers, ledger, states, log };
}

/** Its worker finds the token and is logged in. Fails the test when that does not bring it into service. */
export function serve(bench: TokenBench, info: Partial<TokenInfo> = {}): TokenBench {
  bench.worker.say(WorkerFrame.Found, 0, { ...FAKE_INFO, ...info });
  bench.worker.say(WorkerFrame.LoggedIn, 0, { outcome: 'accepted' });
  if (bench.token.state !== 'ready') throw new Error(`the token is ${bench.token.state}, not ready`);
  return bench;
}

/** A signature of `DATA`, wanted within half a second unless told otherwise. */
export const sign = ({ token, timers }: TokenBench, options: { ms?: number; signal?: AbortSignal } = {}) =>
  token.sign(
    { object: 7, algorithm: 'ES256', data: DATA },
    { deadline: timers.now() + (options.ms ?? 500), signal: options.signal },
  );

/** What a promise fails with, which must be an AdapterError. */
export const failureOf = (promise: Promise<unknown>): Promise<AdapterError> =>
  rejectionOf(promise, AdapterError);

/** What a worker says of work that failed, or of its own end. */
export const failure = (reason: string, performed = 'no') => ({ reason, performed, message: 'because' });
