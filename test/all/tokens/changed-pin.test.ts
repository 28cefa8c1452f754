import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { afterEach, expect, it } from 'vitest';
import { becomes, FaultyTokens } from '../../fault/tokens/harness.ts';
import { MODULE } from '../../integration/pkcs11/soft-token.ts';

const PKCS11_TOOL = '/usr/bin/pkcs11-tool';

let all: FaultyTokens | undefined;
afterEach(() => all?.close());

it('a PIN changed behind our back is tried once, by no restart again, and serves once the operator gives it', async () => {
  if (!existsSync(PKCS11_TOOL)) throw new Error(`${PKCS11_TOOL} is missing: run deploy/bootstrap.sh --all`);
  all = await FaultyTokens.start();
  const { tokens } = all;
  const [{ adapter, module, soft }] = tokens as [(typeof tokens)[number]];
  const logins = module.calls('C_Login');
  const tool = ['--module', MODULE, '--token-label', soft.label];
  const pin = readFileSync(soft.pinFile, 'utf8').trim();
  execFileSync(PKCS11_TOOL, [...tool, '--login', '--pin', pin, '--change-pin', '--new-pin', '97531'], {
    cwd: soft.directory,
    env: { SOFTHSM2_CONF: 'softhsm2.conf' },
  });

  // Whoever is logged in stays so; the next worker is not let in.
  let isOver = false;
  const act = async (): Promise<void> => {
    process.kill(adapter.worker!.pid, 'SIGKILL');
    await becomes(adapter, ({ state }) => state === 'blocked');
    isOver = true;
  };
  const acting = act().finally(() => {
    isOver = true;
  });
  const outcomes = await all.load(12, () => isOver);
  await acting;
  expect(all.findings(outcomes)).toEqual([]);
  expect(outcomes.flatMap(({ failure }) => failure?.reason ?? [])).toEqual([]);
  expect(module.calls('C_Login')).toBe(logins + 1);
  expect(adapter.advice).toContain('unblock');

  // Unblocked with the same wrong PIN it is tried once more, and that is all.
  await adapter.unblock();
  await becomes(adapter, ({ state }) => state === 'blocked');
  expect(module.calls('C_Login')).toBe(logins + 2);

  writeFileSync(soft.pinFile, '97531\n');
  await adapter.unblock();
  await becomes(adapter, ({ state }) => state === 'ready');
  expect(module.calls('C_Login')).toBe(logins + 3);
  await all.recovered();
});
