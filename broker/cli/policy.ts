import { type Command, Option } from 'commander';
import { checkPolicy, explainText, type PolicyCheck } from '../../policy/check.ts';
import { type ExplainedDecision, OPERATIONS, type Operation } from '../../policy/decision.ts';
import { type AskedRequest, AskedRequestError, questionOf } from '../../policy/explain-question.ts';
import { MAX_POLICY_BYTES } from '../../policy/load.ts';
import { formatSourceIssue, type SourceIssue } from '../../policy/source-issue.ts';
import type { PolicyFinding__Output } from '../proto/gen/lastmile/v1/PolicyFinding.ts';
import { collect, count } from './arguments.ts';
import { asOperator, type ConnectionFlags, withConnection } from './connection.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';
import { fields, json, write } from './output.ts';
import { addPolicyComparisons } from './policy-compare.ts';
import { policyOf } from './policy-file.ts';
import { addPolicyReplays } from './policy-replay.ts';
import { addPolicyVersions } from './policy-versions.ts';

interface CheckFlags extends ConnectionFlags {
  readonly online?: boolean;
}

interface ExplainFlags extends ConnectionFlags {
  readonly workload: string;
  readonly key: string;
  readonly operation: Operation;
  readonly algorithm?: string;
  readonly at?: string;
  readonly doubtMs?: number;
  readonly content?: string;
  readonly bytes?: number;
  readonly keyVersion?: number;
  readonly evidence: readonly string[];
  readonly peer?: string;
  readonly facts?: string;
  readonly policy?: string;
}

const MAX_FACTS_BYTES = 64 * 1024;

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
  const command = policy
    .command('check')
    .description(
      'Says whether the broker would take this policy file, and where it would not. Needs no broker.',
    )
    .argument('<file>', 'policy file')
    .option('--online', 'ask the broker, which knows what keys there are and which workloads it has seen')
    .addHelpText(
      'after',
      '\nExamples:\n  lastmile policy check .lastmile/policy.yaml\n  lastmile policy check --online .lastmile/policy.yaml\n',
    )
    .action(async (file: string, flags: CheckFlags) => {
      const bytes = await readWhole(context, file, MAX_POLICY_BYTES);
      const { issues, warnings, summary } =
        flags.online === true
          ? await checkOnline(context, flags, bytes, file)
          : await checkOffline(context, bytes, file);
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
  withConnection(command, context);
}

async function checkOffline(context: CliContext, bytes: Buffer, file: string): Promise<PolicyCheck> {
  const check = checkPolicy(bytes, { file, now: Date.now() });
  if (check.issues.length > 0) return check;
  const issues = await context.profileIssues(bytes, file);
  return issues.length === 0 ? check : { ...check, issues, summary: undefined };
}

async function checkOnline(
  context: CliContext,
  flags: ConnectionFlags,
  content: Buffer,
  file: string,
): Promise<PolicyCheck> {
  const found = await asOperator(context, flags, (client) => client.admin('CheckPolicy', { content, file }));
  const { allowRules, denyRules, roles } = found;
  const issues = found.issues.map(issueOf);
  return {
    issues,
    warnings: found.warnings.map(issueOf),
    summary: issues.length > 0 ? undefined : { allowRules, denyRules, roles },
  };
}

function issueOf({ expected, nearest, ...found }: PolicyFinding__Output): SourceIssue {
  return {
    ...found,
    ...(expected === '' ? {} : { expected }),
    ...(nearest === '' ? {} : { nearest }),
  };
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
    .option('--at <time>', 'when, RFC 3339; default now')
    .option('--doubt-ms <n>', 'how far that may be wrong', count)
    .addOption(
      new Option('--content <kind>', 'what is handed in').choices([
        'message',
        'digest',
        'plaintext',
        'ciphertext',
        'typed',
        'none',
      ]),
    )
    .option('--bytes <n>', 'of how many bytes', count)
    .option('--key-version <n>', 'the version that is pinned', count)
    .option(
      '--evidence <kind>',
      'what the identity rests on; repeat for several; default x509-svid',
      collect,
      [],
    )
    .option('--peer <address>', 'where it comes from, without the port')
    .option(
      '--facts <file>',
      'typed signing: what is to be built as conditions see it, JSON or YAML; of a JWT its claims and `lifetime` in seconds',
    )
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
  const policy = await policyOf(context, file);
  try {
    return policy.explain(questionOf(await asked(context, flags), { nowMs: Date.now(), doubtMs: 0 }));
  } catch (error) {
    if (!(error instanceof AskedRequestError)) throw error;
    throw new CliError(EXIT.usage, error.message, { cause: error });
  }
}

async function asked(context: CliContext, flags: ExplainFlags): Promise<AskedRequest> {
  return {
    workload: flags.workload,
    key: flags.key,
    operation: flags.operation,
    algorithm: flags.algorithm ?? '',
    at: flags.at ?? '',
    clockDoubtMs: flags.doubtMs ?? 0,
    content: flags.content ?? '',
    bytes: flags.bytes ?? 0,
    version: flags.keyVersion ?? 0,
    evidence: flags.evidence,
    peerAddress: flags.peer ?? '',
    facts:
      flags.facts === undefined
        ? ''
        : (await readWhole(context, flags.facts, MAX_FACTS_BYTES)).toString('utf8'),
  };
}

async function explainOnline(context: CliContext, flags: ExplainFlags): Promise<ExplainedDecision> {
  const request = await asked(context, flags);
  const { decision, rule, considered, policyHash } = await asOperator(context, flags, (client) =>
    client.admin('ExplainPolicy', { ...request, evidence: [...request.evidence] }),
  );
  return {
    // What is pending is allowed by a rule that says what it needs.
    effect: decision === 'allow' || decision === 'pending' ? 'allow' : 'deny',
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
