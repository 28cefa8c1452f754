import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Algorithm, PinReference } from '../../hsm-adapters/adapter.ts';
import { type ChildExit, type ChildUser, SupervisedChild } from '../../hsm-adapters/frames/child-process.ts';
import {
  type DoctorFinding,
  DoctorFrame,
  type DoctorOrder,
  type Inventory,
  type InventoryToken,
  type LoadFinding,
} from '../../hsm-adapters/frames/doctor-frames.ts';
import type { FrameChannel } from '../../hsm-adapters/frames/frame-channel.ts';
import { entryUrl, roleUsers, treeRoot, workerFlags } from '../../hsm-adapters/frames/isolation.ts';
import type { Profile } from '../../hsm-adapters/profiles/profile.ts';
import { findProfile, PROFILE_NAMES, productionObjection } from '../../hsm-adapters/profiles/profiles.ts';
import { suggestProfile } from '../../hsm-adapters/profiles/suggest.ts';
import { CliError, EXIT } from '../cli/context.ts';
import type { DoctorExamination, DoctorOptions, DoctorReport, DoctorToken } from '../cli/doctor-report.ts';
import { loadConfig } from '../config.ts';
import { findSoftHsm2 } from '../init/module-path.ts';

/** What is looked at, from the command line or from lastmile.yaml. */
interface Patient {
  readonly module: string;
  readonly profile: string | undefined;
  readonly label: string | undefined;
  readonly serial: string | undefined;
  readonly pin: PinReference | undefined;
  readonly directory: string;
  readonly environment: Readonly<Record<string, string>>;
  readonly groups: readonly string[];
  readonly user: ChildUser | undefined;
}

/**
 * Looks at a module from outside: each part runs in a process of its own, isolated as a token worker is, and is killed
 * when it is done or has not said anything for too long.
 */
export async function diagnose(options: DoctorOptions): Promise<DoctorReport> {
  const patient = patientOf(options);
  const given = patient.profile;
  if (given !== undefined && findProfile(given) === undefined)
    throw new CliError(EXIT.usage, `no profile \`${given}\`; there are: ${PROFILE_NAMES.join(', ')}`);
  const inventory = await takeInventory(patient, options);
  const suggested = suggestProfile({ ...inventory, path: patient.module });
  const profile = findProfile(given ?? suggested) as Profile;
  const chosen =
    given !== undefined ? 'given' : suggested === 'generic' ? 'nothing recognised' : 'recognised';
  const token = chosenToken(patient, inventory);
  const examined =
    patient.pin === undefined || token === undefined
      ? undefined
      : await examineToken(patient, options, profile, token, patient.pin);
  return {
    module: patient.module,
    profile: {
      name: profile.name,
      chosen,
      module: profile.module,
      tested: profile.tested === 'run' ? 'tested with every change' : profile.tested,
      transport: `${profile.transport.kind}: ${profile.transport.says}`,
      pin: profile.login.pin,
      lockout: profile.login.lockout,
      sessions: `${profile.sessions.threads} for threads; ${profile.sessions.says}`,
    },
    library: {
      manufacturer: inventory.manufacturer,
      description: inventory.library,
      version: inventory.libraryVersion,
    },
    tokens: inventory.tokens.map(tokenOf),
    silentSlots: inventory.silentSlots,
    examined,
    recommended:
      token === undefined ? undefined : recommendation(patient, profile, token, inventory, examined),
    findings: findingsOf(profile, inventory, examined),
  };
}

function patientOf(options: DoctorOptions): Patient {
  if (options.config === undefined) {
    return {
      module: options.module ?? findSoftHsm2(),
      profile: options.profile,
      label: options.label,
      serial: options.serial,
      pin: options.pinFile === undefined ? undefined : { kind: 'file', path: options.pinFile },
      directory: options.directory,
      environment: options.environment,
      groups: [],
      user: roleUsers().worker(THROW_AWAY_WORKER),
    };
  }
  const config = loadConfig(options.config.path);
  const at = config.tokens.findIndex(({ name }) => name === options.config?.token);
  const token = config.tokens[at];
  if (token === undefined)
    throw new CliError(
      EXIT.usage,
      `${options.config.path} has no token \`${options.config.token}\`; there are: ${config.tokens.map(({ name }) => name).join(', ')}`,
    );
  const { isolation } = config;
  const users = roleUsers({
    uidBase: isolation.uidBase,
    ...(isolation.mode === 'shared' ? { isRoot: false } : {}),
  });
  return {
    module: token.module,
    profile: options.profile ?? token.profile,
    label: token.label,
    serial: token.serial,
    pin: token.pin,
    directory: token.directory,
    environment: token.environment,
    groups: token.groups,
    user: users.worker(at, token.groups),
  };
}

/** Of the thousand user ids for workers the last: no configured token has it. */
const THROW_AWAY_WORKER = 999;

interface Ending {
  readonly findings: readonly DoctorFinding[];
  readonly end: DoctorExamination['end'];
  readonly detail: string | undefined;
}

async function takeInventory(patient: Patient, options: DoctorOptions): Promise<Inventory> {
  const variable =
    patient.profile === undefined ? 'NSS_LIB_PARAMS' : findProfile(patient.profile)?.libraryParameters;
  const libraryParameters = variable === undefined ? undefined : patient.environment[variable];
  const { findings, end, detail } = await carryOut(patient, options, {
    part: 'inventory',
    module: patient.module,
    libraryParameters,
  });
  const inventory = findings.find((finding) => finding.kind === 'inventory')?.inventory;
  if (inventory !== undefined) return inventory;
  throw new CliError(
    EXIT.failed,
    `${patient.module}: ${end === 'failed' ? '' : `the module ${end}, `}${detail}`,
    {
      advice:
        'check the path, and what the module needs: --env, --directory, and files that the worker’s user can read',
    },
  );
}

async function examineToken(
  patient: Patient,
  options: DoctorOptions,
  profile: Profile,
  token: InventoryToken,
  pin: PinReference,
): Promise<DoctorExamination> {
  if (pin.kind !== 'file')
    throw new CliError(EXIT.usage, 'doctor takes a PIN from a file alone: --pin-file, without --config');
  const { findings, end, detail } = await carryOut(patient, options, {
    part: 'examination',
    module: patient.module,
    profile: profile.name,
    ...(patient.serial === undefined ? { label: token.label } : { serial: patient.serial }),
    pin: { file: pin.path },
    sessions: options.sessions,
    measureMs: options.measureMs,
  });
  const login = findings.find((finding) => finding.kind === 'login');
  const sessions = findings.find((finding) => finding.kind === 'sessions');
  return {
    token: token.label,
    login: login?.outcome ?? 'not-tried',
    loginDetail: login?.why,
    sessions:
      sessions === undefined ? undefined : { opened: sessions.opened, refusedWith: sessions.refusedWith },
    algorithms: findings.flatMap((finding) =>
      finding.kind === 'algorithm'
        ? [
            {
              algorithm: finding.algorithm,
              works: finding.works,
              why: finding.why,
              unexpected: isUnexpected(profile, finding.algorithm, finding.works),
            },
          ]
        : [],
    ),
    loads: findings.flatMap((finding) => (finding.kind === 'load' ? [finding.load] : [])),
    end,
    endDetail: detail,
  };
}

/** A profile that knows nothing about the module expects nothing. */
function isUnexpected(profile: Profile, algorithm: Algorithm, works: boolean): boolean {
  return profile.tested !== 'unknown module' && works === profile.lacks.includes(algorithm);
}

function carryOut(patient: Patient, options: DoctorOptions, order: DoctorOrder): Promise<Ending> {
  const root = treeRoot();
  const pinFile = order.part === 'examination' ? order.pin.file : undefined;
  const findings: DoctorFinding[] = [];
  return new Promise((resolve) => {
    let step = 'starting';
    let silence: NodeJS.Timeout | undefined;
    let isHung = false;
    let lastWord: string | undefined;
    const listen = (): void => {
      clearTimeout(silence);
      silence = setTimeout(() => {
        isHung = true;
        child.kill(new Error('the module hangs'));
      }, options.hangLimitMs);
    };
    const child = new SupervisedChild(
      {
        role: 'doctor',
        name: 'doctor',
        entry: entryUrl('hsm-adapters/pkcs11/doctor-process', root),
        flags: [...workerFlags(root, { module: patient.module, pinFile }), ...inventoryGrants()],
        env: {
          ...patient.environment,
          UV_THREADPOOL_SIZE: String(Math.min(1024, options.sessions + 1)),
        },
        cwd: patient.directory,
        user: patient.user,
      },
      {
        started: (channel: FrameChannel) => {
          listen();
          channel.send(DoctorFrame.Order, 0, Buffer.from(JSON.stringify(order)));
        },
        frame: (type, _id, payload) => {
          if (type !== DoctorFrame.Finding) throw new Error(`doctor: a frame of type ${type}`);
          listen();
          const finding = JSON.parse(payload.toString('utf8')) as DoctorFinding;
          if (finding.kind === 'step') step = finding.step;
          findings.push(finding);
        },
        exited: (exit) => {
          clearTimeout(silence);
          void child
            .stop()
            .then(() => resolve({ findings, ...endingOf(findings, exit, isHung, step, lastWord) }));
        },
        // Modules talk, and nobody asked; of one that crashed, the last word may say why.
        log: (line) => {
          lastWord = line;
        },
      },
    );
    child.start();
  });
}

function endingOf(
  findings: readonly DoctorFinding[],
  exit: ChildExit,
  isHung: boolean,
  step: string,
  lastWord: string | undefined,
): Pick<Ending, 'end' | 'detail'> {
  if (findings.some(({ kind }) => kind === 'done')) return { end: 'done', detail: undefined };
  const failed = findings.find((finding) => finding.kind === 'failed');
  if (failed !== undefined) return { end: 'failed', detail: failed.why };
  if (isHung) return { end: 'hung', detail: step };
  const how = exit.error?.message ?? exit.signal ?? `exit code ${exit.code}`;
  return { end: 'crashed', detail: `${step} (${how}${lastWord === undefined ? '' : `: ${lastWord}`})` };
}

/** graphene, which reads the inventory, and what it is made of. */
function inventoryGrants(): string[] {
  const graphene = dirname(fileURLToPath(import.meta.resolve('graphene-pk11/package.json')));
  return [graphene, join(dirname(graphene), 'tslib')].map((path) => `--allow-fs-read=${path}/`);
}

function chosenToken(patient: Patient, { tokens }: Inventory): InventoryToken | undefined {
  const there = tokens.filter(({ initialised }) => initialised);
  const matches = there.filter(
    ({ label, serial }) =>
      (patient.label === undefined || label === patient.label) &&
      (patient.serial === undefined || serial === patient.serial),
  );
  const isAsked = patient.label !== undefined || patient.serial !== undefined;
  if (matches.length === 1 || (matches.length > 0 && !isAsked && patient.pin === undefined))
    return matches[0];
  if (matches.length === 0 && !isAsked) return undefined;
  const candidates = there.map(({ label, serial }) => `label "${label}" serial "${serial}"`).join('; ');
  throw new CliError(
    EXIT.usage,
    `${matches.length === 0 ? 'no token' : `${matches.length} tokens`} of that description; there are: ${candidates || 'none'}`,
    { advice: 'name one with --label or --serial' },
  );
}

function tokenOf(token: InventoryToken): DoctorToken {
  const { label, serial, manufacturer, model, firmware, initialised, maxSessions, mechanisms } = token;
  const pin = !token.pinInitialised
    ? 'not set'
    : token.pinLocked
      ? 'locked'
      : token.pinFinalTry
        ? 'one try left'
        : token.pinCountLow
          ? 'wrong ones were tried'
          : 'fine';
  return { label, serial, manufacturer, model, firmware, initialised, pin, maxSessions, mechanisms };
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

function recommendation(
  patient: Patient,
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
    patient.pin?.kind === 'file' ? `{ file: ${quoted(patient.pin.path)} }` : '{ file: /etc/lastmile/pins/… }';
  const lines = [
    'tokens:',
    `  - name: ${name.slice(0, 63)}`,
    `    module: ${quoted(patient.module)}`,
    `    profile: ${profile.name}`,
    isSerial ? `    serial: ${JSON.stringify(token.serial)}` : `    label: ${quoted(token.label)}`,
    `    pin: ${pin}`,
    `    sessions: ${sessions}`,
    ...(patient.directory === '/' ? [] : [`    directory: ${quoted(patient.directory)}`]),
    ...Object.entries(patient.environment).flatMap(([variable, value], at) => [
      ...(at === 0 ? ['    environment:'] : []),
      `      ${variable}: ${quoted(value)}`,
    ]),
    ...(patient.groups.length === 0 ? [] : [`    groups: [${patient.groups.join(', ')}]`]),
  ];
  return `${lines.join('\n')}\n`;
}

/** A YAML string in double quotes is a JSON string. */
function quoted(text: string): string {
  return /^[A-Za-z0-9/][A-Za-z0-9/._-]*$/.test(text) && /[^0-9.]/.test(text) ? text : JSON.stringify(text);
}

function findingsOf(
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
