import type { CertificateProfile } from './decision.ts';
import { parseDuration } from './duration.ts';
import { PatternError, parseSpiffeIdPattern } from './pattern.ts';
import type { Report } from './report.ts';
import type { CertificateProfileDocument } from './schema.ts';
import type { YamlPath } from './source.ts';
import { quoteSource } from './source-issue.ts';

const CERTIFICATE = /-----BEGIN CERTIFICATE-----\s[A-Za-z0-9+/=\s]+-----END CERTIFICATE-----/g;
const MAX_BACKDATE_SECONDS = 3600;

/** Everything that can be said of a profile without reading certificates: those are read where they are used. */
export function loadProfile(
  profile: CertificateProfileDocument,
  path: YamlPath,
  report: Report,
): CertificateProfile {
  checkIssuer(profile.issuer, [...path, 'issuer'], report);
  for (const [i, uri] of (profile.names.uri ?? []).entries())
    checkUri(uri, [...path, 'names', 'uri', i], report);
  const { keyUsage, ca } = profile;
  if (keyUsage.includes('keyCertSign') !== (ca !== undefined)) {
    report.refuse([...path, 'keyUsage'], '`keyCertSign` and `ca` go together (RFC 5280, section 4.2.1.9)');
  }
  if (new Set(keyUsage).size !== keyUsage.length)
    report.refuse([...path, 'keyUsage'], 'a usage stands there twice');
  const at = [...path, 'validity'];
  const max = seconds(profile.validity.max) ?? 0;
  const preset = seconds(profile.validity.default);
  const backdate = seconds(profile.validity.backdate);
  if (max < 1 || max % 1 !== 0) report.refuse([...at, 'max'], 'is less than whole seconds');
  if (preset !== undefined && (preset > max || preset < 1))
    report.refuse([...at, 'default'], '`default` is not within `max`');
  if (backdate !== undefined && backdate > MAX_BACKDATE_SECONDS)
    report.refuse([...at, 'backdate'], '`backdate` is more than 1h');
  return {
    id: profile.id,
    issuer: profile.issuer,
    subject: present(profile.subject),
    names: present(profile.names),
    ...(profile.wildcards === undefined ? {} : { wildcards: profile.wildcards }),
    validity: {
      max,
      ...(preset === undefined ? {} : { default: preset }),
      ...(backdate === undefined ? {} : { backdate }),
    },
    keyUsage,
    ...(profile.extKeyUsage === undefined ? {} : { extKeyUsage: profile.extKeyUsage }),
    ...(ca === undefined ? {} : { ca: present(ca) }),
    ...(profile.possession === undefined ? {} : { possession: profile.possession }),
  };
}

function checkIssuer(issuer: string, path: YamlPath, report: Report): void {
  if (issuer === 'self') return;
  if (issuer.includes('PRIVATE KEY')) {
    report.refuse(path, 'a private key stands there: take it out of the file, and hold it for disclosed');
  } else if (issuer.replace(CERTIFICATE, '').trim() !== '' || issuer.trim() === '') {
    report.refuse(path, 'is neither `self` nor certificates in PEM and nothing else');
  }
}

function checkUri(uri: string, path: YamlPath, report: Report): void {
  if (!uri.startsWith('spiffe:')) {
    const star = uri.indexOf('*');
    if (!/^[a-z][a-z0-9+.-]*:/.test(uri) || (star >= 0 && (star !== uri.length - 1 || !uri.endsWith('/*')))) {
      report.refuse(path, `${quoteSource(uri)} is neither a URI nor a prefix that ends in \`/*\``);
    }
    return;
  }
  try {
    parseSpiffeIdPattern(uri);
  } catch (error) {
    if (!(error instanceof PatternError)) throw error;
    report.refuse(path, `${quoteSource(uri)} ${error.message}`, error.expected);
  }
}

function seconds(text: string | undefined): number | undefined {
  const ms = text === undefined ? undefined : parseDuration(text);
  return ms === undefined ? undefined : ms / 1000;
}

type Present<T> = { readonly [name in keyof T]?: Exclude<T[name], undefined> };

/** Without the names whose value is undefined. */
function present<T extends object>(object: T): Present<T> {
  return Object.fromEntries(Object.entries(object).filter(([, value]) => value !== undefined)) as Present<T>;
}
