import { createHash, type KeyObject, sign } from 'node:crypto';
import { sshString } from '../../broker/approvals/ssh-wire.ts';

/** FIDO keys of OpenSSH without an authenticator (PROTOCOL.u2f). */
export interface SkPair {
  readonly publicKey: KeyObject;
  readonly privateKey: KeyObject;
}

function typeOf(publicKey: KeyObject): string {
  return publicKey.asymmetricKeyType === 'ed25519'
    ? 'sk-ssh-ed25519@openssh.com'
    : 'sk-ecdsa-sha2-nistp256@openssh.com';
}

function skBlob(publicKey: KeyObject, application: string): Buffer {
  const { x = '', y = '' } = publicKey.export({ format: 'jwk' });
  const body =
    publicKey.asymmetricKeyType === 'ed25519'
      ? [sshString(Buffer.from(x, 'base64url'))]
      : [
          sshString('nistp256'),
          sshString(
            Buffer.concat([Buffer.from([4]), Buffer.from(x, 'base64url'), Buffer.from(y, 'base64url')]),
          ),
        ];
  return Buffer.concat([sshString(typeOf(publicKey)), ...body, sshString(application)]);
}

/** As in authorized_keys. */
export function skPublicKey(publicKey: KeyObject, application: string): string {
  return `${typeOf(publicKey)} ${skBlob(publicKey, application).toString('base64')}`;
}

export function skSignature(
  { publicKey, privateKey }: SkPair,
  of: { application: string; namespace: string; message: string; flags: number; counter: number },
): string {
  const sha256 = (bytes: Uint8Array | string): Buffer => createHash('sha256').update(bytes).digest();
  const hashed = createHash('sha512').update(of.message).digest();
  const signed = Buffer.concat([
    Buffer.from('SSHSIG'),
    sshString(of.namespace),
    sshString(''),
    sshString('sha512'),
    sshString(hashed),
  ]);
  const tail = Buffer.alloc(5);
  tail.writeUInt8(of.flags, 0);
  tail.writeUInt32BE(of.counter, 1);
  const data = Buffer.concat([sha256(of.application), tail, sha256(signed)]);
  let made: Buffer;
  if (publicKey.asymmetricKeyType === 'ed25519') made = sign(null, data, privateKey);
  else {
    const raw = sign('sha256', data, { key: privateKey, dsaEncoding: 'ieee-p1363' });
    made = Buffer.concat([sshString(positive(raw.subarray(0, 32))), sshString(positive(raw.subarray(32)))]);
  }
  const signature = Buffer.concat([sshString(typeOf(publicKey)), sshString(made), tail]);
  const version = Buffer.from([0, 0, 0, 1]);
  const blob = Buffer.concat([
    Buffer.from('SSHSIG'),
    version,
    sshString(skBlob(publicKey, of.application)),
    sshString(of.namespace),
    sshString(''),
    sshString('sha512'),
    sshString(signature),
  ]);
  return `-----BEGIN SSH SIGNATURE-----\n${blob.toString('base64')}\n-----END SSH SIGNATURE-----\n`;
}

function positive(bytes: Buffer): Buffer {
  let start = 0;
  while (start < bytes.length - 1 && bytes[start] === 0) start++;
  const trimmed = bytes.subarray(start);
  return trimmed[0]! >= 0x80 ? Buffer.concat([Buffer.from([0]), trimmed]) : trimmed;
}
