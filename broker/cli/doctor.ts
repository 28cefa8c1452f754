import { resolve } from 'node:path';
import type { Command } from 'commander';
import { collect, positiveInteger, seconds } from './arguments.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import type { DoctorExamination, DoctorReport, DoctorToken } from './doctor-report.ts';
import { fields, json, printable, table, write } from './output.ts';

interface Flags {
  readonly module?: string;
  readonly profile?: string;
  readonly label?: string;
  readonly serial?: string;
  readonly pinFile?: string;
  readonly directory?: string;
  readonly env: readonly string[];
  readonly config?: string;
  readonly token?: string;
  readonly sessions: number;
  readonly measure: number;
  readonly mechanisms?: boolean;
  readonly json?: boolean;
}

const DEFAULT_SESSIONS = 16;
const DEFAULT_MEASURE_SECONDS = 1;
/** An RSA pair takes a slow token a minute. */
const HANG_LIMIT_MS = 90_000;

export function addDoctor(program: Command, context: CliContext): void {
  program
    .command('doctor')
    .summary('find out what a PKCS#11 module can do')
    .description(
      'Loads a PKCS#11 module in a process to be thrown away and lists its tokens, mechanisms and limits. With a PIN it also tries every algorithm with temporary keys, measures one and many sessions at once, and recommends a configuration. It logs in once: a wrong PIN costs one try. It leaves nothing on the token.',
    )
    .option('--module <path>', 'the library; default: SoftHSM2, where the distribution puts it')
    .option('--config <file>', 'lastmile.yaml, with --token: everything as it is configured there')
    .option('--token <name>', 'the token in --config')
    .option('--profile <name>', 'what is known about the module; default: what is recognised')
    .option('--label <label>', 'the token to examine, by its label')
    .option('--serial <serial>', 'the token to examine, by its serial number')
    .option('--pin-file <file>', 'the user PIN: without it nothing is tried')
    .option('--directory <dir>', 'working directory of the module; default: here')
    .option('--env <NAME=value>', 'a variable that the module needs; may be given again', collect, [])
    .option('--sessions <n>', 'the most sessions at once', positiveInteger, DEFAULT_SESSIONS)
    .option(
      '--measure <duration>',
      'how long each number of sessions is measured',
      seconds,
      DEFAULT_MEASURE_SECONDS,
    )
    .option('--mechanisms', 'list every mechanism of every token')
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      `
Examples:
  lastmile doctor --module /usr/lib/softhsm/libsofthsm2.so --env SOFTHSM2_CONF=softhsm2.conf
  lastmile doctor --config lastmile.yaml --token first
`,
    )
    .action(async (flags: Flags) => {
      if ((flags.config === undefined) !== (flags.token === undefined))
        throw new CliError(EXIT.usage, '--config and --token go together');
      if (flags.config !== undefined && flags.module !== undefined)
        throw new CliError(EXIT.usage, 'the module is named by --config already: leave --module out');
      const at = (path: string | undefined) => (path === undefined ? undefined : resolve(context.cwd, path));
      const report = await context.doctor({
        module: at(flags.module),
        profile: flags.profile,
        label: flags.label,
        serial: flags.serial,
        pinFile: at(flags.pinFile),
        directory: at(flags.directory) ?? context.cwd,
        environment: environmentOf(flags.env),
        config:
          flags.config === undefined || flags.token === undefined
            ? undefined
            : { path: resolve(context.cwd, flags.config), token: flags.token },
        sessions: flags.sessions,
        measureMs: flags.measure * 1000,
        hangLimitMs: HANG_LIMIT_MS,
      });
      await write(
        context.stdout,
        flags.json === true ? json(report) : text(report, flags.mechanisms === true),
      );
      const bad = report.examined;
      if (bad !== undefined && bad.end !== 'done')
        throw new CliError(EXIT.failed, `the examination ${bad.end}: ${bad.endDetail ?? ''}`);
      if (bad !== undefined && bad.login !== 'accepted')
        throw new CliError(EXIT.failed, `no login: ${bad.login} (${bad.loginDetail ?? 'no code'})`, {
          advice: 'correct the PIN before the next try: tokens count failures and then lock',
        });
    });
}

function environmentOf(pairs: readonly string[]): Record<string, string> {
  const environment: Record<string, string> = {};
  for (const pair of pairs) {
    const [, name, value] = /^([A-Za-z_][A-Za-z0-9_]*)=([\s\S]*)$/.exec(pair) ?? [];
    if (name === undefined || value === undefined)
      throw new CliError(EXIT.usage, `--env ${printable(pair)}: write NAME=value`);
    environment[name] = value;
  }
  return environment;
}

function text(report: DoctorReport, withMechanisms: boolean): string {
  const { library, profile, tokens, examined } = report;
  const parts = [
    fields([
      ['module', report.module],
      ['library', `${library.description} ${library.version}, ${library.manufacturer}`],
      ['profile', `${profile.name} (${profile.chosen}): ${profile.module}, ${profile.tested}`],
      ['transport', profile.transport],
      ['PIN', profile.pin],
      ['lock-out', profile.lockout],
      ['sessions', profile.sessions],
      ['silent slots', report.silentSlots.join('; ')],
    ]),
    table(
      ['TOKEN', 'SERIAL', 'MODEL', 'FIRMWARE', 'PIN', 'SESSIONS', 'MECHANISMS'],
      tokens.map((token) => [
        token.initialised ? token.label : '(not initialised)',
        token.serial,
        token.model,
        token.firmware,
        token.pin,
        token.maxSessions ?? 'no limit stated',
        token.mechanisms.length,
      ]),
    ),
  ];
  if (withMechanisms) parts.push(...tokens.map(mechanismTable));
  if (examined !== undefined) parts.push(examinationText(examined));
  if (report.findings.length > 0)
    parts.push(`Findings:\n${report.findings.map((finding) => `  - ${printable(finding)}\n`).join('')}`);
  if (report.recommended !== undefined)
    parts.push(`For lastmile.yaml:\n\n${printable(report.recommended, '\n')}`);
  return parts.filter((part) => part !== '').join('\n');
}

function mechanismTable(token: DoctorToken): string {
  const head = `Mechanisms of ${printable(token.label)}:\n`;
  const rows = token.mechanisms.map(({ name, minKeySize, maxKeySize, uses }) => [
    name,
    minKeySize === 0 && maxKeySize === 0 ? '' : `${minKeySize} to ${maxKeySize}`,
    uses.join(', '),
  ]);
  return head + table(['MECHANISM', 'KEY SIZE', 'USES'], rows);
}

function examinationText({
  token,
  login,
  loginDetail,
  sessions,
  algorithms,
  loads,
}: DoctorExamination): string {
  const head = fields([
    ['examined', token],
    ['login', loginDetail === undefined ? login : `${login} (${loginDetail})`],
    [
      'sessions opened',
      sessions === undefined
        ? ''
        : `${sessions.opened}${sessions.refusedWith === undefined ? '' : `, then ${sessions.refusedWith}`}`,
    ],
  ]);
  if (algorithms.length === 0) return head;
  const tried = table(
    ['ALGORITHM', 'WORKS', 'WHY NOT'],
    algorithms.map(({ algorithm, works, why, unexpected }) => [
      algorithm,
      works ? 'yes' : 'no',
      `${why ?? ''}${unexpected ? ' (the profile says otherwise)' : ''}`,
    ]),
  );
  if (loads.length === 0) return `${head}\n${tried}`;
  const load = table(
    ['LOAD', 'SESSIONS', 'PER SECOND', 'P50 MS', 'P99 MS', 'WRONG', 'FAILED'],
    loads.map((one) => [
      one.algorithm,
      one.sessions,
      one.perSecond,
      one.p50Ms,
      one.p99Ms,
      one.wrong,
      one.failed,
    ]),
  );
  return `${head}\n${tried}\n${load}`;
}
