import { createHash } from 'node:crypto';
import type { Content, LastmileClient } from '../client/client.ts';
import type { ByteSource } from './byte-source.ts';
import { CliError, EXIT } from './context.ts';

/** What the broker takes as a message. */
export const MAX_MESSAGE_BYTES = 1024 * 1024;
const PIECE_BYTES = 1024 * 1024;
const DIGEST_BYTES: Readonly<Record<string, number>> = { sha256: 32, sha384: 48, sha512: 64 };

function hashOf(algorithm: string): string | undefined {
  const size = /^(?:ES|RS|PS)(256|384|512)$/.exec(algorithm)?.[1];
  return size === undefined ? undefined : `sha${size}`;
}

/**
 * A message as the broker takes it: up to 1 MiB as it is, above that as its digest, which is computed here.
 *
 * @param isDigest the input is a digest already
 */
export async function signedContent(
  source: ByteSource,
  algorithm: string,
  isDigest: boolean,
): Promise<Content> {
  const hash = hashOf(algorithm);
  if (isDigest) {
    const digest = await source.read(MAX_MESSAGE_BYTES);
    const expected = hash === undefined ? undefined : DIGEST_BYTES[hash];
    if (expected === undefined) throw new CliError(EXIT.usage, `${algorithm} signs messages, not digests`);
    if (digest.length !== expected) {
      throw new CliError(
        EXIT.usage,
        `a digest for ${algorithm} has ${expected} bytes, this input has ${digest.length}`,
      );
    }
    return { digest };
  }
  if ((await source.peek(MAX_MESSAGE_BYTES + 1)).length <= MAX_MESSAGE_BYTES) {
    return { message: await source.read(MAX_MESSAGE_BYTES) };
  }
  if (hash === undefined) {
    throw new CliError(EXIT.usage, `the input is above 1 MiB, and ${algorithm} signs whole messages`, {
      advice: 'sign a digest of it as the message, or use an ECDSA or RSA key',
    });
  }
  const digest = createHash(hash);
  for (;;) {
    const piece = await source.read(PIECE_BYTES);
    if (piece.length === 0) return { digest: digest.digest() };
    digest.update(piece);
  }
}

/** The key's own algorithm, where it has just one. */
export async function soleAlgorithm(
  client: LastmileClient,
  key: string,
  version: number | undefined,
  given: string | undefined,
): Promise<string> {
  if (given !== undefined) return given;
  const { algorithms } = await client.getPublicKey({ key, ...(version === undefined ? {} : { version }) });
  if (algorithms.length === 1) return algorithms[0]!;
  throw new CliError(EXIT.usage, `\`${key}\` has more than one algorithm`, {
    advice: `choose with --algorithm: ${algorithms.join(', ')}`,
  });
}
