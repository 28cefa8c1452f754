import { rmSync } from 'node:fs';
import type { TokenAdapter, TokenConfig } from '../hsm-adapters/adapter.ts';
import { createTokenAdapter } from '../hsm-adapters/supervisor/token-supervisor.ts';
import { FakeLedger } from '../test/fakes/fake-token-worker.ts';
import { MODULE, makeDirectory, makeToken, type SoftToken } from '../test/integration/pkcs11/soft-token.ts';
import { BENCH_ALGORITHMS, type BenchAlgorithm, KEY_OF } from './algorithms.ts';

/**
 * Two SoftHSM2 tokens with the same keys' shapes as the full path has, for whatever is measured below the broker.
 * Each has a directory and so a module configuration of its own, as an instance's tokens have.
 */

/** As `lastmile init` configures its tokens. */
export const TOKENS = 2;
export const SESSIONS_PER_TOKEN = 4;

export interface BenchKey {
  readonly algorithm: BenchAlgorithm;
  /** Hex. */
  readonly ckaId: string;
  /** DER; empty for A256GCM. */
  readonly publicKey: Uint8Array;
}

export interface BenchToken {
  readonly token: SoftToken;
  readonly keys: readonly BenchKey[];
}

/** Makes the keys through a real worker, with the templates of the product. */
export async function makeBenchTokens(): Promise<readonly BenchToken[]> {
  const made: BenchToken[] = [];
  for (let index = 0; index < TOKENS; index += 1) {
    const token = makeToken(makeDirectory(), `bench-${index}`);
    const adapter = openAdapter(token);
    try {
      await reachesReady(adapter);
      const keys: BenchKey[] = [];
      for (const [number, algorithm] of BENCH_ALGORITHMS.entries()) {
        const ckaId = Buffer.alloc(16, number + 1).toString('hex');
        const label = `bench/${algorithm}`;
        const { publicKey } = await adapter.administration.generate({ ckaId, label, ...KEY_OF[algorithm] });
        keys.push({ algorithm, ckaId, publicKey });
      }
      made.push({ token, keys });
    } finally {
      await adapter.close();
    }
  }
  return made;
}

export function removeBenchTokens(tokens: readonly BenchToken[]): void {
  for (const { token } of tokens) rmSync(token.directory, { recursive: true, force: true });
}

export function openAdapter(token: SoftToken): TokenAdapter {
  const config: TokenConfig = {
    name: token.label,
    module: MODULE,
    profile: 'softhsm2',
    label: token.label,
    pin: { kind: 'file', path: token.pinFile },
    sessions: SESSIONS_PER_TOKEN,
    directory: token.directory,
    environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
    groups: [],
    hangLimitMs: 10_000,
  };
  return createTokenAdapter({
    config,
    ledger: new FakeLedger(),
    log: (line) => process.stderr.write(`${line}\n`),
  });
}

/** @throws Error when the token comes to a state from which it does not get ready by itself */
export function reachesReady(adapter: TokenAdapter): Promise<void> {
  return new Promise((resolve, reject) => {
    const look = (): boolean => {
      if (adapter.state === 'ready') resolve();
      else if (adapter.state === 'blocked') reject(new Error(adapter.advice));
      else return false;
      return true;
    };
    if (look()) return;
    const leave = adapter.watch(() => {
      if (look()) leave();
    });
  });
}
