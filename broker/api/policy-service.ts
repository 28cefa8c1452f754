import { createHash } from 'node:crypto';
import { type PolicyCheck, waitsFor } from '../../policy/check.ts';
import type { PolicySet } from '../../policy/decision.ts';
import { AskedRequestError, questionOf } from '../../policy/explain-question.ts';
import { Failure } from '../keyuse/failure.ts';
import type { ActivatePolicyRequest__Output } from '../proto/gen/lastmile/v1/ActivatePolicyRequest.ts';
import type { CheckPolicyRequest__Output } from '../proto/gen/lastmile/v1/CheckPolicyRequest.ts';
import type { ExplainPolicyRequest__Output } from '../proto/gen/lastmile/v1/ExplainPolicyRequest.ts';
import type { GetPolicyRequest__Output } from '../proto/gen/lastmile/v1/GetPolicyRequest.ts';
import type { ListPoliciesRequest__Output } from '../proto/gen/lastmile/v1/ListPoliciesRequest.ts';
import type { ProposePolicyRequest__Output } from '../proto/gen/lastmile/v1/ProposePolicyRequest.ts';
import type { OperatorClock } from './clock-service.ts';
import type { OperatorMethods } from './operator-methods.ts';

/** The policy in force and those before it. */
export interface PolicyVersions {
  readonly current: Pick<PolicySet, 'hash'>;
  /** What is wrong in another one, and probably not meant, with the names that are known here. */
  check(content: Uint8Array, file: string): Promise<PolicyCheck>;
  /** Reads the policy file now. @throws Failure with what is wrong in it */
  reload(): Promise<{ readonly hash: string }>;
  /** Of the one in force for an empty hash; undefined: not kept. */
  read(hash: string): Promise<Uint8Array | undefined>;
  /** Newest first. */
  activations(limit: number): Promise<readonly object[]>;
  /** Of the policy file for `undefined`. @throws Failure with what is wrong in it, or when nobody has to agree */
  propose(
    content: Uint8Array | undefined,
    by: string,
  ): Promise<{
    readonly policyHash: string;
    readonly approval: string;
    readonly isApproved: boolean;
    readonly differences: readonly string[];
  }>;
  /** @throws Failure when it is not kept or cannot be in force any more */
  activate(hash: string, by: string): Promise<{ readonly hash: string }>;
}

const HASH = /^sha256:[0-9a-f]{64}$/;
const MAX_REASON_BYTES = 256;
const DEFAULT_LIMIT = 50;
const MAX_LIMIT = 1000;
/** What a person reads; all of them are beside the act. */
const MAX_DIFFERENCES = 1000;

export function servePolicies(
  { serve, change, position }: OperatorMethods,
  policies: () => PolicyVersions,
  { policy, clock }: { readonly policy: () => PolicySet; readonly clock: OperatorClock },
): void {
  serve<ExplainPolicyRequest__Output>('Admin', 'ExplainPolicy', (request) => {
    try {
      const explained = policy().explain(
        questionOf(request, { nowMs: clock.now(), doubtMs: clock.doubtMs() }),
      );
      const { effect, rule, considered, policyHash } = explained;
      const decision = waitsFor(explained) === undefined ? effect : 'pending';
      return { decision, rule, considered, policyHash };
    } catch (cause) {
      if (!(cause instanceof AskedRequestError)) throw cause;
      throw new Failure('REQUEST_INVALID', cause.message, { cause });
    }
  });

  serve<CheckPolicyRequest__Output>('Admin', 'CheckPolicy', async ({ content, file }) => {
    const { issues, warnings, summary } = await policies().check(content, file === '' ? 'policy' : file);
    return { issues, warnings, ...summary };
  });

  serve('Admin', 'ReloadPolicy', async (_request, permission) => {
    const { value, leafIndex } = await change(permission, {}, () => policies().reload());
    return { policyHash: value.hash, log: position(leafIndex) };
  });

  serve<GetPolicyRequest__Output>('Admin', 'GetPolicy', async ({ policyHash }) => {
    if (policyHash !== '') requireHash(policyHash);
    const inForce = policies().current.hash;
    const wanted = policyHash === '' ? inForce : policyHash;
    const content = await policies().read(wanted);
    if (content === undefined)
      throw new Failure('REQUEST_INVALID', 'no policy of this hash was ever in force or proposed here');
    return { policyHash: wanted, content, inForce: wanted === inForce };
  });

  serve<ListPoliciesRequest__Output>('Admin', 'ListPolicies', async ({ limit }) => ({
    policyHash: policies().current.hash,
    activations: await policies().activations(limit === 0 ? DEFAULT_LIMIT : Math.min(limit, MAX_LIMIT)),
  }));

  serve<ProposePolicyRequest__Output>('Admin', 'ProposePolicy', async ({ content, reason }, permission) => {
    requireReason(reason);
    const offered = content.length === 0 ? {} : { policy: sha256Name(content) };
    const { value, leafIndex } = await change(permission, { ...offered, why: reason }, () =>
      policies().propose(content.length === 0 ? undefined : content, permission.caller.identity.spiffeId.id),
    );
    const { policyHash, approval, isApproved, differences } = value;
    return {
      policyHash,
      approval,
      approved: isApproved,
      differences: differences.slice(0, MAX_DIFFERENCES),
      log: position(leafIndex),
    };
  });

  serve<ActivatePolicyRequest__Output>(
    'Admin',
    'ActivatePolicy',
    async ({ policyHash, reason }, permission) => {
      requireHash(policyHash);
      requireReason(reason);
      const { value, leafIndex } = await change(permission, { policy: policyHash, why: reason }, () =>
        policies().activate(policyHash, permission.caller.identity.spiffeId.id),
      );
      return { policyHash: value.hash, log: position(leafIndex) };
    },
  );
}

function requireReason(reason: string): void {
  if (reason.trim() === '' || Buffer.byteLength(reason) > MAX_REASON_BYTES) {
    throw new Failure('REQUEST_INVALID', 'a reason of at most 256 bytes is required: it goes into the log');
  }
}

function sha256Name(bytes: Uint8Array): string {
  return `sha256:${createHash('sha256').update(bytes).digest('hex')}`;
}

function requireHash(hash: string): void {
  if (!HASH.test(hash))
    throw new Failure('REQUEST_INVALID', 'a policy is named by its hash: `sha256:` and 64 hex digits');
}
