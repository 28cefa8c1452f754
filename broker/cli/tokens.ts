import type { Command } from 'commander';
import type { TokenStatus__Output } from '../proto/gen/lastmile/v1/TokenStatus.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { json, printable, table, write } from './output.ts';

interface UnblockFlags extends ConnectionFlags {
  readonly reason: string;
}

export function addTokens(program: Command, context: CliContext): void {
  const tokens = program
    .command('tokens')
    .summary('list and unblock tokens')
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
    .action(async (token: string, flags: UnblockFlags) => {
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
