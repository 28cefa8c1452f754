import type { ActContent } from '../approvals/act.ts';
import type { Petition } from '../approvals/approvals.ts';
import { canonicalize } from '../audit/canonical.ts';
import { sha256Text } from './algorithms.ts';
import type { Content } from './request-form.ts';

/** What approvers are shown of a request. */
export type Shown = Pick<Petition, 'content' | 'attachment'>;

/** As JSON; above it, approvers get the content beside the act. */
const MAX_SHOWN_BYTES = 16 * 1024;
/** The moment of a request is not what people agree to: asked for again a minute later it is the same act. */
const MOMENTS: Readonly<Record<string, readonly string[]>> = { x509: ['notBefore', 'notAfter'] };

/** A message, as text where it is text that a person can read; of a digest there is nothing to show. */
export function showContent({ kind, bytes }: Content): Shown {
  const sha256 = sha256Text(bytes);
  if (kind === 'digest') return { content: { kind: 'not-shown', sha256, bytes: bytes.length } };
  const text = readable(bytes);
  const content: ActContent | undefined =
    text === undefined ? undefined : { kind: 'message', text, sha256, bytes: bytes.length };
  if (content !== undefined && Buffer.byteLength(JSON.stringify(content)) <= MAX_SHOWN_BYTES)
    return { content };
  return { content: { kind: 'attached', sha256, bytes: bytes.length }, attachment: bytes };
}

/** What typed signing builds, but for the moment: a lifetime is there, and what it begins with is not. */
export function showFacts(type: string, content: object): Shown {
  const text = canonicalize(
    Object.fromEntries(
      Object.entries(content)
        .filter(([name]) => !(MOMENTS[type] ?? []).includes(name))
        .map(([name, value]) => [name, plain(value)]),
    ),
  );
  const sha256 = sha256Text(Buffer.from(text));
  const shown: ActContent = { kind: 'shown', type, text, sha256 };
  if (Buffer.byteLength(JSON.stringify(shown)) <= MAX_SHOWN_BYTES) return { content: shown };
  const attachment = Buffer.from(text);
  return { content: { kind: 'attached', sha256, bytes: attachment.length }, attachment };
}

/** Undefined for bytes that are no UTF-8, or that a terminal or a page would show otherwise than they are. */
export function readable(bytes: Uint8Array): string | undefined {
  try {
    const text = new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(bytes);
    // Control and format characters (bidirectional overrides among them), but for line ends and tabs.
    return /[^\P{C}\n\r\t]/u.test(text) ? undefined : text;
  } catch (error) {
    if (error instanceof TypeError) return undefined;
    throw error;
  }
}

/** Whole numbers of facts are bigints; beyond what JSON holds exactly they are marked, so that none is like a text. */
function plain(value: unknown): unknown {
  if (typeof value === 'bigint')
    return Number.isSafeInteger(Number(value)) ? Number(value) : { integer: value.toString() };
  if (value instanceof Date) return value.toISOString();
  if (Array.isArray(value)) return value.map(plain);
  if (typeof value === 'object' && value !== null)
    return Object.fromEntries(Object.entries(value).map(([name, member]) => [name, plain(member)]));
  return value;
}
