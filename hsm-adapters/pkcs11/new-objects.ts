import { AdapterError, type NewObject, type ObjectAttributes } from '../adapter.ts';
import { CKA } from './constants.ts';
import { publicMaterial } from './public-key.ts';
import { usagesOf } from './templates.ts';

/** What is checked of objects on their way to a token, and of those that were made. */

export function ownObjects(ckaId: string): { type: number; value: Buffer | boolean }[] {
  return [
    { type: CKA.TOKEN, value: true },
    { type: CKA.ID, value: Buffer.from(ckaId, 'hex') },
  ];
}

/** Key wrap adds 8 bytes (RFC 3394, RFC 5649): where the module hides an unwrapped key's length, the blob tells it. */
export function checkWrappedLength({ spec }: NewObject, wrappedBytes: number): void {
  if ((spec.type !== 'aes' && spec.type !== 'hmac') || wrappedBytes === spec.bytes + 8) return;
  throw refusal('REQUEST_INVALID', `a wrapped key of ${wrappedBytes} bytes is none of ${spec.bytes}`);
}

/** EC and Ed25519 keys come with their public key: a token that unwraps them shows no point. */
export function checkPublicKey(
  { spec }: NewObject,
  material: ReturnType<typeof publicMaterial> | undefined,
): void {
  if (material === undefined) {
    if (spec.type !== 'ec' && spec.type !== 'ed25519') return;
    throw refusal('REQUEST_INVALID', `a wrapped key of type ${spec.type} comes with its public key`);
  }
  const fits =
    material.type === spec.type &&
    (material.type !== 'ec' || spec.type !== 'ec' || material.curve === spec.curve);
  if (!fits)
    throw refusal('REQUEST_INVALID', `a public key of type ${material.type} for a key of type ${spec.type}`);
}

export function refusal(
  reason: 'REQUEST_INVALID' | 'OPERATION_UNSUPPORTED' | 'KEY_UNUSABLE',
  message: string,
): AdapterError {
  return new AdapterError(reason, message, { performed: 'no' });
}

export function text(error: unknown): string {
  return error instanceof Error ? error.message : 'not an error';
}

export function readMaterial(spki: Uint8Array): ReturnType<typeof publicMaterial> {
  try {
    return publicMaterial(spki);
  } catch (cause) {
    throw new AdapterError('REQUEST_INVALID', `public key: ${text(cause)}`, { performed: 'no', cause });
  }
}

/** What was read back against what was asked for. Undefined: the same. */
export function differs(
  object: NewObject,
  origin: 'generated' | 'unwrapped',
  read: ObjectAttributes,
): string | undefined {
  const expected: readonly (readonly [name: string, asked: unknown, got: unknown])[] = [
    ['CKA_ID', object.ckaId, read.ckaId],
    ['CKA_LABEL', object.label, read.label],
    ['key type', JSON.stringify(object.spec), JSON.stringify(read.spec)],
    ['usages', usagesOf(object.purpose).join(), read.usages.join()],
    ['CKA_SENSITIVE', true, read.sensitive],
    ['CKA_EXTRACTABLE', false, read.extractable],
    ['CKA_MODIFIABLE', false, read.modifiable],
    ['CKA_COPYABLE', false, read.copyable],
    ['CKA_ALWAYS_AUTHENTICATE', false, read.alwaysAuthenticate],
    ...(origin === 'generated'
      ? [
          ['CKA_LOCAL', true, read.local] as const,
          ['CKA_NEVER_EXTRACTABLE', true, read.neverExtractable] as const,
          ['CKA_ALWAYS_SENSITIVE', true, read.alwaysSensitive] as const,
        ]
      : []),
  ];
  const wrong = expected.filter(([, asked, got]) => asked !== got);
  if (wrong.length === 0) return undefined;
  return wrong.map(([name, asked, got]) => `${name} is ${String(got)}, not ${String(asked)}`).join('; ');
}

/**
 * A replica carries its public key, because a destination cannot read EC_POINT from a private object:
 * u16 length of the SPKI · SPKI · wrapped key. A false public key here is found out when the key is proven by use.
 */
export function packReplica(publicKey: Uint8Array, wrapped: Buffer): Uint8Array {
  const packed = new Uint8Array(2 + publicKey.length + wrapped.length);
  packed[0] = publicKey.length >> 8;
  packed[1] = publicKey.length & 0xff;
  packed.set(publicKey, 2);
  packed.set(wrapped, 2 + publicKey.length);
  return packed;
}

export function unpackReplica(packed: Uint8Array): { publicKey: Uint8Array; wrapped: Buffer } {
  const bytes = Buffer.from(packed);
  const length = bytes.length >= 2 ? bytes.readUInt16BE() : 0;
  if (bytes.length < 2 + length + 16) throw refusal('REQUEST_INVALID', 'a wrapped replica is cut short');
  return { publicKey: bytes.subarray(2, 2 + length), wrapped: bytes.subarray(2 + length) };
}
