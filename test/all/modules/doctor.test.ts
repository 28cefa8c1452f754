import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { DoctorOptions, DoctorReport } from '../../../broker/cli/doctor-report.ts';
import { parseConfig } from '../../../broker/config.ts';
import { diagnose } from '../../../broker/main/doctor.ts';
import { ALGORITHMS } from '../../../hsm-adapters/adapter.ts';
import { roleUsers } from '../../../hsm-adapters/frames/isolation.ts';
import { holdCeremony, openToken } from '../../conformance/adapters/module-under-test.ts';
import { MODULE } from '../../integration/pkcs11/soft-token.ts';
import { ownDirectory, removeDirectory } from './machine.ts';
import { startNss } from './nss-module.ts';
import { type SoftHsm, startSoftHsm } from './soft-hsm-module.ts';

const MAIN = new URL('../../../broker/main.ts', import.meta.url).pathname;

const OPTIONS: DoctorOptions = {
  module: MODULE,
  profile: undefined,
  label: undefined,
  serial: undefined,
  pinFile: undefined,
  directory: '/',
  environment: {},
  config: undefined,
  sessions: 4,
  measureMs: 100,
  hangLimitMs: 30_000,
};

/** lastmile.yaml around what doctor recommends. */
function configured(recommended: string | undefined) {
  const text = `version: 1
profile: development
trust_domain: example.org
trust_bundle: bundle.pem
broker: { certificate: broker.pem, key: broker.key }
administrators: ["spiffe://example.org/operator/alice"]
policy: policy.yaml
state: state
audit: { directory: audit, origin: example.org/lastmile }
${recommended ?? ''}`;
  return parseConfig(new TextEncoder().encode(text), { file: '/etc/lastmile/lastmile.yaml' });
}

describe('lastmile doctor on SoftHSM', () => {
  let module: SoftHsm;
  beforeAll(() => {
    module = startSoftHsm(roleUsers().worker(999));
  });
  afterAll(() => module?.stop());

  const options = (more: Partial<DoctorOptions> = {}): DoctorOptions => ({
    ...OPTIONS,
    label: 'first',
    directory: module.directory,
    environment: { SOFTHSM2_CONF: 'softhsm2.conf' },
    ...more,
  });
  const pinFile = () => join(module.directory, 'pin');

  it('lists what is there without a PIN, and tries nothing', async () => {
    const report = await diagnose(options({ label: undefined }));
    expect(report).toMatchObject({
      profile: { name: 'softhsm2', chosen: 'recognised' },
      examined: undefined,
      silentSlots: [],
    });
    const tokens = report.tokens.filter(({ initialised }) => initialised);
    expect(tokens.map(({ label }) => label).sort()).toEqual(['first', 'second']);
    expect(tokens[0]).toMatchObject({ pin: 'fine', maxSessions: undefined });
    const ecdsa = tokens[0]?.mechanisms.find(({ name }) => name === 'CKM_ECDSA');
    expect(ecdsa?.uses).toEqual(['sign', 'verify']);
  });

  it('finds out by doing it what works, measures, and leaves nothing on the token', async () => {
    const report = await diagnose(options({ pinFile: pinFile() }));
    const { examined } = report;
    expect(examined).toMatchObject({ login: 'accepted', end: 'done', sessions: { opened: 4 } });
    expect(examined?.algorithms.map(({ algorithm }) => algorithm)).toEqual([...ALGORITHMS]);
    expect(examined?.algorithms.filter(({ works }) => !works)).toMatchObject([
      { algorithm: 'RSA-OAEP-256', why: expect.stringContaining('CKR_ARGUMENTS_BAD'), unexpected: false },
    ]);
    expect(examined?.loads.map(({ algorithm, sessions }) => `${algorithm} ${sessions}`)).toEqual(
      ['ES256', 'RS256'].flatMap((algorithm) => [1, 2, 4].map((sessions) => `${algorithm} ${sessions}`)),
    );
    for (const load of examined?.loads ?? []) {
      expect(load).toMatchObject({ wrong: 0, failed: 0 });
      expect(load.perSecond).toBeGreaterThan(0);
    }
    expect(holdCeremony(module, module.tokens[0]!, { make: 'count-objects' })).toBe('0');
  });

  it('recommends what the configuration takes, and what then serves', async () => {
    const { recommended } = await diagnose(options({ pinFile: pinFile() }));
    const [token] = configured(recommended).tokens;
    expect(token).toMatchObject({ name: 'first', profile: 'softhsm2', serial: module.tokens[0]?.serial });
    const opened = openToken(module, token!);
    expect(await opened.settles()).toBe('ready');
    await opened.adapter.close();
  });

  it('says where the profile is wrong about the module', async () => {
    const report = await diagnose(options({ pinFile: pinFile(), profile: 'nshield', measureMs: 20 }));
    const unexpected = report.examined?.algorithms.filter((one) => one.unexpected) ?? [];
    expect(unexpected.map(({ algorithm }) => algorithm)).toEqual(['HS256', 'HS384', 'HS512', 'RSA-OAEP-256']);
    expect(report.findings.join('\n')).toContain('HS256 works');
    expect(report.findings.join('\n')).toContain('never ran against a device');
  });

  it('spends one try on a wrong PIN, and says so', async () => {
    const wrong = join(module.directory, 'wrong-pin');
    writeFileSync(wrong, '8888888\n', { mode: 0o600 });
    const report = await diagnose(options({ label: 'second', pinFile: wrong }));
    expect(report.examined).toMatchObject({
      login: 'rejected',
      loginDetail: 'CKR_PIN_INCORRECT',
      algorithms: [],
    });
    const again = await diagnose(options({ label: 'second' }));
    expect(again.tokens.find(({ label }) => label === 'second')?.pin).toBe('wrong ones were tried');
  });

  it('names the tokens there are when the one asked for is not', async () => {
    await expect(diagnose(options({ label: 'nowhere' }))).rejects.toThrow(/label "first"/);
  });

  it('is a command, for people and for machines', () => {
    const run = (...args: string[]) =>
      spawnSync(
        process.execPath,
        [
          MAIN,
          'doctor',
          '--module',
          MODULE,
          '--env',
          'SOFTHSM2_CONF=softhsm2.conf',
          '--label',
          'first',
          ...args,
        ],
        { cwd: module.directory, encoding: 'utf8' },
      );
    const forPeople = run();
    expect(forPeople).toMatchObject({ status: 0, stderr: '' });
    expect(forPeople.stdout).toContain('profile:   softhsm2 (recognised)');
    expect(forPeople.stdout).toContain('a software token');
    const report = JSON.parse(run('--json').stdout) as DoctorReport;
    expect(report.module).toBe(MODULE);
    expect(report.tokens.length).toBeGreaterThan(1);
  });
});

describe('lastmile doctor on a configured token', () => {
  it('takes everything from lastmile.yaml, and runs as that token’s worker does', () => {
    const directory = ownDirectory('doctor-instance', undefined);
    const run = (...args: string[]) =>
      spawnSync(process.execPath, [MAIN, ...args], { cwd: directory, encoding: 'utf8' });
    const init = run('init', '--directory', directory, '--workloads-port', '0', '--control-port', '0');
    expect(init).toMatchObject({ status: 0 });
    const config = ['--config', 'lastmile.yaml'];
    const examined = run('doctor', ...config, '--token', 'a', '--sessions', '2', '--json');
    expect(examined).toMatchObject({ status: 0, stderr: '' });
    expect((JSON.parse(examined.stdout) as DoctorReport).examined).toMatchObject({
      token: 'lastmile-a',
      login: 'accepted',
      end: 'done',
    });
    const none = run('doctor', ...config, '--token', 'nowhere');
    expect(none).toMatchObject({ status: 2, stderr: expect.stringContaining('there are: a, b') });
    removeDirectory(directory);
  });
});

describe('lastmile doctor on NSS', () => {
  it('tells why its keys are not for production', async () => {
    const module = startNss(roleUsers().worker(999));
    const [{ directory, environment, pin }] = module.tokens as [(typeof module.tokens)[number]];
    const report = await diagnose({
      ...OPTIONS,
      module: module.tokens[0]!.module,
      label: 'NSS Certificate DB',
      directory,
      environment,
      pinFile: pin.kind === 'file' ? pin.path : undefined,
      measureMs: 20,
    });
    await module.stop();
    expect(report.profile.name).toBe('nss');
    expect(report.findings.join('\n')).toContain('refused in production');
    expect(report.examined?.algorithms.filter((one) => one.unexpected)).toEqual([]);
    // Its serial number is all zeros: the label is what tells it apart.
    expect(configured(report.recommended).tokens[0]).toMatchObject({ label: 'NSS Certificate DB' });
  });
});

describe('a module that misbehaves', () => {
  let directory: string;
  beforeAll(() => {
    directory = ownDirectory('doctor', roleUsers().worker(999));
  });
  afterAll(() => removeDirectory(directory));

  function build(name: string, body: string): string {
    const path = join(directory, `${name}.so`);
    const source = `#include <stdlib.h>\n#include <unistd.h>\nextern "C" unsigned long C_GetFunctionList(void **) { ${body} }\n`;
    const { status, stderr } = spawnSync('g++', ['-shared', '-fPIC', '-o', path, '-x', 'c++', '-'], {
      input: source,
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`g++: ${stderr}`);
    return path;
  }

  it.each([
    ['crashes', 'abort();', /crashed.*loading the module/],
    ['hangs', 'for (;;) pause();', /hung.*loading the module/],
    ['is none', 'return 6;', /CKR_FUNCTION_FAILED/],
  ])('costs one process when it %s, and is named', async (name, body, what) => {
    const module = build(name.replace(' ', '-'), body);
    await expect(diagnose({ ...OPTIONS, module, directory, hangLimitMs: 3_000 })).rejects.toThrow(what);
  });

  it('is named when it is not there at all', async () => {
    const module = join(directory, 'absent.so');
    await expect(diagnose({ ...OPTIONS, module, directory })).rejects.toThrow(/absent\.so/);
  });
});
