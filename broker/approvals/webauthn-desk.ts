import type { ApprovalPolicy } from '../../policy/quorum.ts';
import type { ApprovalDetail, ApprovalSummary } from '../proto/page-calls.ts';
import { renderAct } from './act.ts';
import type { ApprovalService, Voter } from './approval-service.ts';
import type { ApprovalView } from './approval-view.ts';
import { approverObjection, type IsFrozen } from './tally.ts';
import type { PageDesk, PagePerson } from './webauthn-pages.ts';

export interface ApprovalDeskOptions {
  readonly service: Pick<ApprovalService, 'list' | 'get' | 'attachment' | 'approve' | 'reject'>;
  /** The policy in force. */
  readonly policy: () => ApprovalPolicy;
  readonly isFrozen: IsFrozen;
}

/** The approvals as the pages show them to one person. What may be seen and done is the service's to say. */
export function approvalDesk({ service, policy, isFrozen }: ApprovalDeskOptions): PageDesk {
  const summary = (view: ApprovalView, approver: string): ApprovalSummary => ({
    id: view.id,
    operation: view.act.operation,
    key: view.act.key,
    requester: view.act.requester,
    rule: view.act.rule,
    notAfter: view.act.notAfter,
    approvals: view.approvals,
    approvalsNeeded: view.quorum.approvals,
    vote: view.votes.some((vote) => vote.approver === approver && vote.counts)
      ? 'approve'
      : view.state === 'rejected' && view.closedBy === approver
        ? 'reject'
        : 'none',
    isEmergency: view.quorum.emergency,
  });
  const mayApprove = ({ state, quorum, act }: ApprovalView, approver: string): boolean =>
    state === 'open' &&
    quorum.methods.includes('webauthn') &&
    // Only a button that is not shown: the service says it again, of the vote.
    approverObjection(approver, quorum, act.requester, {
      policy: policy(),
      isFrozen,
      isBrokersOwn: () => false,
    }) === undefined;
  return {
    list: ({ approver }) =>
      service
        .list(approver)
        .filter(({ state }) => state === 'open')
        .map((view) => summary(view, approver)),
    get: ({ approver }, id): ApprovalDetail | undefined => {
      const view = service.get(id, { approver });
      return (
        view && {
          ...summary(view, approver),
          state: view.state,
          text: renderAct(view.act),
          document: view.document,
          hasAttachment: view.act.content.kind === 'attached',
          canApprove: mayApprove(view, approver),
        }
      );
    },
    attachment: ({ approver }, id) => service.attachment(id, approver),
    approve: async (person, id, signature) =>
      (await service.approve(id, person.approver, signature, voter(person))).state,
    reject: async (person, id, reason) => (await service.reject(id, reason, voter(person))).state,
  };
}

function voter({ approver, spiffeId, peer }: PagePerson): Voter {
  // Whoever signs in to the pages may have no SPIFFE ID at all: the passkey is who it is.
  return { approver, spiffeId: spiffeId ?? '', peer };
}
