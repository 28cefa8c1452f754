import { type Command, Option } from 'commander';
import { checkPolicy, explainText } from '../../policy/check.ts';
import { type ExplainedDecision, OPERATIONS, type Operation } from '../../policy/decision.ts';
import { MAX_POLICY_BYTES } from '../../policy/load.ts';
import { formatSourceIssue } from '../../policy/source-issue.ts';
import { asOperator, type ConnectionFlags, jsonOption, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';
import { fields, json, write } from './output.ts';
import { addPolicyComparisons } from './policy-compare.ts';
import { policyOf } from './policy-file.ts';
import { addPolicyReplays } from './policy-replay.ts';
import { addPolicyVersions } from './policy-versions.ts';

interface ExplainFlags extends ConnectionFlags {
  readonly workload: string;
  readonly key: string;
  readonly operation: Operation;
  readonly algorithm?: string;
  readonly policy?: string;
}

export function addPolicy(program: Command, context: CliContext): void {
  const policy = program
    .command('policy')
    .summary('check, test, compare, rehearse, activate the policy')
    .description('The policy file.');
  addCheck(policy, context);
  addPolicyComparisons(policy, context);
  addExplain(policy, context);
  addPolicyReplays(policy, context);
  addPolicyVersions(policy, context);
  addReload(policy, context);
}

function addCheck(policy: Command, context: CliContext): void {
  policy
    .command('check')
    .description(
      'Says whether the broker would take this policy file, and where it would not. Needs no broker.',
    )
    .argument('<file>', 'policy file')
    .addOption(jsonOption())
    .addHelpText('after', '\nExample:\n  lastmile policy check .lastmile/policy.yaml\n')
    .action(async (file: string, flags: { json?: boolean }) => {
      const bytes = await readWhole(context, file, MAX_POLICY_BYTES);
      const { issues, warnings, summary } = checkPolicy(bytes, { file, now: Date.now() });
      if (flags.json === true) {
        await write(context.stdout, json({ issues, warnings, summary: summary ?? null }));
      } else {
        for (const issue of issues) await write(context.stderr, `${formatSourceIssue(issue)}\n`);
        for (const warning of warnings)
          await write(context.stderr, `warning: ${formatSourceIssue(warning)}\n`);
        if (summary !== undefined) {
          const { allowRules, denyRules, roles } = summary;
          await write(
            context.stdout,
            `${file}: right: ${allowRules} allow rules, ${denyRules} deny rules, ${roles} roles\n`,
          );
        }
      }
      if (issues.length > 0)
        throw new CliError(EXIT.failed, `${file} is refused whole: ${issues.length} to correct`);
    });
}

function addExplain(policy: Command, context: CliContext): void {
  const command = policy
    .command('explain')
    .description(
      'Says how a request would be decided, with every rule considered and what was missing: by the policy in force, or by a file. Exit code 0 also when it is denied.',
    )
    .requiredOption('--workload <spiffe-id>', 'who asks')
    .addOption(new Option('--operation <name>', 'for what').choices(OPERATIONS).makeOptionMandatory())
    .option('--key <name>', 'with which key; not for random', '')
    .option('--algorithm <name>', 'JOSE name', '')
    .option('--policy <file>', 'decide by this file; needs no broker')
    .addHelpText(
      'after',
      '\nExample:\n  lastmile policy explain --workload spiffe://example.org/ns/payments/sa/api --operation sign --key payments/jwt --algorithm ES256\n',
    )
    .action(async (flags: ExplainFlags) => {
      const decision =
        flags.policy === undefined
          ? await explainOnline(context, flags)
          : await explainFile(context, flags.policy, flags);
      await write(context.stdout, flags.json === true ? json(decision) : explainText(decision));
    });
  withConnection(command, context);
}

async function explainFile(
  context: CliContext,
  file: string,
  flags: ExplainFlags,
): Promise<ExplainedDecision> {
  return (await policyOf(context, file)).explain({
    spiffeId: flags.workload,
    operation: flags.operation,
    key: flags.key,
    algorithm: flags.algorithm ?? '',
  });
}

async function explainOnline(context: CliContext, flags: ExplainFlags): Promise<ExplainedDecision> {
  const { decision, rule, considered, policyHash } = await asOperator(context, flags, (client) =>
    client.admin('ExplainPolicy', {
      workload: flags.workload,
      key: flags.key,
      operation: flags.operation,
      algorithm: flags.algorithm ?? '',
    }),
  );
  return {
    effect: decision === 'allow' ? 'allow' : 'deny',
    rule,
    policyHash,
    considered: considered.map((c) => ({ ...c, effect: c.effect === 'deny' ? 'deny' : 'allow' })),
  };
}

function addReload(policy: Command, context: CliContext): void {
  const command = policy
    .command('reload')
    .description(
      'Has the broker read its policy file again. Refused whole if any part is wrong; the old one stays. For operators.',
    )
    .addHelpText('after', '\nExample:\n  lastmile policy reload\n')
    .action(async (flags: ConnectionFlags) => {
      const { policyHash, log } = await asOperator(context, flags, (client) =>
        client.admin('ReloadPolicy', {}),
      );
      const text = fields([
        ['policy', policyHash],
        ['log entry', log?.leafIndex],
      ]);
      await write(context.stdout, flags.json === true ? json({ policyHash, log }) : text);
    });
  withConnection(command, context);
}
