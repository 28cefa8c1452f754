import type { Operation, PolicySet } from '../../policy/decision.ts';
import { isReservedKeyName } from '../../policy/key-name.ts';
import type { Call, Caller } from './call.ts';
import { Failure } from './failure.ts';
import { type KeyCatalog, type KeyVersion, publishKey } from './key-catalog.ts';
import { denied, Refused, type Transaction } from './transaction.ts';

export interface Published {
  readonly version: KeyVersion;
  readonly published: ReturnType<typeof publishKey>;
  /** Where the key is another on each of its tokens. */
  readonly others: readonly ReturnType<typeof publishKey>[];
}

export interface UsableKey {
  readonly version: KeyVersion;
  readonly operations: readonly Operation[];
}

const OPERATIONS_OF: Readonly<Record<KeyVersion['purpose'], readonly Operation[]>> = {
  sign: ['sign', 'verify', 'sign-jwt', 'sign-certificate', 'sign-dsse'],
  encrypt: ['encrypt', 'decrypt', 'generate-data-key'],
  mac: ['mac', 'verify-mac'],
};

/**
 * What a caller is told of keys without using one: nothing of those that it has no rule for, not even whether there
 * are any. No entry but of refusals. Owns nothing.
 */
export class KeyLookup {
  readonly #steps: Transaction;
  readonly #policy: () => PolicySet;
  readonly #catalog: KeyCatalog;

  constructor(steps: Transaction, policy: () => PolicySet, catalog: KeyCatalog) {
    this.#steps = steps;
    this.#policy = policy;
    this.#catalog = catalog;
  }

  publicKey(caller: Caller, call: Call, request: { key: string; version: number }): Promise<Published> {
    return this.#steps.recorded(async () => {
      const asked = { ...request, algorithm: '' };
      const use = this.#steps.use(caller, call, {
        operation: 'verify',
        recordedAs: 'get-public-key',
        asked,
        content: 'none',
        bytes: 0,
      });
      this.#steps.wellFormed(use, () => undefined);
      const usable = this.#policy().usableOperations(caller.identity.spiffeId.id, request.key);
      const version = isReservedKeyName(request.key)
        ? undefined
        : this.#catalog.find(request.key, request.version);
      if (usable.length === 0 || version === undefined) {
        throw new Refused(use, denied());
      }
      const [first, ...rest] = distinctPublicKeys(version);
      if (first === undefined)
        throw new Refused(use, new Failure('REQUEST_INVALID', 'the key has no public half'));
      return {
        version,
        published: publishKey(first, version.algorithms),
        others: rest.map((spki) => publishKey(spki, version.algorithms)),
      };
    });
  }

  /** Names that the caller may use, with what it may do; nothing of the others. */
  usableKeys(caller: Caller, call: Call): Promise<readonly UsableKey[]> {
    return this.#steps.recorded(async () => {
      const asked = { key: '', algorithm: '', version: 0 };
      this.#steps.wellFormed(
        this.#steps.use(caller, call, {
          operation: 'verify',
          recordedAs: 'list-keys',
          asked,
          content: 'none',
          bytes: 0,
        }),
        () => undefined,
      );
      const policy = this.#policy();
      const found = [];
      for (const name of this.#catalog.names()) {
        if (isReservedKeyName(name)) continue;
        const version = this.#catalog.find(name, 0);
        if (version === undefined) continue;
        const fitting = OPERATIONS_OF[version.purpose];
        const operations = policy
          .usableOperations(caller.identity.spiffeId.id, name)
          .filter((operation) => fitting.includes(operation));
        if (operations.length > 0) found.push({ version, operations });
      }
      return found;
    });
  }
}

/** A key that could not be replicated is another on each token, all of them published. */
export function distinctPublicKeys(version: KeyVersion): readonly Uint8Array[] {
  const found = new Map<string, Uint8Array>();
  for (const { publicKey } of version.objects) {
    if (publicKey.length > 0) found.set(Buffer.from(publicKey).toString('latin1'), publicKey);
  }
  return [...found.values()];
}
