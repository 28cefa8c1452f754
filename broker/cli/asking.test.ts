import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { type Answer, refusal } from '../../test/fakes/fake-broker.ts';

const LOG = { origin: 'example.org/log', leafIndex: 7 };
type Message = Awaited<ReturnType<Answer>>;
const ID = '1f0c5a0ec3b1d96bd2f1c7e5a4c3b2a1';

/** Every verb of a workload that people may have to agree to, and what the broker would answer. */
const VERBS: readonly (readonly [string, readonly string[], Message])[] = [
  ['Sign', ['sign', 'a/key', 'input', '--algorithm', 'ES256'], { signature: Buffer.from('s') }],
  ['SignJwt', ['sign-jwt', 'a/key', 'input', '--lifetime', '1m'], { jwt: 'a.b.c' }],
  ['SignDsse', ['sign-dsse', 'a/key', 'input'], { envelope: Buffer.from('{}') }],
  [
    'SignCertificate',
    ['sign-certificate', 'a/key', '--profile', 'p', '--self'],
    { certificate: Buffer.from('c') },
  ],
  ['Encrypt', ['encrypt', 'a/key', 'input'], { ciphertext: Buffer.from('c') }],
  ['Decrypt', ['decrypt', 'a/key', 'input'], { plaintext: Buffer.from('p') }],
  ['Mac', ['mac', 'a/key', 'input'], { mac: Buffer.from('m') }],
];

let shell: CommandLine;
let seen: { readonly wait: unknown; readonly emergency: unknown }[];

beforeAll(async () => {
  shell = await CommandLine.start();
  writeFileSync(shell.path('input'), '{"aud": "x"}');
});
afterAll(() => shell.stop());
beforeEach(() => {
  shell.broker.answers.clear();
  seen = [];
});

function answer(method: string, ...answers: readonly (() => Message)[]): void {
  const next: Answer = (request) => {
    seen.push({ wait: request['waitForApproval'], emergency: request['emergency'] });
    return (answers[seen.length - 1] ?? answers.at(-1)!)();
  };
  shell.broker.answers.set(method, next);
}

const refuse = (message: string, more: Record<string, string>) => (): never => {
  throw refusal('APPROVAL_REQUIRED', 'no', message, more);
};
const needed = refuse('0 of 2 approvals are there', { approval: ID });
const stillOpen = refuse('not yet approved', { approval: ID, state: 'open' });
const run = (verb: readonly string[], ...more: readonly string[]) =>
  shell.run([...verb, '--as', 'payments', '--timeout', '3', ...more]);

describe.each(VERBS)('%s', (method, verb, result) => {
  const done = () => ({ ...result, version: 1, log: LOG });

  it('does not wait unless it is told to, and says which approval is missing', async () => {
    answer(method, needed);
    const { code, err } = await run(verb);
    expect(code).toBe(1);
    expect(err).toContain('APPROVAL_REQUIRED: 0 of 2 approvals are there');
    expect(err).toContain(`lastmile approvals show ${ID}`);
    expect(seen).toEqual([{ wait: false, emergency: false }]);
  });

  it('waits, also longer than the broker does', async () => {
    answer(method, needed, stillOpen, stillOpen, done);
    const { code, err } = await run(verb, '--wait-for-approval', '1m', '--emergency');
    expect([err, code]).toEqual([`waiting for the approval ${ID}\n`, 0]);
    const waiting = { wait: true, emergency: true };
    expect(seen).toEqual([{ wait: false, emergency: true }, waiting, waiting, waiting]);
  });

  it('asks for nothing again that was rejected', async () => {
    answer(method, needed, refuse('the approval is rejected: never heard of it', { approval: ID }));
    const { code, err } = await run(verb, '--wait-for-approval', '1m');
    expect(code).toBe(1);
    expect(err).toContain('rejected: never heard of it');
    expect(seen).toHaveLength(2);
  });
});

it('says the id to machines', async () => {
  answer('Sign', needed);
  const { err } = await run(VERBS[0]![1], '--json');
  expect(JSON.parse(err)).toMatchObject({ error: { reason: 'APPROVAL_REQUIRED', approval: ID } });
});

it('waits for no approval where none would help', async () => {
  answer('Sign', refuse('only a rule for emergencies lets them', {}));
  const { code, err } = await run(VERBS[0]![1], '--wait-for-approval', '1m');
  expect([code, seen.length]).toEqual([1, 1]);
  expect(err).not.toContain('waiting');
});

it('has no emergency for looking at a MAC', async () => {
  const { code, err } = await run(['mac', 'a/key', 'input', '--verify', 'input', '--emergency']);
  expect([code, err]).toEqual([2, expect.stringContaining('nobody is asked')]);
});
