import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, test } from 'vitest';
import { checkPolicy } from '../../policy/check.ts';
import { compilePolicy } from '../../policy/compile.ts';
import { loadConfig } from '../config.ts';
import { ADMINISTRATOR, AUDITOR, CLIENTS, DEMO_KEYS } from './demo-identities.ts';
import { createInstance, hasInstance, type InstanceOptions, type PreparedToken } from './instance.ts';
import { findSoftHsm2 } from './module-path.ts';
import { addClient, renewSvids, writeClientProfiles } from './renew.ts';

const DAY_MS = 24 * 60 * 60 * 1000;
const NOW = Date.UTC(2030, 0, 15);
const PORTS = { workloadsPort: 17443, controlPort: 17444 };

let parent: string;
let directory: string;
beforeEach(() => {
  parent = mkdtempSync(join(tmpdir(), 'lastmile-init-'));
  directory = join(parent, 'instance');
});
afterEach(() => rmSync(parent, { recursive: true }));

function options(overrides: Partial<InstanceOptions> = {}): InstanceOptions {
  return {
    directory,
    tokens: [{ name: 'a' }, { name: 'b' }],
    module: '/usr/lib/softhsm/libsofthsm2.so',
    now: NOW,
    initialiseToken: async () => undefined,
    createKeys: async () => undefined,
    ...overrides,
  };
}

function filesBelow(path: string): string[] {
  return readdirSync(path, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name));
}

describe('createInstance', () => {
  test('writes files that only their owner can read, in directories that only their owner can enter', async () => {
    await createInstance(options());
    expect(statSync(directory).mode & 0o777).toBe(0o700);
    const files = filesBelow(directory);
    expect(files.length).toBeGreaterThan(20);
    for (const file of files) expect([file, statSync(file).mode & 0o077]).toEqual([file, 0]);
    for (const name of [
      'pki',
      'client',
      'secrets',
      'tokens',
      'tokens/a',
      'tokens/a/objects',
      'state',
      'audit',
    ]) {
      expect([name, statSync(join(directory, name)).mode & 0o777]).toEqual([name, 0o700]);
    }
    expect(readdirSync(parent)).toEqual(['instance']);
  });

  test('hands each token to the callback with PINs of its own, and a configuration that can be moved', async () => {
    const tokens: PreparedToken[] = [];
    const pins: string[] = [];
    await createInstance(
      options({
        initialiseToken: async (token) => {
          tokens.push(token);
          pins.push(readFileSync(token.pinFile, 'utf8'), readFileSync(token.soPinFile, 'utf8'));
        },
      }),
    );
    expect(tokens.map((token) => [token.name, token.label])).toEqual([
      ['a', 'lastmile-a'],
      ['b', 'lastmile-b'],
    ]);
    expect(new Set(pins).size).toBe(4);
    for (const pin of pins) expect(pin).toMatch(/^\d{16}$/);
    expect(readFileSync(join(directory, 'tokens/a/softhsm2.conf'), 'utf8')).toContain(
      'directories.tokendir = objects\n',
    );
  });

  test('nowhere writes a path that ends with the rename', async () => {
    await createInstance(options());
    for (const file of filesBelow(directory))
      expect([file, readFileSync(file, 'utf8').includes(parent)]).toEqual([file, false]);
  });

  test('writes a profile for each client, that names files which exist', async () => {
    await createInstance(options({ ...PORTS }));
    for (const name of ['payments', 'billing', 'operator', 'auditor']) {
      const profile = JSON.parse(readFileSync(join(directory, 'client', `${name}.json`), 'utf8')) as Record<
        string,
        string
      >;
      expect(profile).toMatchObject({
        target: '127.0.0.1:17443',
        control: '127.0.0.1:17444',
        brokerId: 'spiffe://example.org/lastmile/broker',
        brokerDnsName: 'lastmile.internal',
      });
      for (const file of ['certificate', 'key', 'trustBundle']) {
        expect(existsSync(join(directory, profile[file] ?? ''))).toBe(true);
      }
    }
  });

  test('gives the DNS name that clients check to the broker alone', async () => {
    await createInstance(options());
    const named = readdirSync(join(directory, 'pki'))
      .filter((file) => file.endsWith('.crt'))
      .filter(
        (file) =>
          new X509Certificate(readFileSync(join(directory, 'pki', file))).checkHost('lastmile.internal') !==
          undefined,
      );
    expect(named).toEqual(['broker.crt']);
  });

  test('writes a configuration that loads, with the ports and both tokens in it', async () => {
    const module = join(parent, 'libsofthsm2.so');
    writeFileSync(module, '');
    await createInstance(options({ ...PORTS, uidBase: 70000, module }));
    const config = loadConfig(join(directory, 'lastmile.yaml'));
    expect(config).toMatchObject({
      profile: 'development',
      listen: { workloads: { host: '127.0.0.1', port: 17443 }, control: { host: '127.0.0.1', port: 17444 } },
      isolation: { mode: 'auto', uidBase: 70000 },
    });
    expect(config.tokens).toMatchObject([
      {
        name: 'a',
        label: 'lastmile-a',
        module,
        pin: { kind: 'file', path: join(directory, 'secrets/token-a.pin') },
      },
      { name: 'b', label: 'lastmile-b', module, directory: join(directory, 'tokens/b') },
    ]);
  });

  test('is refused as a production configuration, for what it was made with', async () => {
    const module = join(parent, 'libsofthsm2.so');
    writeFileSync(module, '');
    await createInstance(options({ module }));
    const path = join(directory, 'lastmile.yaml');
    const text = readFileSync(path, 'utf8');
    writeFileSync(
      path,
      text.replace('profile: development', 'profile: production').replace('mode: auto', 'mode: users'),
    );
    expect(() => loadConfig(path)).toThrow(/made for development/);
    rmSync(join(directory, 'pki', 'DEVELOPMENT'));
    expect(() => loadConfig(path)).toThrow(/development root/);
  });

  test('writes a policy without errors or warnings, in which each demo key has its workload and no other', async () => {
    await createInstance(options());
    const bytes = readFileSync(join(directory, 'policy.yaml'));
    const policyOptions = { administrators: [ADMINISTRATOR] };
    expect(checkPolicy(bytes, policyOptions)).toMatchObject({ issues: [], warnings: [] });
    const policy = compilePolicy(bytes, { ...policyOptions, hash: 'sha256:00' });
    const operation = { sign: 'sign', encrypt: 'decrypt', mac: 'mac' } as const;
    for (const { key, purpose, algorithms } of DEMO_KEYS) {
      for (const { name, spiffeId } of CLIENTS) {
        const question = { spiffeId, key, operation: operation[purpose], algorithm: algorithms[0] ?? '' };
        expect([name, key, policy.decide(question).effect]).toEqual([
          name,
          key,
          key.startsWith(`${name}/`) ? 'allow' : 'deny',
        ]);
      }
    }
    expect(policy.decideMethod({ spiffeId: AUDITOR, method: 'Audit.Query' }).effect).toBe('allow');
    expect(policy.decideMethod({ spiffeId: AUDITOR, method: 'Admin.Freeze' }).effect).toBe('deny');
  });

  test('leaves nothing behind when a callback fails', async () => {
    const failing = options({ createKeys: () => Promise.reject(new Error('the token is full')) });
    await expect(createInstance(failing)).rejects.toThrow('the token is full');
    expect(readdirSync(parent)).toEqual([]);
    await createInstance(options());
    expect(await hasInstance(directory)).toBe(true);
  });

  test('starts over where an init died, and keeps off one that is at work', async () => {
    const unfinished = `${directory}.unfinished`;
    mkdirSync(unfinished);
    writeFileSync(join(unfinished, 'half-written'), 'x');
    writeFileSync(join(unfinished, 'init.pid'), `${process.ppid}\n`);
    await expect(createInstance(options())).rejects.toMatchObject({ reason: 'ANOTHER_INIT' });
    expect(existsSync(join(unfinished, 'half-written'))).toBe(true);

    // Above Linux' largest process id: of a process that is gone.
    writeFileSync(join(unfinished, 'init.pid'), '4194305\n');
    await createInstance(options());
    expect(existsSync(join(directory, 'half-written'))).toBe(false);
    expect(readdirSync(parent)).toEqual(['instance']);
  });

  test('leaves an instance that exists as it is', async () => {
    await createInstance(options());
    const before = filesBelow(directory).map((file) => [file, readFileSync(file, 'utf8')]);
    await expect(createInstance(options())).rejects.toMatchObject({ reason: 'INSTANCE_EXISTS' });
    expect(filesBelow(directory).map((file) => [file, readFileSync(file, 'utf8')])).toEqual(before);
  });

  test('moves an instance aside when told to, whole', async () => {
    await createInstance(options());
    const pin = readFileSync(join(directory, 'secrets/token-a.pin'), 'utf8');
    const { replaced } = await createInstance(options({ replace: true }));
    expect(replaced).toBe(`${directory}.2030-01-15T000000Z`);
    expect(readFileSync(join(replaced ?? '', 'secrets/token-a.pin'), 'utf8')).toBe(pin);
    expect(readFileSync(join(directory, 'secrets/token-a.pin'), 'utf8')).not.toBe(pin);
  });

  test('refuses a directory with other things in it, and takes an empty one', async () => {
    mkdirSync(directory);
    writeFileSync(join(directory, 'thesis.txt'), 'irreplaceable');
    await expect(createInstance(options({ replace: true }))).rejects.toMatchObject({
      reason: 'DIRECTORY_NOT_EMPTY',
    });
    rmSync(join(directory, 'thesis.txt'));
    await createInstance(options());
    expect(await hasInstance(directory)).toBe(true);
  });
});

describe('renewSvids', () => {
  const certificate = (name: string): X509Certificate =>
    new X509Certificate(readFileSync(join(directory, 'pki', `${name}.crt`)));

  test('renews what expires within ten days, with the key and the names it had', async () => {
    await createInstance(options());
    const before = certificate('broker');
    expect(await renewSvids(directory, NOW + 19 * DAY_MS)).toEqual([]);
    expect(certificate('broker').raw).toEqual(before.raw);

    const renewed = await renewSvids(directory, NOW + 21 * DAY_MS);
    expect([...renewed].sort()).toEqual(['auditor', 'billing', 'broker', 'operator', 'payments']);
    expect(certificate('broker').subjectAltName).toBe(before.subjectAltName);
    expect(certificate('broker').publicKey.equals(before.publicKey)).toBe(true);
    expect(certificate('broker').validToDate.getTime()).toBe(NOW + 51 * DAY_MS);
    expect(await renewSvids(directory, NOW + 21 * DAY_MS)).toEqual([]);
  });

  test('keeps off certificates that init did not make', async () => {
    await createInstance(options());
    rmSync(join(directory, 'pki', 'DEVELOPMENT'));
    await expect(renewSvids(directory, NOW + 25 * DAY_MS)).rejects.toMatchObject({
      reason: 'NOT_A_DEVELOPMENT_INSTANCE',
    });
  });

  test('says what to do when the CA itself has expired', async () => {
    await createInstance(options());
    await expect(renewSvids(directory, NOW + 20 * 365 * DAY_MS)).rejects.toThrow(
      /the development CA has expired/,
    );
  });
});

describe('clients of an instance', () => {
  test('one more workload gets a certificate and a profile', async () => {
    await createInstance(options());
    await addClient(
      directory,
      { name: 'shipping', spiffeId: 'spiffe://example.org/ns/shipping/sa/labels' },
      PORTS,
      NOW,
    );
    expect(new X509Certificate(readFileSync(join(directory, 'pki/shipping.crt'))).subjectAltName).toBe(
      'URI:spiffe://example.org/ns/shipping/sa/labels',
    );
    expect(readdirSync(join(directory, 'client'))).toContain('shipping.json');
  });

  test.each(['broker', 'ca', 'payments'])('the name %s is taken', async (name) => {
    await createInstance(options());
    const before = readFileSync(join(directory, 'pki', `${name}.key`), 'utf8');
    const client = { name, spiffeId: 'spiffe://example.org/ns/x/sa/y' };
    await expect(addClient(directory, client, PORTS, NOW)).rejects.toMatchObject({ reason: 'NAME_TAKEN' });
    expect(readFileSync(join(directory, 'pki', `${name}.key`), 'utf8')).toBe(before);
  });

  test.each(['../escape', '', 'Payments', '-x'])('the name %j is refused', async (name) => {
    await createInstance(options());
    const client = { name, spiffeId: 'spiffe://example.org/ns/x/sa/y' };
    await expect(addClient(directory, client, PORTS, NOW)).rejects.toMatchObject({ reason: 'NAME_INVALID' });
  });

  test('all profiles follow ports that were chosen late', async () => {
    await createInstance(options({ workloadsPort: 0, controlPort: 0 }));
    await writeClientProfiles(directory, PORTS);
    for (const file of readdirSync(join(directory, 'client'))) {
      expect(JSON.parse(readFileSync(join(directory, 'client', file), 'utf8'))).toMatchObject({
        target: '127.0.0.1:17443',
        control: '127.0.0.1:17444',
      });
    }
  });
});

describe('findSoftHsm2', () => {
  test('takes the first place that exists, and otherwise says where it looked', () => {
    const here = join(parent, 'libsofthsm2.so');
    expect(() => findSoftHsm2([here])).toThrow(`is in none of ${here}`);
    writeFileSync(here, '');
    expect(findSoftHsm2([join(parent, 'missing.so'), here])).toBe(here);
  });
});
