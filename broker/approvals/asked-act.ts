/**
 * What a petition asks for, as an act: but for times and nonce the same for the same request, so that it is found again
 * when it is asked again, and made again when it is used. Pure.
 */
import { createHash } from 'node:crypto';
import { canonicalize } from '../audit/canonical.ts';
import { Failure } from '../keyuse/failure.ts';
import { type Act, ANY, contentProblem } from './act.ts';
import type { Petition } from './approvals.ts';

/** An act before it has times and a nonce. */
export type Asked = Pick<
  Act,
  'requester' | 'operation' | 'key' | 'version' | 'algorithm' | 'content' | 'rule' | 'authority' | 'uses'
>;

/**
 * What is asked for. `authority` says what gives the rule its meaning for this requester and key.
 *
 * @throws Failure REQUEST_INVALID, POLICY_DENIED
 */
export function askedOf(
  petition: Petition,
  authority: (rule: string, requester: string, key: string, catalogEntry: string) => string,
): Asked {
  const { requester, operation, key, version, algorithm, content, attachment, allowance } = petition;
  const { rule, quorum } = allowance;
  if (quorum === undefined || !Number.isSafeInteger(quorum.approvals) || quorum.approvals < 1)
    throw new Failure('POLICY_DENIED', 'the policy does not allow this');
  const meaning = authority(rule, requester, key, petition.catalogEntry);
  if (quorum.covers === 'rule') {
    return {
      requester,
      operation: ANY,
      key,
      version: 0,
      algorithm: ANY,
      content: { kind: 'any' },
      rule,
      authority: meaning,
      uses: quorum.uses,
    };
  }
  const problem = contentProblem(content, attachment);
  if (problem !== undefined)
    throw new Failure('REQUEST_INVALID', `nobody can be asked to approve this: ${problem}`);
  if (content.kind === 'not-shown' && !quorum.blind)
    throw new Failure(
      'POLICY_DENIED',
      'approvers would not see what they approve: send the message, not its digest',
    );
  return {
    requester,
    operation,
    key,
    version,
    algorithm,
    content,
    rule,
    authority: meaning,
    uses: quorum.uses,
  };
}

/** The act at this broker: `origin` is that of its log. */
export function actOf(
  origin: string,
  asked: Asked,
  { notBefore, notAfter, nonce }: Pick<Act, 'notBefore' | 'notAfter' | 'nonce'>,
): Act {
  return { v: 1, origin, ...asked, notBefore, notAfter, nonce };
}

/** The same for the same request asked again. */
export function requestKeyOf(asked: Asked): string {
  return sha256(canonicalize(asked));
}

/** `authority` of an act: of what the policy says the rule means here, and of the key's catalog entry. */
export function authorityDigest(meaning: string, catalogEntry: string): string {
  return sha256(canonicalize({ rule: meaning, catalogEntry }));
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('base64url');
}
