import { resolve } from 'node:path';
import type { Command } from 'commander';
import { instanceOption } from './connection.ts';
import type { CliContext } from './context.ts';

interface Flags {
  readonly instance: string;
  readonly config?: string;
}

export function addServe(program: Command, context: CliContext): void {
  program
    .command('serve')
    .summary('run the broker')
    .description('Runs the broker until it is told to stop (SIGTERM). SIGHUP reads the policy again.')
    .addOption(instanceOption(context))
    .option('--config <file>', 'configuration; default lastmile.yaml of the instance')
    .addHelpText('after', '\nExample:\n  lastmile serve --config /etc/lastmile/lastmile.yaml\n')
    .action((flags: Flags) =>
      context.serve(
        flags.config === undefined
          ? resolve(context.cwd, flags.instance, 'lastmile.yaml')
          : resolve(context.cwd, flags.config),
      ),
    );
}
