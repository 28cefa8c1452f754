import { dirname, join } from 'node:path';
import type { Command } from 'commander';
import { loadCases, MAX_CASES_BYTES, runCases } from '../../policy/cases.ts';
import { diffPolicies } from '../../policy/diff.ts';
import { diffLines } from '../../policy/diff-words.ts';
import { MAX_POLICY_BYTES } from '../../policy/load.ts';
import { formatSourceIssue, type SourceIssue } from '../../policy/source-issue.ts';
import { jsonOption } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';
import { json, printable, write } from './output.ts';
import { policyOf } from './policy-file.ts';

/** `policy test` and `policy diff`: they need no broker. */
export function addPolicyComparisons(policy: Command, context: CliContext): void {
  addTest(policy, context);
  addDiff(policy, context);
}

function addTest(policy: Command, context: CliContext): void {
  policy
    .command('test')
    .description(
      'Decides the requests of a file of cases and compares with what they expect, limits included. Exit code 1 when a case fails, 2 when the file is wrong. Needs no broker.',
    )
    .argument('<file>', 'cases: YAML, see policy/README.md')
    .option('--policy <file>', 'the policy; default: the one that the cases name')
    .addOption(jsonOption())
    .addHelpText(
      'after',
      '\nExample:\n  lastmile policy test policy-cases.yaml --policy .lastmile/policy.yaml\n',
    )
    .action(async (file: string, flags: { policy?: string; json?: boolean }) => {
      const loaded = loadCases(await readWhole(context, file, MAX_CASES_BYTES), file);
      if (!loaded.ok) throw wrongFile(file, loaded.issues);
      const named = loaded.cases.policy === undefined ? undefined : join(dirname(file), loaded.cases.policy);
      const policyFile = flags.policy ?? named;
      if (policyFile === undefined) {
        throw new CliError(EXIT.usage, 'which policy? name it with --policy, or in the cases with `policy:`');
      }
      const report = runCases(loaded.cases, await policyOf(context, policyFile));
      if (flags.json === true) await write(context.stdout, json({ policy: policyFile, ...report }));
      else {
        for (const { issue } of report.failures)
          await write(context.stdout, `${printable(formatSourceIssue(issue))}\n`);
        await write(context.stdout, `${report.passed} of ${report.cases} cases pass\n`);
      }
      if (report.failures.length > 0)
        throw new CliError(EXIT.failed, `${report.failures.length} of ${report.cases} cases fail`);
    });
}

function addDiff(policy: Command, context: CliContext): void {
  policy
    .command('diff')
    .description(
      'What changes from one policy file to another: rules and fields, and who gains or loses what. Exit code 0 also when something changes. Needs no broker.',
    )
    .argument('<old>', 'policy file')
    .argument('<new>', 'policy file')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  lastmile policy diff .lastmile/policy.yaml policy.new.yaml\n')
    .action(async (old: string, next: string, flags: { json?: boolean }) => {
      const [before, after] = [
        await readWhole(context, old, MAX_POLICY_BYTES),
        await readWhole(context, next, MAX_POLICY_BYTES),
      ];
      const result = diffPolicies(before, after, { before: { file: old }, after: { file: next } });
      if (!result.ok) throw wrongFile(result.issues[0]?.file ?? next, result.issues);
      const text = diffLines(result.diff)
        .map((line) => `${printable(line)}\n`)
        .join('');
      await write(context.stdout, flags.json === true ? json(result.diff) : text);
    });
}

function wrongFile(file: string, issues: readonly SourceIssue[]): CliError {
  return new CliError(EXIT.usage, `${file} is refused whole:\n${issues.map(formatSourceIssue).join('\n')}`);
}
