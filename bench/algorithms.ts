import { createPublicKey, verify } from 'node:crypto';
import type { KeyPurpose, KeySpec } from '../hsm-adapters/adapter.ts';

/** What is measured. JOSE names. */
export const BENCH_ALGORITHMS = ['ES256', 'Ed25519', 'RS256', 'A256GCM'] as const;
export type BenchAlgorithm = (typeof BENCH_ALGORITHMS)[number];

export const KEY_OF: Readonly<
  Record<BenchAlgorithm, { readonly spec: KeySpec; readonly purpose: KeyPurpose }>
> = {
  ES256: { spec: { type: 'ec', curve: 'P-256' }, purpose: 'sign' },
  Ed25519: { spec: { type: 'ed25519' }, purpose: 'sign' },
  RS256: { spec: { type: 'rsa', modulusBits: 2048 }, purpose: 'sign' },
  A256GCM: { spec: { type: 'aes', bytes: 32 }, purpose: 'encrypt' },
};

/** What is signed. */
export const MESSAGE_BYTES = 64;
/** What is encrypted. */
export const PLAINTEXT_BYTES = 1024;
export const ASSOCIATED_DATA: Buffer = Buffer.from('bench associated');

/** ECDSA as r‖s. */
export function isGoodSignature(
  algorithm: Exclude<BenchAlgorithm, 'A256GCM'>,
  spki: Uint8Array,
  message: Uint8Array,
  signature: Uint8Array,
): boolean {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  return verify(
    algorithm === 'Ed25519' ? null : 'sha256',
    message,
    { key, dsaEncoding: 'ieee-p1363' },
    signature,
  );
}
