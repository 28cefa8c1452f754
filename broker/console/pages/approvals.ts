/**
 * The approvers' page: sign in, read, approve or reject. Runs in the browser.
 *
 * Nothing here decides anything. The challenge is computed here from the document that is on display, so that a passkey
 * cannot sign another document than the one the page was given; whether the text is that document's is the broker's
 * word, and a control gateway that was taken over can show a false page altogether.
 */
import type {
  ApprovalDetail,
  ApprovalList,
  ApprovalSummary,
  AttachedContent,
  PasskeyAssertion,
  SignedIn,
  SignInChallenge,
  VoteTaken,
} from '../../proto/page-calls.ts';
import { ask, element, fromBase64, passkeyTrouble, Refused, sha256, toBase64Url, toHex } from './wire.ts';

/** `ACT_DOMAIN` of broker/approvals/act.ts; a test compares the two. */
const ACT_DOMAIN = 'lastmile-act-v1\0';
const PASSKEY_TIMEOUT_MS = 120_000;

const views = {
  'sign-in': element('sign-in-view', HTMLElement),
  list: element('list-view', HTMLElement),
  approval: element('approval-view', HTMLElement),
};
const message = element('message', HTMLElement);

let signedIn: SignedIn | undefined;
let shown: ApprovalDetail | undefined;
let savedUrl = '';

function show(view: keyof typeof views): void {
  for (const [name, section] of Object.entries(views)) section.hidden = name !== view;
  element('person', HTMLElement).hidden = signedIn === undefined;
  element('person-name', HTMLElement).textContent = signedIn?.approver ?? '';
  // Whoever works by keyboard or by ear is taken to what has changed.
  views[view].querySelector('h1')?.focus();
}

function say(text: string): void {
  message.textContent = text;
}

/** Runs what a button or a link asked for; one at a time, and what it is refused is said. */
async function attempt(work: () => Promise<void>): Promise<void> {
  const buttons = [...document.querySelectorAll('button')].filter((button) => !button.disabled);
  for (const button of buttons) button.disabled = true;
  try {
    await work();
  } catch (error) {
    if (error instanceof Refused && error.reason === 'signed-out') {
      signedIn = undefined;
      shown = undefined;
      show('sign-in');
    }
    say(error instanceof Error ? error.message : String(error));
  } finally {
    for (const button of buttons) button.disabled = false;
  }
}

async function passkey(challenge: BufferSource, credentialIds: readonly string[]): Promise<PasskeyAssertion> {
  let credential: Credential | null;
  try {
    credential = await navigator.credentials.get({
      publicKey: {
        challenge,
        rpId: location.hostname,
        // Empty at sign-in: the device offers what it has, and nobody learns who is enrolled.
        allowCredentials: credentialIds.map((id) => ({ type: 'public-key', id: fromBase64(id) })),
        userVerification: 'required',
        timeout: PASSKEY_TIMEOUT_MS,
      },
    });
  } catch (error) {
    throw new Error(passkeyTrouble(error), { cause: error });
  }
  if (!(credential instanceof PublicKeyCredential)) throw new Error('the browser gave no passkey');
  const { authenticatorData, clientDataJSON, signature } =
    credential.response as AuthenticatorAssertionResponse;
  return {
    credentialId: toBase64Url(credential.rawId),
    authenticatorData: toBase64Url(authenticatorData),
    clientDataJson: toBase64Url(clientDataJSON),
    signature: toBase64Url(signature),
  };
}

async function signIn(): Promise<void> {
  const { challenge } = await ask<SignInChallenge>('sign-in-challenge', {});
  signedIn = await ask<SignedIn>('sign-in', await passkey(fromBase64(challenge), []));
  say('');
  await route();
}

async function signOut(): Promise<void> {
  await ask('sign-out', {});
  signedIn = undefined;
  shown = undefined;
  location.hash = '';
  show('sign-in');
  say('Signed out.');
}

async function showList(): Promise<void> {
  const list = await ask<ApprovalList>('approvals', {});
  signedIn = list;
  shown = undefined;
  element('list', HTMLUListElement).replaceChildren(...list.open.map(summaryItem));
  element('list-empty', HTMLElement).hidden = list.open.length > 0;
  show('list');
}

function summaryItem(approval: ApprovalSummary): HTMLLIElement {
  const item = document.createElement('li');
  const link = document.createElement('a');
  link.href = `#${approval.id}`;
  link.append(text('strong', what(approval)), text('span', `asked by ${approval.requester}`));
  link.append(text('span', facts(approval)));
  if (approval.isEmergency) {
    link.className = 'emergency';
    link.prepend(text('span', 'Emergency access', 'loud'));
  }
  item.append(link);
  return item;
}

function text(tag: string, content: string, className = ''): HTMLElement {
  const made = document.createElement(tag);
  made.textContent = content;
  made.className = className;
  return made;
}

function what({ operation, key }: ApprovalSummary): string {
  return key === '' ? operation : `${operation} with ${key}`;
}

function facts(approval: ApprovalSummary): string {
  const until = new Date(approval.notAfter).toLocaleString(undefined, {
    dateStyle: 'medium',
    timeStyle: 'long',
  });
  const vote =
    approval.vote === 'none' ? '' : ` · you have ${approval.vote === 'approve' ? 'approved' : 'rejected'} it`;
  return `${approval.approvals} of ${approval.approvalsNeeded} approvals · until ${until} · rule ${approval.rule}${vote}`;
}

async function showApproval(id: string): Promise<void> {
  const detail = await ask<ApprovalDetail>('approval', { id });
  shown = detail;
  element('approval-title', HTMLElement).textContent = what(detail);
  element('approval-facts', HTMLElement).textContent = `${detail.state} · ${facts(detail)}`;
  element('approval-text', HTMLElement).textContent = detail.text;
  element('approval-document', HTMLElement).textContent = detail.document;
  element('approval-digest', HTMLElement).textContent = toHex(await challengeOf(detail.document));
  element('attachment', HTMLElement).hidden = !detail.hasAttachment;
  element('attachment-digest', HTMLElement).textContent = '';
  element('attachment-text', HTMLElement).hidden = true;
  element('attachment-save', HTMLElement).replaceChildren();
  element('vote', HTMLElement).hidden = detail.state !== 'open' || detail.vote !== 'none';
  element('approve', HTMLButtonElement).hidden = !detail.canApprove;
  element('reason', HTMLTextAreaElement).value = '';
  show('approval');
}

function challengeOf(act: string): Promise<Uint8Array<ArrayBuffer>> {
  return sha256(new TextEncoder().encode(ACT_DOMAIN + act));
}

async function fetchAttachment(): Promise<void> {
  if (shown === undefined) return;
  const { content } = await ask<AttachedContent>('attachment', { id: shown.id });
  const bytes = fromBase64(content);
  const digest = toBase64Url(await sha256(bytes));
  const inAct = (JSON.parse(shown.document) as { content: { sha256?: string } }).content.sha256;
  if (inAct !== digest) throw new Error('what came is not the content of this act: do not approve it');
  element('attachment-digest', HTMLElement).textContent =
    `${bytes.length} bytes; their SHA-256 is the one in the act.`;
  const view = element('attachment-text', HTMLElement);
  view.textContent = readable(bytes);
  view.hidden = false;
  const save = document.createElement('a');
  save.textContent = 'Save the content';
  save.download = `content-of-${shown.id}.bin`;
  URL.revokeObjectURL(savedUrl);
  savedUrl = URL.createObjectURL(new Blob([bytes], { type: 'application/octet-stream' }));
  save.href = savedUrl;
  element('attachment-save', HTMLElement).replaceChildren(save);
}

/** As text where it is text without characters that hide or turn around others; otherwise as hexadecimal. */
function readable(bytes: Uint8Array): string {
  try {
    const decoded = new TextDecoder('utf-8', { fatal: true }).decode(bytes);
    if (!/[^\P{C}\n\t]/u.test(decoded)) return decoded;
  } catch (error) {
    if (!(error instanceof TypeError)) throw error;
  }
  return toHex(bytes).replace(/(.{64})/g, '$1\n');
}

async function approve(): Promise<void> {
  if (shown === undefined || signedIn === undefined) return;
  const { id, document: act } = shown;
  const assertion = await passkey(await challengeOf(act), signedIn.credentialIds);
  const { state } = await ask<VoteTaken>('approve', { id, ...assertion });
  await leave(state === 'open' ? 'Approved by you; others have to approve it too.' : `Approved: ${state}.`);
}

async function reject(): Promise<void> {
  if (shown === undefined) return;
  const reason = element('reason', HTMLTextAreaElement).value.trim();
  if (reason === '') throw new Error('say why: the requester and the log are told');
  await ask<VoteTaken>('reject', { id: shown.id, reason });
  await leave('Rejected.');
}

async function leave(text: string): Promise<void> {
  history.replaceState(null, '', '/');
  await showList();
  say(text);
}

/** The fragment names the approval on display: a link in a notification leads to it, by way of the sign-in. */
async function route(): Promise<void> {
  const id = location.hash.slice(1);
  const isList = id === '' || id === 'open';
  if (signedIn === undefined || isList) await showList();
  if (!isList) await showApproval(id);
}

function onClick(id: string, work: () => Promise<void>): void {
  element(id, HTMLButtonElement).addEventListener('click', () => {
    say('');
    void attempt(work);
  });
}

onClick('sign-in', signIn);
onClick('sign-out', signOut);
onClick('refresh', showList);
onClick('attachment-fetch', fetchAttachment);
onClick('approve', approve);
element('reject-form', HTMLFormElement).addEventListener('submit', (event) => {
  event.preventDefault();
  say('');
  void attempt(reject);
});
window.addEventListener('hashchange', () => {
  say('');
  void attempt(route);
});

// A reload within a sign-in goes on where it was; without one, this shows how to sign in.
void attempt(async () => {
  try {
    await route();
  } catch (error) {
    if (!(error instanceof Refused) || error.reason !== 'signed-out') throw error;
    show('sign-in');
  }
});
