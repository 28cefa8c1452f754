/** What an examination comes to: lines for lastmile.yaml, and what to know before the module holds keys. */
import type { PinReference } from '../../hsm-adapters/adapter.ts';
import type { Inventory, InventoryToken, LoadFinding } from '../../hsm-adapters/frames/doctor-frames.ts';
import type { Profile } from '../../hsm-adapters/profiles/profile.ts';
import { productionObjection } from '../../hsm-adapters/profiles/profiles.ts';
import type { DoctorExamination } from '../cli/doctor-report.ts';

/** How the module was examined, as lastmile.yaml is to have it. */
export interface TokenSettings {
  readonly module: string;
  readonly pin: PinReference | undefined;
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly groups: readonly string[];
}

/** One for the anchor, one for key administration. */
const RESERVED_SESSIONS = 2;
/** More sessions than this share of the best buys only latency. */
const ENOUGH = 0.9;

/** The fewest sessions that reach nearly what the most reach. Undefined without a measurement. */
function bestSessions(loads: readonly LoadFinding[]): number | undefined {
  const good = loads.filter(({ wrong, failed }) => wrong === 0 && failed === 0);
  const needed = [...new Set(good.map(({ algorithm }) => algorithm))].map((algorithm) => {
    const runs = good.filter((run) => run.algorithm === algorithm).sort((a, b) => a.sessions - b.sessions);
    const best = Math.max(...runs.map(({ perSecond }) => perSecond));
    return runs.find(({ perSecond }) => perSecond >= ENOUGH * best)?.sessions ?? 1;
  });
  return needed.length === 0 ? undefined : Math.max(...needed);
}

const DEFAULT_SESSIONS = 8;

/** The token's lines for lastmile.yaml: as many sessions as the measurement calls for and the token grants. */
export function recommendation(
  settings: TokenSettings,
  profile: Profile,
  token: InventoryToken,
  inventory: Inventory,
  examined: DoctorExamination | undefined,
): string {
  const measured = bestSessions((examined?.loads ?? []) as readonly LoadFinding[]);
  const granted = Math.min(
    token.maxSessions === undefined ? DEFAULT_SESSIONS * 128 : token.maxSessions - RESERVED_SESSIONS,
    examined?.sessions?.opened ?? Number.POSITIVE_INFINITY,
  );
  const sessions = Math.max(1, Math.min(measured ?? DEFAULT_SESSIONS, granted));
  // A serial that several tokens share, or that says nothing, does not tell them apart.
  const isSerial =
    /[^0 ]/.test(token.serial) &&
    inventory.tokens.filter(({ serial }) => serial === token.serial).length === 1;
  const name =
    token.label
      .toLowerCase()
      .replace(/[^a-z0-9]+/g, '-')
      .replace(/^-+|-+$/g, '') || 'token';
  const pin =
    settings.pin?.kind === 'file'
      ? `{ file: ${quoted(settings.pin.path)} }`
      : '{ file: /etc/lastmile/pins/… }';
  const lines = [
    'tokens:',
    `  - name: ${name.slice(0, 63)}`,
    `    module: ${quoted(settings.module)}`,
    `    profile: ${profile.name}`,
    isSerial ? `    serial: ${JSON.stringify(token.serial)}` : `    label: ${quoted(token.label)}`,
    `    pin: ${pin}`,
    `    sessions: ${sessions}`,
    ...(settings.directory === '/' ? [] : [`    directory: ${quoted(settings.directory)}`]),
    ...Object.entries(settings.environment).flatMap(([variable, value], at) => [
      ...(at === 0 ? ['    environment:'] : []),
      `      ${variable}: ${quoted(value)}`,
    ]),
    ...(settings.groups.length === 0 ? [] : [`    groups: [${settings.groups.join(', ')}]`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** A YAML string in double quotes is a JSON string. */
function quoted(text: string): string {
  return /^[A-Za-z0-9/][A-Za-z0-9/._-]*$/.test(text) && /[^0-9.]/.test(text) ? text : JSON.stringify(text);
}

/** The worst first. */
export function findingsOf(
  profile: Profile,
  { tokens, silentSlots }: Inventory,
  examined: DoctorExamination | undefined,
): readonly string[] {
  const findings: string[] = [];
  const wrong = examined?.loads.filter((load) => load.wrong > 0) ?? [];
  if (wrong.length > 0)
    findings.push(
      `signatures were wrong under load: ${wrong.map((load) => `${load.algorithm} on ${load.sessions} sessions`).join(', ')}; do not use this module`,
    );
  if (examined?.end === 'crashed') findings.push(`the module crashed while ${examined.endDetail}`);
  if (examined?.end === 'hung') findings.push(`the module did not come back from ${examined.endDetail}`);
  const failed = examined?.loads.filter((load) => load.failed > 0) ?? [];
  if (failed.length > 0)
    findings.push(
      `operations failed under load: ${failed.map((load) => `${load.failed} of ${load.algorithm} on ${load.sessions} sessions`).join(', ')}`,
    );
  const objection = productionObjection(profile.name);
  if (objection !== undefined) findings.push(`refused in production: ${objection}`);
  if (profile.software) findings.push('a software token: the keys are in the memory of a process');
  if (profile.tested === 'untested on hardware')
    findings.push(
      `profile \`${profile.name}\` was written from documentation and never ran against a device: believe what was tried here`,
    );
  if (profile.tested === 'unknown module')
    findings.push('no profile is known for this module: `generic` takes the standard at its word');
  const unexpected = examined?.algorithms.filter((one) => one.unexpected) ?? [];
  if (unexpected.length > 0)
    findings.push(
      `not as profile \`${profile.name}\` says: ${unexpected.map(({ algorithm, works }) => `${algorithm} ${works ? 'works' : 'does not work'}`).join(', ')}`,
    );
  for (const token of tokens) {
    if (token.pinLocked) findings.push(`token "${token.label}": its PIN is locked`);
    else if (token.pinFinalTry) findings.push(`token "${token.label}": one more wrong PIN locks it`);
    else if (token.pinCountLow) findings.push(`token "${token.label}": wrong PINs were tried`);
  }
  const serials = tokens.filter(({ initialised }) => initialised).map(({ serial }) => serial);
  if (new Set(serials).size < serials.length)
    findings.push(
      'several tokens have one serial number: keys and findings are kept by serial, so use one of them only',
    );
  if (silentSlots.length > 0) findings.push(`${silentSlots.length} slots do not answer`);
  return findings;
}
