import { createPublicKey } from 'node:crypto';
import type { Algorithm, KeyPurpose, KeySpec } from '../../hsm-adapters/adapter.ts';
import { canonicalize } from '../audit/canonical.ts';
import type { KeyVersionRow, StateStore } from '../state/state-store.ts';
import { sha256Text } from './algorithms.ts';

/** NIST SP 800-57 part 1, section 7. */
export type KeyState =
  | 'pre-activation'
  | 'active'
  | 'suspended'
  | 'deactivated'
  | 'compromised'
  | 'destroyed';
export type Verification = 'always' | 'sampled' | 'never';

export interface TokenObject {
  readonly tokenSerial: string;
  readonly ckaId: string;
  /** SubjectPublicKeyInfo, DER; empty for secret keys. The same object in every copy of the catalog. */
  readonly publicKey: Uint8Array;
  /** What proves a secret key by use: a canary ciphertext or a MAC. */
  readonly proof: Uint8Array;
}

export interface KeyVersion {
  readonly name: string;
  readonly version: number;
  /** `name#version`. */
  readonly id: string;
  readonly purpose: KeyPurpose;
  readonly algorithms: readonly Algorithm[];
  readonly spec: KeySpec;
  readonly state: KeyState;
  readonly createdAt: string;
  readonly provenance: string;
  readonly verify: Verification;
  readonly decryptOnly: boolean;
  /** It takes bare messages and digests although a rule of typed signing names it. */
  readonly rawSigning: boolean;
  readonly objects: readonly TokenObject[];
}

/** Which keys exist, in memory and durable: names, numbered versions, and the objects that hold them. */
export class KeyCatalog {
  readonly #store: StateStore;
  readonly #byName = new Map<string, KeyVersion[]>();

  constructor(store: StateStore) {
    this.#store = store;
    for (const row of store.keyVersions()) this.#remember(fromRow(row));
  }

  #remember(version: KeyVersion): void {
    const versions = this.#byName.get(version.name) ?? [];
    versions.push(version);
    versions.sort((a, b) => a.version - b.version);
    this.#byName.set(version.name, versions);
  }

  names(): readonly string[] {
    return [...this.#byName.keys()].sort();
  }

  versions(name: string): readonly KeyVersion[] {
    return this.#byName.get(name) ?? [];
  }

  all(): readonly KeyVersion[] {
    return this.names().flatMap((name) => this.versions(name));
  }

  /** 0: the newest active version. */
  find(name: string, version: number): KeyVersion | undefined {
    const versions = this.#byName.get(name);
    if (versions === undefined) return undefined;
    if (version === 0) return versions.findLast((candidate) => candidate.state === 'active');
    return versions.find((candidate) => candidate.version === version);
  }

  /** Durable when it returns. */
  add(version: KeyVersion): void {
    this.#store.insertKeyVersion({
      ...version,
      spec: JSON.stringify(version.spec),
    });
    this.#remember(version);
  }
}

/** What an approval of a use of this key is bound to, as canonical JSON: another key, or another setting, is another act. */
export function catalogEntryOf(version: KeyVersion): string {
  let entry = catalogEntries.get(version);
  if (entry === undefined) {
    entry = makeCatalogEntry(version);
    catalogEntries.set(version, entry);
  }
  return entry;
}

/** Versions never change: what has changed is another object. */
const catalogEntries = new WeakMap<KeyVersion, string>();

function makeCatalogEntry(version: KeyVersion): string {
  return canonicalize({
    key: version.name,
    version: version.version,
    purpose: version.purpose,
    algorithms: [...version.algorithms],
    spec: JSON.stringify(version.spec),
    provenance: version.provenance,
    verify: version.verify,
    rawSigning: version.rawSigning,
    // In an order of their own: a key that was just made has them in that of its making, and one that was read from the
    // state in another, and a restart must not make another act of what people have agreed to.
    objects: version.objects
      .map(({ tokenSerial, ckaId, publicKey }) => ({
        token: tokenSerial,
        id: ckaId,
        publicKey: sha256Text(publicKey),
      }))
      .sort((a, b) => (a.token < b.token ? -1 : 1)),
  });
}

function fromRow(row: KeyVersionRow): KeyVersion {
  return {
    ...row,
    id: `${row.name}#${row.version}`,
    purpose: row.purpose as KeyPurpose,
    algorithms: row.algorithms as readonly Algorithm[],
    spec: JSON.parse(row.spec) as KeySpec,
    state: row.state as KeyState,
    verify: row.verify as Verification,
    objects: row.objects,
  };
}

export interface PublishedKey {
  readonly pem: string;
  readonly jwk: Record<string, unknown>;
  /** RFC 7638 thumbprint, SHA-256. */
  readonly kid: string;
}

/** PEM, JWK (RFC 7517) and thumbprint of a public key. */
export function publishKey(spki: Uint8Array, algorithms: readonly Algorithm[]): PublishedKey {
  const key = createPublicKey({ key: Buffer.from(spki), format: 'der', type: 'spki' });
  const jwk = key.export({ format: 'jwk' }) as Record<string, string>;
  // RFC 7638, section 3.2: the required members, in lexicographic order.
  const members =
    jwk['kty'] === 'RSA'
      ? { e: jwk['e'], kty: jwk['kty'], n: jwk['n'] }
      : jwk['kty'] === 'EC'
        ? { crv: jwk['crv'], kty: jwk['kty'], x: jwk['x'], y: jwk['y'] }
        : { crv: jwk['crv'], kty: jwk['kty'], x: jwk['x'] };
  const kid = sha256Text(Buffer.from(JSON.stringify(members)));
  return {
    pem: key.export({ format: 'pem', type: 'spki' }) as string,
    jwk: { ...jwk, kid, ...(algorithms.length === 1 ? { alg: algorithms[0] } : {}) },
    kid,
  };
}
