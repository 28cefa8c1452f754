import { AdapterError, type KeySpec, type ObjectAttributes, type ObjectQuery } from '../adapter.ts';
import type { Profile } from '../profiles/profile.ts';
import { CKA, CKK, CKO } from './constants.ts';
import type { Attribute, Cryptoki, ObjectHandle, SessionHandle } from './cryptoki.ts';
import { curveOf, ecSpki, ed25519Spki, isEd25519Params, rsaSpki, withoutLeadingZeros } from './public-key.ts';
import { isOmitted } from './templates.ts';

/** Finding objects and reading them back. Everything here is claimed by the token, nothing is proof. */

const MAX_CANDIDATES = 16;
const MAX_LABEL_BYTES = 255;

export interface FoundObject {
  readonly handle: ObjectHandle;
  readonly attributes: ObjectAttributes;
}

function queryTemplate(query: ObjectQuery): Attribute[] {
  const cls = query.kind === 'private' ? CKO.PRIVATE_KEY : CKO.SECRET_KEY;
  const template: Attribute[] = [
    { type: CKA.CLASS, value: cls },
    { type: CKA.TOKEN, value: true },
  ];
  if (query.ckaId !== undefined && query.label === undefined) {
    if (!/^(?:[0-9a-f]{2}){1,64}$/i.test(query.ckaId)) throw invalid('CKA_ID is not 1 to 64 bytes of hex');
    template.push({ type: CKA.ID, value: Buffer.from(query.ckaId, 'hex') });
  } else if (query.label !== undefined && query.ckaId === undefined) {
    const bytes = Buffer.byteLength(query.label);
    if (bytes === 0 || bytes > MAX_LABEL_BYTES) throw invalid('a label has 1 to 255 bytes');
    template.push({ type: CKA.LABEL, value: query.label });
  } else throw invalid('an object is asked for by CKA_ID or by label, one of the two');
  return template;
}

function invalid(message: string): AdapterError {
  return new AdapterError('REQUEST_INVALID', message, { performed: 'no' });
}

export function findObjects(cryptoki: Cryptoki, session: SessionHandle, query: ObjectQuery): ObjectHandle[] {
  return cryptoki.findObjects(session, queryTemplate(query), MAX_CANDIDATES);
}

/** The one object of the query. KEY_MISSING_ON_TOKEN when none, KEY_UNUSABLE with the candidates when several. */
export function findOne(cryptoki: Cryptoki, session: SessionHandle, query: ObjectQuery): ObjectHandle {
  const [first, ...others] = findObjects(cryptoki, session, query);
  const asked = query.ckaId === undefined ? `label "${query.label}"` : `CKA_ID ${query.ckaId}`;
  if (first === undefined) {
    throw new AdapterError('KEY_MISSING_ON_TOKEN', `no ${query.kind} key with ${asked}`, { performed: 'no' });
  }
  if (others.length > 0) {
    const candidates = [first, ...others].map((handle) => describe(cryptoki, session, handle)).join('; ');
    const message = `${1 + others.length} ${query.kind} keys with ${asked}: ${candidates}`;
    throw new AdapterError('KEY_UNUSABLE', message, { performed: 'no' });
  }
  return first;
}

function describe(cryptoki: Cryptoki, session: SessionHandle, handle: ObjectHandle): string {
  const id = cryptoki.attribute(session, handle, CKA.ID)?.toString('hex') ?? '';
  const label = cryptoki.attribute(session, handle, CKA.LABEL)?.toString('utf8') ?? '';
  return `CKA_ID ${id === '' ? '(none)' : id} label "${label}"`;
}

/** The public object that shares the CKA_ID. EC_POINT cannot be read from a private object. */
export function findPublic(
  cryptoki: Cryptoki,
  session: SessionHandle,
  ckaId: Buffer,
): ObjectHandle | undefined {
  if (ckaId.length === 0) return undefined;
  const template: Attribute[] = [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    { type: CKA.TOKEN, value: true },
    { type: CKA.ID, value: ckaId },
  ];
  const found = cryptoki.findObjects(session, template, 2);
  if (found.length > 1) {
    const message = `several public keys with CKA_ID ${ckaId.toString('hex')}`;
    throw new AdapterError('KEY_UNUSABLE', message, { performed: 'no' });
  }
  return found[0];
}

/** For modules that do not show the length of a key that came by unwrapping. */
export interface HiddenLength {
  /** The longest of the usual lengths that the key has at least; undefined when it has none of them. */
  macKeyBytes(handle: ObjectHandle): 32 | 48 | 64 | undefined;
}

const USAGES = [
  ['sign', CKA.SIGN],
  ['verify', CKA.VERIFY],
  ['encrypt', CKA.ENCRYPT],
  ['decrypt', CKA.DECRYPT],
  ['wrap', CKA.WRAP],
  ['unwrap', CKA.UNWRAP],
  ['derive', CKA.DERIVE],
  ['sign-recover', CKA.SIGN_RECOVER],
  ['verify-recover', CKA.VERIFY_RECOVER],
] as const;

/** The flags of both halves; where the token crosses them, the private object's two, each for its pair. */
function readUsages(
  { crossedUsages }: Profile,
  isAnywhere: (type: number) => boolean,
  isOwn: (type: number) => boolean,
): readonly string[] {
  return USAGES.filter(([, type]) => {
    if (crossedUsages && (type === CKA.SIGN || type === CKA.VERIFY)) return isOwn(CKA.SIGN);
    if (crossedUsages && (type === CKA.ENCRYPT || type === CKA.DECRYPT)) return isOwn(CKA.DECRYPT);
    return isAnywhere(type);
  }).map(([name]) => name);
}

export function readAttributes(
  cryptoki: Cryptoki,
  session: SessionHandle,
  handle: ObjectHandle,
  kind: 'private' | 'secret',
  hiddenLength: HiddenLength | undefined,
  profile: Profile,
): ObjectAttributes {
  const ckaId = cryptoki.attribute(session, handle, CKA.ID) ?? Buffer.alloc(0);
  const publicHandle = kind === 'private' ? findPublic(cryptoki, session, ckaId) : undefined;
  const halves = publicHandle === undefined ? [handle] : [handle, publicHandle];
  const isTrue = (object: ObjectHandle, type: number) => cryptoki.attribute(session, object, type)?.[0] === 1;
  // An attribute that cannot be read is taken for its bad value: what is not shown to hold does not.
  const unlessFalse = (type: number) =>
    !isOmitted(profile, type) && cryptoki.attribute(session, handle, type)?.[0] !== 0;
  const unlessOmitted = (type: number) => isOmitted(profile, type) || isTrue(handle, type);
  const { spec, publicKey } = readSpec(cryptoki, session, handle, publicHandle, hiddenLength);
  return {
    ckaId: ckaId.toString('hex'),
    label: cryptoki.attribute(session, handle, CKA.LABEL)?.toString('utf8') ?? '',
    spec,
    usages: readUsages(
      profile,
      (type) => halves.some((object) => isTrue(object, type)),
      (type) => isTrue(handle, type),
    ),
    sensitive: isTrue(handle, CKA.SENSITIVE),
    extractable: unlessFalse(CKA.EXTRACTABLE),
    neverExtractable: unlessOmitted(CKA.NEVER_EXTRACTABLE),
    alwaysSensitive: unlessOmitted(CKA.ALWAYS_SENSITIVE),
    local: unlessOmitted(CKA.LOCAL),
    modifiable: unlessFalse(CKA.MODIFIABLE),
    copyable: unlessFalse(CKA.COPYABLE),
    alwaysAuthenticate: isTrue(handle, CKA.ALWAYS_AUTHENTICATE),
    publicKey,
  };
}

function readSpec(
  cryptoki: Cryptoki,
  session: SessionHandle,
  handle: ObjectHandle,
  publicHandle: ObjectHandle | undefined,
  hiddenLength: HiddenLength | undefined,
): { spec: KeySpec; publicKey: Uint8Array } {
  const read = (object: ObjectHandle, type: number, name: string): Buffer => {
    const value = cryptoki.attribute(session, object, type);
    if (value === undefined || value.length === 0) throw unusable(`${name} cannot be read`);
    return value;
  };
  const type = number(read(handle, CKA.KEY_TYPE, 'CKA_KEY_TYPE'));
  const withPublic = (name: string): ObjectHandle => {
    if (publicHandle === undefined)
      throw unusable(`no public key object with the same CKA_ID, and so no ${name}`);
    return publicHandle;
  };
  try {
    switch (type) {
      case CKK.RSA: {
        // Both halves have these; the private one always, and it is the one that signs.
        const modulus = withoutLeadingZeros(read(handle, CKA.MODULUS, 'CKA_MODULUS'));
        const exponent =
          cryptoki.attribute(session, handle, CKA.PUBLIC_EXPONENT) ??
          read(withPublic('CKA_PUBLIC_EXPONENT'), CKA.PUBLIC_EXPONENT, 'CKA_PUBLIC_EXPONENT');
        const modulusBits = modulus.length * 8 - Math.clz32(modulus[0] ?? 0) + 24;
        return { spec: { type: 'rsa', modulusBits }, publicKey: rsaSpki(modulus, exponent) };
      }
      case CKK.EC: {
        const curve = curveOf(read(handle, CKA.EC_PARAMS, 'CKA_EC_PARAMS'));
        if (curve === undefined) throw unusable('a curve other than P-256, P-384 and P-521');
        const point = read(withPublic('CKA_EC_POINT'), CKA.EC_POINT, 'CKA_EC_POINT');
        return { spec: { type: 'ec', curve }, publicKey: ecSpki(curve, point) };
      }
      case CKK.EC_EDWARDS: {
        if (!isEd25519Params(read(handle, CKA.EC_PARAMS, 'CKA_EC_PARAMS')))
          throw unusable('an Edwards curve other than Ed25519');
        const point = read(withPublic('CKA_EC_POINT'), CKA.EC_POINT, 'CKA_EC_POINT');
        return { spec: { type: 'ed25519' }, publicKey: ed25519Spki(point) };
      }
      case CKK.AES: {
        // Hidden, it is taken for the only length that keys are made and unwrapped with here.
        const bytes =
          number(read(handle, CKA.VALUE_LEN, 'CKA_VALUE_LEN')) || (hiddenLength === undefined ? 0 : 32);
        if (bytes !== 32) throw unusable(`an AES key of ${bytes} bytes, not 32`);
        return { spec: { type: 'aes', bytes }, publicKey: NO_KEY };
      }
      case CKK.GENERIC_SECRET: {
        const bytes =
          number(read(handle, CKA.VALUE_LEN, 'CKA_VALUE_LEN')) || hiddenLength?.macKeyBytes(handle);
        if (bytes !== 32 && bytes !== 48 && bytes !== 64)
          throw unusable(`a MAC key of ${bytes ?? 'unknown'} bytes, not 32, 48 or 64`);
        return { spec: { type: 'hmac', bytes }, publicKey: NO_KEY };
      }
      default:
        throw unusable(`key type 0x${type.toString(16)}`);
    }
  } catch (error) {
    // node:crypto and the encoders throw on points off the curve and the like.
    if (error instanceof RangeError || (error instanceof Error && 'opensslErrorStack' in error)) {
      throw unusable(`public key not valid: ${error.message}`);
    }
    throw error;
  }
}

const NO_KEY = new Uint8Array(0);

/** SPKI of a public key object (or an RSA private one), of a kind that the caller just made. Throws RangeError. */
export function readPublicKey(
  cryptoki: Cryptoki,
  session: SessionHandle,
  type: KeySpec['type'],
  handle: ObjectHandle,
): Uint8Array {
  const read = (attribute: number): Buffer => {
    const value = cryptoki.attribute(session, handle, attribute);
    if (value === undefined || value.length === 0) throw new RangeError('the public key cannot be read');
    return value;
  };
  if (type === 'rsa') return rsaSpki(read(CKA.MODULUS), read(CKA.PUBLIC_EXPONENT));
  if (type === 'ed25519') return ed25519Spki(read(CKA.EC_POINT));
  const curve = type === 'ec' ? curveOf(read(CKA.EC_PARAMS)) : undefined;
  if (curve === undefined) throw new RangeError('no public key, or on an unknown curve');
  return ecSpki(curve, read(CKA.EC_POINT));
}

function unusable(message: string): AdapterError {
  return new AdapterError('KEY_UNUSABLE', message, { performed: 'no' });
}

/** A CK_ULONG: 4 or 8 bytes, in the machine's order (every platform Node runs on here is little-endian). */
function number(value: Buffer): number {
  if (value.length === 8) return Number(value.readBigUInt64LE());
  if (value.length === 4) return value.readUInt32LE();
  throw unusable(`a number of ${value.length} bytes`);
}
