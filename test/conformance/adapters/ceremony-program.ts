import { createPrivateKey } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { TokenConfig } from '../../../hsm-adapters/adapter.ts';
import { type ChildUser, dropPrivileges } from '../../../hsm-adapters/frames/child-side.ts';
import { CKA, CKK, CKM, CKO, CKU } from '../../../hsm-adapters/pkcs11/constants.ts';
import { type Attribute, Cryptoki, mechanism } from '../../../hsm-adapters/pkcs11/cryptoki.ts';
import { readPublicKey } from '../../../hsm-adapters/pkcs11/objects.ts';
import { findToken } from '../../../hsm-adapters/pkcs11/token.ts';
import { findProfile } from '../../../hsm-adapters/profiles/profiles.ts';

/**
 * A program for tests: puts keys on a token that the product does not make, in the clear where a test needs to know
 * them. Standard input: `{ config, user, order }` as JSON. Standard output: the SPKI in base64 of a key pair that was
 * made, or nothing.
 */
export type CeremonyOrder =
  /** An AES key whose value the test knows, to unwrap with. */
  | { readonly make: 'unwrapping-aes'; readonly ckaId: string; readonly value: string }
  /** An RSA key pair to unwrap with. */
  | { readonly make: 'unwrapping-rsa'; readonly ckaId: string }
  /** An RSA private key of the test's, PKCS #8 in hex, to decrypt with. */
  | { readonly make: 'decrypting-rsa'; readonly ckaId: string; readonly pkcs8: string }
  /** Nothing: says how many token objects there are. */
  | { readonly make: 'count-objects' };

interface Request {
  readonly config: TokenConfig;
  readonly user?: ChildUser;
  readonly order: CeremonyOrder;
}

const { config, user, order } = JSON.parse(readFileSync(0, 'utf8')) as Request;
const pin = config.pin.kind === 'file' ? readFileSync(config.pin.path, 'utf8').trimEnd() : '';
dropPrivileges(user);
const cryptoki = Cryptoki.load(config.module);
const variable = findProfile(config.profile)?.libraryParameters;
cryptoki.initialize(variable === undefined ? undefined : config.environment[variable]);
const { slot } = findToken(cryptoki, config);
const session = cryptoki.openSession(slot, 'read-write');
cryptoki.login(session, CKU.USER, pin);
perform(order);
cryptoki.finalize();

function perform(what: CeremonyOrder): void {
  switch (what.make) {
    case 'unwrapping-aes':
      cryptoki.createObject(session, [
        { type: CKA.CLASS, value: CKO.SECRET_KEY },
        { type: CKA.KEY_TYPE, value: CKK.AES },
        ...shared(what.ckaId),
        { type: CKA.UNWRAP, value: true },
        { type: CKA.VALUE, value: Buffer.from(what.value, 'hex') },
      ]);
      return;
    case 'unwrapping-rsa': {
      const pair = cryptoki.generateKeyPair(
        session,
        mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
        [
          { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
          { type: CKA.TOKEN, value: true },
          { type: CKA.ID, value: Buffer.from(what.ckaId, 'hex') },
          { type: CKA.MODULUS_BITS, value: 2048 },
          { type: CKA.PUBLIC_EXPONENT, value: Buffer.from([1, 0, 1]) },
          { type: CKA.WRAP, value: true },
          { type: CKA.ENCRYPT, value: true },
        ],
        [
          { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
          ...shared(what.ckaId),
          { type: CKA.SENSITIVE, value: true },
          { type: CKA.UNWRAP, value: true },
          { type: CKA.DECRYPT, value: true },
        ],
      );
      const spki = readPublicKey(cryptoki, session, 'rsa', pair.publicKey);
      process.stdout.write(Buffer.from(spki).toString('base64'));
      return;
    }
    case 'decrypting-rsa': {
      const jwk = createPrivateKey({
        key: Buffer.from(what.pkcs8, 'hex'),
        format: 'der',
        type: 'pkcs8',
      }).export({ format: 'jwk' });
      const number = (field: string | undefined) => Buffer.from(field ?? '', 'base64url');
      cryptoki.createObject(session, [
        { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
        { type: CKA.KEY_TYPE, value: CKK.RSA },
        ...shared(what.ckaId),
        { type: CKA.SENSITIVE, value: true },
        { type: CKA.DECRYPT, value: true },
        { type: CKA.MODULUS, value: number(jwk.n) },
        { type: CKA.PUBLIC_EXPONENT, value: number(jwk.e) },
        { type: 0x123, value: number(jwk.d) },
        { type: 0x124, value: number(jwk.p) },
        { type: 0x125, value: number(jwk.q) },
        { type: 0x126, value: number(jwk.dp) },
        { type: 0x127, value: number(jwk.dq) },
        { type: 0x128, value: number(jwk.qi) },
      ]);
      return;
    }
    case 'count-objects': {
      const found = cryptoki.findObjects(session, [{ type: CKA.TOKEN, value: true }], 100);
      process.stdout.write(String(found.length));
      return;
    }
    default:
      what satisfies never;
  }
}

function shared(ckaId: string): Attribute[] {
  return [
    { type: CKA.TOKEN, value: true },
    { type: CKA.PRIVATE, value: true },
    { type: CKA.ID, value: Buffer.from(ckaId, 'hex') },
    { type: CKA.LABEL, value: ckaId },
  ];
}
