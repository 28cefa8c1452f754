import { setTimeout as pause } from 'node:timers/promises';
import type { Command } from 'commander';
import type { TokenStatus__Output } from '../proto/gen/lastmile/v1/TokenStatus.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { fields, json, printable, table, write } from './output.ts';

interface ReasonFlags extends ConnectionFlags {
  readonly reason: string;
}

interface DrainFlags extends ReasonFlags {
  readonly wait?: boolean;
}

const LOOK_AGAIN_MS = 200;

export function addTokens(program: Command, context: CliContext): void {
  const tokens = program
    .command('tokens')
    .summary('look at tokens, take them out of service, unblock them')
    .description('PKCS#11 tokens. For operators.');
  const list = tokens
    .command('list')
    .description('All tokens, their state, and what to do about it.')
    .addHelpText('after', '\nExample:\n  lastmile tokens list\n')
    .action(async (flags: ConnectionFlags) => {
      const { tokens: all } = await asOperator(context, flags, (client) => client.admin('ListTokens', {}));
      await write(context.stdout, flags.json === true ? json(all) : tokenTable(all));
    });
  withConnection(list, context);
  const status = tokens
    .command('status')
    .description('What is known of one token, or of each: its state, its worker, its load, its errors.')
    .argument('[token]', 'its name in lastmile.yaml')
    .addHelpText('after', '\nExample:\n  lastmile tokens status a\n')
    .action(async (token: string | undefined, flags: ConnectionFlags) => {
      const { tokens: all } = await asOperator(context, flags, (client) => client.admin('ListTokens', {}));
      const wanted = token === undefined ? all : [named(all, token)];
      await write(
        context.stdout,
        flags.json === true ? json(wanted) : wanted.map((one) => tokenDetails(one)).join('\n'),
      );
    });
  withConnection(status, context);
  const drain = tokens
    .command('drain')
    .description(
      'Takes a token out of service, also when the broker restarts, until `undrain`: it finishes what it has.',
    )
    .argument('<token>', 'its name in lastmile.yaml')
    .requiredOption('--reason <text>', 'goes into the log')
    .option('--wait', 'until it has nothing left to do')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile tokens drain a --wait --reason "firmware update, ticket 4711"\n',
    )
    .action(async (token: string, flags: DrainFlags) => {
      const { log, inFlight } = await asOperator(context, flags, async (client) => {
        const drained = await client.admin('DrainToken', { token, reason: flags.reason });
        let left = drained.inFlight;
        while (flags.wait === true && left > 0) {
          await pause(LOOK_AGAIN_MS);
          left = named((await client.admin('ListTokens', {})).tokens, token).inFlight;
        }
        return { log: drained.log, inFlight: left };
      });
      const left = inFlight === 0 ? 'it has nothing left to do' : `it still has ${inFlight} operations`;
      await write(
        context.stdout,
        flags.json === true
          ? json({ token, inFlight, log })
          : `${printable(token)} gets no more work; ${left}\n`,
      );
    });
  withConnection(drain, context);
  const undrain = tokens
    .command('undrain')
    .description('Brings a token that was drained back into service.')
    .argument('<token>', 'its name in lastmile.yaml')
    .requiredOption('--reason <text>', 'goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile tokens undrain a --reason "firmware updated, ticket 4711"\n',
    )
    .action(async (token: string, flags: ReasonFlags) => {
      const { log } = await asOperator(context, flags, (client) =>
        client.admin('UndrainToken', { token, reason: flags.reason }),
      );
      const text = `${printable(token)} is in service again; \`lastmile tokens list\` shows its state\n`;
      await write(context.stdout, flags.json === true ? json({ token, log }) : text);
    });
  withConnection(undrain, context);
  const unblock = tokens
    .command('unblock')
    .description(
      'Lets the broker try the PIN of a token once more. Correct the PIN first: tokens count failures and then lock.',
    )
    .argument('<token>', 'its name in lastmile.yaml')
    .requiredOption('--reason <text>', 'goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile tokens unblock a --reason "PIN file corrected, ticket 4711"\n',
    )
    .action(async (token: string, flags: ReasonFlags) => {
      const { log } = await asOperator(context, flags, (client) =>
        client.admin('UnblockToken', { token, reason: flags.reason }),
      );
      const text = `unblocked ${printable(token)}; \`lastmile tokens list\` shows whether it logs in\n`;
      await write(context.stdout, flags.json === true ? json({ token, log }) : text);
    });
  withConnection(unblock, context);
}

export function tokenTable(tokens: readonly TokenStatus__Output[]): string {
  const text = table(
    ['TOKEN', 'STATE', 'SERIAL', 'LABEL', 'MODEL', 'SESSIONS', 'KEYS', 'SOFTWARE'],
    tokens.map((t) => [
      t.name,
      t.state,
      t.serial,
      t.label,
      t.model,
      `${t.sessionsInUse}/${t.sessionsLimit}`,
      t.keys.length,
      t.software ? 'yes' : 'no',
    ]),
  );
  const notes = tokens.flatMap((t) => [
    ...(t.advice === '' ? [] : [`${t.name}: ${t.advice}`]),
    ...t.unusableKeys.map((key) => `${t.name}: cannot use ${key}`),
  ]);
  return text + notes.map((note) => `${printable(note)}\n`).join('');
}

function named(tokens: readonly TokenStatus__Output[], name: string): TokenStatus__Output {
  const token = tokens.find((candidate) => candidate.name === name);
  if (token === undefined) throw new CliError(EXIT.usage, `there is no token ${printable(name)}`);
  return token;
}

function tokenDetails(t: TokenStatus__Output): string {
  const pin = [
    ...(t.pinLocked ? ['locked'] : []),
    ...(t.pinFinalTry ? ['one try left before it locks'] : []),
    ...(t.pinCountLow ? ['a wrong one was tried since the last good one'] : []),
  ];
  return fields([
    ['token', t.name],
    ['state', t.state],
    ['advice', t.advice],
    ['serial', t.serial],
    ['label', t.label],
    ['model', t.model],
    ['firmware', t.firmware],
    ['software token', t.software ? 'yes' : 'no'],
    ['worker', t.workerPid === 0 ? 'none' : `process ${t.workerPid}, ${t.restarts} restarts`],
    ['sessions in use', `${t.sessionsInUse} of ${t.sessionsLimit}`],
    ['operations in flight', t.inFlight],
    ['an operation takes', t.serviceMicros === 0 ? '' : `${(t.serviceMicros / 1000).toFixed(2)} ms`],
    ['circuit', t.circuit],
    [
      'errors',
      Object.entries(t.errors)
        .map(([name, count]) => `${name} ${count}`)
        .join(', '),
    ],
    ['PIN', pin.join(', ')],
    ['keys', t.keys.join(', ')],
    ['unusable keys', t.unusableKeys.join(', ')],
  ]);
}
