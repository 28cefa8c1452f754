import crypto from 'node:crypto';
import type { KeySpec } from '../adapter.ts';

/**
 * Public keys between their PKCS#11 attributes and SubjectPublicKeyInfo. node:crypto does the encoding, and with
 * it checks that a point lies on its curve.
 */

/** DER of the curve's object identifier, as CKA_EC_PARAMS holds it. */
const CURVE_OID = {
  'P-256': Buffer.from('06082a8648ce3d030107', 'hex'),
  'P-384': Buffer.from('06052b81040022', 'hex'),
  'P-521': Buffer.from('06052b81040023', 'hex'),
} as const;

/** id-Ed25519 (RFC 8410), and the PrintableString `edwards25519` that PKCS#11 v3 allows beside it. */
const ED25519_PARAMS = [
  Buffer.from('06032b6570', 'hex'),
  Buffer.from('130c656477617264733235353139', 'hex'),
] as const;

const COORDINATE_BYTES = { 'P-256': 32, 'P-384': 48, 'P-521': 66 } as const;

export type Curve = keyof typeof CURVE_OID;

export function ecParams(spec: Extract<KeySpec, { type: 'ec' | 'ed25519' }>): Buffer {
  return spec.type === 'ec' ? CURVE_OID[spec.curve] : ED25519_PARAMS[0];
}

export function curveOf(params: Buffer): Curve | undefined {
  for (const curve of ['P-256', 'P-384', 'P-521'] as const) if (params.equals(CURVE_OID[curve])) return curve;
  return undefined;
}

export function isEd25519Params(params: Buffer): boolean {
  return ED25519_PARAMS.some((known) => params.equals(known));
}

/**
 * CKA_EC_POINT is an OCTET STRING around the point (PKCS#11 v3.1, 6.3.3); some modules leave the wrapping off.
 * Lengths tell the two apart. Undefined when it is neither.
 */
function unwrappedPoint(attribute: Buffer, pointBytes: number): Buffer | undefined {
  if (attribute.length === pointBytes) return attribute;
  const header = pointBytes < 128 ? Buffer.from([4, pointBytes]) : Buffer.from([4, 0x81, pointBytes]);
  if (attribute.length !== header.length + pointBytes) return undefined;
  return attribute.subarray(0, header.length).equals(header) ? attribute.subarray(header.length) : undefined;
}

function wrappedPoint(point: Buffer): Buffer {
  const header = point.length < 128 ? [4, point.length] : [4, 0x81, point.length];
  return Buffer.concat([Buffer.from(header), point]);
}

function spki(jwk: Record<string, string>): Uint8Array {
  return new Uint8Array(
    crypto.createPublicKey({ key: jwk, format: 'jwk' }).export({ type: 'spki', format: 'der' }),
  );
}

/** Throws when the bytes are no point of the curve. */
export function ecSpki(curve: Curve, pointAttribute: Buffer): Uint8Array {
  const bytes = COORDINATE_BYTES[curve];
  const point = unwrappedPoint(pointAttribute, 1 + 2 * bytes);
  if (point === undefined || point[0] !== 4) throw new RangeError('CKA_EC_POINT is no uncompressed point');
  const x = point.subarray(1, 1 + bytes).toString('base64url');
  const y = point.subarray(1 + bytes).toString('base64url');
  return spki({ kty: 'EC', crv: curve, x, y });
}

export function ed25519Spki(pointAttribute: Buffer): Uint8Array {
  const point = unwrappedPoint(pointAttribute, 32);
  if (point === undefined) throw new RangeError('CKA_EC_POINT is no Ed25519 point');
  return spki({ kty: 'OKP', crv: 'Ed25519', x: point.toString('base64url') });
}

export function rsaSpki(modulus: Buffer, exponent: Buffer): Uint8Array {
  const n = withoutLeadingZeros(modulus).toString('base64url');
  return spki({ kty: 'RSA', n, e: withoutLeadingZeros(exponent).toString('base64url') });
}

export function withoutLeadingZeros(integer: Buffer): Buffer {
  let at = 0;
  while (at < integer.length - 1 && integer[at] === 0) at += 1;
  return integer.subarray(at);
}

/** What the attributes of a public key object say, taken from its SPKI. */
export type PublicMaterial =
  | {
      readonly type: 'rsa';
      readonly modulus: Buffer;
      readonly exponent: Buffer;
      readonly modulusBits: number;
    }
  | { readonly type: 'ec'; readonly curve: Curve; readonly point: Buffer }
  | { readonly type: 'ed25519'; readonly point: Buffer };

/** Throws when it is no public key, or none of a kind that is used here. */
export function publicMaterial(der: Uint8Array): PublicMaterial {
  const key = crypto.createPublicKey({ key: Buffer.from(der), format: 'der', type: 'spki' });
  const jwk = key.export({ format: 'jwk' });
  const bytes = (field: string | undefined) => Buffer.from(field ?? '', 'base64url');
  if (jwk.kty === 'RSA') {
    const modulusBits = key.asymmetricKeyDetails?.modulusLength ?? 0;
    return { type: 'rsa', modulus: bytes(jwk.n), exponent: bytes(jwk.e), modulusBits };
  }
  if (jwk.kty === 'EC' && (jwk.crv === 'P-256' || jwk.crv === 'P-384' || jwk.crv === 'P-521')) {
    const point = Buffer.concat([Buffer.from([4]), bytes(jwk.x), bytes(jwk.y)]);
    return { type: 'ec', curve: jwk.crv, point: wrappedPoint(point) };
  }
  if (jwk.kty === 'OKP' && jwk.crv === 'Ed25519')
    return { type: 'ed25519', point: wrappedPoint(bytes(jwk.x)) };
  throw new RangeError(`a public key of a kind that is not used here: ${jwk.kty} ${jwk.crv ?? ''}`);
}
