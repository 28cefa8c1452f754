import { Argument, type Command } from 'commander';
import type { FreezeRecord__Output } from '../proto/gen/lastmile/v1/FreezeRecord.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { json, printable, table, write } from './output.ts';

interface Flags extends ConnectionFlags {
  readonly reason: string;
}

const KINDS = ['workload', 'key', 'token', 'trust-domain', 'credential', 'approver'];

function kindArgument(): Argument {
  return new Argument('<kind>', 'what it is').choices(KINDS);
}

const SUBJECT =
  "SPIFFE ID, key name, token name, trust domain, the certificate's SHA-256 in hex, or the id of an approver";

export function addFreeze(program: Command, context: CliContext): void {
  const freeze = program
    .command('freeze')
    .summary('the kill switch')
    .description(
      'Refuses a workload, key, token, trust domain, credential or approver from now on: the next request, queued work and open streams; what an approver has agreed to counts no more. For operators.',
    )
    .addArgument(kindArgument())
    .argument('<subject>', SUBJECT)
    .requiredOption('--reason <text>', 'goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile freeze workload spiffe://example.org/ns/payments/sa/api --reason "leaked credential, INC-12"\n',
    )
    .action((kind: string, subject: string, flags: Flags) => change(context, 'Freeze', kind, subject, flags));
  withConnection(freeze, context);
  const unfreeze = program
    .command('unfreeze')
    .summary('lift a freeze')
    .description('Lifts a freeze. For operators.')
    .addArgument(kindArgument())
    .argument('<subject>', SUBJECT)
    .requiredOption('--reason <text>', 'goes into the log')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile unfreeze workload spiffe://example.org/ns/payments/sa/api --reason "new credential issued"\n',
    )
    .action((kind: string, subject: string, flags: Flags) =>
      change(context, 'Unfreeze', kind, subject, flags),
    );
  withConnection(unfreeze, context);
  const freezes = program
    .command('freezes')
    .summary('what is frozen')
    .description('What is frozen, by whom, since when and why. For operators.')
    .addHelpText('after', '\nExample:\n  lastmile freezes\n')
    .action(async (flags: ConnectionFlags) => {
      const { freezes: all } = await asOperator(context, flags, (client) => client.admin('ListFreezes', {}));
      await write(context.stdout, flags.json === true ? json(all) : freezeTable(all));
    });
  withConnection(freezes, context);
}

async function change(
  context: CliContext,
  method: 'Freeze' | 'Unfreeze',
  kind: string,
  subject: string,
  flags: Flags,
): Promise<void> {
  const { log } = await asOperator(context, flags, (client) =>
    client.admin(method, { kind, subject, reason: flags.reason }),
  );
  const done = method === 'Freeze' ? 'frozen' : 'no longer frozen';
  const text = `${kind} ${printable(subject)} is ${done}${log ? `; log entry ${log.leafIndex}` : ''}\n`;
  await write(context.stdout, flags.json === true ? json({ kind, subject, log }) : text);
}

export function freezeTable(freezes: readonly FreezeRecord__Output[]): string {
  if (freezes.length === 0) return 'nothing is frozen\n';
  return table(
    ['KIND', 'SUBJECT', 'SINCE', 'BY', 'REASON'],
    freezes.map((f) => [f.kind, f.subject, f.since, f.by, f.reason]),
  );
}
