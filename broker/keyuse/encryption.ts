import { hash as digestNow } from 'node:crypto';
import { AdapterError, type OperationContext, type TokenAdapter } from '../../hsm-adapters/adapter.ts';
import type { DigestedContent } from '../audit/entry.ts';
import { encryptForPublicKey, sha256Text } from './algorithms.ts';
import type { Call, Caller } from './call.ts';
import { associatedDataFor, ciphertextHeader, joinCiphertext, parseCiphertext } from './ciphertext.ts';
import { type EncryptionCounter, RecentIvs } from './encryption-counter.ts';
import { Failure } from './failure.ts';
import type { KeyVersion } from './key-catalog.ts';
import { associatedDataProblem, MAX_PLAINTEXT_BYTES } from './request-form.ts';
import { sameBytes } from './same-bytes.ts';
import {
  CIPHERTEXT_REJECTED,
  type Done,
  type KeyPermitted,
  Refused,
  type Transaction,
} from './transaction.ts';

const EMPTY = new Uint8Array();

export interface EncryptRequest {
  readonly key: string;
  /** 0: the newest active one. */
  readonly version: number;
  readonly algorithm: string;
  readonly plaintext: Uint8Array;
  readonly associatedData: Uint8Array;
}

export interface DataKeyRequest {
  readonly key: string;
  readonly version: number;
  /** Bytes; 0: 32. */
  readonly length: number;
  readonly associatedData: Uint8Array;
}

export interface DecryptRequest {
  readonly key: string;
  /** As Encrypt or GenerateDataKey made it: it names its algorithm and version. */
  readonly ciphertext: Uint8Array;
  readonly associatedData: Uint8Array;
}

interface Sealed {
  readonly plaintext: Uint8Array;
  readonly ciphertext: Uint8Array;
  /** Why it must not be released; the token leaves service. */
  readonly finding: string | undefined;
}

/**
 * Encryption, decryption and data keys, as operations of the one transaction. What is sealed is opened again before it
 * is released; a token that repeats an IV, or seals what does not open, leaves service.
 *
 * Owns the IVs that were seen lately. Each use of an AES-GCM key is counted before the token is asked.
 */
export class Encryption {
  readonly #steps: Transaction;
  readonly #encryptions: EncryptionCounter;
  readonly #ivs = new RecentIvs();

  constructor(steps: Transaction, encryptions: EncryptionCounter) {
    this.#steps = steps;
    this.#encryptions = encryptions;
  }

  encrypt(
    caller: Caller,
    call: Call,
    request: EncryptRequest,
  ): Promise<Done & { readonly ciphertext: Uint8Array }> {
    return this.#steps.recorded(async () => {
      const { plaintext, associatedData } = request;
      const use = this.#steps.use(caller, call, {
        operation: 'encrypt',
        asked: request,
        content: 'plaintext',
        bytes: plaintext.length,
      });
      this.#steps.wellFormed(use, () => {
        if (plaintext.length === 0) return 'plaintext is empty';
        if (plaintext.length > MAX_PLAINTEXT_BYTES) {
          return 'plaintext is over 64 KiB: use GenerateDataKey and encrypt with that locally (the command line does)';
        }
        return associatedDataProblem(associatedData);
      });
      const permitted = this.#steps.permit(use, request.version, 'encrypt');
      const { ciphertext, version, leafIndex } = await this.#seal(
        permitted,
        { kind: 'plaintext', bytes: plaintext.length },
        () => plaintext,
        associatedData,
      );
      return { ciphertext, version, leafIndex };
    });
  }

  generateDataKey(
    caller: Caller,
    call: Call,
    request: DataKeyRequest,
  ): Promise<Done & { readonly plaintext: Uint8Array; readonly wrapped: Uint8Array }> {
    return this.#steps.recorded(async () => {
      const length = request.length === 0 ? 32 : request.length;
      const asked = { key: request.key, algorithm: '', version: request.version };
      const use = this.#steps.use(caller, call, {
        operation: 'generate-data-key',
        asked,
        content: 'none',
        bytes: length,
      });
      this.#steps.wellFormed(use, () =>
        [16, 24, 32, 48, 64].includes(length)
          ? associatedDataProblem(request.associatedData)
          : 'length must be 16, 24, 32, 48 or 64 bytes',
      );
      const permitted = this.#steps.permit(use, request.version, 'encrypt');
      const { plaintext, ciphertext, version, leafIndex } = await this.#seal(
        permitted,
        { kind: 'data-key', bytes: length },
        (token, context) => token.random(length, context),
        request.associatedData,
      );
      return { plaintext, wrapped: ciphertext, version, leafIndex };
    });
  }

  decrypt(
    caller: Caller,
    call: Call,
    request: DecryptRequest,
  ): Promise<Done & { readonly plaintext: Uint8Array }> {
    return this.#steps.recorded(async () => {
      const parsed = parseCiphertext(request.ciphertext);
      const asked = { key: request.key, algorithm: parsed?.algorithm ?? '', version: parsed?.version ?? 0 };
      const use = this.#steps.use(caller, call, {
        operation: 'decrypt',
        asked,
        content: 'ciphertext',
        bytes: request.ciphertext.length,
      });
      this.#steps.wellFormed(use, () =>
        request.ciphertext.length === 0
          ? 'ciphertext is empty'
          : request.ciphertext.length > MAX_PLAINTEXT_BYTES + 512
            ? 'ciphertext is longer than Encrypt makes'
            : associatedDataProblem(request.associatedData),
      );
      const permitted = this.#steps.permit(use, parsed?.key === request.key ? parsed.version : 0, 'decrypt');
      if (
        parsed === undefined ||
        parsed.key !== request.key ||
        permitted.version.version !== parsed.version ||
        !permitted.version.algorithms.includes(parsed.algorithm) ||
        (parsed.algorithm === 'RSA-OAEP-256' && request.associatedData.length > 0)
      ) {
        throw new Refused(use, new Failure('CIPHERTEXT_REJECTED', CIPHERTEXT_REJECTED), permitted.decision);
      }
      return this.#open(permitted, parsed, request);
    });
  }

  async #seal(
    permitted: KeyPermitted,
    input: DigestedContent,
    source: (token: TokenAdapter, context: OperationContext) => Uint8Array | Promise<Uint8Array>,
    associatedData: Uint8Array,
  ): Promise<Done & { readonly plaintext: Uint8Array; readonly ciphertext: Uint8Array }> {
    const { version, jose } = permitted;
    const header = ciphertextHeader(jose, version.name, version.version);
    const isRsa = jose === 'RSA-OAEP-256';
    if (isRsa) {
      const room = version.spec.type === 'rsa' ? version.spec.modulusBits / 8 - 66 : 0;
      const why =
        associatedData.length > 0
          ? 'RSA-OAEP-256 has no associated data'
          : input.bytes > room
            ? `RSA-OAEP-256 with this key takes at most ${room} bytes: wrap a data key instead`
            : undefined;
      if (why !== undefined)
        throw new Refused(permitted, new Failure('REQUEST_INVALID', why), permitted.decision);
    }
    const performed = await this.#steps.perform(
      permitted,
      input,
      async (token, object, context, reserve) => {
        const plaintext = await source(token, context);
        reserve(() => digestNow('sha256', plaintext, 'buffer'));
        return isRsa
          ? this.#sealForPublicKey(version, plaintext, header, token, object, context)
          : this.#sealAndOpen(version, plaintext, associatedData, header, token, object, context);
      },
      async ({ finding }, token) => {
        if (finding !== undefined) this.#steps.quarantine(token, finding);
        return finding === undefined;
      },
    );
    const { ciphertext, plaintext } = performed.value;
    const leafIndex = await this.#steps.conclude(performed, input, {
      kind: 'ciphertext',
      bytes: ciphertext.length,
      sha256: sha256Text(ciphertext),
    });
    return { plaintext, ciphertext, version: version.version, leafIndex };
  }

  async #sealAndOpen(
    version: KeyVersion,
    plaintext: Uint8Array,
    associatedData: Uint8Array,
    header: Buffer,
    token: TokenAdapter,
    object: number,
    context: OperationContext,
  ): Promise<Sealed> {
    // Counted before the token is asked, and never given back: an attempt may have used the key.
    this.#encryptions.take(version.name, version.version);
    const bound = associatedDataFor(header, associatedData);
    const { iv, sealed, session } = await token.encrypt(object, plaintext, bound, context);
    const ciphertext = joinCiphertext(header, iv, sealed);
    if (!this.#ivs.admit(version.id, iv)) {
      return { plaintext, ciphertext, finding: `an IV of ${version.id} is zero or was used before` };
    }
    const opened = await openAgain(token, {
      operation: { object, algorithm: 'A256GCM', iv, sealed, associatedData: bound, notSession: session },
      context,
    });
    return { plaintext, ciphertext, finding: unlike(opened, plaintext, version) };
  }

  /** RSA-OAEP-256: the public half is the broker's; the token opens it again before it is released. */
  async #sealForPublicKey(
    version: KeyVersion,
    plaintext: Uint8Array,
    header: Buffer,
    token: TokenAdapter,
    object: number,
    context: OperationContext,
  ): Promise<Sealed> {
    const { publicKey } = version.objects.find((candidate) => candidate.tokenSerial === token.info?.serial)!;
    const sealed = encryptForPublicKey(publicKey, plaintext);
    const opened = await openAgain(token, {
      operation: { object, algorithm: 'RSA-OAEP-256', iv: EMPTY, sealed, associatedData: EMPTY },
      context,
    });
    const ciphertext = joinCiphertext(header, EMPTY, sealed);
    return { plaintext, ciphertext, finding: unlike(opened, plaintext, version) };
  }

  async #open(
    permitted: KeyPermitted,
    parsed: NonNullable<ReturnType<typeof parseCiphertext>>,
    request: { readonly ciphertext: Uint8Array; readonly associatedData: Uint8Array },
  ): Promise<Done & { readonly plaintext: Uint8Array }> {
    const { algorithm, iv, sealed, header } = parsed;
    const ciphertextDigest = digestNow('sha256', request.ciphertext, 'buffer');
    const input: DigestedContent = {
      kind: 'ciphertext',
      bytes: request.ciphertext.length,
      sha256: ciphertextDigest.toString('base64url'),
    };
    const associatedData =
      algorithm === 'A256GCM' ? associatedDataFor(header, request.associatedData) : EMPTY;
    const performed = await this.#steps.perform(permitted, input, (token, object, context, reserve) => {
      reserve(() => ciphertextDigest);
      return token.decrypt({ object, algorithm, iv, sealed, associatedData }, context);
    });
    const leafIndex = await this.#steps.conclude(performed, input, {
      kind: 'plaintext',
      bytes: performed.value.length,
    });
    return { plaintext: performed.value, version: permitted.version.version, leafIndex };
  }
}

/**
 * What was just encrypted, opened again. Undefined when it does not open: with bytes that were made a moment ago,
 * that is the token's or the path's fault, and never the caller's. The key has been used, whatever else is in the way.
 */
async function openAgain(
  token: TokenAdapter,
  { operation, context }: { operation: Parameters<TokenAdapter['decrypt']>[0]; context: OperationContext },
): Promise<Uint8Array | undefined> {
  try {
    return await token.decrypt(operation, context);
  } catch (error) {
    if (!(error instanceof AdapterError)) throw error;
    if (error.reason === 'CIPHERTEXT_REJECTED' || error.reason === 'REQUEST_INVALID') return undefined;
    throw new AdapterError(error.reason, error.message, {
      performed: 'unknown',
      ckr: error.ckr,
      cause: error,
    });
  }
}

function unlike(
  opened: Uint8Array | undefined,
  plaintext: Uint8Array,
  version: KeyVersion,
): string | undefined {
  return opened !== undefined && sameBytes(opened, plaintext)
    ? undefined
    : `a ciphertext of ${version.id} does not open to what was encrypted`;
}
