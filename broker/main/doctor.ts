import type { Algorithm, PinReference } from '../../hsm-adapters/adapter.ts';
import type { Inventory, InventoryToken } from '../../hsm-adapters/frames/doctor-frames.ts';
import { roleUsers } from '../../hsm-adapters/frames/isolation.ts';
import type { Profile } from '../../hsm-adapters/profiles/profile.ts';
import { findProfile, PROFILE_NAMES } from '../../hsm-adapters/profiles/profiles.ts';
import { suggestProfile } from '../../hsm-adapters/profiles/suggest.ts';
import { CliError, EXIT } from '../cli/context.ts';
import type { DoctorExamination, DoctorOptions, DoctorReport, DoctorToken } from '../cli/doctor-report.ts';
import { loadConfig } from '../config.ts';
import { findSoftHsm2 } from '../init/module-path.ts';
import { findingsOf, recommendation, type TokenSettings } from './doctor-advice.ts';
import { carryOut, type ModulePlace } from './doctor-part.ts';
import { configuredUsers } from './process-users.ts';

/** What is looked at, from the command line or from lastmile.yaml. */
interface Patient extends ModulePlace, TokenSettings {
  readonly profile: string | undefined;
  readonly label: string | undefined;
  readonly serial: string | undefined;
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
  return {
    module: token.module,
    profile: options.profile ?? token.profile,
    label: token.label,
    serial: token.serial,
    pin: token.pin,
    directory: token.directory,
    environment: token.environment,
    groups: token.groups,
    user: configuredUsers(config.isolation).worker(at, token.groups),
  };
}

/** Of the thousand user ids for workers the last: no configured token has it. */
const THROW_AWAY_WORKER = 999;

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
