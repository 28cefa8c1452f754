/// <reference lib="esnext.typedarrays" />
/**
 * Keys that approvals are signed with, as people enrol them. What is read here says whether two of them are one and the
 * same: a person who enrols a key twice, under another name, in another format or as its negative, is still one person.
 */
import type { ApproverKey } from './quorum.ts';

/** What is wrong with an enrolled key, in words that follow its quoted name; nothing of the key is quoted. */
export class ApproverKeyError extends Error {
  override readonly name = 'ApproverKeyError';
}

export interface ReadApproverKey {
  /** As it is used from here on: without comments and without what does not belong to the key. */
  readonly key: ApproverKey;
  /** Equal for two keys that one private key can sign for. */
  readonly identity: string;
}

const MIN_RSA_BITS = 2048;
const MAX_RSA_BITS = 8192;

/** Every encoding of a point of small order, without its sign: signatures for it need no private key. */
const SMALL_ORDER: ReadonlySet<string> = new Set([
  '0'.repeat(64),
  `01${'0'.repeat(62)}`,
  `ec${'f'.repeat(60)}7f`,
  `ed${'f'.repeat(60)}7f`,
  `ee${'f'.repeat(60)}7f`,
  '26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05',
  'c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a',
]);

const COORDINATE_BYTES: ReadonlyMap<string, number> = new Map([
  ['P-256', 32],
  ['P-384', 48],
  ['P-521', 66],
]);

/** COSE_Key labels (RFC 9053, section 7). */
const COSE = { kty: 1, alg: 3, crv: -1, x: -2, y: -3, n: -1, e: -2 } as const;

/** @throws ApproverKeyError */
export function readApproverKey(key: ApproverKey): ReadApproverKey {
  switch (key.method) {
    case 'sshsig':
      return readSshKey(key.publicKey);
    case 'jws':
      return readJwk(key.publicKey);
    case 'webauthn': {
      const credentialId = base64url(key.credentialId, 'the credential id');
      if (credentialId.length === 0 || credentialId.length > 1023)
        throw new ApproverKeyError('has a credential id that is not 1 to 1023 bytes long');
      return { key, identity: readCoseKey(base64url(key.publicKey, 'the public key')) };
    }
    default:
      return key satisfies never;
  }
}

// A point and its negative have the same x, and whoever can sign for one can sign for the other.
function ecIdentity(curve: string, x: Uint8Array, y: Uint8Array): string {
  const length = COORDINATE_BYTES.get(curve);
  if (length === undefined) throw new ApproverKeyError('is on a curve other than P-256, P-384 and P-521');
  if (x.length !== length || y.length !== length)
    throw new ApproverKeyError(`is no point of ${curve}: its coordinates have ${length} bytes each`);
  return `${curve}:${x.toHex()}`;
}

function ed25519Identity(key: Uint8Array): string {
  if (key.length !== 32) throw new ApproverKeyError('is no Ed25519 key: it has 32 bytes');
  // The top bit of the last byte is the sign of the point.
  const unsigned = key.slice();
  unsigned[31] = (unsigned[31] ?? 0) & 0x7f;
  const hex = unsigned.toHex();
  if (SMALL_ORDER.has(hex)) throw new ApproverKeyError('is an Ed25519 key that anybody can sign for');
  return `Ed25519:${hex}`;
}

function rsaIdentity(modulus: Uint8Array, exponent: Uint8Array): string {
  const n = withoutLeadingZeros(modulus);
  const e = withoutLeadingZeros(exponent);
  const bits = n.length * 8 - Math.clz32((n[0] ?? 0) << 24);
  if (bits < MIN_RSA_BITS || bits > MAX_RSA_BITS)
    throw new ApproverKeyError(
      `is an RSA key of ${bits} bits; it must have ${MIN_RSA_BITS} to ${MAX_RSA_BITS}`,
    );
  const last = e.at(-1) ?? 0;
  if ((n.at(-1) ?? 0) % 2 === 0 || last % 2 === 0 || (e.length === 1 && last === 1) || e.length > 8)
    throw new ApproverKeyError('is no RSA key that can be used');
  return `RSA:${n.toHex()}`;
}

function withoutLeadingZeros(bytes: Uint8Array): Uint8Array {
  let start = 0;
  while (bytes[start] === 0) start++;
  return bytes.subarray(start);
}

/** One line of authorized_keys without options (RFC 4253, section 6.6; PROTOCOL.u2f of OpenSSH). */
function readSshKey(line: string): ReadApproverKey {
  const [type = '', encoded = ''] = line.trim().split(/[ \t]+/);
  if (/[\r\n]/.test(line)) throw new ApproverKeyError('must be one line');
  const blob = base64(encoded);
  if (blob === undefined) throw new ApproverKeyError('is no line of a public key file');
  const reader = new SshReader(blob);
  if (reader.text() !== type) throw new ApproverKeyError('names another type than it holds');
  const identity = sshIdentity(type, reader);
  if (!reader.isDone) throw new ApproverKeyError('has more in it than a key');
  return { key: { method: 'sshsig', publicKey: `${type} ${encoded}` }, identity };
}

function sshIdentity(type: string, reader: SshReader): string {
  switch (type) {
    case 'ssh-ed25519':
      return ed25519Identity(reader.bytes());
    case 'sk-ssh-ed25519@openssh.com': {
      const identity = ed25519Identity(reader.bytes());
      requireApplication(reader);
      return identity;
    }
    case 'ecdsa-sha2-nistp256':
    case 'ecdsa-sha2-nistp384':
    case 'ecdsa-sha2-nistp521':
      return sshPoint(type.slice('ecdsa-sha2-'.length), reader);
    case 'sk-ecdsa-sha2-nistp256@openssh.com': {
      const identity = sshPoint('nistp256', reader);
      requireApplication(reader);
      return identity;
    }
    case 'ssh-rsa': {
      const exponent = reader.bytes();
      return rsaIdentity(reader.bytes(), exponent);
    }
    default:
      throw new ApproverKeyError(
        'is of a type that cannot approve; take ssh-ed25519, ecdsa-sha2-nistp256, -384 or -521, ssh-rsa, or their sk- kinds',
      );
  }
}

function sshPoint(curve: string, reader: SshReader): string {
  if (reader.text() !== curve) throw new ApproverKeyError('names another curve than it holds');
  const point = reader.bytes();
  const half = (point.length - 1) / 2;
  if (point[0] !== 4 || !Number.isInteger(half)) throw new ApproverKeyError('is no uncompressed point');
  return ecIdentity(curve.replace('nistp', 'P-'), point.subarray(1, 1 + half), point.subarray(1 + half));
}

function requireApplication(reader: SshReader): void {
  if (reader.text() === '') throw new ApproverKeyError('is a FIDO key without an application');
}

class SshReader {
  readonly #blob: Uint8Array;
  #at = 0;

  constructor(blob: Uint8Array) {
    this.#blob = blob;
  }

  get isDone(): boolean {
    return this.#at === this.#blob.length;
  }

  bytes(): Uint8Array {
    const start = this.#at + 4;
    if (start > this.#blob.length) throw new ApproverKeyError('is cut short');
    const length = new DataView(this.#blob.buffer, this.#blob.byteOffset + this.#at, 4).getUint32(0);
    if (length > this.#blob.length - start) throw new ApproverKeyError('is cut short');
    this.#at = start + length;
    return this.#blob.subarray(start, this.#at);
  }

  text(): string {
    return String.fromCharCode(...this.bytes().subarray(0, 256));
  }
}

const JWS_ALGORITHMS: Readonly<Record<string, readonly string[]>> = {
  Ed25519: ['Ed25519', 'EdDSA'],
  'P-256': ['ES256'],
  'P-384': ['ES384'],
  'P-521': ['ES512'],
  RSA: ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512'],
};
const PRIVATE_MEMBERS = ['d', 'p', 'q', 'dp', 'dq', 'qi', 'oth', 'k'] as const;

/** A public JWK (RFC 7517). A secret in a policy file is refused: it has to be taken for known by then. */
function readJwk(text: string): ReadApproverKey {
  const jwk = parseJson(text);
  if (typeof jwk !== 'object' || jwk === null || Array.isArray(jwk))
    throw new ApproverKeyError('is no JWK: a JSON object in quotes');
  const members = jwk as Readonly<Record<string, unknown>>;
  const isPrivate = PRIVATE_MEMBERS.some((name) => Object.hasOwn(members, name));
  if (isPrivate)
    throw new ApproverKeyError(
      'holds a secret: enrol the public half of a key, and take this one out of use',
    );
  const member = (name: string): string => {
    const value = Object.hasOwn(members, name) ? members[name] : undefined;
    if (typeof value !== 'string') throw new ApproverKeyError(`has no text \`${name}\``);
    return value;
  };
  const bytes = (name: string): Uint8Array => base64url(member(name), `\`${name}\``);
  const kty = member('kty');
  let kept: Readonly<Record<string, string>>;
  let identity: string;
  let kind: string;
  if (kty === 'OKP') {
    kind = member('crv');
    if (kind !== 'Ed25519') throw new ApproverKeyError('is on a curve that does not sign; take Ed25519');
    kept = { kty, crv: kind, x: member('x') };
    identity = ed25519Identity(bytes('x'));
  } else if (kty === 'EC') {
    kind = member('crv');
    kept = { kty, crv: kind, x: member('x'), y: member('y') };
    identity = ecIdentity(kind, bytes('x'), bytes('y'));
  } else if (kty === 'RSA') {
    kind = 'RSA';
    kept = { kty, n: member('n'), e: member('e') };
    identity = rsaIdentity(bytes('n'), bytes('e'));
  } else throw new ApproverKeyError('is of a type that cannot approve; `kty` is OKP, EC or RSA');
  if (Object.hasOwn(members, 'alg')) {
    const alg = member('alg');
    if (JWS_ALGORITHMS[kind]?.includes(alg) !== true)
      throw new ApproverKeyError('has an `alg` that does not fit it');
    kept = { ...kept, alg };
  }
  if (Object.hasOwn(members, 'use') && members['use'] !== 'sig')
    throw new ApproverKeyError('is not for signatures: its `use` is another one');
  return { key: { method: 'jws', publicKey: JSON.stringify(kept) }, identity };
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

/** COSE_Key of a passkey (RFC 9052, section 7; the algorithms that WebAuthn clients make). */
function readCoseKey(encoded: Uint8Array): string {
  const members = readCborMap(encoded);
  const number = (label: number): number => {
    const value = members.get(label);
    if (typeof value !== 'number') throw new ApproverKeyError('is no COSE key');
    return value;
  };
  const bytes = (label: number): Uint8Array => {
    const value = members.get(label);
    if (!(value instanceof Uint8Array)) throw new ApproverKeyError('is no COSE key');
    return value;
  };
  const algorithm = number(COSE.alg);
  switch (number(COSE.kty)) {
    case 1:
      if (algorithm !== -8 || number(COSE.crv) !== 6) break;
      return ed25519Identity(bytes(COSE.x));
    case 2:
      if (algorithm !== -7 || number(COSE.crv) !== 1) break;
      return ecIdentity('P-256', bytes(COSE.x), bytes(COSE.y));
    case 3:
      if (algorithm !== -257) break;
      return rsaIdentity(bytes(COSE.n), bytes(COSE.e));
    default:
      break;
  }
  throw new ApproverKeyError('is a passkey of another algorithm than ES256, EdDSA and RS256');
}

/** A map of whole numbers to whole numbers and bytes (RFC 8949), which is all that a COSE key is. Nothing after it. */
function readCborMap(encoded: Uint8Array): ReadonlyMap<number, number | Uint8Array> {
  let at = 0;
  const head = (): { readonly type: number; readonly value: number } => {
    const first = encoded[at++];
    if (first === undefined) throw new ApproverKeyError('is cut short');
    const short = first & 0x1f;
    if (short < 24) return { type: first >> 5, value: short };
    if (short > 25) throw new ApproverKeyError('is no COSE key');
    let value = 0;
    for (let i = 0; i < short - 23; i++) value = value * 256 + (encoded[at++] ?? Number.NaN);
    if (Number.isNaN(value)) throw new ApproverKeyError('is cut short');
    return { type: first >> 5, value };
  };
  const whole = ({ type, value }: ReturnType<typeof head>): number => {
    if (type !== 0 && type !== 1) throw new ApproverKeyError('is no COSE key');
    return type === 0 ? value : -1 - value;
  };
  const map = head();
  if (map.type !== 5 || map.value > 16) throw new ApproverKeyError('is no COSE key');
  const members = new Map<number, number | Uint8Array>();
  for (let i = 0; i < map.value; i++) {
    const label = whole(head());
    if (members.has(label)) throw new ApproverKeyError('gives something twice');
    const value = head();
    if (value.type === 2) {
      if (at + value.value > encoded.length) throw new ApproverKeyError('is cut short');
      members.set(label, encoded.subarray(at, at + value.value));
      at += value.value;
    } else members.set(label, whole(value));
  }
  if (at !== encoded.length) throw new ApproverKeyError('has more in it than a key');
  return members;
}

function base64(text: string): Uint8Array | undefined {
  try {
    return text === '' || /\s/.test(text) ? undefined : Uint8Array.fromBase64(text);
  } catch (error) {
    if (error instanceof SyntaxError) return undefined;
    throw error;
  }
}

function base64url(text: string, what: string): Uint8Array {
  if (!/^[A-Za-z0-9_-]*$/.test(text))
    throw new ApproverKeyError(`has ${what} not in base64url without padding`);
  try {
    return Uint8Array.fromBase64(text, { alphabet: 'base64url' });
  } catch (error) {
    if (error instanceof SyntaxError)
      throw new ApproverKeyError(`has ${what} not in base64url without padding`);
    throw error;
  }
}
