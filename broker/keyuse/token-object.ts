/** What the object of a key must be on its token. Nothing here asks a token: what was read back is compared. */
import type { ObjectAttributes } from '../../hsm-adapters/adapter.ts';
import type { KeyVersion, TokenObject } from './key-catalog.ts';
import { sameBytes } from './same-bytes.ts';

/** What is looked for: the private half of a pair, or the secret key itself. */
export function kindOf({ purpose, spec }: Pick<KeyVersion, 'purpose' | 'spec'>): 'private' | 'secret' {
  return purpose === 'sign' || spec.type === 'rsa' ? 'private' : 'secret';
}

/** What of the object is not as the catalog and the templates have it; undefined when all is. */
export function differenceFrom(
  version: KeyVersion,
  object: TokenObject,
  found: ObjectAttributes,
): string | undefined {
  if (JSON.stringify(sorted(found.spec)) !== JSON.stringify(sorted(version.spec))) {
    return `it is ${JSON.stringify(found.spec)}, the catalog says ${JSON.stringify(version.spec)}`;
  }
  // Before the flags: which key it is tells an operator more than how it was made.
  if (
    found.publicKey.length > 0 &&
    object.publicKey.length > 0 &&
    !sameBytes(found.publicKey, object.publicKey)
  ) {
    return 'its public key is not the one of the catalog: it is another key';
  }
  if (!found.sensitive) return 'CKA_SENSITIVE is false';
  if (found.extractable) return 'CKA_EXTRACTABLE is true: it could be taken out of the token';
  const isBound = version.provenance === 'bound';
  const isImported = isBound || version.provenance === 'imported';
  // What the templates made is as they say. An object that was there before is as its makers left it.
  if (!isBound && found.modifiable) return 'CKA_MODIFIABLE is true';
  if (!isBound && found.copyable) return 'CKA_COPYABLE is true';
  if (version.provenance === 'created') {
    if (!found.local) return 'CKA_LOCAL is false: it was not made on the token';
    if (!found.alwaysSensitive) return 'CKA_ALWAYS_SENSITIVE is false: it could be read once';
    if (!found.neverExtractable) return 'CKA_NEVER_EXTRACTABLE is false: it could be taken out once';
  }
  const allowed = USAGES[version.purpose];
  const excess = found.usages.filter((usage) => !allowed.includes(usage));
  if (excess.length > 0) return `it may also ${excess.join(', ')}: a key has one purpose`;
  const missing = allowed.find((usage) => !found.usages.includes(usage));
  if (missing !== undefined && !(isImported && missing === 'verify')) return `it may not ${missing}`;
  if (found.alwaysAuthenticate) return 'CKA_ALWAYS_AUTHENTICATE is true: it cannot be used unattended';
  return undefined;
}

const USAGES: Readonly<Record<KeyVersion['purpose'], readonly string[]>> = {
  sign: ['sign', 'verify'],
  mac: ['sign', 'verify'],
  encrypt: ['encrypt', 'decrypt'],
};

function sorted(value: object): object {
  return Object.fromEntries(Object.entries(value).sort(([a], [b]) => (a < b ? -1 : 1)));
}
