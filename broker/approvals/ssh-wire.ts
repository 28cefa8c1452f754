/**
 * SSH's binary encoding (RFC 4251, section 5) and its public keys, as far as approvals need them. Strict and bounded:
 * a length beyond the end, or anything after it, is an error.
 */
import { createPublicKey, type KeyObject } from 'node:crypto';

export class SshFormatError extends Error {
  override readonly name = 'SshFormatError';
}

export class SshReader {
  readonly #bytes: Buffer;
  #at = 0;

  constructor(bytes: Uint8Array) {
    this.#bytes = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  }

  raw(length: number): Buffer {
    if (length > this.#bytes.length - this.#at) throw new SshFormatError('is cut short');
    this.#at += length;
    return this.#bytes.subarray(this.#at - length, this.#at);
  }

  uint32(): number {
    return this.raw(4).readUInt32BE();
  }

  byte(): number {
    return this.raw(1)[0]!;
  }

  string(): Buffer {
    return this.raw(this.uint32());
  }

  text(): string {
    return this.string().toString('latin1');
  }

  /** A positive number, without leading zeros. */
  positive(maxBytes: number): Buffer {
    const bytes = this.string();
    if (bytes.length === 0 || bytes[0]! >= 0x80)
      throw new SshFormatError('has a number that is not positive');
    if (bytes[0] === 0 && (bytes.length === 1 || bytes[1]! < 0x80))
      throw new SshFormatError('has a number with leading zeros');
    const magnitude = bytes[0] === 0 ? bytes.subarray(1) : bytes;
    if (magnitude.length > maxBytes) throw new SshFormatError('has a number that is too long');
    return magnitude;
  }

  end(): void {
    if (this.#at !== this.#bytes.length) throw new SshFormatError('has something after its end');
  }
}

export function sshString(value: Uint8Array | string): Buffer {
  const bytes = Buffer.from(value as Uint8Array);
  const length = Buffer.alloc(4);
  length.writeUInt32BE(bytes.length);
  return Buffer.concat([length, bytes]);
}

export interface SshPublicKey {
  readonly type: SshKeyType;
  /** As it stands in authorized_keys after base64, and in signatures. */
  readonly blob: Buffer;
  readonly key: KeyObject;
  /** Of FIDO keys: what the authenticator was told that it signs for. */
  readonly application: string | undefined;
}

const CURVES = {
  'ecdsa-sha2-nistp256': { name: 'nistp256', crv: 'P-256', bytes: 32, hash: 'sha256' },
  'ecdsa-sha2-nistp384': { name: 'nistp384', crv: 'P-384', bytes: 48, hash: 'sha384' },
  'ecdsa-sha2-nistp521': { name: 'nistp521', crv: 'P-521', bytes: 66, hash: 'sha512' },
  'sk-ecdsa-sha2-nistp256@openssh.com': { name: 'nistp256', crv: 'P-256', bytes: 32, hash: 'sha256' },
} as const;

export type SshCurveType = keyof typeof CURVES;
export type SshKeyType = SshCurveType | 'ssh-ed25519' | 'sk-ssh-ed25519@openssh.com' | 'ssh-rsa';

export function sshCurve(type: SshCurveType): (typeof CURVES)[SshCurveType] {
  return CURVES[type];
}

/** @param line as in authorized_keys, without options @throws SshFormatError */
export function parseSshPublicKey(line: string): SshPublicKey {
  if (line.length > 8192) throw new SshFormatError('is too long for a public key');
  const [type, encoded] = line.trim().split(/\s+/);
  if (encoded === undefined || !/^[A-Za-z0-9+/]+={0,2}$/.test(encoded))
    throw new SshFormatError('is not a line of authorized_keys: type and base64');
  const key = parseSshKeyBlob(Buffer.from(encoded, 'base64'));
  if (key.type !== type) throw new SshFormatError('names another type than it holds');
  return key;
}

/** @throws SshFormatError */
export function parseSshKeyBlob(blob: Buffer): SshPublicKey {
  const reader = new SshReader(blob);
  const type = reader.text();
  let jwk: Record<string, string>;
  let application: string | undefined;
  switch (type) {
    case 'ssh-ed25519':
    case 'sk-ssh-ed25519@openssh.com': {
      const x = reader.string();
      if (x.length !== 32) throw new SshFormatError('is an Ed25519 key of another length than 32 bytes');
      jwk = { kty: 'OKP', crv: 'Ed25519', x: x.toString('base64url') };
      if (type !== 'ssh-ed25519') application = reader.text();
      break;
    }
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
    case 'sk-ecdsa-sha2-nistp256@openssh.com': {
      const { name, crv, bytes } = CURVES[type];
      if (reader.text() !== name) throw new SshFormatError('names another curve than its type');
      const point = reader.string();
      if (point[0] !== 4 || point.length !== 1 + 2 * bytes)
        throw new SshFormatError('has no uncompressed point of its curve');
      jwk = {
        kty: 'EC',
        crv,
        x: point.subarray(1, 1 + bytes).toString('base64url'),
        y: point.subarray(1 + bytes).toString('base64url'),
      };
      if (type === 'sk-ecdsa-sha2-nistp256@openssh.com') application = reader.text();
      break;
    }
    case 'ssh-rsa': {
      const e = reader.positive(8);
      const n = reader.positive(1024);
      if (n.length < 256) throw new SshFormatError('is an RSA key below 2048 bits');
      jwk = { kty: 'RSA', n: n.toString('base64url'), e: e.toString('base64url') };
      break;
    }
    default:
      throw new SshFormatError('is of a type that approvals do not take');
  }
  reader.end();
  try {
    return { type, blob, key: createPublicKey({ key: jwk, format: 'jwk' }), application };
  } catch (cause) {
    throw new SshFormatError('is no point of its curve', { cause });
  }
}
