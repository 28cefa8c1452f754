import { createHash, generateKeyPairSync, type KeyObject, randomBytes, sign } from 'node:crypto';
import type { Assertion } from '../../broker/approvals/passkey.ts';

/** A passkey without an authenticator: ES256. */
export interface Passkey {
  /** base64url. */
  readonly credentialId: string;
  /** COSE_Key, base64url. */
  readonly publicKey: string;
  readonly keys: { readonly publicKey: KeyObject; readonly privateKey: KeyObject };
}

export function makePasskey(): Passkey {
  const keys = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const { x = '', y = '' } = keys.publicKey.export({ format: 'jwk' });
  // {1: 2, 3: -7, -1: 1, -2: x, -3: y} in CBOR (RFC 9053, section 7.1).
  const cose = Buffer.concat([
    Buffer.from('a5010203262001215820', 'hex'),
    Buffer.from(x, 'base64url'),
    Buffer.from('225820', 'hex'),
    Buffer.from(y, 'base64url'),
  ]);
  return {
    credentialId: randomBytes(16).toString('base64url'),
    publicKey: cose.toString('base64url'),
    keys,
  };
}

export function passkeyAssertion(
  passkey: Passkey,
  of: {
    challenge?: Uint8Array;
    rpId?: string;
    origin?: string;
    flags?: number;
    counter?: number;
    type?: string;
    crossOrigin?: boolean;
  },
): Assertion {
  const { challenge = Buffer.alloc(32), rpId = '', origin = '', flags = 5, counter = 0 } = of;
  const clientData = Buffer.from(
    JSON.stringify({
      type: of.type ?? 'webauthn.get',
      challenge: Buffer.from(challenge).toString('base64url'),
      origin,
      crossOrigin: of.crossOrigin ?? false,
    }),
  );
  const tail = Buffer.alloc(5);
  tail.writeUInt8(flags, 0);
  tail.writeUInt32BE(counter, 1);
  const authenticatorData = Buffer.concat([createHash('sha256').update(rpId).digest(), tail]);
  const signed = Buffer.concat([authenticatorData, createHash('sha256').update(clientData).digest()]);
  return {
    credentialId: passkey.credentialId,
    authenticatorData: authenticatorData.toString('base64url'),
    clientDataJson: clientData.toString('base64url'),
    signature: sign('sha256', signed, passkey.keys.privateKey).toString('base64url'),
  };
}
