import type { Command } from 'commander';
import type { GetStatusResponse__Output } from '../proto/gen/lastmile/v1/GetStatusResponse.ts';
import { doubtText } from './clock.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { freezeTable } from './freeze.ts';
import { fields, json, printable, table, write } from './output.ts';
import { tokenTable } from './tokens.ts';

export function addStatus(program: Command, context: CliContext): void {
  const command = program
    .command('status')
    .summary('how the broker is')
    .description(
      'State, warnings, policy, log, processes, tokens and freezes. Exit code 1 when it is not serving. For operators.',
    )
    .addHelpText('after', '\nExample:\n  lastmile status\n')
    .action(async (flags: ConnectionFlags) => {
      const status = await asOperator(context, flags, (client) => client.admin('GetStatus', {}));
      await write(context.stdout, flags.json === true ? json(status) : statusText(status));
      if (status.state !== 'serving') throw new CliError(EXIT.failed, `the broker is ${status.state}`);
    });
  withConnection(command, context);
}

const MIB = 1024 * 1024;

function statusText(status: GetStatusResponse__Output): string {
  const refused = Object.entries(status.refusedHandshakes ?? {});
  const reads = Object.entries(status.reads ?? {});
  const sections = [
    status.warnings.map((warning) => `warning: ${printable(warning)}\n`).join(''),
    fields([
      ['state', status.state],
      ['version', status.version],
      ['policy', status.policyHash],
      ['policy loaded', status.policyLoadedAt],
      ['policy refused', status.policyRefusal],
      ['log', status.origin],
      ['log entries', `${status.logSize}, of them ${status.checkpointSize} under a signed checkpoint`],
      ['log failure', status.auditFailure],
      ['clock', doubtText(status.clock)],
      ['software generation', `entry ${status.softwareGeneration}`],
      ['reads', reads.map(([method, count]) => `${method} ${count}`).join(', ')],
      ['refused handshakes', refused.map(([reason, count]) => `${reason} ${count}`).join(', ')],
    ]),
    table(
      ['PROCESS', 'PID', 'UID', 'STATE', 'RESTARTS', 'MEMORY'],
      status.processes.map((p) => [
        p.role,
        p.pid,
        p.uid,
        p.state,
        p.restarts,
        `${Math.round(p.residentBytes / MIB)} MiB`,
      ]),
    ),
    tokenTable(status.tokens),
    freezeTable(status.freezes),
  ];
  return sections.filter((section) => section !== '').join('\n');
}
