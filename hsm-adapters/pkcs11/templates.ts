import type { KeyPurpose, KeySpec, NewObject } from '../adapter.ts';
import type { OmittedAttribute, Profile } from '../profiles/profile.ts';
import { CKA, CKK, CKM, CKO } from './constants.ts';
import { type Attribute, type Mechanism, mechanism } from './cryptoki.ts';
import { ecParams, type PublicMaterial } from './public-key.ts';

/**
 * Attribute templates. Every flag is stated: what is left out gets the module's default, and SoftHSM's are
 * not sensitive, and every usage on.
 *
 * A key pair's usages are split as the standard splits them: signing on the private object, verifying on the
 * public one. A secret key has both of its pair.
 */

/** Where the private or secret object lives, and whether it may be wrapped. */
export type Lifetime =
  /** A key for good: a token object, never extractable. */
  | 'permanent'
  /** On its way to other tokens: a session object, extractable, gone with its session. */
  | 'travelling'
  /** To try what a module can do: a session object, never extractable, gone with its session. */
  | 'temporary';

function flags(values: Readonly<Record<number, boolean>>, profile?: Profile): Attribute[] {
  return Object.entries(values)
    .map(([type, value]) => ({ type: Number(type), value }))
    .filter(({ type }) => profile === undefined || !isOmitted(profile, type));
}

const OMITTABLE: Readonly<Record<OmittedAttribute, number>> = {
  CKA_COPYABLE: CKA.COPYABLE,
  CKA_MODIFIABLE: CKA.MODIFIABLE,
  CKA_WRAP_WITH_TRUSTED: CKA.WRAP_WITH_TRUSTED,
  CKA_SIGN_RECOVER: CKA.SIGN_RECOVER,
  CKA_VERIFY_RECOVER: CKA.VERIFY_RECOVER,
  CKA_DERIVE: CKA.DERIVE,
  CKA_ALWAYS_AUTHENTICATE: CKA.ALWAYS_AUTHENTICATE,
  CKA_LOCAL: CKA.LOCAL,
  CKA_NEVER_EXTRACTABLE: CKA.NEVER_EXTRACTABLE,
  CKA_ALWAYS_SENSITIVE: CKA.ALWAYS_SENSITIVE,
};

/** The module does not know the attribute, or does not keep it: what is read there says nothing. */
export function isOmitted(profile: Profile, attribute: number): boolean {
  return profile.omits.some((name) => OMITTABLE[name] === attribute);
}

function identity(object: Pick<NewObject, 'ckaId' | 'label'>): Attribute[] {
  return [
    { type: CKA.ID, value: Buffer.from(object.ckaId, 'hex') },
    { type: CKA.LABEL, value: object.label },
  ];
}

/**
 * Belongs at the end of a template, in this order: SoftHSM refuses every attribute of an unwrap template that
 * comes after CKA_MODIFIABLE=false.
 */
function fixed(profile: Profile): Attribute[] {
  return [
    { type: CKA.COPYABLE, value: false },
    { type: CKA.MODIFIABLE, value: false },
  ].filter(({ type }) => !isOmitted(profile, type));
}

export function keyType(spec: KeySpec): number {
  switch (spec.type) {
    case 'ec':
      return CKK.EC;
    case 'ed25519':
      return CKK.EC_EDWARDS;
    case 'rsa':
      return CKK.RSA;
    case 'aes':
      return CKK.AES;
    case 'hmac':
      return CKK.GENERIC_SECRET;
    default:
      return spec satisfies never;
  }
}

/** The purpose that a spec can have; undefined for pairings that make no sense. */
export function fitsPurpose(spec: KeySpec, purpose: KeyPurpose): boolean {
  switch (spec.type) {
    case 'ec':
    case 'ed25519':
      return purpose === 'sign';
    case 'rsa':
      return purpose === 'sign' || purpose === 'encrypt';
    case 'aes':
      return purpose === 'encrypt';
    case 'hmac':
      return purpose === 'mac';
    default:
      return spec satisfies never;
  }
}

export function isSecret(spec: KeySpec): boolean {
  return spec.type === 'aes' || spec.type === 'hmac';
}

/** The `usages` that a key made here reads back with: the usage pair, over both objects of a key pair. */
export function usagesOf(purpose: KeyPurpose): readonly string[] {
  return purpose === 'encrypt' ? ['encrypt', 'decrypt'] : ['sign', 'verify'];
}

export function privateTemplate(object: NewObject, lifetime: Lifetime, profile: Profile): Attribute[] {
  const permanent = lifetime === 'permanent';
  return [
    { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
    { type: CKA.KEY_TYPE, value: keyType(object.spec) },
    ...identity(object),
    ...flags(
      {
        [CKA.TOKEN]: permanent,
        [CKA.PRIVATE]: true,
        [CKA.SENSITIVE]: true,
        [CKA.EXTRACTABLE]: lifetime === 'travelling',
        [CKA.SIGN]: object.purpose === 'sign',
        [CKA.SIGN_RECOVER]: false,
        [CKA.DECRYPT]: object.purpose === 'encrypt',
        [CKA.UNWRAP]: false,
        [CKA.DERIVE]: false,
        [CKA.WRAP_WITH_TRUSTED]: false,
      },
      profile,
    ),
    ...fixed(profile),
  ];
}

function publicFlags(object: NewObject, permanent: boolean, profile: Profile): Attribute[] {
  return [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    { type: CKA.KEY_TYPE, value: keyType(object.spec) },
    ...identity(object),
    ...flags(
      {
        [CKA.TOKEN]: permanent,
        [CKA.PRIVATE]: false,
        ...(profile.crossedUsages
          ? {}
          : {
              [CKA.VERIFY]: object.purpose === 'sign',
              [CKA.ENCRYPT]: object.purpose === 'encrypt',
            }),
        [CKA.VERIFY_RECOVER]: false,
        [CKA.WRAP]: false,
        [CKA.DERIVE]: false,
      },
      profile,
    ),
  ];
}

const EXPONENT_65537 = Buffer.from([1, 0, 1]);

export function publicTemplate(object: NewObject, lifetime: Lifetime, profile: Profile): Attribute[] {
  const template = publicFlags(object, lifetime === 'permanent', profile);
  const { spec } = object;
  if (spec.type === 'rsa') {
    template.push(
      { type: CKA.MODULUS_BITS, value: spec.modulusBits },
      { type: CKA.PUBLIC_EXPONENT, value: EXPONENT_65537 },
    );
  } else if (spec.type === 'ec' || spec.type === 'ed25519') {
    template.push({ type: CKA.EC_PARAMS, value: ecParams(spec) });
  }
  return [...template, ...fixed(profile)];
}

/** For C_CreateObject: the public half of a private key that came wrapped, and brought none. */
export function publicObjectTemplate(
  object: NewObject,
  material: PublicMaterial,
  profile: Profile,
): Attribute[] {
  const template = publicFlags(object, true, profile);
  const { spec } = object;
  if (material.type === 'rsa') {
    template.push(
      { type: CKA.MODULUS, value: material.modulus },
      { type: CKA.PUBLIC_EXPONENT, value: material.exponent },
    );
  } else if (spec.type === 'ec' || spec.type === 'ed25519') {
    template.push(
      { type: CKA.EC_PARAMS, value: ecParams(spec) },
      { type: CKA.EC_POINT, value: material.point },
    );
  }
  return [...template, ...fixed(profile)];
}

export function secretTemplate(
  object: NewObject,
  lifetime: Lifetime,
  profile: Profile,
  origin: 'generated' | 'unwrapped',
): Attribute[] {
  const permanent = lifetime === 'permanent';
  const encrypts = object.purpose === 'encrypt';
  const template: Attribute[] = [
    { type: CKA.CLASS, value: CKO.SECRET_KEY },
    { type: CKA.KEY_TYPE, value: keyType(object.spec) },
    ...identity(object),
    ...flags(
      {
        [CKA.TOKEN]: permanent,
        [CKA.PRIVATE]: true,
        [CKA.SENSITIVE]: true,
        [CKA.EXTRACTABLE]: lifetime === 'travelling',
        [CKA.ENCRYPT]: encrypts,
        [CKA.DECRYPT]: encrypts,
        [CKA.SIGN]: !encrypts,
        [CKA.VERIFY]: !encrypts,
        [CKA.WRAP]: false,
        [CKA.UNWRAP]: false,
        [CKA.DERIVE]: false,
        [CKA.WRAP_WITH_TRUSTED]: false,
      },
      profile,
    ),
  ];
  // In an unwrap template SoftHSM refuses the length (CKR_ATTRIBUTE_READ_ONLY); it is read back instead.
  if (
    (origin === 'generated' || profile.keyWrap.valueLenOnUnwrap) &&
    (object.spec.type === 'aes' || object.spec.type === 'hmac')
  ) {
    template.push({ type: CKA.VALUE_LEN, value: object.spec.bytes });
  }
  return [...template, ...fixed(profile)];
}

const KEY_GENERATION = {
  ec: mechanism(CKM.EC_KEY_PAIR_GEN),
  ed25519: mechanism(CKM.EC_EDWARDS_KEY_PAIR_GEN),
  rsa: mechanism(CKM.RSA_PKCS_KEY_PAIR_GEN),
  aes: mechanism(CKM.AES_KEY_GEN),
  hmac: mechanism(CKM.GENERIC_SECRET_KEY_GEN),
} as const satisfies Record<KeySpec['type'], Mechanism>;

export function generationMechanism(spec: KeySpec): Mechanism {
  return KEY_GENERATION[spec.type];
}

/** A one-time AES-256 key that carries one key to one destination. `extractable`: it must itself be wrapped. */
export function carrierTemplate(role: 'wrapping' | 'unwrapping' | 'local'): Attribute[] {
  return [
    { type: CKA.CLASS, value: CKO.SECRET_KEY },
    { type: CKA.KEY_TYPE, value: CKK.AES },
    ...flags({
      [CKA.TOKEN]: false,
      [CKA.PRIVATE]: true,
      [CKA.SENSITIVE]: true,
      [CKA.EXTRACTABLE]: role === 'wrapping',
      [CKA.ENCRYPT]: false,
      [CKA.DECRYPT]: false,
      [CKA.SIGN]: false,
      [CKA.VERIFY]: false,
      [CKA.WRAP]: role !== 'unwrapping',
      [CKA.UNWRAP]: role !== 'wrapping',
      [CKA.DERIVE]: false,
    }),
    ...(role === 'unwrapping' ? [] : [{ type: CKA.VALUE_LEN, value: 32 }]),
  ];
}

/** Of the public half, where it is made and where it is imported: it wraps, and does nothing else. */
const TRANSPORT_PUBLIC_FLAGS: readonly Attribute[] = flags({
  [CKA.TOKEN]: false,
  [CKA.PRIVATE]: false,
  [CKA.ENCRYPT]: false,
  [CKA.VERIFY]: false,
  [CKA.VERIFY_RECOVER]: false,
  [CKA.WRAP]: true,
  [CKA.DERIVE]: false,
});

/** The destination's RSA pair that a carrier key travels under: session objects, good for wrapping alone. */
export function transportTemplates(modulusBits: number): { publicKey: Attribute[]; privateKey: Attribute[] } {
  return {
    publicKey: [
      { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
      { type: CKA.MODULUS_BITS, value: modulusBits },
      { type: CKA.PUBLIC_EXPONENT, value: EXPONENT_65537 },
      ...TRANSPORT_PUBLIC_FLAGS,
    ],
    privateKey: [
      { type: CKA.CLASS, value: CKO.PRIVATE_KEY },
      ...flags({
        [CKA.TOKEN]: false,
        [CKA.PRIVATE]: true,
        [CKA.SENSITIVE]: true,
        [CKA.EXTRACTABLE]: false,
        [CKA.SIGN]: false,
        [CKA.SIGN_RECOVER]: false,
        [CKA.DECRYPT]: false,
        [CKA.UNWRAP]: true,
        [CKA.DERIVE]: false,
      }),
    ],
  };
}

/** On the source: the destination's transport key, imported to wrap with. */
export function transportPublicTemplate(modulus: Buffer, exponent: Buffer): Attribute[] {
  return [
    { type: CKA.CLASS, value: CKO.PUBLIC_KEY },
    { type: CKA.KEY_TYPE, value: CKK.RSA },
    { type: CKA.MODULUS, value: modulus },
    { type: CKA.PUBLIC_EXPONENT, value: exponent },
    ...TRANSPORT_PUBLIC_FLAGS,
  ];
}
