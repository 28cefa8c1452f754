/** SSH signatures as `ssh-keygen -Y sign` makes them (OpenSSH, PROTOCOL.sshsig and PROTOCOL.u2f). */
import { constants, createHash, verify } from 'node:crypto';
import {
  parseSshKeyBlob,
  parseSshPublicKey,
  type SshCurveType,
  SshFormatError,
  type SshPublicKey,
  SshReader,
  sshCurve,
  sshString,
} from './ssh-wire.ts';

export interface Presence {
  /** The authenticator saw somebody touch it. */
  readonly userPresent: boolean;
  /** It knew who: a PIN, a finger. */
  readonly userVerified: boolean;
  /** Signatures that this authenticator or credential has made; 0: it does not count. */
  readonly counter: number;
}

const BEGIN = '-----BEGIN SSH SIGNATURE-----';
const END = '-----END SSH SIGNATURE-----';
const MAGIC = 'SSHSIG';
export const MAX_SSHSIG_BYTES = 4096;

interface SshSignature {
  readonly publicKey: Buffer;
  readonly namespace: string;
  readonly hash: 'sha256' | 'sha512';
  readonly algorithm: string;
  readonly signature: SshReader;
}

/** @throws SshFormatError */
function parseSshSignature(armored: string): SshSignature {
  if (armored.length > MAX_SSHSIG_BYTES) throw new SshFormatError('is too long for a signature');
  const lines = armored.trim().split(/\r?\n/);
  const body = lines.slice(1, -1);
  if (lines[0] !== BEGIN || lines.at(-1) !== END || body.length === 0)
    throw new SshFormatError('is not between BEGIN SSH SIGNATURE and END SSH SIGNATURE');
  const encoded = body.join('');
  const blob = Buffer.from(encoded, 'base64');
  // Node skips what is no base64: the same bytes must come out of what was read.
  if (blob.toString('base64') !== encoded) throw new SshFormatError('is not base64');
  const reader = new SshReader(blob);
  if (reader.raw(MAGIC.length).toString('latin1') !== MAGIC) throw new SshFormatError('is no SSH signature');
  if (reader.uint32() !== 1) throw new SshFormatError('is of another version than 1');
  const publicKey = reader.string();
  const namespace = reader.text();
  if (reader.string().length > 0) throw new SshFormatError('uses a reserved field');
  const hash = reader.text();
  if (hash !== 'sha256' && hash !== 'sha512')
    throw new SshFormatError('uses another hash than sha256 and sha512');
  const signature = new SshReader(reader.string());
  reader.end();
  return { publicKey, namespace, hash, algorithm: signature.text(), signature };
}

/**
 * Whether this enrolled key signed the message under the namespace; undefined when it did not. `presence` is there for
 * FIDO keys, which say it; others cannot.
 *
 * @throws SshFormatError for what is no signature at all, and for an enrolled key that is none
 */
export function verifySshSignature(
  armored: string,
  enrolled: string,
  namespace: string,
  message: Uint8Array,
): { readonly presence: Presence | undefined } | undefined {
  const parsed = parseSshSignature(armored);
  const key = parseSshPublicKey(enrolled);
  if (!parsed.publicKey.equals(key.blob) || parsed.namespace !== namespace) return undefined;
  const signed = Buffer.concat([
    Buffer.from(MAGIC),
    sshString(parsed.namespace),
    sshString(''),
    sshString(parsed.hash),
    sshString(createHash(parsed.hash).update(message).digest()),
  ]);
  return verifyBlob(key, parsed, signed);
}

/** SubjectPublicKeyInfo of the key that this signature says it is from. @throws SshFormatError */
export function sshSignatureKey(armored: string): Buffer {
  return parseSshKeyBlob(parseSshSignature(armored).publicKey).key.export({ type: 'spki', format: 'der' });
}

function verifyBlob(
  key: SshPublicKey,
  { algorithm, signature: reader }: SshSignature,
  signed: Buffer,
): { readonly presence: Presence | undefined } | undefined {
  const { type } = key;
  if (type === 'ssh-rsa') {
    // `ssh-rsa` as a signature algorithm is SHA-1.
    const hash = { 'rsa-sha2-256': 'sha256', 'rsa-sha2-512': 'sha512' }[algorithm];
    if (hash === undefined) throw new SshFormatError('is an RSA signature with another hash than SHA-2');
    const bytes = reader.string();
    reader.end();
    const length = Math.ceil((key.key.asymmetricKeyDetails?.modulusLength ?? 0) / 8);
    if (bytes.length > length) return undefined;
    const padded = Buffer.concat([Buffer.alloc(length - bytes.length), bytes]);
    const options = { key: key.key, padding: constants.RSA_PKCS1_PADDING };
    return verify(hash, signed, options, padded) ? { presence: undefined } : undefined;
  }
  if (algorithm !== type) throw new SshFormatError('is of another kind than its key');
  const bytes = reader.string();
  let presence: Presence | undefined;
  let data: Uint8Array = signed;
  if (key.application !== undefined) {
    const flags = reader.byte();
    const counter = reader.uint32();
    presence = { userPresent: (flags & 1) !== 0, userVerified: (flags & 4) !== 0, counter };
    const tail = Buffer.alloc(5);
    tail.writeUInt8(flags, 0);
    tail.writeUInt32BE(counter, 1);
    data = Buffer.concat([sha256(Buffer.from(key.application, 'latin1')), tail, sha256(signed)]);
  }
  reader.end();
  if (type === 'ssh-ed25519' || type === 'sk-ssh-ed25519@openssh.com') {
    return bytes.length === 64 && verify(null, data, key.key, bytes) ? { presence } : undefined;
  }
  const raw = fixedEcdsa(bytes, type);
  return verify(sshCurve(type).hash, data, { key: key.key, dsaEncoding: 'ieee-p1363' }, raw)
    ? { presence }
    : undefined;
}

/** Two numbers as SSH writes them, as r and s of fixed length. */
function fixedEcdsa(bytes: Buffer, type: SshCurveType): Buffer {
  const length = sshCurve(type).bytes;
  const reader = new SshReader(bytes);
  const fixed = (): Buffer => {
    const number = reader.positive(length);
    return Buffer.concat([Buffer.alloc(length - number.length), number]);
  };
  const raw = Buffer.concat([fixed(), fixed()]);
  reader.end();
  return raw;
}

function sha256(bytes: Uint8Array): Buffer {
  return createHash('sha256').update(bytes).digest();
}
