import { execFileSync } from 'node:child_process';
import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { PROFILE_NAMES } from '../hsm-adapters/profiles/profiles.ts';
import { ConfigError, type LastmileConfig, loadConfig, parseConfig } from './config.ts';

const MINIMAL = `version: 1
profile: development
trust_domain: example.org
trust_bundle: pki/bundle.pem
broker: { certificate: pki/broker.pem, key: pki/broker.key }
administrators: ["spiffe://example.org/operator/alice"]
policy: policy.yaml
state: state
audit: { directory: audit, origin: example.org/lastmile }
tokens:
  - name: first
    module: /usr/lib/softhsm/libsofthsm2.so
    profile: softhsm2
    label: first
    pin: { file: pins/first }
`;

const parsed = (text: string): LastmileConfig =>
  parseConfig(new TextEncoder().encode(text), { file: '/etc/lastmile/lastmile.yaml' });

function refusals(act: () => unknown): string[] {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError)
      return error.message.split('\n').map((line) => line.replace(/^.*lastmile\.yaml:/, ''));
    throw error;
  }
  return [];
}

/** MINIMAL with one line replaced. */
function refused(line: RegExp, by: string): string {
  const text = MINIMAL.replace(line, by);
  expect(text).not.toBe(MINIMAL);
  return refusals(() => parsed(text)).join('\n');
}

describe('reading', () => {
  it('fills in defaults, resolves paths beside the file and converts units', () => {
    expect(parsed(MINIMAL)).toMatchObject({
      file: '/etc/lastmile/lastmile.yaml',
      directory: '/etc/lastmile',
      profile: 'development',
      trustDomain: 'example.org',
      trustBundle: '/etc/lastmile/pki/bundle.pem',
      broker: {
        certificate: '/etc/lastmile/pki/broker.pem',
        key: '/etc/lastmile/pki/broker.key',
        dnsName: undefined,
      },
      listen: {
        workloads: { host: '127.0.0.1', port: 7443 },
        gateways: 1,
        control: { host: '127.0.0.1', port: 7444 },
      },
      administrators: ['spiffe://example.org/operator/alice'],
      policy: '/etc/lastmile/policy.yaml',
      state: '/etc/lastmile/state',
      audit: {
        directory: '/etc/lastmile/audit',
        origin: 'example.org/lastmile',
        key: 'lastmile/log',
        checkpointIntervalMs: 1000,
        refusalWindowMs: 60_000,
        refusalQuotaBytesPerHour: 1_048_576,
      },
      isolation: { mode: 'auto', uidBase: 64_000 },
      limits: { maxDeadlineMs: 30_000, maxStreamInFlight: 256 },
      telemetry: { metricsFile: undefined, intervalMs: 15_000 },
    });
    expect(parsed(MINIMAL).tokens).toEqual([
      {
        name: 'first',
        module: '/usr/lib/softhsm/libsofthsm2.so',
        profile: 'softhsm2',
        serial: undefined,
        label: 'first',
        pin: { kind: 'file', path: '/etc/lastmile/pins/first' },
        sessions: 8,
        directory: '/etc/lastmile',
        environment: {},
        groups: [],
        hangLimitMs: 10_000,
      },
    ]);
  });

  it('takes IPv6 addresses and all three references to a PIN', () => {
    const text = `${MINIMAL.replace('{ file: pins/first }', '{ credential: hsm-pin }')}listen: { workloads: "[::1]:0", control: 127.0.0.1:0 }\n`;
    expect(parsed(text).listen.workloads).toEqual({ host: '::1', port: 0 });
    expect(parsed(text).tokens[0]?.pin).toEqual({ kind: 'credential', name: 'hsm-pin' });
    const command = MINIMAL.replace('{ file: pins/first }', '{ command: [/usr/bin/pin, --token, first] }');
    expect(parsed(command).tokens[0]?.pin).toEqual({
      kind: 'command',
      argv: ['/usr/bin/pin', '--token', 'first'],
    });
  });
});

describe('refusals, each where it stands', () => {
  it.each([
    [
      'a nearly known name',
      /^trust_bundle:/m,
      'trust_bundel:',
      '4:1: unknown name `trust_bundel` (did you mean `trust_bundle`?)',
    ],
    ['an inline PIN', /pin: .*/, 'pin: "1234"', '15:10: `tokens[0].pin` is the text `1234`'],
    ['a PIN by another way', /pin: .*/, 'pin: { env: PIN }', '15:12: unknown name `env`'],
    ['two PIN references', /pin: .*/, 'pin: { file: a, credential: b }', '15:10: needs exactly one of'],
    ['no PIN reference', /pin: .*/, 'pin: {}', '15:10: needs exactly one of'],
    [
      'a PIN program by name',
      /pin: .*/,
      'pin: { command: [pass, show] }',
      '15:22: `pass` must be an absolute path',
    ],
    ['a module by name', /module: .*/, 'module: libsofthsm2.so', '12:13: must be an absolute path'],
    [
      'a serial that YAML reads as a number',
      /label: .*/,
      'serial: 1234',
      '14:13: `tokens[0].serial` is the number 1234; put it in quotes',
    ],
    [
      'serial and label',
      /label: .*/,
      'label: a\n    serial: b',
      '11:5: the token `first` needs exactly one of',
    ],
    [
      'a library path in the environment',
      /label: .*/,
      'label: a\n    environment: { LD_PRELOAD: x.so }',
      '15:32: `LD_PRELOAD` can load code',
    ],
    [
      'a PIN in the environment',
      /label: .*/,
      'label: a\n    environment: { USER_PIN: "1" }',
      '15:30: `USER_PIN` looks like a secret',
    ],
    [
      'a listener for all in development',
      /^policy:/m,
      'listen: { workloads: 0.0.0.0:7443 }\npolicy:',
      '7:22: a development instance listens on loopback only',
    ],
    [
      'the wildcard of IPv6 in development',
      /^policy:/m,
      'listen: { control: "[::]:7444" }\npolicy:',
      '7:20: a development instance listens on loopback only',
    ],
    [
      'a host name',
      /^policy:/m,
      'listen: { workloads: localhost:7443 }\npolicy:',
      '7:22: `listen.workloads` must be an IP address',
    ],
    [
      'an impossible address',
      /^policy:/m,
      'listen: { workloads: 999.0.0.1:7443 }\npolicy:',
      '7:22: `listen.workloads` must be an IP address',
    ],
    [
      'one port for both',
      /^policy:/m,
      'listen: { workloads: 127.0.0.1:1, control: 127.0.0.1:1 }\npolicy:',
      '7:44: port 1 is taken',
    ],
    [
      'a pattern as administrator',
      /operator\/alice/,
      'operator/*',
      '6:18: `spiffe://example.org/operator/*` is not a SPIFFE ID',
    ],
    ['a trust domain as administrator', /\/operator\/alice/, '', 'is a trust domain'],
    [
      'an administrator from elsewhere',
      /example.org\/operator/,
      'other.org/operator',
      'is not of the trust domain `example.org`',
    ],
    ['no administrators', /administrators: .*/, 'administrators: []', '6:17: `administrators` is too small'],
    [
      'a duration without unit',
      /origin: example.org\/lastmile/,
      'origin: a, checkpoint_interval: 5',
      '9:60: `audit.checkpoint_interval` is the number 5; put it in quotes',
    ],
    [
      'a duration out of range',
      /origin: example.org\/lastmile/,
      'origin: a, checkpoint_interval: 2d',
      'must be from 100ms to 1h',
    ],
    [
      'a log key that workloads could use',
      /origin: example.org\/lastmile/,
      'origin: a, key: payments/jwt',
      'must be a key under `lastmile/`',
    ],
    ['an origin with spaces', /origin: example.org\/lastmile/, 'origin: my log', 'without spaces'],
    [
      'state and log in one directory',
      /directory: audit/,
      'directory: ./state/',
      'is the directory of `state` too',
    ],
    ['user ids up to nobody', /^policy:/m, 'isolation: { uid_base: 65500 }\npolicy:', '7:24: '],
  ])('%s', (_, line, by, expected) => {
    expect(refused(line, by)).toContain(expected);
  });

  it('a module profile that there is not', () => {
    expect(refused(/profile: softhsm2/, 'profile: softhsm')).toBe(
      `13:14: \`tokens[0].profile\` is \`softhsm\` (expected one of ${PROFILE_NAMES.join(', ')}; did you mean \`softhsm2\`?)`,
    );
  });

  it('the same token twice', () => {
    const second = MINIMAL.slice(MINIMAL.indexOf('  - name'));
    expect(refusals(() => parsed(MINIMAL + second))).toEqual([
      '16:11: another token is named `first`',
      '16:5: is the same token as `first`',
    ]);
  });

  it.each(['shared', 'auto'])('%s users in production', (mode) => {
    const text = `${MINIMAL.replace('development', 'production')}isolation: { mode: ${mode} }\n`;
    expect(refusals(() => parsed(text))[0]).toContain(`16:20: \`${mode}\` is refused in production`);
  });

  it.each([
    ['nss', 'wraps keys that are not extractable'],
    ['p11-kit', 'in the clear'],
  ])('tokens of profile %s in production, and only there', (profile, why) => {
    const text = MINIMAL.replace('profile: softhsm2', `profile: ${profile}`);
    expect(text).not.toBe(MINIMAL);
    expect(refusals(() => parsed(text))).toEqual([]);
    const [refusal] = refusals(() => parsed(text.replace('profile: development', 'profile: production')));
    expect(refusal).toContain(`\`${profile}\` is refused in production`);
    expect(refusal).toContain(why);
  });

  it('nothing of a production instance that listens to the network with users of its own', () => {
    const text = `${MINIMAL.replace('development', 'production')}listen: { workloads: 0.0.0.0:7443 }\n`;
    expect(parsed(text).isolation.mode).toBe('users');
  });
});

describe('what it refers to', () => {
  let directory: string;
  const file = (name: string): string => join(directory, name);
  const load = (): string[] => refusals(() => loadConfig(file('lastmile.yaml')));
  const write = (name: string, content: string, mode: number): void => {
    writeFileSync(file(name), content);
    chmodSync(file(name), mode);
  };

  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lastmile-config-'));
    for (const name of ['pki', 'pins']) mkdirSync(file(name));
    write('lastmile.yaml', MINIMAL, 0o644);
    write('policy.yaml', 'version: 1\n', 0o644);
    const root = [
      '-x509',
      '-newkey',
      'ec',
      '-pkeyopt',
      'ec_paramgen_curve:P-256',
      '-nodes',
      '-subj',
      '/CN=Example root',
    ];
    execFileSync(
      'openssl',
      ['req', ...root, '-keyout', file('pki/broker.key'), '-out', file('pki/bundle.pem')],
      { stdio: 'ignore' },
    );
    write('pki/broker.pem', '', 0o644);
    chmodSync(file('pki/broker.key'), 0o600);
    write('pins/first', '1234', 0o600);
  });
  afterEach(() => rmSync(directory, { recursive: true }));

  const production = (): void => write('lastmile.yaml', MINIMAL.replace('development', 'production'), 0o644);

  it('is accepted when all is well, in both profiles', () => {
    expect(load()).toEqual([]);
    production();
    expect(load()).toEqual([]);
    expect(loadConfig(file('lastmile.yaml')).sha256).toMatch(/^[0-9a-f]{64}$/);
  });

  it('names the line whose file is missing', () => {
    rmSync(file('policy.yaml'));
    expect(load()).toEqual([`7:9: there is no file ${file('policy.yaml')}`]);
  });

  it('leaves a missing PIN file to the worker: other tokens serve', () => {
    rmSync(file('pins/first'));
    expect(load()).toEqual([]);
  });

  it.each([0o640, 0o604, 0o644, 0o660, 0o601])('refuses secrets of mode %o', (mode) => {
    chmodSync(file('pins/first'), mode);
    chmodSync(file('pki/broker.key'), mode);
    expect(load()).toEqual([
      expect.stringMatching(/^5:45: .*broker\.key can be read or changed by others/),
      expect.stringMatching(/^15:18: .*first can be read or changed by others/),
    ]);
  });

  it('refuses what others can change, in production by group as well', () => {
    chmodSync(file('policy.yaml'), 0o666);
    expect(load()[0]).toMatch(/^7:9: .*can be changed by others/);
    chmodSync(file('policy.yaml'), 0o664);
    expect(load()).toEqual([]);
    production();
    expect(load()[0]).toMatch(/^7:9: .*can be changed by others/);
  });

  it('refuses a development CA and PIN in production', () => {
    write('pki/DEVELOPMENT', '', 0o644);
    write('pins/DEVELOPMENT', '', 0o644);
    expect(load()).toEqual([]);
    production();
    const found = load().join('\n');
    expect(found).toMatch(/^4:15: .*bundle\.pem was made for development/m);
    expect(found).toMatch(/^15:18: .*first was made for development/m);
  });

  it('refuses a development root by its name when the marker was left behind', () => {
    const root = ['-x509', '-key', file('pki/broker.key'), '-subj', '/CN=Lastmile development CA'];
    execFileSync('openssl', ['req', ...root, '-out', file('pki/bundle.pem')], { stdio: 'ignore' });
    expect(load()).toEqual([]);
    production();
    expect(load()[0]).toMatch(/^4:15: .*development root \(CN=Lastmile development CA\)/);
  });

  it('refuses a trust bundle without certificates in production', () => {
    write('pki/bundle.pem', 'hello', 0o644);
    production();
    expect(load()[0]).toContain('holds no PEM certificate');
  });

  it('says so when there is no such file', () => {
    expect(refusals(() => loadConfig(file('nowhere/lastmile.yaml')))[0]).toContain(
      '1:1: cannot be read: ENOENT',
    );
  });
});
