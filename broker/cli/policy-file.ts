import { createHash } from 'node:crypto';
import { compilePolicy } from '../../policy/compile.ts';
import type { PolicySet } from '../../policy/decision.ts';
import { MAX_POLICY_BYTES } from '../../policy/load.ts';
import { PolicyError } from '../../policy/policy-error.ts';
import { type CliContext, CliError, EXIT } from './context.ts';
import { readWhole } from './files.ts';

/** A policy file that decides, without a broker. @throws CliError with every mistake in it */
export async function policyOf(context: CliContext, file: string): Promise<PolicySet> {
  const bytes = await readWhole(context, file, MAX_POLICY_BYTES);
  const hash = `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
  try {
    return compilePolicy(bytes, { file, hash });
  } catch (error) {
    if (!(error instanceof PolicyError)) throw error;
    throw new CliError(EXIT.failed, `the policy is refused whole:\n${error.message}`, { cause: error });
  }
}
