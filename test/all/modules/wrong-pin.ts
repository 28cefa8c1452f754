import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect } from 'vitest';
import type { TokenConfig, TokenInfo } from '../../../hsm-adapters/adapter.ts';
import { type ModuleUnderTest, openToken } from '../../conformance/adapters/module-under-test.ts';
import { FakeLedger } from '../../fakes/fake-token-worker.ts';

/** One token, as it comes up with the PIN it is configured with: its last word, and what the token said before that. */
export interface Login {
  readonly state: string;
  readonly advice: string | undefined;
  readonly info: TokenInfo | undefined;
  readonly attempts: number;
}

export function withWrongPin(config: TokenConfig): TokenConfig {
  const path = join(config.directory, 'wrong-pin');
  writeFileSync(path, '8888888\n', { mode: 0o600 });
  return { ...config, pin: { kind: 'file', path } };
}

/** A broker that knows nothing of earlier ones starts, and is stopped. */
export async function logInOnce(
  module: ModuleUnderTest,
  config: TokenConfig,
  ledger: FakeLedger = new FakeLedger(),
): Promise<Login> {
  const before = ledger.events.length;
  const opened = openToken(module, config, ledger);
  const state = await opened.settles();
  const { advice, info } = opened.adapter;
  await opened.adapter.close();
  const attempts = ledger.events.slice(before).filter((event) => event.startsWith('attempt')).length;
  return { state, advice, info, attempts };
}

/** What a broker does again and again after a wrong PIN: nothing, until an operator says so. */
export async function expectOneTry(module: ModuleUnderTest, config: TokenConfig): Promise<FakeLedger> {
  const ledger = new FakeLedger();
  const attempts: number[] = [];
  for (let start = 0; start < 4; start += 1) {
    const { state, attempts: tried } = await logInOnce(module, config, ledger);
    expect(state).toBe('blocked');
    attempts.push(tried);
  }
  expect(attempts).toEqual([1, 0, 0, 0]);
  return ledger;
}
