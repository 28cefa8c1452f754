import { resolve } from 'node:path';
import type { Command } from 'commander';
import { instanceOption } from './connection.ts';
import type { CliContext } from './context.ts';
import { json, printable, write } from './output.ts';

interface Flags {
  readonly reason: string;
  readonly instance: string;
  readonly config?: string;
  readonly json?: boolean;
}

export function addAuditAccept(audit: Command, context: CliContext): void {
  audit
    .command('accept')
    .description(
      'Goes on with a log that is shorter than what was signed, as after an older backup was restored: entries are missing for good. Likewise with a log by which another policy is in force than by the state: what the state says, `governance` included, is dropped. Records the decision as an entry of its own, and keeps everything as it was found beside the log. Run it where the broker runs, while it does not.',
    )
    .requiredOption('--reason <text>', 'why, for the record')
    .addOption(instanceOption(context))
    .option('--config <file>', 'configuration; default lastmile.yaml of the instance')
    .option('--json', 'for machines')
    .addHelpText(
      'after',
      "\nExample:\n  lastmile audit accept --reason 'disk lost, restored the backup of Sunday' --config /etc/lastmile/lastmile.yaml\n",
    )
    .action(async (flags: Flags) => {
      const config =
        flags.config === undefined
          ? resolve(context.cwd, flags.instance, 'lastmile.yaml')
          : resolve(context.cwd, flags.config);
      const accepted = await context.acceptLog(config, flags.reason);
      await write(
        context.stdout,
        flags.json === true
          ? json(accepted)
          : printable(
              `accepted, on record as entry ${accepted.leafIndex}\nfound: ${accepted.finding}\n${dropped(accepted.policy)}kept as it was: ${accepted.kept}\n`,
              '\n',
            ),
      );
    });
}

function dropped(policy: string | undefined): string {
  return policy === undefined ? '' : `the word of the state is dropped: ${policy}\n`;
}
