import { createHash } from 'node:crypto';
import { mkdirSync } from 'node:fs';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest';
import {
  ACT_DOMAIN,
  type Act,
  actDigest,
  actDocument,
  approvalId,
  type VoteSignature,
} from '../../../broker/approvals/act.ts';
import { verifyVote } from '../../../broker/approvals/vote-signature.ts';
import { ApproverPages } from '../../../broker/approvals/webauthn-pages.ts';
import { SignIns } from '../../../broker/approvals/webauthn-sign-in.ts';
import { originOfPages } from '../../../broker/gateway/edge-frames.ts';
import type { ApprovalDetail } from '../../../broker/proto/page-calls.ts';
import { readApproverKey } from '../../../policy/approver-key.ts';
import type { ApprovalPolicy, Approver } from '../../../policy/quorum.ts';
import { createTestPki } from '../../fakes/pki.ts';
import { brokerSvid, type FakeBroker, startFakeBroker } from '../../integration/gateway/edge.ts';
import { enrol, openBrowser, type Screen, type Visitor } from './browser.ts';

/** Pictures to look at are kept where this names a directory. */
const PICTURES = process.env['LASTMILE_TEST_PICTURES'];

let broker: FakeBroker;
let browser: Awaited<ReturnType<typeof openBrowser>>;
let origin: string;
let visitor: Visitor;
const approvers = new Map<string, Approver>();
const open = new Map<string, ApprovalDetail>();
const votes: { readonly approver: string; readonly id: string; readonly signature: VoteSignature }[] = [];
const rejections: (readonly [string, string, string])[] = [];
const attachment = Buffer.from('{"batch": 7, "payments": 2500}\n'.repeat(800));

beforeAll(async () => {
  const pki = await createTestPki({ trustDomain: 'example.org' });
  const { certificatePem: certificate, keyPem: key } = await brokerSvid(pki);
  const party = () => ({ id: 'localhost', origins: [origin] });
  const pages = new ApproverPages({
    signIns: new SignIns({
      policy: () => ({ approvers }) as unknown as ApprovalPolicy,
      isFrozen: () => false,
      party,
    }),
    desk: {
      list: () => [...open.values()],
      get: (_person, id) => open.get(id),
      attachment: (_person, id) => (open.get(id)?.hasAttachment === true ? attachment : undefined),
      approve: async ({ approver }, id, signature) => {
        votes.push({ approver, id, signature });
        const detail = open.get(id);
        if (detail !== undefined) open.set(id, { ...detail, approvals: 1, vote: 'approve' });
        return 'open';
      },
      reject: async ({ approver }, id, reason) => {
        rejections.push([approver, id, reason]);
        open.delete(id);
        return 'rejected';
      },
    },
    now: Date.now,
    log: () => undefined,
  });
  broker = await startFakeBroker(
    {
      role: 'control',
      pages: { host: '127.0.0.1', port: 0, name: 'localhost' },
      tls: { certificate, key, trustBundle: [pki.rootPem], pages: { certificate, key } },
    },
    1,
    pki,
    { onPage: (call) => pages.call(call), onPagesGone: () => pages.gatewayGone() },
  );
  origin = originOfPages('localhost', broker.gateway.pagesPort ?? 0);
  browser = await openBrowser(certificate);
});
afterAll(async () => {
  await browser.close();
  await broker.stop();
});
beforeEach(() => {
  approvers.clear();
  open.clear();
  votes.length = 0;
  rejections.length = 0;
});
afterEach(async () => {
  expect(visitor.complaints).toEqual([]);
  await visitor.close();
});

function ask(changes: Partial<Act> = {}, detail: Partial<ApprovalDetail> = {}): ApprovalDetail {
  const act: Act = {
    v: 1,
    origin: 'example.org/lastmile/1',
    requester: 'spiffe://example.org/ns/treasury/sa/settle',
    operation: 'sign',
    key: 'treasury/settlement',
    version: 1,
    algorithm: 'ES256',
    content: {
      kind: 'message',
      text: 'pay 1,250,000.00 EUR to DE89 3704 0044 0532 0130 00',
      sha256: createHash('sha256').update('x').digest('base64url'),
      bytes: 51,
    },
    rule: 'treasury-moves-funds',
    authority: createHash('sha256').update('rule').digest('base64url'),
    notBefore: '2026-11-21T08:00:00Z',
    notAfter: '2026-11-21T08:15:00Z',
    uses: 1,
    nonce: 'AAAAAAAAAAAAAAAAAAAAAA',
    ...changes,
  };
  const document = actDocument(act);
  const made: ApprovalDetail = {
    id: approvalId(document),
    operation: act.operation,
    key: act.key,
    requester: act.requester,
    rule: act.rule,
    notAfter: act.notAfter,
    approvals: 0,
    approvalsNeeded: 2,
    vote: 'none',
    isEmergency: false,
    state: 'open',
    text: [
      'sign with treasury/settlement, version 1, ES256',
      `asked by ${act.requester}`,
      'content, a message of 51 bytes:',
      '',
      '    pay 1,250,000.00 EUR to DE89 3704 0044 0532 0130 00',
      '',
      'once, until 2026-11-21T08:15:00Z',
    ].join('\n'),
    document,
    hasAttachment: false,
    canApprove: true,
    ...detail,
  };
  open.set(made.id, made);
  return made;
}

async function visitAsApprover(screen: Screen = 'desktop', id = 'ann'): Promise<void> {
  visitor = await browser.visit(screen);
  const { credentialId, publicKey } = await enrol(visitor.page, origin, id);
  approvers.set(id, {
    id,
    keys: [readApproverKey({ method: 'webauthn', credentialId, publicKey }).key],
    spiffeId: undefined,
    alsoRequestsAs: [],
  });
}

async function signIn(path = '/'): Promise<void> {
  await visitor.page.goto(`${origin}${path}`);
  await visitor.page.getByRole('button', { name: 'Sign in with a passkey' }).click();
}

async function picture(name: string): Promise<void> {
  if (PICTURES === undefined) return;
  mkdirSync(PICTURES, { recursive: true });
  await visitor.page.screenshot({ path: `${PICTURES}/${name}.png`, fullPage: true });
}

describe.each<Screen>(['phone', 'desktop'])('on a %s', (screen) => {
  test('an approver enrols, signs in, reads the act and approves it with the passkey', async () => {
    await visitAsApprover(screen);
    await picture(`${screen}-1-enrol`);
    const detail = ask();
    ask({ key: 'treasury/vault', nonce: 'BAAAAAAAAAAAAAAAAAAAAA' }, { isEmergency: true, approvals: 1 });

    await visitor.page.goto(origin);
    await visitor.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    expect(await visitor.page.textContent('body')).not.toContain('settlement');
    await picture(`${screen}-2-sign-in`);
    await visitor.page.getByRole('button', { name: 'Sign in with a passkey' }).click();
    await visitor.page.getByRole('heading', { name: 'Open approvals' }).waitFor();
    await picture(`${screen}-3-list`);
    await visitor.page.getByRole('link', { name: 'treasury/settlement' }).click();
    await visitor.page.getByRole('heading', { name: 'sign with treasury/settlement' }).waitFor();
    expect(await visitor.page.textContent('#approval-text')).toBe(detail.text);
    await picture(`${screen}-4-approval`);
    // Nothing sticks out at the side.
    expect(
      await visitor.page.evaluate(
        () => document.documentElement.scrollWidth - document.documentElement.clientWidth,
      ),
    ).toBe(0);
    await visitor.page.getByRole('button', { name: 'Approve with your passkey' }).click();
    await visitor.page.getByText('Approved by you').waitFor();
    await picture(`${screen}-5-approved`);

    expect(votes).toHaveLength(1);
    const [vote] = votes;
    const key = approvers.get('ann')?.keys[0];
    if (vote === undefined || key === undefined) throw new Error('nobody has voted');
    expect([vote.approver, vote.id]).toEqual(['ann', detail.id]);
    const party = { id: 'localhost', origins: [origin] };
    expect(await verifyVote(vote.signature, key, detail.document, party)).toMatchObject({
      presence: { userPresent: true, userVerified: true },
    });
    const other = actDocument({ ...(JSON.parse(detail.document) as Act), uses: 2 });
    expect(await verifyVote(vote.signature, key, other, party)).toBeUndefined();
  });
});

describe('the page', () => {
  test('rejects with a reason, by keyboard alone', async () => {
    await visitAsApprover();
    const detail = ask();
    const { page } = visitor;
    await page.goto(`${origin}/#${detail.id}`);
    await page.getByRole('heading', { name: 'Sign in' }).waitFor();
    const press = async (key: string, until: () => Promise<boolean>) => {
      for (let i = 0; i < 20 && !(await until()); i++) await page.keyboard.press(key);
    };
    const focused = (id: string) => () => page.evaluate((name) => document.activeElement?.id === name, id);
    await press('Tab', focused('sign-in'));
    await page.keyboard.press('Enter');
    // The link led to the approval, by way of the sign-in.
    await page.getByRole('heading', { name: 'sign with treasury/settlement' }).waitFor();
    await press('Tab', focused('reason'));
    await page.keyboard.type('not in the plan');
    await page.keyboard.press('Tab');
    await page.keyboard.press('Enter');
    await page.getByText('Rejected.').waitFor();
    expect(rejections).toEqual([['ann', detail.id, 'not in the plan']]);
    expect(await page.getByText('Nobody is waiting for you.').isVisible()).toBe(true);
  });

  test('shows what is asked for as text, never as markup', async () => {
    await visitAsApprover();
    const text = '<img src=x onerror="document.title=1"><b>bold</b> & "quoted"';
    ask({ requester: text }, { text });
    await signIn();
    await visitor.page.getByRole('link').filter({ hasText: 'treasury/settlement' }).click();
    await visitor.page.locator('#approval-text', { hasText: 'quoted' }).waitFor();
    expect(await visitor.page.textContent('#approval-text')).toBe(text);
    expect(await visitor.page.locator('main img, main b').count()).toBe(0);
    expect(await visitor.page.title()).toBe('Lastmile approvals');
  });

  test('computes what the passkey signs from the document on display', async () => {
    await visitAsApprover();
    const detail = ask();
    await signIn(`/#${detail.id}`);
    await visitor.page.getByText('The document that your passkey signs').click();
    expect(await visitor.page.textContent('#approval-document')).toBe(detail.document);
    expect(await visitor.page.textContent('#approval-digest')).toBe(
      actDigest(detail.document).toString('hex'),
    );
    expect(actDigest(detail.document)).toEqual(
      createHash('sha256')
        .update(ACT_DOMAIN + detail.document)
        .digest(),
    );
  });

  test('fetches content beside the act, and compares it with the digest in the act', async () => {
    await visitAsApprover();
    const content = (bytes: Buffer): Act['content'] => ({
      kind: 'attached',
      sha256: createHash('sha256').update(bytes).digest('base64url'),
      bytes: bytes.length,
    });
    const fine = ask({ content: content(attachment) }, { hasAttachment: true });
    const changed = ask({ content: content(Buffer.from('another')), nonce: 'C' }, { hasAttachment: true });
    await signIn(`/#${fine.id}`);
    await visitor.page.getByRole('button', { name: 'Fetch the content' }).click();
    await visitor.page.getByText('their SHA-256 is the one in the act').waitFor();
    expect(await visitor.page.textContent('#attachment-text')).toBe(attachment.toString('utf8'));
    const download = visitor.page.waitForEvent('download');
    await visitor.page.getByRole('link', { name: 'Save the content' }).click();
    expect((await download).suggestedFilename()).toBe(`content-of-${fine.id}.bin`);
    await visitor.page.goto(`${origin}/#${changed.id}`);
    await visitor.page.getByRole('heading', { name: 'sign with' }).waitFor();
    await visitor.page.getByRole('button', { name: 'Fetch the content' }).click();
    await visitor.page.getByText('not the content of this act').waitFor();
  });

  test('says why nothing happened when the authenticator does not recognise its user', async () => {
    await visitAsApprover();
    const detail = ask();
    await signIn(`/#${detail.id}`);
    await visitor.page.getByRole('button', { name: 'Approve with your passkey' }).waitFor();
    await visitor.recognise(false);
    await visitor.page.getByRole('button', { name: 'Approve with your passkey' }).click();
    await visitor.page.getByText('the passkey was not used').waitFor();
    expect(votes).toEqual([]);
  });

  test('lets nobody in with a passkey that was made and not enrolled', async () => {
    visitor = await browser.visit();
    await enrol(visitor.page, origin, 'mallory');
    ask();
    await signIn();
    await visitor.page.getByText('this passkey is not enrolled here').waitFor();
    expect(await visitor.page.textContent('main')).not.toContain('settlement');
  });

  test('keeps its secret from scripts, and forgets it at sign-out', async () => {
    await visitAsApprover();
    await signIn();
    await visitor.page.getByRole('heading', { name: 'Open approvals' }).waitFor();
    expect(await visitor.page.evaluate(() => document.cookie)).toBe('');
    const [cookie] = await visitor.context.cookies();
    expect(cookie).toMatchObject({
      name: '__Host-lastmile-sign-in',
      httpOnly: true,
      secure: true,
      sameSite: 'Strict',
      path: '/',
      expires: -1,
    });
    await visitor.page.getByRole('button', { name: 'Sign out' }).click();
    await visitor.page.getByText('Signed out.').waitFor();
    expect(await visitor.context.cookies()).toEqual([]);
  });

  test('lets no script of anybody else run', async () => {
    await visitAsApprover();
    await visitor.page.goto(origin);
    await visitor.page.getByRole('heading', { name: 'Sign in' }).waitFor();
    const ran = await visitor.page.evaluate(async () => {
      const script = document.createElement('script');
      try {
        script.textContent = 'window.ran = true';
        document.body.append(script);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
      }
      return 'ran' in window;
    });
    expect(ran).toBe(false);
    expect(visitor.complaints.splice(0).join()).toContain('Trusted');
  });
});
