import type { Command } from 'commander';
import { Simulation, type SimulationReport } from '../../policy/replay.ts';
import { SuggestionBuilder } from '../../policy/suggest.ts';
import { collect } from './arguments.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import type { CliContext } from './context.ts';
import { writeOutput } from './files.ts';
import { entriesSince, publishedBy, publishedIn } from './log-entries.ts';
import { moment } from './moment.ts';
import { fields, json, printable, table, write } from './output.ts';
import { policyOf } from './policy-file.ts';

interface ReplayFlags extends ConnectionFlags {
  readonly since: string;
  readonly directory?: string;
}

interface SuggestFlags extends ReplayFlags {
  readonly workload: readonly string[];
  readonly out?: string;
}

/** `policy simulate` and `policy suggest`: they read the log of a broker, or a copy of it. */
export function addPolicyReplays(policy: Command, context: CliContext): void {
  addSimulate(policy, context);
  addSuggest(policy, context);
}

function addSimulate(policy: Command, context: CliContext): void {
  const command = policy
    .command('simulate')
    .description(
      'Puts the recorded requests to another policy and says which would come out otherwise, by workload, key and rule, with their entries. Limits count from the first of them. For those who may read the whole log. Exit code 0 also when some would.',
    )
    .argument('<new>', 'policy file')
    .option('--since <time>', 'RFC 3339, or how long ago: 12h, 30d', moment, moment('30d'))
    .option('--directory <dir>', 'a copy of the log, or the directory of the broker; needs no broker')
    .addHelpText('after', '\nExample:\n  lastmile policy simulate policy.new.yaml --since 30d\n')
    .action(async (file: string, flags: ReplayFlags) => {
      const simulation = new Simulation(await policyOf(context, file));
      await forEachEntry(context, flags, (entry) => simulation.add(entry));
      const report = simulation.report();
      await write(context.stdout, flags.json === true ? json(report) : simulationText(report));
    });
  withConnection(command, context);
}

function addSuggest(policy: Command, context: CliContext): void {
  const command = policy
    .command('suggest')
    .description(
      'Writes the rules that would have allowed exactly what was seen, as a policy file to start from. For those who may read the whole log.',
    )
    .option('--since <time>', 'RFC 3339, or how long ago: 12h, 30d', moment, moment('30d'))
    .option('--workload <spiffe-id>', 'only what this one did; may be repeated', collect, [])
    .option('--directory <dir>', 'a copy of the log, or the directory of the broker; needs no broker')
    .option('--out <file>', 'where it goes; default standard output')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile policy suggest --since 30d --workload spiffe://example.org/ns/payments/sa/api\n',
    )
    .action(async (flags: SuggestFlags) => {
      const builder = new SuggestionBuilder(flags.workload.length === 0 ? {} : { workloads: flags.workload });
      await forEachEntry(context, flags, (entry) => builder.add(entry));
      const suggestion = builder.suggest();
      if (flags.json === true) await write(context.stdout, json(suggestion));
      if (flags.out !== undefined) await writeOutput(context, flags.out, [Buffer.from(suggestion.yaml)]);
      else if (flags.json !== true) await write(context.stdout, printable(suggestion.yaml, '\n'));
    });
  withConnection(command, context);
}

async function forEachEntry(
  context: CliContext,
  flags: ReplayFlags,
  take: (entry: unknown) => void,
): Promise<void> {
  if (flags.directory !== undefined) {
    for await (const entry of entriesSince(publishedIn(context, flags.directory), flags.since)) take(entry);
    return;
  }
  await asOperator(context, flags, async (client) => {
    for await (const entry of entriesSince(publishedBy(client), flags.since)) take(entry);
  });
}

const SHOWN = 50;
const SHOWN_ENTRIES = 5;

function simulationText(report: SimulationReport): string {
  const summary = fields([
    ['policy', report.policyHash],
    [
      'requests',
      report.requests === 0 ? 'none' : `${report.requests}, ${report.firstTime} to ${report.lastTime}`,
    ],
    [
      'still allowed',
      `${report.stillAllowed}${report.byAnotherRule === 0 ? '' : `, ${report.byAnotherRule} by another rule`}`,
    ],
    ['still denied', report.stillDenied],
    ['now denied', report.nowDenied],
    ['now allowed', report.nowAllowed],
    ['cannot replay', report.cannotReplay],
  ]);
  const parts = [summary];
  if (report.flips.length > 0) {
    const rows = report.flips
      .slice(0, SHOWN)
      .map((flip) => [
        flip.change,
        flip.requests,
        flip.workload,
        flip.operation,
        flip.key === '' ? '-' : flip.key,
        `${flip.ruleBefore || '-'} -> ${flip.ruleAfter || '-'}`,
        entryList(flip.entries, flip.requests),
        flip.why,
      ]);
    parts.push(
      `\n${table(['CHANGE', 'REQUESTS', 'WORKLOAD', 'OPERATION', 'KEY', 'RULE', 'ENTRIES', 'WHY'], rows)}`,
    );
  }
  const more = Math.max(0, report.flips.length - SHOWN);
  if (more > 0) parts.push(`and ${more} more; --json has them\n`);
  if (report.otherFlips > 0)
    parts.push(`and ${report.otherFlips} requests of kinds that are not told apart\n`);
  if (report.unreplayed.length > 0) {
    const rows = report.unreplayed
      .slice(0, SHOWN)
      .map(({ requests, workload, operation, key, entries }) => [
        requests,
        workload,
        operation,
        key === '' ? '-' : key,
        entryList(entries, requests),
      ]);
    parts.push(
      `\nWhat the new rules look at is not on record for:\n${table(['REQUESTS', 'WORKLOAD', 'OPERATION', 'KEY', 'ENTRIES'], rows)}`,
    );
  }
  if (report.isGuardHistoryCut)
    parts.push('\na guard met more values than are remembered: repeats may have been counted as allowed\n');
  return parts.join('');
}

function entryList(entries: readonly number[], requests: number): string {
  const shown = entries.slice(0, SHOWN_ENTRIES).join(',');
  return requests > Math.min(entries.length, SHOWN_ENTRIES) ? `${shown},…` : shown;
}
