import { createHash } from 'node:crypto';
import { readFileSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { PinReference, TokenConfig } from '../hsm-adapters/adapter.ts';
import { parseYamlSource, type YamlPath, type YamlSource } from '../policy/source.ts';
import { formatSourceIssue, type SourceIssue } from '../policy/source-issue.ts';
import { readSource } from '../policy/source-schema.ts';
import { checkDocument } from './config-checks.ts';
import {
  type FileFinding,
  type Findings,
  findChangeable,
  findDevelopmentMarker,
  findDevelopmentRoot,
  findExposed,
  findMissing,
} from './config-files.ts';
import { lookAtDestinations, lookAtPages, type PagesConfig, toDestination } from './config-outward.ts';
import { type ConfigDocument, configSchema } from './config-schema.ts';
import type { ListenAddress } from './config-values.ts';
import type { Destination } from './courier/courier-frames.ts';

/** lastmile.yaml, read and checked. All paths are absolute. */
export interface LastmileConfig {
  /** The file itself. */
  readonly file: string;
  /** Relative paths start here. */
  readonly directory: string;
  /** SHA-256 of the file's bytes, hex: part of the software generation. */
  readonly sha256: string;
  readonly profile: 'development' | 'production';
  readonly trustDomain: string;
  readonly trustBundle: string;
  readonly broker: {
    readonly certificate: string;
    readonly key: string;
    readonly dnsName: string | undefined;
  };
  readonly listen: {
    readonly workloads: ListenAddress;
    readonly gateways: number;
    readonly control: ListenAddress;
    /** The approvers' pages. */
    readonly pages: PagesConfig | undefined;
  };
  /** Who is told; undefined: nobody, and there is no courier. */
  readonly courier:
    | { readonly destinations: readonly Destination[]; readonly giveUpAfterMs: number }
    | undefined;
  /** SPIFFE IDs. */
  readonly administrators: readonly string[];
  readonly policy: string;
  readonly state: string;
  readonly audit: {
    readonly directory: string;
    readonly origin: string;
    readonly key: string;
    readonly checkpointIntervalMs: number;
    readonly refusalWindowMs: number;
    readonly refusalQuotaBytesPerHour: number;
  };
  readonly tokens: readonly TokenConfig[];
  readonly isolation: {
    /** `users`: refuse to start where it cannot be. */
    readonly mode: 'users' | 'shared' | 'auto';
    readonly uidBase: number;
  };
  readonly limits: {
    readonly maxDeadlineMs: number;
    readonly maxConnections: number;
    readonly maxConnectionsPerAddress: number;
    readonly maxStreamsPerConnection: number;
    readonly maxStreamInFlight: number;
  };
  readonly telemetry: {
    /** Absolute. Undefined: no metrics. */
    readonly metricsFile: string | undefined;
    readonly intervalMs: number;
  };
}

/** A configuration that is refused: everything found wrong in it, each with file, line and column. */
export class ConfigError extends Error {
  override readonly name = 'ConfigError';
  readonly issues: readonly SourceIssue[];
  constructor(issues: readonly SourceIssue[], cause?: unknown) {
    super(issues.map(formatSourceIssue).join('\n'), cause === undefined ? undefined : { cause });
    this.issues = issues;
  }
}

const MAX_CONFIG_BYTES = 1024 * 1024;

/**
 * Reads the file and looks at what it refers to: missing files, secrets that others can read, development keys in
 * production. A PIN file that is missing is that token's trouble, not the broker's: it is found by its worker.
 *
 * @throws ConfigError
 */
export function loadConfig(path: string): LastmileConfig {
  const file = resolve(path);
  let bytes: Uint8Array;
  try {
    if (statSync(file).size > MAX_CONFIG_BYTES)
      throw new Error(`it is larger than ${MAX_CONFIG_BYTES} bytes`);
    bytes = readFileSync(file);
  } catch (cause) {
    const why = cause instanceof Error ? cause.message : String(cause);
    throw new ConfigError(
      [{ file: path, line: 1, column: 1, path: '', message: `cannot be read: ${why}` }],
      cause,
    );
  }
  const { config, source } = parse(bytes, file, path);
  const findings = new Issues(source);
  lookAtFiles(config, findings);
  findings.throwIfAny();
  return config;
}

/**
 * The same without looking at any file but the bytes given.
 *
 * @throws ConfigError
 */
export function parseConfig(bytes: Uint8Array, options: { file: string }): LastmileConfig {
  return parse(bytes, resolve(options.file), options.file).config;
}

function parse(
  bytes: Uint8Array,
  file: string,
  shown: string,
): { config: LastmileConfig; source: YamlSource } {
  const parsed = parseYamlSource(bytes, { file: shown, maxBytes: MAX_CONFIG_BYTES });
  if (!parsed.ok) throw new ConfigError(parsed.issues);
  const { source } = parsed;
  const read = readSource(source, configSchema);
  if (!read.ok) throw new ConfigError(read.issues);
  const findings = new Issues(source);
  checkDocument(read.value, findings);
  findings.throwIfAny();
  return { config: toConfig(read.value, file, createHash('sha256').update(bytes).digest('hex')), source };
}

/** Collects everything that is wrong, each with its place in the file. */
class Issues implements Findings {
  readonly #issues: SourceIssue[] = [];
  readonly #source: YamlSource;

  constructor(source: YamlSource) {
    this.#source = source;
  }

  add(path: YamlPath, message: FileFinding, expected?: string): void {
    if (message !== undefined) this.#issues.push(this.#source.issue(path, message, { expected }));
  }

  throwIfAny(): void {
    if (this.#issues.length > 0) throw new ConfigError(this.#issues);
  }
}

function toConfig(document: ConfigDocument, file: string, sha256: string): LastmileConfig {
  const directory = dirname(file);
  const at = (path: string): string => resolve(directory, path);
  const { broker, listen, audit, isolation, limits, telemetry } = document;
  return {
    file,
    directory,
    sha256,
    profile: document.profile,
    trustDomain: document.trust_domain,
    trustBundle: at(document.trust_bundle),
    broker: { certificate: at(broker.certificate), key: at(broker.key), dnsName: broker.dns_name },
    listen: {
      ...listen,
      pages: listen.pages && {
        address: listen.pages.address,
        name: listen.pages.name,
        publicPort: listen.pages.public_port,
        certificate: at(listen.pages.certificate),
        key: at(listen.pages.key),
      },
    },
    courier: document.courier && {
      destinations: document.courier.destinations.map((destination) => toDestination(destination, at)),
      giveUpAfterMs: document.courier.give_up_after,
    },
    administrators: document.administrators,
    policy: at(document.policy),
    state: at(document.state),
    audit: {
      directory: at(audit.directory),
      origin: audit.origin,
      key: audit.key,
      checkpointIntervalMs: audit.checkpoint_interval,
      refusalWindowMs: audit.refusal_window,
      refusalQuotaBytesPerHour: audit.refusal_quota,
    },
    tokens: document.tokens.map((token) => ({
      name: token.name,
      module: token.module,
      profile: token.profile,
      serial: token.serial,
      label: token.label,
      pin: pinReference(token.pin, at),
      sessions: token.sessions,
      directory: at(token.directory),
      environment: token.environment,
      groups: token.groups,
      hangLimitMs: token.hang_limit,
    })),
    isolation: {
      mode: isolation.mode ?? (document.profile === 'production' ? 'users' : 'auto'),
      uidBase: isolation.uid_base,
    },
    limits: {
      maxDeadlineMs: limits.max_deadline,
      maxConnections: limits.max_connections,
      maxConnectionsPerAddress: limits.max_connections_per_address,
      maxStreamsPerConnection: limits.max_streams_per_connection,
      maxStreamInFlight: limits.max_stream_in_flight,
    },
    telemetry: {
      metricsFile: telemetry.metrics_file === undefined ? undefined : at(telemetry.metrics_file),
      intervalMs: telemetry.interval,
    },
  };
}

function pinReference(
  pin: ConfigDocument['tokens'][number]['pin'],
  at: (path: string) => string,
): PinReference {
  if (pin.file !== undefined) return { kind: 'file', path: at(pin.file) };
  if (pin.credential !== undefined) return { kind: 'credential', name: pin.credential };
  return { kind: 'command', argv: pin.command ?? [] };
}

function lookAtFiles(config: LastmileConfig, findings: Findings): void {
  const production = config.profile === 'production';
  findings.add([], findChangeable(config.file, production));
  const references: readonly (readonly [YamlPath, string])[] = [
    [['trust_bundle'], config.trustBundle],
    [['broker', 'certificate'], config.broker.certificate],
    [['broker', 'key'], config.broker.key],
    [['policy'], config.policy],
  ];
  for (const [path, file] of references) {
    const missing = findMissing(file);
    findings.add(
      path,
      missing ?? (file === config.broker.key ? findExposed(file) : findChangeable(file, production)),
    );
    if (production) findings.add(path, findDevelopmentMarker(file));
    if (production && missing === undefined && file === config.trustBundle)
      findings.add(path, findDevelopmentRoot(file));
  }
  lookAtPages(config.listen.pages, production, findings);
  lookAtDestinations(config.courier?.destinations ?? [], production, findings);
  for (const [i, { pin }] of config.tokens.entries()) {
    if (pin.kind !== 'file') continue;
    const path = ['tokens', i, 'pin', 'file'];
    findings.add(path, findExposed(pin.path));
    if (production) findings.add(path, findDevelopmentMarker(pin.path));
  }
}
