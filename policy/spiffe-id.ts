/**
 * SPIFFE IDs (SPIFFE-ID.md, sections 2 and 2.1 to 2.4): parsed once, by a strict grammar, never by `new URL`.
 */
export interface SpiffeId {
  /** The whole, as written: `spiffe://example.org/ns/payments/sa/api`. */
  readonly id: string;
  readonly trustDomain: string;
  /** Without the leading slash; empty for a trust domain's own ID. */
  readonly segments: readonly string[];
}

export class SpiffeIdError extends Error {
  override readonly name = 'SpiffeIdError';
}

export const MAX_SPIFFE_ID_BYTES = 2048;
const TRUST_DOMAIN = /^[a-z0-9._-]{1,255}$/;
const SEGMENT = /^[a-zA-Z0-9._-]+$/;

/** @throws SpiffeIdError that says what is wrong, quoting nothing of the input */
export function parseSpiffeId(id: string): SpiffeId {
  if (id.length > MAX_SPIFFE_ID_BYTES) throw new SpiffeIdError('longer than 2048 bytes');
  if (!id.startsWith('spiffe://')) throw new SpiffeIdError('scheme is not `spiffe`');
  const [trustDomain = '', ...segments] = id.slice('spiffe://'.length).split('/');
  if (!TRUST_DOMAIN.test(trustDomain)) {
    throw new SpiffeIdError('trust domain must be 1 to 255 of a-z, 0-9, dot, dash and underscore');
  }
  for (const segment of segments) {
    if (segment === '') throw new SpiffeIdError('path has an empty segment or a trailing slash');
    if (segment === '.' || segment === '..') throw new SpiffeIdError('path has a dot segment');
    if (!SEGMENT.test(segment))
      throw new SpiffeIdError('path has a character outside a-z, A-Z, 0-9, dot, dash, underscore');
  }
  return { id, trustDomain, segments };
}
