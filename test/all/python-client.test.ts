import { spawn } from 'node:child_process';
import { createPublicKey, verify } from 'node:crypto';
import { once } from 'node:events';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, test } from 'vitest';
import { FakeBroker } from '../fakes/fake-broker.ts';
import { type RunningInstance, runLastmile, startInstance } from '../fakes/instance.ts';

const SIGN = fileURLToPath(new URL('../../deploy/examples/python/sign.py', import.meta.url));
const MESSAGE = readFileSync(fileURLToPath(new URL('../../README.md', import.meta.url)));

/** Debian's Python, which Debian's gRPC belongs to. */
const PYTHON = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3';

describe('a client in Python, with stock gRPC', () => {
  let instance: RunningInstance;
  beforeAll(async () => {
    instance = await startInstance();
  });
  afterAll(async () => {
    await instance?.stop();
  });

  async function python(
    args: readonly string[],
    target: string = `127.0.0.1:${instance.workloadsPort}`,
  ): Promise<{ code: number | null; stdout: string; stderr: string }> {
    const child = spawn(PYTHON, [SIGN, '--instance', instance.directory, '--target', target, ...args]);
    let [stdout, stderr] = ['', ''];
    child.stdout.setEncoding('utf8').on('data', (text: string) => {
      stdout += text;
    });
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      stderr += text;
    });
    child.stdin.end(MESSAGE);
    const [code] = (await once(child, 'close')) as [number | null];
    return { code, stdout, stderr };
  }

  async function publicKeyPem(key: string): Promise<string> {
    const profile = [
      '--instance',
      instance.directory,
      '--as',
      'payments',
      '--target',
      `127.0.0.1:${instance.workloadsPort}`,
    ];
    const { pem } = JSON.parse(await runLastmile(['public-key', ...profile, '--json', key])) as {
      pem: string;
    };
    return pem;
  }

  test('signs, and the signature verifies with the public key outside Lastmile', async () => {
    const { code, stdout, stderr } = await python(['--as', 'payments', '--key', 'payments/jwt']);
    expect({ code, stderr }).toEqual({ code: 0, stderr: expect.stringMatching(/^version 1, entry \d+ of /) });
    const key = createPublicKey(await publicKeyPem('payments/jwt'));
    const signature = Buffer.from(stdout.trim(), 'hex');
    expect(verify('sha256', MESSAGE, { key, dsaEncoding: 'ieee-p1363' }, signature)).toBe(true);
  });

  test('gets the signature as DER when it says so', async () => {
    const { stdout } = await python(['--as', 'payments', '--key', 'payments/jwt', '--der']);
    const key = createPublicKey(await publicKeyPem('payments/jwt'));
    expect(verify('sha256', MESSAGE, { key, dsaEncoding: 'der' }, Buffer.from(stdout.trim(), 'hex'))).toBe(
      true,
    );
  });

  test('is told POLICY_DENIED for another workload’s key and for one that nobody has, in the same words', async () => {
    const foreign = await python(['--as', 'payments', '--key', 'billing/invoices']);
    const unknown = await python(['--as', 'payments', '--key', 'payments/there-is-no-such-key']);
    expect(foreign.code).toBe(1);
    expect(foreign.stderr).toContain('refused: POLICY_DENIED (PERMISSION_DENIED)');
    expect(foreign.stderr).toContain('performed: no');
    expect(unknown).toEqual(foreign);
  });

  test('does not talk to another workload that poses as the broker', async () => {
    const pki = (file: string): string => readFileSync(join(instance.directory, 'pki', file), 'utf8');
    const impostor = await FakeBroker.start(
      { certificate: pki('billing.crt'), key: pki('billing.key') },
      pki('ca.crt'),
    );
    try {
      const signature = Buffer.from('not a signature');
      impostor.answers.set('Sign', () => ({
        signature,
        version: 1,
        log: { origin: 'impostor', leafIndex: 0 },
      }));
      const { code, stdout, stderr } = await python(['--as', 'payments'], impostor.target);
      expect({ code, stdout }).toEqual({ code: 1, stdout: '' });
      expect(stderr).toContain('refused: no answer from the broker (UNAVAILABLE)');
    } finally {
      await impostor.stop();
    }
  });
});
