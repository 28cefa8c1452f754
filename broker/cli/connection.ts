import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { type Command, InvalidArgumentError, Option } from 'commander';
import { z } from 'zod';
import type { ApproverClient } from '../client/approver-client.ts';
import type { LastmileClient } from '../client/client.ts';
import type { OperatorClient } from '../client/operator-client.ts';
import type { ConnectOptions } from '../client/transport.ts';
import { type CliContext, CliError, EXIT } from './context.ts';

/** What every command that speaks to a broker takes. */
export interface ConnectionFlags {
  readonly instance: string;
  readonly as?: string;
  readonly target?: string;
  readonly control?: string;
  readonly brokerId?: string;
  readonly certificate?: string;
  readonly privateKey?: string;
  readonly trustBundle?: string;
  /** Milliseconds. */
  readonly timeout: number;
  readonly json?: boolean;
}

const profileSchema = z.object({
  target: z.string(),
  control: z.string(),
  brokerId: z.string(),
  certificate: z.string(),
  key: z.string(),
  trustBundle: z.string(),
});
type Profile = z.infer<typeof profileSchema>;

const DEFAULT_INSTANCE = '.lastmile';
const OPERATOR = 'operator';
const AUDITOR = 'auditor';
/** A person waits: not as long as a service would. */
const CLI_ATTEMPTS = 5;

export function instanceOption(context: CliContext): Option {
  return new Option('--instance <dir>', 'instance directory').default(
    context.env.LASTMILE_INSTANCE ?? DEFAULT_INSTANCE,
  );
}

export function jsonOption(): Option {
  return new Option('--json', 'print JSON');
}

/** Adds the options that all commands with a broker share. */
export function withConnection(command: Command, context: CliContext): Command {
  return command
    .addOption(instanceOption(context))
    .option('--as <name>', 'who to be: a profile of the instance, client/<name>.json')
    .option('--target <host:port>', 'listener for workloads')
    .option('--control <host:port>', 'listener for operators and auditors')
    .option('--broker-id <spiffe-id>', "the broker's SPIFFE ID")
    .option('--certificate <file>', 'own X.509-SVID, PEM, leaf first')
    .option('--private-key <file>', 'its private key, PEM')
    .option('--trust-bundle <file>', 'CA certificates of the trust domain, PEM')
    .addOption(
      new Option('--timeout <seconds>', 'how long to wait for an answer')
        .argParser(seconds)
        .default(5000, '5'),
    )
    .addOption(jsonOption());
}

function seconds(text: string): number {
  const value = Number(text);
  if (!(value > 0 && value <= 3600)) throw new InvalidArgumentError('Give seconds, above 0 and up to 3600.');
  return Math.round(value * 1000);
}

/** Runs `use` with a workload's client and closes it. */
export async function asWorkload<T>(
  context: CliContext,
  flags: ConnectionFlags,
  use: (client: LastmileClient) => Promise<T>,
): Promise<T> {
  // Loaded when there is something to connect to: `serve` is a command, too, and the broker speaks no gRPC.
  const { connect } = await import('../client/client.ts');
  await using client = await connect(connectOptions(context, flags, 'target'));
  return await use(client);
}

/** Runs `use` with an operator's client and closes it. */
export async function asOperator<T>(
  context: CliContext,
  flags: ConnectionFlags,
  use: (client: OperatorClient) => Promise<T>,
): Promise<T> {
  const { connectOperator } = await import('../client/operator-client.ts');
  await using client = await connectOperator(connectOptions(context, flags, 'control'));
  return await use(client);
}

/** Runs `use` with an approver's client and closes it. */
export async function asApprover<T>(
  context: CliContext,
  flags: ConnectionFlags,
  use: (client: ApproverClient) => Promise<T>,
): Promise<T> {
  const { connectApprover } = await import('../client/approver-client.ts');
  await using client = await connectApprover(connectOptions(context, flags, 'control'));
  return await use(client);
}

/** Flags win over the profile; with all of them given, none is read. */
function connectOptions(
  context: CliContext,
  flags: ConnectionFlags,
  listener: 'target' | 'control',
): ConnectOptions {
  const given = {
    [listener]: flags[listener],
    brokerId: flags.brokerId,
    certificate: fromCwd(context, flags.certificate),
    key: fromCwd(context, flags.privateKey),
    trustBundle: fromCwd(context, flags.trustBundle),
  };
  const isComplete = flags.as === undefined && Object.values(given).every((value) => value !== undefined);
  const profile = isComplete ? undefined : readProfile(context, flags, listener);
  const pick = (name: Exclude<keyof Profile, 'target' | 'control'>): string => given[name] ?? profile![name];
  return {
    target: given[listener] ?? profile![listener],
    brokerId: pick('brokerId'),
    svid: {
      certificateFile: pick('certificate'),
      keyFile: pick('key'),
      trustBundleFile: pick('trustBundle'),
    },
    deadlineMs: flags.timeout,
    maxAttempts: CLI_ATTEMPTS,
  };
}

function fromCwd(context: CliContext, file: string | undefined): string | undefined {
  return file === undefined ? undefined : resolve(context.cwd, file);
}

function readProfile(context: CliContext, flags: ConnectionFlags, listener: 'target' | 'control'): Profile {
  const instance = resolve(context.cwd, flags.instance);
  const name = flags.as ?? context.env.LASTMILE_AS ?? defaultProfile(instance, listener);
  if (!/^[A-Za-z0-9_-]+$/.test(name))
    throw new CliError(EXIT.usage, `\`${name}\` is not the name of a profile`);
  const file = join(instance, 'client', `${name}.json`);
  const parsed = profileSchema.safeParse(parseProfile(file, instance));
  if (!parsed.success) {
    const issue = parsed.error.issues[0]!;
    throw new CliError(EXIT.usage, `${file}: ${issue.path.join('.')}: ${issue.message}`);
  }
  const { certificate, key, trustBundle, ...rest } = parsed.data;
  return {
    ...rest,
    certificate: resolve(instance, certificate),
    key: resolve(instance, key),
    trustBundle: resolve(instance, trustBundle),
  };
}

function parseProfile(file: string, instance: string): unknown {
  let text: string;
  try {
    text = readFileSync(file, 'utf8');
  } catch (cause) {
    const names = profileNames(instance);
    throw new CliError(
      EXIT.usage,
      `cannot read the profile ${file}: ${(cause as NodeJS.ErrnoException).code}`,
      {
        advice: names.length > 0 ? `profiles of this instance: ${names.join(', ')}` : NO_INSTANCE,
        cause,
      },
    );
  }
  try {
    return JSON.parse(text);
  } catch (cause) {
    throw new CliError(EXIT.usage, `${file} is not JSON: ${(cause as Error).message}`, { cause });
  }
}

const NO_INSTANCE =
  'make an instance with `lastmile init`, name one with --instance, or give all connection options';

/** Nobody should act as somebody by accident: a workload's name is guessed only where there is just one. */
function defaultProfile(instance: string, listener: 'target' | 'control'): string {
  if (listener === 'control') return OPERATOR;
  const workloads = profileNames(instance).filter((name) => name !== OPERATOR && name !== AUDITOR);
  if (workloads.length === 1) return workloads[0]!;
  throw new CliError(EXIT.usage, 'who are you? name a profile with --as', {
    advice: workloads.length === 0 ? NO_INSTANCE : `profiles of this instance: ${workloads.join(', ')}`,
  });
}

function profileNames(instance: string): string[] {
  try {
    return readdirSync(join(instance, 'client'))
      .filter((file) => file.endsWith('.json'))
      .map((file) => file.slice(0, -'.json'.length))
      .sort();
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === undefined) throw error;
    return [];
  }
}
