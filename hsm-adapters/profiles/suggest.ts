/** Which profile a module is likely to want, by what it says about itself; `generic` when nothing is recognised. */
export function suggestProfile(module: {
  readonly manufacturer: string;
  readonly library: string;
  readonly path: string;
}): string {
  const text = `${module.manufacturer} ${module.library} ${module.path}`;
  return HINTS.find(([, hint]) => hint.test(text))?.[0] ?? 'generic';
}

// In this order: p11-kit's client also names what is behind it.
const HINTS: readonly (readonly [profile: string, hint: RegExp])[] = [
  ['p11-kit', /p11-kit|PKCS#11 Kit/i],
  ['softhsm2', /softhsm/i],
  ['opencryptoki', /opencryptoki/i],
  ['tpm2', /tpm2[-_. ]?(pkcs11|software)/i],
  ['nss', /\bNSS\b|softokn/i],
  ['cloudhsm', /cloudhsm|cavium/i],
  ['luna', /chrystoki|cryptoki2|safenet|\bluna\b/i],
  ['nshield', /cknfast|nshield|ncipher/i],
];
