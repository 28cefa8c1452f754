/**
 * Proof of a key by use (DESIGN section 7): what is made of a secret key at its creation, and how any key is asked again
 * after every login. Labels and handles prove nothing.
 */
import { hash as digestNow, randomBytes } from 'node:crypto';
import {
  AdapterError,
  type AdapterReason,
  type DecryptOperation,
  type ObjectAttributes,
  type OperationContext,
  type TokenAdapter,
} from '../../hsm-adapters/adapter.ts';
import { encryptForPublicKey, FACTS, sha256 } from './algorithms.ts';
import {
  associatedDataFor,
  ciphertextHeader,
  IV_BYTES,
  joinCiphertext,
  parseCiphertext,
} from './ciphertext.ts';
import type { EncryptionCounter } from './encryption-counter.ts';
import { Failure } from './failure.ts';
import type { KeyVersion, TokenObject } from './key-catalog.ts';
import { sameBytes } from './same-bytes.ts';
import { kindOf } from './token-object.ts';
import { verifyNow } from './verify/signature-verifier.ts';
import type { SignatureAlgorithm } from './verify/verify-input.ts';

/**
 * What the broker itself has a key do begins with this: challenges of proofs, the associated data of canaries, and
 * what the MAC that proves a MAC key is computed over. Callers are refused messages and associated data that begin
 * so. Of a digest nobody can tell what it is of: there a proof rests on its challenge being fresh.
 */
export const RESERVED_PREFIX = Buffer.from('lastmile-proof-v1\0');

/** What says something of the token at that moment, and nothing of the key. */
const PASSING: ReadonlySet<AdapterReason> = new Set([
  'TOKEN_UNREACHABLE',
  'SESSION_LOST',
  'SESSION_LIMIT',
  'QUEUE_FULL',
  'DEADLINE_EXCEEDED',
]);

export function isPassing(error: unknown): boolean {
  return error instanceof AdapterError && PASSING.has(error.reason);
}

const PROOF_MS = 10_000;
const CANARY_BYTES = 32;

/** A canary ciphertext, or a MAC over a reserved input; nothing for key pairs. */
export async function makeProof(
  key: Pick<KeyVersion, 'name' | 'version' | 'purpose' | 'algorithms' | 'spec'>,
  token: TokenAdapter,
  attributes: ObjectAttributes,
  encryptions: EncryptionCounter,
): Promise<Uint8Array> {
  if (key.purpose === 'sign') return new Uint8Array();
  const ref = 0xffff_fffe;
  const context = { deadline: performance.now() + PROOF_MS };
  await token.administration.bind(ref, { ckaId: attributes.ckaId, kind: kindOf(key) });
  try {
    if (key.purpose === 'mac') {
      return await token.sign(
        { object: ref, algorithm: key.algorithms[0]!, data: macChallenge(key) },
        context,
      );
    }
    const header = canaryHeader(key, key.algorithms[0] === 'RSA-OAEP-256' ? 'RSA-OAEP-256' : 'A256GCM');
    const plaintext = randomBytes(CANARY_BYTES);
    if (key.spec.type === 'rsa') {
      const sealed = encryptForPublicKey(attributes.publicKey, plaintext);
      return joinCanary(plaintext, joinCiphertext(header, new Uint8Array(), sealed));
    }
    encryptions.take(key.name, key.version);
    const { iv, sealed } = await token.encrypt(
      ref,
      plaintext,
      associatedDataFor(header, RESERVED_PREFIX),
      context,
    );
    if (iv.length !== IV_BYTES) throw new Failure('KEY_UNUSABLE', 'the token made an IV of the wrong length');
    return joinCanary(plaintext, joinCiphertext(header, iv, sealed));
  } finally {
    token.administration.release(ref);
  }
}

export interface Proving {
  /** Whose challenge it is. */
  readonly origin: string;
  readonly encryptions: EncryptionCounter;
}

/** Has the key used on a token where it is bound. What is wrong, or undefined. */
export async function prove(
  token: TokenAdapter,
  ref: number,
  version: KeyVersion,
  object: TokenObject,
  { origin, encryptions }: Proving,
): Promise<string | undefined> {
  const context = { deadline: performance.now() + PROOF_MS };
  if (version.purpose === 'sign') {
    const algorithm = version.algorithms[0] as SignatureAlgorithm;
    const challenge = Buffer.concat([
      RESERVED_PREFIX,
      Buffer.from(`${origin}\0${version.id}\0`),
      randomBytes(32),
    ]);
    const hash = FACTS[algorithm].hash;
    const data = hash === undefined ? challenge : digestNow(hash, challenge, 'buffer');
    const signature = await token.sign({ object: ref, algorithm, data }, context);
    return verifyNow({
      algorithm,
      publicKey: object.publicKey,
      content: 'message',
      data: challenge,
      signature,
    })
      ? undefined
      : 'a signature of a fresh challenge does not verify with the public key of the catalog: it is another key';
  }
  if (version.purpose === 'mac') {
    const mac = await token.sign(
      { object: ref, algorithm: version.algorithms[0]!, data: macChallenge(version) },
      context,
    );
    return sameBytes(mac, object.proof)
      ? undefined
      : 'the MAC that was made at creation does not come out: it is another key';
  }
  const known = parseCanary(object.proof);
  if (known === undefined) return 'the catalog has no canary for it, or one that this version cannot read';
  const { canary } = known;
  const operation: DecryptOperation = {
    object: ref,
    algorithm: canary.algorithm,
    iv: canary.iv,
    sealed: canary.sealed,
    associatedData:
      canary.algorithm === 'A256GCM' ? associatedDataFor(canary.header, RESERVED_PREFIX) : new Uint8Array(),
  };
  let opened: Uint8Array;
  try {
    opened = await token.decrypt(operation, context);
  } catch (error) {
    if (!isPassing(error)) throw error;
    // Some modules answer a ciphertext that does not open with what they say in trouble. The worker tells them apart by
    // one that this key is known to open, and this was the first of the key that it has seen.
    try {
      await useOnce(token, ref, version, object, encryptions, context);
    } catch (again) {
      throw again instanceof AdapterError ? again : error;
    }
    opened = await token.decrypt(operation, context);
  }
  return sameBytes(sha256(opened), known.plaintextHash)
    ? undefined
    : 'the canary does not open to what it was made of';
}

/** Has an encryption key open or make something. @throws AdapterError; Failure when it may not encrypt any more */
async function useOnce(
  token: TokenAdapter,
  ref: number,
  version: KeyVersion,
  { publicKey }: TokenObject,
  encryptions: EncryptionCounter,
  context: OperationContext,
): Promise<void> {
  const plaintext = randomBytes(CANARY_BYTES);
  const empty = new Uint8Array();
  if (version.spec.type === 'rsa') {
    const sealed = encryptForPublicKey(publicKey, plaintext);
    await token.decrypt(
      { object: ref, algorithm: 'RSA-OAEP-256', iv: empty, sealed, associatedData: empty },
      context,
    );
    return;
  }
  encryptions.take(version.name, version.version);
  await token.encrypt(ref, plaintext, RESERVED_PREFIX, context);
}

type Named = Pick<KeyVersion, 'name' | 'version'>;

/** What a MAC key's proof is computed over. */
function macChallenge(version: Named): Buffer {
  return Buffer.concat([RESERVED_PREFIX, Buffer.from(`mac\0${version.name}#${version.version}`)]);
}

const CANARY_FORMAT = 1;
const HASH_BYTES = 32;

/**
 * An encryption key's proof: u8 format (1) · SHA-256 of the plaintext · ciphertext. The plaintext is 32 random bytes
 * that nobody keeps: a module that only knows the key's name cannot make it up.
 */
function joinCanary(plaintext: Uint8Array, ciphertext: Uint8Array): Buffer {
  return Buffer.concat([Uint8Array.of(CANARY_FORMAT), sha256(plaintext), ciphertext]);
}

function parseCanary(
  proof: Uint8Array,
):
  | { readonly plaintextHash: Uint8Array; readonly canary: NonNullable<ReturnType<typeof parseCiphertext>> }
  | undefined {
  if (proof[0] !== CANARY_FORMAT) return undefined;
  const canary = parseCiphertext(proof.subarray(1 + HASH_BYTES));
  return canary && { plaintextHash: proof.subarray(1, 1 + HASH_BYTES), canary };
}

function canaryHeader(version: Named, algorithm: 'A256GCM' | 'RSA-OAEP-256'): Buffer {
  return ciphertextHeader(algorithm, version.name, version.version);
}
