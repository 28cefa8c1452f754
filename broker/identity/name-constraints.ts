import type { GeneralName } from '@peculiar/asn1-x509';
import type { ParsedCertificate } from './certificate.ts';
import { IdentityError } from './identity.ts';

/**
 * Holds the names of the certificates below an authority to that authority's name constraints (RFC 5280, section
 * 4.2.1.10). URI and DNS names are enforced. A constraint on any other kind of name is refused outright when a
 * certificate below has a name of that kind: unenforced is not the same as absent.
 *
 * @throws IdentityError
 */
export function checkNameConstraints(
  authority: ParsedCertificate,
  below: readonly ParsedCertificate[],
): void {
  const constraints = authority.nameConstraints;
  if (constraints === undefined) return;
  const permitted = bases(constraints.permittedSubtrees ?? []);
  const excluded = bases(constraints.excludedSubtrees ?? []);
  const constrained = new Set([...permitted, ...excluded].map(kind));
  for (const certificate of below) {
    for (const name of namesOf(certificate)) {
      if (!constrained.has(name.kind)) continue;
      if (name.kind !== 'uri' && name.kind !== 'dns') {
        throw outside(`an authority constrains names of a kind that is not enforced here (${name.kind})`);
      }
      const sameKind = (base: GeneralName) => kind(base) === name.kind;
      const allowing = permitted.filter(sameKind);
      if (allowing.length > 0 && !allowing.some((base) => isWithin(name, text(base), 'every'))) {
        throw outside(`a ${name.kind.toUpperCase()} name is outside what its authority may issue`);
      }
      if (excluded.filter(sameKind).some((base) => isWithin(name, text(base), 'any'))) {
        throw outside(`a ${name.kind.toUpperCase()} name is excluded by its authority`);
      }
    }
  }
}

type Kind = 'uri' | 'dns' | 'directory' | 'other';
interface Name {
  readonly kind: Kind;
  readonly text: string;
}

function kind(name: GeneralName): Kind {
  if (name.uniformResourceIdentifier !== undefined) return 'uri';
  if (name.dNSName !== undefined) return 'dns';
  if (name.directoryName !== undefined) return 'directory';
  return 'other';
}

function text(name: GeneralName): string {
  return (name.uniformResourceIdentifier ?? name.dNSName ?? '').toLowerCase();
}

function bases(subtrees: Iterable<{ base: GeneralName; minimum: number; maximum?: number }>): GeneralName[] {
  return [...subtrees].map(({ base, minimum, maximum }) => {
    // RFC 5280: minimum MUST be zero and maximum MUST be absent.
    if (minimum !== 0 || maximum !== undefined) throw outside('name constraints have a minimum or a maximum');
    return base;
  });
}

function* namesOf(certificate: ParsedCertificate): Iterable<Name> {
  if (!certificate.subjectIsEmpty) yield { kind: 'directory', text: '' };
  for (const name of certificate.alternativeNames) yield { kind: kind(name), text: text(name) };
}

/** Whether every host that `name` can stand for, or any of them, lies within `base`. They differ for wildcards. */
function isWithin(name: Name, base: string, which: 'every' | 'any'): boolean {
  if (name.kind === 'uri') {
    const host = /^[a-z][a-z0-9+.-]*:\/\/([a-z0-9._-]+)(?:\/|$)/.exec(name.text)?.[1];
    // A URI without a plain host cannot be shown to be inside, nor to be outside.
    if (host === undefined) return which === 'any';
    return base.startsWith('.') ? host.endsWith(base) && host.length > base.length : host === base;
  }
  const bare = base.startsWith('.') ? base.slice(1) : base;
  const within = (host: string) =>
    bare === '' || (!base.startsWith('.') && host === bare) || host.endsWith(`.${bare}`);
  if (!name.text.startsWith('*.')) return within(name.text);
  const parent = name.text.slice(2);
  return within(`x.${parent}`) || (which === 'any' && bare.endsWith(`.${parent}`));
}

function outside(message: string): IdentityError {
  return new IdentityError('SVID_UNTRUSTED', message);
}
