import { generateKeyPairSync, sign } from 'node:crypto';
import type { CheckpointSigner } from '../../broker/audit/publisher.ts';
import { formatVerifierKey, makeVerifierKey } from '../../broker/audit/tlog/note.ts';

/** A log's key in memory, where the product has one in an HSM. Counts what it signs. */
export function makeLogSigner(origin: string): CheckpointSigner & { readonly signed: string[] } {
  const { privateKey, publicKey } = generateKeyPairSync('ed25519');
  const raw = publicKey.export({ format: 'der', type: 'spki' }).subarray(-32);
  const signed: string[] = [];
  return {
    verifierKey: formatVerifierKey(makeVerifierKey(origin, raw)),
    signed,
    async sign(bytes) {
      signed.push(Buffer.from(bytes).toString());
      return sign(null, bytes, privateKey);
    },
  };
}
