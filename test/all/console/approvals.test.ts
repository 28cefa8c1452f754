import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import { type Act, actDocument, type VoteSignature } from '../../../broker/approvals/act.ts';
import type { Petition } from '../../../broker/approvals/approvals.ts';
import { verifyVote } from '../../../broker/approvals/vote-signature.ts';
import { parseConfig } from '../../../broker/config.ts';
import { Failure } from '../../../broker/keyuse/failure.ts';
import { type Outward, openOutward } from '../../../broker/main/outward.ts';
import { roleUsers } from '../../../hsm-adapters/frames/isolation.ts';
import { readApproverKey } from '../../../policy/approver-key.ts';
import type { ApproverKey } from '../../../policy/quorum.ts';
import { ApprovalFixture, petition, QUORUM, SETTLE, SshPerson } from '../../fakes/approval-fixture.ts';
import { createTestPki, type IssuedSvid, type TestPki } from '../../fakes/pki.ts';
import { type Receiver, startReceiver } from '../../integration/courier/receiver.ts';
import { brokerSvid, type FakeBroker, startFakeBroker } from '../../integration/gateway/edge.ts';
import { enrol, openBrowser, type Visitor } from './browser.ts';

/**
 * Approvals with everything that is between a person and the log: browser and passkey, gateway process, broker, courier
 * process and a receiver. Only the control gateway's other side and the log's storage are stand-ins.
 */
let pki: TestPki;
let svid: IssuedSvid;
let browser: Awaited<ReturnType<typeof openBrowser>>;
let fixture: ApprovalFixture;
let outward: Outward;
let gateway: FakeBroker;
let chat: Receiver;
let origin: string;
let visitors: Visitor[];

beforeAll(async () => {
  pki = await createTestPki({ trustDomain: 'example.org' });
  svid = await brokerSvid(pki);
  browser = await openBrowser(svid.certificatePem);
});
afterAll(() => browser.close());

beforeEach(async () => {
  visitors = [];
  chat = await startReceiver();
  const options: Record<string, unknown> = {};
  fixture = await ApprovalFixture.start(options);
  const { directory } = fixture;
  writeFileSync(join(directory, 'secret'), 'a secret of more than 24 bytes', { mode: 0o600 });
  writeFileSync(join(directory, 'pages.pem'), svid.certificatePem);
  writeFileSync(join(directory, 'pages.key'), svid.keyPem, { mode: 0o600 });
  const yaml = `version: 1
profile: development
trust_domain: example.org
trust_bundle: bundle.pem
broker: { certificate: broker.pem, key: broker.key }
administrators: ["spiffe://example.org/operator/alice"]
policy: policy.yaml
state: state
audit: { directory: audit, origin: example.org/lastmile }
listen:
  pages: { address: "127.0.0.1:0", name: localhost, certificate: pages.pem, key: pages.key }
courier:
  destinations:
    - { name: chat, webhook: { url: "${chat.url}", secret: { file: secret } } }
tokens:
  - { name: first, module: /lib/m.so, label: first, pin: { file: pin } }
`;
  const config = parseConfig(new TextEncoder().encode(yaml), { file: join(directory, 'lastmile.yaml') });
  outward = openOutward(config, roleUsers(), () => undefined);
  options['relyingParty'] = outward.party;
  options['notify'] = outward.notify;
  await fixture.restart();
  const pages = outward.pages({
    service: {
      list: (...of) => fixture.service.list(...of),
      get: (...of) => fixture.service.get(...of),
      attachment: (...of) => fixture.service.attachment(...of),
      approve: (...of) => fixture.service.approve(...of),
      reject: (...of) => fixture.service.reject(...of),
    },
    policy: () => fixture.policy,
    isFrozen: ({ id, spiffeId = '' }) => fixture.frozen.has(id) || fixture.frozen.has(spiffeId),
    now: () => fixture.now,
  });
  if (pages === undefined) throw new Error('there are no pages');
  gateway = await startFakeBroker(
    {
      role: 'control',
      pages: pages.configuration,
      tls: {
        certificate: svid.certificatePem,
        key: svid.keyPem,
        trustBundle: [pki.rootPem],
        pages: pages.tls,
      },
    },
    1,
    pki,
    pages,
  );
  const port = gateway.gateway.pagesPort ?? 0;
  outward.pagesListen(port);
  origin = `https://localhost:${port}`;
});
afterEach(async () => {
  for (const visitor of visitors) await visitor.close();
  await gateway.stop();
  await outward.close();
  await chat.stop();
  fixture.close();
});

/** A person's browser, with a passkey that the policy knows. */
async function passkeyOf(id: string, others: readonly ApproverKey[] = []): Promise<Page> {
  const visitor = await browser.visit(visitors.length === 0 ? 'phone' : 'desktop');
  visitors.push(visitor);
  const { credentialId, publicKey } = await enrol(visitor.page, origin, id);
  const { key } = readApproverKey({ method: 'webauthn', credentialId, publicKey });
  const before = fixture.approvers.get(id);
  if (before === undefined) throw new Error(`nobody is called ${id}`);
  fixture.approvers.set(id, { ...before, keys: [...others, key] });
  return visitor.page;
}

async function signIn(page: Page, url = origin): Promise<void> {
  await page.goto(url);
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.locator('#person-name:visible').waitFor();
}

async function ask(asked: Petition = petition()): Promise<string> {
  const failure: unknown = await fixture.service.take(asked).catch((error: unknown) => error);
  if (!(failure instanceof Failure) || failure.reason !== 'APPROVAL_REQUIRED') throw failure;
  return failure.metadata['approval'] ?? '';
}

async function press(page: Page, button: string, then: string): Promise<void> {
  await page.getByRole('button', { name: button }).click();
  await page.getByText(then).waitFor();
}

const documentOf = (id: string): string => fixture.service.get(id, { spiffeId: SETTLE })?.document ?? '';

test('three people agree, by SSH, JWS and passkey, and the log proves each of them', async () => {
  const page = await passkeyOf('carol');
  const ssh = new SshPerson(fixture.directory, 'bob-key');
  const bob = fixture.people[1];
  fixture.approvers.set('bob', {
    ...bob.approver,
    keys: [{ method: 'sshsig', publicKey: ssh.publicKey.split(' ').slice(0, 2).join(' ') }],
  });
  const asked = petition('pay 100 to DE02', {}, { approvals: 3 });
  const id = await ask(asked);

  // Carol is told, and follows the link.
  fixture.service.tick();
  await chat.until((received) => received.length > 0);
  expect(chat.received[0]?.notice).toMatchObject({
    type: 'approval.opened',
    data: { approval: id, needed: 3, url: `${origin}/#${id}` },
  });
  expect(chat.received[0]?.body).not.toContain('DE02');
  await signIn(page, String(chat.received[0]?.notice.data['url']));
  await page.getByRole('heading', { name: 'sign with treasury/settlement' }).waitFor();
  expect(await page.textContent('#approval-text')).toContain('pay 100 to DE02');
  await press(page, 'Approve with your passkey', 'Approved by you; others');
  await fixture.service.approve(id, 'bob', ssh.sign(documentOf(id)), bob.voter);
  const [alice] = fixture.people;
  await fixture.service.approve(id, 'alice', await alice.sign(documentOf(id)), alice.voter);

  const use = await fixture.service.take(asked);
  expect(use.votes).toHaveLength(3);
  const party = { id: 'localhost', origins: [origin] };
  const methods: string[] = [];
  for (const leafIndex of use.votes) {
    const { detail } = fixture.log.entries[leafIndex] ?? {};
    const signature = detail?.['signature'] as unknown as VoteSignature;
    const key = detail?.['key'] as unknown as ApproverKey;
    const act = detail?.['act'] as unknown as Act;
    methods.push(signature.method);
    expect(await verifyVote(signature, key, actDocument(act), party)).toBeDefined();
    expect(await verifyVote(signature, key, actDocument({ ...act, uses: 2 }), party)).toBeUndefined();
  }
  expect(methods.sort()).toEqual(['jws', 'sshsig', 'webauthn']);

  // It served once, for these bytes, by these people.
  expect(await ask(asked)).not.toBe(id);
  expect(await ask(petition('pay 101 to DE02', {}, { approvals: 3 }))).not.toBe(id);
});

test('a second passkey of the same person is no second person', async () => {
  const first = await passkeyOf('carol');
  const { keys = [] } = fixture.approvers.get('carol') ?? {};
  const second = await passkeyOf('carol', keys);
  const id = await ask();
  await signIn(first, `${origin}/#${id}`);
  // Read before the first vote: the button is still there.
  await signIn(second, `${origin}/#${id}`);
  await press(first, 'Approve with your passkey', 'Approved by you; others');
  await press(second, 'Approve with your passkey', 'another person is needed');
  expect(fixture.service.get(id, { spiffeId: SETTLE })?.approvals).toBe(1);
  expect(await ask()).toBe(id);
});

test('whoever is removed between is signed out at once, and counts no more', async () => {
  const page = await passkeyOf('carol');
  const id = await ask();
  await signIn(page, `${origin}/#${id}`);
  await press(page, 'Approve with your passkey', 'Approved by you; others');
  const [alice] = fixture.people;
  await fixture.service.approve(id, 'alice', await alice.sign(documentOf(id)), alice.voter);
  fixture.approvers.delete('carol');
  await press(page, 'Look again', 'Sign in with your passkey.');
  expect(await page.locator('#list-view').isVisible()).toBe(false);
  expect(await ask()).toBe(id);
});

test('whoever asks sees it and cannot approve it; others are not shown what is not for them', async () => {
  fixture.ownRequests = (approver) => approver === 'carol';
  const page = await passkeyOf('carol');
  const id = await ask();
  fixture.groups.set('board', new Set(['alice', 'bob']));
  const hidden = await ask(petition('for the board', {}, { groups: ['board'] }));
  await signIn(page);
  await page.getByRole('heading', { name: 'Open approvals' }).waitFor();
  expect(await page.getByRole('listitem').count()).toBe(1);
  await page.goto(`${origin}/#${id}`);
  await page.getByRole('heading', { name: 'sign with' }).waitFor();
  expect(await page.getByRole('button', { name: 'Approve with your passkey' }).isVisible()).toBe(false);
  await page.goto(`${origin}/#${hidden}`);
  await page.getByText('no such approval for you').waitFor();
});

test('a passkey’s answer serves for no other act, and for no sign-in', async () => {
  const page = await passkeyOf('carol');
  const [id, other] = [await ask(), await ask(petition('pay 999 to DE03'))];
  await signIn(page, `${origin}/#${id}`);
  const sent = page.waitForRequest((request) => request.url().endsWith('/api/approve'));
  await press(page, 'Approve with your passkey', 'Approved by you; others');
  const body = (await sent).postDataJSON() as Record<string, string>;
  const post = (name: string, changes: Record<string, string>) =>
    page.evaluate(
      async ([path, text]) => {
        const headers = { 'content-type': 'application/json' };
        const response = await fetch(`/api/${path}`, { method: 'POST', headers, body: text ?? '' });
        return [response.status, ((await response.json()) as { message: string }).message] as const;
      },
      [name, JSON.stringify({ ...body, ...changes })],
    );
  expect(await post('approve', { id: other })).toEqual([403, expect.stringContaining('not one of `carol`')]);
  expect(await post('approve', {})).toEqual([400, expect.stringContaining('another person')]);
  expect(await post('sign-in', {})).toEqual([403, expect.stringContaining('not enrolled')]);
  expect(fixture.service.get(other, { spiffeId: SETTLE })?.approvals).toBe(0);
});

test('a rejection is final, told to others, and its reason stays in the house', async () => {
  const page = await passkeyOf('carol');
  const id = await ask();
  await signIn(page, `${origin}/#${id}`);
  await page.getByLabel('Or reject it').fill('never heard of DE02');
  await press(page, 'Reject', 'Rejected.');
  fixture.service.tick();
  await chat.until((received) => received.some(({ notice }) => notice.type === 'approval.rejected'));
  expect(chat.received.map(({ body }) => body).join()).not.toContain('never heard');
  expect(fixture.service.get(id, { spiffeId: SETTLE })).toMatchObject({
    state: 'rejected',
    closedBy: 'carol',
    reason: 'never heard of DE02',
  });
});

test('rules that do not believe pages take no passkey', async () => {
  const page = await passkeyOf('carol');
  const id = await ask(petition('by command line alone', {}, { methods: ['sshsig', 'jws'] }));
  await signIn(page, `${origin}/#${id}`);
  await page.getByRole('heading', { name: 'sign with' }).waitFor();
  expect(QUORUM.methods).toContain('webauthn');
  expect(await page.getByRole('button', { name: 'Approve with your passkey' }).isVisible()).toBe(false);
});
