/** The parts of lastmile.yaml about what people and receivers outside see: the approvers' pages, and who is told. */
import { isAbsolute, resolve } from 'node:path';
import { quoteSource } from '../policy/source-issue.ts';
import {
  type FileFinding,
  type Findings,
  findChangeable,
  findDevelopmentMarker,
  findExposed,
  findMissing,
} from './config-files.ts';
import type { ConfigDocument } from './config-schema.ts';
import { isLoopback, type ListenAddress } from './config-values.ts';
import type { Destination } from './courier/courier-frames.ts';

export interface PagesConfig {
  readonly address: ListenAddress;
  readonly name: string;
  readonly publicPort: number | undefined;
  readonly certificate: string;
  readonly key: string;
}

export function checkCourier({ courier, profile }: ConfigDocument, findings: Findings): void {
  const names = new Set<string>();
  for (const [i, { name, webhook, hook }] of (courier?.destinations ?? []).entries()) {
    const path = ['courier', 'destinations', i];
    if (names.has(name)) findings.add([...path, 'name'], `another destination is named ${quoteSource(name)}`);
    names.add(name);
    if ((webhook === undefined) === (hook === undefined))
      findings.add(
        path,
        `the destination ${quoteSource(name)} needs exactly one of \`webhook\` and \`hook\``,
      );
    if (webhook !== undefined) {
      findings.add([...path, 'webhook', 'url'], webhookFinding(webhook.url, profile));
      if ((webhook.secret.file === undefined) === (webhook.secret.credential === undefined))
        findings.add([...path, 'webhook', 'secret'], 'needs exactly one of `file` and `credential`');
    }
    const program = hook?.[0];
    if (program !== undefined && (!isAbsolute(program) || program.includes('=')))
      findings.add([...path, 'hook', 0], `${quoteSource(program)} must be an absolute path without \`=\``);
  }
}

function webhookFinding(text: string, profile: ConfigDocument['profile']): FileFinding {
  const url = URL.parse(text);
  if (url === null) return `${quoteSource(text)} is not a URL`;
  if (url.username !== '' || url.password !== '') return 'holds a secret: deliveries are signed instead';
  if (url.hash !== '') return `${quoteSource(text)} has a fragment, which no receiver is told`;
  if (url.protocol === 'https:') return undefined;
  const host = url.hostname.replace(/^\[|\]$/g, '');
  const isAllowed = url.protocol === 'http:' && profile === 'development' && isLoopback(host);
  return isAllowed ? undefined : `${quoteSource(text)} must begin with https://`;
}

type DestinationDocument = NonNullable<ConfigDocument['courier']>['destinations'][number];

export function toDestination(
  { name, events, timeout, webhook, hook }: DestinationDocument,
  at: (path: string) => string,
): Destination {
  if (webhook === undefined) return { kind: 'hook', name, events, command: hook ?? [], timeoutMs: timeout };
  const { url, secret, ca } = webhook;
  const secretFile =
    secret.credential === undefined
      ? at(secret.file ?? '')
      : resolve(process.env['CREDENTIALS_DIRECTORY'] ?? '/run/credentials', secret.credential);
  return {
    kind: 'webhook',
    name,
    events,
    url,
    secretFile,
    ...(ca === undefined ? {} : { caFile: at(ca) }),
    timeoutMs: timeout,
  };
}

export function lookAtPages(pages: PagesConfig | undefined, production: boolean, findings: Findings): void {
  if (pages === undefined) return;
  for (const [name, file] of [
    ['certificate', pages.certificate],
    ['key', pages.key],
  ] as const) {
    const path = ['listen', 'pages', name];
    findings.add(
      path,
      findMissing(file) ?? (name === 'key' ? findExposed(file) : findChangeable(file, production)),
    );
    if (production) findings.add(path, findDevelopmentMarker(file));
  }
}

export function lookAtDestinations(
  destinations: readonly Destination[],
  production: boolean,
  findings: Findings,
): void {
  for (const [i, destination] of destinations.entries()) {
    const path = ['courier', 'destinations', i];
    if (destination.kind === 'hook') {
      const program = destination.command[0] ?? '';
      findings.add([...path, 'hook', 0], findMissing(program) ?? findChangeable(program, true));
      continue;
    }
    const { secretFile, caFile } = destination;
    findings.add([...path, 'webhook', 'secret'], findMissing(secretFile) ?? findExposed(secretFile));
    if (caFile !== undefined) {
      findings.add([...path, 'webhook', 'ca'], findMissing(caFile) ?? findChangeable(caFile, production));
    }
  }
}
