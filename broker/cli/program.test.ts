import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Command } from 'commander';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { refusal } from '../../test/fakes/fake-broker.ts';
import { BROKER_REASONS, CLIENT_REASONS, LastmileError } from '../client/errors.ts';
import type { CliContext } from './context.ts';
import { formatReport, reportOf } from './failure.ts';
import { printable, table } from './output.ts';
import { buildProgram } from './program.ts';

let shell: CommandLine;
beforeAll(async () => {
  shell = await CommandLine.start();
});
beforeEach(() => shell.broker.answers.clear());
afterAll(() => shell.stop());

function leaves(command: Command, path: string[] = []): { path: string; command: Command }[] {
  const below = command.commands.filter((c) => c.name() !== 'help');
  if (below.length === 0) return [{ path: path.join(' '), command }];
  return below.flatMap((c) => leaves(c, [...path, c.name()]));
}

describe('help', () => {
  const all = leaves(buildProgram({ env: {}, cwd: '/' } as unknown as CliContext));

  it('has every verb', () => {
    expect(all.map(({ path }) => path)).toEqual([
      'sign',
      'sign-jwt',
      'sign-certificate',
      'sign-dsse',
      'verify',
      'encrypt',
      'decrypt',
      'mac',
      'random',
      'public-key',
      'receipt',
      'status',
      'keys list',
      'keys usable',
      'keys show',
      'keys create',
      'keys import',
      'tokens list',
      'tokens status',
      'tokens drain',
      'tokens undrain',
      'tokens unblock',
      'freeze',
      'unfreeze',
      'freezes',
      'policy check',
      'policy test',
      'policy diff',
      'policy explain',
      'policy simulate',
      'policy suggest',
      'policy history',
      'policy show',
      'policy propose',
      'policy activate',
      'policy reload',
      'clock show',
      'clock accept',
      'audit list',
      'audit show',
      'audit verify',
      'audit checkpoint',
      'audit accept',
      'approvals list',
      'approvals show',
      'approvals approve',
      'approvals reject',
      'approvals watch',
      'approvals wait',
      'approvals withdraw',
      'approvals accept-state',
      'init',
      'serve',
      'demo',
      'doctor',
    ]);
  });

  it.each(all.map(({ path }) => path))('of %s has an example of itself, and ends with 0', async (path) => {
    const run = await shell.run([...path.split(' '), '--help']);
    expect(run).toMatchObject({ code: 0, err: '' });
    expect(run.out).toMatch(new RegExp(`\\nExamples?:\\n(.*\\n)*  lastmile ${path} ?`));
  });

  it.each(all.filter(({ path }) => !['init', 'serve', 'demo'].includes(path)).map(({ path }) => path))(
    'of %s offers --json',
    async (path) => {
      expect((await shell.run([...path.split(' '), '--help'])).out).toContain('--json');
    },
  );

  it('of the whole lists the exit codes', async () => {
    const run = await shell.run(['--help']);
    expect(run.code).toBe(0);
    expect(run.out).toMatchInlineSnapshot(`
      "Usage: lastmile [options] [command]

      Uses keys on HSMs as an attested workload, and operates the broker that stands before them.

      Options:
        -h, --help                              display help for command

      Workloads:
        sign [options] <key> [file]             sign a file
        sign-jwt [options] <key> [file]         sign a JWT of claims
        sign-certificate [options] <key> [csr]  sign an X.509 certificate
        sign-dsse [options] <key> [file]        sign a DSSE envelope, such as an in-toto statement
        verify [options] <key> [file]           verify a signature
        encrypt [options] <key> [file]          encrypt a file
        decrypt [options] <key> [file]          decrypt a file
        mac [options] <key> [file]              compute or verify an HMAC
        random [options] <bytes>                random bytes of a token's generator
        public-key [options] <key>              the public half of a key
        receipt [options] <leaf>                proof that an own use of a key is in the log

      Operators and auditors:
        status [options]                        how the broker is
        keys                                    list, show, create and import keys
        tokens                                  look at tokens, take them out of service, unblock them
        freeze [options] <kind> <subject>       the kill switch
        unfreeze [options] <kind> <subject>     lift a freeze
        freezes [options]                       what is frozen
        policy                                  check, test, compare, rehearse, activate the policy
        clock                                   what time the broker thinks it is
        audit                                   read and verify the log

      Approvers:
        approvals                               see and approve exactly one act

      The broker:
        init [options]                          make a development instance
        serve [options]                         run the broker
        demo [options]                          see it work
        doctor [options]                        find out what a PKCS#11 module can do

      Commands:
        help [command]                          display help for command

      Exit codes:
        0  done
        1  refused or failed; the reason is on standard error
        2  the command line, a file or a profile is wrong; nothing was sent
        3  no answer: the broker is away, or the answer came too late
        4  it does not verify: a signature, MAC, ciphertext, receipt or log

      "
    `);
  });
});

describe('usage errors end with 2 and say what is right', () => {
  it.each([
    [['signn'], 'unknown command'],
    [['sign'], "missing required argument 'key'"],
    [['sign', 'k', '--nonsense'], "unknown option '--nonsense'"],
    [['random', 'many', '--as', 'payments'], 'Give a whole number from 1 on.'],
    [
      ['freeze', 'planet', 'x', '--reason', 'r'],
      'Allowed choices are workload, key, token, trust-domain, credential, approver',
    ],
    [['freeze', 'key', 'x'], "required option '--reason <text>' not specified"],
    [['sign', 'k', '--timeout', '0'], 'Give seconds'],
    [['sign', 'k'], 'profiles of this instance: billing, payments'],
    [['sign', 'k', '--as', 'nobody'], 'profiles of this instance: billing, operator, payments'],
    [['sign', 'k', '--as', '../x'], 'is not the name of a profile'],
    [['sign', 'k', '--as', 'payments', '--instance', 'elsewhere'], 'make an instance with `lastmile init`'],
    [
      ['sign', 'k', 'no-such-file', '--as', 'payments', '--algorithm', 'ES256'],
      'cannot read `no-such-file`: ENOENT',
    ],
    [
      ['keys', 'import', 'k', '--purpose', 'sign', '--algorithm', 'ES256', '--token', 'a'],
      'exactly one of --cka-id, --label and --wrapped',
    ],
    [['audit', 'list', '--since', 'yesterday'], 'Give a time such as'],
    [['audit', 'verify', '--directory', '.'], 'without the verifier key'],
    [['audit', 'verify', '--verifier-key', 'nonsense'], 'not a verifier key'],
  ])('%j', async (argv, text) => {
    const run = await shell.run(argv);
    expect([run.code, run.out]).toEqual([2, '']);
    expect(run.err).toContain(text);
  });

  it('of a damaged profile name the file and the member', async () => {
    const file = join(shell.cwd, '.lastmile/client/odd.json');
    writeFileSync(file, '{"target": 7}');
    const run = await shell.run(['sign', 'k', '--as', 'odd']);
    expect(run.err).toContain(`error: ${file}: target: `);
    writeFileSync(file, '{');
    expect((await shell.run(['sign', 'k', '--as', 'odd'])).err).toContain(`${file} is not JSON`);
    writeFileSync(file, '{"target": 7}');
  });
});

describe('failures', () => {
  it.each([...BROKER_REASONS, ...CLIENT_REASONS])('%s is said with advice', (reason) => {
    const report = reportOf(new LastmileError(reason, 'what happened', { performed: 'no' }));
    expect(report?.advice).not.toBe('');
    const text = formatReport(report!);
    expect(text).toMatch(new RegExp(`^error: ${reason}: what happened\\nnext: .+\\n$`));
    expect([1, 3, 4]).toContain(report?.exitCode);
  });

  it('tell what was performed, and obey retry_after', () => {
    expect(
      formatReport(reportOf(new LastmileError('CONNECTION_LOST', 'x', { performed: 'unknown' }))!),
    ).toContain('whether the key was used is not known\n');
    expect(
      formatReport(reportOf(new LastmileError('AUDIT_UNAVAILABLE', 'x', { performed: 'yes' }))!),
    ).toContain('the key was used, and the result was withheld\n');
    const limited = new LastmileError('RATE_LIMITED', 'x', {
      performed: 'no',
      metadata: { retry_after: '3s' },
    });
    expect(formatReport(reportOf(limited)!)).toContain('next: try again in 3s\n');
  });

  it('of the broker reach standard error, as text and as JSON', async () => {
    shell.broker.answers.set('Sign', () => {
      throw refusal('POLICY_DENIED', 'no', 'denied by policy');
    });
    const argv = ['sign', 'billing/invoices', '--as', 'payments', '--algorithm', 'ES256'];
    const run = await shell.run(argv, { stdin: Buffer.from('x') });
    expect(run).toMatchObject({ code: 1, out: '' });
    expect(run.err).toMatch(/^error: POLICY_DENIED: denied by policy\nnext: ask the security team; /);
    const asJson = await shell.run([...argv, '--json'], { stdin: Buffer.from('x') });
    expect(JSON.parse(asJson.err)).toMatchObject({
      error: { reason: 'POLICY_DENIED', performed: 'no', message: 'denied by policy' },
    });
  });

  it('of an absent broker end with 3', async () => {
    const run = await shell.run(['status', '--control', '127.0.0.1:1']);
    expect(run.code).toBe(3);
    expect(run.err).toMatch(
      /^error: BROKER_UNREACHABLE: no broker answers at 127\.0\.0\.1:1: .*ECONNREFUSED/,
    );
  });

  it('that are bugs are not dressed up', async () => {
    expect(reportOf(new TypeError('x'))).toBeUndefined();
  });
});

describe('who to be', () => {
  it('is an operator on the control listener, unless named', async () => {
    let peer: string | undefined;
    shell.broker.answers.set('ListFreezes', (_request, call) => {
      peer = call.peerSpiffeId;
      return { freezes: [] };
    });
    expect((await shell.run(['freezes'])).out).toBe('nothing is frozen\n');
    expect(peer).toBe('spiffe://example.org/human/operator');
    await shell.run(['freezes', '--as', 'billing']);
    expect(peer).toBe('spiffe://example.org/ns/billing/sa/invoices');
    await shell.run(['freezes'], { env: { LASTMILE_AS: 'payments' } });
    expect(peer).toBe('spiffe://example.org/ns/payments/sa/api');
  });

  it('can be said in full, without any instance', async () => {
    shell.broker.answers.set('ListFreezes', () => ({ freezes: [] }));
    const pki = '.lastmile/pki';
    const run = await shell.run([
      'freezes',
      '--instance',
      'elsewhere',
      '--control',
      shell.broker.target,
      '--broker-id',
      'spiffe://example.org/lastmile/broker',
      '--certificate',
      `${pki}/operator.crt`,
      '--private-key',
      `${pki}/operator.key`,
      '--trust-bundle',
      `${pki}/ca.crt`,
    ]);
    expect(run).toMatchObject({ code: 0, out: 'nothing is frozen\n' });
  });
});

describe('serve, init and demo', () => {
  it('are called with absolute paths', async () => {
    await shell.run(['serve']);
    await shell.run(['serve', '--instance', 'x', '--config', 'y.yaml']);
    await shell.run(['init', '--directory', 'x', '--workloads-port', '0', '--control-port', '0']);
    await shell.run(['demo', '--once']);
    const at = (name: string): string => join(shell.cwd, name);
    expect(shell.calls).toEqual([
      { serve: at('.lastmile/lastmile.yaml') },
      { serve: at('y.yaml') },
      { init: { directory: at('x'), workloadsPort: 0, controlPort: 0 } },
      { demo: { directory: at('.lastmile'), once: true } },
    ]);
  });
});

describe('what is printed', () => {
  it('cannot command the terminal', () => {
    expect(printable('a\u001b[2Jb\u202ec\nd')).toBe('a\\u{1b}[2Jb\\u{202e}c\\u{a}d');
    expect(table(['A', 'B'], [['\u001b]0;x\u0007', 1]])).toBe('A                B\n\\u{1b}]0;x\\u{7}  1\n');
  });
});
