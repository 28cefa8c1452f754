import { createHash, generateKeyPairSync } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { Person, petition } from '../../test/fakes/approval-fixture.ts';
import { CommandLine } from '../../test/fakes/command-line.ts';
import { type Act, actDocument, approvalId } from '../approvals/act.ts';
import { signatureDigest, verifyVote } from '../approvals/vote-signature.ts';
import { checkVote, citedApproval } from './audit-approvals.ts';

const sha256 = (text: string): string => createHash('sha256').update(text).digest('base64url');
const ACT: Act = {
  v: 1,
  origin: 'log.example.org/test',
  requester: petition().requester,
  operation: 'sign',
  key: 'treasury/settlement',
  version: 0,
  algorithm: 'ES256',
  content: petition('pay 100').content,
  rule: 'treasury-moves-funds',
  authority: sha256('authority'),
  notBefore: '2026-03-01T12:00:00Z',
  notAfter: '2026-03-01T12:15:00Z',
  uses: 1,
  nonce: 'AAAAAAAAAAAAAAAAAAAAAA',
};
const DOCUMENT = actDocument(ACT);
const ID = approvalId(DOCUMENT);

let shell: CommandLine;
beforeAll(async () => {
  shell = await CommandLine.start();
});
afterAll(() => shell.stop());
beforeEach(() => shell.forgetWhatWas());

const approval = (more: object = {}) => ({
  approval: {
    id: ID,
    state: 'open',
    act: DOCUMENT,
    approvals: 1,
    approvalsNeeded: 2,
    groups: ['treasury'],
    ...more,
  },
});

describe('approvals', () => {
  it('show prints the act as a person reads it, or the very bytes that are signed', async () => {
    shell.answers('Get', approval());
    const { out } = await shell.run(['approvals', 'show', ID]);
    expect(out).toContain('  | pay 100\n');
    expect(out).toContain('1 of 2');
    expect((await shell.run(['approvals', 'show', ID, '--signing-input'])).out).toBe(DOCUMENT);
  });

  it.each([
    ['another act', actDocument({ ...ACT, key: 'treasury/other' })],
    ['an act with something in it that is not shown', DOCUMENT.replace('{', '{"also":1,')],
    ['no act', 'null'],
  ])('show and approve stop at a broker that sends %s', async (_what, act) => {
    shell.answers('Get', approval({ act }));
    shell.answers('Approve', approval());
    writeFileSync(
      shell.path('key.pem'),
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );
    for (const argv of [
      ['show', ID],
      ['approve', ID, '--yes', '--jws-key', 'key.pem'],
    ]) {
      const run = await shell.run(['approvals', ...argv]);
      expect([run.code, run.err]).toEqual([
        4,
        expect.stringContaining('another act than the one of this id'),
      ]);
    }
  });

  it.each([
    ['ed25519', generateKeyPairSync('ed25519')],
    ['P-256', generateKeyPairSync('ec', { namedCurve: 'P-256' })],
    ['P-521', generateKeyPairSync('ec', { namedCurve: 'P-521' })],
    ['RSA', generateKeyPairSync('rsa', { modulusLength: 2048 })],
  ])('approve signs what was shown: %s, as PEM and as JWK', async (_kind, { publicKey, privateKey }) => {
    shell.answers('Get', approval());
    const key = { method: 'jws', publicKey: JSON.stringify(publicKey.export({ format: 'jwk' })) } as const;
    for (const text of [
      privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
      JSON.stringify(privateKey.export({ format: 'jwk' })),
    ]) {
      writeFileSync(shell.path('key'), text);
      shell.answers('Approve', approval({ approvals: 2, state: 'approved' }));
      const run = await shell.run(['approvals', 'approve', ID, '--yes', '--jws-key', 'key']);
      expect([run.code, run.out]).toEqual([0, expect.stringContaining('2 of 2')]);
      expect(run.err).toContain('pay 100');
      const signature = { method: 'jws', signature: shell.seen?.['jws'] as string } as const;
      expect(await verifyVote(signature, key, DOCUMENT, undefined)).toBeDefined();
    }
  });

  it('approve signs nothing that nobody was asked about, and nothing unread', async () => {
    shell.answers('Get', approval());
    shell.answers('Approve', approval());
    writeFileSync(
      shell.path('key'),
      generateKeyPairSync('ed25519').privateKey.export({ type: 'pkcs8', format: 'pem' }),
    );
    expect((await shell.run(['approvals', 'approve', ID, '--jws-key', 'key'])).code).toBe(2);
    expect((await shell.run(['approvals', 'approve', ID, '--yes'])).err).toContain('give one of');
    const attached = actDocument({ ...ACT, content: { kind: 'attached', sha256: sha256('long'), bytes: 4 } });
    const id = approvalId(attached);
    shell.answers('Get', approval({ id, act: attached }));
    const approve = ['approvals', 'approve', id, '--yes', '--jws-key', 'key'];
    expect((await shell.run(approve)).err).toContain('beside the act');
    writeFileSync(shell.path('read'), 'other');
    expect((await shell.run([...approve, '--attachment', 'read'])).code).toBe(4);
    shell.answers('GetAttachment', { content: Buffer.from('wrong') });
    expect((await shell.run(['approvals', 'show', id, '--attachment', 'read'])).code).toBe(4);
    expect(shell.seen).not.toHaveProperty('jws');
  });
});

describe('an entry that used an approval', () => {
  const entry = (more: object = {}) => ({
    kind: 'key-use',
    subject: ACT.requester,
    operation: 'sign',
    key: ACT.key,
    rule: ACT.rule,
    input: { kind: 'message', bytes: 7, sha256: sha256('pay 100') },
    ...more,
  });

  it('is one of what was approved, or is found out', async () => {
    const alice = new Person('alice');
    const signature = await alice.sign(DOCUMENT);
    const vote = (more: object = {}) => ({
      kind: 'approval',
      operation: 'Approvals.Approve',
      detail: { approval: ID, act: ACT, approver: 'alice', key: alice.key, signature, ...more },
    });
    const cited = { id: ID, votes: [5], signatures: [signatureDigest(signature)] };
    expect(citedApproval(entry({ inputs: { approval: { ...cited, use: 1 } } }))).toEqual(cited);
    const problem = async (used: object, voted: object): Promise<string | undefined> =>
      (await checkVote(used as never, cited, 0, voted as never)).problem;
    expect(await problem(entry(), vote())).toBeUndefined();
    const otherSignature = await alice.sign(actDocument({ ...ACT, uses: 2 }));
    for (const [used, voted, why] of [
      [entry({ subject: `${ACT.requester}2` }), vote(), 'another requester'],
      [entry({ key: 'treasury/other' }), vote(), 'another key'],
      [entry({ operation: 'sign-jwt' }), vote(), 'another operation'],
      [entry({ rule: 'other' }), vote(), 'another rule'],
      [entry({ input: { kind: 'message', bytes: 7, sha256: sha256('pay 101') } }), vote(), 'another content'],
      [entry(), vote({ act: { ...ACT, uses: 2 } }), 'another act'],
      [entry(), vote({ act: {} }), 'has no act'],
      [entry(), vote({ key: new Person('bob').key }), 'does not verify'],
      [entry(), vote({ signature: otherSignature }), 'another signature'],
      [entry(), { ...vote(), kind: 'key-use' }, 'is no approval'],
    ] as const)
      expect(await problem(used, voted)).toContain(why);
  });
});
