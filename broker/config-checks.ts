/**
 * What lastmile.yaml must not say though its schema allows it: where parts contradict each other, or would weaken what
 * the profile promises. Looks at no file but that one.
 */
import { isAbsolute, resolve } from 'node:path';
import { productionObjection } from '../hsm-adapters/profiles/profiles.ts';
import type { YamlPath } from '../policy/source.ts';
import { quoteSource } from '../policy/source-issue.ts';
import { parseSpiffeId, SpiffeIdError } from '../policy/spiffe-id.ts';
import type { FileFinding, Findings } from './config-files.ts';
import { checkCourier } from './config-outward.ts';
import type { ConfigDocument } from './config-schema.ts';
import { isLoopback } from './config-values.ts';

/** Adds everything found; nothing for a file that can be used. */
export function checkDocument(document: ConfigDocument, findings: Findings): void {
  for (const [i, administrator] of document.administrators.entries()) {
    findings.add(['administrators', i], administratorFinding(administrator, document.trust_domain));
  }
  checkListeners(document, findings);
  checkIsolation(document, findings);
  if (resolve('/', document.state) === resolve('/', document.audit.directory)) {
    findings.add(['audit', 'directory'], 'is the directory of `state` too; the log has one of its own');
  }
  checkTokens(document.tokens, findings);
  checkCourier(document, findings);
  if (document.profile === 'production') checkProfiles(document.tokens, findings);
}

function administratorFinding(administrator: string, trustDomain: string): FileFinding {
  try {
    const id = parseSpiffeId(administrator);
    if (id.segments.length === 0)
      return `${quoteSource(administrator)} is a trust domain; name a person or a tool in it`;
    if (id.trustDomain !== trustDomain) {
      return `${quoteSource(administrator)} is not of the trust domain ${quoteSource(trustDomain)}`;
    }
    return undefined;
  } catch (error) {
    if (!(error instanceof SpiffeIdError)) throw error;
    return `${quoteSource(administrator)} is not a SPIFFE ID: ${error.message}`;
  }
}

function checkListeners(document: ConfigDocument, findings: Findings): void {
  const { workloads, control, pages } = document.listen;
  const addresses = [
    [['workloads'], workloads],
    [['control'], control],
    ...(pages === undefined ? [] : [[['pages', 'address'], pages.address] as const]),
  ] as const;
  if (document.profile === 'development') {
    for (const [name, address] of addresses) {
      if (!isLoopback(address.host)) {
        findings.add(
          ['listen', ...name],
          `a development instance listens on loopback only, not on ${address.host}`,
          'an address such as 127.0.0.1 or [::1]',
        );
      }
    }
  }
  for (const [i, [name, { port }]] of addresses.entries()) {
    const [taken] = addresses.slice(0, i).find(([, other]) => other.port === port && port !== 0) ?? [];
    if (taken !== undefined)
      findings.add(['listen', ...name], `port ${port} is taken by \`listen.${taken.join('.')}\``);
  }
}

/** Users for each gateway, the control gateway, the courier and each worker, none of them `nobody` or invalid. */
const MAX_USERS = 64 + 1 + 1 + 64;

function checkIsolation({ profile, isolation }: ConfigDocument, findings: Findings): void {
  if (profile === 'production' && isolation.mode !== undefined && isolation.mode !== 'users') {
    findings.add(
      ['isolation', 'mode'],
      `${quoteSource(isolation.mode)} is refused in production: processes need users of their own`,
      'users',
    );
  }
  const first = isolation.uid_base;
  if (first <= 65_535 && first + MAX_USERS > 65_534) {
    findings.add(
      ['isolation', 'uid_base'],
      `${MAX_USERS} user ids from ${first} on include 65534 or 65535, which are \`nobody\` and invalid`,
      `at most ${65_534 - MAX_USERS}, or more than 65535`,
    );
  }
}

type TokenDocument = ConfigDocument['tokens'][number];

function checkTokens(tokens: readonly TokenDocument[], findings: Findings): void {
  const names = new Set<string>();
  const matches = new Map<string, string>();
  for (const [i, token] of tokens.entries()) {
    const path = ['tokens', i];
    if (names.has(token.name))
      findings.add([...path, 'name'], `another token is named ${quoteSource(token.name)}`);
    names.add(token.name);
    if (!isAbsolute(token.module)) {
      findings.add(
        [...path, 'module'],
        'must be an absolute path: a library found by searching is anybody’s library',
      );
    }
    if ((token.serial === undefined) === (token.label === undefined)) {
      findings.add(
        path,
        `the token ${quoteSource(token.name)} needs exactly one of \`serial\` and \`label\``,
      );
    }
    const match = JSON.stringify([token.module, token.serial ?? null, token.label ?? null]);
    const same = matches.get(match);
    if (same !== undefined) findings.add(path, `is the same token as ${quoteSource(same)}`);
    matches.set(match, token.name);
    checkPin(token, [...path, 'pin'], findings);
    for (const name of Object.keys(token.environment)) {
      findings.add([...path, 'environment', name], environmentFinding(name));
    }
  }
}

/** What must not hold production keys, or cannot be reached in a way that protects them. */
function checkProfiles(tokens: readonly TokenDocument[], findings: Findings): void {
  for (const [i, { profile }] of tokens.entries()) {
    const objection = productionObjection(profile);
    if (objection === undefined) continue;
    findings.add(['tokens', i, 'profile'], `${quoteSource(profile)} is refused in production: ${objection}`);
  }
}

function checkPin({ pin }: TokenDocument, path: YamlPath, findings: Findings): void {
  const given = Object.values(pin).filter((value) => value !== undefined).length;
  if (given !== 1) findings.add(path, 'needs exactly one of `file`, `credential` and `command`');
  const program = pin.command?.[0];
  if (program !== undefined && !isAbsolute(program)) {
    findings.add([...path, 'command', 0], `${quoteSource(program)} must be an absolute path`);
  }
}

/** These load code into the worker, or carry what must be a reference. */
function environmentFinding(name: string): FileFinding {
  if (!/^[A-Za-z_][A-Za-z0-9_]{0,127}$/.test(name))
    return `${quoteSource(name)} is not the name of a variable`;
  if (/^(LD_|DYLD_|NODE_|GCONV_PATH$|LOCPATH$|OPENSSL_CONF$|OPENSSL_MODULES$|OPENSSL_ENGINES$)/i.test(name)) {
    return `${quoteSource(name)} can load code into the worker and is refused`;
  }
  if (/(^|_)(PIN|SO_?PIN|PASSWORD|PASSPHRASE|PASSWD|SECRET)$/i.test(name)) {
    return `${quoteSource(name)} looks like a secret: use \`pin\`, with a file, a credential or a command`;
  }
  return undefined;
}
