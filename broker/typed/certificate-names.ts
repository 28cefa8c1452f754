import { BlockList, isIP, isIPv4 } from 'node:net';
import {
  matchesPattern,
  PatternError,
  parseSpiffeIdPattern,
  spiffeIdSegments,
} from '../../policy/pattern.ts';
import { parseSpiffeId, SpiffeIdError } from '../../policy/spiffe-id.ts';
import type { CertificateProfile, SubjectAttribute } from './certificate-profile.ts';
import type { RequestedNames, RequestedSubject } from './csr.ts';
import { invalid } from './invalid.ts';

/**
 * Names that may stand in a certificate: each well-formed, in one spelling, and allowed by the profile.
 */

const MAX_NAMES = 100;
/** `**` becomes two segments of a pattern, of which there are at most 30. */
const MAX_PATTERN_LABELS = 15;
const LABEL = /^[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?$/;
// RFC 5322 `atext` without quotes, braces and the like: what other programs read in one way only.
const LOCAL_PART = /^[A-Za-z0-9!#$%&*+/=?^_~-]+(?:\.[A-Za-z0-9!#$%&*+/=?^_~-]+)*$/;
// RFC 3986 without percent-encoding and without what has to be quoted in listings of names.
const URI = /^[a-z][a-z0-9+.-]*:[A-Za-z0-9._~:/?#[\]@!$&()*+;=-]+$/;
/** RFC 5280, appendix A.1. */
const MAX_LENGTH: { readonly [attribute in SubjectAttribute]: number } = {
  C: 2,
  ST: 128,
  L: 128,
  O: 64,
  OU: 64,
  CN: 64,
  serialNumber: 64,
};

/** In the profile's order; fixed attributes are added. @throws Failure REQUEST_INVALID */
export function subjectFor(
  profile: CertificateProfile,
  requested: readonly { readonly type: string; readonly value: string }[],
): readonly RequestedSubject[] {
  const given = new Map<string, string>();
  for (const { type, value } of requested) {
    if (given.has(type)) throw invalid(`subject has ${type} twice`);
    if (!Object.entries(profile.subject).some(([name, pattern]) => name === type && pattern !== undefined))
      throw invalid(`the profile allows no ${type} in the subject`);
    given.set(type, value);
  }
  const subject: RequestedSubject[] = [];
  for (const [name, pattern] of Object.entries(profile.subject)) {
    const type = name as SubjectAttribute;
    if (pattern === undefined) continue;
    const value = given.get(type) ?? (pattern.includes('*') ? undefined : pattern);
    if (value === undefined) continue;
    checkText(type, value);
    if (!globMatches(pattern, value)) throw invalid(`the profile does not allow this ${type} in the subject`);
    subject.push({ type, value });
  }
  return subject;
}

function checkText(type: SubjectAttribute, value: string): void {
  const problem = textProblem(type, value);
  if (problem !== undefined) throw invalid(problem);
}

function textProblem(type: SubjectAttribute, value: string): string | undefined {
  // Control, format and unassigned characters can make a name read as another one.
  if (value === '' || value.trim() !== value || /\p{C}/u.test(value) || value.normalize('NFC') !== value) {
    return `${type} of the subject is empty, begins or ends with space, or has characters that do not show`;
  }
  if ([...value].length > MAX_LENGTH[type]) return `${type} of the subject is too long`;
  if (type === 'C' && !/^[A-Z]{2}$/.test(value)) return 'C of the subject is not two capital letters';
  if (type === 'serialNumber' && !/^[A-Za-z0-9 '()+,./:=?-]+$/.test(value)) {
    return 'serialNumber of the subject is not a PrintableString';
  }
  return undefined;
}

/** `*` stands for any characters. Takes time linear in the text for every part of the pattern. */
function globMatches(pattern: string, text: string): boolean {
  const [first = '', ...rest] = pattern.split('*');
  const last = rest.pop();
  if (last === undefined) return pattern === text;
  if (!text.startsWith(first) || !text.endsWith(last)) return false;
  let at = first.length;
  for (const part of rest) {
    const found = text.indexOf(part, at);
    if (found === -1) return false;
    at = found + part.length;
  }
  return at + last.length <= text.length;
}

/** Each in its one spelling, none twice. @throws Failure REQUEST_INVALID */
export function namesFor(profile: CertificateProfile, requested: RequestedNames): RequestedNames {
  const { dns = [], uri = [], email = [], ip = [] } = profile.names;
  const count = requested.dns.length + requested.uri.length + requested.email.length + requested.ip.length;
  if (count > MAX_NAMES) throw invalid(`more than ${MAX_NAMES} names are requested`);
  return {
    dns: all('DNS name', requested.dns.map(dnsName), (name) => isAllowedDns(profile, dns, name)),
    uri: all('URI', requested.uri.map(uniformResourceIdentifier), (name) =>
      uri.some((p) => uriMatches(p, name)),
    ),
    email: all('email address', requested.email.map(emailAddress), (name) =>
      email.some(
        (p) => p === name || (p.startsWith('*@') && name.slice(name.lastIndexOf('@')) === p.slice(1)),
      ),
    ),
    ip: all('IP address', requested.ip.map(ipAddress), (name) => ip.some((block) => isWithin(block, name))),
  };
}

function all(
  what: string,
  names: readonly string[],
  isAllowed: (name: string) => boolean,
): readonly string[] {
  for (const name of names) {
    if (!isAllowed(name)) throw invalid(`the profile does not allow the ${what} ${name}`);
  }
  return [...new Set(names)];
}

function dnsName(text: string): string {
  const name = text.toLowerCase();
  const labels = (name.startsWith('*.') ? name.slice(2) : name).split('.');
  if (
    name.length > 253 ||
    !labels.every((label) => LABEL.test(label)) ||
    /^[0-9]+$/.test(labels.at(-1) ?? '')
  ) {
    throw invalid('a DNS name is malformed');
  }
  return name;
}

function isAllowedDns(profile: CertificateProfile, patterns: readonly string[], name: string): boolean {
  if (name.startsWith('*.') && profile.wildcards !== true) return false;
  const labels = name.split('.');
  return patterns.some((text) => {
    // In rules `**` may stand for nothing; here a domain does not stand for what is above it.
    const segments = text.split('.').flatMap((segment) => (segment === '**' ? ['*', '**'] : [segment]));
    return matchesPattern({ text, segments, exact: !text.includes('*') }, labels);
  });
}

function uniformResourceIdentifier(text: string): string {
  if (text.length > 2048 || !URI.test(text))
    throw invalid('a URI is malformed, or has characters that are not taken');
  if (text.startsWith('spiffe:')) return parseSpiffe(text).id;
  // What a parser would tidy up is refused: `https://host/a/../b` is not below `https://host/a/`.
  if (!URL.canParse(text) || new URL(text).href !== text) throw invalid('a URI is not in its normal form');
  return text;
}

function parseSpiffe(text: string): ReturnType<typeof parseSpiffeId> {
  try {
    return parseSpiffeId(text);
  } catch (error) {
    if (error instanceof SpiffeIdError) throw invalid(`a URI is not a SPIFFE ID: ${error.message}`);
    throw error;
  }
}

function uriMatches(pattern: string, name: string): boolean {
  if (pattern === name) return true;
  if (pattern.startsWith('spiffe://')) {
    if (!name.startsWith('spiffe://') || !pattern.includes('*')) return false;
    return matchesPattern(parseSpiffeIdPattern(pattern), spiffeIdSegments(parseSpiffeId(name)));
  }
  return pattern.endsWith('/*') && name.startsWith(pattern.slice(0, -1)) && name.length >= pattern.length;
}

function emailAddress(text: string): string {
  const at = text.lastIndexOf('@');
  const local = text.slice(0, Math.max(at, 0));
  if (local.length > 64 || !LOCAL_PART.test(local)) throw invalid('an email address is malformed');
  const domain = dnsName(text.slice(at + 1));
  if (domain.startsWith('*')) throw invalid('an email address is malformed');
  return `${local}@${domain}`;
}

function ipAddress(text: string): string {
  if (isIPv4(text)) return text;
  if (isIP(text) !== 6 || text.includes('%')) throw invalid('an IP address is malformed');
  const canonical = new URL(`http://[${text}]`).hostname.slice(1, -1);
  // An IPv4 address in IPv6 clothes would be looked for under the wrong kind.
  if (canonical.startsWith('::ffff:')) throw invalid('an IP address is an IPv4 address mapped into IPv6');
  return canonical;
}

/** A pattern of the profile that can match nothing. Undefined: all is well. */
export function patternProblem({ names, subject }: CertificateProfile): string | undefined {
  for (const pattern of names.uri ?? []) {
    if (pattern.startsWith('spiffe://') && pattern.includes('*')) {
      try {
        parseSpiffeIdPattern(pattern);
      } catch (error) {
        if (error instanceof PatternError) return `names.uri \`${pattern}\` ${error.message}`;
        throw error;
      }
    } else if (!pattern.startsWith('spiffe://') && pattern.slice(0, -1).includes('*')) {
      return `names.uri \`${pattern}\` has a wildcard elsewhere than at its end`;
    }
  }
  for (const pattern of names.dns ?? []) {
    const labels = pattern.split('.');
    if (
      labels.length > MAX_PATTERN_LABELS ||
      !labels.every((label) => /^\*{1,2}$/.test(label) || LABEL.test(label))
    ) {
      return `names.dns \`${pattern}\` is not made of lower-case labels, \`*\` and \`**\``;
    }
    if (labels.some((label, i) => label === '**' && labels[i + 1] === '**')) {
      return `names.dns \`${pattern}\` has \`**\` twice in a row`;
    }
  }
  for (const pattern of names.email ?? []) {
    if (
      pattern.lastIndexOf('@') < 1 ||
      pattern.toLowerCase().split('@').at(-1) !== pattern.split('@').at(-1)
    ) {
      return `names.email \`${pattern}\` is neither an address nor \`*@\` and a domain, in lower case`;
    }
  }
  const block = (names.ip ?? []).find((text) => !isBlock(text));
  if (block !== undefined)
    return `names.ip \`${block}\` is neither an address nor a block such as 10.0.0.0/8`;
  const fixed = Object.entries(subject).filter(([, value]) => value !== undefined && !value.includes('*'));
  for (const [type, value] of fixed) {
    const problem = textProblem(type as SubjectAttribute, value ?? '');
    if (problem !== undefined) return problem;
  }
  return undefined;
}

function isBlock(text: string): boolean {
  const [network = '', length, ...more] = text.split('/');
  const bits = isIPv4(network) ? 32 : 128;
  if (more.length > 0 || isIP(network) === 0 || network.includes('%')) return false;
  return length === undefined || (/^\d{1,3}$/.test(length) && Number(length) <= bits);
}

function isWithin(block: string, address: string): boolean {
  const [network = '', length] = block.split('/');
  const family = isIPv4(network) ? 'ipv4' : 'ipv6';
  if (family !== (isIPv4(address) ? 'ipv4' : 'ipv6')) return false;
  const list = new BlockList();
  if (length === undefined) list.addAddress(network, family);
  else list.addSubnet(network, Number(length), family);
  return list.check(address, family);
}
