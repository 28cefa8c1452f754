import { createHash } from 'node:crypto';
import { canonicalize } from '../audit/canonical.ts';

/**
 * What is approved: one canonical document (RFC 8785). Every approver is shown it and signs it, and the broker makes it
 * again from the actual request at the moment of use: an approval serves for nothing else.
 */
export interface Act {
  readonly v: 1;
  /** Origin of the broker's log: an approval for one deployment is none for another. */
  readonly origin: string;
  /** SPIFFE ID of who asks. */
  readonly requester: string;
  /** `sign`, `Admin.CreateKey`, `policy.activate`. */
  readonly operation: string;
  /** Key name; empty where there is none. */
  readonly key: string;
  /** Pinned version; 0: the one that is active at use. */
  readonly version: number;
  readonly algorithm: string;
  readonly content: ActContent;
  /** Id of the deciding rule. */
  readonly rule: string;
  /** SHA-256, base64url, of everything that gives the rule its meaning (`PolicySet.authorityOf`) and of the key's catalog entry. */
  readonly authority: string;
  /** RFC 3339, UTC, seconds. */
  readonly notBefore: string;
  readonly notAfter: string;
  readonly uses: number;
  /** 128 random bits, base64url: the same request asked again later is another act. */
  readonly nonce: string;
}

export type ActContent =
  /** Typed signing, a new key, a policy: everything that is signed or done, for people. At most 16 KiB as JSON. */
  | { readonly kind: 'shown'; readonly type: string; readonly text: string; readonly sha256: string }
  /** A message that is text: shown as it is. */
  | { readonly kind: 'message'; readonly text: string; readonly sha256: string; readonly bytes: number }
  /** Above 16 KiB, or no text: its digest; the content lies beside the act for approvers to fetch. */
  | { readonly kind: 'attached'; readonly sha256: string; readonly bytes: number }
  /** A bare digest, where the rule says `blind: true`. */
  | { readonly kind: 'not-shown'; readonly sha256: string; readonly bytes: number }
  /** A standing grant: whatever the rule allows. */
  | { readonly kind: 'any' };

/** Before the SHA-256 that passkeys sign; SSHSIG and JWS sign the document itself under a namespace and type of their own. */
export const ACT_DOMAIN = 'lastmile-act-v1\0';
/** Operation and algorithm of a standing grant. */
export const ANY = '*';
export const SSHSIG_NAMESPACE = 'lastmile-approval@v1';
export const JWS_TYPE = 'lastmile-approval+jws';

export type Vote = 'approve' | 'reject';

/** A signature as it was handed in, and as the log keeps it: anybody can check it again. */
export type VoteSignature =
  /** Armored SSH signature over the canonical act (PROTOCOL.sshsig). */
  | { readonly method: 'sshsig'; readonly signature: string }
  /** Compact JWS with detached payload (RFC 7797), or with the act as its payload. */
  | { readonly method: 'jws'; readonly signature: string }
  /** AuthenticatorAssertionResponse, base64url each; the challenge is the SHA-256 of domain and act. */
  | {
      readonly method: 'webauthn';
      readonly credentialId: string;
      readonly authenticatorData: string;
      readonly clientDataJson: string;
      readonly signature: string;
    };

export type ApprovalState = 'open' | 'approved' | 'rejected' | 'withdrawn' | 'expired' | 'used';

/** As JSON; longer content lies beside the act (`attached`). */
export const MAX_SHOWN_BYTES = 16 * 1024;
export const MAX_ATTACHMENT_BYTES = 1024 * 1024;
const MAX_DOCUMENT_BYTES = 24 * 1024;

/** Not an act, or not in canonical form. */
export class ActError extends Error {
  override readonly name = 'ActError';
}

/** The document: what SSHSIG and JWS sign, byte for byte, and what is shown. */
export function actDocument(act: Act): string {
  return canonicalize(act);
}

/** SHA-256 of domain and document: what passkeys sign, as their challenge. */
export function actDigest(document: string): Buffer {
  return createHash('sha256').update(ACT_DOMAIN).update(document).digest();
}

/** What people call an approval: the first 128 bits of its digest, in hex. Whoever has the document can check it. */
export function approvalId(document: string): string {
  return actDigest(document).subarray(0, 16).toString('hex');
}

/** `2026-11-21T08:00:00Z` of milliseconds; the fraction is cut. */
export function actTime(ms: number): string {
  return `${new Date(Math.floor(ms / 1000) * 1000).toISOString().slice(0, 19)}Z`;
}

const MEMBERS = [
  'algorithm',
  'authority',
  'content',
  'key',
  'nonce',
  'notAfter',
  'notBefore',
  'operation',
  'origin',
  'requester',
  'rule',
  'uses',
  'v',
  'version',
];
const CONTENT_MEMBERS: Readonly<Record<ActContent['kind'], string>> = {
  shown: 'kind,sha256,text,type',
  message: 'bytes,kind,sha256,text',
  attached: 'bytes,kind,sha256',
  'not-shown': 'bytes,kind,sha256',
  any: 'kind',
};
const TIME = /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\dZ$/;
const SHA256 = /^[A-Za-z0-9_-]{43}$/;

/**
 * Reads a document strictly: exactly the members of this version, in canonical form. What it does not know it does not
 * read, as nobody should sign what is not shown.
 *
 * @throws ActError
 */
export function parseAct(document: string): Act {
  if (Buffer.byteLength(document) > MAX_DOCUMENT_BYTES) throw new ActError('is too long for an act');
  let value: unknown;
  try {
    value = JSON.parse(document);
    if (canonicalize(value) !== document) throw new ActError('is not in canonical form');
  } catch (cause) {
    if (cause instanceof ActError) throw cause;
    throw new ActError('is not JSON', { cause });
  }
  if (!isAct(value)) throw new ActError('is not an act of version 1');
  return value;
}

/** @throws ActError: `parseAct` for an act that has been read already, such as one in an entry of the log */
export function actOf(value: unknown): Act {
  if (!isAct(value)) throw new ActError('is not an act of version 1');
  return value;
}

function isAct(value: unknown): value is Act {
  if (!isObject(value) || Object.keys(value).sort().join() !== MEMBERS.join()) return false;
  const texts = ['origin', 'requester', 'operation', 'key', 'algorithm', 'rule', 'authority', 'nonce'];
  return (
    value['v'] === 1 &&
    texts.every((name) => typeof value[name] === 'string') &&
    isMoment(value['notBefore']) &&
    isMoment(value['notAfter']) &&
    isWhole(value['version']) &&
    isWhole(value['uses']) &&
    value['uses'] >= 1 &&
    isContent(value['content'])
  );
}

function isContent(value: unknown): value is ActContent {
  if (!isObject(value) || typeof value['kind'] !== 'string') return false;
  const kind = value['kind'];
  if (!Object.hasOwn(CONTENT_MEMBERS, kind)) return false;
  if (Object.keys(value).sort().join() !== CONTENT_MEMBERS[kind as ActContent['kind']]) return false;
  if (kind === 'any') return true;
  return (
    typeof value['sha256'] === 'string' &&
    SHA256.test(value['sha256']) &&
    (value['bytes'] === undefined || isWhole(value['bytes'])) &&
    (value['text'] === undefined || typeof value['text'] === 'string') &&
    (value['type'] === undefined || typeof value['type'] === 'string')
  );
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0;
}

function isMoment(value: unknown): value is string {
  return typeof value === 'string' && TIME.test(value) && !Number.isNaN(Date.parse(value));
}

/** Why nobody can be asked to approve this content; undefined: they can. */
export function contentProblem(content: ActContent, attachment: Uint8Array | undefined): string | undefined {
  if (!isContent(content)) return 'its content has no digest';
  switch (content.kind) {
    case 'any':
    case 'not-shown':
      return undefined;
    case 'shown':
    case 'message': {
      if (Buffer.byteLength(JSON.stringify(content)) > MAX_SHOWN_BYTES)
        return 'its content is too long to be shown in the act';
      const isRight = sha256(Buffer.from(content.text)) === content.sha256;
      return isRight ? undefined : 'its content is not what its digest says';
    }
    case 'attached':
      if (attachment === undefined) return 'its content is not attached';
      if (attachment.length > MAX_ATTACHMENT_BYTES) return 'its content is over 1 MiB';
      return attachment.length === content.bytes && sha256(attachment) === content.sha256
        ? undefined
        : 'what is attached is not what its digest says';
    default:
      return content satisfies never;
  }
}

function sha256(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64url');
}

// A terminal and a page obey these: colours, line ends, text that runs from right to left.
const UNPRINTABLE = /[\p{C}\p{Zl}\p{Zp}]/gu;

/** Names and content come from others: what a person could not see is written out, as `\u{…}`. */
function visible(text: string): string {
  return text.replace(UNPRINTABLE, (character) => `\\u{${character.codePointAt(0)!.toString(16)}}`);
}

/** Every line of the content is marked as such, so that none of them can pass for a line of the act. */
function quoted(text: string): string[] {
  return text.split('\n').map((line) => `  | ${line.split('\t').map(visible).join('\t')}`);
}

/**
 * An act as a person reads it: everything that is in the document, from the document alone. Lines end in `\n`; nothing
 * in them is obeyed by a terminal.
 */
export function renderAct(act: Act): string {
  const { content } = act;
  const rows: (readonly [string, string])[] = [
    ['approval', approvalId(actDocument(act))],
    ['who asks', act.requester],
    ['for', act.operation === ANY ? 'everything that the rule allows' : act.operation],
    ...(act.key === ''
      ? []
      : [
          [
            'with key',
            `${act.key}, ${act.version === 0 ? 'the version active at use' : `version ${act.version}`}`,
          ] as const,
        ]),
    ...(act.algorithm === '' || act.algorithm === ANY ? [] : [['algorithm', act.algorithm] as const]),
    ['by rule', act.rule],
    ['how often', act.uses === 1 ? 'once' : `up to ${act.uses} times`],
    ['from', act.notBefore],
    ['until', act.notAfter],
    ['at broker', act.origin],
  ];
  const lines: string[] = [];
  switch (content.kind) {
    case 'any':
      rows.push(['content', 'ANY: a standing grant for whatever the rule allows']);
      break;
    case 'not-shown':
      rows.push(['content', `CONTENT NOT SHOWN: a bare digest of ${content.bytes} bytes`]);
      rows.push(['sha-256', content.sha256]);
      break;
    case 'attached':
      rows.push(['content', `attached, ${content.bytes} bytes: fetch and read it before you sign`]);
      rows.push(['sha-256', content.sha256]);
      break;
    case 'message':
      rows.push(['content', `text of ${content.bytes} bytes`], ['sha-256', content.sha256]);
      lines.push(...quoted(content.text));
      break;
    case 'shown':
      rows.push(['content', content.type], ['sha-256', content.sha256]);
      lines.push(...quoted(indented(content.text)));
      break;
    default:
      content satisfies never;
  }
  rows.push(['authority', act.authority], ['nonce', act.nonce]);
  const at = rows.findIndex(([name]) => name === 'sha-256') + 1;
  const text = rows.map(([name, value]) => `${`${name}:`.padEnd(12)}${visible(value)}`);
  if (lines.length > 0) text.splice(at, 0, ...lines);
  return `${text.join('\n')}\n`;
}

/** Typed content is JSON in one line: a person reads it in several. */
function indented(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), undefined, 2);
  } catch (error) {
    if (error instanceof SyntaxError) return text;
    throw error;
  }
}
