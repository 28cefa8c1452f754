/** How a workload asks where people may have to agree first. */
import type { Command } from 'commander';
import type { CallOptions } from '../client/client.ts';
import { LastmileError } from '../client/errors.ts';
import { seconds } from './arguments.ts';
import type { CliContext } from './context.ts';
import { printable, write } from './output.ts';

export interface AskingFlags {
  readonly emergency?: boolean;
  /** Seconds. */
  readonly waitForApproval?: number;
}

export function withAsking(command: Command): Command {
  return command
    .option(
      '--wait-for-approval <duration>',
      'where people must agree: wait for them so long, such as 15m',
      seconds,
    )
    .option('--emergency', 'break-glass: ask under a rule for emergencies; everybody is told');
}

/**
 * Calls once, and where people must agree and the flags say so, says which approval it is and waits for them. A broker
 * waits no longer than its own longest deadline, so that it is asked until the time is over: for the same approval, which
 * stays open. What was rejected or has expired is not asked for again.
 *
 * @throws LastmileError as the call does
 */
export async function asked<T>(
  context: Pick<CliContext, 'stderr'>,
  { emergency, waitForApproval }: AskingFlags,
  call: (options: CallOptions) => Promise<T>,
): Promise<T> {
  const options: CallOptions = emergency === true ? { emergency } : {};
  const until = performance.now() + (waitForApproval ?? 0) * 1000;
  try {
    return await call(options);
  } catch (error) {
    const approval = error instanceof LastmileError ? error.metadata['approval'] : undefined;
    if (waitForApproval === undefined || approval === undefined) throw error;
    await write(context.stderr, `waiting for the approval ${printable(approval)}\n`);
  }
  for (;;) {
    const deadlineMs = Math.max(1, until - performance.now());
    try {
      return await call({ ...options, waitForApproval: true, deadlineMs });
    } catch (error) {
      const isOpen = error instanceof LastmileError && error.metadata['state'] === 'open';
      if (!isOpen || performance.now() >= until) throw error;
    }
  }
}
