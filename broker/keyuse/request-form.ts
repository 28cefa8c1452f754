/** What is wrong with the form of a request, in words for its caller; nothing here looks at keys, policy or tokens. */
import type { DigestedContent } from '../audit/entry.ts';
import { FACTS, parseAlgorithm, sha256Text } from './algorithms.ts';
import { RESERVED_PREFIX } from './key-proof.ts';

export const MAX_MESSAGE_BYTES = 1024 * 1024;
export const MAX_PLAINTEXT_BYTES = 64 * 1024;
export const MAX_ASSOCIATED_DATA_BYTES = 64 * 1024;

export interface Content {
  readonly kind: 'message' | 'digest';
  readonly bytes: Uint8Array;
}

export function isReservedInput(bytes: Uint8Array): boolean {
  return (
    bytes.length >= RESERVED_PREFIX.length &&
    RESERVED_PREFIX.equals(bytes.subarray(0, RESERVED_PREFIX.length))
  );
}

export function messageProblem(message: Uint8Array, advice: string): string | undefined {
  if (message.length === 0) return 'message is empty';
  if (message.length > MAX_MESSAGE_BYTES) return `message is over 1 MiB. ${advice}`;
  if (isReservedInput(message)) return 'message begins with a prefix that is reserved for proofs of keys';
  return undefined;
}

export function contentProblem(
  content: Content | undefined,
  algorithm: string,
  der: boolean,
): string | undefined {
  if (content === undefined) return 'neither message nor digest is given';
  const jose = parseAlgorithm(algorithm);
  if (jose === undefined || FACTS[jose].purpose !== 'sign')
    return 'algorithm is not one that signs: name it as JOSE does, such as ES256';
  const facts = FACTS[jose];
  if (der && facts.curve === undefined) return 'only ECDSA signatures have a DER form';
  if (content.kind === 'digest') {
    if (facts.hash === undefined) return `${jose} signs messages, not digests`;
    if (content.bytes.length !== facts.digestBytes)
      return `digest must be ${facts.digestBytes} bytes for ${jose}`;
    return undefined;
  }
  return messageProblem(
    content.bytes,
    facts.hash === undefined
      ? `${jose} takes the whole message: sign a digest or manifest of it as the message`
      : `Send its ${facts.hash.toUpperCase()} digest instead`,
  );
}

export function associatedDataProblem(bytes: Uint8Array): string | undefined {
  if (bytes.length > MAX_ASSOCIATED_DATA_BYTES) return 'associated data is over 64 KiB';
  if (isReservedInput(bytes))
    return 'associated data begins with a prefix that is reserved for proofs of keys';
  return undefined;
}

/** Messages and digests by SHA-256; a digest of another hash is not recorded as if it were one. */
export function describeContent(
  content: Content,
  hash: string | undefined,
  data: Uint8Array,
): DigestedContent {
  const { kind, bytes } = content;
  if (hash === 'sha256')
    return { kind, bytes: bytes.length, sha256: Buffer.from(data).toString('base64url') };
  return { kind, bytes: bytes.length, sha256: sha256Text(bytes) };
}
