import { execFileSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type RunningInstance, runLastmile, startInstance } from '../../fakes/instance.ts';
import { PAYMENTS } from '../../fakes/instance-clients.ts';

/** The `lastmile` command, as people type it, against a broker that serves. */

let instance: RunningInstance;
let path: (name: string) => string;

beforeAll(async () => {
  instance = await startInstance();
  path = (name) => join(instance.directory, name);
});

afterAll(() => instance?.stop());

function lastmile(...args: string[]): Promise<string> {
  return runLastmile([...args, '--instance', instance.directory]);
}

function asPayments(...args: string[]): Promise<string> {
  return lastmile(...args, '--as', 'payments');
}

async function parsed<T>(...args: string[]): Promise<T> {
  return JSON.parse(await lastmile(...args, '--json')) as T;
}

describe('as a workload', () => {
  it('signs a file so that openssl verifies it, and verifies it itself', async () => {
    writeFileSync(path('order'), 'seventeen pieces');
    await asPayments('sign', 'payments/jwt', path('order'), '--der', '--out', path('order.sig'));
    await asPayments('public-key', 'payments/jwt', '--out', path('order.pem'));
    const files = ['-verify', path('order.pem'), '-signature', path('order.sig'), path('order')];
    expect(execFileSync('openssl', ['dgst', '-sha256', ...files], { encoding: 'utf8' })).toBe(
      'Verified OK\n',
    );
    const verify = ['verify', 'payments/jwt', path('order'), '--der', '--signature', path('order.sig')];
    await asPayments(...verify);
    writeFileSync(path('order'), 'seventy pieces');
    await expect(asPayments(...verify)).rejects.toThrow('ended with 4');
  });

  it.each([
    ['what fits a request', 1000],
    ['what does not, by envelope encryption', 300_000],
  ])('encrypts and decrypts %s', async (_name, bytes) => {
    const secret = randomBytes(bytes);
    writeFileSync(path('secret'), secret);
    const bound = ['--associated-data', 'record 7'];
    await asPayments('encrypt', 'payments/data', path('secret'), ...bound, '--out', path('sealed'));
    const sealed = readFileSync(path('sealed'));
    expect(sealed.includes(secret.subarray(0, 32))).toBe(false);
    await asPayments('decrypt', 'payments/data', path('sealed'), ...bound, '--out', path('opened'));
    expect(readFileSync(path('opened')).equals(secret)).toBe(true);
    expect(statSync(path('opened')).mode & 0o777).toBe(0o600);
    const other = ['--associated-data', 'record 8', '--out', path('not-opened')];
    await expect(asPayments('decrypt', 'payments/data', path('sealed'), ...other)).rejects.toThrow(
      'ended with 4',
    );
    sealed[sealed.length - 1]! ^= 1;
    writeFileSync(path('sealed'), sealed);
    await expect(
      asPayments('decrypt', 'payments/data', path('sealed'), ...bound, '--out', path('not-opened')),
    ).rejects.toThrow('ended with 4');
    expect(statSync(path('not-opened'), { throwIfNoEntry: false })).toBeUndefined();
  });

  it('is refused another’s key with a reason and what to do', async () => {
    await expect(
      asPayments('sign', 'billing/invoices', path('lastmile.yaml'), '--algorithm', 'ES256'),
    ).rejects.toThrow(/ended with 1:[\s\S]*POLICY_DENIED[\s\S]*lastmile policy explain/);
  });
});

describe('as an operator', () => {
  it('makes a key, finds it proven on both tokens, and its making in the log', async () => {
    await lastmile('keys', 'create', 'payments/new', '--purpose', 'sign', '--algorithm', 'ES384');
    const shown = await lastmile('keys', 'show', 'payments/new');
    expect(shown).toContain('ES384');
    expect(await lastmile('keys', 'list')).toContain('payments/new');
    const { entries } = await parsed<{ entries: { leafIndex: number; entry: object }[] }>(
      'audit',
      'list',
      '--operation',
      'Admin.CreateKey',
    );
    expect(entries[0]!.entry).toMatchObject({ key: 'payments/new', decision: 'allow', performed: 'yes' });
    expect(await lastmile('audit', 'show', String(entries[0]!.leafIndex))).toContain(
      'included in the signed checkpoint',
    );
  });

  it('freezes and lifts, and `freezes` says who and why', async () => {
    await lastmile('freeze', 'workload', PAYMENTS, '--reason', 'INC-12');
    const frozen = await lastmile('freezes');
    for (const text of [PAYMENTS, 'INC-12', 'spiffe://example.org/human/operator'])
      expect(frozen).toContain(text);
    await expect(asPayments('random', '8', '--out', path('random'))).rejects.toThrow('CREDENTIAL_FROZEN');
    await lastmile('unfreeze', 'workload', PAYMENTS, '--reason', 'over');
    await asPayments('random', '8', '--out', path('random'));
    expect(readFileSync(path('random'))).toHaveLength(8);
  });

  it('asks the policy why, checks a file before it counts, and has it read', async () => {
    const question = ['--workload', PAYMENTS, '--key', 'billing/invoices', '--operation', 'sign'];
    expect(await lastmile('policy', 'explain', ...question)).toMatch(/deny/);
    const text = readFileSync(path('policy.yaml'), 'utf8');
    writeFileSync(
      path('next.yaml'),
      text.replace('operations: [sign, verify]', 'operations: [sing, verify]'),
    );
    const line =
      text.split('\n').findIndex((candidate) => candidate.includes('operations: [sign, verify]')) + 1;
    await expect(runLastmile(['policy', 'check', path('next.yaml')])).rejects.toThrow(`next.yaml:${line}:`);
    await runLastmile(['policy', 'check', path('policy.yaml')]);
    await lastmile('policy', 'reload');
  });

  it('sees the tokens', async () => {
    const tokens = await lastmile('tokens', 'list');
    expect(tokens).toMatch(/a\s.*ready/);
    expect(tokens).toMatch(/b\s.*ready/);
  });
});
