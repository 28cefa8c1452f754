import type { Command } from 'commander';
import type { ClockStatus__Output } from '../proto/gen/lastmile/v1/ClockStatus.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { fields, json, write } from './output.ts';

interface AcceptFlags extends ConnectionFlags {
  readonly reason: string;
}

export function addClock(program: Command, context: CliContext): void {
  const clock = program
    .command('clock')
    .summary('what time the broker thinks it is')
    .description('The clock that windows and expiry go by.');
  const show = clock
    .command('show')
    .description('The broker’s time, the machine’s, and how far the first may be wrong. For operators.')
    .addHelpText('after', '\nExample:\n  lastmile clock show\n')
    .action(async (flags: ConnectionFlags) => {
      const { clock: now } = await asOperator(context, flags, (client) => client.admin('GetStatus', {}));
      await write(context.stdout, flags.json === true ? json(now) : clockText(now));
    });
  withConnection(show, context);
  const accept = clock
    .command('accept')
    .description(
      'Says that the machine’s time is right, after a jump or a restart in the past: windows open again. Compare it with another clock first. For operators.',
    )
    .requiredOption('--reason <text>', 'how that is known; goes into the log')
    .addHelpText('after', '\nExample:\n  lastmile clock accept --reason "NTP was down, INC-12; compared"\n')
    .action(async (flags: AcceptFlags) => {
      const { clock: now, log } = await asOperator(context, flags, (client) =>
        client.admin('AcceptClock', { reason: flags.reason }),
      );
      await write(
        context.stdout,
        flags.json === true
          ? json({ clock: now, log })
          : `${clockText(now)}${fields([['log entry', log?.leafIndex]])}`,
      );
    });
  withConnection(accept, context);
}

export function clockText(clock: ClockStatus__Output | null | undefined): string {
  return fields([
    ['clock', clock?.now],
    ['machine', clock?.machine],
    ['doubt', doubtText(clock)],
  ]);
}

export function doubtText(clock: ClockStatus__Output | null | undefined): string {
  if (clock?.inDoubt !== true) return '';
  return clock.doubtMs === 0 ? 'nobody knows how far it is wrong' : `it may be wrong by ${clock.doubtMs} ms`;
}
