import { chmodSync, mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { ConfigError, type LastmileConfig, loadConfig, parseConfig } from './config.ts';

const BASE = `version: 1
profile: development
trust_domain: example.org
trust_bundle: bundle.pem
broker: { certificate: broker.pem, key: broker.key }
administrators: ["spiffe://example.org/operator/alice"]
policy: policy.yaml
state: state
audit: { directory: audit, origin: example.org/lastmile }
tokens:
  - { name: first, module: /usr/lib/softhsm/libsofthsm2.so, label: first, pin: { file: pin } }
`;
const PAGES = `listen:
  pages: { name: approvals.example.org, certificate: pages.pem, key: pages.key }
`;
const WEBHOOK = `courier:
  destinations:
    - name: chat
      webhook: { url: "https://chat.example.org/hook", secret: { file: secret } }
`;

const parsed = (text: string): LastmileConfig =>
  parseConfig(new TextEncoder().encode(text), { file: '/etc/lastmile/lastmile.yaml' });

function refusals(act: () => unknown): string {
  try {
    act();
  } catch (error) {
    if (error instanceof ConfigError) return error.message.replace(/^.*lastmile\.yaml:/gm, '');
    throw error;
  }
  return '';
}

function refused(text: string, line: string | RegExp, by: string | ((found: string) => string)): string {
  const changed = text.replace(line, typeof by === 'string' ? () => by : by);
  expect(changed).not.toBe(text);
  return refusals(() => parsed(changed));
}

describe('the pages', () => {
  it('are none by default, and on loopback when nothing else is said', () => {
    expect(parsed(BASE).listen.pages).toBeUndefined();
    expect(parsed(BASE + PAGES).listen.pages).toEqual({
      address: { host: '127.0.0.1', port: 7445 },
      name: 'approvals.example.org',
      publicPort: undefined,
      certificate: '/etc/lastmile/pages.pem',
      key: '/etc/lastmile/pages.key',
    });
  });

  it('are refused under an address in place of a name, and on a port that is taken', () => {
    expect(refused(BASE + PAGES, 'approvals.example.org', '"Approvals.example.org"')).toContain('lower case');
    expect(refused(BASE + PAGES, 'pages: {', 'pages: { address: "127.0.0.1:7444",')).toContain(
      'port 7444 is taken by `listen.control`',
    );
  });

  it('stay on loopback in development', () => {
    const message = refused(BASE + PAGES, 'pages: {', 'pages: { address: "0.0.0.0:7445",');
    expect(message).toMatch(/^13:21: .*loopback only/);
  });
});

describe('who is told', () => {
  it('is nobody by default, and everything when nothing else is said', () => {
    expect(parsed(BASE).courier).toBeUndefined();
    expect(parsed(BASE + WEBHOOK).courier).toEqual({
      giveUpAfterMs: 86_400_000,
      destinations: [
        {
          kind: 'webhook',
          name: 'chat',
          events: expect.arrayContaining(['approval.opened', 'emergency.used']),
          url: 'https://chat.example.org/hook',
          secretFile: '/etc/lastmile/secret',
          timeoutMs: 10_000,
        },
      ],
    });
    const hook = WEBHOOK.replace(/webhook:.*/, 'hook: [/usr/local/bin/page, --to, treasury]');
    expect(parsed(BASE + hook).courier?.destinations).toMatchObject([
      { kind: 'hook', command: ['/usr/local/bin/page', '--to', 'treasury'] },
    ]);
  });

  it.each<[string, string | RegExp, string, string]>([
    ['plain http', 'https:', 'http:', 'must begin with https://'],
    ['another scheme', 'https:', 'file:', 'must begin with https://'],
    ['a password in the address', '//chat', '//user:pw@chat', 'holds a secret'],
    ['a fragment', '/hook"', '/hook#x"', 'fragment'],
    ['no URL', '"https://chat.example.org/hook"', 'chat', 'is not a URL'],
    ['a secret itself', '{ file: secret }', 'whsec_abc', 'secret'],
    ['two places for the secret', '{ file: secret }', '{ file: a, credential: b }', 'exactly one of'],
    ['a program that is searched for', /webhook:.*/, 'hook: [page]', 'must be an absolute path'],
    ['a program that would be a variable', /webhook:.*/, 'hook: [/opt/a=b]', 'without `=`'],
    ['neither webhook nor hook', /webhook:.*/, 'timeout: 5s', 'exactly one of `webhook` and `hook`'],
    [
      'an event that there is not',
      'webhook:',
      'events: [approval.openned]\n      webhook:',
      'approval.opened',
    ],
    ['no event', 'webhook:', 'events: []\n      webhook:', 'events'],
  ])('is refused with %s', (_what, line, by, message) => {
    expect(refused(BASE + WEBHOOK, line, by)).toContain(message);
  });

  it('may be a receiver on this machine, in development', () => {
    expect(
      parsed(BASE + WEBHOOK.replace('https://chat.example.org', 'http://127.0.0.1:8080')).courier,
    ).toBeDefined();
    expect(
      refused(BASE + WEBHOOK, /profile: development|https:..chat.example.org/g, (found) =>
        found.startsWith('profile') ? 'profile: production' : 'http://127.0.0.1:8080',
      ),
    ).toContain('must begin with https://');
  });

  it('has one name each', () => {
    const twice = `${WEBHOOK}    - { name: chat, hook: [/bin/true] }\n`;
    expect(refusals(() => parsed(BASE + twice))).toContain('another destination is named');
  });
});

describe('what they refer to', () => {
  let directory: string;
  beforeEach(() => {
    directory = mkdtempSync(join(tmpdir(), 'lastmile-config-'));
    mkdirSync(join(directory, 'state'));
    for (const file of ['bundle.pem', 'broker.pem', 'policy.yaml', 'pages.pem'])
      writeFileSync(join(directory, file), '');
    for (const file of ['broker.key', 'pin', 'pages.key', 'secret'])
      writeFileSync(join(directory, file), '', { mode: 0o600 });
    writeFileSync(join(directory, 'lastmile.yaml'), BASE + PAGES + WEBHOOK);
  });
  afterEach(() => rmSync(directory, { recursive: true }));
  const load = (): string => refusals(() => loadConfig(join(directory, 'lastmile.yaml')));

  it('is taken when nobody else can read it', () => {
    expect(load()).toBe('');
  });

  it.each([
    ['pages.key', 'chmod 600'],
    ['secret', 'chmod 600'],
  ])('is refused when others can read %s', (file, advice) => {
    chmodSync(join(directory, file), 0o644);
    expect(load()).toContain(advice);
  });

  it.each(['pages.pem', 'pages.key', 'secret'])('is refused without %s', (file) => {
    rmSync(join(directory, file));
    expect(load()).toContain(`there is no file ${join(directory, file)}`);
  });

  it('is refused when others can change the program of a hook', () => {
    const program = join(directory, 'hook');
    writeFileSync(program, '#!/bin/sh\n');
    writeFileSync(
      join(directory, 'lastmile.yaml'),
      BASE + WEBHOOK.replace(/webhook:.*/, `hook: [${program}]`),
    );
    chmodSync(program, 0o755);
    expect(load()).toBe('');
    chmodSync(program, 0o775);
    expect(load()).toContain('can be changed by others');
  });
});
