import { execFileSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { appendFile, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Page } from 'playwright-core';
import { afterAll, afterEach, beforeAll, beforeEach, expect, test } from 'vitest';
import type { LastmileClient } from '../../../broker/client/client.ts';
import type { OperatorClient } from '../../../broker/client/operator-client.ts';
import { type RunningInstance, startInstance } from '../../fakes/instance.ts';
import {
  BILLING,
  entries,
  issueSvid,
  operator,
  PAYMENTS,
  refusal,
  untilStatus,
  workload,
} from '../../fakes/instance-clients.ts';
import { approve, type InstancePerson, makePerson, reject } from '../../fakes/instance-people.ts';
import { enrol, openBrowser, type Visitor } from '../console/browser.ts';

/**
 * Approvals in a browser on a whole broker: `lastmile serve` with its processes and tokens, Chromium with a passkey,
 * the command line, and a workload that waits. The tests go on from each other.
 */
let instance: RunningInstance;
let browser: Awaited<ReturnType<typeof openBrowser>>;
let admin: OperatorClient;
let client: LastmileClient;
let bob: InstancePerson;
let carol: Visitor;
let origin: string;
const KEY = 'treasury/settlement';

/** Rules without carol's passkey: it is made on the page of enrolment, which the broker serves. */
const policyText = (bobs: string, carols = '') => `
  - id: treasury-moves-funds
    workloads: ["${PAYMENTS}"]
    keys: ["${KEY}"]
    operations: [sign]
    quorum: { approvals: ${carols === '' ? 1 : 2}, of: treasury, within: 15m, methods: [jws, webauthn] }
  - id: treasury-reads
    workloads: ["${PAYMENTS}", "${BILLING}"]
    keys: ["treasury/*"]
    operations: [verify]
approvers:
${bobs}${carols}
groups:
  treasury: [bob${carols === '' ? '' : ', carol'}]
`;

beforeAll(async () => {
  let base = '';
  instance = await startInstance({
    prepare: async (directory) => {
      bob = await makePerson(directory, 'bob');
      base = await readFile(join(directory, 'policy.yaml'), 'utf8');
      await appendFile(join(directory, 'policy.yaml'), policyText(bob.block));
      await issueSvid({ directory }, 'pages', {
        spiffeId: 'spiffe://example.org/lastmile/pages',
        dnsNames: ['localhost'],
      });
      await listenOn(directory, 0);
    },
  });
  origin = `https://localhost:${instance.pagesPort ?? 0}`;
  // The browser remembers this origin: after a restart the pages are where they were.
  await listenOn(instance.directory, instance.pagesPort ?? 0);
  browser = await openBrowser(readFileSync(join(instance.directory, 'pki', 'pages.crt'), 'utf8'));
  carol = await browser.visit('desktop');
  const { credentialId, publicKey } = await enrol(carol.page, origin, 'carol');
  const block = `  - { id: carol, keys: [{ method: webauthn, credentialId: ${credentialId}, publicKey: ${publicKey} }] }\n`;
  await connect();
  const before = (await admin.admin('GetStatus', {})).policyHash;
  await writeFile(join(instance.directory, 'policy.yaml'), base + policyText(bob.block, block));
  await untilStatus(admin, ({ policyHash }) => policyHash !== before);
  await admin.admin('CreateKey', { key: KEY, purpose: 'sign', algorithms: ['ES256'] });
  disconnect();
});
afterAll(async () => {
  await carol?.close();
  await browser?.close();
  await instance?.stop();
});
beforeEach(connect);
afterEach(disconnect);

async function listenOn(directory: string, port: number): Promise<void> {
  const file = join(directory, 'lastmile.yaml');
  const text = (await readFile(file, 'utf8')).replace(/^ {2}pages: .*\n/m, '');
  const pages = `  pages: { address: "127.0.0.1:${port}", name: localhost, certificate: pki/pages.crt, key: pki/pages.key }\n`;
  await writeFile(file, text.replace('listen:\n', `listen:\n${pages}`));
}

async function connect(): Promise<void> {
  admin = await operator(instance);
  client = await workload(instance, 'payments');
}

function disconnect(): void {
  admin.close();
  client.close();
}

async function again(): Promise<void> {
  disconnect();
  await instance.end();
  instance = await instance.serveAgain();
  await connect();
}

const input = (text: string) => ({
  key: KEY,
  algorithm: 'ES256',
  message: Buffer.from(text),
  signatureFormat: 'der' as const,
});
const WAITING = { waitForApproval: true, deadlineMs: 25_000 };

async function ask(text: string): Promise<string> {
  const { reason, metadata } = await refusal(client.sign(input(text)));
  expect(reason).toBe('APPROVAL_REQUIRED');
  return metadata['approval'] ?? '';
}

/** Anew, whoever was signed in before. */
async function signIn({ page, context }: Visitor, path: string): Promise<void> {
  await context.clearCookies();
  await page.goto(`${origin}/${path}`);
  await page.reload();
  await page.getByRole('button', { name: 'Sign in with a passkey' }).click();
  await page.locator('#person-name:visible').waitFor();
}

async function press(page: Page, button: string, then: string): Promise<void> {
  await page.getByRole('button', { name: button }).click();
  await page.getByText(then).waitFor();
}

/** With a tool that knows nothing of us. */
async function opensslVerifies(text: string, signature: Uint8Array): Promise<string> {
  const file = (name: string): string => join(instance.directory, name);
  const { pem } = await client.getPublicKey({ key: KEY });
  await writeFile(file('settlement.pem'), pem);
  await writeFile(file('message'), text);
  await writeFile(file('message.sig'), signature);
  return execFileSync('openssl', [
    ...['dgst', '-sha256', '-verify', file('settlement.pem'), '-signature', file('message.sig')],
    file('message'),
  ]).toString();
}

test('a workload waits; one agrees in a browser, one at the command line; openssl verifies what it gets', async () => {
  const text = 'pay 100 to DE02';
  const id = await ask(text);
  const waiting = client.sign(input(text), WAITING);
  await signIn(carol, `#${id}`);
  await carol.page.getByRole('heading', { name: `sign with ${KEY}` }).waitFor();
  const shown = (await carol.page.textContent('#approval-text')) ?? '';
  expect(shown).toContain(text);
  expect(shown).toContain(PAYMENTS);
  await press(carol.page, 'Approve with your passkey', 'Approved by you; others');
  expect(await ask(text)).toBe(id);
  expect(await approve(instance, bob, id)).toMatchObject({ code: 0 });
  const signed = await waiting;
  expect(await opensslVerifies(text, signed.signature)).toContain('Verified OK');

  const votes = await entries(admin, {
    kind: 'approval',
    operation: 'Approvals.Approve',
    decision: 'allow',
  });
  expect(votes.map(({ detail }) => detail?.['approver'])).toEqual(['bob', 'carol']);
  const leaves = votes.map(({ leaf }) => leaf).reverse();
  const used = (await entries(admin, { key: KEY, operation: 'sign', decision: 'allow' })).find(
    ({ leaf }) => leaf === signed.log.leafIndex,
  );
  expect(JSON.stringify(used)).toContain(`"id":"${id}"`);
  expect(JSON.stringify(used)).toContain(`"votes":[${leaves.join()}]`);
  // It served once.
  expect(await ask(text)).not.toBe(id);
});

test('a vote by passkey outlives a restart of the broker, and a sign-in does not', async () => {
  const text = 'pay 200 to DE02';
  const id = await ask(text);
  await signIn(carol, `#${id}`);
  await press(carol.page, 'Approve with your passkey', 'Approved by you; others');
  await again();
  expect(`https://localhost:${instance.pagesPort ?? 0}`).toBe(origin);
  expect(await ask(text)).toBe(id);
  await carol.page.goto(`${origin}/#${id}`);
  await carol.page.reload();
  await carol.page.getByRole('button', { name: 'Sign in with a passkey' }).waitFor();
  expect(await carol.page.locator('#approval-text').isVisible()).toBe(false);

  const waiting = client.sign(input(text), WAITING);
  expect(await approve(instance, bob, id)).toMatchObject({ code: 0 });
  expect(await opensslVerifies(text, (await waiting).signature)).toContain('Verified OK');
});

test('what was rejected at the command line ends in the browser and for who waits', async () => {
  const text = 'pay 300 to DE02';
  const id = await ask(text);
  await signIn(carol, `#${id}`);
  await press(carol.page, 'Approve with your passkey', 'Approved by you; others');
  const link = carol.page.locator(`a[href="#${id}"]`);
  await carol.page.goto(`${origin}/`);
  await link.waitFor();
  const waiting = refusal(client.sign(input(text), WAITING));
  expect(await reject(instance, bob, id, 'twice')).toMatchObject({ code: 0 });
  expect(await waiting).toMatchObject({
    reason: 'APPROVAL_REQUIRED',
    message: expect.stringContaining('rejected: twice'),
  });
  await carol.page.getByRole('button', { name: 'Look again' }).click();
  await link.waitFor({ state: 'detached' });
});

test('the pages speak to browsers, and the control listener to nobody without an X.509-SVID', async () => {
  const page = await browser.visit('desktop');
  try {
    // No approver: no list, whatever is asked for.
    await page.page.goto(origin);
    const status = await page.page.evaluate(async () => {
      const response = await fetch('/api/approvals', {
        method: 'POST',
        headers: { 'content-type': 'application/json' },
        body: '{}',
      });
      return response.status;
    });
    expect(status).toBe(401);
    await expect(page.page.goto(`https://localhost:${instance.controlPort}/`)).rejects.toThrow();
  } finally {
    await page.close();
  }
});
